// Proves that the controller's own store keeps the application root of each node's newest
// transaction, sealed and for its user alone.

import { randomBytes } from 'node:crypto';
import { chmod, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { FIRST_CURSOR, type JoinResult, Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { openStore, STORE_FILE } from '@latchkey/lmdb';
import { describe, expect, it, vi } from 'vitest';
import { CapturedLog, Child, tempFolder } from '@latchkey/test-support/fixtures';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { MASTER, newApplicationRootStore, newSecret, openApplicationRootStore } from './fixtures.js';

/** The current application root of a node, in hex. */
function rootOf(store: ApplicationRootStore, idI: number): string | undefined {
  return store.get(idI)?.current?.applicationRoot.toHex();
}

const NID = Uint8Array.from({ length: 18 }, (_, i) => i);

function joined(more: Partial<JoinResult> = {}): JoinResult {
  return {
    idI: 0xffff_ffff,
    tid: 0xffff_ffff_ffff_fff0n,
    ts: 1_795_000_000_000n,
    nidI: NID,
    applicationRoot: newSecret(),
    keyId: randomBytes(4).toString('hex'),
    lifetime: 3_600,
    ...more,
  };
}

const NO_ENTRIES = { entries: [], retains: undefined };

/** How many transactions a store has had. It is not open. */
async function transactions(path: string): Promise<number> {
  const env = await openStore(path, { maxDbs: 4 });
  const { lastTxnId } = env.getStats() as { lastTxnId: number };
  await env.close();
  return lastTxnId;
}

/** Another process in the middle of a transaction: ours waits for it as for a disk. */
async function holdTransaction(path: string): Promise<Child> {
  const other = new Child(
    `import { openStore } from ${JSON.stringify(new URL('../../lmdb/dist/index.js', import.meta.url).href)};
     const env = await openStore(process.argv[1], { maxDbs: 4 });
     await env.transaction(() => {
       console.log('writing');
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    [path],
  );
  expect(await other.line()).toBe('writing');
  return other;
}

describe('a key store', () => {
  it('has what was put there, also after it was closed and opened', async () => {
    const path = join(await tempFolder(), 'keys');
    const [first, one] = [await openApplicationRootStore(path), joined()];
    await first.put(one);
    await first.close();
    const again = await openApplicationRootStore(path);
    expect(again.get(one.idI)).toEqual({
      idI: one.idI,
      state: 'current',
      current: {
        applicationRoot: one.applicationRoot,
        keyId: one.keyId,
        joinedAt: 1_795_000_000_000,
        expiresAt: 1_795_003_600_000,
      },
      former: [],
      verified: false,
    });
    expect(rootOf(again, one.idI)).toBe(one.applicationRoot.toHex());
    expect(again.get(1)).toBeUndefined();
    await again.close();
  });

  it('writes what is put at once together, and the newest of one node stays', async () => {
    const store = await openApplicationRootStore(join(await tempFolder(), 'keys'));
    const joins = Array.from({ length: 50 }, (_, i) => joined({ idI: i % 10, tid: BigInt(100 - i) }));
    await Promise.all(joins.map((one) => store.put(one)));
    expect(store.size).toBe(10);
    for (let idI = 0; idI < 10; idI++) expect(rootOf(store, idI)).toBe(joins[idI]!.applicationRoot.toHex());
    expect(store.putDurations.cumulative.at(-1)).toBe(50);
    await store.close();
  });

  it('keeps a copy: wiping what was put there, or what was got, wipes nothing in it', async () => {
    const [applicationRoots, one] = [await newApplicationRootStore(), joined()];
    const hex = one.applicationRoot.toHex();
    await applicationRoots.put(one);
    one.applicationRoot.wipe();
    applicationRoots.get(one.idI)?.current?.applicationRoot.wipe();
    expect(rootOf(applicationRoots, one.idI)).toBe(hex);
  });

  it('keeps the key of the newest transaction, in whatever order they come', async () => {
    const applicationRoots = await newApplicationRootStore();
    const keys = [5n, 9n, 0x10n, 7n].map((tid) => joined({ tid }));
    await Promise.all(keys.map((key) => applicationRoots.put(key)));
    expect(rootOf(applicationRoots, 0xffff_ffff)).toBe(keys[2]?.applicationRoot.toHex());
    await applicationRoots.put(joined({ tid: 0x10n }));
    expect(rootOf(applicationRoots, 0xffff_ffff)).toBe(keys[2]?.applicationRoot.toHex());
  });

  it('keeps the nodes apart', async () => {
    const applicationRoots = await newApplicationRootStore();
    const nodes = Array.from({ length: 300 }, (_, idI) => joined({ idI }));
    await Promise.all(nodes.map((node) => applicationRoots.put(node)));
    for (const { idI, applicationRoot } of nodes) expect(rootOf(applicationRoots, idI)).toBe(applicationRoot.toHex());
  });

  it('is for its user alone, and one that others can read is refused', async () => {
    const path = join(await tempFolder(), 'keys');
    await (await openApplicationRootStore(path)).close();
    for (const file of await readdir(path)) expect((await stat(join(path, file))).mode & 0o777, file).toBe(0o600);
    await chmod(join(path, 'data.mdb'), 0o644);
    await expect(openApplicationRootStore(path)).rejects.toMatchObject({
      name: 'UsageFailure',
      advice: `Run: chmod 600 ${join(path, 'data.mdb')}`,
    });
  });

  it('is sealed under its master key, which it is refused without, and says so without telling it', async () => {
    const path = join(await tempFolder(), 'keys');
    const [applicationRoots, one, other] = [await openApplicationRootStore(path), joined(), newSecret()];
    await applicationRoots.put(one);
    await applicationRoots.close();
    const octets = await readFile(join(path, 'data.mdb'));
    expect(octets.includes(Buffer.from(one.keyId))).toBe(true);
    for (const key of [one.applicationRoot, MASTER]) expect(octets.includes(Buffer.from(key.expose()))).toBe(false);
    await expect(openApplicationRootStore(path, other)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `the keys in ${path} are not sealed under the master key [secret ${other.fingerprint}]`,
    });
    const again = await openApplicationRootStore(path);
    expect(rootOf(again, one.idI)).toBe(one.applicationRoot.toHex());
    await again.close();
  });

  it('writes keys that are put within 50 ms together', async () => {
    const path = join(await tempFolder(), 'keys');
    await (await openApplicationRootStore(path)).close();
    const before = await transactions(path);
    const applicationRoots = await openApplicationRootStore(path);
    const since = performance.now();
    for (let idI = 0; idI < 10; idI++) {
      void applicationRoots.put(joined({ idI }));
      await pause(3);
    }
    const most = 1 + Math.floor((performance.now() - since) / 50);
    await applicationRoots.flushed();
    await applicationRoots.close();
    expect((await transactions(path)) - before).toBeLessThanOrEqual(most);
  });

  it('writes all pages of the key feed together that arrive while the disk hangs', async () => {
    const path = join(await tempFolder(), 'keys');
    await (await openApplicationRootStore(path)).close();
    const before = await transactions(path);
    const store = await openApplicationRootStore(path);
    const other = await holdTransaction(path);
    const written: Promise<void>[] = [];
    for (let cursor = 1n; cursor <= 8n; cursor++) {
      written.push(store.applyPage(NO_ENTRIES, { cursor, confirmedAt: undefined }));
      await pause(60);
    }
    await other.kill('SIGKILL');
    await Promise.all(written);
    expect(store.feedProgress.cursor).toBe(8n);
    await store.close();
    // The one that hung, and one with all others.
    expect((await transactions(path)) - before).toBeLessThanOrEqual(2);
  });

  it('has the key of a join that arrived after a page, however long the disk hangs between them', async () => {
    const path = join(await tempFolder(), 'keys');
    const store = await openApplicationRootStore(path);
    const [before, after] = [joined({ idI: 7, tid: 1n }), joined({ idI: 7, tid: 2n })];
    const changed: (string | undefined)[] = [];
    store.onChange((idI) => changed.push(store.get(idI)?.current?.keyId));
    const other = await holdTransaction(path);
    const written = [store.put(joined({ idI: 8 }))];
    await pause(80);
    const entry = { idI: 7, state: 'current', expiry: 0, tid: 1n, applicationRoot: before.applicationRoot.copy() } as const;
    written.push(store.applyPage({ entries: [entry], retains: undefined }, { cursor: 1n, confirmedAt: undefined }));
    await pause(80);
    written.push(store.put(after));
    await pause(80);
    await other.kill('SIGKILL');
    await Promise.all(written);
    expect(store.get(7)?.current?.keyId).toBe(after.keyId);
    expect(changed.at(-1)).toBe(after.keyId);
    await store.close();
  });

  it('writes no page that arrived after one it could not write, until the feed went back', async () => {
    const store = await newApplicationRootStore();
    const failure = new Failure('the disk is full');
    let second: Promise<void> | undefined;
    vi.spyOn(store.keyring, 'reload').mockImplementationOnce(() => {
      second = store.applyPage(NO_ENTRIES, { cursor: 2n, confirmedAt: undefined });
      second.catch(() => undefined);
      throw failure;
    });
    await expect(store.applyPage(NO_ENTRIES, { cursor: 1n, confirmedAt: undefined })).rejects.toBe(failure);
    await expect(second).rejects.toBe(failure);
    expect(store.feedProgress.cursor).toBe(FIRST_CURSOR);
    await store.applyPage(NO_ENTRIES, { cursor: 3n, confirmedAt: undefined });
    expect(store.feedProgress.cursor).toBe(3n);
  });

  it('lets 16,384 keys wait for a disk that hangs, refuses more in words, and writes those once it can', async () => {
    const path = join(await tempFolder(), 'keys');
    const applicationRoots = await openApplicationRootStore(path);
    const other = await holdTransaction(path);
    const applicationRoot = newSecret();
    const waiting = Array.from({ length: 16_384 }, (_, idI) => applicationRoots.put(joined({ idI, applicationRoot })));
    const refused = { name: 'Failure', message: `cannot write to the store ${path}: 16384 keys wait for the disk` };
    await expect(applicationRoots.put(joined({ idI: 16_384, applicationRoot }))).rejects.toMatchObject(refused);
    await other.kill('SIGKILL');
    await Promise.all(waiting);
    expect(applicationRoots.size).toBe(16_384);
    await applicationRoots.put(joined({ idI: 16_384, applicationRoot }));
    expect(applicationRoots.size).toBe(16_385);
    await applicationRoots.close();
  });

  it('gets another master key while keys are put, and loses none of them', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'keys');
    const [applicationRoots, second] = [await openApplicationRootStore(path), newSecret()];
    const nodes = Array.from({ length: 500 }, (_, idI) => joined({ idI }));
    await Promise.all(nodes.slice(0, 250).map((node) => applicationRoots.put(node)));
    const next = { path: '/nowhere', key: Secret.from(second.expose()), install: () => Promise.resolve() };
    await Promise.all([applicationRoots.rotate(folder, next), ...nodes.slice(250).map((node) => applicationRoots.put(node))]);
    await applicationRoots.close();
    await expect(openApplicationRootStore(path)).rejects.toMatchObject({ name: 'UsageFailure' });
    const again = await openApplicationRootStore(path, second);
    for (const { idI, applicationRoot } of nodes) expect(rootOf(again, idI)).toBe(applicationRoot.toHex());
    await again.close();
  });

  // Counted in the argument of `progress?.()`, which is not evaluated where nobody asked: the
  // command says that 0 keys were sealed.
  it('says how many keys were sealed under another master key', async () => {
    const [folder, applicationRoots] = [await tempFolder(), await newApplicationRootStore()];
    for (const idI of [1, 2, 3]) await applicationRoots.put(joined({ idI }));
    const next = { path: '/nowhere', key: newSecret(), install: () => Promise.resolve() };
    expect(await applicationRoots.rotate(folder, next)).toBe(3);
  });

  it.each([0, 2])('of schema %i is refused', async (schema) => {
    const path = join(await tempFolder(), 'keys');
    await (await openApplicationRootStore(path)).close();
    const env = await openStore(path, { maxDbs: 4 });
    await env.openDB<number, string>({ name: 'metadata' }).put('schema', schema);
    await env.close();
    await expect(openApplicationRootStore(path)).rejects.toMatchObject({
      name: 'Failure',
      message: `the store ${path} has schema ${schema}; this version of Latchkey reads schema 1`,
      advice: expect.stringContaining(`move ${path} away`) as string,
    });
  });
});

describe('a store of keys that is damaged', () => {
  const KEPT = /^keys-damaged-\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z$/;

  /** A store with the key of one node, closed; and a log. */
  async function closedStore(): Promise<{ folder: string; path: string; file: string; log: CapturedLog }> {
    const folder = await tempFolder();
    const path = join(folder, 'keys');
    const applicationRoots = await openApplicationRootStore(path);
    await applicationRoots.put(joined());
    await applicationRoots.close();
    return { folder, path, file: join(path, STORE_FILE), log: new CapturedLog() };
  }

  it.each([
    ['empty', (file: string) => truncate(file, 0)],
    ['cut short', (file: string) => truncate(file, 12_288)],
    ['zeroes behind its first pages', async (file: string) => writeFile(file, (await readFile(file)).fill(0, 8_192))],
    ['random', (file: string) => writeFile(file, randomBytes(45_056))],
  ])('being %s, is put aside for the controller, which says so and goes on without', async (_, damage) => {
    const { folder, path, file, log } = await closedStore();
    await damage(file);
    const octets = await readFile(file);
    await expect(openApplicationRootStore(path)).rejects.toMatchObject({
      name: 'DamagedStore',
      advice: expect.stringContaining('Start the daemon') as string,
    });
    const applicationRoots = await ApplicationRootStore.openOrReplace(path, Secret.from(MASTER.expose()), log.log);
    expect(applicationRoots.get(0xffff_ffff)).toBeUndefined();
    await applicationRoots.put(joined());
    expect(applicationRoots.size).toBe(1);
    await applicationRoots.close();
    const [aside = '', ...rest] = (await readdir(folder)).filter((name) => name !== 'keys');
    expect([aside, rest]).toEqual([expect.stringMatching(KEPT), []]);
    expect((await readFile(join(folder, aside, STORE_FILE))).equals(octets)).toBe(true);
    const msg = expect.stringMatching(`^the store ${file} is damaged: .*; it was put aside$`) as string;
    expect(log.lines).toEqual([expect.objectContaining({ level: 'error', aside: join(folder, aside), msg })]);
  });

  it('takes the place of one that was put aside before', async () => {
    const { folder, path, file, log } = await closedStore();
    const asides = async (): Promise<string[]> => (await readdir(folder)).filter((name) => KEPT.test(name));
    for (let i = 0; i < 2; i++) {
      const before = await asides();
      await writeFile(file, randomBytes(10_000));
      await (await ApplicationRootStore.openOrReplace(path, Secret.from(MASTER.expose()), log.log)).close();
      expect([(await asides()).length, (await asides()).some((name) => before.includes(name))]).toEqual([1, false]);
    }
  });

  it('is not taken for one under another master key, nor of another schema: these stay', async () => {
    const { folder, path, log } = await closedStore();
    const open = (master: Secret): Promise<ApplicationRootStore> => ApplicationRootStore.openOrReplace(path, master, log.log);
    await expect(open(newSecret())).rejects.toMatchObject({ name: 'UsageFailure' });
    const env = await openStore(path, { maxDbs: 4 });
    await env.openDB<number, string>({ name: 'metadata' }).put('schema', 2);
    await env.close();
    await expect(open(Secret.from(MASTER.expose()))).rejects.toThrow('has schema 2');
    expect([await readdir(folder), log.lines]).toEqual([['keys'], []]);
  });
});
