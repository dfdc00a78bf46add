/**
 * Rotation of a master key: reads or generates the next key, and erases the old one. The steps are
 * the same for every store.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { exists, type FileLock, lockFolder } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { Secret } from '@latchkey/protocol';
import type { MetadataTable, Keyring } from './keyring.js';
import {
  archivedKeyPath,
  archiveMasterKey,
  type MasterKeySource,
  readMasterKey,
  readOrCreateMasterKey,
  replaceMasterKey,
} from './master-key.js';

/**
 * Time for the running daemon to adopt the new master key, in ms. The daemon checks for one every
 * second.
 */
const ADOPTION_TIMEOUT_MS = 30_000;
const POLL_INTERVAL_MS = 100;
/** Metadata entry of a store: the number of the master key that the running daemon uses. */
const ADOPTED_BY = 'adopted by';

export interface NextMasterKey {
  readonly path: string;
  readonly key: Secret;
  /** Where the key in use is archived, if this key replaces it. */
  readonly archivedPath?: string;
  /**
   * Archives the key in use and replaces its file by the next key. Does nothing if the next key
   * stays in a file of its own (`to`), or is already in place.
   */
  install(): Promise<void>;
}

/**
 * Returns the next master key. With `to` it is in that file, which is created if it is missing.
 * Otherwise it is next to the file in use, which it replaces at the end. After a crash the next
 * call finds the same key, in either place.
 */
export async function nextMasterKey(inUse: MasterKeySource, to: string | undefined, keyring: Keyring): Promise<NextMasterKey> {
  const noop = (): Promise<void> => Promise.resolve();
  if (to !== undefined) return { path: to, key: await readOrCreateMasterKey({ kind: 'file', path: to }), install: noop };
  if (inUse.kind !== 'file') {
    throw new UsageFailure('the master key in use does not come from a file that could be replaced', {
      advice: 'Name the file of the new one with --to FILE; it is made if it is not there.',
    });
  }
  const path = `${inUse.path}.next`;
  const current = await readMasterKey(inUse);
  if (keyring.isNextKey(current)) {
    const archivedPath = await archivedKeyPath(inUse.path, inUse.path);
    return { path: inUse.path, key: current, install: noop, ...((await exists(archivedPath)) ? { archivedPath } : {}) };
  }
  const key = await readOrCreateMasterKey({ kind: 'file', path });
  const archivedPath = await archivedKeyPath(inUse.path, path);
  const install = async (): Promise<void> => {
    await archiveMasterKey(current, archivedPath);
    await replaceMasterKey(path, inUse.path);
  };
  return { path, key, archivedPath, install };
}

/**
 * Returns the notice about the former key. `what` names the files, such as backups, that open only
 * under it.
 */
export function formerKeyNotice({ archivedPath }: NextMasterKey, what: string): string {
  const formerKey =
    archivedPath === undefined ? 'the one before: keep it' : `the one before, which is in ${archivedPath}: keep it`;
  return `${what} made before need ${formerKey} as long as them, and destroy it with them.`;
}

/** What `rotate` needs of a store. */
export interface Rotation {
  /** A daemon that serves from the store holds the lock on this folder. */
  readonly folder: string;
  readonly metadata: MetadataTable;
  readonly keyring: Keyring;
  readonly next: NextMasterKey;
  write<T>(action: () => T): Promise<T>;
  /** Later reads see the latest commit. */
  refreshSnapshot(): void;
  /** Re-seals each row that is not sealed under the next master key. */
  rewrapAll(): Promise<void>;
  /** Called inside the transactions that begin and end the rotation. */
  onBegun?(): void;
  onFinished?(): void;
}

/**
 * Re-seals every key under the next master key, then erases the old one. After a crash, call it
 * again to continue.
 */
export async function rotate({ folder, metadata, keyring, next, ...store }: Rotation): Promise<void> {
  await store.write(() => {
    const isNew = !keyring.isRotating;
    keyring.beginRotation(next.key);
    if (isNew) store.onBegun?.();
  });
  await store.rewrapAll();
  await next.install();
  const lock = await waitForAdoption(folder, () => {
    store.refreshSnapshot();
    return metadata.get(ADOPTED_BY) === keyring.masterKeyNumber;
  });
  try {
    await store.write(() => {
      keyring.finishRotation();
      store.onFinished?.();
    });
  } finally {
    await lock?.release();
  }
}

/**
 * Reports to `rotate` in another process which master key this daemon uses. Call it at start, and
 * every second.
 */
export async function announceAdoption(
  metadata: MetadataTable,
  keyring: Keyring,
  write: (action: () => void) => Promise<void>,
): Promise<void> {
  keyring.reload();
  if (metadata.get(ADOPTED_BY) !== keyring.masterKeyNumber)
    await write(() => {
      metadata.putSync(ADOPTED_BY, keyring.masterKeyNumber);
    });
}

/**
 * Waits until the old master key is unused: either this process obtains the folder lock, because no
 * daemon runs, or the running daemon reports that it uses the new key.
 */
async function waitForAdoption(folder: string, hasAdopted: () => boolean): Promise<FileLock | undefined> {
  const deadline = performance.now() + ADOPTION_TIMEOUT_MS;
  for (;;) {
    const lock = await lockFolder(folder, 'master-key rotate').catch((error: unknown) => {
      if (error instanceof Failure) return undefined;
      throw error;
    });
    if (lock !== undefined || hasAdopted()) return lock;
    if (performance.now() > deadline) {
      throw new Failure('the daemon that runs has not taken up the new master key', {
        advice: 'Every key is sealed under the new one, and both open the store. Restart the daemon, then run this again.',
      });
    }
    await pause(POLL_INTERVAL_MS);
  }
}
