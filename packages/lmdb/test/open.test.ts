// Proves that a store that is cut short or is something else is refused in words, and that a
// healthy one never is.

import { randomBytes } from 'node:crypto';
import { chmod, open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Child, tempFolder } from '@latchkey/test-support/fixtures';
import { STORE_FILE } from '../src/files.js';
import { openStore } from '../src/open.js';

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
      name: 'DamagedStore',
      message: expect.stringMatching(
        /^the store \S+ is damaged: (it does not begin as a store does|page \d+ is not there)$/,
      ) as string,
    });
    expect((await readFile(made.file)).equals(before)).toBe(true);
  });
});

describe('a healthy store is never taken for a damaged one', () => {
  it('whatever was written to it, taken back or changed', async () => {
    const path = join(await tempFolder(), 'store');
    const there = new Map<number, number>();
    for (let round = 0; round < 8; round++) {
      const store = await openStore<Buffer, number>(path, { keyEncoding: 'uint32' });
      const writes = Array.from({ length: 20 }, (_, i) =>
        store.childTransaction(() => {
          for (let k = 0; k < 1 + 10 * round; k++) {
            const [key, length] = [1_000 * i + 7 * k, 1 + 90 * round];
            store.putSync(key, Buffer.alloc(length, round));
            there.set(key, length);
          }
        }),
      );
      const failing = store.childTransaction(() => {
        for (let k = 0; k < 3_000; k++) store.putSync(0x4000_0000 + k, randomBytes(300));
        throw new RangeError('taken back');
      });
      const removed = store.childTransaction(() => {
        for (const key of [...there.keys()].slice(0, 5 * round)) {
          store.removeSync(key);
          there.delete(key);
        }
      });
      await expect(failing).rejects.toThrow('taken back');
      await Promise.all([...writes, removed]);
      await store.close();
    }
    const last = await openStore<Buffer, number>(path, { keyEncoding: 'uint32' });
    expect(new Map([...last.getRange()].map(({ key, value }) => [key, value.length]))).toEqual(
      new Map([...there].toSorted(([a], [b]) => a - b)),
    );
    await last.close();
  });

  it('beside a process that writes all the time, nor after that was killed', async () => {
    const path = join(await tempFolder(), 'store');
    const writer = new Child(
      `process.umask(0o077);
       import { writeSync } from 'node:fs';
       import { openStore } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
       const store = await openStore(process.argv[1], { keyEncoding: 'uint32' });
       for (let i = 0; ; i++) {
         await store.childTransaction(() => {
           for (let k = 0; k < 200; k++) store.putSync(i * 200 + k, new Uint8Array(100));
         });
         writeSync(1, i + '\\n');
       }`,
      [path],
    );
    for (let i = 0; i < 50; i++) {
      expect(await writer.line()).toBe(String(i));
      expect(await opens(path)).toBe(true);
    }
    await writer.kill('SIGKILL');
    const after = await openStore<Buffer, number>(path, { keyEncoding: 'uint32' });
    expect(after.getCount()).toBeGreaterThanOrEqual(10_000);
    await after.close();
  });
});
