// Proves that the CCM of this package is RFC 3610's: published vectors, agreement with OpenSSL
// (node:crypto) on random inputs and at every block boundary, and that what does not verify gives
// nothing.
//
// No example of SP 800-38C fits: 1 to 3 have nonces of 7, 8 and 12 octets where this package takes
// 13 only, and 4 has 65,536 octets of associated data, which take the length encoding left out
// here. CAVS stands in for them.

import { createCipheriv } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { aes128, BlockCipher, ccmOpen, ccmSeal, cmac } from '../src/cipher.js';
import { seededRandomBytes, flipped, hex, octets } from './fixtures.js';
import ccm from './vectors/ccm.json' with { type: 'json' };

function opensslSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
  tagLength: number,
): Uint8Array {
  const cipher = createCipheriv('aes-128-ccm', key, nonce, { authTagLength: tagLength });
  cipher.setAAD(associated, { plaintextLength: plaintext.length });
  return Uint8Array.from(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
}

const randomBytes = seededRandomBytes('cipher');
const KEY = randomBytes(16);
const NONCE = randomBytes(13);
const of = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const upTo = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: length, size: 'max' });

/**
 * Around none, one, two and three blocks; for associated data also with its two octets of length
 * before it.
 */
const BOUNDARIES = [0, 1, 13, 14, 15, 16, 17, 29, 30, 31, 32, 33, 45, 46, 47, 48, 49];

describe('published vectors', () => {
  it.each(ccm.vectors)('$name', ({ key, nonce, associated, plaintext, sealed, tagLength }) => {
    const inputs = [octets(key), octets(nonce), octets(associated)] as const;
    expect(hex(opensslSeal(...inputs, octets(plaintext), tagLength)), 'the vector itself, by OpenSSL').toBe(sealed);
    expect(hex(ccmSeal(...inputs, octets(plaintext), tagLength))).toBe(sealed);
    expect(hex(ccmOpen(...inputs, octets(sealed), tagLength)!)).toBe(plaintext);
  });

  it('FIPS 197 appendix C.1: one block', () => {
    const key = octets('000102030405060708090a0b0c0d0e0f');
    const block = octets('00112233445566778899aabbccddeeff');
    expect(hex(aes128(key, block))).toBe('69c4e0d86a7b0430d8cdb78070b4c55a');
    expect(hex(block), 'the caller keeps its block').toBe('00112233445566778899aabbccddeeff');
  });
});

describe('agreement with OpenSSL', () => {
  it('on random keys, nonces and texts up to 300 octets, sealing and opening', () => {
    fc.assert(
      fc.property(of(16), of(13), upTo(300), upTo(300), (key, nonce, associated, plaintext) => {
        const sealed = opensslSeal(key, nonce, associated, plaintext, 8);
        expect(ccmSeal(key, nonce, associated, plaintext)).toEqual(sealed);
        expect(ccmOpen(key, nonce, associated, sealed)).toEqual(plaintext);
      }),
      { numRuns: 300 },
    );
  });

  it.each(BOUNDARIES)('on %i octets of associated data with texts at every block boundary', (length) => {
    const associated = randomBytes(64).subarray(0, length);
    for (const plaintext of BOUNDARIES.map((n) => randomBytes(64).subarray(0, n)))
      expect(ccmSeal(KEY, NONCE, associated, plaintext)).toEqual(opensslSeal(KEY, NONCE, associated, plaintext, 8));
  });

  it('on octets that do not start a buffer of their own', () => {
    const [key, nonce, text] = [randomBytes(19).subarray(3), randomBytes(14).subarray(1), randomBytes(38).subarray(5)];
    const sealed = opensslSeal(key, nonce, text, text, 8);
    const shifted = Uint8Array.from([0, ...sealed]).subarray(1);
    expect(ccmSeal(key, nonce, text, text)).toEqual(sealed);
    expect(ccmOpen(key, nonce, text, shifted)).toEqual(text);
  });

  it('on the longest associated data and plaintext there can be', () => {
    const [associated, plaintext] = [new Uint8Array(0xfeff).fill(7), new Uint8Array(0xffff).fill(9)];
    const sealed = opensslSeal(KEY, NONCE, associated, plaintext, 8);
    expect(hex(ccmSeal(KEY, NONCE, associated, plaintext))).toBe(hex(sealed));
    expect(hex(ccmOpen(KEY, NONCE, associated, sealed)!)).toBe(hex(plaintext));
  });
});

