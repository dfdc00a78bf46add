/**
 * The profile's one primitive, AES-128 in its forward direction, and the one mode on top of it: AES-128-CCM with an
 * 8-octet tag and a 13-octet nonce (RFC 3610, M=8, L=2; COSE AES-CCM-16-64-128).
 *
 * `unsafe` is @noble/ciphers' name for its bare block function: it knows no mode, which is what this file adds. A daemon runs it a
 * hundred times for each join, so blocks pass through one buffer of this file rather than one each, and a key that is used
 * again keeps its schedule, which is wiped with it.
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

/** The block being worked on, all zero between uses; and a way to the four words, little-endian, that the block function takes. */
const block: Uint8Array = new Uint8Array(BLOCK);
const words: DataView = new DataView(block.buffer);

/** One key's schedule, until it is wiped. */
export class BlockCipher {
  readonly #schedule: Uint32Array;

  /** @param key 16 octets, of which nothing is kept but the schedule */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_LENGTH) throw new RangeError(`AES-128 takes a key of ${KEY_LENGTH} octets`);
    this.#schedule = unsafe.expandKeyLE(key);
  }

  /** AES-128 of one block, 16 octets to 16 octets (FIPS 197). */
  encrypt(input: Uint8Array): Uint8Array {
    if (input.length !== BLOCK) throw new RangeError(`a block has ${BLOCK} octets`);
    block.set(input);
    this.encryptInPlace();
    return takeBlock(BLOCK);
  }

  /** For this file's modes: `block` becomes its own encryption. */
  encryptInPlace(): void {
    const { s0, s1, s2, s3 } = unsafe.encrypt(
      this.#schedule,
      words.getUint32(0, true),
      words.getUint32(4, true),
      words.getUint32(8, true),
      words.getUint32(12, true),
    );
    words.setUint32(0, s0, true);
    words.setUint32(4, s1, true);
    words.setUint32(8, s2, true);
    words.setUint32(12, s3, true);
  }

  wipe(): void {
    this.#schedule.fill(0);
  }
}

/** A copy of the first `length` octets of `block`, which is zero after that. */
function takeBlock(length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = block[i]!;
  block.fill(0);
  return out;
}

/** AES-128(key, block): 16 octets to 16 octets (FIPS 197). */
export function aes128(key: Uint8Array, input: Uint8Array): Uint8Array {
  const cipher = new BlockCipher(key);
  const out = cipher.encrypt(input);
  cipher.wipe();
  return out;
}

/** Takes `octets` into the CBC-MAC in `block`, `at` octets into which stand already; gives how many stand there then. */
function absorb(cipher: BlockCipher, octets: Uint8Array, at: number): number {
  let next = at;
  for (let i = 0; i < octets.length; i++) {
    block[next]! ^= octets[i]!;
    next += 1;
    if (next === BLOCK) {
      cipher.encryptInPlace();
      next = 0;
    }
  }
  return next;
}

/** CBC-MAC over B_0, the associated data and the message (RFC 3610 section 2.2): the first `tagLength` octets of T. */
function ccmTag(
  cipher: BlockCipher,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
  tagLength: number,
): Uint8Array {
  const hasAssociated = associated.length > 0 ? 0x40 : 0;
  block[0] = hasAssociated | (((tagLength - 2) / 2) << 3) | (LENGTH_OCTETS - 1);
  block.set(nonce, 1);
  block[14] = plaintext.length >> 8;
  block[15] = plaintext.length & 0xff;
  cipher.encryptInPlace();
  if (associated.length > 0) {
    block[0] ^= associated.length >> 8;
    block[1]! ^= associated.length & 0xff;
    if (absorb(cipher, associated, 2) > 0) cipher.encryptInPlace();
  }
  if (absorb(cipher, plaintext, 0) > 0) cipher.encryptInPlace();
  return takeBlock(tagLength);
}

/** XORs `octets` from `from` to `to` with S_i (RFC 3610 section 2.3), i being `counter`. */
function xorKeyStream(
  cipher: BlockCipher,
  nonce: Uint8Array,
  counter: number,
  octets: Uint8Array,
  from: number,
  to: number,
): void {
  block[0] = FLAGS_COUNTER;
  block.set(nonce, 1);
  block[14] = counter >> 8;
  block[15] = counter & 0xff;
  cipher.encryptInPlace();
  for (let i = from; i < to; i++) octets[i]! ^= block[i - from]!;
}

