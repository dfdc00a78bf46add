// Proves that a registry that is copied or restored from one engine into the other is the same one,
// and that nobody goes on with the one that it came from.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { moveNodes, removeNodes, setDisabled } from '@latchkey/operations';
import { AdminFixture, C2, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, Child, collected, tempFolder } from '@latchkey/test-support/fixtures';
import { COMMIT } from '@latchkey/test-support/registry-fixtures';
import { pollUntil } from '../../tools/testbed/src/poll-until.js';
import { PostgresCluster } from '../../tools/testbed/src/postgres-cluster.js';
import { PostgresProxy, type ProxyMessage } from '../../tools/testbed/src/postgres-proxy.js';
import { backup } from '../src/backup/backup.js';
import { restore, type RestoredFrom } from '../src/backup/restore.js';
import type { RegistryContents } from '../src/contents.js';
import { type Copied, type CopyOptions, copyToDatabase, copyToFolder } from '../src/copy.js';
import { allOf } from '../src/listing.js';
import { readContents } from '../src/lmdb/contents.js';
import { Tables } from '../src/lmdb/tables.js';
import { openPostgresStorage, type PostgresConfig } from '../src/postgres/index.js';
import { fillDatabase } from '../src/postgres/whole-registry.js';
import { Registry } from '../src/registry.js';
import { contentsOf, expectSame, type Gathered, gather, registryContents } from './contract/contents-contract.js';

const ACTOR = 'user cy';

