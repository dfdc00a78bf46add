/**
 * The profile's one primitive, AES-128 in its forward direction, and the one mode on top of it:
 * AES-128-CCM with an 8-octet tag and a 13-octet nonce (RFC 3610, M=8, L=2; COSE
 * AES-CCM-16-64-128).
 *
 * `unsafe` is @noble/ciphers' name for its bare block function: it knows no mode, which is what
 * this file adds. A daemon runs it a hundred times for each join, so blocks pass through one buffer
 * of this file rather than one each, and a key that is used again keeps its schedule, which is
 * wiped with it.
 */

import { unsafe } from '@noble/ciphers/aes.js';
import { KEY_LENGTH, NONCE_LENGTH, TAG_LENGTH } from './constants.js';
import { allocate, allocateWords } from './octets.js';

const BLOCK = 16;

/**
 * RFC 3610 section 2.2: flags of B_0 are 64*Adata + 8*((M-2)/2) + (L-1); those of A_i are L-1. L =
 * 2 throughout.
 */
const LENGTH_OCTETS = 15 - NONCE_LENGTH;
const FLAGS_COUNTER = LENGTH_OCTETS - 1;
const MAX_PLAINTEXT = 2 ** (8 * LENGTH_OCTETS) - 1;
/**
 * RFC 3610 section 2.2: from here on the length of the associated data takes another encoding,
 * which nothing needs.
 */
const MAX_ASSOCIATED = 0xfeff;

/**
 * The block being worked on, all zero between uses; and a way to the four words, little-endian,
 * that the block function takes.
 */
const block: Uint8Array = new Uint8Array(BLOCK);
const words: DataView = new DataView(block.buffer);
/**
 * Scratch buffer for a key while its schedule is computed; all zero between uses. A view of an
 * array in V8's heap would move that array out of the heap, which costs as much as ten blocks.
 */
const keyScratch: Uint8Array = new Uint8Array(new ArrayBuffer(KEY_LENGTH));
/** Words of a schedule: 11 round keys of 4. */
const SCHEDULE = 44;
/** Scratch buffer for a tag before its key stream is applied; zero between uses, too. */
const tagScratch: Uint8Array = new Uint8Array(BLOCK);

/** One key's schedule, until it is wiped. */
export class BlockCipher {
  readonly #schedule: Uint32Array;
  #subkeys: { readonly whole: Uint8Array; readonly padded: Uint8Array } | undefined;

  /** @param key 16 octets, of which only the schedule is stored */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_LENGTH) throw new RangeError(`AES-128 takes a key of ${KEY_LENGTH} octets`);
    for (let i = 0; i < KEY_LENGTH; i++) keyScratch[i] = key[i]!;
    const expanded = unsafe.expandKeyLE(keyScratch);
    this.#schedule = allocateWords(SCHEDULE);
    this.#schedule.set(expanded);
    expanded.fill(0);
    keyScratch.fill(0);
  }

  /** AES-128 of one block, 16 octets to 16 octets (FIPS 197). */
  encrypt(input: Uint8Array): Uint8Array {
    if (input.length !== BLOCK) throw new RangeError(`a block has ${BLOCK} octets`);
    for (let i = 0; i < BLOCK; i++) block[i] = input[i]!;
    this.encryptInPlace();
    return copyAndClearBlock();
  }

  /**
   * For this file's modes: `block` becomes its own encryption. The words are signed, as V8 has them
   * without an object each.
   */
  encryptInPlace(): void {
    const { s0, s1, s2, s3 } = unsafe.encrypt(
      this.#schedule,
      words.getInt32(0, true),
      words.getInt32(4, true),
      words.getInt32(8, true),
      words.getInt32(12, true),
    );
    words.setInt32(0, s0, true);
    words.setInt32(4, s1, true);
    words.setInt32(8, s2, true);
    words.setInt32(12, s3, true);
  }

  /**
   * For this file's modes: K1 of CMAC, for a whole last block, and K2, for a padded one (RFC 4493
   * section 2.3), made once.
   */
  get subkeys(): { readonly whole: Uint8Array; readonly padded: Uint8Array } {
    if (this.#subkeys === undefined) {
      const whole = unsafe.dbl(this.encrypt(new Uint8Array(BLOCK)));
      this.#subkeys = { whole, padded: unsafe.dbl(Uint8Array.from(whole)) };
    }
    return this.#subkeys;
  }

  wipe(): void {
    this.#schedule.fill(0);
    this.#subkeys?.whole.fill(0);
    this.#subkeys?.padded.fill(0);
  }
}

