// Proves what is remembered of the times a clock showed, and that no M7 whose M3 was given before a
// break passes for one of after it.

import {
  MAX_SERVER_CLOCK_SKEW_MS,
  MAX_REISSUE_AHEAD_MS,
  afterDiscontinuity,
  needsExtension,
  isCovered,
  RESERVE_AHEAD_MS,
  EMPTY_HISTORY,
  findPreviousRange,
  rejectedUntil,
  type ClockHistory,
  addRange,
  extendTo,
} from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClockStepDetector, serverTime } from '../src/daemon/clock.js';

const WALL = 1_795_000_000_000;
const YEAR = 31_536_000_000;
const at = (ms: number): { wallMs: number; monotonicMs: number } => ({ wallMs: WALL + ms, monotonicMs: ms });

describe('the time', () => {
  it('is kept for a minute ahead, and due again when half of that is over', () => {
    const history = extendTo(EMPTY_HISTORY, at(0));
    expect([-1, 0, 30_000, 60_000, 60_001].map((ms) => isCovered(history, WALL + ms))).toEqual([false, true, true, true, false]);
    expect([0, 30_000, 30_001].map((ms) => needsExtension(history, WALL + ms))).toEqual([false, false, true]);
    expect(needsExtension(EMPTY_HISTORY, WALL)).toBe(true);
  });

  it('is one span while the clock runs on, and another once it is set far forward', () => {
    let history = EMPTY_HISTORY;
    for (const ms of [0, 30_000, 60_000, 180_000, YEAR]) history = extendTo(history, at(ms));
    expect(history.current).toEqual([
      { from: WALL, until: WALL + 240_000 },
      { from: WALL + YEAR, until: WALL + YEAR + RESERVE_AHEAD_MS },
    ]);
  });

  it('is bounded: what lies closest to each other becomes one', () => {
    let history: ClockHistory = EMPTY_HISTORY;
    for (const hours of [0, 10, 20, 21, 30, 40, 50, 60, 70, 80]) {
      const from = WALL + hours * 3_600_000;
      history = addRange(history, { from, until: from });
    }
    const hours = history.current.map(({ from, until }) => [from, until].map((ms) => (ms - WALL) / 3_600_000));
    expect(hours.slice(0, 3)).toEqual([
      [0, 0],
      [10, 10],
      [20, 30],
    ]);
    expect(hours).toHaveLength(8);
  });
});

describe('the time that servers go by', () => {
  const history = extendTo(extendTo(EMPTY_HISTORY, at(0)), at(20_000));

  it('is that of a process whose clocks agree with theirs, and of any while there is no server', () => {
    expect(serverTime(history, at(25_000))).toBe(WALL + 25_000);
    expect(serverTime(history, at(3_600_000))).toBe(WALL + 3_600_000);
    expect(serverTime(history, { ...at(25_000), wallMs: WALL + 25_900 })).toBe(WALL + 25_900);
    expect(serverTime(EMPTY_HISTORY, at(-YEAR))).toBe(WALL - YEAR);
  });

  it('is the latest that they may have shown where a clock was set, or the machine started anew', () => {
    const latest = WALL + 80_000;
    for (const wall of [-YEAR, 20_000, 30_000, YEAR])
      expect(serverTime(history, { wallMs: WALL + wall, monotonicMs: 25_000 })).toBe(latest);
    expect(serverTime(history, { wallMs: WALL + 25_000, monotonicMs: 5_000 })).toBe(latest);
    // What they showed before a break is past.
    expect(serverTime(afterDiscontinuity(history, at(-3_600_000), 0), { wallMs: WALL, monotonicMs: -3_500_000 })).toBe(
      WALL - 3_540_000,
    );
  });

  it('is not so far ahead of their clock that an auth-server ignores it', () => {
    expect(MAX_REISSUE_AHEAD_MS).toBeGreaterThanOrEqual(RESERVE_AHEAD_MS + MAX_SERVER_CLOCK_SKEW_MS);
  });
});

