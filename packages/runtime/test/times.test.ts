// Proves what is remembered of the times a clock showed, and that no M7 whose M3 was given before a break passes for one of after it.

import { MAX_SERVER_CLOCK_SKEW_MS, MAX_REISSUE_AHEAD_MS } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClockStepWatch, timeOfServers } from '../src/clock.js';
import {
  afterBreak,
  isDue,
  isKept,
  KEPT_AHEAD_MS,
  NO_TIMES,
  pastOf,
  refusedUntil,
  type Times,
  withSpan,
  withTime,
} from '../src/times.js';

const WALL = 1_795_000_000_000;
const YEAR = 31_536_000_000;
const at = (ms: number): { wallMs: number; monotonicMs: number } => ({ wallMs: WALL + ms, monotonicMs: ms });

describe('the time', () => {
  it('is kept for a minute ahead, and due again when half of that is over', () => {
    const times = withTime(NO_TIMES, at(0));
    expect([-1, 0, 30_000, 60_000, 60_001].map((ms) => isKept(times, WALL + ms))).toEqual([false, true, true, true, false]);
    expect([0, 30_000, 30_001].map((ms) => isDue(times, WALL + ms))).toEqual([false, false, true]);
    expect(isDue(NO_TIMES, WALL)).toBe(true);
  });

  it('is one span while the clock runs on, and another once it is set far forward', () => {
    let times = NO_TIMES;
    for (const ms of [0, 30_000, 60_000, 180_000, YEAR]) times = withTime(times, at(ms));
    expect(times.shown).toEqual([
      { from: WALL, until: WALL + 240_000 },
      { from: WALL + YEAR, until: WALL + YEAR + KEPT_AHEAD_MS },
    ]);
  });

  it('is bounded: what lies closest to each other becomes one', () => {
    let times: Times = NO_TIMES;
    for (const hours of [0, 10, 20, 21, 30, 40, 50, 60, 70, 80]) {
      const from = WALL + hours * 3_600_000;
      times = withSpan(times, { from, until: from });
    }
    const hours = times.shown.map(({ from, until }) => [from, until].map((ms) => (ms - WALL) / 3_600_000));
    expect(hours.slice(0, 3)).toEqual([
      [0, 0],
      [10, 10],
      [20, 30],
    ]);
    expect(hours).toHaveLength(8);
  });
});

describe('the time that servers go by', () => {
  const times = withTime(withTime(NO_TIMES, at(0)), at(20_000));

  it('is that of a process whose clocks agree with theirs, and of any while there is no server', () => {
    expect(timeOfServers(times, at(25_000))).toBe(WALL + 25_000);
    expect(timeOfServers(times, at(3_600_000))).toBe(WALL + 3_600_000);
    expect(timeOfServers(times, { ...at(25_000), wallMs: WALL + 25_900 })).toBe(WALL + 25_900);
    expect(timeOfServers(NO_TIMES, at(-YEAR))).toBe(WALL - YEAR);
  });

  it('is the latest that they may have shown where a clock was set, or the machine started anew', () => {
    const latest = WALL + 80_000;
    for (const wall of [-YEAR, 20_000, 30_000, YEAR])
      expect(timeOfServers(times, { wallMs: WALL + wall, monotonicMs: 25_000 })).toBe(latest);
    expect(timeOfServers(times, { wallMs: WALL + 25_000, monotonicMs: 5_000 })).toBe(latest);
    // What they showed before a break is past.
    expect(timeOfServers(afterBreak(times, at(-3_600_000), 0), { wallMs: WALL, monotonicMs: -3_500_000 })).toBe(WALL - 3_540_000);
  });

  it('is not so far ahead of their clock that an auth-server ignores it', () => {
    expect(MAX_REISSUE_AHEAD_MS).toBeGreaterThanOrEqual(KEPT_AHEAD_MS + MAX_SERVER_CLOCK_SKEW_MS);
  });
});

