// Proves that a store that is cut short or is something else is refused in words, and that a healthy one never is.

import { randomBytes } from 'node:crypto';
import { chmod, open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Child, tempFolder } from '../../runtime/test/fixtures.js';
import { Registry } from '../src/registry.js';
import { openStore, STORE_FILE } from '../src/store.js';
import { newNode, newRegistry, newSecret, NID, WALL } from './fixtures.js';

interface Made {
  readonly path: string;
  readonly file: string;
}

/** A store with 2,000 entries, closed. */
async function madeStore(): Promise<Made> {
  const path = join(await tempFolder(), 'store');
  const store = await openStore<Buffer, number>(path, { keyEncoding: 'uint32' });
  await store.transaction(() => {
    for (let i = 0; i < 2_000; i++) store.putSync(i, randomBytes(100));
  });
  await store.close();
  return { path, file: join(path, STORE_FILE) };
}

async function opens(path: string): Promise<boolean> {
  const store = await openStore(path, { keyEncoding: 'uint32' });
  await store.close();
  return true;
}

describe('a store', () => {
  it('opens again, empty or not, for its user alone', async () => {
    const path = join(await tempFolder(), 'store');
    for (let i = 0; i < 3; i++) expect(await opens(path)).toBe(true);
    expect((await stat(join(path, STORE_FILE))).mode & 0o777).toBe(0o600);
    expect(await opens((await madeStore()).path)).toBe(true);
  });

  it('that others can read is refused', async () => {
    const { path, file } = await madeStore();
    await chmod(file, 0o604);
    await expect(openStore(path)).rejects.toMatchObject({ name: 'UsageFailure', advice: `Run: chmod 600 ${file}` });
  });

  it.each([
    ['is cut off in the middle', async ({ file }: Made) => truncate(file, Math.floor((await stat(file)).size / 2))],
    ['lacks its last octet', async ({ file }: Made) => truncate(file, (await stat(file)).size - 1)],
    ['is cut off behind its first page', ({ file }: Made) => truncate(file, 4_096)],
    ['is cut off within its first page', ({ file }: Made) => truncate(file, 100)],
    ['is empty', ({ file }: Made) => truncate(file, 0)],
    ['is text', ({ file }: Made) => writeFile(file, 'this is no store\n'.repeat(1_000))],
    ['is all zeroes', ({ file }: Made) => writeFile(file, Buffer.alloc(100_000))],
    [
      'has another first page',
      async ({ file }: Made) => {
        const handle = await open(file, 'r+');
        await handle.write(randomBytes(4_096), 0, 4_096, 0);
        await handle.close();
      },
    ],
  ])('that %s is refused as damaged, and left as it is', async (_, damage) => {
    const made = await madeStore();
    await damage(made);
    const before = await readFile(made.file);
    await expect(openStore(made.path)).rejects.toMatchObject({
      name: 'Failure',
      message: `the store ${made.file} is damaged or cut short`,
    });
    expect((await readFile(made.file)).equals(before)).toBe(true);
  });
});

describe('a healthy registry is never taken for a damaged one', () => {
  it('whatever was written to it, taken back or changed', async () => {
    const created = await newRegistry();
    const { folder } = created;
    await created.close();
    let taken = 0;
    for (let round = 0; round < 8; round++) {
      const registry = await Registry.open(folder);
      const order = { installer: 'x'.repeat(round * 700), idC: 1, count: 1, sharedKey: false, lifetime: 1, createdAt: WALL };
      const nodes = Array.from({ length: 1 + 150 * round }, () => newNode((taken += 7)));
      await registry.addOrder(order, nodes);
      const commits = nodes.slice(0, 200).map(({ idI, key }) => {
        const commit = { idC: 1, tid: BigInt(taken), ts: WALL, nidI: NID, lifetime: round };
        return registry.commit(
          idI,
          key,
          newSecret(),
          commit,
          () => WALL,
          () => true,
        );
      });
      const failing = registry.addOrder(order, [...Array.from({ length: 3_000 }, (_, i) => newNode(0x4000_0000 + i)), nodes[0]!]);
      await expect(failing).rejects.toMatchObject({ name: 'Failure' });
      await Promise.all(commits);
      await registry.close();
    }
    const last = await Registry.open(folder);
    expect([...last.nodes()]).toHaveLength(taken / 7);
    await last.close();
  });

  it('beside a process that writes all the time, nor after that was killed', async () => {
    const registry = await newRegistry();
    await registry.close();
    const writer = new Child(
      `process.umask(0o077);
       import { writeSync } from 'node:fs';
       import { Registry } from ${JSON.stringify(new URL('../dist/registry.js', import.meta.url).href)};
       import { Secret } from ${JSON.stringify(new URL('../../protocol/dist/index.js', import.meta.url).href)};
       const registry = await Registry.open(process.argv[1]);
       const key = Secret.from(new Uint8Array(16));
       for (let i = 0; ; i++) {
         const node = (k) => ({ idI: i * 200 + k, key, initial: true, controller: 1, disabled: false, lifetime: 0, grace: 0 });
         await registry.addNodes(Array.from({ length: 200 }, (_, k) => node(k)), 0);
         writeSync(1, i + '\\n');
       }`,
      [registry.folder],
    );
    for (let i = 0; i < 50; i++) {
      expect(await writer.line()).toBe(String(i));
      await (await Registry.open(registry.folder)).close();
    }
    await writer.kill('SIGKILL');
    const after = await Registry.open(registry.folder);
    expect([...after.nodes()].length).toBeGreaterThanOrEqual(10_000);
    await after.close();
  });
});
