// Proves that a registry is never taken for a damaged one however it grew and shrank, that a
// damaged one is named, and that one bad row stops nobody else.

import { allOf } from '@latchkey/registry';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { STORE_FILE } from '@latchkey/lmdb';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collected, CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { NodeBatch, addController, removeNodes, enrol, planImport } from '@latchkey/operations';
import { backup } from '../src/backup/backup.js';
import { restore, type RestoredFrom } from '../src/backup/restore.js';
import { RegistryStatistics } from '@latchkey/auth-server';
import type { Registry } from '../src/registry.js';
import { STORE_FOLDER } from '../src/folder-names.js';
import { newSecret, AdminFixture } from '@latchkey/test-support/admin-fixture';
import {
  addNodes,
  controller,
  copyOf,
  ID_C,
  MASTER,
  newNode,
  newRegistry,
  numbered,
  openRegistry,
  TERMS,
} from '@latchkey/test-support/registry-fixtures';

const PAGE = 4_096;

const step = fc.record({
  kind: fc.constantFrom('order', 'import', 'remove', 'prune', 'interrupted'),
  count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 500, max: 3_000 })),
});

/** Does what a command does. Returns the IDs of the nodes that are there then. */
async function take(
  registry: Registry,
  { kind, count }: { kind: string; count: number },
  ids: readonly number[],
): Promise<number[]> {
  const first = (ids.at(-1) ?? 0) + 1;
  const more = Array.from({ length: count }, (_, i) => first + 2 * i);
  if (kind === 'order') {
    await addNodes(
      registry,
      more.map((idI) => newNode(idI)),
    );
    return [...ids, ...more];
  }
  if (kind === 'remove') {
    await removeNodes(registry, ids.slice(0, count));
    return ids.slice(count);
  }
  if (kind === 'prune') {
    const last = (await registry.audit.readHead())?.seq ?? 0;
    await registry.pruneAudit(last, 'a file');
    return [...ids];
  }
  const batch = new NodeBatch();
  more.forEach((idI, i) => batch.add(idI, ID_C, numbered(idI).expose(), i + 1));
  const plan = await planImport(registry, batch);
  // Written, and taken back, if its controller goes meanwhile.
  const controllers = kind === 'import' ? plan.controllers : [ID_C + 1];
  const terms = { ...TERMS, kind: 'import', idC: undefined } as const;
  try {
    await enrol(registry, { terms, batch, action: (i) => plan.actionFor(i), controllers });
    return [...ids, ...more];
  } catch (error) {
    if (kind === 'import') throw error;
    return [...ids];
  }
}

const restoreInto = (file: string, folder: string): Promise<RestoredFrom> =>
  restore(file, { folder, master: copyOf(MASTER), actor: 'test', replace: false });

describe('a registry', () => {
  it('opens after each order, import, removal of nodes and pruning of its log, and is backed up', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async (steps) => {
        let registry = await newRegistry();
        await addController(registry, controller());
        let ids: number[] = [];
        for (const one of steps) {
          ids = await take(registry, one, ids);
          await registry.close();
          registry = await openRegistry(registry.folder);
          expect((await allOf(registry.nodePages())).map(({ idI }) => idI)).toEqual(ids);
          expect(await collected(registry.audit.verify())).toEqual([]);
        }
        const file = join(await tempFolder(), 'registry.lkb');
        await backup(registry, file);
        expect(await restoreInto(file, await tempFolder())).toMatchObject({ nodes: ids.length });
        await registry.close();
      }),
      { numRuns: 6 },
    );
  });

  it('that lost track of a free page is backed up', async () => {
    const registry = await newRegistry();
    await addNodes(
      registry,
      Array.from({ length: 100 }, (_, idI) => newNode(idI)),
    );
    await registry.close();
    await losePage(join(registry.folder, STORE_FOLDER, STORE_FILE));
    const again = await openRegistry(registry.folder);
    const file = join(await tempFolder(), 'registry.lkb');
    await backup(again, file);
    expect(await restoreInto(file, await tempFolder())).toMatchObject({ nodes: 100 });
  });
});

