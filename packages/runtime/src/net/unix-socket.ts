/** The file of a unix socket: removes a stale one, and refuses one on which a process listens. */

import { chmod, lstat, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { formatCommandLine } from '../cli/advice.js';
import { type Failure, systemCode, UsageFailure } from '../failure.js';

/** Owner and group may connect. */
const SOCKET_MODE = 0o660;
const WORLD_WRITABLE = 0o002;
/** In such a folder only the owner of a file may remove it. */
const STICKY = 0o1000;
/** Errors of connect(2) for a socket whose queue is full, and for a datagram socket. */
const IN_USE: ReadonlySet<string | undefined> = new Set(['EAGAIN', 'EPROTOTYPE']);

/** Makes a Failure of a system error, with advice that names the setting. */
type ToFailure = (error: unknown) => Failure;

/**
 * Removes a stale socket at `path`. Throws if a process listens on it, if it is no socket, if its
 * folder does not exist, or if any user could replace it.
 */
export async function removeStaleSocket(path: string, toFailure: ToFailure): Promise<void> {
  await assertFolderFits(path, toFailure);
  try {
    if (!(await lstat(path)).isSocket())
      throw new UsageFailure(`${path} is there already, and is no socket`, {
        advice: 'Nothing was changed. Choose another path.',
      });
    if (await isInUse(path)) throw Object.assign(new Error('in use'), { code: 'EADDRINUSE' });
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw toFailure(error);
  }
}

/** Node.js says of a folder that is missing that permission is denied. */
async function assertFolderFits(path: string, toFailure: ToFailure): Promise<void> {
  const folder = dirname(path);
  const { mode } = await stat(folder).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw toFailure(error);
    throw new UsageFailure(`cannot listen on ${path}: the folder ${folder} is not there`, {
      advice: 'Make it, for the user that the daemon runs as, or choose another path.',
    });
  });
  if ((mode & WORLD_WRITABLE) === 0 || (mode & STICKY) !== 0) return;
  throw new UsageFailure(`cannot listen on ${path}: every user of this machine may write to the folder ${folder}`, {
    advice: `Whoever does could answer in its place. Run: ${formatCommandLine(['chmod', 'o-w', folder])}`,
  });
}

/**
 * The umask of every command creates the socket file for its owner only. From here on the group may
 * use it too.
 */
export function allowGroup(path: string): Promise<void> {
  return chmod(path, SOCKET_MODE);
}

function isInUse(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => {
      const code = systemCode(error);
      if (code === 'ECONNREFUSED') resolve(false);
      else if (IN_USE.has(code)) resolve(true);
      else reject(error);
    });
  });
}