describe('what does not verify', () => {
  const [associated, plaintext] = [randomBytes(13), randomBytes(37)];
  const sealed = ccmSeal(KEY, NONCE, associated, plaintext);
  const open = { key: KEY, nonce: NONCE, associated, sealed };

  it.each(['key', 'nonce', 'associated', 'sealed'] as const)('gives undefined for any one bit flipped in the %s', (input) => {
    for (let bit = 0; bit < open[input].length * 8; bit++) {
      const changed = { ...open };
      changed[input] = flipped(open[input], bit);
      expect(ccmOpen(changed.key, changed.nonce, changed.associated, changed.sealed), `bit ${bit}`).toBeUndefined();
    }
  });

  it('gives undefined for every other length of tag and text', () => {
    for (let length = 0; length < sealed.length; length++)
      expect(ccmOpen(KEY, NONCE, associated, sealed.subarray(0, length)), `${length} octets`).toBeUndefined();
    expect(ccmOpen(KEY, NONCE, associated, Uint8Array.from([...sealed, 0]))).toBeUndefined();
  });

  it('gives undefined when octets move between associated data and text', () => {
    expect(ccmOpen(KEY, NONCE, associated.subarray(0, 12), sealed)).toBeUndefined();
    expect(ccmOpen(KEY, NONCE, new Uint8Array(0), Uint8Array.from([...associated, ...sealed]))).toBeUndefined();
  });

  it.each([
    ['Uint8Array', (given: Uint8Array) => Uint8Array.from(given)],
    ['Buffer', (given: Uint8Array) => Buffer.from(given)],
  ])('leaves the message as it was, so that it can be tried under another key: %s', (_, copy) => {
    const message = copy(sealed);
    ccmOpen(randomBytes(16), NONCE, associated, message);
    expect(hex(message)).toBe(hex(sealed));
    ccmOpen(KEY, NONCE, associated, message);
    expect(hex(message)).toBe(hex(sealed));
  });
});

describe('sizes', () => {
  const none = new Uint8Array(0);

  it.each([0, 12, 14, 16])('a nonce of %i octets is refused', (length) => {
    expect(() => ccmSeal(KEY, new Uint8Array(length), none, none)).toThrow(RangeError);
    expect(() => ccmOpen(KEY, new Uint8Array(length), none, new Uint8Array(8))).toThrow(RangeError);
  });

  it.each([0, 15, 17, 24, 32])('a key of %i octets is refused', (length) => {
    expect(() => ccmSeal(new Uint8Array(length), NONCE, none, none)).toThrow(RangeError);
    expect(() => ccmOpen(new Uint8Array(length), NONCE, none, new Uint8Array(8))).toThrow(RangeError);
    expect(() => aes128(new Uint8Array(length), new Uint8Array(16))).toThrow(RangeError);
  });

  it('associated data and plaintext one octet too long are refused', () => {
    expect(() => ccmSeal(KEY, NONCE, new Uint8Array(0xff00), none)).toThrow(RangeError);
    expect(() => ccmOpen(KEY, NONCE, new Uint8Array(0xff00), new Uint8Array(8))).toThrow(RangeError);
    expect(() => ccmSeal(KEY, NONCE, none, new Uint8Array(0x1_0000))).toThrow(RangeError);
    expect(() => ccmOpen(KEY, NONCE, none, new Uint8Array(0x1_0008))).toThrow(RangeError);
  });

  it.each([4, 6, 8, 10, 12, 14, 16])('a tag of %i octets seals and opens', (length) => {
    const sealed = ccmSeal(KEY, NONCE, none, KEY, length);
    expect(sealed).toHaveLength(16 + length);
    expect(ccmOpen(KEY, NONCE, none, sealed, length)).toEqual(KEY);
  });

  it.each([-8, 0, 1, 2, 3, 5, 7, 9, 15, 17, 18, 32, 7.5, Number.NaN, Number.POSITIVE_INFINITY])(
    'a tag of %d octets is refused, whatever the length of the message',
    (length) => {
      expect(() => ccmSeal(KEY, NONCE, none, none, length)).toThrow(RangeError);
      for (const sealed of [none, new Uint8Array(8), new Uint8Array(64)])
        expect(() => ccmOpen(KEY, NONCE, none, sealed, length)).toThrow(RangeError);
    },
  );

  it.each([0, 15, 17])('a block of %i octets is refused', (length) => {
    expect(() => aes128(KEY, new Uint8Array(length))).toThrow('block');
  });
});

describe('what is made of a key', () => {
  it('is not shared with what is made of another, however many there are', () => {
    const block = randomBytes(16);
    const all = Array.from({ length: 200 }, () => randomBytes(16)).map((key) => ({ key, cipher: new BlockCipher(key) }));
    const kept = all.filter((_, i) => i % 3 !== 0);
    for (const { cipher } of all.filter((_, i) => i % 3 === 0)) cipher.wipe();
    expect(kept.map(({ cipher }) => hex(cipher.encrypt(block)))).toEqual(kept.map(({ key }) => hex(aes128(key, block))));
  });

  it('for one use is wiped after it, and what is kept is not', () => {
    const wipe = vi.spyOn(BlockCipher.prototype, 'wipe');
    onTestFinished(() => wipe.mockRestore());
    const kept = new BlockCipher(KEY);
    const sealed = ccmSeal(KEY, NONCE, NONCE, KEY);
    const uses = (key: Uint8Array | BlockCipher): (() => unknown)[] => [
      () => ccmSeal(key, NONCE, NONCE, KEY),
      () => ccmOpen(key, NONCE, NONCE, sealed),
      () => ccmOpen(key, NONCE, NONCE, flipped(sealed, 0)),
      () => cmac(key, NONCE),
    ];
    for (const [key, times] of [
      [KEY, 1],
      [kept, 0],
    ] as const) {
      for (const use of uses(key)) {
        wipe.mockClear();
        use();
        expect(wipe).toHaveBeenCalledTimes(times);
      }
    }
  });
});
