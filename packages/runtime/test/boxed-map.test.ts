import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { BoxedMap } from '../src/daemon/boxed-map.js';

describe('BoxedMap', () => {
  it('is a Map', () => {
    const map = new BoxedMap<string, number>();
    expect(map.set('one', 1).set('two', 2).set('one', 11)).toBe(map);
    expect([map.size, map.get('one'), map.get('three'), map.has('two'), map.has('three')]).toEqual([
      2,
      11,
      undefined,
      true,
      false,
    ]);
    expect([...map]).toEqual([
      ['one', 11],
      ['two', 2],
    ]);
    expect([...map.keys()]).toEqual(['one', 'two']);
    expect([...map.values()]).toEqual([11, 2]);
    const seen: [string, number][] = [];
    map.forEach((value, key) => seen.push([key, value]));
    expect(seen).toEqual([...map]);
    expect([map.delete('one'), map.delete('one'), map.size]).toEqual([true, false, 1]);
    map.clear();
    expect([map.size, [...map.entries()]]).toEqual([0, []]);
  });

  it('lets what is walked through leave on the way', () => {
    const map = new BoxedMap([1, 2, 3].map((key) => [key, key] as const));
    const seen: number[] = [];
    for (const [key] of map) {
      seen.push(key);
      map.delete(key + 1);
    }
    expect(seen).toEqual([1, 3]);
  });

  it('keeps nothing that has left from a young collection, where a Map does', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as (options?: { type: 'minor' }) => void;
    /**
     * Octets that outlive young collections though eight things at most are in the map at any time.
     */
    const kept = (map: Map<number, object>): number => {
      const turn = (from: number): void => {
        for (let key = from; key < from + 1_000; key++) {
          map.set(
            key,
            Array.from({ length: 100 }, () => key),
          );
          map.delete(key - 8);
        }
      };
      turn(0);
      collect();
      const before = oldSpace();
      for (let round = 1; round <= 20; round++) {
        turn(round * 1_000);
        collect({ type: 'minor' });
      }
      return oldSpace() - before;
    };
    const [plain, boxed] = [kept(new Map()), kept(new BoxedMap())];
    expect(plain).toBeGreaterThan(1_000_000);
    expect(boxed).toBeLessThan(plain / 4);
  });
});

function oldSpace(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space')?.space_used_size ?? 0;
}
