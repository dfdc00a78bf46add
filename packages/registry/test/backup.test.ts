// Proves that a backup made while keys change is whole and sealed, that it is looked at before it
// replaces anything, and what is told of nodes that went on without it.

import { allOf } from '@latchkey/registry';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { chmod, copyFile, readdir, readFile, rename, stat, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { formatId, type Secret, isCovered } from '@latchkey/protocol';
import { lockFolder } from '@latchkey/runtime/files';
import { STORE_FILE } from '@latchkey/lmdb';
import { describe, expect, it } from 'vitest';
import { collected, CapturedLog, Child, hasGcc, tempFolder, withoutLinks } from '@latchkey/test-support/fixtures';
import { formatHead } from '../src/audit-chain.js';
import { AuthServer } from '@latchkey/auth-server';
import { backup } from '../src/backup/backup.js';
import { restore, type RestoredFrom } from '../src/backup/restore.js';
import type { ContentPage } from '../src/contents.js';
import { readContents } from '../src/lmdb/contents.js';
import { fillStagedStore } from '../src/lmdb/staged-store.js';
import { addController } from '@latchkey/operations';
import type { Registry } from '../src/registry.js';
import {
  addNodes,
  COMMIT,
  controller,
  copyOf,
  Exchange,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
  numbered,
  numberOf,
  openRegistry,
  withRegistry,
} from '@latchkey/test-support/registry-fixtures';
import { diagnosisOf } from '@latchkey/test-support/admin-fixture';

/** Octets of its last line. */
const CHECKSUM_LINE = '{"sha256":""}\n'.length + 64;

interface BackupFixture {
  readonly registry: Registry;
  readonly file: string;
}

/** Commits a key to a node now, by the clock that backups go by. */
async function commitNow(registry: Registry, idI: number, to: Secret): Promise<void> {
  const node = await registry.node(idI);
  if (node === undefined) throw new Error('no such node');
  const commit = { ...COMMIT, tid: 0n, ts: Date.now() };
  expect(await registry.commit(node, to, commit, Date.now, () => true)).toBe('committed');
}

/** A registry of 300 nodes, every third of which has joined, and its backup. */
async function newBackup(): Promise<BackupFixture> {
  const registry = await newRegistry();
  await addController(registry, controller());
  await addNodes(
    registry,
    Array.from({ length: 300 }, (_, i) => newNode(i, { key: numbered(i) })),
  );
  for (let i = 0; i < 300; i += 3) await commitNow(registry, i, numbered(1_000 + i));
  const file = join(await tempFolder(), 'registry.lkb');
  await backup(registry, file);
  return { registry, file };
}

function put(
  file: string,
  folder: string,
  more: { readonly master?: Secret; readonly replace?: boolean } = {},
): Promise<RestoredFrom> {
  const { master = MASTER, replace = false } = more;
  return restore(file, { folder, master: copyOf(master), actor: 'test', replace });
}

async function keysOf(registry: Registry): Promise<Map<number, number>> {
  const keys = new Map<number, number>();
  for (const { idI } of await allOf(registry.nodePages())) keys.set(idI, numberOf((await registry.node(idI))?.key));
  return keys;
}

describe('a backup', () => {
  it('is for its user alone, whatever the umask, with nothing beside it, and tells the HEAD in it', async () => {
    const registry = await newRegistry();
    const file = join(await tempFolder(), 'registry.lkb');
    const umask = process.umask(0);
    const head = await backup(registry, file).finally(() => process.umask(umask));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(file, '..'))).toEqual([basename(file)]);
    expect(head).toEqual(await registry.audit.readHead());
    expect(await registry.audit.readEntry(head.seq)).toMatchObject({ what: 'registry backed up', note: 'registry.lkb' });
  });

  it('has no key in it that is not sealed', async () => {
    const { registry, file } = await newBackup();
    const octets = await readFile(file);
    expect(octets.includes(Buffer.from('Kim & Sons'))).toBe(true);
    const { skCs } = (await registry.controller(1)) ?? controller();
    for (const key of [numbered(7), numbered(1_003), skCs, MASTER]) {
      expect(octets.includes(Buffer.from(key.expose()))).toBe(false);
      expect(octets.includes(key.toHex())).toBe(false);
    }
    expect(octets.includes(Buffer.alloc(8, 0xee))).toBe(false);
  });

  it('does not replace a file, and says so where there is no folder for it, and leaves nothing', async () => {
    const registry = await newRegistry();
    const folder = await tempFolder();
    const file = join(folder, 'x');
    await writeFile(file, 'mine');
    await expect(backup(registry, file)).rejects.toMatchObject({ name: 'UsageFailure', message: `${file} exists already` });
    expect(await readFile(file, 'utf8')).toBe('mine');
    await expect(backup(registry, join(folder, 'no', 'x'))).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining(join(folder, 'no', 'x')) as string,
    });
    expect(await readdir(folder)).toEqual(['x']);
  });

  it('that is interrupted leaves nothing', async () => {
    const [registry, folder] = [await newRegistry(), await tempFolder()];
    const go = join(await tempFolder(), 'go');
    const child = new Child(
      withRegistry(`
        const { existsSync, readdirSync } = await import('node:fs');
        const { backup } = await import(${JSON.stringify(new URL('../dist/backup/backup.js', import.meta.url).href)});
        const [, folder, go] = process.argv.slice(1);
        say('open');
        while (!existsSync(go)) await new Promise(setImmediate);
        void backup(registry, folder + '/registry.lkb');
        while (readdirSync(folder).length === 0) await new Promise(setImmediate);
        say('under way');
        setInterval(() => undefined, 1000);`),
      [registry.folder, folder, go],
    );
    expect(await child.line()).toBe('open');
    // The backup's own entry in the log waits for this transaction, which has no end.
    const writer = new Child(
      withRegistry(`
        await registry.tables.env.transaction(() => {
          say('writing');
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
        });`),
      [registry.folder],
    );
    expect(await writer.line()).toBe('writing');
    await writeFile(go, '');
    expect(await child.line()).toBe('under way');
    expect(await child.kill('SIGINT')).toEqual({ code: null, signal: 'SIGINT' });
    expect(await readdir(folder)).toEqual([]);
  });

  it.skipIf(!hasGcc())('is made on a file system without hard links, too (needs gcc)', async () => {
    const [registry, folder] = [await newRegistry(), await tempFolder()];
    const file = join(folder, 'registry.lkb');
    const child = new Child(
      withRegistry(`
        const { backup } = await import(${JSON.stringify(new URL('../dist/backup/backup.js', import.meta.url).href)});
        for (let i = 0; i < 2; i++) say(await backup(registry, process.argv[2]).then(() => 'written', ({ message }) => message));`),
      [registry.folder, file],
      { env: await withoutLinks() },
    );
    expect([await child.line(), await child.line()]).toEqual(['written', `${file} exists already`]);
    expect(await readdir(folder)).toEqual([basename(file)]);
    expect(await put(file, await tempFolder())).toMatchObject({ nodes: 0 });
  });

  it('made while another process commits and orders is of one moment: log, keys and orders agree', async () => {
    const registry = await newRegistry();
    await addController(registry, controller());
    await addNodes(
      registry,
      Array.from({ length: 50 }, (_, i) => newNode(i, { key: numbered(0) })),
    );
    const busy = new Child(
      withRegistry(`
        for (let i = 1; ; i++) {
          await Promise.all(Array.from({ length: 50 }, (_, k) => commitAs(k, numbered(i))));
          if (i % 3 === 0) await enrolled([[100 + i, numbered(i)]]);
          say(i);
        }`),
      [registry.folder],
    );
    for (let round = 0; round < 6; round++) {
      const before = Number(await busy.line());
      const file = join(await tempFolder(), 'registry.lkb');
      const head = await backup(registry, file);
      const folder = await tempFolder();
      await put(file, folder);
      const restored = await openRegistry(folder);
      expect(await collected(restored.audit.verify(head))).toEqual([]);
      // The key of each node is the one that the last entry about it tells of.
      for (const { idI, entry, initial } of await allOf(restored.nodePages())) {
        const { key } = (await restored.node(idI))!;
        expect((await restored.audit.readEntry(entry))?.key ?? key.fingerprint).toBe(key.fingerprint);
        expect(initial || numberOf(key) >= before).toBe(true);
      }
      const open = (await restored.orders()).filter(({ state }) => state === 'open');
      expect((await allOf(restored.nodePages())).length).toBe(50 + open.length - 1);
      await restored.close();
    }
    await busy.kill('SIGKILL');
  });
});