/** A copy of `block`, which is zero after that. */
function copyAndClearBlock(): Uint8Array {
  const out = new Uint8Array(BLOCK);
  for (let i = 0; i < BLOCK; i++) out[i] = block[i]!;
  clearBlock();
  return out;
}

function clearBlock(): void {
  for (let i = 0; i < BLOCK; i++) block[i] = 0;
}

/** AES-128(key, block): 16 octets to 16 octets (FIPS 197). */
export function aes128(key: Uint8Array, input: Uint8Array): Uint8Array {
  const cipher = new BlockCipher(key);
  const out = cipher.encrypt(input);
  cipher.wipe();
  return out;
}

/** Octets in one piece or in several, one after the other. */
export type Parts = Uint8Array | readonly Uint8Array[];

function lengthOf(parts: Parts): number {
  if (parts instanceof Uint8Array) return parts.length;
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
}

/**
 * Adds octets to the CBC-MAC in `block`, which already holds `at` octets of the current block.
 * Returns the number of octets that `block` then holds.
 */
function cbcMacUpdate(cipher: BlockCipher, octets: Uint8Array, from: number, to: number, at: number): number {
  let next = at;
  for (let i = from; i < to; i++) {
    block[next]! ^= octets[i]!;
    next += 1;
    if (next === BLOCK) {
      cipher.encryptInPlace();
      next = 0;
    }
  }
  return next;
}

/**
 * CBC-MAC over B_0, the associated data and the text from `from` to `to` (RFC 3610 section 2.2): T,
 * in `block`.
 */
function ccmMac(
  cipher: BlockCipher,
  nonce: Uint8Array,
  associated: Parts,
  text: Uint8Array,
  from: number,
  to: number,
  tagLength: number,
): void {
  const length = to - from;
  const associatedLength = lengthOf(associated);
  block[0] = (associatedLength > 0 ? 0x40 : 0) | (((tagLength - 2) / 2) << 3) | (LENGTH_OCTETS - 1);
  writeNonce(nonce);
  block[14] = length >> 8;
  block[15] = length & 0xff;
  cipher.encryptInPlace();
  if (associatedLength > 0) {
    block[0] ^= associatedLength >> 8;
    block[1]! ^= associatedLength & 0xff;
    let at = 2;
    if (associated instanceof Uint8Array) at = cbcMacUpdate(cipher, associated, 0, associated.length, at);
    else for (const part of associated) at = cbcMacUpdate(cipher, part, 0, part.length, at);
    if (at > 0) cipher.encryptInPlace();
  }
  if (cbcMacUpdate(cipher, text, from, to, 0) > 0) cipher.encryptInPlace();
}

function writeNonce(nonce: Uint8Array): void {
  for (let i = 0; i < NONCE_LENGTH; i++) block[1 + i] = nonce[i]!;
}

/** S_i of RFC 3610 section 2.3, i being `counter`: in `block`. */
function keyStream(cipher: BlockCipher, nonce: Uint8Array, counter: number): void {
  block[0] = FLAGS_COUNTER;
  writeNonce(nonce);
  block[14] = counter >> 8;
  block[15] = counter & 0xff;
  cipher.encryptInPlace();
}

/** XORs the text from `from` to `to` with S_1, S_2, ... in place. */
function xorText(cipher: BlockCipher, nonce: Uint8Array, octets: Uint8Array, from: number, to: number): void {
  for (let at = from, counter = 1; at < to; at += BLOCK, counter++) {
    keyStream(cipher, nonce, counter);
    const end = Math.min(BLOCK, to - at);
    for (let i = 0; i < end; i++) octets[at + i]! ^= block[i]!;
  }
}

function checkSizes(nonce: Uint8Array, associated: Parts, length: number, tagLength: number): void {
  if (!Number.isInteger(tagLength) || tagLength < 4 || tagLength > 16 || tagLength % 2 !== 0)
    throw new RangeError('a CCM tag has 4, 6, 8, 10, 12, 14 or 16 octets');
  if (nonce.length !== NONCE_LENGTH) throw new RangeError(`a CCM nonce has ${NONCE_LENGTH} octets here, not ${nonce.length}`);
  if (lengthOf(associated) > MAX_ASSOCIATED) throw new RangeError(`associated data is limited to ${MAX_ASSOCIATED} octets`);
  if (length > MAX_PLAINTEXT) throw new RangeError(`a plaintext is limited to ${MAX_PLAINTEXT} octets`);
}

