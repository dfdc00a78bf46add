// Proves that octets are drawn once each, of any length, and that they are no pattern.

import { expect, it } from 'vitest';
import { randomOctets } from '../src/daemon/random.js';

it('draws the length that is asked for, up to 4,096, and says so beyond', () => {
  for (const length of [0, 1, 8, 13, 16, 4_095, 4_096]) expect(randomOctets(length)).toHaveLength(length);
  expect(() => randomOctets(4_097)).toThrow(RangeError);
});

it('never draws the same twice, across many pools, and every bit of it is set about half of the time', () => {
  const drawn = Array.from({ length: 20_000 }, () => randomOctets(13));
  expect(new Set(drawn.map((octets) => octets.join())).size).toBe(drawn.length);
  const set = Array.from({ length: 13 * 8 }, () => 0);
  for (const octets of drawn)
    for (const [i, octet] of octets.entries()) for (let bit = 0; bit < 8; bit++) set[i * 8 + bit]! += (octet >> bit) & 1;
  // 20,000 tosses of a coin: 10,000 with a standard deviation of 71.
  for (const count of set) expect(Math.abs(count - 10_000)).toBeLessThan(600);
});
