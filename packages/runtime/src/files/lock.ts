/**
 * Admits one process per state folder, by a lock that the kernel releases when the process ends in
 * any way.
 */

import { type FileHandle, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Failure, systemCode, systemFailure } from '../failure.js';
import { type FileLock, lockFile, openLockFile } from './file-lock.js';
import { chownToFolderOwner } from './files.js';

export const LOCK_FILE = 'lock';
/**
 * Tries for a lock, and the delay between two of them. A `readFolderLock` that holds the lock for a
 * moment must not keep a daemon from starting.
 */
const TRIES = 10;
const RETRY_DELAY_MS = 20;
const STOP_IT = 'Stop that process first: two on one folder would undo each other.';

/**
 * Takes the exclusive lock on a state folder.
 *
 * @param holder name of this process, shown to a second one, e.g. `latchkey-controller run`
 * @param ifHeld advice to a second process
 * @throws Failure that says who holds it
 */
export async function lockFolder(folder: string, holder: string, ifHeld: string = STOP_IT): Promise<FileLock> {
  const path = join(folder, LOCK_FILE);
  let file: FileHandle;
  try {
    file = await openLockFile(path);
    await chownToFolderOwner(path);
  } catch (error) {
    throw systemFailure(`cannot lock the folder ${folder}`, error);
  }
  let lock: FileLock | undefined;
  try {
    lock = await lockFile(file);
    for (let tries = 1; lock === undefined && tries < TRIES; tries++) {
      await pause(RETRY_DELAY_MS);
      lock = await lockFile(file);
    }
    if (lock === undefined) {
      const [currentHolder = ''] = (await file.readFile('utf8')).split('\n');
      throw new Failure(`the folder ${folder} is in use${currentHolder === '' ? '' : ` by ${currentHolder}`}`, {
        advice: ifHeld,
      });
    }
  } catch (error) {
    await file.close();
    throw systemFailure(`cannot lock the folder ${folder}`, error);
  }
  // The lock is held whether or not a full or failing disk takes the words about it. What cannot do
  // without the disk says so itself.
  await writeHolder(file, holder).catch(() => undefined);
  return lock;
}

export interface FolderLockState {
  readonly locked: boolean;
  /**
   * The process that has the lock, or had it last, as it named itself to `lockFolder`. `undefined`
   * if none ever did.
   */
  readonly holder: string | undefined;
}

/**
 * Reads whether a process holds the lock on a state folder, and which.
 *
 * @throws Failure if the lock cannot be tried
 */
export async function readFolderLock(folder: string): Promise<FolderLockState> {
  const path = join(folder, LOCK_FILE);
  let file: FileHandle;
  try {
    file = await openLockFile(path, { create: false });
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { locked: false, holder: undefined };
    throw systemFailure(`cannot look at the lock of the folder ${folder}`, error);
  }
  try {
    const [holder = ''] = (await file.readFile('utf8')).split('\n');
    const lock = await lockFile(file);
    await lock?.release();
    return { locked: lock === undefined, holder: holder === '' ? undefined : holder };
  } catch (error) {
    throw systemFailure(`cannot look at the lock of the folder ${folder}`, error);
  } finally {
    await file.close();
  }
}

/**
 * Refuses a folder that a process of another PID namespace holds, as in another container. A
 * database that several processes share knows them by their numbers, and takes two that have the
 * same one for one.
 *
 * @throws Failure that says who holds it, and where to run instead
 */
export async function assertSamePidNamespace(folder: string): Promise<void> {
  const file = await openLockFile(join(folder, LOCK_FILE), { create: false }).catch(() => undefined);
  if (file === undefined) return;
  let holder: string | undefined;
  try {
    const [first, namespace] = (await file.readFile('utf8')).split('\n');
    if (!namespace?.startsWith('pid:') || namespace === (await pidNamespace())) return;
    const lock = await lockFile(file).catch(() => undefined);
    if (lock !== undefined) return await lock.release();
    holder = first;
  } finally {
    await file.close();
  }
  throw new Failure(`the folder ${folder} is in use by ${holder}, in another container`, {
    advice: 'Run this in that container, or in one that shares its PID namespace.',
  });
}

/** Which processes this one can see, `pid:[4026531836]` say: those that have the same. */
function pidNamespace(): Promise<string | undefined> {
  return readlink('/proc/self/ns/pid').catch(() => undefined);
}

async function writeHolder(file: FileHandle, holder: string): Promise<void> {
  await file.truncate(0);
  await file.write(`${holder} (process ${process.pid}, since ${new Date().toISOString()})\n${(await pidNamespace()) ?? ''}\n`);
}
