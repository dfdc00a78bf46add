/** What must not stay where a signal ends a command in the middle of its work. */

import { rmSync } from 'node:fs';
import { constants } from 'node:os';
import { exitNow } from '../daemon/exit-now.js';

const TERMINATION_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const paths = new Set<string>();

/**
 * Removes `path`, a file or a folder, if a signal ends this process before the returned function
 * was called.
 */
export function removeOnSignal(path: string): () => void {
  if (paths.size === 0) for (const signal of TERMINATION_SIGNALS) process.on(signal, onSignal);
  paths.add(path);
  return () => {
    paths.delete(path);
    if (paths.size === 0) for (const signal of TERMINATION_SIGNALS) process.off(signal, onSignal);
  };
}

function onSignal(signal: NodeJS.Signals): void {
  // Another listener, such as a daemon's, stops the process itself and finishes pending writes.
  if (process.listenerCount(signal) > 1) return;
  for (const path of paths) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // The file stays, and the process ends nevertheless.
    }
  }
  for (const each of TERMINATION_SIGNALS) process.off(each, onSignal);
  // By the signal itself: a script that runs this command is to see that it was interrupted.
  process.kill(process.pid, signal);
  // A signal that the first process of a container sends to itself does not end it.
  exitNow(128 + constants.signals[signal]);
}
