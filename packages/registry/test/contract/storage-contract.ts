// What every storage engine promises. Each engine's own test file runs it.

import { describe, expect, it } from 'vitest';
import { type AuditEvent, type AttributedEvent, type ChainHead, parseEntry, verifyChain } from '../../src/audit-chain.js';
import type { Listed } from '../../src/listing.js';
import type {
  ControllerRow,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
  RetiredInitialKeyRow,
} from '../../src/model/rows.js';
import type { RegistryStorage } from '../../src/storage.js';

const NONE: readonly [] = [];

export function event(what: AuditEvent['what'], more: Partial<AuditEvent> = {}): AttributedEvent {
  return { what, actor: 'user ada', at: 1_000, ...more };
}

function controllerRow(port: number = 5683): ControllerRow {
  return { skCs: new Uint8Array(33).fill(3), nid: { host: '192.0.2.1', port }, servers: [], addedAt: 5 };
}

const DESCRIPTION: NodeDescription = {
  name: 'Pump 3',
  site: 'Süd',
  location: 'hall 2, pillar 7',
  tags: ['pump', 'spare'],
  note: 'replaced',
  entry: 1,
};

export function orderRow(state: OrderRow['state'] = 'open'): OrderRow {
  return {
    kind: 'order',
    state,
    installer: 'Kim',
    idC: 1,
    count: 0,
    sharedKey: false,
    lifetime: 60,
    grace: 5,
    createdAt: 7,
    createdEntry: 0,
    entry: 0,
  };
}

export function nodeRow(more: Partial<NodeRow> = {}): NodeRow {
  return {
    key: new Uint8Array(33).fill(1),
    initial: true,
    ik: new Uint8Array(10).fill(2),
    controller: 1,
    order: 1,
    entry: 0,
    ...more,
  };
}

/** A row with its octets in hex, whichever kind of array an engine gives them in. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, plain(of)]));
}

/** Writes one node, with its entry, and gives that. */
export function putNode(storage: RegistryStorage, idI: number, more: Partial<NodeRow> = {}): Promise<number> {
  return storage.write({ nodes: [idI] }, ({ head }) => ({
    result: head.seq + 1,
    events: [event('node enabled', { node: idI })],
    put: { nodes: [[idI, nodeRow({ ...more, entry: head.seq + 1 })]] },
  }));
}

export async function nodesOf(storage: RegistryStorage): Promise<number[]> {
  return (await storage.nodePage(0, 100_000)).map(([idI]) => idI);
}

export async function problemsOf({ audit }: RegistryStorage): Promise<string[]> {
  return listed(verifyChain(await audit.chain()));
}

