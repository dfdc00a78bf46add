/**
 * Keeps a daemon's own memory under what it may have: what is resident, but for files that are mapped, as a store of a million nodes is; the kernel takes
 * those back as it likes. What it remembers has bounds of its own, which come to less; the rest is
 * garbage that V8 lets lie for speed, up to several times what is alive. From half of what it may have on, V8 is told to save memory
 * rather than time: that costs about a third of the throughput, and only then.
 */

import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { Log } from './log.js';

const LOOK_EVERY_MS = 500;
const MIB = 1024 * 1024;
const THRIFTY_FROM = 0.5;
const GENEROUS_BELOW = 0.4;

/** MiB that a daemon may have resident, unless told otherwise. */
export const DEFAULT_MEMORY = 256;
/** A daemon that has done nothing yet has 80. */
export const LEAST_MEMORY = 128;

/** @returns a function that stops watching */
export function watchMemory(capMib: number, log: Log): () => void {
  let thrifty = false;
  let told = false;
  const timer = setInterval(() => {
    const part = ownMemory() / MIB / capMib;
    if (thrifty ? part < GENEROUS_BELOW : part > THRIFTY_FROM) {
      thrifty = !thrifty;
      // Read by V8 at each collection: one of the few flags that may change while it runs.
      setFlagsFromString(thrifty ? '--optimize-for-size' : '--no-optimize-for-size');
    }
    if (part > 1 && !told) {
      told = true;
      log.warn({ memory: capMib, rss: Math.round(part * capMib) }, 'more memory is in use than configured, in MiB');
    }
  }, LOOK_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** RssAnon of proc_pid_status(5). Elsewhere than on Linux all that is resident counts. */
function ownMemory(): number {
  try {
    const match = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (match !== null) return Number(match[1]) * 1024;
  } catch {
    // No /proc.
  }
  return process.memoryUsage.rss();
}
