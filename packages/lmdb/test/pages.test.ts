// Proves that a store lacks no page that it needs, or is refused in words; and that a healthy one
// is never refused, however it grew and shrank.

import { spawnSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { copyFile, mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { type Database, open as openLmdb } from 'lmdb';
import { beforeEach, describe, expect, it } from 'vitest';
import { Child, hasGcc, tempFolder } from '@latchkey/test-support/fixtures';
import { DamagedStore } from '../src/damage.js';
import { STORE_FILE } from '../src/files.js';
import { openStore } from '../src/open.js';
import { emptyStore, isShort, latestSnapshot } from '../src/pages.js';

process.umask(0o077);

const PAGE = 4_096;
const SECTOR = 512;
/** Of a page that leads to others. */
const BRANCH = 0x01;
/** What a meta page has, and where in it. */
const META_LENGTH = 160;
const TRANSACTION = 152;
const MAIN_ROOT = 136;
const TABLES = ['one', 'two', 'three'] as const;

type Table = Database<Buffer, number>;

/**
 * A store with three tables, opened for each use or change of it, and what it should hold.
 */
class Store {
  readonly path: string;
  /** The length of each value, by table and key. */
  #entries: ReadonlyMap<string, number>;

  private constructor(path: string, entries: ReadonlyMap<string, number> = new Map()) {
    this.path = path;
    this.#entries = entries;
  }

  static async create(): Promise<Store> {
    return new Store(join(await tempFolder(), 'store'));
  }

  get file(): string {
    return join(this.path, STORE_FILE);
  }

  async copy(): Promise<Store> {
    const copy = new Store(join(await tempFolder(), 'store'), this.#entries);
    await mkdir(copy.path);
    await copyFile(this.file, copy.file);
    return copy;
  }

  /** Runs `action` in one transaction, which has no effect if it throws a RangeError. */
  async change(action: (changes: Changes) => void): Promise<void> {
    await this.#opened((env, tables) => this.#changeIn(env, tables, action));
  }

  /** Reads and rewrites all of it. Returns `whole`, or what is said to be wrong. */
  async use({ mayDiffer = false } = {}): Promise<string> {
    try {
      return await this.#opened(async (env, tables) => {
        const rows = tables.flatMap((table, i) =>
          [...table.getRange()].map(({ key, value }): [string, number] => [`${TABLES[i]} ${key}`, value.length]),
        );
        if (!mayDiffer && !isDeepStrictEqual(new Map(rows), this.#entries)) return 'another content';
        await this.#changeIn(env, tables, (changes) => changes.rewrite());
        return 'whole';
      });
    } catch (error) {
      if (error instanceof DamagedStore) return error.what;
      throw error;
    }
  }

  /** Whether the file ends before the last page that it may have. */
  async isShort(): Promise<boolean> {
    const file = await open(this.file);
    try {
      return isShort(latestSnapshot(file.fd)!, (await file.stat()).size);
    } finally {
      await file.close();
    }
  }

  async #changeIn(env: Database<Buffer, number>, tables: readonly Table[], action: (changes: Changes) => void): Promise<void> {
    const changes = new Changes(tables, new Map(this.#entries));
    try {
      await env.childTransaction(() => action(changes));
      this.#entries = changes.entries;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }

  async #opened<T>(use: (env: Database<Buffer, number>, tables: readonly Table[]) => Promise<T>): Promise<T> {
    const env = await openStore<Buffer, number>(this.path, { maxDbs: 4 });
    try {
      const tables = TABLES.map((name): Table => env.openDB({ name, keyEncoding: 'uint32' }));
      return await use(env, tables);
    } finally {
      await env.close();
    }
  }
}

class Changes {
  readonly entries: Map<string, number>;
  readonly #tables: readonly Table[];

  constructor(tables: readonly Table[], entries: Map<string, number>) {
    this.#tables = tables;
    this.entries = entries;
  }

  put(table: number, key: number, length: number): void {
    this.#tables[table]!.putSync(key, Buffer.alloc(length, key));
    this.entries.set(`${TABLES[table]} ${key}`, length);
  }

  remove(table: number, key: number): void {
    this.#tables[table]!.removeSync(key);
    this.entries.delete(`${TABLES[table]} ${key}`);
  }

  rewrite(): void {
    for (const [name, length] of this.entries) {
      const [table, key] = name.split(' ');
      this.put(
        TABLES.findIndex((one) => one === table),
        Number(key),
        length,
      );
    }
  }
}

/** Rows come, go, or come and go within one transaction, which may be taken back. */
const step = fc.record({
  kind: fc.constantFrom('put', 'remove', 'both', 'abort'),
  table: fc.nat(TABLES.length - 1),
  from: fc.nat(3_000),
  count: fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 100 }) }, fc.integer({ min: 500, max: 1_500 })),
  length: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 300 }) }, fc.integer({ min: 1_000, max: 20_000 })),
});