/** XORs the text, all of `octets` before `textEnd`, with S_1, S_2, ..., and the tag behind it with S_0, in place. */
function ccmStream(cipher: BlockCipher, nonce: Uint8Array, octets: Uint8Array, textEnd: number): void {
  xorKeyStream(cipher, nonce, 0, octets, textEnd, octets.length);
  for (let at = 0, counter = 1; at < textEnd; at += BLOCK, counter++)
    xorKeyStream(cipher, nonce, counter, octets, at, Math.min(at + BLOCK, textEnd));
  block.fill(0);
}

function checkSizes(nonce: Uint8Array, associated: Uint8Array, length: number, tagLength: number): void {
  if (![4, 6, 8, 10, 12, 14, 16].includes(tagLength)) throw new RangeError('a CCM tag has 4, 6, 8, 10, 12, 14 or 16 octets');
  if (nonce.length !== NONCE_LENGTH) throw new RangeError(`a CCM nonce has ${NONCE_LENGTH} octets here, not ${nonce.length}`);
  if (associated.length > MAX_ASSOCIATED) throw new RangeError(`associated data is limited to ${MAX_ASSOCIATED} octets`);
  if (length > MAX_PLAINTEXT) throw new RangeError(`a plaintext is limited to ${MAX_PLAINTEXT} octets`);
}

/** Runs with the schedule of `key`: one that is kept, or one for this use alone. */
function under<T>(key: Uint8Array | BlockCipher, use: (cipher: BlockCipher) => T): T {
  if (key instanceof BlockCipher) return use(key);
  const cipher = new BlockCipher(key);
  const result = use(cipher);
  cipher.wipe();
  return result;
}

/**
 * E(M, SK): AES-128-CCM (RFC 3610, L=2), giving ciphertext || tag.
 *
 * @param key 16 octets
 * @param nonce 13 octets, never used twice with this key
 * @param tagLength 8 in this profile; the vectors of RFC 3610 and SP 800-38C use other even lengths from 4 to 16
 */
export function ccmSeal(
  key: Uint8Array | BlockCipher,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
  tagLength: number = TAG_LENGTH,
): Uint8Array {
  checkSizes(nonce, associated, plaintext.length, tagLength);
  return under(key, (cipher) => {
    const sealed = new Uint8Array(plaintext.length + tagLength);
    sealed.set(plaintext);
    sealed.set(ccmTag(cipher, nonce, associated, plaintext, tagLength), plaintext.length);
    ccmStream(cipher, nonce, sealed, plaintext.length);
    return sealed;
  });
}

/**
 * D(C, SK): the plaintext, or `undefined` when the tag does not verify, and nothing else is learnt of why.
 * The tag is compared in constant time; a plaintext that does not verify is wiped, not returned.
 */
export function ccmOpen(
  key: Uint8Array | BlockCipher,
  nonce: Uint8Array,
  associated: Uint8Array,
  sealed: Uint8Array,
  tagLength: number = TAG_LENGTH,
): Uint8Array | undefined {
  const textEnd = sealed.length - tagLength;
  checkSizes(nonce, associated, textEnd, tagLength);
  if (textEnd < 0) return undefined;
  return under(key, (cipher) => {
    const opened = new Uint8Array(sealed);
    ccmStream(cipher, nonce, opened, textEnd);
    const plaintext = opened.slice(0, textEnd);
    const verifies = equalInConstantTime(opened.subarray(textEnd), ccmTag(cipher, nonce, associated, plaintext, tagLength));
    opened.fill(0);
    if (verifies) return plaintext;
    plaintext.fill(0);
    return undefined;
  });
}

/** AES-CMAC (RFC 4493, SP 800-38B) over the parts one after the other: 16 octets. */
export function cmac(key: Uint8Array | BlockCipher, ...parts: readonly Uint8Array[]): Uint8Array {
  return under(key, (cipher) => {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const subkey = unsafe.dbl(cipher.encrypt(new Uint8Array(BLOCK)));
    if (length === 0 || length % BLOCK > 0) {
      unsafe.dbl(subkey);
      subkey[length % BLOCK]! ^= 0x80;
    }
    let taken = 0;
    for (const part of parts) {
      for (let i = 0; i < part.length; i++, taken++) {
        if (taken > 0 && taken % BLOCK === 0) cipher.encryptInPlace();
        block[taken % BLOCK]! ^= part[i]!;
      }
    }
    // Onto the last block, with the padding.
    for (let i = 0; i < BLOCK; i++) block[i]! ^= subkey[i]!;
    subkey.fill(0);
    cipher.encryptInPlace();
    return takeBlock(BLOCK);
  });
}
