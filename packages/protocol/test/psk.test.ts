// Proves every derivation against RFC 4493, NIST's CAVS and a second computation from bare AES
// blocks of node:crypto.

import { createCipheriv } from 'node:crypto';
import { cmac } from '@noble/ciphers/aes.js';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  deriveApplicationKey,
  deriveApplicationRoot,
  deriveEapPskKeys,
  deriveEapPskSessionKeys,
  deriveKeyId,
  derivePsk,
} from '../src/psk.js';
import { Secret } from '../src/secret.js';
import { seededRandomBytes, hex, octets, secret } from './fixtures.js';

function aesBlock(key: Uint8Array, block: Uint8Array): Buffer {
  return createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block);
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((octet, i) => octet ^ b[i]!);
}

/** The block of integer `n`. */
function integerBlock(n: number): Uint8Array {
  return octets(n.toString(16).padStart(32, '0'));
}

/** RFC 4493 section 2.3: doubling in GF(2^128). */
function double(block: Uint8Array): Uint8Array {
  const n = BigInt(`0x${hex(block)}`);
  const shifted = ((n << 1n) & ((1n << 128n) - 1n)) ^ (n >> 127n === 1n ? 0x87n : 0n);
  return octets(shifted.toString(16).padStart(32, '0'));
}

/** RFC 4493 section 2.4. */
function independentCmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const k1 = double(aesBlock(key, new Uint8Array(16)));
  const lastAt = Math.max(0, Math.ceil(message.length / 16) - 1) * 16;
  const last = message.subarray(lastAt);
  const padded = octets(`${hex(last)}80`.padEnd(32, '0').slice(0, 32));
  let x: Uint8Array = new Uint8Array(16);
  for (let at = 0; at < lastAt; at += 16) x = aesBlock(key, xor(x, message.subarray(at, at + 16)));
  return aesBlock(key, xor(x, last.length === 16 ? xor(last, k1) : xor(padded, double(k1))));
}

/** SP 800-108r1 section 4.1 with a 32-bit counter before the fixed input. */
function independentCounterMode(key: Uint8Array, fixed: Uint8Array, length: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(length / 16) }, (_, i) =>
    independentCmac(key, Buffer.concat([integerBlock(i + 1).subarray(12), fixed])),
  );
  return Uint8Array.from(Buffer.concat(blocks).subarray(0, length));
}

/** RFC 4764 sections 3.1 and 3.2: the blocks of the modified counter mode. */
function modifiedCounter(key: Uint8Array, input: Uint8Array, counters: number[]): string {
  const first = aesBlock(key, input);
  return counters.map((n) => hex(aesBlock(key, xor(first, integerBlock(n))))).join('');
}

const any16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const randomBytes = seededRandomBytes('psk');

describe('AES-CMAC', () => {
  const key = octets('2b7e151628aed2a6abf7158809cf4f3c');
  const text = octets(
    '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710',
  );

  it.each([
    [0, 'bb1d6929e95937287fa37d129b756746'],
    [16, '070a16b46b4d4144f79bdd9dd04a287c'],
    [40, 'dfa66747de9ae63030ca32611497c827'],
    [64, '51f0bebf7e3b9d92fc49741779363cfe'],
  ])('RFC 4493 section 4, %i octets', (length, tag) => {
    expect(hex(cmac(text.subarray(0, length), key))).toBe(tag);
    expect(hex(independentCmac(key, text.subarray(0, length)))).toBe(tag);
  });

  it('gives the fingerprint that people tell keys apart by', () => {
    expect(Secret.from(key).fingerprint).toBe(hex(independentCmac(key, Buffer.from('latchkey fingerprint'))).slice(0, 4));
  });
});

describe('PSK_i and EK', () => {
  it('PSK_i is one AES block of RN_i XOR RN_c under K_i', () => {
    fc.assert(
      fc.property(any16, any16, any16, (key, rnI, rnC) => {
        expect(derivePsk(Secret.from(key), rnI, rnC).toHex()).toBe(hex(aesBlock(key, xor(rnI, rnC))));
      }),
    );
  });

  it.each([0x14, 0x15] as const)('EK under label %i is one AES block of the label and zeroes', (label) => {
    const [key, block] = [randomBytes(16), randomBytes(16)];
    const ek = aesBlock(key, octets(label.toString(16).padEnd(32, '0')));
    expect(hex(Secret.from(key).ccmCipher(label).encrypt(block))).toBe(hex(aesBlock(ek, block)));
  });

  it.each([0, 15, 17])('random numbers of %i octets are refused', (length) => {
    expect(() => derivePsk(secret(1), new Uint8Array(length), new Uint8Array(16))).toThrow(RangeError);
    expect(() => derivePsk(secret(1), new Uint8Array(16), new Uint8Array(length))).toThrow(RangeError);
  });
});

