/**
 * Powered time: ms that have passed for this node, by a clock that nobody sets and that goes on
 * where it was after a restart. A candidate's age is measured by it (profile, "Node", rule 4), so
 * it may lag behind real time but never run ahead of it. Boots are counted with it: each may have
 * come after any time, which powered time lacks. They count for the renewal of a key, never for the
 * age of a candidate.
 */

import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import type { NodeClocks } from '@latchkey/protocol';

/** What is kept of powered time on disk. */
export interface SavedUptime {
  readonly ms: number;
  /** The boot it was saved in, where the system tells boots apart. */
  readonly boot: string | undefined;
  /** The system's uptime at that moment, in ms. */
  readonly uptime_ms: number;
  /**
   * Boots this node has seen; where the system does not tell them apart, each start counts as one.
   */
  readonly boots: number;
}

export class CumulativeUptime {
  readonly #boot: string | undefined = bootId();
  readonly #offset: number;
  /** Boots this node has seen, this one included. */
  readonly boots: number;

  /** Goes on from what was saved: in the same boot also the time between two runs counts. */
  constructor(saved: SavedUptime | undefined) {
    const sameBoot = saved?.boot !== undefined && saved.boot === this.#boot && saved.uptime_ms <= uptimeMs();
    this.#offset = (saved?.ms ?? 0) - (sameBoot ? saved.uptime_ms : uptimeMs());
    this.boots = (saved?.boots ?? 0) + (sameBoot ? 0 : 1);
  }

  clocks(): NodeClocks {
    return { wallMs: Date.now(), poweredMs: this.now(), boots: this.boots };
  }

  now(): number {
    return Math.round(this.#offset + uptimeMs());
  }

  save(): SavedUptime {
    const uptime_ms = uptimeMs();
    return { ms: Math.round(this.#offset + uptime_ms), boot: this.#boot, uptime_ms, boots: this.boots };
  }
}

/** Since the system was booted, by a clock that counts suspended time too, in ms. */
function uptimeMs(): number {
  return Math.round(uptime() * 1000);
}

function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}