/** All of what comes at once or one after the other. */
export async function listed<T>(rows: Listed<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

export async function entriesOf({ audit }: RegistryStorage): Promise<(readonly [number, Buffer])[]> {
  return listed((await audit.chain()).entries);
}

async function actionsOf(storage: RegistryStorage): Promise<(string | undefined)[]> {
  return (await entriesOf(storage)).map(([, octets]) => parseEntry(octets)?.what);
}

/** Start, head and length of the log. */
async function endsOf({ audit }: RegistryStorage): Promise<{ start: ChainHead; head: ChainHead; length: number }> {
  return { start: await audit.start, head: await audit.head, length: await audit.length };
}

/**
 * @param open a new, empty registry, and the same one as another process would open it; closed with
 *   the test
 */
export function storageContract(open: () => Promise<{ storage: RegistryStorage; other: RegistryStorage }>): void {
  describe('a write', () => {
    it('makes all that it says, in one entry after the other', async () => {
      const { storage, other } = await open();
      const result = await storage.write({ nodes: [7] }, (found) => {
        expect([found.node(7), found.lastOrder, found.head.seq]).toEqual([undefined, 0, 0]);
        return {
          result: 'done',
          events: [event('order created', { order: 3 }), event('node enabled', { node: 7 })],
          put: {
            nodes: [[7, nodeRow({ order: 3, controller: 9 })]],
            controllers: [[9, controllerRow()]],
            orders: [[3, orderRow()]],
            nodeDescriptions: [[7, DESCRIPTION]],
            recentInitialKeys: [[7, [{ ik: Uint8Array.of(1), until: 5 }]]],
            metadata: [['last wall clock', 77]],
          },
        };
      });
      expect(result).toBe('done');
      const found = await other.read({
        nodes: [7],
        nodeDescriptions: [7, 8],
        recentInitialKeys: [7],
        metadata: ['last wall clock'],
      });
      expect(plain(found.node(7)?.row)).toEqual(plain(nodeRow({ order: 3, controller: 9 })));
      // They come with the node.
      expect(plain([found.order(3)?.row, found.controller(9)?.row])).toEqual(plain([orderRow(), controllerRow()]));
      expect([found.nodeDescription(7), found.nodeDescription(8)]).toEqual([DESCRIPTION, undefined]);
      expect(plain(found.recentInitialKeys(7))).toEqual([{ ik: '01', until: 5 }]);
      expect([found.metadata('last wall clock'), found.lastOrder, found.head.seq]).toEqual([77, 3, 2]);
      expect(await actionsOf(other)).toEqual(['order created', 'node enabled']);
      expect(await problemsOf(other)).toEqual([]);
    });

    it('removes what it says', async () => {
      const { storage } = await open();
      await storage.write({}, () => ({
        result: undefined,
        put: { nodes: [[7, nodeRow()]], controllers: [[1, controllerRow()]], orders: [[1, orderRow()]] },
      }));
      await storage.recordActivity({
        nodes: [[7, { keyRequested: { since: 1, at: 1, count: 1, by: 1 } }]],
        controllers: [[1, { lastSeen: { since: 1, at: 1, count: 1, key: 'a4f1' } }]],
      });
      const remove = { nodes: [7], controllers: [1], orders: [1], nodeActivity: [7], controllerActivity: [1] };
      await storage.write({}, () => ({ result: undefined, remove }));
      const found = await storage.read({ ...remove, recentInitialKeys: [7] });
      expect([found.node(7), found.controller(1), found.order(1), found.lastOrder]).toEqual([undefined, undefined, undefined, 0]);
      expect([found.nodeActivity(7), found.controllerActivity(1), found.recentInitialKeys(7)]).toEqual([
        undefined,
        undefined,
        [],
      ]);
    });

    it('that decides to fail fails on its own, among others of its batch', async () => {
      const { storage } = await open();
      const failure = new RangeError('decided to fail');
      const outcomes = await Promise.allSettled([
        putNode(storage, 1),
        storage.write({}, () => {
          throw failure;
        }),
        putNode(storage, 2),
      ]);
      expect(outcomes).toEqual([
        { status: 'fulfilled', value: 1 },
        { status: 'rejected', reason: failure },
        { status: 'fulfilled', value: 2 },
      ]);
      expect([await nodesOf(storage), await problemsOf(storage)]).toEqual([[1, 2], []]);
    });

    it('sees what the one before it in its batch has left of the same node', async () => {
      const { storage } = await open();
      const seen = (): Promise<number> =>
        storage.write({ nodes: [1] }, (found) => {
          const before = found.node(1)?.row.lifetime ?? 0;
          return { result: before, put: { nodes: [[1, nodeRow({ lifetime: before + 1 })]] } };
        });
      expect(await Promise.all([seen(), seen(), seen()])).toEqual([0, 1, 2]);
    });

    it('of another process is seen, so that a comparison is lost to it', async () => {
      const { storage, other } = await open();
      await putNode(storage, 1);
      const judged = (await storage.read({ nodes: [1] })).node(1)?.version;
      expect(judged).toBeDefined();
      await putNode(other, 1, { lifetime: 5 });
      const compared = await storage.write({ nodes: [1] }, (found) =>
        found.node(1)?.version === judged ? { result: 'replaced', put: { nodes: [[1, nodeRow()]] } } : { result: 'lost' },
      );
      expect([compared, (await storage.read({ nodes: [1] })).node(1)?.row.lifetime]).toEqual(['lost', 5]);
    });

    it('by two processes at once leaves one chain, in which each row names its own entry', async () => {
      const { storage, other } = await open();
      const ids = Array.from({ length: 40 }, (_, i) => i);
      const entries = await Promise.all(ids.map((idI) => putNode(idI % 2 === 0 ? storage : other, idI)));
      expect(entries.toSorted((a, b) => a - b)).toEqual(ids.map((i) => i + 1));
      const page = await storage.nodePage(0, 100);
      expect(page.map(([idI, row]) => [idI, row.entry])).toEqual(ids.map((idI) => [idI, entries[idI]]));
      for (const [seq, octets] of await entriesOf(storage)) {
        const [idI] = page.find(([, { entry }]) => entry === seq) ?? [];
        expect(Number.parseInt(parseEntry(octets)?.node ?? '', 16)).toBe(idI);
      }
      expect(await problemsOf(other)).toEqual([]);
    });

    it('has its own copy of a row', async () => {
      const { storage } = await open();
      const row = nodeRow();
      await storage.write({}, () => ({ result: undefined, put: { nodes: [[1, row]] } }));
      row.lifetime = 99;
      row.key.fill(0xff);
      expect(plain((await storage.read({ nodes: [1] })).node(1)?.row)).toEqual(plain(nodeRow()));
    });
  });

  describe('a version', () => {
    it('is the same as long as the row is, and another one once it is not', async () => {
      const { storage } = await open();
      const versions = async (): Promise<unknown[]> => {
        const found = await storage.read({ nodes: [1], controllers: [1], orders: [1], metadata: ['schema'] });
        return [found.node(1)?.version, found.controller(1)?.version, found.order(1)?.version, found.metadataVersion('schema')];
      };
      const write = (lifetime: number): Promise<void> =>
        storage.write({}, () => ({
          result: undefined,
          put: {
            nodes: [[1, nodeRow({ lifetime })]],
            controllers: [[1, controllerRow(lifetime)]],
            orders: [[1, { ...orderRow(), lifetime }]],
            metadata: [['schema', lifetime]],
          },
        }));
      expect(await versions()).toEqual([undefined, undefined, undefined, undefined]);
      await write(1);
      const first = await versions();
      const again = await versions();
      for (const [i, version] of first.entries()) {
        expect(version).toBeDefined();
        expect(again[i]).toBe(version);
      }
      await write(2);
      const after = await versions();
      for (const [i, version] of first.entries()) expect(after[i]).not.toBe(version);
    });
  });

  describe('the description of a node', () => {
    const describeNode = (storage: RegistryStorage, ids: readonly number[], row: NodeDescription): Promise<void> =>
      storage.write({}, () => ({ result: undefined, put: { nodeDescriptions: ids.map((idI) => [idI, row] as const) } }));
    const described = async (storage: RegistryStorage): Promise<number[]> =>
      (await storage.nodeDescriptionPage(0, 100)).map(([idI]) => idI);

    it('is replaced as a whole', async () => {
      const { storage, other } = await open();
      await describeNode(storage, [7], DESCRIPTION);
      await describeNode(storage, [7], { name: 'Valve', entry: 2 });
      expect((await other.read({ nodeDescriptions: [7] })).nodeDescription(7)).toEqual({ name: 'Valve', entry: 2 });
    });

    it('is listed by pages, and stays when a write removes only the node', async () => {
      const { storage, other } = await open();
      await putNode(storage, 2);
      await describeNode(storage, [0xffff_ffff, 3, 2, 0], { entry: 1 });
      await storage.write({}, () => ({ result: undefined, remove: { nodes: [2], nodeDescriptions: [3] } }));
      expect(await described(other)).toEqual([0, 2, 0xffff_ffff]);
      expect(await other.nodeDescriptionPage(1, 1)).toEqual([[2, { entry: 1 }]]);
    });

    it('comes with the node of a pending order, and goes with it', async () => {
      const { storage, other } = await open();
      await storage.write({}, () => ({ result: undefined, put: { orders: [[1, orderRow('pending')]] } }));
      const load = (idI: number): Promise<void> =>
        storage.load(1, {}, () => [[idI, nodeRow()]], [[idI, { ...DESCRIPTION, entry: 0 }]]);
      await load(1);
      await load(2);
      await putNode(storage, 9, { order: 2 });
      await describeNode(storage, [9], DESCRIPTION);
      await expect(load(9)).rejects.toMatchObject({ message: 'node 00000009 was added meanwhile' });
      expect(await other.nodeDescriptionPage(1, 100)).toEqual([
        [1, { ...DESCRIPTION, entry: 0 }],
        [2, { ...DESCRIPTION, entry: 0 }],
        [9, DESCRIPTION],
      ]);
      await storage.unload(1);
      expect(await described(other)).toEqual([9]);
    });
  });

  describe('what people know of controllers and orders', () => {
    it('stands in their rows', async () => {
      const { storage, other } = await open();
      const controller = { ...controllerRow(), description: { name: 'Hall N', site: 'north', contact: 'Ada' } };
      const order = { ...orderRow(), contact: '+49 30 1234', site: 'north' };
      await storage.write({}, () => ({ result: undefined, put: { controllers: [[1, controller]], orders: [[1, order]] } }));
      const found = await other.read({ controllers: [1], orders: [1] });
      expect(plain([found.controller(1)?.row, found.order(1)?.row])).toEqual(plain([controller, order]));
    });
  });

  describe('what is remembered of initial keys', () => {
    it('is listed by pages, and gone once it is empty', async () => {
      const { storage } = await open();
      const keys = [{ ik: Uint8Array.of(1), until: 5 }];
      await storage.write({}, () => ({
        result: undefined,
        put: { recentInitialKeys: [1, 2, 3].map((idI) => [idI, keys] as const) },
      }));
      await storage.write({}, () => ({ result: undefined, put: { recentInitialKeys: [[2, NONE]] } }));
      expect((await storage.recentInitialKeyPage(0, 10)).map(([idI]) => idI)).toEqual([1, 3]);
      expect((await storage.recentInitialKeyPage(2, 1)).map(([idI]) => idI)).toEqual([3]);
    });
  });

  describe('initial keys that were taken from nodes', () => {
    const retired = (node: number): RetiredInitialKeyRow => ({
      node,
      ik: new Uint8Array(10).fill(node % 256),
      order: 1,
      issuedAt: 5,
      retiredAt: 6,
      joined: true,
      seenBy: [1],
      holders: { controllers: [1] },
      issueEntry: 1,
    });

    it('are listed by pages in the order of their entries, then of their nodes', async () => {
      const { storage, other } = await open();
      const ids: RetiredInitialKeyId[] = [
        [256, 1],
        [2 ** 35, 7],
        [3, 0xffff_ffff],
        [3, 4],
      ];
      await storage.write({}, () => ({
        result: undefined,
        put: { retiredInitialKeys: ids.map((id) => [id, retired(id[1])] as const) },
      }));
      const all = await other.retiredInitialKeyPage(undefined, 10);
      expect(plain(all)).toEqual(plain([3, 2, 0, 1].map((i) => [ids[i], retired(ids[i]![1])])));
      const page = await other.retiredInitialKeyPage([3, 4], 2);
      expect(page.map(([id]) => id)).toEqual([ids[2], ids[0]]);
      expect(await other.retiredInitialKeyPage([2 ** 35, 7], 2)).toEqual([]);
    });
  });

  describe('the number of nodes', () => {
    it('has those that were put, and not those that were removed', async () => {
      const { storage, other } = await open();
      for (const idI of [1, 2, 2, 3]) await putNode(storage, idI);
      await storage.write({}, () => ({ result: undefined, remove: { nodes: [3, 4] } }));
      expect(await other.nodeCount()).toBe(2);
    });
  });

  describe('a page', () => {
    it('has rows in ascending order, from a key on, as many as are asked for', async () => {
      const { storage } = await open();
      for (const idI of [0xffff_ffff, 0, 256, 5]) await putNode(storage, idI);
      await storage.write({}, () => ({
        result: undefined,
        put: {
          controllers: [2, 1].map((idC) => [idC, controllerRow()] as const),
          orders: [10, 9].map((number) => [number, orderRow()] as const),
        },
      }));
      const ids = (page: readonly (readonly [number, unknown])[]): number[] => page.map(([key]) => key);
      expect(ids(await storage.nodePage(0, 3))).toEqual([0, 5, 256]);
      expect(ids(await storage.nodePage(6, 3))).toEqual([256, 0xffff_ffff]);
      expect(ids(await storage.controllerPage(2, 3))).toEqual([2]);
      expect(ids(await storage.orderPage(0, 1))).toEqual([9]);
    });
  });

  describe('an order that is pending', () => {
    async function pending(): Promise<{ storage: RegistryStorage; other: RegistryStorage }> {
      const both = await open();
      await both.storage.write({}, () => ({
        result: undefined,
        put: {
          orders: [
            [1, orderRow('pending')],
            [2, orderRow()],
          ],
        },
      }));
      await putNode(both.storage, 100, { order: 2 });
      return both;
    }
    const load = (storage: RegistryStorage, ids: readonly number[], order = 1): Promise<void> =>
      storage.load(order, { recentInitialKeys: ids }, (found) =>
        ids.map((idI) => [idI, nodeRow({ order, lifetime: found.recentInitialKeys(idI).length })] as const),
      );

    it('is loaded in parts, outside of the audit log', async () => {
      const { storage, other } = await pending();
      const before = await storage.audit.head;
      await storage.write({}, () => ({
        result: undefined,
        put: { recentInitialKeys: [[3, [{ ik: Uint8Array.of(1), until: 5 }]]] },
      }));
      await load(storage, [1, 2]);
      await load(storage, [3]);
      expect((await other.nodePage(0, 10)).map(([idI, { lifetime }]) => [idI, lifetime])).toEqual([
        [1, 0],
        [2, 0],
        [3, 1],
        [100, undefined],
      ]);
      expect(await storage.audit.head).toEqual(before);
    });

    it('gets none of a part with an ID that is taken, or stands there twice', async () => {
      const { storage } = await pending();
      await expect(load(storage, [1, 100])).rejects.toMatchObject({ message: 'node 00000064 was added meanwhile' });
      await expect(load(storage, [1, 2, 1])).rejects.toMatchObject({ message: 'node 00000001 was added meanwhile' });
      expect(await nodesOf(storage)).toEqual([100]);
    });

    it('is unloaded with its nodes, and then takes none', async () => {
      const { storage } = await pending();
      await load(storage, [1, 2]);
      await storage.unload(1);
      expect([await nodesOf(storage), (await storage.orderPage(0, 9)).map(([number]) => number)]).toEqual([[100], [2]]);
      await expect(load(storage, [1])).rejects.toThrow('another order or import has cleared away order 1');
      await storage.unload(1);
    });

    it('is unloaded only if it is the one that is meant', async () => {
      const { storage, other } = await pending();
      await load(storage, [1, 2]);
      const { installer } = orderRow();
      await storage.unload(1, (row) => row.installer !== installer);
      await load(other, [3]);
      expect(await nodesOf(storage)).toEqual([1, 2, 3, 100]);
      await storage.unload(1, (row) => row.installer === installer);
      expect([await nodesOf(storage), (await storage.orderPage(0, 9)).map(([number]) => number)]).toEqual([[100], [2]]);
    });

    it('is no longer unloaded, and takes no more, once it is open', async () => {
      const { storage } = await pending();
      await load(storage, [1]);
      await storage.write({}, () => ({ result: undefined, put: { orders: [[1, orderRow()]] } }));
      await storage.unload(1);
      await expect(load(storage, [2])).rejects.toThrow('order 1');
      expect(await nodesOf(storage)).toEqual([1, 100]);
    });
  });

  describe('the assignments', () => {
    const committedThrough = (idC: number): NonNullable<NodeRow['committed']> => ({
      idC,
      tid: 'ab',
      ts: 1,
      nidI: new Uint8Array(18),
      lifetime: 60,
      at: 1,
    });
    const assigned = async ({ assignments }: RegistryStorage, idC: number, from?: number): Promise<number[]> =>
      (await listed(assignments.nodesOf(idC, from))).map(({ idI }) => idI);
    const formerOf = async ({ assignments }: RegistryStorage, ...pairs: (readonly [number, number])[]): Promise<unknown[]> =>
      Promise.all(pairs.map(async ([idI, idC]) => assignments.former(idI, idC)));

    it('name the nodes of a controller in ascending order, with their orders', async () => {
      const { storage, other } = await open();
      for (const idI of [0xffff_ffff, 256, 0]) await putNode(storage, idI, { controller: 0xffff_ffff, order: idI % 7 });
      await putNode(storage, 5, { controller: 3 });
      await other.read({});
      expect(await listed(other.assignments.nodesOf(0xffff_ffff))).toEqual([
        { idI: 0, order: 0 },
        { idI: 256, order: 256 % 7 },
        { idI: 0xffff_ffff, order: 0xffff_ffff % 7 },
      ]);
      expect([await assigned(other, 0xffff_ffff, 1), await assigned(other, 3), await assigned(other, 4)]).toEqual([
        [256, 0xffff_ffff],
        [5],
        [],
      ]);
    });

    it('follow a node that is moved, and keep when it left and the TID of its last commit', async () => {
      const { storage, other } = await open();
      await putNode(storage, 1, { controller: 1, committed: committedThrough(1) });
      const moved = await putNode(storage, 1, { controller: 2, committed: committedThrough(1) });
      await other.read({});
      expect([await assigned(other, 1), await assigned(other, 2)]).toEqual([[], [1]]);
      expect(await formerOf(other, [1, 1], [1, 2])).toEqual([{ until: moved, tid: 'ab' }, undefined]);
    });

    it('keep the TID that a reset takes out of the row', async () => {
      const { storage } = await open();
      await putNode(storage, 1, { committed: committedThrough(1) });
      await putNode(storage, 1);
      await storage.read({});
      expect([await assigned(storage, 1), await storage.assignments.former(1, 1)]).toEqual([[1], { tid: 'ab' }]);
    });

    it('keep nothing of a join', async () => {
      const { storage } = await open();
      await putNode(storage, 1);
      await putNode(storage, 1, { committed: committedThrough(1) });
      await storage.read({});
      expect([await assigned(storage, 1), await storage.assignments.former(1, 1)]).toEqual([[1], undefined]);
    });

    it('lose a node that is removed, each with its own entry of the write', async () => {
      const { storage } = await open();
      for (const idI of [1, 2, 3]) await putNode(storage, idI);
      const before = await storage.write({ nodes: [1, 2, 3, 4] }, ({ head }) => ({
        result: head.seq,
        events: [
          event('node removed', { node: 2 }),
          event('node removed', { node: 1 }),
          event('controller changed', { controller: 1 }),
        ],
        remove: { nodes: [1, 2, 3, 4] },
      }));
      await storage.read({});
      expect(await assigned(storage, 1)).toEqual([]);
      expect(await formerOf(storage, [1, 1], [2, 1], [3, 1], [4, 1])).toEqual([
        { until: before + 2 },
        { until: before + 1 },
        { until: before + 3 },
        undefined,
      ]);
    });

    it('have the nodes of a pending order, which leave nothing behind when they are unloaded', async () => {
      const { storage } = await open();
      await storage.write({}, () => ({ result: undefined, put: { orders: [[1, orderRow('pending')]] } }));
      await storage.load(1, {}, () => [[1, nodeRow()]]);
      await storage.read({});
      expect(await assigned(storage, 1)).toEqual([1]);
      await storage.unload(1);
      await storage.read({});
      expect([await assigned(storage, 1), await storage.assignments.former(1, 1)]).toEqual([[], undefined]);
    });
  });

  describe('what was seen', () => {
    const asked = (
      at: number,
    ): { keyRequested: { since: number; at: number; count: number; by: number }; keyGivenTo: number } => ({
      keyRequested: { since: at, at, count: 1, by: 4 },
      keyGivenTo: 4,
    });

    it('is added to what is there, and a controller that was given an initial key is noted', async () => {
      const { storage, other } = await open();
      await putNode(storage, 1);
      for (const at of [10, 20]) {
        await storage.recordActivity({
          nodes: [
            [1, asked(at)],
            [2, asked(at)],
          ],
          controllers: [[4, { lastSeen: { since: at, at, count: 1, key: 'a4f1' } }]],
        });
      }
      const found = await other.read({ nodes: [1], nodeActivity: [1, 2], controllerActivity: [4] });
      const run = { since: 10, at: 20, count: 2 };
      for (const idI of [1, 2]) expect(found.nodeActivity(idI)).toEqual({ keyRequested: { ...run, by: 4 } });
      expect(found.controllerActivity(4)).toEqual({ lastSeen: { ...run, key: 'a4f1' } });
      // Under another SK_cs a run of its own begins.
      for (const [at, key] of [
        [30, 'c80b'],
        [40, 'c80b'],
      ] as const)
        await storage.recordActivity({ nodes: [], controllers: [[4, { lastSeen: { since: at, at, count: 1, key } }]] });
      const { lastSeen } = (await other.read({ controllerActivity: [4] })).controllerActivity(4) ?? {};
      expect(lastSeen).toEqual({ since: 30, at: 40, count: 2, key: 'c80b' });
      expect(found.node(1)?.row.seenBy).toEqual([4]);
    });

    it('of IDs that are not in the registry is listed by pages, and removed on its own', async () => {
      const { storage, other } = await open();
      await putNode(storage, 2);
      await storage.recordActivity({ nodes: [1, 2, 3, 5].map((idI) => [idI, asked(1)] as const), controllers: [] });
      const unknown = async (): Promise<number[]> => (await other.unknownNodePage(0, 10)).map(([idI]) => idI);
      expect(await other.unknownNodePage(2, 1)).toEqual([[3, { keyRequested: { since: 1, at: 1, count: 1, by: 4 } }]]);
      expect(await unknown()).toEqual([1, 3, 5]);
      await storage.write({}, () => ({ result: undefined, remove: { unknownNodeActivity: [2, 3, 4] } }));
      expect(await unknown()).toEqual([1, 5]);
      expect((await other.read({ nodeActivity: [2] })).nodeActivity(2)).toBeDefined();
    });

    it('of 1,024 IDs that are not in the registry is kept, and then all of it goes', async () => {
      const { storage } = await open();
      await storage.recordActivity({
        nodes: Array.from({ length: 1_024 }, (_, idI) => [idI, asked(1)] as const),
        controllers: [],
      });
      const seen = async (): Promise<boolean[]> => {
        const found = await storage.read({ nodeActivity: [0, 2_000] });
        return [found.nodeActivity(0) !== undefined, found.nodeActivity(2_000) !== undefined];
      };
      expect(await seen()).toEqual([true, false]);
      await storage.recordActivity({ nodes: [[2_000, asked(1)]], controllers: [] });
      expect(await seen()).toEqual([false, true]);
    });
  });

  describe('the audit log', () => {
    async function logged(entries: number): Promise<RegistryStorage> {
      const { storage } = await open();
      for (let i = 1; i <= entries; i++) await putNode(storage, i);
      return storage;
    }

    it('is found out to be tampered with, whatever was done to an entry', async () => {
      const storage = await logged(5);
      const { start, head } = await endsOf(storage);
      const entries = (await entriesOf(storage)).map(([seq, octets]) => [seq, Buffer.from(octets)] as const);
      const problems = (tampered: readonly (readonly [number, Buffer])[]): Promise<string[]> =>
        listed(verifyChain({ start, head, entries: tampered }));
      expect(await problems(entries)).toEqual([]);
      for (const [i, [seq, octets]] of entries.entries()) {
        const changed = Buffer.from(octets);
        changed[changed.length - 3]! ^= 1;
        expect(await problems(entries.with(i, [seq, changed]))).toEqual([`entry ${seq} was changed`]);
        expect(await problems(entries.toSpliced(i, 1))).toEqual([`entry ${seq} was removed`]);
        const next = entries[(i + 1) % entries.length]![1];
        expect(await problems(entries.with(i, [seq, next]))).not.toEqual([]);
      }
      expect(await problems([...entries, [6, entries[4]![1]]])).not.toEqual([]);
    });

    it('is read by number, either way', async () => {
      const { audit } = await logged(4);
      const seqs = async (entries: Listed<readonly [number, unknown]>): Promise<number[]> =>
        (await listed(entries)).map(([seq]) => seq);
      expect([await seqs(audit.ascending(3)), await seqs(audit.descending()), await audit.length]).toEqual([
        [3, 4],
        [4, 3, 2, 1],
        4,
      ]);
      expect(parseEntry((await audit.get(2))!)).toMatchObject({ seq: 2, node: '00000002', actor: 'user ada' });
      expect(await audit.get(5)).toBeUndefined();
      expect([await seqs(audit.descending(3)), await seqs(audit.descending(0))]).toEqual([[3, 2, 1], []]);
    });

    it('is pruned in one write with the entry that tells of it, or not at all', async () => {
      const storage = await logged(6);
      const told = event('log pruned', { upTo: 4 });
      expect(await storage.pruneAudit(7, 100, told)).toBe(0);
      expect(await endsOf(storage)).toMatchObject({ length: 6, start: { seq: 0 } });
      expect(await storage.pruneAudit(4, 3, told)).toBe(3);
      expect(await endsOf(storage)).toMatchObject({ start: { seq: 3 }, head: { seq: 7 } });
      expect(await problemsOf(storage)).toEqual([]);
      expect(await storage.pruneAudit(4, 3)).toBe(1);
      expect([(await entriesOf(storage)).map(([seq]) => seq), await problemsOf(storage)]).toEqual([[5, 6, 7], []]);
    });
  });
}
