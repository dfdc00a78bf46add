// The index of nodes by itself: what the engines' property test is too small to reach.

import { expect, it } from 'vitest';
import type { NodeDescription, NodeRow } from '../src/model/rows.js';
import { NodeIndex } from '../src/node-index/node-index.js';

const row = (more: Partial<NodeRow> = {}): NodeRow => ({
  key: new Uint8Array(33),
  initial: true,
  ik: new Uint8Array(10),
  controller: 1,
  order: 1,
  entry: 0,
  ...more,
});

function indexWithOrder(maxTextOctets?: number, described: ReadonlyMap<number, NodeDescription> = new Map()): NodeIndex {
  const index = new NodeIndex((idI) => described.get(idI), undefined, maxTextOctets);
  index.putOrder(1, { state: 'open', installer: 'Kim' });
  return index;
}

function allIds(index: NodeIndex): readonly number[] {
  return index.list({ filter: {}, now: 0, limit: 1_000_000 }).ids;
}

it('has its rows in order, whatever comes and goes in whatever order', () => {
  const index = indexWithOrder();
  const there = new Set<number>();
  // Each ID once, in a fixed order that is no order: 7,919 and 20,000 have no factor in common.
  const ids = Array.from({ length: 20_000 }, (_, i) => (i * 7_919) % 20_000);
  const put = (idI: number): void => {
    index.put(idI, row(), undefined);
    there.add(idI);
  };
  const remove = (idI: number): void => {
    index.remove(idI);
    there.delete(idI);
  };
  const check = (): void => expect(allIds(index)).toEqual([...there].toSorted((a, b) => a - b));
  ids.slice(0, 15_000).forEach(put);
  // Before these are in their places, and after.
  ids.slice(14_000, 14_500).forEach(remove);
  ids.slice(14_100, 14_200).forEach(put);
  check();
  // So many that their places are given up.
  ids.slice(0, 9_000).forEach(remove);
  check();
  ids.slice(8_000, 20_000).forEach(put);
  check();
});

it('finds texts that it had no room for', () => {
  const described = new Map<number, NodeDescription>(
    Array.from({ length: 10 }, (_, idI) => [idI, { name: `Pump ${idI}`, note: 'x'.repeat(20), entry: 0 }]),
  );
  const index = indexWithOrder(64, described);
  for (const [idI, description] of described) index.put(idI, row(), description);
  const found = (search: string): readonly number[] => index.list({ filter: { search }, now: 0, limit: 100 }).ids;
  expect(found('pump')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect([found('PUMP 0'), found('pump 9'), found('valve')]).toEqual([[0], [9], []]);
});

it('says when most of it is of texts that no node has any more', () => {
  const index = indexWithOrder();
  for (let i = 0; i < 10_000 && !index.isWorn; i++) index.put(1, row(), { name: `Pump ${i}`, entry: 0 });
  expect(index.isWorn).toBe(true);
  // A join changes no text, and leaves no record.
  const calm = indexWithOrder();
  for (let i = 0; i < 10_000; i++) calm.put(1, row({ entry: i }), { name: 'Pump', entry: 0 });
  expect(calm.isWorn).toBe(false);
});

it('finds digits wherever they stand in an ID', () => {
  const index = indexWithOrder();
  // Each digit at each place, and IDs in no order.
  const ids = Array.from({ length: 128 }, (_, i) => ((i >>> 3) << (4 * (i & 7))) >>> 0);
  for (let i = 0; i < 1_000; i++) ids.push(Math.imul(i + 1, 2_654_435_761) >>> 0);
  const digitsOf = (idI: number): string => idI.toString(16).padStart(8, '0');
  const all = new Set(ids);
  for (const idI of all) index.put(idI, row(), undefined);
  const searches = ['0', '8', 'f', '00', '0f', 'f0', '7a', '7a3', 'fff', '8000', '80000000', 'ffffffff', 'g', '7 a'];
  // What does stand there, of each length.
  for (let i = 0; i < 64; i++) searches.push(digitsOf(ids[i * 17] ?? 0).slice(i & 7, (i & 7) + 1 + (i >>> 3)));
  for (const search of searches) {
    const { ids: found, total } = index.list({ filter: { search }, now: 0, limit: 10_000, counted: true });
    const expected = [...all].filter((idI) => digitsOf(idI).includes(search)).toSorted((a, b) => a - b);
    expect([search, found, total]).toEqual([search, expected, expected.length]);
  }
});

it('counts and lists what is there, be it all that there is or not', () => {
  const index = indexWithOrder();
  for (let idI = 0; idI < 100; idI++) index.put(idI, row({ order: idI < 50 ? 1 : 2 }), undefined);
  const seen = (): unknown => {
    const { ids, total } = index.list({ filter: {}, now: 0, limit: 200, counted: true });
    return [ids.length, total, index.counts({}, 0, 'state').get('enrolled')?.nodes, index.counts({}, 0, 'order').size];
  };
  expect(seen()).toEqual([50, 50, 50, 1]);
  index.putOrder(2, { state: 'open', installer: 'Kim' });
  expect(seen()).toEqual([100, 100, 100, 2]);
  index.remove(99);
  index.remove(0);
  expect(seen()).toEqual([98, 98, 98, 2]);
  expect(index.list({ filter: {}, now: 0, limit: 2, after: { value: 96, idI: 96 } })).toMatchObject({
    ids: [97, 98],
    next: undefined,
  });
});
