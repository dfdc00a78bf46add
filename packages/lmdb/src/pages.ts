/**
 * Checks the pages of an LMDB file without LMDB, which trusts them. LMDB ends the process by
 * SIGBUS, SIGSEGV or an assertion where a file was cut short or a page was overwritten. The check
 * reads with pread(2) and accepts what a snapshot may refer to, no more (docs/decisions/0017).
 *
 * Pages that nothing refers to are skipped. LMDB never writes a page that one transaction takes and
 * frees again, so the file of a healthy store may end before the last page that its meta page
 * names.
 */

import { fstatSync, read as readFile, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { systemCode } from '@latchkey/runtime/failure';

/**
 * A page: its number, the transaction that wrote it, padding, flags, and where its free space
 * begins and ends.
 */
const PAGE = { number: 0, transaction: 8, flags: 18, lower: 20, upper: 22, pages: 20, header: 24 } as const;
/** LMDB's two meta pages as lmdb lays them out on 64 bits; offsets from the page's start. */
const META = {
  flags: 18,
  magic: 24,
  version: 28,
  address: 32,
  mapped: 40,
  free: 48,
  main: 96,
  lastPage: 144,
  transaction: 152,
  end: 160,
} as const;
/**
 * A tree as its parent stores it. The first field is the page size in the meta page's first tree,
 * and 0 in all others.
 */
const TREE = { pageSize: 0, flags: 4, depth: 6, root: 40, length: 48 } as const;
/**
 * A node in a page: length of its data (in a branch, the child's number), flags, length of its key,
 * key.
 */
const NODE = { low: 0, flags: 4, keyLength: 6, key: 8 } as const;
/**
 * Reference to data that do not fit into a page: number of their first page, and number of pages.
 */
const OVERFLOW = { page: 0, pages: 16, length: 24 } as const;

/** In each meta page, and at the start of the lock file. */
export const MAGIC = 0xbeef_c0de;
const VERSION = 2;
const NEW_PAGE_SIZE = 4_096;
const PAGE_SIZES: ReadonlySet<number> = new Set([4_096, 8_192, 16_384, 32_768, 65_536]);
/** What a page is. */
const KIND = { branch: 0x01, leaf: 0x02, overflow: 0x04, meta: 0x08 } as const;
/**
 * The keys of a tree are integers: those of free pages, and of some others. Our stores contain no
 * other kinds of trees. Wrong flags would make LMDB misinterpret pages and end the process.
 */
const INTEGER_KEYS = 0x08;
const NODE_FLAG = { overflow: 0x01, tree: 0x02 } as const;
/** LMDB's own bound for the depth of a tree. */
const MAX_DEPTH = 32;
/** Either half of the root's number in an empty tree. */
const NO_ROOT = 0xffff_ffff;
/** Octets per read. */
const READ = 1024 * 1024;
/** Two pages this far apart are read together with those in between. */
const GAP = 8;

interface Tree {
  readonly root: number;
  readonly depth: number;
  /** `free` lists the free pages, `main` has the roots of the tables and may have entries too. */
  readonly kind: 'free' | 'main' | 'table';
}

/** A committed state of the store. */
export interface Snapshot {
  readonly pageSize: number;
  readonly lastPage: number;
  readonly transaction: number;
  readonly trees: readonly Tree[];
}

/** Returns the two meta pages of a store without entries, as LMDB writes them. */
export function emptyStore(): Uint8Array {
  const octets = new Uint8Array(2 * NEW_PAGE_SIZE);
  for (const page of [0, 1]) {
    const meta = new DataView(octets.buffer, page * NEW_PAGE_SIZE, META.end);
    meta.setUint32(PAGE.number, page, true);
    meta.setUint16(META.flags, KIND.meta, true);
    meta.setUint32(META.magic, MAGIC, true);
    meta.setUint32(META.version, VERSION, true);
    // What lmdb maps at first.
    meta.setUint32(META.mapped, 32 * NEW_PAGE_SIZE, true);
    meta.setUint32(META.free + TREE.pageSize, NEW_PAGE_SIZE, true);
    meta.setUint16(META.free + TREE.flags, INTEGER_KEYS, true);
    for (const tree of [META.free, META.main]) meta.setBigInt64(tree + TREE.root, -1n, true);
    meta.setUint32(META.lastPage, 1, true);
  }
  return octets;
}

/** Returns the latest snapshot, or `undefined` if the file does not begin with two meta pages. */
export function latestSnapshot(fd: number): Snapshot | undefined {
  const first = readMeta(fd, 0);
  const second = first && readMeta(fd, first.pageSize);
  if (first === undefined || second?.pageSize !== first.pageSize) return undefined;
  return second.transaction > first.transaction ? second : first;
}

function readMeta(fd: number, at: number): Snapshot | undefined {
  const octets = new DataView(new ArrayBuffer(META.end));
  if (!readsMeta(fd, octets, at)) return undefined;
  const pageSize = u32(octets, META.free + TREE.pageSize);
  if (u32(octets, META.magic) !== MAGIC || u16(octets, META.version) !== VERSION) return undefined;
  if (u16(octets, META.flags) !== KIND.meta || !PAGE_SIZES.has(pageSize)) return undefined;
  // LMDB takes the flags of the free pages' tree for those of the store, too.
  if (u16(octets, META.free + TREE.flags) !== INTEGER_KEYS || u64(octets, META.address) !== 0) return undefined;
  if (!isKnownTree(octets, META.main)) return undefined;
  // LMDB allocates pages within the mapped size, which it writes with each transaction.
  const lastPage = u64(octets, META.lastPage);
  if ((lastPage + 1) * pageSize > u64(octets, META.mapped)) return undefined;
  const trees = [treeAt(octets, META.free, 'free'), treeAt(octets, META.main, 'main')];
  return {
    pageSize,
    lastPage,
    transaction: u64(octets, META.transaction),
    trees: trees.filter((tree) => tree !== undefined),
  };
}

function readsMeta(fd: number, octets: DataView, at: number): boolean {
  try {
    return readSync(fd, octets, 0, META.end, at) === META.end;
  } catch (error) {
    if (systemCode(error) === 'EIO') return false;
    throw error;
  }
}

/** Tells whether the file ends before the last page that the snapshot names. */
export function isShort({ lastPage, pageSize }: Snapshot, size: number): boolean {
  return size < (lastPage + 1) * pageSize;
}

/**
 * Names a page that the snapshot needs and that is damaged. Returns `undefined` if none is.
 *
 * The snapshot's pages must stay as they are until the promise resolves: no transaction may reuse
 * them.
 */
export async function findDamage(fd: number, snapshot: Snapshot): Promise<string | undefined> {
  try {
    await new Walk(fd, snapshot).run();
    return undefined;
  } catch (error) {
    if (error instanceof Damage) return error.message;
    throw error;
  }
}

class Damage extends Error {}

const read = promisify(readFile);

/** A page that a tree refers to, still to be read. */
interface Due {
  readonly page: number;
  readonly tree: Tree;
  /** 1 is a leaf. */
  readonly level: number;
}

/** Long data in separate pages, not read yet. */
interface LongData {
  readonly page: number;
  readonly pages: number;
  readonly length: number;
  readonly tree: Tree;
}

/**
 * Reads all trees together, level by level in the order of pages: most of the file in one sweep.
 */
class Walk {
  readonly #fd: number;
  readonly #pageSize: number;
  readonly #lastPage: number;
  readonly #transaction: number;
  /** Pages that the file has and the snapshot may refer to. */
  readonly #pages: number;
  /** 1 for each page that something has referred to. */
  readonly #taken: Uint8Array;
  readonly #buffer: Buffer = Buffer.alloc(READ);
  #next: Due[] = [];
  readonly #nextLong: LongData[] = [];

  constructor(fd: number, { pageSize, lastPage, transaction, trees }: Snapshot) {
    this.#fd = fd;
    this.#pageSize = pageSize;
    this.#lastPage = lastPage;
    this.#transaction = transaction;
    this.#pages = Math.min(lastPage + 1, Math.floor(fstatSync(fd).size / pageSize));
    this.#taken = new Uint8Array(this.#pages).fill(1, 0, 2);
    for (const tree of trees) this.#plant(tree);
  }

  async run(): Promise<void> {
    while (this.#next.length > 0) {
      const level = this.#next.toSorted((a, b) => a.page - b.page);
      this.#next = [];
      for (let from = 0; from < level.length;) from = await this.#checkRun(level, from);
      for (const data of this.#nextLong.splice(0)) await this.#checkLong(data);
    }
  }

  /** Checks pages that lie close together. Returns the index of the first page after them. */
  async #checkRun(level: readonly Due[], from: number): Promise<number> {
    const start = level[from]!.page;
    const end = start + READ / this.#pageSize;
    let to = from + 1;
    while (to < level.length && level[to]!.page < end && level[to]!.page - level[to - 1]!.page <= GAP) to += 1;
    const length = (level[to - 1]!.page - start + 1) * this.#pageSize;
    await this.#read(this.#buffer, length, start * this.#pageSize, start);
    for (const due of level.slice(from, to)) {
      const at = this.#buffer.byteOffset + (due.page - start) * this.#pageSize;
      this.#check(new DataView(this.#buffer.buffer, at, this.#pageSize), due);
    }
    return to;
  }

  async #read(into: Uint8Array, length: number, at: number, page: number): Promise<void> {
    try {
      const { bytesRead } = await read(this.#fd, into, 0, length, at);
      if (bytesRead < length) throw absent(page);
    } catch (error) {
      if (systemCode(error) !== 'EIO') throw error;
      throw new Damage(`at page ${page} the device reports an input/output error`, { cause: error });
    }
  }

  /** A page belongs to one tree, or is free; never both. */
  #take(page: number): void {
    if (!(page < this.#pages)) throw absent(page);
    if (this.#taken[page] !== 0) throw new Damage(`page ${page} is used twice`);
    this.#taken[page] = 1;
  }

  #plant(tree: Tree): void {
    if (tree.depth < 1 || tree.depth > MAX_DEPTH) throw spoiled(tree.root);
    this.#take(tree.root);
    this.#next.push({ page: tree.root, tree, level: tree.depth });
  }

  #check(octets: DataView, { page, tree, level }: Due): void {
    const [lower, upper] = [u16(octets, PAGE.lower), u16(octets, PAGE.upper)];
    const count = lower >> 1;
    // A branch has two children or more; LMDB excepts the branches of its list of free pages.
    const least = level === 1 || tree.kind === 'free' ? 1 : 2;
    const inOrder =
      this.#isPage(octets, page, level === 1 ? KIND.leaf : KIND.branch) &&
      lower <= upper &&
      PAGE.header + upper <= this.#pageSize &&
      count >= least;
    if (!inOrder) throw spoiled(page);
    for (let i = 0; i < count; i++) {
      const at = PAGE.header + u16(octets, PAGE.header + 2 * i);
      if (at < PAGE.header + upper || at + NODE.key > this.#pageSize) throw spoiled(page);
      const keyLength = u16(octets, at + NODE.keyLength);
      const data = at + NODE.key + keyLength;
      // Only a branch's first child needs no key.
      if (data > this.#pageSize || (keyLength === 0 && (level === 1 || i > 0))) throw spoiled(page);
      if (level > 1) this.#checkChild(octets, at, tree, level);
      else this.#checkEntry(octets, at, data, { page, tree });
    }
  }

  #isPage(octets: DataView, page: number, kind: number): boolean {
    return (
      u64(octets, PAGE.number) === page && u64(octets, PAGE.transaction) <= this.#transaction && u16(octets, PAGE.flags) === kind
    );
  }

  #checkChild(octets: DataView, at: number, tree: Tree, level: number): void {
    const page = u32(octets, at + NODE.low) + u16(octets, at + NODE.flags) * 2 ** 32;
    this.#take(page);
    this.#next.push({ page, tree, level: level - 1 });
  }

  #checkEntry(octets: DataView, at: number, data: number, { page, tree }: { readonly page: number; readonly tree: Tree }): void {
    const [length, flags] = [u32(octets, at + NODE.low), u16(octets, at + NODE.flags)];
    const inPage = flags === NODE_FLAG.overflow ? OVERFLOW.length : length;
    if (data + inPage > this.#pageSize) throw spoiled(page);
    if (flags === NODE_FLAG.overflow) {
      const [first, pages] = [u64(octets, data + OVERFLOW.page), u64(octets, data + OVERFLOW.pages)];
      this.#nextLong.push({ page: first, pages, length, tree });
    } else if (flags === NODE_FLAG.tree && tree.kind === 'main' && length === TREE.length) {
      if (!isKnownTree(octets, data)) throw spoiled(page);
      const table = treeAt(octets, data, 'table');
      if (table !== undefined) this.#plant(table);
    } else if (flags !== 0) {
      throw spoiled(page);
    } else if (tree.kind === 'free') {
      this.#checkFree(new DataView(octets.buffer, octets.byteOffset + data, length), page);
    }
  }

  async #checkLong({ page, pages, length, tree }: LongData): Promise<void> {
    if (pages < 1 || !(page + pages <= this.#pages)) throw absent(page);
    for (let i = 0; i < pages; i++) this.#take(page + i);
    const wanted = PAGE.header + (tree.kind === 'free' ? length : 0);
    if (PAGE.header + length > pages * this.#pageSize) throw spoiled(page);
    const octets = new DataView(new ArrayBuffer(wanted));
    await this.#read(new Uint8Array(octets.buffer), wanted, page * this.#pageSize, page);
    if (!this.#isPage(octets, page, KIND.overflow) || u32(octets, PAGE.pages) !== pages) throw spoiled(page);
    if (tree.kind === 'free') this.#checkFree(new DataView(octets.buffer, PAGE.header), page);
  }

  /**
   * A count, then numbers of pages. -N before a number stands for N pages from there on, 0 for
   * none.
   */
  #checkFree(list: DataView, page: number): void {
    const count = list.byteLength < 8 ? -1 : u64(list, 0);
    if (count < 0 || 8 * (count + 1) > list.byteLength) throw spoiled(page);
    for (let i = 1; i <= count; i++) {
      const entry = Number(list.getBigInt64(8 * i, true));
      if (entry === 0) continue;
      if (entry < 0) i += 1;
      const pages = entry < 0 ? -entry : 1;
      const first = i > count ? 0 : u64(list, 8 * i);
      if (first < 2 || first + pages > this.#lastPage + 1) throw spoiled(page);
      // Those behind the end of the file were never written.
      for (let free = first; free < Math.min(first + pages, this.#pages); free++) this.#take(free);
    }
  }
}

function absent(page: number): Damage {
  return new Damage(`page ${page} is not there`);
}

function spoiled(page: number): Damage {
  return new Damage(`page ${page} is not as it was written`);
}

/** Whether a tree of entries is of a kind that our stores have. */
function isKnownTree(octets: DataView, at: number): boolean {
  const flags = u16(octets, at + TREE.flags);
  return (flags === 0 || flags === INTEGER_KEYS) && u32(octets, at + TREE.pageSize) === 0;
}

/** Returns `undefined` if the tree is empty. */
function treeAt(octets: DataView, at: number, kind: Tree['kind']): Tree | undefined {
  const root = at + TREE.root;
  if (u32(octets, root) === NO_ROOT && u32(octets, root + 4) === NO_ROOT) return undefined;
  return { root: u64(octets, root), depth: u16(octets, at + TREE.depth), kind };
}

function u16(octets: DataView, at: number): number {
  return octets.getUint16(at, true);
}

function u32(octets: DataView, at: number): number {
  return octets.getUint32(at, true);
}

function u64(octets: DataView, at: number): number {
  return u32(octets, at) + u32(octets, at + 4) * 2 ** 32;
}
