// Proves that the engine in memory keeps the promises of every engine, that its faults are the ones
// ordered, and that a server on it answers as the interface wants it to.

import { allOf } from '@latchkey/registry';
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AuthServer } from '@latchkey/auth-server';
import { collected, CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import {
  addNodes,
  commitTo,
  controller,
  copyOf,
  Exchange,
  ID_C,
  MASTER,
  newNode,
  newSecret,
  TERMS,
  WALL,
} from '@latchkey/test-support/registry-fixtures';
import { addController, setController } from '@latchkey/operations';
import { KEY_KIND } from '@latchkey/keyring';
import type { M13, Secret } from '@latchkey/protocol';
import type { Clock } from '@latchkey/runtime/daemon';
import { type Decide, InDoubt, type Keys, Unavailable } from '../../src/storage.js';
import { type Fate, MemoryDatabase, MemoryStorage } from '../../src/memory/memory-storage.js';
import { type KeyFeed, START_OVER } from '../../src/key-feed.js';
import { initialKeyId } from '../../src/initial-key-id.js';
import { Registry } from '../../src/registry.js';
import { keyFeedContract } from './key-feed-contract.js';
import { nodeListContract } from './node-list-contract.js';
import { nodeRow, nodesOf, orderRow, problemsOf, putNode, storageContract } from './storage-contract.js';

/** The events of a world, run when its time has come. */
class World {
  #now = 0;
  #events: { readonly at: number; readonly action: () => void }[] = [];

  after(delayMs: number, action: () => void): void {
    this.#events.push({ at: this.#now + delayMs, action });
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [next] = this.#events.filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#events = this.#events.filter((one) => one !== next);
      this.#now = next.at;
      next.action();
      // What follows from it, before the next event.
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#now = end;
  }
}

describe('memory', () => {
  const open = (): Promise<{ storage: MemoryStorage; other: MemoryStorage }> => {
    const database = new MemoryDatabase(new World());
    return Promise.resolve({ storage: new MemoryStorage(database), other: new MemoryStorage(database) });
  };
  storageContract(open);
  nodeListContract(open);
  keyFeedContract(async () => {
    const { storage, other } = await open();
    const registry = await Registry.createOn(storage, 'memory', () => Promise.resolve(copyOf(MASTER)), 'test');
    return { registry, other: await Registry.openOn(other, 'memory', copyOf(MASTER), 'test') };
  });

  it('has controllers start over once it is restored', async () => {
    const database = new MemoryDatabase(new World());
    const registry = await Registry.createOn(
      new MemoryStorage(database),
      'memory',
      () => Promise.resolve(copyOf(MASTER)),
      'test',
    );
    const ask = (tid: bigint, cursor: bigint): ReturnType<KeyFeed['answer']> =>
      registry.keyFeed().answer({ idC: ID_C, tid, cursor, wallMs: WALL });
    const { cursor } = (await ask(1n, 0n)) as M13;
    expect(await ask(2n, cursor)).toMatchObject({ cursor, more: false });
    database.restored();
    expect(await ask(3n, cursor)).toEqual(START_OVER);
  });
});

it('a commit loses its comparison where the first pass-through controller of the registry came meanwhile', async () => {
  const database = new MemoryDatabase({ after: (_, action) => action() });
  const [storage, other] = [new MemoryStorage(database), new MemoryStorage(database)];
  const folder = await tempFolder();
  const registry = await Registry.createOn(storage, folder, () => Promise.resolve(copyOf(MASTER)), 'test');
  await addController(registry, controller());
  await addNodes(registry, [newNode(7)]);
  const judged = await registry.node(7);
  await setController(await Registry.openOn(other, folder, copyOf(MASTER), 'test'), ID_C, { passThrough: true });
  expect(await commitTo(registry, judged, newSecret())).toBe('conflict');
});

describe('a fault', () => {
  function faulty(...fates: readonly Fate[]): { world: World; database: MemoryDatabase; storage: MemoryStorage } {
    const world = new World();
    const database = new MemoryDatabase(world);
    const storage = new MemoryStorage(database);
    storage.order(...fates);
    return { world, database, storage };
  }

  it('makes a write that was acknowledged not happen', async () => {
    const { storage } = faulty({ effect: 'none' });
    await putNode(storage, 1);
    expect([await nodesOf(storage), storage.audit.length]).toEqual([[], 0]);
  });

  it('has a crash undo a write, and all after it', async () => {
    const { database, storage } = faulty({}, { effect: 'volatile' });
    for (const idI of [1, 2, 3]) await putNode(storage, idI);
    expect(await nodesOf(storage)).toEqual([1, 2, 3]);
    database.crash();
    expect([await nodesOf(storage), await problemsOf(storage)]).toEqual([[1], []]);
    await putNode(storage, 4);
    database.crash();
    expect(await nodesOf(storage)).toEqual([1, 4]);
  });

  it('tears a write: a crash leaves its entry without its row', async () => {
    const { database, storage } = faulty({ effect: { torn: 1 } });
    await putNode(storage, 1);
    database.crash();
    expect([await nodesOf(storage), storage.audit.length]).toEqual([[], 1]);
  });

  it('has a write come late, in the order of what is scheduled', async () => {
    const { world, storage } = faulty({ effectAfterMs: 1_000 });
    const late = putNode(storage, 1);
    await putNode(storage, 2);
    expect(await nodesOf(storage)).toEqual([2]);
    await world.pass(1_000);
    expect([await late, await nodesOf(storage), await problemsOf(storage)]).toEqual([2, [1, 2], []]);
  });

  it('leaves a write in doubt that happens, that does not, and that happens later', async () => {
    const { world, storage } = faulty(
      { answer: 'in doubt' },
      { answer: 'in doubt', effect: 'none' },
      { effectAfterMs: 60_000, answerAfterMs: 8_000 },
    );
    await expect(putNode(storage, 1)).rejects.toBeInstanceOf(InDoubt);
    await expect(putNode(storage, 2)).rejects.toBeInstanceOf(InDoubt);
    const late = putNode(storage, 3).catch((error: unknown) => error);
    await world.pass(8_000);
    expect(await late).toBeInstanceOf(InDoubt);
    expect(await nodesOf(storage)).toEqual([1]);
    await world.pass(60_000);
    expect(await nodesOf(storage)).toEqual([1, 3]);
  });

  it('keeps a server from the registry', async () => {
    const { storage } = faulty();
    storage.reachable = false;
    await expect(putNode(storage, 1)).rejects.toBeInstanceOf(Unavailable);
    expect(() => storage.read({})).toThrow(Unavailable);
    storage.reachable = true;
    expect(await nodesOf(storage)).toEqual([]);
  });

  it('forks the registry: each server sees its own, until one becomes visible to the other', async () => {
    const { database, storage } = faulty();
    await putNode(storage, 1);
    const fork = database.fork();
    const other = new MemoryStorage(fork);
    await putNode(storage, 2);
    await putNode(other, 3);
    expect([await nodesOf(storage), await nodesOf(other)]).toEqual([
      [1, 2],
      [1, 3],
    ]);
    storage.connect(fork);
    expect(await nodesOf(storage)).toEqual([1, 3]);
  });
});

it('a key that was not named is not to be had', () => {
  const found = new MemoryStorage(new MemoryDatabase(new World())).read({ nodes: [1] });
  expect(found.node(1)).toBeUndefined();
  expect(() => found.node(2)).toThrow('2 is not among the keys of this read or write');
  expect(() => found.metadata('schema')).toThrow('schema is not among the keys');
});

/** Its disk takes no write of a node, once that was decided, until it is released. */
class StalledStorage extends MemoryStorage {
  readonly held: (() => void)[] = [];
  isStalled = false;

  override write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    if (!this.isStalled || keys.nodes === undefined) return super.write(keys, decide);
    const outcome = decide(this.read(keys));
    return new Promise((resolve, reject) => {
      this.held.push(() => void super.write(keys, () => outcome).then(resolve, reject));
    });
  }
}

