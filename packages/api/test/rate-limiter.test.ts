import { expect, it } from 'vitest';
import { RateLimiter } from '../src/rate-limiter.js';

it('a caller has a burst of 100 requests, then 20 a second, and others have their own', () => {
  let now = 0;
  const limiter = new RateLimiter(() => now);
  const allowed = (caller: string, times: number): number =>
    Array.from({ length: times }, () => limiter.take(caller)).filter((wait) => wait === undefined).length;
  expect(allowed('ada', 150)).toBe(100);
  expect(limiter.take('ada')).toBe(1);
  expect(allowed('bo', 150)).toBe(100);
  now += 1_000;
  expect(allowed('ada', 150)).toBe(20);
  now += 3_600_000;
  expect(allowed('ada', 150)).toBe(100);
});

it('a caller that is refused all the time is served again at its rate', () => {
  let now = 0;
  const limiter = new RateLimiter(() => now);
  for (let i = 0; i < 100; i++) limiter.take('ada');
  let served = 0;
  for (; now < 10_000; now += 10) if (limiter.take('ada') === undefined) served += 1;
  expect(served).toBeGreaterThanOrEqual(199);
  expect(served).toBeLessThanOrEqual(200);
});

it('4,096 callers are remembered, and the least recent is forgotten first', () => {
  const limiter = new RateLimiter(() => 0);
  for (let i = 0; i < 101; i++) limiter.take('first');
  for (let i = 0; i < 101; i++) limiter.take('second');
  for (let i = 0; i < 4_095; i++) limiter.take(`other ${i}`);
  expect([limiter.take('second'), limiter.take('first')]).toEqual([1, undefined]);
});
