/**
 * The file of a unix socket: one that is left over makes room, one that somebody listens on does
 * not.
 */

import { chmod, lstat, stat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { type Failure, systemCode, UsageFailure } from '../failure.js';

/** Owner and group may connect. */
const SOCKET_MODE = 0o660;

/** Makes a Failure of a system error, with advice that names the setting. */
type ToFailure = (error: unknown) => Failure;

/**
 * Removes a socket at `path` that nobody listens on. Throws where somebody does, where it is no
 * socket, or where no folder is there for it.
 */
export async function removeStaleSocket(path: string, toFailure: ToFailure): Promise<void> {
  await assertFolderExists(path, toFailure);
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
async function assertFolderExists(path: string, toFailure: ToFailure): Promise<void> {
  await stat(dirname(path)).catch((error: unknown) => {
    if (systemCode(error) !== 'ENOENT') throw toFailure(error);
    throw new UsageFailure(`cannot listen on ${path}: the folder ${dirname(path)} is not there`, {
      advice: 'Make it, for the user that the daemon runs as, or choose another path.',
    });
  });
}

/**
 * Its file was made for the owner alone, by the umask of every command; from here on the group may
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
      if (systemCode(error) === 'ECONNREFUSED') resolve(false);
      else reject(error);
    });
  });
}
