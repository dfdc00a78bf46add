// Proves that the nodes of an order or import come to be all at once or not at all, beside commits,
// and however the process is killed.

import { allOf, rotateMasterKey } from '@latchkey/registry';
import { randomInt } from 'node:crypto';
import { formatId } from '@latchkey/protocol';
import { describe, expect, it, vi } from 'vitest';
import { collected, Child } from '@latchkey/test-support/fixtures';
import { NodeBatch } from '../src/node-batch.js';
import { moveNodes } from '../src/administration.js';
import { enrol, EnrolmentTransaction, type ImportAction } from '../src/enrolment.js';
import type { Registry } from '@latchkey/registry';
import {
  addNodes,
  batchOf,
  commitTo,
  newNode,
  newRegistry,
  newSecret,
  numbered,
  numberOf,
  openRegistry,
  TERMS,
  withRegistry,
} from '@latchkey/test-support/registry-fixtures';

const MANY = 12_000;

function many(first: number, count: number = MANY): NodeBatch {
  return batchOf(Array.from({ length: count }, (_, i) => newNode(first + i, { key: numbered(i) })));
}

async function seen(registry: Registry): Promise<number[]> {
  return (await allOf(registry.nodePages())).map(({ idI }) => idI);
}

/** Rows in the store, whoever may see them. */
function rows(registry: Registry): number {
  registry.tables.refreshSnapshot();
  return registry.tables.nodes.getCount();
}

/** Lets a child do what it does for a random while, then kills it. */
async function killAfter(child: Child, ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  await child.kill('SIGKILL');
}

describe('a batch', () => {
  it('has what was put in, beyond its first room, and gives it in order of ID, then of place', () => {
    const batch = new NodeBatch();
    const ids = Array.from({ length: 5_000 }, (_, i) => (i * 2_654_435_761) % 2 ** 32);
    ids.forEach((idI, i) => batch.add(idI, i + 1, numbered(i).expose(), 0xffff_ffff - i));
    batch.add(ids[7]!, 0xffff_ffff, numbered(5_000).expose(), 9);
    expect(batch.length).toBe(5_001);
    ids.forEach((idI, i) => {
      expect([batch.idI(i), batch.idC(i), batch.line(i), numberOf(batch.ik(i))]).toEqual([idI, i + 1, 0xffff_ffff - i, i]);
    });
    const inOrder = [...batch.indicesById()];
    expect(inOrder.map((i) => batch.idI(i))).toEqual([...ids, ids[7]!].toSorted((a, b) => a - b));
    expect(inOrder.indexOf(5_000)).toBe(inOrder.indexOf(7) + 1);
  });
});

