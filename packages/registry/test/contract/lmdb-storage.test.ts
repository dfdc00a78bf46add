// Proves that the engine on LMDB keeps the promises of every engine, also when its process is
// killed and its disk is full, and that it agrees with the one in memory.

import { randomInt } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Failure } from '@latchkey/runtime/failure';
import { Child, mountTmpfs, tempFolder } from '@latchkey/test-support/fixtures';
import { newRegistry, openRegistry } from '@latchkey/test-support/registry-fixtures';
import { parseEntry } from '../../src/audit-chain.js';
import { LmdbStorage } from '../../src/lmdb/lmdb-storage.js';
import { Tables } from '../../src/lmdb/tables.js';
import { MemoryDatabase, MemoryStorage } from '../../src/memory/memory-storage.js';
import type { RegistryStorage } from '../../src/storage.js';
import { keyFeedContract } from './key-feed-contract.js';
import { nodeListContract } from './node-list-contract.js';
import {
  entriesOf,
  event,
  listed,
  nodeRow,
  nodesOf,
  orderRow,
  plain,
  problemsOf,
  putNode,
  storageContract,
} from './storage-contract.js';

process.umask(0o077);

async function openIn(folder: string): Promise<LmdbStorage> {
  const storage = new LmdbStorage(await Tables.open(folder, 'test'));
  onTestFinished(() => storage.close());
  return storage;
}

describe('LMDB', () => {
  const open = async (): Promise<{ storage: LmdbStorage; other: LmdbStorage }> => {
    const folder = await tempFolder();
    return { storage: await openIn(folder), other: await openIn(folder) };
  };
  storageContract(open);
  nodeListContract(open);
  keyFeedContract(async () => {
    const registry = await newRegistry();
    return { registry, other: await openRegistry(registry.folder) };
  });

  it('agrees with the engine in memory on whatever is written', async () => {
    const id = fc.integer({ min: 1, max: 6 });
    const change = fc.oneof(
      fc.record({ kind: fc.constant('put' as const), id, controller: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ kind: fc.constant('remove' as const), id }),
      fc.record({ kind: fc.constant('fail' as const), id }),
      fc.record({ kind: fc.constant('order' as const), id, open: fc.boolean() }),
      fc.record({ kind: fc.constant('load' as const), id }),
      fc.record({ kind: fc.constant('unload' as const), id }),
      fc.record({ kind: fc.constant('prune' as const), id }),
    );
    const lmdb = await openIn(await tempFolder());
    const memory = new MemoryStorage(new MemoryDatabase({ after: (_, action) => action() }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 12 }), async (changes) => {
        for (const one of changes) {
          const [told, wanted] = await Promise.all([outcomeOf(lmdb, one), outcomeOf(memory, one)]);
          expect(plain(told)).toEqual(plain(wanted));
        }
        expect(await everythingIn(lmdb)).toEqual(await everythingIn(memory));
      }),
      { numRuns: 25 },
    );

    async function outcomeOf(storage: RegistryStorage, one: Change): Promise<unknown> {
      try {
        return await apply(storage, one);
      } catch (error) {
        return (error as Error).message;
      }
    }
  });
});

type Change =
  | { readonly kind: 'put'; readonly id: number; readonly controller: number }
  | { readonly kind: 'order'; readonly id: number; readonly open: boolean }
  | { readonly kind: 'remove' | 'fail' | 'load' | 'unload' | 'prune'; readonly id: number };

function apply(storage: RegistryStorage, change: Change): Promise<unknown> {
  const { id } = change;
  switch (change.kind) {
    case 'put':
      return putNode(storage, id, { controller: change.controller });
    case 'remove':
      return storage.write({ nodes: [id] }, (found) => ({
        result: found.node(id)?.row,
        events: [event('node removed', { node: id })],
        remove: { nodes: [id] },
      }));
    case 'fail':
      return storage.write({}, () => {
        throw new Failure(`decided to fail at ${id}`);
      });
    case 'order':
      return storage.write({}, ({ lastOrder }) => ({
        result: lastOrder,
        put: { orders: [[id, orderRow(change.open ? 'open' : 'pending')]] },
      }));
    case 'load':
      return storage.load(id, {}, () => [[id + 10, nodeRow({ order: id })]]);
    case 'unload':
      return storage.unload(id);
    case 'prune':
      return storage.pruneAudit(id, 4, event('log pruned', { upTo: id }));
  }
}