describe('a healthy store opens', () => {
  it('after each step in which it grows or shrinks', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const store = await Store.create();
        for (const { kind, table, from, count, length } of steps) {
          const keys = Array.from({ length: Math.min(count, Math.ceil(300_000 / length)) }, (_, i) => from + i);
          await store.change((changes) => {
            if (kind !== 'remove') for (const key of keys) changes.put(table, key, length);
            if (kind === 'remove' || kind === 'both') for (const key of keys) changes.remove(table, key);
            if (kind === 'abort') throw new RangeError('taken back');
          });
          expect(await store.use()).toBe('whole');
        }
      }),
      { numRuns: 25 },
    );
  });

  it('though LMDB never wrote the last pages that it took, since it freed them at once', async () => {
    const store = await Store.create();
    await store.change((changes) => {
      for (let key = 0; key < 500; key++) changes.put(0, key, 100);
    });
    await store.change((changes) => {
      for (let key = 1_000; key < 2_000; key++) changes.put(1, key, 200);
      for (let key = 1_000; key < 2_000; key++) changes.remove(1, key);
    });
    expect(await store.isShort()).toBe(true);
    expect(await store.use()).toBe('whole');
  });
});

describe('a damaged store is refused in words, and never ends the process:', () => {
  let store: Store;
  let octets: Buffer;
  beforeEach(async () => {
    store = await Store.create();
    for (const length of [120, 90])
      await store.change((changes) => {
        for (let key = 0; key < 600; key++) changes.put(key % 3, key, key % 100 === 0 ? 9_000 : length);
      });
    octets = await readFile(store.file);
  });

  /** What comes of each change of the octets. */
  async function outcomes(changes: Iterable<(octets: Buffer) => void>, mayDiffer = false): Promise<Set<string>> {
    const copy = await store.copy();
    const found = new Set<string>();
    for (const change of changes) {
      const changed = Buffer.from(octets);
      change(changed);
      await writeFile(copy.file, changed);
      found.add((await copy.use({ mayDiffer })).replace(/\d+/, 'N'));
    }
    return found;
  }

  const pages = (): number[] => Array.from({ length: octets.length / PAGE }, (_, i) => i);

  it('cut off behind any page', async () => {
    const copy = await store.copy();
    const found = new Set<string>();
    for (const page of pages()) {
      await writeFile(copy.file, octets);
      await truncate(copy.file, page * PAGE);
      found.add((await copy.use()).replace(/\d+/, 'N'));
    }
    expect([...found].toSorted()).toEqual(['it does not begin as a store does', 'page N is not there']);
  });

  it.each([
    ['zeroes', (): Buffer => Buffer.alloc(PAGE)],
    ['random octets', (): Buffer => randomBytes(PAGE)],
    ['another page', (): Buffer => octets.subarray(2 * PAGE, 3 * PAGE)],
  ])('any page of it overwritten by %s, unless nothing refers to that', async (_, content) => {
    const found = await outcomes(pages().map((page) => (changed) => content().copy(changed, page * PAGE)));
    expect([...found].toSorted()).toEqual(['it does not begin as a store does', 'page N is not as it was written', 'whole']);
  });

  it('any sector of it overwritten', async () => {
    const sectors = Array.from({ length: 100 }, () => {
      const [sector, content] = [
        randomInt(octets.length / SECTOR),
        randomInt(2) === 0 ? Buffer.alloc(SECTOR) : randomBytes(SECTOR),
      ];
      return (changed: Buffer) => void content.copy(changed, sector * SECTOR);
    });
    expect(await outcomes(sectors, true)).toContain('page N is not as it was written');
  });

  it('any octet at the head of a page changed', async () => {
    const changes = Array.from({ length: 100 }, () => {
      const [at, by] = [randomInt(octets.length / PAGE) * PAGE + randomInt(64), randomInt(1, 256)];
      return (changed: Buffer) => void (changed[at] = changed[at]! ^ by);
    });
    expect(await outcomes(changes, true)).toContain('page N is not as it was written');
  });

  /** Three changes of each of these octets: two flags, and all bits. */
  const changesOf = function* (places: Iterable<number>): Generator<(changed: Buffer) => void> {
    for (const at of places) for (const by of [4, 8, 255]) yield (changed) => void (changed[at] = changed[at]! ^ by);
  };

  it('any octet of a meta page changed', async () => {
    const places = [0, 1].flatMap((page) => Array.from({ length: META_LENGTH }, (_, i) => page * PAGE + i));
    expect(await outcomes(changesOf(places), true)).toContain('it does not begin as a store does');
  });

  it('any octet of the records of its tables changed', async () => {
    const latest = octets.readBigUInt64LE(TRANSACTION) > octets.readBigUInt64LE(PAGE + TRANSACTION) ? 0 : PAGE;
    const root = Number(octets.readBigUInt64LE(latest + MAIN_ROOT)) * PAGE;
    const from = root + 24 + octets.readUInt16LE(root + 22);
    const places = Array.from({ length: root + PAGE - from }, (_, i) => from + i);
    expect(await outcomes(changesOf(places), true)).toContain('page N is not as it was written');
  });

  it('a page that leads to one page twice, or to itself', async () => {
    const isBranch = (page: number): boolean => octets.readUInt16LE(page * PAGE + 18) === BRANCH;
    const child = (page: number, i: number): number => page * PAGE + 24 + octets.readUInt16LE(page * PAGE + 24 + 2 * i);
    const branches = pages().slice(2).filter(isBranch);
    const twice = branches.map(
      (page) => (changed: Buffer) => void changed.copyWithin(child(page, 1), child(page, 0), child(page, 0) + 4),
    );
    const itself = branches.map((page) => (changed: Buffer) => void changed.writeUInt32LE(page, child(page, 1)));
    for (const changes of [twice, itself]) expect(await outcomes(changes)).toContain('page N is used twice');
  });
});

