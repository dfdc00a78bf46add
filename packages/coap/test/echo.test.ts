// Proves that an Echo proves the address it was issued to, for a minute, in the process that issued
// it, and nothing else.

import { describe, expect, it } from 'vitest';
import { EchoValidator } from '../src/echo.js';

const SOURCE = '192.0.2.7 49152';
const NOW = 5_000_000;

describe('an Echo', () => {
  const validator = new EchoValidator();
  const echo = validator.issue(SOURCE, NOW);

  it('has 12 octets, which every client can bring back', () => {
    expect(echo).toHaveLength(12);
  });

  it.each([0, 1_000, 59_000])('proves its source %i ms later', (later) => {
    expect(validator.verify(echo, SOURCE, NOW + later)).toBe(true);
  });

  it.each([60_000, 61_000, 4_294_967_296_000])('proves nothing %i ms later', (later) => {
    expect(validator.verify(echo, SOURCE, NOW + later)).toBe(false);
  });

  it('proves nothing before it was issued', () => {
    expect(validator.verify(echo, SOURCE, NOW - 1_000)).toBe(false);
  });

  it.each(['192.0.2.7 49153', '192.0.2.8 49152', '192.0.2.7 4915', '192.0.2.7 49152 ', '', '2001:db8::7 49152'])(
    'proves nothing of %j',
    (other) => expect(validator.verify(echo, other, NOW)).toBe(false),
  );

  it('proves nothing in another process', () => {
    expect(new EchoValidator().verify(echo, SOURCE, NOW)).toBe(false);
  });

  it('proves nothing with any one bit changed', () => {
    for (let bit = 0; bit < echo.length * 8; bit++) {
      const changed = Buffer.from(echo);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(validator.verify(changed, SOURCE, NOW)).toBe(false);
    }
  });

  it.each([0, 1, 11, 13, 40])('proves nothing with %i octets', (length) => {
    expect(validator.verify(Buffer.concat([echo, Buffer.alloc(40)]).subarray(0, length), SOURCE, NOW)).toBe(false);
  });

  it('proves nothing where there is none', () => {
    expect(validator.verify(undefined, SOURCE, NOW)).toBe(false);
  });

  it('tells sources apart that differ in their last octet alone, however long they are', () => {
    for (let length = 1; length < 60; length++) {
      const issued = validator.issue(`${'a'.repeat(length)}0`, NOW);
      expect(validator.verify(issued, `${'a'.repeat(length)}0`, NOW)).toBe(true);
      expect(validator.verify(issued, `${'a'.repeat(length)}1`, NOW)).toBe(false);
      expect(validator.verify(issued, `${'a'.repeat(length)}0\0`, NOW)).toBe(false);
    }
  });
});