describe('application keys', () => {
  // KDFCTR_gen.rsp of NIST CAVP (CAVS 14.4): [PRF=CMAC_AES128] [CTRLOCATION=BEFORE_FIXED]
  // [RLEN=32_BITS], COUNT 0 and 10. Their fixed input is random, not label || 0 || context || L, so
  // they fit the construction below alone, which the package is held to.
  it.each([
    [
      'c10b152e8c97b77e18704e0f0bd38305',
      '98cd4cbbbebe15d17dc86e6dbad800a2dcbd64f7c7ad0e78e9cf94ffdba89d03e97eadf6c4f7b806caf52aa38f09d0eb71d71f497bcc6906b48d36c4',
      '26faf61908ad9ee881b8305c221db53f',
    ],
    [
      '695f1b1a16c949cea51cdf2554ec9d42',
      '4fce5942832a390aa1cbe8a0bf9d202cb799e986c9d6b51f45e4d597a6b57f06a4ebfec6467335d116b7f5f9c5b954062f661820f5db2a5bbb3e0625',
      'd34b601ec18c34dfa0f9e0b7523e218bdddb9befe8d08b6c0202d75ace0dba89',
    ],
  ])('the second computation reproduces CAVS KDFCTR, KI %s', (key, fixed, out) => {
    expect(hex(independentCounterMode(octets(key), octets(fixed), out.length / 2))).toBe(out);
  });

  const context = (idI: number): Uint8Array => octets(idI.toString(16).padStart(8, '0'));
  const fixedInput = (label: string, idI: number, length: number): Uint8Array =>
    Buffer.concat([Buffer.from(label), Uint8Array.of(0), context(idI), integerBlock(length * 8).subarray(12)]);
  const anyId = fc.integer({ min: 0, max: 0xffff_ffff });

  it('agree with it for any root, label, node and length', () => {
    const label = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
      .filter((text) => !text.includes('\0') && !text.startsWith('latchkey '));
    fc.assert(
      fc.property(any16, label, anyId, fc.integer({ min: 1, max: 255 }), (root, text, idI, length) => {
        expect(deriveApplicationKey(Secret.from(root), text, idI, length)).toEqual(
          independentCounterMode(root, fixedInput(text, idI, length), length),
        );
      }),
    );
  });

  it('come from an application root, which comes from the PSK in the same way, as the key ID comes from it', () => {
    fc.assert(
      fc.property(any16, anyId, (psk, idI) => {
        const root = deriveApplicationRoot(Secret.from(psk), idI);
        expect(root.toHex()).toBe(hex(independentCounterMode(psk, fixedInput('latchkey application root', idI, 16), 16)));
        expect(deriveKeyId(root, idI)).toBe(hex(independentCounterMode(root.expose(), fixedInput('latchkey key id', idI, 4), 4)));
      }),
    );
  });

  it('have 16 octets unless asked, and a longer one does not begin with a shorter', () => {
    const [short, long] = [deriveApplicationKey(secret(1), 'a', 1), deriveApplicationKey(secret(1), 'a', 1, 32)];
    expect(short).toHaveLength(16);
    expect(hex(long).startsWith(hex(short))).toBe(false);
  });

  it.each([
    ['an empty label', '', 16],
    ['a label with a NUL, which would end it early', 'a\0b', 16],
    ['a label of the profile itself', 'latchkey key id', 16],
    ['another label that is reserved', 'latchkey ', 16],
    ['no octets', 'a', 0],
    ['256 octets', 'a', 256],
    ['half an octet', 'a', 1.5],
  ])('are refused for %s', (_, label, length) => {
    expect(() => deriveApplicationKey(secret(1), label, 1, length)).toThrow(RangeError);
  });

  it.each(['latchkey', 'latchkey-dtls', 'Latchkey dtls'])('have labels that only look reserved: %s', (label) => {
    expect(deriveApplicationKey(secret(1), label, 1)).toHaveLength(16);
  });
});

describe('EAP-PSK (RFC 4764)', () => {
  it('AK and KDK are the first two blocks over zero', () => {
    fc.assert(
      fc.property(any16, (psk) => {
        const { ak, kdk } = deriveEapPskKeys(psk);
        expect(ak.toHex() + kdk.toHex()).toBe(modifiedCounter(psk, new Uint8Array(16), [1, 2]));
      }),
    );
  });

  it.each([0, 15, 17])('a key of %i octets is refused', (length) => {
    expect(() => deriveEapPskKeys(new Uint8Array(length))).toThrow(RangeError);
  });

  it('TEK, MSK and EMSK are the nine blocks over RAND_P', () => {
    fc.assert(
      fc.property(any16, any16, (kdk, randP) => {
        const { tek, msk, emsk } = deriveEapPskSessionKeys(Secret.from(kdk), randP);
        expect([tek.length, msk.length, emsk.length]).toEqual([16, 64, 64]);
        expect(hex(tek) + hex(msk) + hex(emsk)).toBe(modifiedCounter(kdk, randP, [1, 2, 3, 4, 5, 6, 7, 8, 9]));
      }),
    );
  });

  it.each([0, 15, 17])('a RAND_P of %i octets is refused', (length) => {
    expect(() => deriveEapPskSessionKeys(secret(1), new Uint8Array(length))).toThrow(RangeError);
  });
});
