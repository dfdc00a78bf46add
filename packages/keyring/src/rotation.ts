/**
 * Where the next master key comes from, and how the old one is let go of: the steps every store
 * takes the same way.
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
 * A daemon that serves has this long to take up the new master key, in ms; it looks every second.
 */
const ADOPTION_TIMEOUT_MS = 30_000;
const POLL_INTERVAL_MS = 100;
/** Under which name a store keeps how many master keys whoever serves from it has seen. */
const ADOPTED_BY = 'adopted by';

export interface NextMasterKey {
  readonly path: string;
  readonly key: Secret;
  /** Where the one in use is kept, if this one takes its place. */
  readonly archivedPath?: string;
  /**
   * Puts it where the store's master key is looked for, if that is a file of ours to replace, and
   * keeps the one that was there.
   */
  install(): Promise<void>;
}

/**
 * The next master key: from the file `to`, made there if it is not, or beside the file in use,
 * whose place it takes in the end. After a crash the same one is found again: in that file, or in
 * its place already.
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

/** What is said of the one before: of `what` was made before, nothing opens without it. */
export function formerKeyNotice({ archivedPath }: NextMasterKey, what: string): string {
  const formerKey =
    archivedPath === undefined ? 'the one before: keep it' : `the one before, which is in ${archivedPath}: keep it`;
  return `${what} made before need ${formerKey} as long as them, and destroy it with them.`;
}

/** What a store says of itself for its master key to be replaced. */
export interface Rotation {
  /** Whoever serves from the store holds the lock on this folder. */
  readonly folder: string;
  readonly metadata: MetadataTable;
  readonly keyring: Keyring;
  readonly next: NextMasterKey;
  write<T>(action: () => T): Promise<T>;
  /** Reads from here on see the latest. */
  refreshSnapshot(): void;
  /** Seals anew what is not sealed under the next master key. */
  rewrapAll(): Promise<void>;
  /** Inside the transactions that begin and end it. */
  onBegun?(): void;
  onFinished?(): void;
}

/**
 * Seals every key anew under the next master key, then erases the old one. Run again after a crash
 * it goes on.
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
 * Tells `rotate` in another process that this one serves, and under which master key: at start, and
 * again every second.
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
 * Waits until nobody needs the old master key any more: the folder is ours, so that nobody serves
 * from it, or who serves says that he took up the new one.
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
