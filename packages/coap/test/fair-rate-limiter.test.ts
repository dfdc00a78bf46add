// Proves that what is scarce is shared fairly: who asks seldom is served under a flood, who asks
// alone gets all, and the sum holds.

import { describe, expect, it } from 'vitest';
import { FairRateLimiter } from '../src/fair-rate-limiter.js';

const PER_SECOND = 1_000;

interface Stream {
  readonly source: (i: number) => string;
  readonly perSecond: number;
}

/**
 * Plays `streams` for so many seconds of made-up time; gives how many requests of each were served
 * after the first second.
 */
function play(limiter: FairRateLimiter, streams: readonly Stream[], seconds: number): number[] {
  const served = streams.map(() => 0);
  const counts = streams.map(() => 0);
  const step = 0.25;
  for (let now = 0; now < seconds * 1_000; now += step) {
    streams.forEach(({ source, perSecond }, which) => {
      const due = Math.floor(((now + step) * perSecond) / 1_000);
      for (; (counts[which] ?? 0) < due; counts[which] = (counts[which] ?? 0) + 1) {
        if (limiter.allow(source(counts[which] ?? 0), now) && now >= 1_000) served[which] = (served[which] ?? 0) + 1;
      }
    });
  }
  return served;
}

describe('a fair share', () => {
  it('serves everybody while there is enough, also one who asks for all of it', () => {
    const [alone] = play(new FairRateLimiter(PER_SECOND), [{ source: () => '192.0.2.1', perSecond: 900 }], 3);
    expect(alone).toBe(1_800);
  });

  it('gives one who asks for more than there is about all there is', () => {
    const [alone = 0] = play(new FairRateLimiter(PER_SECOND), [{ source: () => '192.0.2.1', perSecond: 20_000 }], 4);
    expect(alone).toBeGreaterThan(3_000 * 0.7);
    expect(alone).toBeLessThan(3_000 * 1.3);
  });

  it('serves who asks seldom, each time, whoever floods', () => {
    const flood: Stream = { source: (i) => `127.1.${(i * 7) % 100}.${(i * i) % 11}`, perSecond: 50_000 };
    const honest: Stream = { source: (i) => `198.51.100.${i}`, perSecond: 5 };
    const [flooded = 0, served] = play(new FairRateLimiter(PER_SECOND), [flood, honest], 5);
    expect(served).toBe(20);
    expect(flooded).toBeLessThan(4_000 * 1.3);
  });

  it('holds the sum also where no source comes twice', () => {
    const flood: Stream = { source: (i) => `10.${i & 255}.${(i >> 8) & 255}.${i >> 16}`, perSecond: 60_000 };
    const [served = 0] = play(new FairRateLimiter(PER_SECOND), [flood], 3);
    expect(served).toBeLessThanOrEqual(4 * 2_000);
  });

  it('serves a second’s worth at once after it was quiet, though it comes from few sources, and no more', () => {
    const begin = (requests: number, everyMs: number): number => {
      const limiter = new FairRateLimiter(PER_SECOND);
      let served = 0;
      for (let i = 0; i < requests; i++) if (limiter.allow(`192.0.2.${i % 3}`, 10_000 + i * everyMs)) served += 1;
      return served;
    };
    expect(begin(PER_SECOND, 0.3)).toBe(PER_SECOND);
    // As they are found waiting by a process that was busy.
    expect(begin(PER_SECOND, 0)).toBe(PER_SECOND);
    expect(begin(3 * PER_SECOND, 0)).toBeLessThan(1.3 * PER_SECOND);
    // Over 0.9 s: what was saved, what is there meanwhile, and what goes before the wait is long
    // enough.
    expect(begin(3 * PER_SECOND, 0.3)).toBeLessThan(2.4 * PER_SECOND);
  });

  it('is generous again when the flood is over', () => {
    const limiter = new FairRateLimiter(PER_SECOND);
    play(limiter, [{ source: () => '192.0.2.1', perSecond: 20_000 }], 3);
    const later = [5_000, 5_001, 5_002, 5_003].map((now) => limiter.allow('192.0.2.1', now));
    expect(later).toEqual([true, true, true, true]);
  });
});