it.skipIf(!hasGcc())('a page that the device cannot read is named (needs gcc)', async () => {
  const store = await Store.create();
  await store.change((changes) => changes.put(0, 1, 100));
  const library = join(await tempFolder(), 'unreadable.so');
  const source = `
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <sys/types.h>
    /* Whole pages, as the store's pages are read. */
    ssize_t pread64(int file, void *octets, size_t count, off64_t at) {
      ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
      if (count % 4096 != 0 || at == 0) return real(file, octets, count, at);
      errno = EIO;
      return -1;
    }`;
  const args = ['-shared', '-fPIC', '-o', library, '-x', 'c', '-', '-ldl'];
  expect(spawnSync('gcc', args, { input: source, encoding: 'utf8' }).stderr).toBe('');
  const child = new Child(
    `import { openStore } from ${JSON.stringify(new URL('../dist/open.js', import.meta.url).href)};
     console.log(await openStore(process.argv[1]).then(() => 'open', ({ message }) => message));`,
    [store.path],
    { env: { ...process.env, LD_PRELOAD: library } },
  );
  expect(await child.line()).toMatch(/^the store \S+ is damaged: at page \d+ the device reports an input\/output error$/);
});

describe('a new store', () => {
  it('is what LMDB makes', async ({ skip }) => {
    const folder = await tempFolder();
    await openLmdb({ path: folder, overlappingSync: false, noSubdir: false }).close();
    const made = await readFile(join(folder, STORE_FILE));
    if (made.readUInt32LE(48) !== PAGE) skip('pages have another size here');
    expect(made.equals(emptyStore())).toBe(true);
  });
});