/** Adds a page that is neither used nor free. */
async function losePage(path: string): Promise<void> {
  const file = await open(path, 'r+');
  for (const page of [0, 1]) {
    const { buffer } = await file.read(Buffer.alloc(8), 0, 8, page * PAGE + 144);
    buffer.writeBigUInt64LE(buffer.readBigUInt64LE() + 1n);
    await file.write(buffer, 0, 8, page * PAGE + 144);
  }
  await file.truncate((await file.stat()).size + PAGE);
  await file.close();
}

describe('a registry whose store is damaged', () => {
  /** All pages but the first are overwritten by zeroes. */
  async function damaged(): Promise<string> {
    const registry = await newRegistry();
    await addNodes(
      registry,
      Array.from({ length: 100 }, (_, idI) => newNode(idI)),
    );
    await registry.close();
    const path = join(registry.folder, STORE_FOLDER, STORE_FILE);
    await writeFile(path, (await readFile(path)).fill(0, 2 * PAGE));
    return registry.folder;
  }

  it('is named, with the command that puts a backup in its place', async () => {
    const folder = await damaged();
    await expect(openRegistry(folder)).rejects.toMatchObject({
      name: 'DamagedStore',
      message: expect.stringMatching(
        `^the store ${folder}/${STORE_FOLDER}/${STORE_FILE} is damaged: page \\d+ is not as it was written$`,
      ) as string,
      advice: `Nothing was changed. Restore a backup: latchkey-auth-server restore FILE --data ${folder} --replace`,
    });
  });

  it('while it is open is not backed up, and nothing is left', async () => {
    const registry = await newRegistry();
    await addNodes(
      registry,
      Array.from({ length: 100 }, (_, idI) => newNode(idI)),
    );
    const [path, folder] = [join(registry.folder, STORE_FOLDER, STORE_FILE), await tempFolder()];
    const octets = await readFile(path);
    // A page that nothing has read yet.
    const row = octets.lastIndexOf(Buffer.from(registry.tables.nodes.get(50)!.key));
    const page = Math.floor(row / PAGE);
    const file = await open(path, 'r+');
    await file.write(Buffer.alloc(PAGE), 0, PAGE, page * PAGE);
    await expect(backup(registry, join(folder, 'registry.lkb'))).rejects.toMatchObject({
      name: 'DamagedStore',
      message: expect.stringContaining(`page ${page} is not as it was written`) as string,
    });
    expect(await readdir(folder)).toEqual([]);
    await file.write(octets, page * PAGE, PAGE, page * PAGE);
    await file.close();
  });
});

describe('a row that cannot be read', () => {
  it('is named by those who need it, and stops neither other nodes nor the server', async () => {
    const office = await AdminFixture.open();
    const [bad, good] = [newSecret(), newSecret()];
    await office.order({ 1: bad, 2: good });
    const { registry } = office;
    const raw = registry.tables.env.openDB<Uint8Array, number>({ name: 'nodes', keyEncoding: 'uint32', encoding: 'binary' });
    const octets = raw.get(1)!;
    await registry.tables.write(() => raw.putSync(1, Buffer.from(octets).fill(0, 3, 40)));
    const said = { name: 'DamagedStore', message: expect.stringContaining('an entry is not as it was written') as string };
    await expect(registry.node(1)).rejects.toMatchObject(said);
    await expect(allOf(registry.nodePages())).rejects.toMatchObject(said);
    const census = new RegistryStatistics(registry, new CapturedLog().log);
    for (const { read } of census.metrics()) expect(read()).toEqual([]);
    await expect(removeNodes(registry, [1])).rejects.toMatchObject(said);
    await office.testServer(async (serving) => {
      expect(await serving.request(serving.exchange(1, bad), 'm2')).toBe('5.03');
      expect(serving.log.lines).toContainEqual(
        expect.objectContaining({ level: 'warn', msg: expect.stringContaining('is damaged') as string }),
      );
      const exchange = serving.exchange(2, good);
      expect([await serving.request(exchange, 'm2'), await serving.request(exchange, 'm7')]).toEqual(['M3', 'M8']);
    });
  });
});
