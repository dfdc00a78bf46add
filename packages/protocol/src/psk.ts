/** What is derived from a node's key: the next key, and the keys applications get. */

import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/ciphers/utils.js';
import { aes128, cmac } from './cipher.js';
import { ID_LENGTH, KEY_LENGTH, RN_LENGTH } from './constants.js';
import { Writer, xor } from './octets.js';
import { Secret } from './secret.js';

/** `PSK_i = AES-128(K_i, RN_i XOR RN_c)` (draft section 4). */
export function derivePsk(key: Secret, rnI: Uint8Array, rnC: Uint8Array): Secret {
  if (rnI.length !== RN_LENGTH || rnC.length !== RN_LENGTH) throw new RangeError(`a random number has ${RN_LENGTH} octets`);
  return toSecret(key.cipher.encrypt(xor(rnI, rnC)));
}

/** The keys EAP-PSK sets up from its PSK (RFC 4764 section 3.1): AK authenticates, KDK derives. */
export interface EapPskKeys {
  readonly ak: Secret;
  readonly kdk: Secret;
}

/**
 * `AK = AES(PSK, AES(PSK, 0) XOR c1)`, `KDK = AES(PSK, AES(PSK, 0) XOR c2)`, c_i the block of
 * integer i (RFC 4764 section 3.1).
 *
 * @param eapPsk what EAP-PSK calls the PSK: the application key with label `eap-psk`, 16 octets,
 *   never PSK_i itself
 */
export function deriveEapPskKeys(eapPsk: Uint8Array): EapPskKeys {
  if (eapPsk.length !== KEY_LENGTH) throw new RangeError(`EAP-PSK takes a key of ${KEY_LENGTH} octets`);
  const [ak, kdk] = modifiedCounterMode(eapPsk, new Uint8Array(16), 1, 2);
  return { ak: toSecret(ak!), kdk: toSecret(kdk!) };
}

/** TEK 16 octets, MSK and EMSK 64 octets each (RFC 4764 section 3.2). Wipe them after use. */
export interface EapPskSessionKeys {
  readonly tek: Uint8Array;
  readonly msk: Uint8Array;
  readonly emsk: Uint8Array;
}

/** TEK, MSK and EMSK from KDK and the peer's 16-octet RAND_P (RFC 4764 section 3.2). */
export function deriveEapPskSessionKeys(kdk: Secret, randP: Uint8Array): EapPskSessionKeys {
  if (randP.length !== RN_LENGTH) throw new RangeError(`RAND_P has ${RN_LENGTH} octets`);
  const blocks = modifiedCounterMode(kdk.expose(), randP, 1, 9);
  return { tek: blocks[0]!, msk: concatBytes(...blocks.slice(1, 5)), emsk: concatBytes(...blocks.slice(5, 9)) };
}

/**
 * Blocks `from`..`to` of the modified counter mode: `AES(K, AES(K, input) XOR c_i)` (RFC 4764
 * sections 3.1 and 3.2).
 */
function modifiedCounterMode(key: Uint8Array, input: Uint8Array, from: number, to: number): Uint8Array[] {
  const first = aes128(key, input);
  const blocks: Uint8Array[] = [];
  for (let i = from; i <= to; i++) {
    const block = Uint8Array.from(first);
    block[15] = (block[15] ?? 0) ^ i;
    blocks.push(aes128(key, block));
  }
  first.fill(0);
  return blocks;
}

/** Labels that begin so are the profile's own: no application key has one. */
const RESERVED_LABELS = 'latchkey ';
const LABEL_APPLICATION_ROOT = utf8ToBytes('latchkey application root');
const LABEL_KEY_ID = utf8ToBytes('latchkey key id');
const KEY_ID_LENGTH = 4;
/** Of the counter and of the length in the KDF's input, r = 32. */
const COUNTER_LENGTH = 4;
const LENGTH_LENGTH = 4;
const BLOCK_LENGTH = 16;

/**
 * Derives AR_i, the application root of node `idI`. All application keys derive from AR_i, and no
 * message of this profile decrypts with it. Deriving application keys needs no PSK.
 */
export function deriveApplicationRoot(psk: Secret, idI: number): Secret {
  return toSecret(kdf(psk, LABEL_APPLICATION_ROOT, idI, KEY_LENGTH));
}

/** KID_i, 8 hex digits: names one generation of a node's key. It is not secret. */
export function deriveKeyId(applicationRoot: Secret, idI: number): string {
  return bytesToHex(kdf(applicationRoot, LABEL_KEY_ID, idI, KEY_ID_LENGTH));
}

/**
 * An application key of node `idI`.
 *
 * @param label names the use, e.g. `dtls-psk`; at least one character, no NUL, not one of the
 *   reserved labels (`isReservedLabel`)
 * @param length of the key in octets, 1 to 255
 */
export function deriveApplicationKey(
  applicationRoot: Secret,
  label: string,
  idI: number,
  length: number = KEY_LENGTH,
): Uint8Array {
  if (label.length === 0 || label.includes('\0')) throw new RangeError('a label is a text of at least one character without NUL');
  if (isReservedLabel(label)) throw new RangeError(`a label that begins with "${RESERVED_LABELS}" is reserved`);
  if (!Number.isInteger(length) || length < 1 || length > 255) throw new RangeError('an application key has 1 to 255 octets');
  return kdf(applicationRoot, utf8ToBytes(label), idI, length);
}

/**
 * Returns true for a label that begins with `latchkey `. The profile derives its own keys under
 * such labels.
 */
export function isReservedLabel(label: string): boolean {
  return label.startsWith(RESERVED_LABELS);
}

/**
 * NIST SP 800-108r1 section 4.1, KDF in counter mode with AES-128-CMAC, r = 32, counter first:
 * `K(i) = CMAC(key, [i]_32 || Label || 0x00 || Context || [L]_32)`, the context being ID_i, L in
 * bits.
 */
function kdf(key: Secret, label: Uint8Array, idI: number, length: number): Uint8Array {
  const input = new Writer(COUNTER_LENGTH + label.length + 1 + ID_LENGTH + LENGTH_LENGTH)
    .zeros(COUNTER_LENGTH)
    .bytes(label, label.length)
    .u8(0)
    .u32(idI)
    .u32(length * 8)
    .done();
  const out = new Uint8Array(length);
  for (let from = 0; from < length; from += BLOCK_LENGTH) {
    // At most 255 octets are derived: the counter does not reach 256.
    input[COUNTER_LENGTH - 1]! += 1;
    const block = cmac(key.cipher, input);
    for (let i = 0; i < BLOCK_LENGTH && from + i < length; i++) out[from + i] = block[i]!;
    block.fill(0);
  }
  return out;
}

/** Takes ownership of freshly computed octets: only the Secret holds them afterwards. */
function toSecret(octets: Uint8Array): Secret {
  const secret = Secret.from(octets);
  octets.fill(0);
  return secret;
}