describe('after a break', () => {
  const right = withSpan(NO_TIMES, { from: WALL - YEAR, until: WALL });

  it('an M7 is past if its M3 may have been given before, and only then', () => {
    const times = afterBreak(right, at(-600_000), 0);
    const is = (ms: number): boolean => pastOf(times, WALL + ms) !== undefined;
    expect([-YEAR - 30_001, -YEAR - 30_000, -600_000, 30_000, 30_001].map(is)).toEqual([false, true, true, true, false]);
    expect([-600_000, 30_000, 30_001].map((ms) => refusedUntil(times, WALL + ms))).toEqual([
      WALL + 30_000,
      WALL + 30_000,
      undefined,
    ]);
  });

  it('from a clock that was far ahead nothing is refused now, but what it showed', () => {
    const ahead = withTime(right, at(YEAR));
    const times = afterBreak(ahead, at(120_000), 0);
    expect([120_000, YEAR / 2, YEAR, YEAR + 90_001].map((ms) => pastOf(times, WALL + ms) !== undefined)).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });

  it('what was past stays so', () => {
    const once = afterBreak(right, at(-600_000), 0);
    const twice = afterBreak(once, at(-YEAR - 600_000), 0);
    expect(pastOf(twice, WALL)).toEqual(pastOf(once, WALL));
    expect(pastOf(twice, WALL - YEAR - 600_000 + 1)).toBeUndefined();
  });
});

describe('whatever a clock does', () => {
  /** Real time passes, and the clock is set; a start is one after the machine was off. */
  const move = fc.record({
    passes: fc.oneof(fc.integer({ min: 1, max: 400_000 }), fc.integer({ min: 1, max: 20_000 })),
    set: fc.option(
      fc.oneof(fc.integer({ min: -700_000, max: 700_000 }), fc.constantFrom(-86_400_000, -3_600_000, 3_600_000, YEAR, -YEAR)),
    ),
    off: fc.boolean(),
  });

  it('no M7 is committed 300 s after its M3 was given, less what a write takes', () => {
    fc.assert(
      fc.property(fc.array(move, { minLength: 2, maxLength: 25 }), fc.integer({ min: -30_000, max: 30_000 }), (moves, skew) => {
        let [now, error, booted] = [0, 0, 0];
        let times: Times = NO_TIMES;
        const clocks = (): { wallMs: number; monotonicMs: number } => ({ wallMs: WALL + now + error, monotonicMs: now - booted });
        let watch = new ClockStepWatch(clocks(), times);
        let told = 0;
        const given: { readonly ts: number; readonly at: number }[] = [];
        for (const { passes, set, off } of moves) {
          now += passes;
          error += set ?? 0;
          if (off) {
            booted = now - 15_000;
            // All that cannot be told from a clock that ran on (docs/SECURITY.md, "What is not").
            fc.pre(
              !(
                times.kept &&
                times.kept.monotonicMs <= 15_000 &&
                Math.abs(times.kept.wallMs - times.kept.monotonicMs - WALL - error - booted) <= 1_000
              ),
            );
            watch = new ClockStepWatch(clocks(), times);
            told = 0;
          }
          const { wallMs, monotonicMs } = clocks();
          const setBack = watch.observe({ wallMs: wallMs, monotonicMs: monotonicMs });
          if (watch.breaks !== told) times = afterBreak(times, { wallMs: wallMs, monotonicMs: monotonicMs }, watch.setBackAt);
          else if (isDue(times, wallMs)) times = withTime(times, { wallMs: wallMs, monotonicMs: monotonicMs });
          told = watch.breaks;
          expect(isKept(times, wallMs)).toBe(true);
          const ages = given
            .filter(({ ts }) => wallMs - 90_000 <= ts && ts <= wallMs + 30_000 && pastOf(times, ts) === undefined)
            .map((m3) => now - m3.at);
          expect(setBack ? 0 : Math.max(0, ...ages)).toBeLessThanOrEqual(121_000);
          given.push({ ts: wallMs + skew, at: now });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
