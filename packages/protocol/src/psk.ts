/** What is derived from a node's key: the next key, and the keys applications get. */

import { concatBytes, utf8ToBytes } from '@noble/ciphers/utils.js';
import { aes128, cmac } from './cipher.js';
import { KEY_LENGTH, RN_LENGTH } from './constants.js';
import { xor } from './octets.js';
import { Secret } from './secret.js';

/** `PSK_i = AES-128(K_i, RN_i XOR RN_c)` (draft section 4). */
export function derivePsk(key: Secret, rnI: Uint8Array, rnC: Uint8Array): Secret {
  if (rnI.length !== RN_LENGTH || rnC.length !== RN_LENGTH) throw new RangeError(`a random number has ${RN_LENGTH} octets`);
  return toSecret(key.cipher.encrypt(xor(rnI, rnC)));
}

/** The keys EAP-PSK sets up from a PSK (RFC 4764 section 3.1): AK authenticates, KDK derives. */
export interface EapPskKeys {
  readonly ak: Secret;
  readonly kdk: Secret;
}

/** `AK = AES(PSK, AES(PSK, 0) XOR c1)`, `KDK = AES(PSK, AES(PSK, 0) XOR c2)`, c_i the block of integer i (RFC 4764 section 3.1). */
export function deriveEapPskKeys(psk: Secret): EapPskKeys {
  const [ak, kdk] = modifiedCounterMode(psk.expose(), new Uint8Array(16), 1, 2);
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

/** Blocks `from`..`to` of the modified counter mode: `AES(K, AES(K, input) XOR c_i)` (RFC 4764 sections 3.1 and 3.2). */
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

/**
 * An application key: NIST SP 800-108r1 section 4.1, KDF in counter mode with AES-128-CMAC, r = 32, counter first:
 * `K(i) = CMAC(PSK, [i]_32 || Label || 0x00 || Context || [L]_32)`, L in bits.
 *
 * @param label UTF-8 text that names the use, e.g. `dtls-psk`; no NUL, at least one character
 * @param context binds the key to its holder; Latchkey's commands use the node's ID_i (4 octets)
 * @param length of the key in octets, 1 to 255
 */
export function deriveApplicationKey(psk: Secret, label: string, context: Uint8Array, length: number = KEY_LENGTH): Uint8Array {
  if (label.length === 0 || label.includes('\0')) throw new RangeError('a label is a text of at least one character without NUL');
  if (!Number.isInteger(length) || length < 1 || length > 255) throw new RangeError('an application key has 1 to 255 octets');
  const fixed = concatBytes(utf8ToBytes(label), Uint8Array.of(0), context, u32(length * 8));
  const out = new Uint8Array(Math.ceil(length / 16) * 16);
  for (let i = 0; i * 16 < length; i++) out.set(cmac(psk.cipher, u32(i + 1), fixed), i * 16);
  return out.slice(0, length);
}

function u32(value: number): Uint8Array {
  const octets = new Uint8Array(4);
  new DataView(octets.buffer).setUint32(0, value);
  return octets;
}

/** Takes over freshly computed octets: they live on in the Secret alone. */
function toSecret(octets: Uint8Array): Secret {
  const secret = Secret.from(octets);
  octets.fill(0);
  return secret;
}
