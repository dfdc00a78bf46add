// Proves which texts are durations and that a duration is written as it is read.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../src/config/duration.js';

describe('a duration', () => {
  it.each([
    ['45s', 45],
    ['90m', 5_400],
    ['12h', 43_200],
    ['30d', 2_592_000],
    ['2w', 1_209_600],
    ['none', 0],
    ['4294967295s', 4_294_967_295],
    ['7101w', 4_294_684_800],
  ])('%j is %i s', (text, seconds) => expect(parseDuration(text)).toBe(seconds));

  it.each([
    '',
    '30',
    'd',
    '30 d',
    '-1d',
    '1.5h',
    '30D',
    '30days',
    'never',
    '0',
    '0s',
    '0d',
    '4294967296s',
    '7102w',
    '99999999999s',
    '1d\n',
  ])('is not %j', (text) => expect(parseDuration(text)).toBeUndefined());

  it.each([
    [0, 'none'],
    [59, '59s'],
    [60, '1m'],
    [61, '61s'],
    [3_600, '1h'],
    [86_400, '1d'],
    [604_800, '7d'],
    [90_000, '25h'],
  ])('of %i s is written %j', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), (seconds) => {
        expect(parseDuration(formatDuration(seconds))).toBe(seconds);
      }),
    );
  });
});
