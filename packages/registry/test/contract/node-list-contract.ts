// What every storage engine promises of lists and counts of nodes. Each engine's own test file runs
// it.

import { formatId } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NodeCursor, NodeFilter, NodeListQuery, NodeSort } from '../../src/model/node-query.js';
import { NODE_SORT_KEYS } from '../../src/model/node-query.js';
import { NODE_STATES, type NodeStatus } from '../../src/model/node-status.js';
import type { NodeDescription, NodeRow, OrderRow } from '../../src/model/rows.js';
import type { RegistryStorage } from '../../src/storage.js';
import { event, nodeRow, orderRow } from './storage-contract.js';

const NOW = 1_000_000;
const SITES = ['Süd', 'north'];
const TAGS = ['pump', 'spare', 'Valve'];

/** By how much each state is away from its end: lifetimes are in seconds. */
const COMMITS: readonly NodeRow['committed'][] = [
  undefined,
  ...[0, 10, 100, 100_000].flatMap((lifetime) =>
    [NOW - 500_000, NOW - 90_000, NOW - 9_000, NOW].map((ts) => ({
      idC: 1,
      tid: '1',
      ts,
      nidI: new Uint8Array(18),
      lifetime,
      at: ts,
    })),
  ),
];

type Given<R> = { readonly [K in keyof R]?: R[K] | undefined };

type Step =
  | { readonly kind: 'put'; readonly id: number; readonly row: Given<NodeRow> }
  | { readonly kind: 'describe'; readonly id: number; readonly texts: Given<Omit<NodeDescription, 'entry'>> }
  | { readonly kind: 'remove' | 'load' | 'unload' | 'prune'; readonly id: number }
  | { readonly kind: 'order'; readonly id: number; readonly state: OrderRow['state']; readonly site: string | undefined };

const ids = fc
  .integer({ min: 0, max: 7 })
  .map((i) => [0, 1, 2, 0xa1b2, 0x1a2b_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][i] ?? 0);
const orders = fc.integer({ min: 1, max: 4 });
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const sites = fc.constantFrom(...SITES);

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      id: ids,
      row: fc.record({
        controller: fc.integer({ min: 1, max: 3 }),
        order: orders,
        initial: fc.boolean(),
        disabled: fc.constantFrom(undefined, true as const),
        joinedAt: fc.constantFrom(undefined, NOW - 1_000, NOW - 2_000),
        committed: fc.constantFrom(...COMMITS),
      }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('describe' as const),
      id: ids,
      texts: fc.record({
        name: optional(fc.constantFrom('Pump 3', 'ÄRGER', 'valve north')),
        site: optional(sites),
        location: optional(fc.constantFrom('hall 2', 'pump room')),
        tags: optional(fc.subarray(TAGS, { minLength: 1 }).map((tags) => tags.toSorted())),
        note: optional(fc.constantFrom('replaced', 'Süd side')),
      }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), id: ids }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('load' as const, 'unload' as const), id: orders }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('prune' as const), id: fc.integer({ min: 1, max: 9 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('order' as const),
      id: orders,
      state: fc.constantFrom('pending' as const, 'open' as const, 'open' as const, 'closed' as const),
      site: optional(sites),
    }),
  },
);

/** Leaves out what is `undefined`: an engine may keep it, or not. */
function given<R extends object>(row: Given<R>): Partial<R> {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as Partial<R>;
}

/** Each writes with the events that name what it writes, as the registry does. */
async function apply(storage: RegistryStorage, step: Step): Promise<void> {
  const { id } = step;
  switch (step.kind) {
    case 'put':
      return storage.write({ orders: [step.row.order ?? 1] }, (found) => {
        // Nodes of a pending order are loaded only.
        if ((found.order(step.row.order ?? 1)?.row.state ?? 'pending') === 'pending') return { result: undefined };
        const row = nodeRow({ ...given<NodeRow>(step.row), entry: found.head.seq + 1 });
        return { result: undefined, events: [event('node enabled', { node: id })], put: { nodes: [[id, row]] } };
      });
    case 'describe':
      return storage.write({}, ({ head }) => ({
        result: undefined,
        events: [event('node described', { node: id })],
        put: { nodeDescriptions: [[id, { ...given<NodeDescription>(step.texts), entry: head.seq + 1 }]] },
      }));
    case 'remove':
      return storage.write({}, () => ({
        result: undefined,
        events: [event('node removed', { node: id })],
        remove: { nodes: [id], nodeDescriptions: [id] },
      }));
    case 'load':
      // Two at a time: under the order's own digits, and one that may be taken.
      return storage
        .load(id, {}, () => [0x100 + id, id].map((idI) => [idI, nodeRow({ order: id })] as const), [
          [id, { name: 'Pump 3', entry: 0 }],
        ])
        .catch(() => undefined);
    case 'unload':
      return storage.unload(id);
    case 'prune':
      return void (await storage.pruneAudit(id, 4, event('log pruned', { upTo: id })));
    case 'order': {
      const row: OrderRow = {
        ...orderRow(step.state),
        installer: id % 2 === 0 ? 'Kim' : 'Bo',
        ...given<OrderRow>({ site: step.site }),
      };
      return storage.write({ orders: [id] }, (found) => {
        // An order that was published is never pending again.
        const before = found.order(id)?.row.state ?? 'pending';
        if (step.state === 'pending' && before !== 'pending') return { result: undefined };
        const what = before === 'pending' && step.state !== 'pending' ? 'order created' : 'order described';
        return {
          result: undefined,
          ...(step.state === 'pending' ? {} : { events: [event(what, { order: id })] }),
          put: { orders: [[id, row]] },
        };
      });
    }
  }
}

