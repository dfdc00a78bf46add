// Proves that identifiers are written as people are told to write them, and that nothing else is
// read as one.

import { describe, expect, it } from 'vitest';
import { formatId, formatTid, isId, parseId } from '../src/id.js';

describe('ID_i and ID_c', () => {
  it.each([
    [0, '00000000'],
    [0xa1b2, '0000a1b2'],
    [0x8000_0000, '80000000'],
    [0xffff_ffff, 'ffffffff'],
  ])('%i is written %s and read back', (id, text) => {
    expect(formatId(id)).toBe(text);
    expect(parseId(text)).toBe(id);
    expect(parseId(text.toUpperCase())).toBe(id);
  });

  it.each(['', 'a1b2', '0000a1b', '0000a1b20', '0x00a1b2', ' 000a1b2', '0000a1b2\n', '0000a1g2', '-000a1b2', '0000 1b2'])(
    '%j is none',
    (text) => {
      expect(parseId(text)).toBeUndefined();
    },
  );

  it.each([-1, 0x1_0000_0000, 1.5, Number.NaN, Infinity])('%d is none', (value) => {
    expect(isId(value)).toBe(false);
  });

  it('the ends of the range are', () => {
    expect([0, 0xffff_ffff].every(isId)).toBe(true);
  });
});

it('a TID is written with 16 hex digits', () => {
  expect([0n, 0xffff_ffff_ffff_ffffn].map(formatTid)).toEqual(['0000000000000000', 'ffffffffffffffff']);
});
