import { describe, expect, it } from 'vitest';
import { BodyCredit, LONGEST_REQUEST_MS, MIN_BODY_RATE, REQUEST_TIMEOUT_S } from '../src/body-timeouts.js';
import { MAX_IMPORT_BODY } from '../src/large-bodies.js';

/** Returns after how many seconds no time is left, up to `most`. */
function lasts(octetsAfter: (seconds: number) => number, hasMinimumRate: boolean, most: number = 2_000): number {
  const credit = new BodyCredit(octetsAfter(0));
  for (let seconds = 1; seconds <= most; seconds++) if (credit.tick(octetsAfter(seconds), hasMinimumRate)) return seconds;
  return Infinity;
}

describe('the time of a body', () => {
  it('is fixed for a small one, however fast it arrives', () => {
    expect(lasts((seconds) => 1_000_000 * seconds, false)).toBe(REQUEST_TIMEOUT_S);
  });

  it('lasts as long as a large one arrives at its minimum rate', () => {
    expect(lasts((seconds) => MIN_BODY_RATE * seconds, true)).toBe(Infinity);
    expect(lasts((seconds) => 125_000 * seconds, true)).toBe(Infinity);
  });

  it('is the fixed one for a large one that stops, whatever has arrived before', () => {
    const stopsAfter = 30;
    expect(lasts((seconds) => 1_000_000 * Math.min(seconds, stopsAfter), true)).toBe(stopsAfter + REQUEST_TIMEOUT_S - 1);
  });

  it('is at most twice the fixed one for a large one at half the rate, and hardly more for single octets', () => {
    expect(lasts((seconds) => (MIN_BODY_RATE / 2) * seconds, true)).toBeLessThanOrEqual(2 * REQUEST_TIMEOUT_S);
    expect(lasts((seconds) => seconds, true)).toBeLessThanOrEqual(REQUEST_TIMEOUT_S + 1);
  });

  it('survives pauses shorter than the fixed one', () => {
    expect(lasts((seconds) => 10 * MIN_BODY_RATE * Math.floor(seconds / 8), true)).toBe(Infinity);
  });

  it('ends with the largest body at the minimum rate', () => {
    expect(LONGEST_REQUEST_MS / 1000).toBeGreaterThanOrEqual(MAX_IMPORT_BODY / MIN_BODY_RATE);
  });
});
