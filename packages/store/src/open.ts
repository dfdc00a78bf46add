/** LMDB, opened the one way that is safe here, with errors a person can act on. */

import { access, chmod, constants, type FileHandle, open as openFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { checkPrivateFile, exists, Failure, giveToOwnerOfFolder, openFolder, systemFailure } from '@latchkey/runtime';
import {
  type Database,
  type Key,
  open,
  type RootDatabase,
  type RootDatabaseOptions,
  type RootDatabaseOptionsWithPath,
} from 'lmdb';
import { Turnstile } from './turnstile.js';

/** The file that holds the data of a store in a folder. */
export const STORE_FILE = 'data.mdb';

/**
 * - `overlappingSync: false`: a write is visible to nobody before it is on the disk (docs/decisions/0002).
 * - `eventTurnBatching: false`: otherwise a failed commit rejects a promise of lmdb's own that nobody can catch. Transactions
 *   that are queued together share one sync all the same.
 * - `noSubdir: false`: a folder is a folder, also where its name has a dot.
 */
const SAFE = { overlappingSync: false, eventTurnBatching: false, noSubdir: false } as const;

/** Opens the store in `path`, or makes one. Refuses one whose file others can read. */
export async function openStore<V, K extends Key>(
  path: string,
  options: Omit<RootDatabaseOptions, 'path'> = {},
): Promise<RootDatabase<V, K>> {
  const file = join(path, STORE_FILE);
  try {
    // LMDB would say less, and later.
    if (await exists(path)) await access(path, constants.R_OK | constants.W_OK);
    if (await exists(file)) await access(file, constants.R_OK | constants.W_OK);
    await checkPrivateFile(file);
    if (await exists(file)) await refuseDamaged(file);
    quietLmdb();
    // LMDB makes its files with the mode the umask leaves: inside a folder nobody else enters, and closed before a key is in them.
    await openFolder(path);
    const turnstile = await Turnstile.of(path);
    const store = await openBehind<V, K>(turnstile, { ...options, ...SAFE, path });
    for (const made of [file, join(path, 'lock.mdb')]) {
      await chmod(made, 0o600);
      await giveToOwnerOfFolder(made);
    }
    return store;
  } catch (error) {
    throw systemFailure(`cannot open the store ${path}`, error);
  }
}

/** Its transactions wait while another process opens it. */
async function openBehind<V, K extends Key>(
  turnstile: Turnstile,
  options: RootDatabaseOptionsWithPath,
): Promise<RootDatabase<V, K>> {
  let store: RootDatabase<V, K>;
  try {
    store = await turnstile.alone(() => open<V, K>(options));
  } catch (error) {
    await turnstile.close();
    throw error;
  }
  const [transaction, childTransaction, close] = [
    store.transaction.bind(store),
    store.childTransaction.bind(store),
    store.close.bind(store),
  ];
  return Object.assign(store, {
    transaction: <T>(action: () => T) => turnstile.through(() => transaction(turnstile.within(action))),
    childTransaction: <T>(action: () => T) => turnstile.through(() => childTransaction(turnstile.within(action))),
    close: async () => {
      await close();
      await turnstile.close();
    },
  });
}

/** LMDB's two meta pages, as lmdb lays them out behind a page header of 24 octets; offsets from the page's start. */
const META = { magic: 24, pageSize: 48, lastPage: 144, end: 160 } as const;
const MAGIC = 0xbeef_c0de;
const PAGE_SIZES: ReadonlySet<number> = new Set([4096, 8192, 16_384, 32_768, 65_536]);

/** LMDB maps the file into memory: one that is cut short, or is something else, would end the process without a word. */
async function refuseDamaged(path: string): Promise<void> {
  const file = await openFile(path, 'r');
  try {
    const first = await readMeta(file, 0);
    const second = first === undefined ? undefined : await readMeta(file, first.pageSize);
    // In this order: a server that is writing meanwhile makes the file longer before a meta page says so.
    const { size } = await file.stat();
    const pages = Math.max(first?.lastPage ?? 0, second?.lastPage ?? 0) + 1;
    if (first !== undefined && second !== undefined && size >= pages * first.pageSize) return;
  } finally {
    await file.close();
  }
  throw new Failure(`the store ${path} is damaged or cut short`, { advice: 'Nothing was changed. Restore it from a backup.' });
}

async function readMeta(
  file: FileHandle,
  at: number,
): Promise<{ readonly pageSize: number; readonly lastPage: number } | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(META.end), 0, META.end, at);
  const pageSize = buffer.readUInt32LE(META.pageSize);
  if (bytesRead < META.end || buffer.readUInt32LE(META.magic) !== MAGIC || !PAGE_SIZES.has(pageSize)) return undefined;
  return { pageSize, lastPage: Number(buffer.readBigUInt64LE(META.lastPage)) };
}

/** A disk with fewer free blocks than this is full. */
const FULL_BLOCKS = 64;

/** What a write that failed means. lmdb's own error says why in a promise beside it, by number. */
export async function writeFailure(path: string, error: unknown): Promise<Failure> {
  const cause: unknown =
    error instanceof Error && 'commitError' in error ? await Promise.resolve(error.commitError).catch((e: unknown) => e) : error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'number' && cause.code > 0) {
    const code = getSystemErrorName(-cause.code);
    // LMDB calls a write that was cut short an I/O error.
    const full = code === 'EIO' && (await statfs(path)).bavail < FULL_BLOCKS;
    return systemFailure(`cannot write to the store ${path}`, Object.assign(cause, { code: full ? 'ENOSPC' : code }));
  }
  return systemFailure(`cannot write to the store ${path}`, cause);
}

/** lmdb prints the stack of a failed write to standard error; we say what happened ourselves. Nothing else here uses the console. */
function quietLmdb(): void {
  console.error = () => undefined;
}

/** How many entries a table has, without looking at them. */
export function entriesIn(table: Database<unknown>): number {
  return (table.getStats() as { readonly entryCount: number }).entryCount;
}
