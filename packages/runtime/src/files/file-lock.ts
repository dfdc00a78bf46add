/**
 * A lock on an open file. The kernel releases it when the process ends in any way.
 */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Failure, systemCode } from '../failure.js';
import { lockWithSocket } from './socket-lock.js';

/**
 * The native part of `fs-native-extensions`: locks of the kernel on an open file (F_OFD_SETLK,
 * fcntl(2)).
 */
export interface NativeLocks {
  /**
   * Takes an advisory lock on `length` octets (0: to the end) of an open file without waiting;
   * throws EAGAIN where another has it.
   */
  tryLock(fd: number, offset: number, length: number, exclusive: boolean): void;
  unlock(fd: number, offset: number, length: number): void;
}

export interface FileLock {
  /** Closes the file with it. */
  release(): Promise<void>;
}

const LOCK_FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW;

/**
 * Opens a file for locks, by default one that may still have to be made. Follows no link: root has
 * locks in folders of daemons, and a daemon that was taken over would choose what root writes to.
 */
export async function openLockFile(path: string, { create = true }: { readonly create?: boolean } = {}): Promise<FileHandle> {
  const file = await open(path, create ? LOCK_FLAGS | constants.O_CREAT : LOCK_FLAGS, 0o600);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new Failure(`${path} is not a file`, { advice: 'Remove it.' });
}

/** The lock on an open file, which closes with it; `undefined` where another has it. */
export async function lockFile(file: FileHandle): Promise<FileLock | undefined> {
  const native = nativeLocks();
  if (native === undefined) {
    const socket = await lockWithSocket(file);
    if (socket === undefined) return undefined;
    return { release: () => socket.release().then(() => file.close()) };
  }
  try {
    native.tryLock(file.fd, 0, 0, true);
  } catch (error) {
    if (systemCode(error) === 'EAGAIN') return undefined;
    throw error;
  }
  return { release: () => file.close() };
}

let loaded: { readonly native: NativeLocks | undefined } | undefined;

/** `undefined` on musl, and on rarer processors. */
export function nativeLocks(): NativeLocks | undefined {
  loaded ??= { native: loadNative() };
  return loaded.native;
}

/**
 * Straight from its file: the package's own way there searches for it, which takes a device longer
 * than all else it locks.
 */
function loadNative(): NativeLocks | undefined {
  const { platform, arch } = process;
  try {
    const load = createRequire(import.meta.url);
    return load(`fs-native-extensions/prebuilds/${platform}-${arch}/fs-native-extensions.node`) as NativeLocks;
  } catch (error) {
    // It is built for glibc and for some processors.
    if (platform === 'linux') return undefined;
    throw error;
  }
}
