/** The end of a process that must not wait for anything. */

import { loadLibc } from '../files/libc.js';

/**
 * Ends the process with `code`, whatever it is in the middle of. `process.exit` would not: on its
 * way out LMDB waits for a write that waits for this thread, and the process would stay for good,
 * with the store locked; and Node.js waits for the look-up of a name. So it is libc's `_exit`, or
 * SIGKILL where that cannot be called. Log lines that wait are written before.
 */
export function exitNow(code: number): never {
  process.emit('exit', code);
  try {
    loadLibc().library.func('void _exit(int)')(code);
  } catch {
    // It cannot be called on this machine.
  }
  process.kill(process.pid, 'SIGKILL');
  // A signal that the first process of a container sends to itself does not end it.
  process.exit(code);
}
