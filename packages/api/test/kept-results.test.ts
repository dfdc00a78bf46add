// Proves that a result that is kept, or that others wait for, is no older than who asks accepts.

import { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { type KeptResult, KeptResults } from '../src/kept-results.js';

describe('a walk that others wait for', () => {
  it('is shared by who accepts its age, and by nobody else; the latest result is kept', async () => {
    const { registry } = await AdminFixture.open('memory');
    const results = new KeptResults<string>();
    const ends: (() => void)[] = [];
    const get = async (now: number, maxAgeMs: number): Promise<{ readonly at: number; readonly items: readonly string[] }> => {
      const item = `walk ${ends.length}`;
      const walk = (): Promise<string[]> => new Promise((end) => ends.push(() => end([item])));
      const result = await results.get(registry, 'all', { now, maxAgeMs }, walk);
      return { at: result.at, items: await result.slice(0, 10) };
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

  it('is kept and read by its places, of however many items it is', async () => {
    const { registry } = await AdminFixture.open('memory');
    const results = new KeptResults<{ readonly key: number }>();
    let walks = 0;
    const get = (): Promise<KeptResult<{ readonly key: number }>> =>
      results.get(registry, 'all', { now: 1_000, maxAgeMs: 1_000 }, async () => {
        walks += 1;
        return Array.from({ length: 250_001 }, (_, key) => ({ key }));
      });
    expect((await get()).length).toBe(250_001);
    const keysOf = async (from: number, to: number): Promise<number[]> =>
      (await (await get()).slice(from, to)).map(({ key }) => key);
    expect(await keysOf(0, 2)).toEqual([0, 1]);
    expect(await keysOf(1_998, 2_003)).toEqual([1_998, 1_999, 2_000, 2_001, 2_002]);
    expect((await keysOf(3_000, 5_500)).length).toBe(2_500);
    expect(await keysOf(249_999, 260_000)).toEqual([249_999, 250_000]);
    expect(await keysOf(250_001, 250_002)).toEqual([]);
    expect(walks).toBe(1);
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
