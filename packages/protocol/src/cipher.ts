/**
 * The profile's one primitive, AES-128 in its forward direction, and the one mode on top of it: AES-128-CCM with an
 * 8-octet tag and a 13-octet nonce (RFC 3610, M=8, L=2; COSE AES-CCM-16-64-128).
 *
 * `unsafe` is @noble/ciphers' name for its bare block function: it knows no mode, which is what this file adds.
 */

import { unsafe } from '@noble/ciphers/aes.js';
import { KEY_LENGTH, NONCE_LENGTH, TAG_LENGTH } from './constants.js';
import { equalInConstantTime } from './octets.js';

const BLOCK = 16;

/** RFC 3610 section 2.2: flags of B_0 are 64*Adata + 8*((M-2)/2) + (L-1); those of A_i are L-1. L = 2 throughout. */
const LENGTH_OCTETS = 15 - NONCE_LENGTH;
const FLAGS_COUNTER = LENGTH_OCTETS - 1;
const MAX_PLAINTEXT = 2 ** (8 * LENGTH_OCTETS) - 1;
/** RFC 3610 section 2.2: from here on the length of the associated data takes another encoding, which nothing needs. */
const MAX_ASSOCIATED = 0xfeff;

/** One key's schedule: encrypts single blocks, then is wiped. */
class BlockCipher {
  readonly #schedule: Uint32Array;

  constructor(key: Uint8Array) {
    if (key.length !== KEY_LENGTH) throw new RangeError(`AES-128 takes a key of ${KEY_LENGTH} octets`);
    this.#schedule = unsafe.expandKeyLE(key);
  }

  /** In place; `block` must start a buffer of its own (the block function reads it as four words). */
  encrypt(block: Uint8Array): Uint8Array {
    return unsafe.encryptBlock(this.#schedule, block);
  }

  wipe(): void {
    this.#schedule.fill(0);
  }
}

/** AES-128(key, block): 16 octets to 16 octets (FIPS 197). */
export function aes128(key: Uint8Array, block: Uint8Array): Uint8Array {
  const cipher = new BlockCipher(key);
  const out = cipher.encrypt(Uint8Array.from(block));
  cipher.wipe();
  return out;
}

/** CBC-MAC over B_0, the associated data and the message (RFC 3610 section 2.2): the first `tagLength` octets of T. */
function ccmTag(
  cipher: BlockCipher,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
  tagLength: number,
): Uint8Array {
  const x = new Uint8Array(BLOCK);
  let at = 0;
  const absorb = (octets: Uint8Array): void => {
    for (const octet of octets) {
      x[at] = (x[at] ?? 0) ^ octet;
      at += 1;
      if (at === BLOCK) {
        cipher.encrypt(x);
        at = 0;
      }
    }
  };
  const pad = (): void => {
    if (at > 0) cipher.encrypt(x);
    at = 0;
  };

  const hasAssociated = associated.length > 0 ? 0x40 : 0;
  absorb(Uint8Array.of(hasAssociated | (((tagLength - 2) / 2) << 3) | (LENGTH_OCTETS - 1)));
  absorb(nonce);
  absorb(Uint8Array.of(plaintext.length >> 8, plaintext.length & 0xff));
  if (associated.length > 0) {
    absorb(Uint8Array.of(associated.length >> 8, associated.length & 0xff));
    absorb(associated);
    pad();
  }
  absorb(plaintext);
  pad();
  return x.slice(0, tagLength);
}

/** XORs `text` with S_1, S_2, ... and `tag` with S_0 (RFC 3610 section 2.3), both in place. */
function ccmStream(cipher: BlockCipher, nonce: Uint8Array, text: Uint8Array, tag: Uint8Array): void {
  const keyStream = (counter: number): Uint8Array => {
    const a = new Uint8Array(BLOCK);
    a[0] = FLAGS_COUNTER;
    a.set(nonce, 1);
    a[14] = counter >> 8;
    a[15] = counter & 0xff;
    return cipher.encrypt(a);
  };
  const s0 = keyStream(0);
  for (let i = 0; i < tag.length; i++) tag[i] = (tag[i] ?? 0) ^ (s0[i] ?? 0);
  for (let at = 0; at < text.length; at += BLOCK) {
    const s = keyStream(at / BLOCK + 1);
    const end = Math.min(at + BLOCK, text.length);
    for (let i = at; i < end; i++) text[i] = (text[i] ?? 0) ^ (s[i - at] ?? 0);
  }
}

function checkSizes(nonce: Uint8Array, associated: Uint8Array, length: number, tagLength: number): void {
  if (![4, 6, 8, 10, 12, 14, 16].includes(tagLength)) throw new RangeError('a CCM tag has 4, 6, 8, 10, 12, 14 or 16 octets');
  if (nonce.length !== NONCE_LENGTH) throw new RangeError(`a CCM nonce has ${NONCE_LENGTH} octets here, not ${nonce.length}`);
  if (associated.length > MAX_ASSOCIATED) throw new RangeError(`associated data is limited to ${MAX_ASSOCIATED} octets`);
  if (length > MAX_PLAINTEXT) throw new RangeError(`a plaintext is limited to ${MAX_PLAINTEXT} octets`);
}

/**
 * E(M, SK): AES-128-CCM (RFC 3610, L=2), giving ciphertext || tag.
 *
 * @param key 16 octets
 * @param nonce 13 octets, never used twice with this key
 * @param tagLength 8 in this profile; the vectors of RFC 3610 and SP 800-38C use other even lengths from 4 to 16
 */
export function ccmSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
  tagLength: number = TAG_LENGTH,
): Uint8Array {
  checkSizes(nonce, associated, plaintext.length, tagLength);
  const cipher = new BlockCipher(key);
  const sealed = new Uint8Array(plaintext.length + tagLength);
  sealed.set(plaintext);
  sealed.set(ccmTag(cipher, nonce, associated, plaintext, tagLength), plaintext.length);
  ccmStream(cipher, nonce, sealed.subarray(0, plaintext.length), sealed.subarray(plaintext.length));
  cipher.wipe();
  return sealed;
}

/**
 * D(C, SK): the plaintext, or `undefined` when the tag does not verify, and nothing else is learnt of why.
 * The tag is compared in constant time; a plaintext that does not verify is wiped, not returned.
 */
export function ccmOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  sealed: Uint8Array,
  tagLength: number = TAG_LENGTH,
): Uint8Array | undefined {
  checkSizes(nonce, associated, sealed.length - tagLength, tagLength);
  if (sealed.length < tagLength) return undefined;
  const cipher = new BlockCipher(key);
  const plaintext = Uint8Array.from(sealed.subarray(0, sealed.length - tagLength));
  const tag = Uint8Array.from(sealed.subarray(sealed.length - tagLength));
  ccmStream(cipher, nonce, plaintext, tag);
  const verifies = equalInConstantTime(tag, ccmTag(cipher, nonce, associated, plaintext, tagLength));
  cipher.wipe();
  if (verifies) return plaintext;
  plaintext.fill(0);
  return undefined;
}
