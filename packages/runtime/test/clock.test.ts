// Proves that a wall clock that was set back is noticed, for five minutes of the clock nobody sets.

import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { Clocks } from '@latchkey/protocol';
import { ClockStepDetector, readClock } from '../src/daemon/clock.js';

const WALL = 1_795_000_000_000;
const at = (wall: number, steady: number): Clocks => ({ wallMs: WALL + wall, monotonicMs: steady });

describe('a clock that is watched', () => {
  it.each([
    ['runs on', at(10_000, 10_000)],
    ['is set forward', at(3_600_000, 10_000)],
    ['is slewed by less than a second', at(9_001, 10_000)],
  ])('and %s has not been set back', (_, now) => {
    expect(new ClockStepDetector(at(0, 0)).observe(now)).toBe(false);
  });

  it.each([
    ['to before the start', at(-1_500, 10)],
    ['by more than a second between two looks', at(8_900, 10_000)],
  ])('and is set back %s is refused for five minutes from then', (_, now) => {
    const detector = new ClockStepDetector(at(0, 0));
    expect(detector.observe(now)).toBe(true);
    const later = (ms: number): { wallMs: number; monotonicMs: number } => ({
      wallMs: now.wallMs + ms,
      monotonicMs: now.monotonicMs + ms,
    });
    expect(detector.observe(later(299_999))).toBe(true);
    expect(detector.observe(later(300_000))).toBe(false);
  });

  it('and is set back by many small steps is refused once they come to more than a second', () => {
    const detector = new ClockStepDetector(at(0, 0));
    for (const [i, back] of [300, 600, 900, 1_000].entries())
      expect(detector.observe(at(10_000 * i - back, 10_000 * i))).toBe(false);
    expect(detector.observe(at(40_000 - 1_200, 40_000))).toBe(true);
    expect(detector.observe(at(340_000 - 1_200, 340_000))).toBe(false);
    expect(detector.observe(at(350_000 - 1_500, 350_000))).toBe(false);
  });

  it('begins five minutes anew with each step back', () => {
    const detector = new ClockStepDetector(at(0, 0));
    expect(detector.observe(at(-5_000, 0))).toBe(true);
    expect(detector.observe(at(280_000, 299_000))).toBe(true);
    expect(detector.observe(at(580_000, 598_999))).toBe(true);
    expect(detector.observe(at(581_000, 600_000))).toBe(false);
  });

  it('counts a break for each step back that it notices', () => {
    const detector = new ClockStepDetector(at(0, 0));
    const discontinuities = [at(10_000, 10_000), at(5_000, 20_000), at(14_500, 30_000), at(0, 40_000), at(3_600_000, 50_000)].map(
      (now) => {
        detector.observe(now);
        return detector.discontinuities;
      },
    );
    expect(discontinuities).toEqual([0, 1, 1, 2, 2]);
  });
});

describe('a clock that was watched before the start', () => {
  const kept = at(0, 100_000);
  /** Whether M7 is refused for five minutes, how many breaks. */
  const started = (
    start: Clocks,
    before: ConstructorParameters<typeof ClockStepDetector>[1] = { savedAt: kept },
  ): [boolean, number] => {
    const detector = new ClockStepDetector(start, before);
    return [detector.observe(start), detector.discontinuities];
  };

  it.each([
    ['ran on', at(600_000, 700_000), [false, 0]],
    ['ran on, slewed by less than a second', at(599_100, 700_000), [false, 0]],
    ['was set back, to a later time than that kept', at(500_000, 700_000), [true, 1]],
    ['was set back, to an earlier one', at(-5_000, 700_000), [true, 1]],
    ['was set forward', at(900_000, 700_000), [false, 1]],
    ['shows a later time after the machine was started anew', at(600_000, 20_000), [false, 1]],
    ['stood still while the machine was off', at(0, 20_000), [false, 1]],
    ['shows an earlier time after the machine was started anew', at(-5_000, 20_000), [true, 1]],
  ])('%s', (_, start, expected) => {
    expect(started(start)).toEqual(expected);
  });

  it('and set back then is refused for what is left of the five minutes', () => {
    expect(started(at(10_000, 110_000), { savedAt: kept, steppedBackAt: 90_000 })).toEqual([true, 0]);
    expect(started(at(290_000, 390_000), { savedAt: kept, steppedBackAt: 90_000 })).toEqual([false, 0]);
  });

  it('and of which nothing is kept is as good as new', () => {
    expect(started(at(0, 70), {})).toEqual([false, 0]);
  });
});

describe('the clock', () => {
  it('goes by a monotonic clock that the next process goes by too', () => {
    const before = readClock().monotonicMs;
    const script = 'process.stdout.write(String(Number(process.hrtime.bigint()) / 1e6))';
    const theirs = Number(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }));
    expect(theirs).toBeGreaterThan(before);
    expect(theirs).toBeLessThan(readClock().monotonicMs);
  });

  it('tells milliseconds since the epoch, whole, and a time that does not go back', () => {
    const before = Date.now();
    const [first, second] = [readClock(), readClock()];
    expect(Number.isInteger(first.wallMs)).toBe(true);
    expect(first.wallMs).toBeGreaterThanOrEqual(before);
    expect(second.monotonicMs).toBeGreaterThanOrEqual(first.monotonicMs);
  });
});
