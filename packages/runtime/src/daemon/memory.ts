/**
 * Keeps a daemon's anonymous resident memory below `memory:`. Mapped files, such as the store of a
 * million nodes, are not counted, because the kernel can reclaim them. The data of a daemon has
 * bounds, which add up to less than `memory:`. The rest is garbage: V8 lets it grow to several
 * times the live data. Above one quarter of `memory:`, V8 is set to collect garbage more often,
 * which costs little. Above three quarters, V8 is set to favour memory over speed, which halves the
 * throughput.
 */

import { closeSync, openSync, readSync } from 'node:fs';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { repeat } from './housekeeping.js';
import type { Log } from './log.js';

const POLL_INTERVAL_MS = 500;
const MIB = 1024 * 1024;
/**
 * Fractions of `memory:`, and the V8 flags that apply from there on. V8 reads these flags at each
 * garbage collection; most other flags cannot change at run time.
 */
const PRESSURE_LEVELS: readonly PressureLevel[] = [
  { enterAt: 0.25, leaveAt: 0.15, on: '--heap-growing-percent=30', off: '--heap-growing-percent=0' },
  { enterAt: 0.75, leaveAt: 0.55, on: '--optimize-for-size', off: '--no-optimize-for-size' },
];

interface PressureLevel {
  readonly enterAt: number;
  readonly leaveAt: number;
  readonly on: string;
  readonly off: string;
}

/**
 * - Disables pretenuring. If objects from one place in the code lived long, V8 allocates later ones
 *   from there directly in the old space. After many concurrent requests that would be all objects
 *   of a request. A dead object in the old space keeps alive what it references until the next full
 *   garbage collection.
 * - Young garbage is collected by one thread. V8 would start one for each core. Few young objects
 *   live on, so that the threads take more time to share the work than the work takes. They spin as
 *   long as another program has the core of one of them.
 */
const STARTUP_FLAGS = '--no-allocation-site-pretenuring --no-parallel-scavenge';

/** The default of `memory:`, in MiB. */
export const DEFAULT_MEMORY = 256;
/** The least that `memory:` may be, in MiB. An idle daemon uses 80. */
export const MIN_MEMORY = 128;

/** Starts to measure memory every half second. Returns a function that stops it. */
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
 * Reads RssAnon of proc_pid_status(5). The file stays open: it could not be opened again when the
 * process has no free file descriptor, and `process.memoryUsage` would throw. Without /proc, the
 * size of V8's heap is used instead.
 */
class MemoryGauge {
  readonly #status: number | undefined = openStatus();
  readonly #text = Buffer.alloc(STATUS_OCTETS);

  /** Returns octets. */
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
