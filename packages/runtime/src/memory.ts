/**
 * Keeps a daemon's own memory under what it may have: what is resident, but for files that are mapped, as a store of a million nodes is; the kernel takes
 * those back as it likes. What it remembers has bounds of its own, which come to less; the rest is
 * garbage that V8 lets lie for speed, up to several times what is alive. From half of what it may have on, V8 is told to let less of it
 * lie, which costs next to nothing; from three quarters on to save memory wherever it can rather than time, which costs half of the
 * throughput.
 */

import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { Log } from './log.js';

const LOOK_EVERY_MS = 500;
const MIB = 1024 * 1024;
/** Parts of what it may have. Flags of V8 that it reads at each collection: few may change while it runs. */
const MEASURES: readonly Measure[] = [
  { from: 0.5, until: 0.3, on: '--heap-growing-percent=30', off: '--heap-growing-percent=0' },
  { from: 0.75, until: 0.55, on: '--optimize-for-size', off: '--no-optimize-for-size' },
];

interface Measure {
  readonly from: number;
  readonly until: number;
  readonly on: string;
  readonly off: string;
}

/**
 * V8 allocates straight in the old space what it has seen to live long, by the place in the code that made it: here all that hangs on requests, once many of
 * them were under way together. What is dead there keeps alive what it points to until the next full collection, and so on.
 */
const FROM_THE_START = '--no-allocation-site-pretenuring';

/** MiB that a daemon may have resident, unless told otherwise. */
export const DEFAULT_MEMORY = 256;
/** A daemon that has done nothing yet has 80. */
export const LEAST_MEMORY = 128;

/** @returns a function that stops watching */
export function watchMemory(capMib: number, log: Log): () => void {
  setFlagsFromString(FROM_THE_START);
  const taken = new Set<Measure>();
  let told = false;
  const timer = setInterval(() => {
    const part = ownMemory() / MIB / capMib;
    for (const measure of MEASURES) {
      if (taken.has(measure) ? part >= measure.until : part <= measure.from) continue;
      setFlagsFromString(taken.has(measure) ? measure.off : measure.on);
      if (!taken.delete(measure)) taken.add(measure);
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
