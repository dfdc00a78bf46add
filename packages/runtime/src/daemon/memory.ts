/**
 * Keeps a daemon's own memory under what it may have: what is resident, but for files that are
 * mapped, as a store of a million nodes is; the kernel takes those back as it likes. What it
 * remembers has bounds of its own, which come to less; the rest is garbage that V8 lets lie for
 * speed, up to several times what is alive. From half of what it may have on, V8 is told to let
 * less of it lie, which costs next to nothing; from three quarters on to save memory wherever it
 * can rather than time, which costs half of the throughput.
 */

import { closeSync, openSync, readSync } from 'node:fs';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { repeat } from './housekeeping.js';
import type { Log } from './log.js';

const POLL_INTERVAL_MS = 500;
const MIB = 1024 * 1024;
/**
 * Parts of what it may have. Flags of V8 that it reads at each collection: few may change while it
 * runs.
 */
const PRESSURE_LEVELS: readonly PressureLevel[] = [
  { enterAt: 0.5, leaveAt: 0.3, on: '--heap-growing-percent=30', off: '--heap-growing-percent=0' },
  { enterAt: 0.75, leaveAt: 0.55, on: '--optimize-for-size', off: '--no-optimize-for-size' },
];

interface PressureLevel {
  readonly enterAt: number;
  readonly leaveAt: number;
  readonly on: string;
  readonly off: string;
}

/**
 * V8 allocates straight in the old space what it has seen to live long, by the place in the code
 * that made it: here all that hangs on requests, once many of them were under way together. What is
 * dead there keeps alive what it points to until the next full collection, and so on.
 */
const STARTUP_FLAGS = '--no-allocation-site-pretenuring';

/** MiB that a daemon may have resident, unless told otherwise. */
export const DEFAULT_MEMORY = 256;
/** A daemon that has done nothing yet has 80. */
export const MIN_MEMORY = 128;

/** @returns a function that stops watching */
export function limitMemory(limitMib: number, log: Log): () => void {
  setFlagsFromString(STARTUP_FLAGS);
  const gauge = new MemoryGauge();
  const active = new Set<PressureLevel>();
  let warned = false;
  const look = (): void => {
    const ratio = gauge.read() / MIB / limitMib;
    for (const level of PRESSURE_LEVELS) {
      if (active.has(level) ? ratio >= level.leaveAt : ratio <= level.enterAt) continue;
      setFlagsFromString(active.has(level) ? level.off : level.on);
      if (!active.delete(level)) active.add(level);
    }
    if (ratio > 1 && !warned) {
      warned = true;
      log.warn({ memory: limitMib, rss: Math.round(ratio * limitMib) }, 'more memory is in use than configured, in MiB');
    }
  };
  const stop = repeat({ what: 'to measure memory', everyMs: POLL_INTERVAL_MS, log, action: look });
  return () => {
    stop();
    gauge.close();
  };
}

const STATUS_OCTETS = 4_096;

/**
 * RssAnon of proc_pid_status(5), from a file that stays open: without a free file descriptor it
 * could not be opened again, and what Node.js has for it would throw. Without /proc it is what V8
 * tells of its heap.
 */
class MemoryGauge {
  readonly #status: number | undefined = openStatus();
  readonly #text = Buffer.alloc(STATUS_OCTETS);

  /** In octets. */
  read(): number {
    if (this.#status === undefined) return heapOctets();
    const length = readSync(this.#status, this.#text, 0, STATUS_OCTETS, 0);
    const match = /^RssAnon:\s+(\d+) kB$/m.exec(this.#text.toString('latin1', 0, length));
    return match === null ? heapOctets() : Number(match[1]) * 1024;
  }

  close(): void {
    if (this.#status !== undefined) closeSync(this.#status);
  }
}

function openStatus(): number | undefined {
  try {
    return openSync('/proc/self/status', 'r');
  } catch {
    // There is no /proc.
    return undefined;
  }
}

function heapOctets(): number {
  const { total_physical_size: heap, malloced_memory: malloced, external_memory: external } = getHeapStatistics();
  return heap + malloced + external;
}
