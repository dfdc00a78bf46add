// Proves that a registry that is copied from LMDB into a database is the same one, and that nobody
// goes on with the store that it came from.

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { describe, expect, it, onTestFinished } from 'vitest';
import { moveNodes, removeNodes, setDisabled } from '@latchkey/operations';
import { AdminFixture, C2, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { PostgresCluster } from '../../tools/testbed/src/postgres-cluster.js';
import { copyToDatabase } from '../src/copy.js';
import { backup, restore } from '../src/lmdb/backup.js';
import { readContents } from '../src/lmdb/contents.js';
import { Tables } from '../src/lmdb/tables.js';
import { openPostgresStorage, type PostgresConfig } from '../src/postgres/index.js';
import { Registry } from '../src/registry.js';

const ACTOR = 'user cy';

describe.skipIf(!PostgresCluster.AVAILABLE)('a copy in PostgreSQL (needs postgresql)', () => {
  it('has every row and entry of the registry, whose folder holds it no more', async () => {
    const cluster = await PostgresCluster.start(1);
    onTestFinished(() => cluster.remove());
    const postgres: PostgresConfig = {
      hosts: [{ host: '127.0.0.1', port: cluster.primary.port }],
      database: 'latchkey',
      user: 'latchkey',
      passwordFile: cluster.passwordFile,
      durability: 'storage',
    };
    const { folder, psk } = await newRegistry();
    const { nodes, head, formerStore } = await copyToDatabase(folder, { postgres, master: Secret.from(MASTER), actor: ACTOR });
    expect(nodes).toBe(2);
    await expect(Registry.open(folder, Secret.from(MASTER), ACTOR)).rejects.toThrow(
      `${folder} holds no registry, but registry-copied-`,
    );

    const storage = await openPostgresStorage(postgres, { folder: await tempFolder(), log: new CapturedLog().log });
    onTestFinished(() => storage.close());
    const tables = await Tables.open(folder, ACTOR, { store: formerStore.slice(folder.length + 1) });
    onTestFinished(() => tables.close());
    const source = readContents(tables);
    expect(await storage.nodePage(0, 10)).toEqual([...source.nodes]);
    expect(await storage.controllerPage(0, 10)).toEqual([...source.controllers]);
    expect(await storage.orderPage(0, 10)).toEqual([...source.orders]);
    expect(await storage.recentInitialKeyPage(0, 10)).toEqual([...source.recentInitialKeys]);
    expect(await storage.retiredInitialKeyPage(undefined, 10)).toEqual([...source.retiredInitialKeys]);
    for (const [[idI, idC], former] of source.formerAssignments)
      expect(await storage.assignments.former(idI, idC)).toEqual(former);
    const found = await storage.read({});
    for (const [name, value] of source.metadata) expect(found.metadata(name)).toEqual(value);

    const registry = await Registry.openOn(storage, folder, Secret.from(MASTER), ACTOR, storage.clock);
    expect((await registry.readNode(1))?.key.toHex()).toBe(psk.toHex());
    const problems: string[] = [];
    for await (const problem of registry.audit.verify()) problems.push(problem);
    expect(problems).toEqual([]);
    expect(head).toMatch(new RegExp(`^${(await storage.audit.head).seq}:`));
  });

  it('is not made where it cannot be: the registry stays in its folder', async () => {
    const { folder } = await newRegistry();
    const nowhere = { hosts: [{ host: '127.0.0.1', port: 1 }], database: 'latchkey', user: 'latchkey' };
    const copying = copyToDatabase(folder, { postgres: nowhere, master: Secret.from(MASTER), actor: ACTOR });
    await expect(copying).rejects.toThrow('no host of the database takes writes: 127.0.0.1:1: ');
    expect(await readdir(folder)).toContain('registry');
    await (await Registry.open(folder, Secret.from(MASTER), ACTOR)).close();
  });
});

/** One that was put back from a backup, with a node that has joined, moved and is disabled. */
async function newRegistry(): Promise<{ readonly folder: string; readonly psk: Secret }> {
  const fixture = await AdminFixture.open();
  const [ik, file, folder] = [newSecret(), join(await tempFolder(), 'backup.lkb'), await tempFolder()];
  await fixture.order({ 1: ik, 2: newSecret(), 3: newSecret() });
  const psk = await fixture.join(1, ik);
  await moveNodes(fixture.registry, [1], C2);
  await setDisabled(fixture.registry, [1], true);
  await removeNodes(fixture.registry, [3]);
  await backup(fixture.registry, file);
  await restore(file, { folder, master: Secret.from(MASTER), actor: ACTOR, replace: false });
  return { folder, psk };
}