describe('after a break', () => {
  const right = addRange(EMPTY_HISTORY, { from: WALL - YEAR, until: WALL });

  it('an M7 is past if its M3 may have been given before, and only then', () => {
    const history = afterDiscontinuity(right, at(-600_000), 0);
    const is = (ms: number): boolean => findPreviousRange(history, WALL + ms) !== undefined;
    expect([-YEAR - 30_001, -YEAR - 30_000, -600_000, 30_000, 30_001].map(is)).toEqual([false, true, true, true, false]);
    expect([-600_000, 30_000, 30_001].map((ms) => rejectedUntil(history, WALL + ms))).toEqual([
      WALL + 30_000,
      WALL + 30_000,
      undefined,
    ]);
  });

  it('from a clock that was far ahead nothing is refused now, but what it showed', () => {
    const ahead = extendTo(right, at(YEAR));
    const history = afterDiscontinuity(ahead, at(120_000), 0);
    expect([120_000, YEAR / 2, YEAR, YEAR + 90_001].map((ms) => findPreviousRange(history, WALL + ms) !== undefined)).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });

  it('what was past stays so', () => {
    const once = afterDiscontinuity(right, at(-600_000), 0);
    const twice = afterDiscontinuity(once, at(-YEAR - 600_000), 0);
    expect(findPreviousRange(twice, WALL)).toEqual(findPreviousRange(once, WALL));
    expect(findPreviousRange(twice, WALL - YEAR - 600_000 + 1)).toBeUndefined();
  });
});

describe('whatever a clock does', () => {
  /** Real time passes, and the clock is set; a start is one after the machine was off. */
  const move = fc.record({
    elapsed: fc.oneof(fc.integer({ min: 1, max: 400_000 }), fc.integer({ min: 1, max: 20_000 })),
    adjustment: fc.option(
      fc.oneof(fc.integer({ min: -700_000, max: 700_000 }), fc.constantFrom(-86_400_000, -3_600_000, 3_600_000, YEAR, -YEAR)),
    ),
    off: fc.boolean(),
  });

  it('no M7 is committed 300 s after its M3 was given, less what a write takes', () => {
    fc.assert(
      fc.property(fc.array(move, { minLength: 2, maxLength: 25 }), fc.integer({ min: -30_000, max: 30_000 }), (moves, skew) => {
        let [now, error, booted] = [0, 0, 0];
        let history: ClockHistory = EMPTY_HISTORY;
        const clocks = (): { wallMs: number; monotonicMs: number } => ({ wallMs: WALL + now + error, monotonicMs: now - booted });
        let detector = new ClockStepDetector(clocks(), history);
        let reported = 0;
        const given: { readonly ts: number; readonly at: number }[] = [];
        for (const { elapsed, adjustment, off } of moves) {
          now += elapsed;
          error += adjustment ?? 0;
          if (off) {
            booted = now - 15_000;
            // All that cannot be told from a clock that ran on (docs/SECURITY.md, "What is not").
            fc.pre(
              !(
                history.savedAt &&
                history.savedAt.monotonicMs <= 15_000 &&
                Math.abs(history.savedAt.wallMs - history.savedAt.monotonicMs - WALL - error - booted) <= 1_000
              ),
            );
            detector = new ClockStepDetector(clocks(), history);
            reported = 0;
          }
          const { wallMs, monotonicMs } = clocks();
          const steppedBack = detector.observe({ wallMs, monotonicMs });
          if (detector.discontinuities !== reported)
            history = afterDiscontinuity(history, { wallMs, monotonicMs }, detector.steppedBackAt);
          else if (needsExtension(history, wallMs)) history = extendTo(history, { wallMs, monotonicMs });
          reported = detector.discontinuities;
          expect(isCovered(history, wallMs)).toBe(true);
          const ages = given
            .filter(({ ts }) => wallMs - 90_000 <= ts && ts <= wallMs + 30_000 && findPreviousRange(history, ts) === undefined)
            .map((m3) => now - m3.at);
          expect(steppedBack ? 0 : Math.max(0, ...ages)).toBeLessThanOrEqual(121_000);
          given.push({ ts: wallMs + skew, at: now });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
