/** LMDB, opened the one way that is safe here, with errors a person can act on. */

import { closeSync, fstatSync, openSync } from 'node:fs';
import { access, constants, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { checkPrivateFile, exists, chownToFolderOwner, ensurePrivateFolder } from '@latchkey/runtime/files';
import { dropNativeWords, holdNativeWords } from '@latchkey/runtime/daemon';
import { Failure, systemFailure } from '@latchkey/runtime/failure';
import {
  type Database,
  type DatabaseOptions,
  type Key,
  open,
  type RootDatabase,
  type RootDatabaseOptions,
  type RootDatabaseOptionsWithPath,
} from 'lmdb';
import { guardTable, StoreFailures } from './damage.js';
import { LOCK_FILE, prepareFiles, STORE_FILE } from './files.js';
import { InPlace } from './in-place.js';
import { findDamage, isShort, latestSnapshot, type Snapshot } from './pages.js';
import { StoreOpenLock } from './open-lock.js';

/**
 * - `overlappingSync: false`: a write is visible to no reader before it is durable
 *   (docs/decisions/0002).
 * - `eventTurnBatching: false`: otherwise a failed commit rejects an internal promise of lmdb that
 *   no caller can catch. Transactions that are queued together still share one sync.
 * - `noSubdir: false`: the path is a folder, even if its name has a dot.
 */
const SAFE_OPTIONS = { overlappingSync: false, eventTurnBatching: false, noSubdir: false } as const;

/**
 * Every opening checks all pages of a file of this size or less: 0.1 s of CPU time for a million
 * nodes. The pages of a larger file are checked only if it is short, and before a backup
 * (docs/decisions/0017).
 */
const ALWAYS_CHECKED = 256 * 1024 * 1024;

/** Advice for a damaged store. */
const RESTORE = 'Nothing was changed. Restore it from a backup.';

export interface StoreOptions extends Omit<RootDatabaseOptions, 'path'> {
  /** Advice for a damaged store, in place of restoring it from a backup. */
  readonly ifDamaged?: string;
}

export interface Store<V, K extends Key> extends RootDatabase<V, K> {
  /**
   * Runs `action`, which opens the tables of the store, while no process writes. lmdb opens a table
   * in a transaction of the calling thread. If another handle of this process has a pending
   * transaction that waits for the same thread, both would wait forever.
   */
  openTables<T>(action: () => T): Promise<T>;
}

/**
 * Opens or creates the store in `path`. Refuses a store whose file other users can read, and a
 * damaged one.
 */
export async function openStore<V, K extends Key>(
  path: string,
  { ifDamaged = RESTORE, ...options }: StoreOptions = {},
): Promise<Store<V, K>> {
  const file = join(path, STORE_FILE);
  const failures = new StoreFailures(file, ifDamaged);
  try {
    // LMDB would say less, and later.
    if (await exists(path)) await access(path, constants.R_OK | constants.W_OK);
    if (await exists(file)) await access(file, constants.R_OK | constants.W_OK);
    await checkPrivateFile(file);
    silenceLmdb();
    // Creates a folder that no other user can enter, before a file is in it.
    await ensurePrivateFolder(path);
    const openLock = await StoreOpenLock.open(path);
    let inPlace: InPlace | undefined;
    try {
      await openLock.exclusive(() => prepareFiles(path));
      for (const created of [file, join(path, LOCK_FILE)]) await chownToFolderOwner(created);
      inPlace = await InPlace.watch(file);
      const store = await openChecked<V, K>(openLock, { ...options, ...SAFE_OPTIONS, path }, failures);
      return behind(openLock, guardTable(store, failures) as RootDatabase<V, K>, failures, inPlace);
    } catch (error) {
      inPlace?.close();
      await openLock.close();
      throw error;
    }
  } catch (error) {
    throw systemFailure(`cannot open the store ${path}`, failures.explain(error));
  }
}

/** Nothing is read through LMDB before the pages are checked. */
async function openChecked<V, K extends Key>(
  openLock: StoreOpenLock,
  options: RootDatabaseOptionsWithPath & { readonly path: string },
  failures: StoreFailures,
): Promise<RootDatabase<V, K>> {
  let file: number | undefined;
  let store: RootDatabase<V, K> | undefined;
  try {
    const { fd, opened, read, snapshot } = await openLock.exclusive(() => {
      const fd = (file = openSync(join(options.path, STORE_FILE), 'r'));
      snapshotOf(fd, failures);
      const opened = (store = open<V, K>(options));
      return { fd, opened, read: opened.useReadTransaction(), snapshot: snapshotOf(fd, failures) };
    });
    const { size } = fstatSync(fd);
    if (size <= ALWAYS_CHECKED || isShort(snapshot, size)) await checkPages(fd, snapshot, failures);
    // LMDB may print words about a page that it cannot read.
    else holdNativeWords();
    read.done();
    return opened;
  } catch (error) {
    // Its read ends with it.
    await store?.close();
    throw error;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * Makes the store's transactions wait while another process opens it, and fail while its file is
 * not in place. Its tables report damage.
 */
function behind<V, K extends Key>(
  openLock: StoreOpenLock,
  store: RootDatabase<V, K>,
  failures: StoreFailures,
  inPlace: InPlace,
): Store<V, K> {
  const [transaction, childTransaction, openDB, close] = [
    store.transaction.bind(store),
    store.childTransaction.bind(store),
    store.openDB.bind(store),
    store.close.bind(store),
  ];
  // A store that can be used no more says so at its next use, and lmdb lets a write wait for ever.
  const requireUsable = (): void => {
    store.resetReadTxn();
    try {
      store.useReadTransaction().done();
    } catch (error) {
      throw failures.explain(error);
    }
  };
  const failed = async (error: unknown): Promise<never> => {
    dropNativeWords();
    const explained = failures.explain(await causeOf(error));
    if (explained instanceof Failure) throw explained;
    requireUsable();
    throw error;
  };
  const run = <T>(start: (action: () => T) => Promise<T>, action: () => T): Promise<T> => {
    const { fault } = inPlace;
    if (fault !== undefined && !openLock.isInside) return Promise.reject(fault);
    holdNativeWords();
    return openLock.shared(() => {
      let running: unknown;
      try {
        running = start(openLock.reentrant(action));
      } catch (error) {
        // lmdb throws synchronously if the store is closed. Inside a transaction, that transaction
        // must fail.
        if (openLock.isInside) throw error;
        return failed(error);
      }
      // Inside another transaction lmdb has run it already.
      return (running instanceof Promise ? running.catch(failed) : running) as Promise<T>;
    });
  };
  return Object.assign(store, {
    transaction: <T>(action: () => T) => run<T>(transaction, action),
    childTransaction: <T>(action: () => T) => run<T>(childTransaction, action),
    openDB: (options: DatabaseOptions & { name: string }) => {
      try {
        return guardTable(openDB(options), failures);
      } catch (error) {
        throw failures.explain(error);
      }
    },
    openTables: <T>(action: () => T) => openLock.exclusive(action),
    close: async () => {
      inPlace.close();
      await close();
      await openLock.close();
    },
  });
}

/**
 * Rejects with a `DamagedStore` unless all pages of the store in `path` are in order, however large
 * it is.
 */
export async function checkStore(path: string, store: RootDatabase, ifDamaged: string = RESTORE): Promise<void> {
  const file = join(path, STORE_FILE);
  const failures = new StoreFailures(file, ifDamaged);
  const fd = openSync(file, 'r');
  const read = store.useReadTransaction();
  try {
    // In a transaction, so that no process is just writing a meta page.
    await checkPages(fd, await store.transaction(() => snapshotOf(fd, failures)), failures);
  } finally {
    read.done();
    closeSync(fd);
  }
}

/** While a read of this snapshot or an older one is open, no process reuses a page of it. */
async function checkPages(fd: number, snapshot: Snapshot, failures: StoreFailures): Promise<void> {
  const damage = await findDamage(fd, snapshot);
  if (damage !== undefined) throw failures.damaged(damage);
}

function snapshotOf(fd: number, failures: StoreFailures): Snapshot {
  const snapshot = latestSnapshot(fd);
  if (snapshot === undefined) throw failures.damaged('it does not begin as a store does');
  return snapshot;
}

/** A disk with fewer free blocks than this is full. */
const MIN_FREE_BLOCKS = 64;
/** Says why a write failed. */
export async function writeFailure(path: string, error: unknown): Promise<Failure> {
  const cause = await causeOf(error);
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'number' ? cause.code : 0;
  if (code <= 0) return systemFailure(`cannot write to the store ${path}`, cause);
  const name = getSystemErrorName(-code);
  // LMDB calls a write that was cut short an I/O error.
  const full = name === 'EIO' && (await freeBlocks(path)) < MIN_FREE_BLOCKS;
  return systemFailure(`cannot write to the store ${path}`, Object.assign(cause as Error, { code: full ? 'ENOSPC' : name }));
}

/** lmdb's own error gives the reason of a failed commit, by number, in a separate promise. */
async function causeOf(error: unknown): Promise<unknown> {
  try {
    return error instanceof Error && 'commitError' in error ? await error.commitError : error;
  } catch (cause) {
    return cause;
  }
}

/**
 * Free blocks of the disk with `path`; infinite if unknown, for example if the folder was deleted.
 */
async function freeBlocks(path: string): Promise<number> {
  return statfs(path).then(
    ({ bavail }) => bavail,
    () => Infinity,
  );
}

/**
 * lmdb prints the stack of a failed write to standard error, where this package reports the failure
 * itself. Nothing else here uses the console.
 */
function silenceLmdb(): void {
  console.error = () => undefined;
}

/** How many entries a table has, without looking at them. */
export function countEntries(table: Database<unknown>): number {
  return (table.getStats() as { readonly entryCount: number }).entryCount;
}
