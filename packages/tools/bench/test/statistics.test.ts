// Proves what every figure rests on: medians, spreads and ratios, turns in turn, and limits.

import { describe, expect, it } from 'vitest';
import { ratioMetric, withinLimits } from '../src/ratio.js';
import { ratios, summarise } from '../src/statistics.js';
import { describeProgress, interleave, quantity } from '../src/interleave.js';

describe('a summary', () => {
  it('is the middle one of an odd number of samples, with the lowest and the highest', () => {
    expect(summarise([9, 1, 5])).toEqual({ median: 5, low: 1, high: 9 });
    expect(summarise([7])).toEqual({ median: 7, low: 7, high: 7 });
  });

  it('is half way between the two in the middle of an even number', () => {
    expect(summarise([10, 2, 4, 100])).toEqual({ median: 7, low: 2, high: 100 });
  });

  it('sorts by value, not by digits', () => {
    expect(summarise([100, 20, 3]).median).toBe(20);
  });

  it('of nothing is refused', () => {
    expect(() => summarise([])).toThrow(RangeError);
  });
});

describe('a ratio', () => {
  it('is taken round by round: a load that slows both does not count', () => {
    const { ratio } = ratioMetric('x', 'us', { name: 'a', values: [2, 20, 200] }, { name: 'b', values: [1, 10, 100] });
    expect(ratio).toEqual({ median: 2, low: 2, high: 2 });
  });

  it('needs both of each round', () => {
    expect(() => ratios([1, 2], [1])).toThrow(RangeError);
  });

  it('holds up to its limit, by its median', () => {
    const of = (values: readonly number[], limit?: number): boolean | undefined =>
      withinLimits(
        ratioMetric('x', 'us', { name: 'a', values }, { name: 'b', values: [10, 10, 10] }, limit === undefined ? {} : { limit }),
      );
    expect(of([13, 99, 1], 1.3)).toBe(true);
    expect(of([14, 14, 1], 1.3)).toBe(false);
    expect(of([14, 14, 1])).toBeUndefined();
  });
});

describe('rounds', () => {
  it('take each in turn, every other one the other way round', async () => {
    const order: string[] = [];
    const contender = (name: string) => (round: number) => {
      order.push(`${name}${round}`);
      return { x: round };
    };
    const { a, b } = await interleave(3, { a: contender('a'), b: contender('b') });
    expect(order).toEqual(['a0', 'b0', 'b1', 'a1', 'a2', 'b2']);
    expect([quantity(a, 'x'), quantity(b, 'x')]).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
  });

  it('are told before each begins, with the time that the others will take', async () => {
    const told: string[] = [];
    await interleave(2, { a: () => ({ x: 0 }) }, (progress) => told.push(progress));
    expect(told).toEqual(['round 1 of 2', expect.stringMatching(/^round 2 of 2, \d+ s to go/)]);
    expect(describeProgress(1, 4, 10_000)).toMatch(/^round 2 of 4, 30 s to go/);
    expect(describeProgress(3, 4, 30_500)).toMatch(/^round 4 of 4, 11 s to go/);
  });
});
