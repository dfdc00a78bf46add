// Proves that a wall clock that was set back is noticed, for five minutes of the clock nobody sets.

import { describe, expect, it } from 'vitest';
import { ClockStepWatch, readClock } from '../src/clock.js';

const WALL = 1_795_000_000_000;
const at = (wall: number, steady: number): { wall: number; steady: number } => ({ wall: WALL + wall, steady });

describe('a clock that is watched', () => {
  it.each([
    ['runs on', at(10_000, 10_000)],
    ['is set forward', at(3_600_000, 10_000)],
    ['is slewed by less than a second', at(9_001, 10_000)],
  ])('and %s has not been set back', (_, now) => {
    expect(new ClockStepWatch(at(0, 0)).observe(now)).toBe(false);
  });

  it.each([
    ['to before the start', at(-1_500, 10)],
    ['by more than a second between two looks', at(8_900, 10_000)],
  ])('and is set back %s is refused for five minutes from then', (_, now) => {
    const watch = new ClockStepWatch(at(0, 0));
    expect(watch.observe(now)).toBe(true);
    const later = (steady: number): { wall: number; steady: number } => ({
      wall: now.wall + steady,
      steady: now.steady + steady,
    });
    expect(watch.observe(later(299_999))).toBe(true);
    expect(watch.observe(later(300_000))).toBe(false);
  });

  it('and is set back by many small steps is refused once they come to more than a second', () => {
    const watch = new ClockStepWatch(at(0, 0));
    for (const [i, back] of [300, 600, 900, 1_000].entries())
      expect(watch.observe(at(10_000 * i - back, 10_000 * i))).toBe(false);
    expect(watch.observe(at(40_000 - 1_200, 40_000))).toBe(true);
    expect(watch.observe(at(340_000 - 1_200, 340_000))).toBe(false);
    expect(watch.observe(at(350_000 - 1_500, 350_000))).toBe(false);
  });

  it('begins five minutes anew with each step back', () => {
    const watch = new ClockStepWatch(at(0, 0));
    expect(watch.observe(at(-5_000, 0))).toBe(true);
    expect(watch.observe(at(280_000, 299_000))).toBe(true);
    expect(watch.observe(at(580_000, 598_999))).toBe(true);
    expect(watch.observe(at(581_000, 600_000))).toBe(false);
  });

  it('is refused at the start where an earlier run saw a later time', () => {
    const watch = new ClockStepWatch(at(0, 70), WALL + 5_000);
    expect(watch.observe(at(1, 71))).toBe(true);
    expect(watch.observe(at(300_000, 300_070))).toBe(false);
  });

  it('is not refused at the start where the earlier run was before', () => {
    expect(new ClockStepWatch(at(0, 70), WALL - 5_000).observe(at(1, 71))).toBe(false);
    expect(new ClockStepWatch(at(0, 70), WALL).observe(at(1, 71))).toBe(false);
  });
});

describe('the clock', () => {
  it('tells milliseconds since the epoch, whole, and a time that does not go back', () => {
    const before = Date.now();
    const [first, second] = [readClock(), readClock()];
    expect(Number.isInteger(first.wall)).toBe(true);
    expect(first.wall).toBeGreaterThanOrEqual(before);
    expect(second.steady).toBeGreaterThanOrEqual(first.steady);
  });
});
