// Proves that powered time goes on where it was and never runs ahead of real time.

import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { describe, expect, it } from 'vitest';
import { CumulativeUptime } from '../src/cumulative-uptime.js';

function uptimeMs(): number {
  return Math.round(uptime() * 1000);
}

/** What a clock says, and the bounds that the system's uptime before and after give it. */
function between(read: () => number): { value: number; low: number; high: number } {
  const low = uptimeMs();
  const value = read();
  return { value, low, high: uptimeMs() };
}

describe('powered time', () => {
  it('begins at 0 and does not run ahead of the system', () => {
    const start = uptimeMs();
    const clock = new CumulativeUptime(undefined);
    const { value, high } = between(() => clock.now());
    expect(value).toBeGreaterThanOrEqual(0);
    expect(value).toBeLessThanOrEqual(high - start);
  });

  it('never goes back', () => {
    const clock = new CumulativeUptime(undefined);
    let before = clock.now();
    for (let i = 0; i < 10_000; i++) {
      const now = clock.now();
      expect(now).toBeGreaterThanOrEqual(before);
      before = now;
    }
  });

  it('counts the time between two runs in the same boot', () => {
    const saved = new CumulativeUptime(undefined).save();
    const earlier = { ...saved, ms: 5_000, uptime_ms: saved.uptime_ms - 60_000 };
    const clock = new CumulativeUptime(earlier);
    const { value, low, high } = between(() => clock.now());
    expect(value).toBeGreaterThanOrEqual(5_000 + low - earlier.uptime_ms);
    expect(value).toBeLessThanOrEqual(5_000 + high - earlier.uptime_ms);
  });

  it.each([
    ['another boot', { boot: '00000000-0000-0000-0000-000000000000', uptime_ms: uptimeMs() - 60_000 }],
    ['a system that does not tell boots apart', { boot: undefined, uptime_ms: uptimeMs() - 60_000 }],
    ['this boot, but a later time in it, as an image of another machine would have', { uptime_ms: uptimeMs() + 3_600_000 }],
  ])('goes on from what was saved in %s, and counts nothing in between', (_, more) => {
    const saved = { ...new CumulativeUptime(undefined).save(), ms: 5_000, ...more };
    const start = uptimeMs();
    const clock = new CumulativeUptime(saved);
    const { value, high } = between(() => clock.now());
    expect(value).toBeGreaterThanOrEqual(5_000);
    expect(value).toBeLessThanOrEqual(5_000 + high - start);
  });

  it('is saved with the boot and the uptime of the moment, and read back without a jump', () => {
    const clock = new CumulativeUptime({ ms: 7_000, boot: undefined, uptime_ms: 0, boots: 2 });
    const { value, low, high } = between(() => clock.save().uptime_ms);
    expect(value).toBeGreaterThanOrEqual(low);
    expect(value).toBeLessThanOrEqual(high);
    const saved = clock.save();
    expect(saved.boot).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
    expect(new CumulativeUptime(saved).now()).toBeGreaterThanOrEqual(saved.ms);
    expect(Number.isInteger(saved.ms) && Number.isInteger(saved.uptime_ms)).toBe(true);
  });

  it('counts each boot once, from the first that it sees, and each start if the system does not tell boots apart', () => {
    const first = new CumulativeUptime(undefined);
    expect([first.boots, first.save().boots, first.clocks().boots]).toEqual([1, 1, 1]);
    expect(new CumulativeUptime(first.save()).boots).toBe(1);
    expect(new CumulativeUptime({ ...first.save(), boot: '00000000-0000-0000-0000-000000000000' }).boots).toBe(2);
    expect(new CumulativeUptime({ ...first.save(), boot: undefined, boots: 7 }).boots).toBe(8);
    expect(new CumulativeUptime({ ...first.save(), uptime_ms: uptimeMs() + 3_600_000 }).boots).toBe(2);
  });
});
