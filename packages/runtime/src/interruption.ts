/** What must not stay where a signal ends a command in the middle of its work. */

import { rmSync } from 'node:fs';
import { constants } from 'node:os';
import { exitNow } from './exit-now.js';

const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const paths = new Set<string>();

/** Removes `path`, a file or a folder, if a signal ends this process before what is given back was called. */
export function removeIfInterrupted(path: string): () => void {
  if (paths.size === 0) for (const signal of ENDING) process.on(signal, end);
  paths.add(path);
  return () => {
    paths.delete(path);
    if (paths.size === 0) for (const signal of ENDING) process.off(signal, end);
  };
}

function end(signal: NodeJS.Signals): void {
  // Who listens too, as a daemon does, stops in its own way and finishes what it writes.
  if (process.listenerCount(signal) > 1) return;
  for (const path of paths) {
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // It stays, and the process ends all the same.
    }
  }
  for (const each of ENDING) process.off(each, end);
  // By the signal itself: a script that runs this command is to see that it was interrupted.
  process.kill(process.pid, signal);
  // The first process of a container does not die of its own signal.
  exitNow(128 + constants.signals[signal]);
}