describe.skipIf(!PostgresCluster.AVAILABLE)('a registry (needs postgresql)', () => {
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await PostgresCluster.start(1);
  });
  afterAll(() => cluster.remove());

  /** An empty one. */
  async function newDatabase(database: string): Promise<PostgresConfig> {
    await cluster.primary.sql(`CREATE DATABASE ${database} OWNER latchkey`);
    return {
      hosts: [{ host: '127.0.0.1', port: cluster.primary.port }],
      database,
      user: 'latchkey',
      passwordFile: cluster.passwordFile,
      durability: 'storage',
    };
  }

  async function contentsIn(postgres: PostgresConfig): Promise<Gathered> {
    const storage = await openPostgresStorage(postgres, { folder: await tempFolder(), log: new CapturedLog().log });
    try {
      return await gather(await storage.contents());
    } finally {
      await storage.close();
    }
  }

  it('that is copied into a database is the same there, and in a folder when it is copied back', async () => {
    const postgres = await newDatabase('copied');
    const options = (): CopyOptions => ({ postgres, master: Secret.from(MASTER), actor: ACTOR });
    const { folder, psk } = await newRegistry();
    const before = await contentsInFolder(folder);
    const { nodes, head } = await copyToDatabase(folder, options());
    expect(nodes).toBe(2);
    await expect(Registry.open(folder, Secret.from(MASTER), ACTOR)).rejects.toThrow(`the registry of ${folder} is in a database`);
    expectSame(await contentsIn(postgres), before);

    const storage = await openPostgresStorage(postgres, { folder: await tempFolder(), log: new CapturedLog().log });
    const registry = await Registry.openOn(storage, folder, Secret.from(MASTER), ACTOR, storage.clock);
    expect((await registry.readNode(1))?.key.toHex()).toBe(psk.toHex());
    expect(await collected(registry.audit.verify())).toEqual([]);
    expect(head).toMatch(new RegExp(`^${(await storage.audit.head).seq}:`));
    await registry.close();

    // Not under a server that runs.
    const another = await tempFolder();
    const serve = { name: 'auth-1', version: '0.1.0' };
    const serving = await openPostgresStorage(postgres, { folder: another, log: new CapturedLog().log, serve });
    await expect(copyToFolder(another, options())).rejects.toThrow('auth-server auth-1 serves from database copied');
    await serving.close();
    expect(await readdir(another)).toEqual(['lock', 'postgres.json']);

    const back = await copyToFolder(another, options());
    expect(back).toMatchObject({ nodes: 2, head, former: expect.stringMatching(/^latchkey_copied_\d{17}$/) as string });
    expectSame(await contentsInFolder(another), before);
    await expect(contentsIn(postgres)).rejects.toThrow(`holds no registry, but schema ${back.former}`);
    await expect(copyToFolder(await tempFolder(), options())).rejects.toThrow(`holds no registry, but schema ${back.former}`);
    expect(await cluster.primary.sql(`SELECT count(*) FROM ${back.former}.nodes`, postgres.database)).toEqual(['2']);

    // There and back again: it is another registry to what this machine had seen.
    expect(await readdir(another)).not.toContain('postgres.json');
    await copyToDatabase(another, options());
    const [id] = await cluster.primary.sql('SELECT id FROM latchkey.registry', postgres.database);
    expect(JSON.parse(await readFile(join(another, 'postgres.json'), 'utf8'))).toMatchObject({ registry: id, head });
    await (await openPostgresStorage(postgres, { folder: another, log: new CapturedLog().log })).close();
  });

  it('that lost entries stays in its database, whoever knows of it', async () => {
    const postgres = await newDatabase('lossy');
    const options = (): CopyOptions => ({ postgres, master: Secret.from(MASTER), actor: ACTOR });
    const copyBack = async (folder: string): Promise<void> => {
      await expect(copyToFolder(folder, options())).rejects.toThrow('the database has lost entries that were acknowledged: ');
      expect(await readdir(folder)).not.toContain('registry');
      const there = await cluster.primary.sql("SELECT to_regclass('latchkey.registry') IS NOT NULL", postgres.database);
      expect(there).toEqual(['t']);
    };
    await copyToDatabase((await newRegistry()).folder, options());
    const serve = { name: 'auth-1', version: '0.1.0' };
    const folder = await tempFolder();
    await (await openPostgresStorage(postgres, { folder, log: new CapturedLog().log, serve })).close();

    // This machine has seen what is gone.
    await cluster.primary.sql('DELETE FROM latchkey.audit WHERE seq = (SELECT max(seq) FROM latchkey.audit)', postgres.database);
    await copyBack(folder);

    // Another one has.
    await cluster.primary.sql("UPDATE latchkey.registry SET lost = 'entry 9'", postgres.database);
    await copyBack(await tempFolder());
  });

  it('is backed up from either engine and restored into either, while nodes join', async () => {
    const postgres = await newDatabase('restored');
    const [folder, files] = [await tempFolder(), await tempFolder()];
    const { folder: source, psk } = await newRegistry();
    const into = (file: string, replace: boolean): Promise<RestoredFrom> =>
      restore(file, { folder, postgres, master: Secret.from(MASTER), actor: ACTOR, replace });

    const first = join(files, 'lmdb.lkb');
    const lmdb = await Registry.open(source, Secret.from(MASTER), ACTOR);
    const headOfFirst = await backup(lmdb, first);
    await lmdb.close();
    expect(await into(first, false)).toMatchObject({ nodes: 2, previous: undefined });
    await expect(into(first, false)).rejects.toThrow('database restored holds a registry already');

    const storage = await openPostgresStorage(postgres, { folder, log: new CapturedLog().log });
    const registry = await Registry.openOn(storage, folder, Secret.from(MASTER), ACTOR, storage.clock);
    expect(await collected(registry.audit.verify(headOfFirst))).toEqual([]);
    expect((await allOf(registry.audit.newestFirst()))[0]).toMatchObject({ what: 'registry restored', actor: ACTOR });
    expect((await registry.node(1))?.key.toHex()).toBe(psk.toHex());
    await setDisabled(registry, [1], false);

    // One moment, though keys change: the last entry about the node tells of the key in its row.
    const enough = new AbortController();
    let joins = 0;
    const joining = (async () => {
      for (let i = 0; !enough.signal.aborted; i++) {
        const node = await registry.node(1);
        if (node === undefined) throw new Error('no such node');
        const key = newSecret();
        await registry.commit(node, key, { ...COMMIT, tid: BigInt(i) }, Date.now, () => true);
        joins += 1;
      }
    })();
    await pollUntil(
      () => joins,
      (count) => count > 0,
    );
    const second = join(files, 'postgres.lkb');
    const head = await backup(registry, second);
    enough.abort();
    await joining;
    await registry.close();

    const target = await tempFolder();
    await restore(second, { folder: target, master: Secret.from(MASTER), actor: ACTOR, replace: false });
    const restored = await Registry.open(target, Secret.from(MASTER), ACTOR);
    onTestFinished(() => restored.close());
    expect(await collected(restored.audit.verify(head))).toEqual([]);
    const node = await restored.node(1);
    expect((await restored.audit.readEntry(node?.entry ?? 0))?.key).toBe(node?.key.fingerprint);

    // The same registry goes on in the database, in another epoch: this machine still knows it.
    const { previous } = await into(second, true);
    expect(previous).toMatch(/^latchkey_before_\d{17}$/);
    await (await openPostgresStorage(postgres, { folder, log: new CapturedLog().log })).close();
  });

  type IsLast = (message: ProxyMessage) => boolean;
  const beforeCommit: IsLast = ({ octets }) => octets.includes('INSERT INTO latchkey.audit');
  const afterCommit: IsLast = ({ direction, octets }) => direction === 'to client' && octets.includes('COMMIT');

  /**
   * Runs `work` up to this message, of which 5 octets go through, and kills it. It finds `restore`
   * and `copyToDatabase`, the `options` that name the database, and `args`.
   */
  async function killedAt(isLast: IsLast, postgres: PostgresConfig, work: string, ...args: readonly string[]): Promise<void> {
    const proxy = await PostgresProxy.start(cluster.primary.port);
    onTestFinished(() => proxy.close());
    proxy.decide = (message) => (isLast(message) ? { kind: 'hold', after: 5 } : 'forward');
    const through = { ...postgres, hosts: [{ host: '127.0.0.1', port: Number(proxy.address.split(':')[1]) }] };
    const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const child = new Child(
      `
      const { restore } = await import(${module('../dist/backup/restore.js')});
      const { copyToDatabase } = await import(${module('../dist/copy.js')});
      const { Secret } = await import(${module('../../protocol/dist/index.js')});
      const [, postgres, ...args] = process.argv;
      const master = Secret.fromHex('${Secret.from(MASTER).toHex()}');
      const options = { postgres: JSON.parse(postgres), master, actor: 'test' };
      ${work}`,
      [JSON.stringify(through), ...args],
    );
    const isHeld = pollUntil(
      () => proxy.heldCount,
      (count) => count > 0,
    );
    await Promise.race([isHeld, child.exited]);
    expect(await child.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    proxy.cutAll();
  }

  it.each([
    ['before it commits', beforeCommit],
    ['when only the answer is lost', afterCommit],
  ] as const)('whose copy is killed %s is copied by the next one, and serves nowhere else', async (_, isLast) => {
    const postgres = await newDatabase(isLast === afterCommit ? 'copy_done' : 'copy_begun');
    const options = (): CopyOptions => ({ postgres, master: Secret.from(MASTER), actor: ACTOR });
    const { folder } = await newRegistry();
    const before = await contentsInFolder(folder);
    await killedAt(isLast, postgres, 'await copyToDatabase(args[0], options);', folder);
    await expect(Registry.open(folder, Secret.from(MASTER), ACTOR)).rejects.toMatchObject({
      message: expect.stringMatching(/holds no registry, but registry-copying-/) as string,
      advice: expect.stringContaining('Run the same `registry copy` again') as string,
    });

    // Where the database is not known to have nothing, the store stays aside.
    const nowhere = { ...postgres, hosts: [{ host: '127.0.0.1', port: 1 }] };
    await expect(copyToDatabase(folder, { ...options(), postgres: nowhere })).rejects.toThrow('127.0.0.1:1: ');
    expect(await readdir(folder)).not.toContain('registry');

    expect(await copyToDatabase(folder, options())).toMatchObject({ nodes: 2 });
    expectSame(await contentsIn(postgres), before);
    const [id] = await cluster.primary.sql('SELECT id FROM latchkey.registry', postgres.database);
    expect(JSON.parse(await readFile(join(folder, 'postgres.json'), 'utf8'))).toMatchObject({ registry: id });
    expect(await readdir(folder)).toContainEqual(expect.stringMatching(/^registry-copied-/));
    await expect(copyToDatabase(folder, options())).rejects.toThrow(`the registry of ${folder} is in a database`);
  });

  it('that is another one than the database holds stays in its folder', async () => {
    const postgres = await newDatabase('taken');
    const options = (): CopyOptions => ({ postgres, master: Secret.from(MASTER), actor: ACTOR });
    await copyToDatabase((await newRegistry()).folder, options());
    const { folder } = await newRegistry();
    await expect(copyToDatabase(folder, options())).rejects.toThrow('database taken holds a registry already');
    expect(await readdir(folder)).toContain('registry');
  });

  describe('that is there while a restore into its database is killed', () => {
    it.each([
      ['stays, if the restore had not committed', beforeCommit, false],
      ['is put aside, if only the answer was lost', afterCommit, true],
    ] as const)('%s, and the next restore goes through', async (_, isLast, isRestored) => {
      const postgres = await newDatabase(isRestored ? 'answer_lost' : 'half_restored');
      const [folder, file] = [await tempFolder(), join(await tempFolder(), 'backup.lkb')];
      const { folder: source } = await newRegistry();
      const registry = await Registry.open(source, Secret.from(MASTER), ACTOR);
      const { seq } = await backup(registry, file);
      await registry.close();
      const put = (replace: boolean): Promise<RestoredFrom> =>
        restore(file, { folder, postgres, master: Secret.from(MASTER), actor: ACTOR, replace });
      const schemas = (): Promise<string[]> =>
        cluster.primary.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'latchkey%'", postgres.database);

      await put(false);
      const before = await contentsIn(postgres);
      const work = 'await restore(args[0], { ...options, folder: args[1], replace: true });';
      await killedAt(isLast, postgres, work, file, folder);
      // The machine that restored goes on with whichever is there, whole.
      await (await openPostgresStorage(postgres, { folder, log: new CapturedLog().log })).close();
      const after = await contentsIn(postgres);
      expect([await schemas(), after.head.seq]).toEqual([[isRestored ? '2' : '1'], seq + 1]);
      expect(Buffer.from(after.head.hash).equals(before.head.hash)).toBe(!isRestored);
      expect(after.tables.nodes).toEqual(before.tables.nodes);
      await put(true);
      expect((await contentsIn(postgres)).tables.nodes).toEqual(before.tables.nodes);
    });
  });

  describe('that another process has open', () => {
    /** A copy whose transaction is held at its start by the proxy. */
    async function heldCopy(database: string): Promise<{ folder: string; proxy: PostgresProxy; start: () => Promise<Copied> }> {
      const postgres = await newDatabase(database);
      const proxy = await PostgresProxy.start(cluster.primary.port);
      onTestFinished(() => proxy.close());
      proxy.decide = ({ direction, octets }) =>
        direction === 'to server' && octets.includes('CREATE SCHEMA') ? { kind: 'hold', after: 0 } : 'forward';
      const hosts = [{ host: '127.0.0.1', port: Number(proxy.address.split(':')[1]) }];
      const { folder } = await newRegistry();
      const options = { postgres: { ...postgres, hosts, patience: 10 }, master: Secret.from(MASTER), actor: ACTOR };
      return { folder, proxy, start: () => copyToDatabase(folder, options) };
    }
    async function untilHeld(proxy: PostgresProxy): Promise<void> {
      await expect.poll(() => proxy.heldCount, { timeout: 60_000 }).toBe(1);
    }

    it('is copied with all that it took in its former place', async () => {
      const { folder, proxy, start } = await heldCopy('open');
      const registry = await Registry.open(folder, Secret.from(MASTER), ACTOR);
      onTestFinished(() => registry.close());
      const copying = start().then(
        ({ head }) => head,
        (error: unknown) => (error as Error).message,
      );
      await expect.poll(() => readdir(folder), { interval: 5, timeout: 60_000 }).not.toContain('registry');
      let last = 0;
      const write = async (): Promise<void> => {
        last = await registry.write({}, ({ head }) => ({ result: head.seq + 1, events: [{ what: 'node described' }] }));
      };
      const refusal = (): Promise<string> =>
        write().then(
          () => '',
          (error: unknown) => (error as Error).message,
        );
      await expect.poll(refusal, { interval: 20, timeout: 60_000 }).toContain('moved away while it is in use');
      await untilHeld(proxy);
      proxy.release();
      // On a machine that hangs, the copy may begin before that, and is refused.
      const head = await copying;
      expect([`${last}`, `the registry in ${folder} was changed while it was copied`]).toContain(
        /^\d+(?=:[0-9a-f]{64}$)/.exec(head)?.[0] ?? head,
      );
    });

    it('is not copied if it took a change in its new place, and stays in its folder', async () => {
      const { folder, proxy, start } = await heldCopy('changed');
      const copying = start().catch((error: unknown) => error);
      await untilHeld(proxy);
      const store = (await readdir(folder)).find((name) => name.startsWith('registry-copying-'));
      const tables = await Tables.open(folder, ACTOR, { store: store ?? '' });
      await tables.audited({ what: 'node described' }, () => undefined);
      await tables.close();
      proxy.release();
      expect(await copying).toMatchObject({ message: `the registry in ${folder} was changed while it was copied` });
      expect(await readdir(folder)).toContain('registry');
    });
  });

  it('of any rows is the same after a fill of the database', async () => {
    const postgres = await newDatabase('filled');
    await fc.assert(
      fc.asyncProperty(registryContents, async (rows) => {
        await cluster.primary.sql('SET client_min_messages = error; DROP SCHEMA IF EXISTS latchkey CASCADE', postgres.database);
        await fillDatabase(postgres, contentsOf(rows, 5));
        expectSame(await contentsIn(postgres), rows);
      }),
      { numRuns: 5 },
    );
  });

  it('stays where it is, with nothing in doubt, while no standby answers', async () => {
    const postgres: PostgresConfig = { ...(await newDatabase('alone')), durability: 'standby' };
    const { folder } = await newRegistry();
    await cluster.primary.set({ synchronous_standby_names: 'ANY 1 (a, b)' });
    onTestFinished(() => cluster.primary.set({ synchronous_standby_names: undefined }));
    const copying = copyToDatabase(folder, { postgres, master: Secret.from(MASTER), actor: ACTOR });
    await expect(copying).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining('no synchronous standby answers') as string,
    });
    expect(await readdir(folder)).toContain('registry');
  });

  it('stays where it is if it cannot be copied, nor is half of a backup put into a database', async () => {
    const postgres = await newDatabase('refused');
    const { folder } = await newRegistry();
    const nowhere = { ...postgres, hosts: [{ host: '127.0.0.1', port: 1 }] };
    const copying = copyToDatabase(folder, { postgres: nowhere, master: Secret.from(MASTER), actor: ACTOR });
    await expect(copying).rejects.toThrow('no host of the database serves: 127.0.0.1:1: ');
    expect(await readdir(folder)).toContain('registry');

    const before = await contentsInFolder(folder);
    const half: RegistryContents = {
      ...contentsOf(before, 1),
      pages: (async function* () {
        yield* contentsOf(before, 1).pages;
        throw new Error('the disk fails');
      })(),
    };
    await expect(fillDatabase(postgres, half)).rejects.toThrow('the disk fails');
    expect(await cluster.primary.sql("SELECT to_regclass('latchkey.registry') IS NULL", postgres.database)).toEqual(['t']);
  });
});

async function contentsInFolder(folder: string): Promise<Gathered> {
  const tables = await Tables.open(folder, ACTOR);
  try {
    return await gather(readContents(tables));
  } finally {
    await tables.close();
  }
}

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