describe('an order', () => {
  it('is stored with its nodes, under numbers that count from 1', async () => {
    const registry = await newRegistry();
    const from = Date.now();
    expect(await addNodes(registry, [newNode(9), newNode(3)])).toEqual([1]);
    expect(await addNodes(registry, [newNode(5)], { installer: 'Ada' })).toEqual([2]);
    const { createdAt, ...order } = (await registry.order(1))!;
    expect(order).toEqual({ ...TERMS, number: 1, state: 'open', count: 2, createdEntry: 2, entry: 2 });
    expect(createdAt).toBeGreaterThanOrEqual(from);
    expect(createdAt).toBeLessThanOrEqual(Date.now());
    expect((await allOf(registry.nodePages())).map(({ idI, order: number, entry }) => [idI, number, entry])).toEqual([
      [3, 1, 0],
      [5, 2, 0],
      [9, 1, 0],
    ]);
    expect(await allOf(registry.audit.entryPages(2))).toMatchObject([
      { what: 'order created', order: 1, count: 2, note: 'Kim & Sons', controller: '00000001' },
      { what: 'order created', order: 2, count: 1, note: 'Ada' },
    ]);
    expect(await collected(registry.audit.verify())).toEqual([]);
  });

  it('of 12,000 nodes is stored whole, with each node’s key, and tells how far it is', async () => {
    const registry = await newRegistry();
    const progress: number[] = [];
    await enrol(registry, { terms: TERMS, batch: many(0), progress: (done) => void progress.push(done) });
    expect(await seen(registry)).toHaveLength(MANY);
    for (let i = 0; i < MANY; i += 97) expect(numberOf((await registry.node(i))?.key)).toBe(i);
    expect(progress.length).toBeGreaterThan(1);
    expect([progress.at(-1), progress]).toEqual([MANY, progress.toSorted((a, b) => a - b)]);
  });

  it('opens under the master key that took over while its rows were on their way', async () => {
    const registry = await newRegistry();
    const load = registry.load.bind(registry);
    const late = vi.spyOn(registry, 'load').mockImplementationOnce(async (...rows) => {
      await rotateMasterKey(registry, { path: '/nowhere', key: newSecret(), install: () => Promise.resolve() });
      return load(...rows);
    });
    await addNodes(registry, [newNode(1, { key: numbered(7) })]);
    expect(late).toHaveBeenCalledTimes(1);
    expect(numberOf((await registry.node(1))?.key)).toBe(7);
  });

  it('is not seen, nor any node of it, before all of it is there', async () => {
    const registry = await newRegistry();
    const before = await registry.audit.readHead();
    const glimpses: unknown[] = [];
    const progress = async (): Promise<void> => {
      expect(rows(registry)).toBeGreaterThan(0);
      expect((await registry.takenIds([0])).has(0)).toBe(true);
      glimpses.push([
        await seen(registry),
        await registry.node(0),
        (await registry.order(1))?.state,
        await registry.audit.readHead(),
      ]);
    };
    await enrol(registry, { terms: TERMS, batch: many(0), progress });
    expect(glimpses).toEqual(glimpses.map(() => [[], undefined, 'pending', before]));
    expect(glimpses.length).toBeGreaterThan(1);
  });

  it.each([
    ['in the first chunk', 1],
    ['in the last', MANY - 1],
  ])('of which an ID is taken %s leaves nothing behind', async (_, taken) => {
    const registry = await newRegistry();
    const there = newNode(taken);
    await addNodes(registry, [there]);
    const head = await registry.audit.readHead();
    await expect(enrol(registry, { terms: TERMS, batch: many(0) })).rejects.toMatchObject({
      name: 'Failure',
      message: `node ${formatId(taken)} was added meanwhile`,
    });
    expect([await seen(registry), rows(registry), await registry.order(2), await registry.audit.readHead()]).toEqual([
      [taken],
      1,
      undefined,
      head,
    ]);
    expect((await registry.node(taken))?.key.toHex()).toBe(there.key.toHex());
  });

  it('with one ID twice leaves nothing behind', async () => {
    const registry = await newRegistry();
    await expect(enrol(registry, { terms: TERMS, batch: batchOf([newNode(4), newNode(5), newNode(4)]) })).rejects.toMatchObject({
      name: 'Failure',
    });
    expect([await seen(registry), rows(registry), await registry.orders()]).toEqual([[], 0, []]);
  });

  it('is one at a time: the second is refused in words, at once, and the first goes on', async () => {
    const registry = await newRegistry();
    const other = await openRegistry(registry.folder);
    const first = await EnrolmentTransaction.begin(registry, TERMS);
    await first.add(many(0));
    for (const second of [registry, other]) {
      await expect(enrol(second, { terms: TERMS, batch: batchOf([newNode(0xffff)]) })).rejects.toMatchObject({
        name: 'Failure',
        message: expect.stringContaining('is in use by another order or import') as string,
      });
    }
    expect(await first.commit()).toBe(1);
    await first.close();
    expect(await seen(registry)).toHaveLength(MANY);
    expect(await enrol(other, { terms: TERMS, batch: batchOf([newNode(0xffff)]) })).toBe(2);
  });

  it('is not shown if another machine has cleared it away, nor under the number that it had', async () => {
    const registry = await newRegistry();
    const own = await EnrolmentTransaction.begin(registry, TERMS);
    await own.add(batchOf([newNode(1), newNode(2)]));
    await registry.storage.unload(1);
    const head = await registry.audit.readHead();
    const refused = {
      message: 'another order or import has cleared away order 1 before it was finished',
      advice: 'Nothing was changed. Try again.',
    };
    await expect(own.commit()).rejects.toMatchObject(refused);
    expect([await registry.orders(), await registry.audit.readHead()]).toEqual([[], head]);
    await own.close();

    const late = await EnrolmentTransaction.begin(registry, TERMS);
    await late.add(batchOf([newNode(1)]));
    await registry.storage.unload(1);
    const theirs = { ...TERMS, installer: 'Ada', state: 'pending', count: 0, createdAt: 1, createdEntry: 0, entry: 0 } as const;
    await registry.write({}, () => ({ result: undefined, put: { orders: [[1, theirs]] } }));
    await expect(late.commit()).rejects.toMatchObject(refused);
    await late.close();
    expect(await registry.order(1)).toMatchObject({ installer: 'Ada', state: 'pending' });
  });

  it('takes nothing back of an order that another machine gives its number to at that moment', async () => {
    const registry = await newRegistry();
    const own = await EnrolmentTransaction.begin(registry, TERMS);
    await own.add(batchOf([newNode(1)]));
    const { storage } = registry;
    const unload = storage.unload.bind(storage);
    vi.spyOn(storage, 'unload').mockImplementationOnce(async (...given) => {
      await unload(1);
      const theirs = { ...TERMS, installer: 'Ada', state: 'pending', count: 0, createdAt: 1, createdEntry: 0, entry: 0 } as const;
      await registry.write({}, () => ({ result: undefined, put: { orders: [[1, theirs]] } }));
      await unload(...given);
    });
    await own.close();
    expect(await registry.order(1)).toMatchObject({ installer: 'Ada', state: 'pending' });
  });

  it('goes on beside commits, which lose none', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(0xff_0000, { key: numbered(0) })]);
    const committer = new Child(
      withRegistry(`
        for (let i = 1; ; i++) {
          const began = performance.now();
          if (await commitAs(0xff0000, numbered(i)) !== 'committed') throw new Error('conflict');
          say(i);
        }`),
      [registry.folder],
    );
    expect(await committer.line()).toBe('1');
    const order = { done: false };
    const ordering = enrol(registry, { terms: TERMS, batch: many(0, 60_000) }).finally(() => (order.done = true));
    let last = 1;
    while (!order.done) {
      const line = Number(await committer.line());
      expect(line).toBe(last + 1);
      last = line;
    }
    await ordering;
    expect(last).toBeGreaterThan(10);
    await committer.kill('SIGKILL');
    expect(numberOf((await registry.node(0xff_0000))?.key)).toBeGreaterThanOrEqual(last);
    expect(await seen(registry)).toHaveLength(60_001);
    expect(await collected(registry.audit.verify())).toEqual([]);
  });
});

