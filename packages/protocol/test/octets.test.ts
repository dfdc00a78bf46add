// Proves that a field takes just what fits and says so otherwise, and that a message is written
// whole.

import { describe, expect, it } from 'vitest';
import { Reader, Writer } from '../src/octets.js';
import { hex } from './fixtures.js';

describe('Writer', () => {
  const fields = ['u8', 'u32', 'u64'] as const;
  const bits = { u8: 8, u32: 32, u64: 64 };

  function write(field: (typeof fields)[number], value: number | bigint): Uint8Array {
    const w = new Writer(bits[field] / 8);
    return field === 'u64' ? w.u64(BigInt(value)).done() : w[field](Number(value)).done();
  }

  it.each(fields)('%s: 0, 1 and the largest are written big-endian', (field) => {
    const zeroes = '00'.repeat(bits[field] / 8);
    expect(hex(write(field, 0))).toBe(zeroes);
    expect(hex(write(field, 1))).toBe(`${zeroes.slice(2)}01`);
    expect(hex(write(field, 2n ** BigInt(bits[field]) - 1n))).toBe(zeroes.replaceAll('0', 'f'));
  });

  it.each(fields)('%s: one more than the largest, and less than 0, are refused', (field) => {
    const tooLarge = 2n ** BigInt(bits[field]);
    for (const value of [tooLarge, tooLarge + 1n, tooLarge * 2n, -1n, -tooLarge])
      expect(() => write(field, value), `${value}`).toThrow(RangeError);
  });

  it.each([0.5, 254.999, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('u8, u32: %d is refused', (value) => {
    expect(() => write('u8', value)).toThrow(RangeError);
    expect(() => write('u32', value)).toThrow(RangeError);
  });

  it('a value that was refused is not written', () => {
    const w = new Writer(4);
    expect(() => w.u32(2 ** 32)).toThrow(RangeError);
    expect(hex(w.u32(7).done())).toBe('00000007');
  });

  it.each([0, 3, 5])('4 octets are not %i', (length) => {
    expect(() => new Writer(4).bytes(new Uint8Array(length), 4)).toThrow(RangeError);
  });

  it('a field left out, or one too many, is a mistake', () => {
    expect(() => new Writer(5).u32(1).done()).toThrow('5 octets planned, 4 written');
    expect(() => new Writer(5).u32(1).u32(1)).toThrow(RangeError);
  });

  it('what is written is read back', () => {
    const octets = new Writer(16)
      .u8(255)
      .u32(0xffff_fffe)
      .u64(2n ** 64n - 2n)
      .bytes(Uint8Array.of(1, 2, 3), 3)
      .done();
    const r = new Reader(octets);
    expect([r.u8(), r.u32(), r.u64(), r.rest()]).toEqual([255, 0xffff_fffe, 2n ** 64n - 2n, Uint8Array.of(1, 2, 3)]);
  });
});