async function everythingIn(storage: RegistryStorage): Promise<unknown> {
  return plain({
    nodes: await storage.nodePage(0, 100),
    orders: await storage.orderPage(0, 100),
    assigned: await Promise.all([1, 2, 3].map((idC) => listed(storage.assignments.nodesOf(idC)))),
    former: await Promise.all(
      [1, 2, 3].flatMap((idC) =>
        Array.from({ length: 20 }, async (_, idI) => (await storage.assignments.former(idI, idC)) ?? null),
      ),
    ),
    entries: await entriesOf(storage),
    head: await storage.audit.head,
    start: await storage.audit.start,
    problems: await problemsOf(storage),
  });
}

describe('a process that writes', () => {
  const dist = (path: string): string => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);
  const writer = `
    import { writeSync } from 'node:fs';
    import { LmdbStorage } from ${dist('lmdb/lmdb-storage.js')};
    import { Tables } from ${dist('lmdb/tables.js')};
    process.umask(0o077);
    const [folder, first] = process.argv.slice(1);
    const storage = new LmdbStorage(await Tables.open(folder, 'test'));
    const row = { key: new Uint8Array(33), initial: true, ik: new Uint8Array(10), controller: 1, order: 1 };
    const put = (idI) => storage.write({ nodes: [idI] }, ({ head }) => ({
      result: head.seq + 1,
      events: [{ what: 'node enabled', node: idI, actor: 'child', at: 1 }],
      put: { nodes: [[idI, { ...row, entry: head.seq + 1 }]] },
    }));
    for (let from = Number(first); ; from += 8) {
      const ids = Array.from({ length: 8 }, (_, i) => from + i);
      await Promise.all(ids.map(async (idI) => { await put(idI); writeSync(1, idI + '\\n'); }));
    }`;

  it('and is killed again and again has what it acknowledged, and nothing by half', async () => {
    const folder = await tempFolder();
    let next = 0;
    for (let round = 0; round < 4; round++) {
      const child = new Child(writer, [folder, String(next)]);
      const acknowledged = [Number(await child.line())];
      const many = randomInt(1, 200);
      while (acknowledged.length < many) acknowledged.push(Number(await child.line()));
      await child.kill('SIGKILL');
      for (let line = await child.line(); line !== undefined; line = await child.line()) acknowledged.push(Number(line));

      const storage = new LmdbStorage(await Tables.open(folder, 'test'));
      const page = storage.nodePage(0, 1_000_000);
      const ids = new Set(page.map(([idI]) => idI));
      expect(acknowledged.filter((idI) => !ids.has(idI))).toEqual([]);
      for (const [idI, { entry }] of page) {
        const octets = storage.audit.get(entry);
        expect(Number.parseInt((octets && parseEntry(octets)?.node) ?? '', 16)).toBe(idI);
      }
      expect([storage.audit.length, await problemsOf(storage)]).toEqual([page.length, []]);
      next = Math.max(...ids) + 1;
      await storage.close();
    }
  });

  it('on a disk that is full is refused in words, has nothing by half, and goes on once there is room', async ({ skip }) => {
    const mount = join(await tempFolder(), 'mount');
    if (!(await mountTmpfs(mount, '2m'))) skip('nothing can be mounted');
    const storage = new LmdbStorage(await Tables.open(mount, 'test'));
    const filler = join(mount, 'filler');
    await writeFile(filler, Buffer.alloc(1_000_000));
    let written = 0;
    const fill = async (): Promise<void> => {
      for (; written < 20_000; written++) await putNode(storage, written);
    };
    await expect(fill()).rejects.toMatchObject({ name: 'Failure', message: expect.stringContaining('cannot write') as string });
    const whole = async (): Promise<void> => {
      expect(await nodesOf(storage)).toEqual(Array.from({ length: written }, (_, i) => i));
      expect([storage.audit.length, await problemsOf(storage)]).toEqual([written, []]);
    };
    await whole();
    await rm(filler);
    await putNode(storage, written++);
    await whole();
    await storage.close();
  });
});
