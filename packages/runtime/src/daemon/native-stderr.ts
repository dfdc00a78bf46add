/**
 * Keeps text that native libraries print with C's `stderr` from standard error. LMDB prints there
 * when a write fails, without an end of line, in between a daemon's log lines or a command's
 * output.
 *
 * C's `stderr` has no buffer by default. With a buffer, it writes nothing until the buffer is full,
 * it is flushed, or the process exits. Node.js writes to the descriptor directly, and flushes
 * `stderr` after warnings and fatal errors of its own, so its messages still appear.
 */

import { loadLibc } from '../files/libc.js';

/** LMDB's words about one failed write are some 100 octets. */
const ROOM = 64 * 1024;
/** Of setvbuf(3): a buffer that is written when it is full. */
const FULL = 0;

let drop: (() => void) | undefined;

/** From here on holds what native code prints to standard error. Without koffi it does nothing. */
export function holdNativeWords(): void {
  if (drop !== undefined) return;
  try {
    const { library, pointer, allocate } = loadLibc();
    const stderr = pointer('stderr');
    const [lock, purge, unlock] = ['flockfile', '__fpurge', 'funlockfile'].map((name) => library.func(`void ${name}(void *)`));
    library.func('int setvbuf(void *, void *, int, size_t)')(stderr, allocate(ROOM), FULL, ROOM);
    // Another thread may be printing.
    drop = () => {
      lock?.(stderr);
      purge?.(stderr);
      unlock?.(stderr);
    };
    process.on('exit', drop);
  } catch {
    drop = () => undefined;
  }
}

/** Discards the buffered text, once the caller has reported the failure itself. */
export function dropNativeWords(): void {
  drop?.();
}
