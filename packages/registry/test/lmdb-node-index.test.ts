// The file beside the store that spares a process the walk through all nodes.

import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LmdbStorage } from '../src/lmdb/lmdb-storage.js';
import { STORE_FOLDER } from '../src/folder-names.js';
import { Tables } from '../src/lmdb/tables.js';
import { event, nodeRow, orderRow, putNode } from './contract/storage-contract.js';

process.umask(0o077);

/** As many as are worth a file. */
const NODES = 5_000;

async function openIn(folder: string): Promise<LmdbStorage> {
  const storage = new LmdbStorage(await Tables.open(folder, 'test'));
  onTestFinished(() => storage.close());
  return storage;
}

async function registryWithFile(): Promise<{ readonly folder: string; readonly file: string }> {
  const folder = await tempFolder();
  const storage = await openIn(folder);
  await storage.write({}, () => ({ result: undefined, put: { orders: [[1, orderRow('pending')]] } }));
  const rows = Array.from({ length: NODES }, (_, idI) => [idI, nodeRow()] as const);
  await storage.load(1, {}, () => rows, [[7, { name: 'Pump 7', entry: 0 }]]);
  await storage.write({}, () => ({
    result: undefined,
    events: [event('order created', { order: 1 })],
    put: { orders: [[1, { ...orderRow(), site: 'north' }]] },
  }));
  expect(await countIn(storage)).toBe(NODES);
  await storage.close();
  return { folder, file: join(folder, STORE_FOLDER, 'node-index') };
}

async function countIn(storage: LmdbStorage): Promise<number | undefined> {
  return (await storage.nodeList({ filter: { sites: ['north'] }, now: 0, limit: 1, counted: true })).total;
}

/** Removes a node as nothing does that tells of it: only who goes through the table sees that. */
async function removeUnseen(storage: LmdbStorage, idI: number): Promise<void> {
  await storage.tables.write(() => storage.tables.nodes.removeSync(idI));
}

describe('the file of the index', () => {
  it('is taken by the next process, with all that was written since', async () => {
    const { folder, file } = await registryWithFile();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const storage = await openIn(folder);
    await removeUnseen(storage, 1);
    await putNode(storage, 2, { disabled: true });
    await storage.write({}, () => ({ result: undefined, events: [event('node removed', { node: 3 })], remove: { nodes: [3] } }));
    // The node that nobody told of is counted: it is in the file.
    expect(await countIn(storage)).toBe(NODES - 1);
    expect((await storage.nodeList({ filter: { states: ['disabled'] }, now: 0, limit: 9 })).ids).toEqual([2]);
    expect((await storage.nodeList({ filter: { search: 'pump' }, now: 0, limit: 9 })).ids).toEqual([7]);
  });

  it.each([
    ['was spoiled', (octets: Buffer): Buffer => Buffer.concat([octets.subarray(0, 500), Buffer.alloc(8), octets.subarray(508)])],
    ['was cut short', (octets: Buffer): Buffer => octets.subarray(0, 1_000)],
    ['is empty', (): Buffer => Buffer.alloc(0)],
  ])('is not taken if it %s', async (_, spoil) => {
    const { folder, file } = await registryWithFile();
    await writeFile(file, spoil(await readFile(file)));
    const storage = await openIn(folder);
    await removeUnseen(storage, 1);
    expect(await countIn(storage)).toBe(NODES - 1);
  });

  it('is not taken if it is of another registry, or of one whose log is pruned beyond it', async () => {
    const [one, other] = [await registryWithFile(), await registryWithFile()];
    // Their logs differ: each entry has its time and actor, and the second was changed.
    const changed = await openIn(other.folder);
    await removeUnseen(changed, 1);
    await putNode(changed, 2);
    await changed.pruneAudit(1, 4_096, event('log pruned', { upTo: 1 }));
    expect(await countIn(changed)).toBe(NODES - 1);
    await changed.close();
    await writeFile(one.file, await readFile(other.file));
    const storage = await openIn(one.folder);
    await removeUnseen(storage, 2);
    await removeUnseen(storage, 3);
    expect(await countIn(storage)).toBe(NODES - 2);
  });
});

describe('a process that only counts', () => {
  it('neither reads the file nor writes it, and follows what others write', async () => {
    const { folder, file } = await registryWithFile();
    const saved = await readFile(file);
    const [storage, other] = [await openIn(folder), await openIn(folder)];
    storage.onlyCount();
    await removeUnseen(storage, 1);
    const countsOf = async (): Promise<unknown> => Object.fromEntries(await storage.nodeCounts({}, 0, 'state'));
    // The node that nobody told of is not counted: the file still has it.
    expect(await countsOf()).toEqual({ enrolled: { nodes: NODES - 1, joined: 0 } });
    // So many changes that the index would be saved.
    for (let idI = 2; idI < 2 + NODES / 4; idI += 500)
      await other.write({}, () => ({
        result: undefined,
        events: Array.from({ length: 500 }, (_, i) => event('node disabled', { node: idI + i })),
        put: { nodes: Array.from({ length: 500 }, (_, i) => [idI + i, nodeRow({ disabled: true })] as const) },
      }));
    expect(await countsOf()).toEqual({
      enrolled: { nodes: NODES - 1 - 1_500, joined: 0 },
      disabled: { nodes: 1_500, joined: 0 },
    });
    await storage.maintain();
    await storage.close();
    expect(await readFile(file)).toEqual(saved);
  });

  it('keeps no texts, and finds them in the store', async () => {
    const { folder } = await registryWithFile();
    const storage = await openIn(folder);
    storage.onlyCount();
    expect((await storage.nodeCounts({ search: 'pump' }, 0, 'state')).get('enrolled')).toEqual({ nodes: 1, joined: 0 });
    expect((await storage.nodeList({ filter: { search: 'pump' }, now: 0, limit: 9 })).ids).toEqual([7]);
  });
});