const filters: fc.Arbitrary<NodeFilter> = fc
  .record({
    states: optional(fc.subarray([...NODE_STATES])),
    orders: optional(fc.subarray([1, 2, 3])),
    controllers: optional(fc.subarray([1, 2])),
    installer: optional(fc.constantFrom('Kim', 'Bo', 'Nobody')),
    hasJoined: optional(fc.boolean()),
    expiringBefore: optional(fc.constantFrom(NOW, NOW + 20_000)),
    expiringFrom: optional(fc.constantFrom(NOW - 20_000, NOW)),
    joinedSince: optional(fc.constantFrom(NOW - 9_000, NOW - 100_000)),
    idRange: optional(fc.constantFrom([0x100, 0x1fff_ffff] as const, [0x8000_0000, 0xffff_ffff] as const, [2, 2] as const)),
    sites: optional(fc.subarray(SITES, { minLength: 1 })),
    tags: optional(fc.subarray(TAGS, { minLength: 1 })),
    search: optional(fc.constantFrom('PUMP', 'a1b2', 'sÜd', 'är', '%', 'ff', 'north')),
  })
  // Most filters have one or two parts: of all at once hardly any node would pass.
  .chain((all) =>
    fc.subarray(
      Object.entries(all).filter(([, value]) => value !== undefined),
      { maxLength: 2 },
    ),
  )
  .map((parts) => Object.fromEntries(parts) as NodeFilter);

interface Walked {
  readonly idI: number;
  readonly row: NodeRow;
  readonly order: OrderRow;
  readonly state: NodeStatus;
  readonly expiry: number | undefined;
  readonly site: string | undefined;
  readonly texts: readonly string[];
  readonly tags: readonly string[];
}

/** All nodes that are there, found by walking through the tables. */
async function walk(storage: RegistryStorage): Promise<Walked[]> {
  const described = new Map(await storage.nodeDescriptionPage(0, 1_000));
  const known = new Map(await storage.orderPage(0, 1_000));
  return (await storage.nodePage(0, 1_000)).flatMap(([idI, row]) => {
    const order = known.get(row.order);
    if (order === undefined || order.state === 'pending') return [];
    const { name, site = order.site, location, note, tags = [] } = described.get(idI) ?? {};
    const texts = [formatId(idI), name, site, location, note, ...tags].filter((text) => text !== undefined);
    const { committed } = row;
    const expiry = committed === undefined || committed.lifetime === 0 ? undefined : committed.ts + 1_000 * committed.lifetime;
    return [{ idI, row, order, state: stateOf(row), expiry, site, texts, tags }];
  });
}

function stateOf({ disabled, committed }: NodeRow): NodeStatus {
  if (disabled === true) return 'disabled';
  if (committed === undefined) return 'enrolled';
  if (committed.lifetime === 0) return 'joined';
  const age = (NOW - committed.ts) / 1_000 / committed.lifetime;
  return age > 1 ? 'expired' : age > 0.88 ? 'expiring' : 'joined';
}

function matches(node: Walked, filter: NodeFilter): boolean {
  const tests: Record<keyof NodeFilter, () => boolean> = {
    states: () => filter.states?.includes(node.state) === true,
    orders: () => filter.orders?.includes(node.row.order) === true,
    controllers: () => filter.controllers?.includes(node.row.controller) === true,
    installer: () => filter.installer === node.order.installer,
    hasJoined: () => filter.hasJoined !== node.row.initial,
    expiringBefore: () => node.expiry !== undefined && node.expiry < (filter.expiringBefore ?? 0),
    expiringFrom: () => node.expiry !== undefined && node.expiry >= (filter.expiringFrom ?? 0),
    joinedSince: () => node.row.committed !== undefined && node.row.committed.at >= (filter.joinedSince ?? 0),
    idRange: () => node.idI >= (filter.idRange?.[0] ?? 0) && node.idI <= (filter.idRange?.[1] ?? 0),
    sites: () => node.site !== undefined && filter.sites?.includes(node.site) === true,
    tags: () => node.tags.some((tag) => filter.tags?.includes(tag)),
    search: () => node.texts.some((text) => text.toLowerCase().includes(filter.search?.toLowerCase() ?? '')),
  };
  return Object.keys(filter).every((part) => tests[part as keyof NodeFilter]());
}