describe('a restored registry', () => {
  it('in a new folder is what was backed up, and says what happened to it', async () => {
    const { registry, file } = await newBackup();
    const before = {
      keys: await keysOf(registry),
      head: (await registry.audit.readHead())!,
      latest: await registry.audit.readLastWrittenAt(),
    };
    const folder = join(await tempFolder(), 'new', 'data');
    expect(await put(file, folder)).toEqual({ backupAt: before.latest, nodes: 300, previous: undefined });
    const restored = await openRegistry(folder);
    expect(await keysOf(restored)).toEqual(before.keys);
    expect(await restored.orders()).toEqual(await registry.orders());
    expect(await collected(restored.audit.verify(before.head))).toEqual([]);
    const [last] = await allOf(restored.audit.newestFirst());
    expect(last).toMatchObject({
      what: 'registry restored',
      actor: 'test',
      note: expect.stringContaining(formatHead(before.head)) as string,
    });
    expect(restored.restored).toMatchObject({ backupAt: before.latest });
    expect(await readdir(folder)).toEqual(['lock', 'registry']);
    const store = join(folder, 'registry');
    for (const name of await readdir(store)) expect((await stat(join(store, name))).mode & 0o777, name).toBe(0o600);
  });

  it('takes the place of another only where that is asked for, and that stays aside, whole', async () => {
    const { registry, file } = await newBackup();
    for (let i = 0; i < 300; i += 7) await commitNow(registry, i, numbered(5_000 + i));
    const [now, { folder }] = [await keysOf(registry), registry];
    await registry.close();
    await expect(put(file, folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${folder} holds a registry already`,
    });
    const unchanged = await openRegistry(folder);
    expect(await keysOf(unchanged)).toEqual(now);
    await unchanged.close();

    const { previous = '' } = await put(file, folder, { replace: true });
    const restored = await openRegistry(folder);
    expect([numberOf((await restored.node(7))?.key), numberOf((await restored.node(3))?.key)]).toEqual([7, 1_003]);
    await restored.close();
    expect((await readdir(folder)).toSorted()).toEqual(['enrolment', 'lock', 'registry', basename(previous)].toSorted());
    const old = await tempFolder();
    await rename(previous, join(old, 'registry'));
    expect(await keysOf(await openRegistry(old))).toEqual(now);
  });

  it('is not made under a server that runs', async () => {
    const { registry, file } = await newBackup();
    const lock = await lockFolder(registry.folder, 'latchkey-auth-server run');
    await expect(put(file, registry.folder, { replace: true })).rejects.toMatchObject({
      message: expect.stringContaining('is in use by latchkey-auth-server run') as string,
    });
    await lock.release();
    expect(await registry.node(3)).toBeDefined();
  });
});

describe('a backup is refused, and what was there stays,', () => {
  async function expectRefused(made: BackupFixture, master: Secret = MASTER): Promise<Error & { advice: string }> {
    const { registry, file } = made;
    const before = await keysOf(registry);
    const files = await readdir(registry.folder);
    const refused: unknown = await put(file, registry.folder, { master, replace: true }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ exitCode: expect.any(Number) as number });
    expect((await readdir(registry.folder)).filter((name) => !files.includes(name) && name !== 'lock')).toEqual([]);
    expect(await keysOf(registry)).toEqual(before);
    return refused as Error & { advice: string };
  }

  it('under another master key', async () => {
    const other = newSecret();
    const { message } = await expectRefused(await newBackup(), other);
    expect(message).toContain(`not sealed under the master key [secret ${other.fingerprint}]`);
  });

  it('where it is not there', async () => {
    const made = await newBackup();
    expect(await expectRefused({ ...made, file: `${made.file}.x` })).toMatchObject({ message: `${made.file}.x is not there` });
  });

  it.each([
    ['text', ({ file }: BackupFixture) => writeFile(file, 'this is no backup\n'.repeat(1_000))],
    ['empty', ({ file }: BackupFixture) => truncate(file, 0)],
    ['cut in half', async ({ file }: BackupFixture) => truncate(file, Math.floor((await stat(file)).size / 2))],
    ['an octet short', async ({ file }: BackupFixture) => truncate(file, (await stat(file)).size - 1)],
    ['an octet longer', async ({ file }: BackupFixture) => truncate(file, (await stat(file)).size + 1)],
    ['a store', ({ file, registry }: BackupFixture) => copyFile(join(registry.folder, 'registry', STORE_FILE), file)],
  ])('where it is %s, by its name', async (_, damage) => {
    const made = await newBackup();
    await damage(made);
    expect((await expectRefused(made)).message).toBe(`${made.file} is not a backup of a registry, or was cut short`);
  });

  it('where others can read it', async () => {
    const made = await newBackup();
    await chmod(made.file, 0o644);
    expect((await expectRefused(made)).advice).toBe(`Run: chmod 600 ${made.file}`);
  });

  it('where any octet of it is another', async () => {
    const { file } = await newBackup();
    const [whole, folder] = [await readFile(file), await tempFolder()];
    for (let round = 0; round < 100; round++) {
      const octets = Buffer.from(whole);
      const at = round === 0 ? octets.length - 1 : randomInt(octets.length);
      octets[at] = (octets[at] ?? 0) ^ (1 << randomInt(8));
      await writeFile(file, octets);
      const isFraming = at < '{"latchkey backup":'.length || at >= octets.length - CHECKSUM_LINE;
      const said = isFraming
        ? /is not a backup of a registry, or was cut short|is not what was written/
        : /: it is not what was written/;
      await expect(put(file, folder), `octet ${at}`).rejects.toThrow(said);
    }
    expect((await readdir(folder)).filter((name) => name !== 'lock')).toEqual([]);
  });

  /** Writes a backup whose checksum is right, as whoever changed it on purpose would. */
  async function forge(file: string, change: (rows: string) => string): Promise<void> {
    const rows = change((await readFile(file, 'utf8')).slice(0, -CHECKSUM_LINE));
    await writeFile(file, `${rows}{"sha256":"${createHash('sha256').update(rows).digest('hex')}"}\n`);
  }

  it('where its schema is another', async () => {
    const { registry, file } = await newBackup();
    const other = `${file}.other`;
    await registry.tables.metadata.put('schema', 2);
    await backup(registry, other);
    await registry.tables.metadata.put('schema', 1);
    expect((await expectRefused({ registry, file: other })).message).toBe(`${other} is of schema 2; this version has 1`);
  });

  it('where an entry of its log was changed', async () => {
    const made = await newBackup();
    await forge(made.file, (rows) => rows.replace('\\"node joined\\"', '\\"node reset\\"'));
    expect((await expectRefused(made)).message).toMatch(/the audit log in .* does not hold: entry \d+ was changed/);
  });

  it('where a key in it does not open', async () => {
    const made = await newBackup();
    const row = made.registry.tables.nodes.get(7)!;
    const sealed = Buffer.from(row.key).toString('hex');
    const other = Buffer.from(row.key.map((octet, i) => (i === 20 ? octet ^ 1 : octet))).toString('hex');
    await forge(made.file, (rows) => {
      expect(rows).toContain(sealed);
      return rows.replace(sealed, other);
    });
    expect((await expectRefused(made)).message).toContain('does not open in its place');
  });

  it('where somebody made it otherwise, with a right checksum', async () => {
    const made = await newBackup();
    const whole = await readFile(made.file);
    for (const [from, to, message] of [
      ['"latchkey backup":1,', '"latchkey backup":2,', 'is a backup of format 2; this version of Latchkey reads format 1'],
      [/\["entries",(?!.*\n\["entries").*\n/s, '', 'does not hold: entry'],
      [/(\["nodes",7,\{)"key":\{"octets":"[0-9a-f]*"\}/, '$1"key":1', 'is damaged: node 00000007 has no key'],
      ['["nodes",7,', '["things",7,', 'is damaged: it has rows of "things", which no registry has'],
      ['["nodes",7,', '["nodes",7;', 'is damaged: a line of it is not JSON'],
      [/\n$/, '', 'is damaged: its last line is not whole'],
    ] as const) {
      await writeFile(made.file, whole);
      await forge(made.file, (rows) => {
        const forged = rows.replace(from, to);
        expect(forged).not.toBe(rows);
        return forged;
      });
      expect((await expectRefused(made)).message).toContain(message);
    }
  });
});

describe('a restore that is killed', () => {
  /** With SIGKILL, at this rename of its. */
  async function killedAt(rename: number, file: string, folder: string): Promise<void> {
    const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
    const child = new Child(
      `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const { rename } = fs.promises;
      let count = 0;
      fs.promises.rename = (...names) => (++count === ${rename} ? process.kill(process.pid, 'SIGKILL') : rename(...names));
      syncBuiltinESMExports();
      const { restore } = await import(${module('../dist/backup/restore.js')});
      const { Secret } = await import(${module('../../protocol/dist/index.js')});
      const [, file, folder] = process.argv;
      await restore(file, { folder, master: Secret.fromHex('${MASTER.toHex()}'), actor: 'test', replace: true });`,
      [file, folder],
    );
    expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
  }

  it('leaves the registry that was there, and the next one goes through', async () => {
    const { registry, file } = await newBackup();
    const { folder } = registry;
    await registry.close();
    await killedAt(1, file, folder);
    expect(await readdir(folder)).toEqual(expect.arrayContaining(['registry', 'registry-restoring']));
    const before = await openRegistry(folder);
    expect((await allOf(before.nodePages())).length).toBe(300);
    expect(before.restored).toBeUndefined();
    await before.close();

    await killedAt(2, file, folder);
    // Neither serves until somebody says which: the advice is to restore again.
    await expect(openRegistry(folder)).rejects.toThrow('holds no registry, but registry-before-');
    await put(file, folder);
    expect(await readdir(folder)).not.toContain('registry-restoring');
    const restored = await openRegistry(folder);
    expect((await allOf(restored.nodePages())).length).toBe(300);
    expect(restored.restored).toBeDefined();
  });
});

it('a store that is not whole does not open, not even in its place', async () => {
  const { registry } = await newBackup();
  const folder = await tempFolder();
  const contents = readContents(registry.tables);
  const killed = async function* (): AsyncGenerator<ContentPage> {
    for await (const page of contents.pages)
      if (page.table === 'entries') throw new Error('killed');
      else yield page;
  };
  await expect(fillStagedStore(folder, { ...contents, pages: killed() }, 'test')).rejects.toThrow('killed');
  await contents.close();
  await expect(openRegistry(folder)).rejects.toMatchObject({
    message: `${folder} holds no registry, but registry-restoring`,
    advice: expect.stringContaining('is not whole') as string,
  });
  await rename(join(folder, 'registry-restoring'), join(folder, 'registry'));
  await expect(openRegistry(folder)).rejects.toThrow(`${folder} holds no registry`);
});

describe('the times that the clock showed after the backup', () => {
  it('count as shown, though nobody kept them', async () => {
    const { file } = await newBackup();
    const restoredAt = Date.now();
    const folder = await tempFolder();
    const { backupAt } = await put(file, folder);
    const { clockHistory } = await openRegistry(folder);
    expect([backupAt, restoredAt].map((wall) => isCovered(clockHistory, wall))).toEqual([true, true]);
  });
});

describe('a node that got a key after the backup', () => {
  it('asks and proves nothing, and `why` says that the registry was restored; one that did not joins', async () => {
    const { registry, file } = await newBackup();
    for (const idI of [9, 11]) await commitNow(registry, idI, newSecret());
    const folder = await tempFolder();
    await put(file, folder);
    const restored = await openRegistry(folder);
    const { skCs } = (await restored.controller(1))!;
    // The first 35 s nobody gets a key (reissue.test.ts).
    const wall = Date.now() + 36_000;
    const log = new CapturedLog();
    const server = new AuthServer({
      registry: restored,
      clock: () => ({ wallMs: wall, monotonicMs: wall }),
      randomBytes,
      log: log.log,
    });
    // The new key is another: what M3 gives out opens nothing for the node, and no M7 comes.
    for (const [idI, key] of [
      [9, newSecret()],
      [11, newSecret()],
      [10, numbered(10)],
    ] as const) {
      const asked = new Exchange({ idI, key, skCs, ts: wall });
      expect((await server.answer(asked.m2)).code).toBe('2.04');
      if (idI === 10) await server.answer(asked.m7);
    }
    await server.close();

    const later = wall + 120_000;
    for (const idI of [9, 11]) {
      expect(await diagnosisOf(restored, idI, later)).toMatchObject({
        cause: 'restored',
        sentence: expect.stringContaining('The registry was restored at') as string,
        action: { kind: 'reset-node', node: formatId(idI), initial_key: 'new' },
      });
    }
    expect((await diagnosisOf(restored, 10, later)).cause).toBe('joined');
    expect((await diagnosisOf(restored, 12, later)).cause).toBe('joined');
    expect((await diagnosisOf(restored, 13, later)).cause).toBe('never-asked');
  });
});