/** Returns the stored schedule of `key`, or one for this use only, which `release` wipes. */
function cipherFor(key: Uint8Array | BlockCipher): BlockCipher {
  return key instanceof BlockCipher ? key : new BlockCipher(key);
}

function release(cipher: BlockCipher, key: Uint8Array | BlockCipher): void {
  if (cipher !== key) cipher.wipe();
}

/**
 * E(M, SK): AES-128-CCM (RFC 3610, L=2), giving ciphertext || tag.
 *
 * @param key 16 octets
 * @param nonce 13 octets, never used twice with this key
 * @param tagLength 8 in this profile; the vectors of RFC 3610 and SP 800-38C use other even lengths
 *   from 4 to 16
 */
export function ccmSeal(
  key: Uint8Array | BlockCipher,
  nonce: Uint8Array,
  associated: Parts,
  plaintext: Uint8Array,
  tagLength: number = TAG_LENGTH,
): Uint8Array {
  const output = allocate(plaintext.length + tagLength);
  output.set(plaintext);
  ccmSealInPlace(key, nonce, associated, output, 0, tagLength);
  return output;
}

/**
 * Seals a message in the buffer in which it was built. The octets from `from` on become ciphertext,
 * and the last `tagLength` octets become the tag.
 */
export function ccmSealInPlace(
  key: Uint8Array | BlockCipher,
  nonce: Uint8Array,
  associated: Parts,
  octets: Uint8Array,
  from: number,
  tagLength: number = TAG_LENGTH,
): void {
  const end = octets.length - tagLength;
  checkSizes(nonce, associated, end - from, tagLength);
  const cipher = cipherFor(key);
  ccmMac(cipher, nonce, associated, octets, from, end, tagLength);
  for (let i = 0; i < tagLength; i++) octets[end + i] = block[i]!;
  xorText(cipher, nonce, octets, from, end);
  keyStream(cipher, nonce, 0);
  for (let i = 0; i < tagLength; i++) octets[end + i]! ^= block[i]!;
  clearBlock();
  release(cipher, key);
}

/**
 * D(C, SK): returns the plaintext, or `undefined` if the tag does not verify. The reason is not
 * reported. The tag is compared in constant time; a plaintext that does not verify is wiped, not
 * returned.
 *
 * @param from where in `octets` the ciphertext begins; it ends with them
 */
export function ccmOpen(
  key: Uint8Array | BlockCipher,
  nonce: Uint8Array,
  associated: Parts,
  octets: Uint8Array,
  tagLength: number = TAG_LENGTH,
  from: number = 0,
): Uint8Array | undefined {
  const length = octets.length - tagLength - from;
  checkSizes(nonce, associated, length, tagLength);
  if (length < 0) return undefined;
  const cipher = cipherFor(key);
  const plaintext = allocate(length);
  for (let i = 0; i < length; i++) plaintext[i] = octets[from + i]!;
  xorText(cipher, nonce, plaintext, 0, length);
  keyStream(cipher, nonce, 0);
  for (let i = 0; i < tagLength; i++) tagScratch[i] = block[i]! ^ octets[from + length + i]!;
  ccmMac(cipher, nonce, associated, plaintext, 0, length, tagLength);
  let difference = 0;
  for (let i = 0; i < tagLength; i++) {
    difference |= tagScratch[i]! ^ block[i]!;
    tagScratch[i] = 0;
  }
  clearBlock();
  release(cipher, key);
  if (difference === 0) return plaintext;
  plaintext.fill(0);
  return undefined;
}

/** AES-CMAC (RFC 4493, SP 800-38B) over the parts one after the other: 16 octets. */
export function cmac(key: Uint8Array | BlockCipher, ...parts: readonly Uint8Array[]): Uint8Array {
  const cipher = cipherFor(key);
  const { whole, padded } = cipher.subkeys;
  const length = lengthOf(parts);
  const needsPadding = length === 0 || length % BLOCK > 0;
  let at = 0;
  let left = length;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      block[at]! ^= part[i]!;
      at += 1;
      left -= 1;
      // The last block waits for its subkey.
      if (at < BLOCK || left === 0) continue;
      cipher.encryptInPlace();
      at = 0;
    }
  }
  if (needsPadding) block[at]! ^= 0x80;
  const last = needsPadding ? padded : whole;
  for (let i = 0; i < BLOCK; i++) block[i]! ^= last[i]!;
  cipher.encryptInPlace();
  release(cipher, key);
  return copyAndClearBlock();
}