function sorted(nodes: readonly Walked[], { by, descending }: NodeSort): number[] {
  const valueOf = ({ idI, expiry, row }: Walked): number | undefined =>
    ({ id: idI, expires_at: expiry, joined_at: row.joinedAt })[by];
  const compare = (a: Walked, b: Walked): number => {
    const [one, other] = [valueOf(a), valueOf(b)];
    if (one === other) return a.idI - b.idI;
    if (one === undefined || other === undefined) return one === undefined ? 1 : -1;
    return descending === true ? other - one : one - other;
  };
  return nodes.toSorted(compare).map(({ idI }) => idI);
}

/** All pages of a list, each of which must tell the same total. */
async function allPages(
  storage: RegistryStorage,
  query: Omit<NodeListQuery, 'after'>,
): Promise<readonly [number[], Set<unknown>]> {
  const found: number[] = [];
  const totals = new Set<unknown>();
  for (let after: NodeCursor | undefined; ;) {
    const page = await storage.nodeList({ ...query, counted: true, after });
    expect(page.ids.length).toBeLessThanOrEqual(query.limit);
    found.push(...page.ids);
    totals.add(page.total);
    if (page.next === undefined) return [found, totals];
    expect(page.ids.length).toBe(query.limit);
    after = page.next;
  }
}

/**
 * @param open a new, empty registry, and the same one as another process would open it; closed with
 *   the test
 */
export function nodeListContract(open: () => Promise<{ storage: RegistryStorage; other: RegistryStorage }>): void {
  describe('a list of nodes', () => {
    it('is that of a walk through all of them, after whatever was written by whichever process', async () => {
      const { storage, other } = await open();
      // Counts of a process that only counts are the same.
      other.onlyCount?.();
      const run = fc.record({
        steps: fc.array(fc.record({ step: steps, byOther: fc.boolean() }), { minLength: 1, maxLength: 12 }),
        filter: filters,
        sort: fc.record({ by: fc.constantFrom(...NODE_SORT_KEYS), descending: fc.boolean() }),
        limit: fc.integer({ min: 1, max: 5 }),
      });
      let found = 0;
      await fc.assert(
        fc.asyncProperty(run, async ({ steps: changes, filter, sort, limit }) => {
          for (const { step, byOther } of changes) await apply(byOther ? other : storage, step);
          const matching = (await walk(storage)).filter((node) => matches(node, filter));
          found += matching.length;
          const [listed, totals] = await allPages(storage, { filter, now: NOW, sort, limit });
          expect(listed).toEqual(sorted(matching, sort));
          expect([...totals]).toEqual([matching.length]);
          for (const by of ['state', 'order', 'controller', 'site'] as const) {
            const counts = [await storage.nodeCounts(filter, NOW, by), await other.nodeCounts(filter, NOW, by)];
            const wanted = new Map<unknown, { nodes: number; joined: number }>();
            for (const { state, row, site = null } of matching) {
              const group = { state, order: row.order, controller: row.controller, site }[by];
              const { nodes, joined } = wanted.get(group) ?? { nodes: 0, joined: 0 };
              wanted.set(group, { nodes: nodes + 1, joined: joined + (row.initial ? 0 : 1) });
            }
            for (const each of counts) expect(new Map(each as ReadonlyMap<unknown, unknown>)).toEqual(wanted);
          }
          // The edges are where keys expire, too.
          const expiries = matching.flatMap(({ expiry }) => expiry ?? []);
          const edges = [...new Set([...expiries, NOW - 5_000, NOW, NOW + 5_000])].toSorted((a, b) => a - b).slice(0, 6);
          const wanted = edges.slice(1).map((edge, at) => expiries.filter((one) => one >= (edges[at] ?? 0) && one < edge).length);
          expect(await storage.nodeExpiries(filter, NOW, edges)).toEqual(wanted);
        }),
        { numRuns: 60 },
      );
      // A walk that finds nothing shows nothing.
      expect(found).toBeGreaterThan(60);
    });

    it('counts only where that is asked for', async () => {
      const { storage } = await open();
      expect(await storage.nodeList({ filter: {}, now: NOW, limit: 5 })).toEqual({ ids: [], next: undefined, total: undefined });
    });

    it('goes on after a node that is gone', async () => {
      const { storage } = await open();
      await apply(storage, { kind: 'order', id: 1, state: 'open', site: undefined });
      for (const id of [1, 2, 3, 4]) await apply(storage, { kind: 'put', id, row: {} });
      const first = await storage.nodeList({ filter: {}, now: NOW, limit: 2 });
      await apply(storage, { kind: 'remove', id: 2 });
      const second = await storage.nodeList({ filter: {}, now: NOW, limit: 2, after: first.next });
      expect([first.ids, second]).toEqual([[1, 2], { ids: [3, 4], next: undefined, total: undefined }]);
    });
  });
}
