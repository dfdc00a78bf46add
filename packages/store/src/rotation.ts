/** Where the next master key comes from, and how the old one is let go of: the steps every store takes the same way. */

import { setTimeout as pause } from 'node:timers/promises';
import { exists, Failure, type FileLock, lockFolder, UsageFailure } from '@latchkey/runtime';
import type { Secret } from '@latchkey/protocol';
import type { About, Keyring } from './keyring.js';
import {
  formerPath,
  keepMasterKey,
  type MasterKeySource,
  readMasterKey,
  readOrCreateMasterKey,
  replaceMasterKey,
} from './master-key.js';

/** A daemon that serves has this long to take up the new master key, in ms; it looks every second. */
const TAKE_UP_LIMIT_MS = 30_000;
const LOOK_EVERY_MS = 100;
/** Under which name a store keeps how many master keys whoever serves from it has seen. */
const SERVING = 'serving';

export interface NextMasterKey {
  readonly path: string;
  readonly key: Secret;
  /** Where the one in use is kept, if this one takes its place. */
  readonly former?: string;
  /** Puts it where the store's master key is looked for, if that is a file of ours to replace, and keeps the one that was there. */
  putInPlace(): Promise<void>;
}

/**
 * The next master key: from the file `to`, made there if it is not, or beside the file in use, whose place it takes in the end.
 * After a crash the same one is found again: in that file, or in its place already.
 */
export async function nextMasterKey(inUse: MasterKeySource, to: string | undefined, keyring: Keyring): Promise<NextMasterKey> {
  const stay = (): Promise<void> => Promise.resolve();
  if (to !== undefined) return { path: to, key: await readOrCreateMasterKey({ kind: 'file', path: to }), putInPlace: stay };
  if (inUse.kind !== 'file') {
    throw new UsageFailure('the master key in use does not come from a file that could be replaced', {
      advice: 'Name the file of the new one with --to FILE; it is made if it is not there.',
    });
  }
  const path = `${inUse.path}.next`;
  const inPlace = await readMasterKey(inUse);
  if (keyring.isNext(inPlace)) {
    const former = await formerPath(inUse.path, inUse.path);
    return { path: inUse.path, key: inPlace, putInPlace: stay, ...((await exists(former)) ? { former } : {}) };
  }
  const key = await readOrCreateMasterKey({ kind: 'file', path });
  const former = await formerPath(inUse.path, path);
  const putInPlace = async (): Promise<void> => {
    await keepMasterKey(inPlace, former);
    await replaceMasterKey(path, inUse.path);
  };
  return { path, key, former, putInPlace };
}

/** What is said of the one before: of `what` was made before, nothing opens without it. */
export function aboutFormer({ former }: NextMasterKey, what: string): string {
  const kept = former === undefined ? 'the one before: keep it' : `the one before, which is in ${former}: keep it`;
  return `${what} made before need ${kept} as long as them, and destroy it with them.`;
}

/** What a store says of itself for its master key to be replaced. */
export interface Rotation {
  /** Whoever serves from the store holds the lock on this folder. */
  readonly folder: string;
  readonly about: About;
  readonly keyring: Keyring;
  readonly next: NextMasterKey;
  write<T>(action: () => T): Promise<T>;
  /** Reads from here on see the latest. */
  seeLatest(): void;
  /** Seals anew what is not sealed under the next master key. */
  reseal(): Promise<void>;
  /** Inside the transactions that begin and end it. */
  begun?(): void;
  finished?(): void;
}

/** Seals every key anew under the next master key, then erases the old one. Run again after a crash it goes on. */
export async function rotate({ folder, about, keyring, next, ...store }: Rotation): Promise<void> {
  await store.write(() => {
    const begins = !keyring.isChanging;
    keyring.begin(next.key);
    if (begins) store.begun?.();
  });
  await store.reseal();
  await next.putInPlace();
  const lock = await untilTakenUp(folder, () => {
    store.seeLatest();
    return about.get(SERVING) === keyring.number;
  });
  try {
    await store.write(() => {
      keyring.finish();
      store.finished?.();
    });
  } finally {
    await lock?.release();
  }
}

/** Tells `rotate` in another process that this one serves, and under which master key: at start, and again every second. */
export async function tellServing(about: About, keyring: Keyring, write: (action: () => void) => Promise<void>): Promise<void> {
  keyring.refresh();
  if (about.get(SERVING) !== keyring.number)
    await write(() => {
      about.putSync(SERVING, keyring.number);
    });
}

/**
 * Waits until nobody needs the old master key any more: the folder is ours, so that nobody serves from it, or who serves says that
 * he took up the new one.
 */
async function untilTakenUp(folder: string, hasTakenUp: () => boolean): Promise<FileLock | undefined> {
  const end = performance.now() + TAKE_UP_LIMIT_MS;
  for (;;) {
    const lock = await lockFolder(folder, 'master-key rotate').catch((error: unknown) => {
      if (error instanceof Failure) return undefined;
      throw error;
    });
    if (lock !== undefined || hasTakenUp()) return lock;
    if (performance.now() > end) {
      throw new Failure('the daemon that runs has not taken up the new master key', {
        advice: 'Every key is sealed under the new one, and both open the store. Restart the daemon, then run this again.',
      });
    }
    await pause(LOOK_EVERY_MS);
  }
}
