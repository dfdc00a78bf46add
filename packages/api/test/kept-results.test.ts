// Proves that a result that is kept, or that others wait for, is no older than who asks accepts.

import { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { KeptResults } from '../src/kept-results.js';

describe('a walk that others wait for', () => {
  it('is shared by who accepts its age, and by nobody else; the latest result is kept', async () => {
    const { registry } = await AdminFixture.open('memory');
    const results = new KeptResults<string>();
    const ends: (() => void)[] = [];
    const get = (now: number, maxAgeMs: number): Promise<{ readonly at: number; readonly items: readonly string[] }> => {
      const item = `walk ${ends.length}`;
      return results.get(registry, 'all', { now, maxAgeMs }, () => new Promise((end) => ends.push(() => end([item]))));
    };
    const first = get(1_000, 0);
    const patient = get(1_100, 100);
    const ofNow = get(1_200, 0);
    expect(ends.length).toBe(2);
    for (const end of ends.toReversed()) end();
    expect(await first).toEqual({ at: 1_000, items: ['walk 0'] });
    expect(await patient).toEqual({ at: 1_000, items: ['walk 0'] });
    expect(await ofNow).toEqual({ at: 1_200, items: ['walk 1'] });
    expect(await get(1_300, 100)).toEqual({ at: 1_200, items: ['walk 1'] });
  });

  it('is given up when the API stops, whoever waits', async () => {
    const { registry } = await AdminFixture.open('memory');
    const results = new KeptResults<string>();
    const walk = (signal: AbortSignal): Promise<never> =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    const result = results.get(registry, 'all', { now: 1_000, maxAgeMs: 0 }, walk);
    results.close();
    await expect(result).rejects.toMatchObject({ name: 'AbortError' });
  });
});
