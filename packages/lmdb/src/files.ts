/**
 * Makes and checks LMDB's files before LMDB opens them. When LMDB fails to open one, lmdb frees the
 * same memory twice and the process ends by SIGSEGV. On a full disk the first write to a new lock
 * file, which LMDB maps, ends it by SIGBUS.
 */

import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure, systemCode } from '@latchkey/runtime/failure';
import { nativeLocks } from '@latchkey/runtime/files';
import { emptyStore, MAGIC } from './pages.js';

/** The file that holds the data of a store in a folder. */
export const STORE_FILE = 'data.mdb';
/** Holds LMDB's locks and its table of readers. LMDB recreates it for the first process. */
export const LOCK_FILE = 'lock.mdb';
/** Length that LMDB gives the file for its default of 126 readers. */
const LOCK_LENGTH = 8_272;
const PRIVATE_FILE = 0o600;

/**
 * Call while no other process opens the store or writes to it. Throws an error of the system if a
 * file cannot be had, or is a link: root has stores in folders of daemons, and a daemon that was
 * taken over would choose what root writes to.
 */
export function prepareFiles(folder: string): void {
  prepareLock(join(folder, LOCK_FILE));
  const path = join(folder, STORE_FILE);
  if (!existsSync(path)) makeStore(path);
  withFile(path, constants.O_RDONLY, (fd) => fchmodSync(fd, PRIVATE_FILE));
}

/** After a crash the store is there whole, or not at all. */
function makeStore(path: string): void {
  const aside = join(dirname(path), `.${STORE_FILE}.new`);
  try {
    rmSync(aside, { force: true });
    withFile(aside, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, (fd) => {
      writeFileSync(fd, emptyStore());
      fsyncSync(fd);
    });
    renameSync(aside, path);
    withFile(dirname(path), constants.O_RDONLY, fsyncSync);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
}

function prepareLock(path: string): void {
  withFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, (fd) => {
    fchmodSync(fd, PRIVATE_FILE);
    const { size } = fstatSync(fd);
    const inUse = isLocked(fd);
    // Writes the octets, so that the disk reserves space: LMDB would only set the length.
    if (!inUse && size < LOCK_LENGTH) writeFileSync(fd, new Uint8Array(LOCK_LENGTH - size));
    if (inUse && !beginsWithMagic(fd)) {
      throw new Failure(`${path} was overwritten while a process uses the store`, {
        advice: 'End that process, then start it again: that makes the file anew.',
      });
    }
  });
}

/** LMDB holds a lock on the first octet for each process that has the store open. */
function isLocked(fd: number): boolean {
  const locks = nativeLocks();
  try {
    locks?.tryLock(fd, 0, 1, true);
    locks?.unlock(fd, 0, 1);
    return false;
  } catch (error) {
    if (systemCode(error) === 'EAGAIN') return true;
    throw error;
  }
}

function beginsWithMagic(fd: number): boolean {
  const octets = new DataView(new ArrayBuffer(4));
  return readSync(fd, octets, 0, 4, 0) === 4 && octets.getUint32(0, true) === MAGIC;
}

function withFile(path: string, flags: number, use: (fd: number) => void): void {
  const fd = openSync(path, flags | constants.O_NOFOLLOW, PRIVATE_FILE);
  try {
    use(fd);
  } finally {
    closeSync(fd);
  }
}