describe('an import', () => {
  /** Two that change, one that is added, one that stays. */
  async function mixed(): Promise<{
    readonly registry: Registry;
    readonly batch: NodeBatch;
    readonly action: (i: number) => ImportAction;
  }> {
    const registry = await newRegistry();
    await addNodes(
      registry,
      [10, 11, 12].map((idI) => newNode(idI, { key: numbered(idI) })),
    );
    const lines = [
      newNode(12, { key: numbered(112) }),
      newNode(99, { key: numbered(199) }),
      newNode(10, { key: numbered(10), controller: 2 }),
      newNode(11, { key: numbered(111) }),
    ];
    const verdicts: ImportAction[] = ['change', 'add', 'change', 'unchanged'];
    return { registry, batch: batchOf(lines), action: (i) => verdicts[i] ?? 'reject' };
  }

  const keys = async (registry: Registry): Promise<[number, number, number, number][]> =>
    Promise.all(
      (await allOf(registry.nodePages())).map(async ({ idI, controller, order }): Promise<[number, number, number, number]> => [
        idI,
        numberOf((await registry.node(idI))?.key),
        controller,
        order,
      ]),
    );

  it('adds and changes at once, and tells of each change', async () => {
    const { registry, ...what } = await mixed();
    expect(await enrol(registry, { terms: { ...TERMS, kind: 'import', idC: undefined }, ...what })).toBe(2);
    expect(await keys(registry)).toEqual([
      [10, 10, 2, 1],
      [11, 11, 1, 1],
      [12, 112, 1, 1],
      [99, 199, 1, 2],
    ]);
    expect(await allOf(registry.audit.entryPages(3))).toMatchObject([
      { what: 'node changed by import', node: '0000000a', controller: '00000002' },
      { what: 'node changed by import', node: '0000000c' },
      { what: 'nodes imported', order: 2, count: 1 },
    ]);
    expect((await registry.node(12))?.entry).toBe(4);
    expect(await registry.order(2)).toMatchObject({ kind: 'import', count: 1, idC: undefined });
  });

  it('that changes alone makes no order', async () => {
    const { registry, batch, action } = await mixed();
    const changes = (i: number): ImportAction => (action(i) === 'add' ? 'reject' : action(i));
    expect(await enrol(registry, { terms: TERMS, batch, action: changes })).toBeUndefined();
    expect([await seen(registry), (await registry.orders()).length]).toEqual([[10, 11, 12], 1]);
  });

  it('does nothing at all where a node that was to change has joined meanwhile', async () => {
    const { registry, ...what } = await mixed();
    await commitTo(registry, await registry.node(12), numbered(7));
    await expect(enrol(registry, { terms: TERMS, ...what })).rejects.toMatchObject({ message: 'node 0000000c joined meanwhile' });
    expect(await keys(registry)).toEqual([
      [10, 10, 1, 1],
      [11, 11, 1, 1],
      [12, 7, 1, 1],
    ]);
    expect(rows(registry)).toBe(3);
  });

  it('has a commit that was judged by the key before it lost', async () => {
    const { registry, ...what } = await mixed();
    const judged = await registry.node(12);
    await enrol(registry, { terms: TERMS, ...what });
    expect(await commitTo(registry, judged, newSecret())).toBe('conflict');
    expect(numberOf((await registry.node(12))?.key)).toBe(112);
  });
});

