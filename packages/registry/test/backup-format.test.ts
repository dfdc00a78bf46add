// Proves that whatever a registry holds goes from one engine through a backup into another, and
// comes out the same.

import { createFile } from '@latchkey/runtime/files';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { formatBackup, openBackup } from '../src/backup/backup-format.js';
import { fillTables, readContents } from '../src/lmdb/contents.js';
import { STORE_FOLDER } from '../src/folder-names.js';
import { Tables } from '../src/lmdb/tables.js';
import { MemoryDatabase, MemoryStorage } from '../src/memory/index.js';
import { contentsOf, expectSame, type Gathered, gather, registryContents } from './contract/contents-contract.js';

/** An engine in memory with these rows. */
function inMemory({ start, head, tables }: Gathered): MemoryStorage {
  const database = new MemoryDatabase({ after: (_, action) => action() });
  database.apply([
    (state) => {
      Object.assign(state, { start, head });
      for (const [name, value] of tables.metadata) state.metadata.set(name, { value });
      for (const [[entry, idI], row] of tables.retiredInitialKeys)
        state.retiredInitialKeys.set(`${entry} ${idI}`, [[entry, idI], row]);
      for (const [[idI, idC], former] of tables.formerAssignments) state.formerAssignments.set(`${idI} ${idC}`, former);
      for (const [seq, octets] of tables.entries) state.entries.set(seq, octets);
      for (const table of [
        'controllers',
        'orders',
        'nodes',
        'nodeDescriptions',
        'recentInitialKeys',
        'nodeActivity',
        'unknownNodeActivity',
        'controllerActivity',
      ] as const)
        for (const [key, row] of tables[table]) (state[table] as Map<number, unknown>).set(key, row);
    },
  ]);
  return new MemoryStorage(database);
}

it('from memory into LMDB, and from there on', async () => {
  const folder = await tempFolder();
  let number = 0;
  await fc.assert(
    fc.asyncProperty(registryContents, async (rows) => {
      number += 1;
      const [first, second] = [join(folder, `${number}.lkb`), join(folder, `${number}-again.lkb`)];
      await createFile(first, formatBackup(await inMemory(rows).contents()));

      await mkdir(join(folder, String(number)), { mode: 0o700 });
      const tables = await Tables.open(join(folder, String(number)), 'test', { store: STORE_FOLDER });
      await fillTables(tables, await openBackup(first));
      expectSame(await gather(readContents(tables)), rows);
      // Lists and the key feed find each node, and what was its.
      for (const [idI, { controller, order }] of rows.tables.nodes) {
        expect([...tables.assignments.nodesOf(controller)]).toContainEqual({ idI, order });
        expect([...tables.assignments.nodesOfOrder(order)]).toContain(idI);
      }
      for (const [ids, former] of rows.tables.formerAssignments) expect(tables.assignments.former(...ids)).toEqual(former);

      await createFile(second, formatBackup(readContents(tables)));
      await tables.close();
      expectSame(await gather(await openBackup(second)), rows);
    }),
    { numRuns: 15 },
  );
});

it('in lines and pages of any length', async () => {
  const folder = await tempFolder();
  const [rows] = fc.sample(registryContents, { numRuns: 1, seed: 5 });
  if (rows === undefined) throw new Error('nothing was drawn');
  const nodes = Array.from({ length: 10_000 }, (_, idI) => [idI, { ...EMPTY_ROW, entry: idI }] as const);
  const many: Gathered = { ...rows, tables: { ...rows.tables, nodes } };
  const file = join(folder, 'long.lkb');
  await createFile(file, formatBackup(contentsOf(many, 7)));
  await chmod(file, 0o600);
  const opened = await openBackup(file);
  const sizes: number[] = [];
  const entries: (readonly [number, number])[] = [];
  for await (const page of opened.pages) {
    if (page.table !== 'nodes') continue;
    sizes.push(page.rows.length);
    for (const [idI, row] of page.rows) entries.push([idI, row.entry]);
  }
  await opened.close();
  expect(entries).toEqual(nodes.map(([idI]) => [idI, idI]));
  expect(sizes).toEqual([4_096, 4_096, 10_000 - 2 * 4_096]);
});

const EMPTY_ROW = { key: Buffer.alloc(33), initial: true, ik: Buffer.alloc(10), controller: 1, order: 1 };