describe('an auth-server on it', () => {
  const ID_I = 0x0a0b_0c0d;

  async function serve(
    storage: MemoryStorage,
    clock: Clock = () => ({ wallMs: WALL, monotonicMs: WALL }),
  ): Promise<{
    registry: Registry;
    server: AuthServer;
    skCs: Secret;
    key: Secret;
  }> {
    const registry = await Registry.createOn(storage, 'memory', () => Promise.resolve(copyOf(MASTER)), 'test', clock);
    const [skCs, key] = [newSecret(), newSecret()];
    const { keyring } = registry;
    const identity = registry.initialKeyIdKey();
    await registry.write({}, ({ head }) => ({
      result: undefined,
      events: [{ what: 'order created', order: 1, at: WALL }],
      put: {
        controllers: [
          [
            ID_C,
            {
              skCs: keyring.seal({ kind: KEY_KIND.controller, id: ID_C }, skCs),
              nid: { host: '192.0.2.1', port: 5683 },
              servers: [],
              addedAt: WALL,
            },
          ],
        ],
        orders: [[1, { ...orderRow(), ...TERMS, createdEntry: head.seq + 1, entry: head.seq + 1 }]],
        nodes: [
          [
            ID_I,
            nodeRow({
              key: keyring.seal({ kind: KEY_KIND.node, id: ID_I }, key),
              ik: initialKeyId(identity, key),
              controller: ID_C,
            }),
          ],
        ],
      },
    }));
    const server = new AuthServer({ registry, clock, randomBytes, log: new CapturedLog().log });
    await server.persistClock();
    return { registry, server, skCs, key };
  }

  it.each<[string, readonly Fate[]]>([
    ['acknowledged', []],
    ['in doubt, and happened', [{ answer: 'in doubt' }]],
    ['in doubt, and did not happen', [{ answer: 'in doubt', effect: 'none' }]],
    ['in doubt twice', [{ answer: 'in doubt', effect: 'none' }, { answer: 'in doubt' }]],
  ])('answers M7 with the key that the registry has, where its write is %s', async (_, fates) => {
    const storage = new MemoryStorage(new MemoryDatabase(new World()));
    const { registry, server, skCs, key } = await serve(storage);
    const exchange = new Exchange({ idI: ID_I, key, skCs });
    expect(exchange.openM3((await server.answer(exchange.m2)).payload)?.key).toBe(key.toHex());
    storage.order(...fates);
    expect(exchange.openM8((await server.answer(exchange.m7)).payload)).toBeDefined();
    expect((await registry.node(ID_I))?.key.toHex()).toBe(exchange.psk.toHex());
    expect((await allOf(registry.audit.entryPages())).filter(({ what }) => what === 'node joined')).toHaveLength(1);
    expect(await collected(registry.audit.verify())).toEqual([]);
  });

  it('answers with reason 9 where the registry is not reached, and the repeat of M7 joins', async () => {
    const storage = new MemoryStorage(new MemoryDatabase(new World()));
    const { registry, server, skCs, key } = await serve(storage);
    const exchange = new Exchange({ idI: ID_I, key, skCs });
    await server.answer(exchange.m2);
    storage.order({ answer: 'unavailable', effect: 'none' });
    expect(exchange.openM9((await server.answer(exchange.m7)).payload, 'm7')?.reason).toBe(9);
    expect((await registry.node(ID_I))?.key.toHex()).toBe(key.toHex());
    expect(exchange.openM8((await server.answer(exchange.m7)).payload)).toBeDefined();
    expect((await registry.node(ID_I))?.key.toHex()).toBe(exchange.psk.toHex());
  });

  it('gives no key while a commit may take effect that is older than 30 s: its machine slept meanwhile', async () => {
    const storage = new StalledStorage(new MemoryDatabase(new World()));
    let wallMs = WALL;
    const { server, skCs, key } = await serve(storage, () => ({ wallMs, monotonicMs: WALL }));
    const first = new Exchange({ idI: ID_I, key, skCs });
    await server.answer(first.m2);
    storage.isStalled = true;
    const answering = server.answer(first.m7);
    await expect.poll(() => storage.held.length).toBe(1);

    // Until then the key before is given: the node keeps its candidates for longer.
    wallMs += 30_000;
    const soon = new Exchange({ idI: ID_I, key, skCs, ts: wallMs });
    expect(soon.openM3((await server.answer(soon.m2)).payload)?.key).toBe(key.toHex());
    wallMs += 570_000;
    const late = new Exchange({ idI: ID_I, key, skCs, ts: wallMs });
    expect(late.openM9((await server.answer(late.m2)).payload, 'm2')?.reason).toBe(9);

    for (const release of storage.held) release();
    expect(first.openM8((await answering).payload)).toBeDefined();
    expect(late.openM3((await server.answer(late.m2)).payload)?.key).toBe(first.psk.toHex());
  });
});