describe('a process that is killed', () => {
  it('while it writes an order leaves all of it or nothing, and the next clears up', async () => {
    const registry = await newRegistry();
    const outcomes = { all: 0, none: 0 };
    for (let round = 0; round < 10; round++) {
      const before = (await seen(registry)).length;
      const orderer = new Child(
        withRegistry(`
          say('ready');
          const progress = () => { if (${round} === 0) process.kill(process.pid, 'SIGKILL'); };
          await enrolled(Array.from({ length: ${MANY} }, (_, i) => [${round} * ${MANY} + i, numbered(i)]), { progress });
          say('done');
          setInterval(() => {}, 1000);`),
        [registry.folder],
      );
      expect(await orderer.line()).toBe('ready');
      // In the middle of it, then at random moments, then at its end, however fast this machine is.
      if (round === 0) await orderer.exited;
      if (round === 9) await orderer.line();
      await killAfter(orderer, round === 0 || round === 9 ? 0 : randomInt(round * 40, 60 + round * 60));
      const after = (await seen(registry)).length;
      expect([before, before + MANY]).toContain(after);
      outcomes[after === before ? 'none' : 'all'] += 1;
      expect((await registry.orders()).filter(({ state }) => state !== 'pending').length).toBe(after / MANY);
      expect((await registry.node(round * MANY)) !== undefined).toBe(after > before);
      // Rows may be left of this order, or of the one before if this one was killed as it began.
      const nothingLeft = rows(registry) === after;
      expect(nothingLeft && (await registry.takenIds([round * MANY])).has(round * MANY)).toBe(nothingLeft && after > before);
      expect(await collected(registry.audit.verify())).toEqual([]);
    }
    expect(outcomes.all).toBeGreaterThan(0);
    expect(outcomes.none).toBeGreaterThan(0);
    const before = await seen(registry);
    const last = newNode(0xffff_ffff);
    await addNodes(registry, [last]);
    expect([rows(registry), await seen(registry)]).toEqual([before.length + 1, [...before, 0xffff_ffff]]);
    expect((await registry.orders()).every(({ state }) => state === 'open')).toBe(true);
  }, 600_000);

  /** A registry in which an order was left half written, from node 0 on. */
  async function halfway(): Promise<Registry> {
    const registry = await newRegistry();
    const half = new Child(
      withRegistry(`
        await enrolled(Array.from({ length: ${MANY} }, (_, i) => [i, numbered(i)]), {
          progress: () => { say('halfway'); process.kill(process.pid, 'SIGKILL'); },
        });`),
      [registry.folder],
    );
    expect(await half.line()).toBe('halfway');
    await half.exited;
    expect([rows(registry) > 0, await seen(registry)]).toEqual([true, []]);
    return registry;
  }

  // `changeNodes` looks at the rows alone.
  it('leaves nodes that nobody can change', async () => {
    const registry = await halfway();
    await expect(moveNodes(registry, [1], 2)).rejects.toMatchObject({
      message: expect.stringContaining('is not in the registry') as string,
    });
  });

  it('leaves IDs that the next order may take', async () => {
    const registry = await halfway();
    await addNodes(registry, [newNode(1, { key: numbered(77) })]);
    expect([rows(registry), numberOf((await registry.node(1))?.key)]).toEqual([1, 77]);
  });
});
