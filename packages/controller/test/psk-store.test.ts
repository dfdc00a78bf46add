// Proves that the controller's own store keeps the key of each node's newest transaction, sealed and for its user alone.

import { randomBytes } from 'node:crypto';
import { chmod, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type JoinResult, Secret } from '@latchkey/protocol';
import { openStore, STORE_FILE } from '@latchkey/store';
import { describe, expect, it } from 'vitest';
import { CapturedLog, Child, tempFolder } from '../../runtime/test/fixtures.js';
import { PskStore } from '../src/psk-store.js';
import { MASTER, newPskStore, newSecret, openPskStore } from './fixtures.js';

const NID = Uint8Array.from({ length: 18 }, (_, i) => i);

function joined(more: Partial<JoinResult> = {}): JoinResult {
  return {
    idI: 0xffff_ffff,
    tid: 0xffff_ffff_ffff_fff0n,
    ts: 1_795_000_000_000n,
    nidI: NID,
    psk: newSecret(),
    lifetime: 3_600,
    ...more,
  };
}

describe('a key store', () => {
  it('has what was put there, also after it was closed and opened', async () => {
    const path = join(await tempFolder(), 'keys');
    const [first, one] = [await openPskStore(path), joined()];
    await first.put(one);
    await first.close();
    const again = await openPskStore(path);
    const stored = again.get(one.idI)!;
    expect({ ...stored, psk: stored.psk.toHex(), nidI: Uint8Array.from(stored.nidI) }).toEqual({
      psk: one.psk.toHex(),
      tid: one.tid,
      ts: 1_795_000_000_000,
      nidI: NID,
      lifetime: 3_600,
    });
    expect(again.get(1)).toBeUndefined();
    await again.close();
  });

  it('writes what is put at once together, and the newest of one node stays', async () => {
    const store = await openPskStore(join(await tempFolder(), 'keys'));
    const joins = Array.from({ length: 50 }, (_, i) => joined({ idI: i % 10, tid: BigInt(100 - i) }));
    await Promise.all(joins.map((one) => store.put(one)));
    expect(store.size).toBe(10);
    for (let idI = 0; idI < 10; idI++) expect(store.get(idI)?.psk.toHex()).toBe(joins[idI]!.psk.toHex());
    expect(store.putDurations.cumulative.at(-1)).toBe(50);
    await store.close();
  });

  it('keeps a copy: wiping what was put there, or what was got, wipes nothing in it', async () => {
    const [psks, one] = [await newPskStore(), joined()];
    const hex = one.psk.toHex();
    await psks.put(one);
    one.psk.wipe();
    psks.get(one.idI)?.psk.wipe();
    expect(psks.get(one.idI)?.psk.toHex()).toBe(hex);
  });

  it('keeps the key of the newest transaction, in whatever order they come', async () => {
    const psks = await newPskStore();
    const keys = [5n, 9n, 0x10n, 7n].map((tid) => joined({ tid }));
    await Promise.all(keys.map((key) => psks.put(key)));
    expect(psks.get(0xffff_ffff)?.tid).toBe(0x10n);
    await psks.put(joined({ tid: 0x10n }));
    expect(psks.get(0xffff_ffff)?.psk.toHex()).toBe(keys[2]?.psk.toHex());
  });

  it('keeps the nodes apart', async () => {
    const psks = await newPskStore();
    const nodes = Array.from({ length: 300 }, (_, idI) => joined({ idI }));
    await Promise.all(nodes.map((node) => psks.put(node)));
    for (const { idI, psk } of nodes) expect(psks.get(idI)?.psk.toHex()).toBe(psk.toHex());
  });

  it('is for its user alone, and one that others can read is refused', async () => {
    const path = join(await tempFolder(), 'keys');
    await (await openPskStore(path)).close();
    for (const file of await readdir(path)) expect((await stat(join(path, file))).mode & 0o777, file).toBe(0o600);
    await chmod(join(path, 'data.mdb'), 0o644);
    await expect(openPskStore(path)).rejects.toMatchObject({
      name: 'UsageFailure',
      advice: `Run: chmod 600 ${join(path, 'data.mdb')}`,
    });
  });

  it('is sealed under its master key, which it is refused without, and says so without telling it', async () => {
    const path = join(await tempFolder(), 'keys');
    const [psks, one, other] = [await openPskStore(path), joined(), newSecret()];
    await psks.put(one);
    await psks.close();
    const octets = await readFile(join(path, 'data.mdb'));
    expect(octets.includes(Buffer.from(one.nidI))).toBe(true);
    for (const key of [one.psk, MASTER]) expect(octets.includes(Buffer.from(key.expose()))).toBe(false);
    await expect(openPskStore(path, other)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `the keys in ${path} are not sealed under the master key [secret ${other.fingerprint}]`,
    });
    const again = await openPskStore(path);
    expect(again.get(one.idI)?.psk.toHex()).toBe(one.psk.toHex());
    await again.close();
  });

  it('writes keys that are put within 50 ms together', async () => {
    const path = join(await tempFolder(), 'keys');
    const transactions = async (): Promise<number> => {
      const env = await openStore(path, { maxDbs: 4 });
      const { lastTxnId } = env.getStats() as { lastTxnId: number };
      await env.close();
      return lastTxnId;
    };
    await (await openPskStore(path)).close();
    const before = await transactions();
    const psks = await openPskStore(path);
    const since = performance.now();
    for (let idI = 0; idI < 10; idI++) {
      void psks.put(joined({ idI }));
      await pause(3);
    }
    const most = 1 + Math.floor((performance.now() - since) / 50);
    await psks.flushed();
    await psks.close();
    expect((await transactions()) - before).toBeLessThanOrEqual(most);
  });

  it('lets 16,384 keys wait for a disk that hangs, refuses more in words, and writes those once it can', async () => {
    const path = join(await tempFolder(), 'keys');
    const psks = await openPskStore(path);
    // Another process in the middle of a transaction: ours waits for it as for a disk.
    const other = new Child(
      `import { openStore } from ${JSON.stringify(new URL('../../store/dist/index.js', import.meta.url).href)};
       const env = await openStore(process.argv[1], { maxDbs: 4 });
       await env.transaction(() => {
         console.log('writing');
         Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
       });`,
      [path],
    );
    expect(await other.line()).toBe('writing');
    const psk = newSecret();
    const waiting = Array.from({ length: 16_384 }, (_, idI) => psks.put(joined({ idI, psk })));
    const refused = { name: 'Failure', message: `cannot write to the store ${path}: 16384 keys wait for the disk` };
    await expect(psks.put(joined({ idI: 16_384, psk }))).rejects.toMatchObject(refused);
    await other.kill('SIGKILL');
    await Promise.all(waiting);
    expect(psks.size).toBe(16_384);
    await psks.put(joined({ idI: 16_384, psk }));
    expect(psks.size).toBe(16_385);
    await psks.close();
  });

  it('gets another master key while keys are put, and loses none of them', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'keys');
    const [psks, second] = [await openPskStore(path), newSecret()];
    const nodes = Array.from({ length: 500 }, (_, idI) => joined({ idI }));
    await Promise.all(nodes.slice(0, 250).map((node) => psks.put(node)));
    const next = { path: '/nowhere', key: Secret.from(second.expose()), install: () => Promise.resolve() };
    await Promise.all([psks.rotate(folder, next), ...nodes.slice(250).map((node) => psks.put(node))]);
    await psks.close();
    await expect(openPskStore(path)).rejects.toMatchObject({ name: 'UsageFailure' });
    const again = await openPskStore(path, second);
    for (const { idI, psk } of nodes) expect(again.get(idI)?.psk.toHex()).toBe(psk.toHex());
    await again.close();
  });

  // Counted in the argument of `progress?.()`, which is not evaluated where nobody asked: the command says that 0 keys were sealed.
  it('says how many keys were sealed under another master key', async () => {
    const [folder, psks] = [await tempFolder(), await newPskStore()];
    for (const idI of [1, 2, 3]) await psks.put(joined({ idI }));
    const next = { path: '/nowhere', key: newSecret(), install: () => Promise.resolve() };
    expect(await psks.rotate(folder, next)).toBe(3);
  });

  it.each([0, 2])('of schema %i is refused', async (schema) => {
    const path = join(await tempFolder(), 'keys');
    await (await openPskStore(path)).close();
    const env = await openStore(path, { maxDbs: 4 });
    await env.openDB<number, string>({ name: 'metadata' }).put('schema', schema);
    await env.close();
    await expect(openPskStore(path)).rejects.toMatchObject({
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
    const psks = await openPskStore(path);
    await psks.put(joined());
    await psks.close();
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
    await expect(openPskStore(path)).rejects.toMatchObject({
      name: 'DamagedStore',
      advice: expect.stringContaining('Start the controller') as string,
    });
    const psks = await PskStore.openOrReplace(path, Secret.from(MASTER.expose()), log.log);
    expect(psks.get(0xffff_ffff)).toBeUndefined();
    await psks.put(joined());
    expect(psks.size).toBe(1);
    await psks.close();
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
      await (await PskStore.openOrReplace(path, Secret.from(MASTER.expose()), log.log)).close();
      expect([(await asides()).length, (await asides()).some((name) => before.includes(name))]).toEqual([1, false]);
    }
  });

  it('is not taken for one under another master key, nor of another schema: these stay', async () => {
    const { folder, path, log } = await closedStore();
    const open = (master: Secret): Promise<PskStore> => PskStore.openOrReplace(path, master, log.log);
    await expect(open(newSecret())).rejects.toMatchObject({ name: 'UsageFailure' });
    const env = await openStore(path, { maxDbs: 4 });
    await env.openDB<number, string>({ name: 'metadata' }).put('schema', 2);
    await env.close();
    await expect(open(Secret.from(MASTER.expose()))).rejects.toThrow('has schema 2');
    expect([await readdir(folder), log.lines]).toEqual([['keys'], []]);
  });
});
