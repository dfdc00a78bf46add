/**
 * Lock for Linux systems without the native module (musl, rarer processors): a socket in the
 * abstract namespace (unix(7)), named after the lock file's device and inode. One process at a time
 * can bind the name, and the kernel frees it when that process ends. Compared with a file lock it
 * has two limits. It holds within one network namespace only, and any user of the machine can bind
 * the name first, so that nobody gets the lock.
 */

import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import { createServer } from 'node:net';
import { systemCode } from '../failure.js';

export interface SocketLock {
  release(): Promise<void>;
}

/** `undefined` where another has it. */
export async function lockWithSocket(file: FileHandle): Promise<SocketLock | undefined> {
  const { dev, ino } = await file.stat({ bigint: true });
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen({ path: `\0latchkey-${dev}-${ino}`, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    if (systemCode(error) === 'EADDRINUSE') return undefined;
    throw error;
  }
  server.unref();
  return {
    async release() {
      server.close();
      await once(server, 'close');
    },
  };
}
