/**
 * Powered time: ms of operation of this node, by a clock that no user sets and that continues after
 * a restart. A candidate's age is measured by it (profile, "Node", rule 4), so it may lag behind
 * real time but never run ahead of it. Boots are counted too: before each one any time may have
 * passed, which powered time lacks. Boots count for the renewal of a key, never for the age of a
 * candidate.
 */

import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import type { NodeClocks } from '@latchkey/protocol';

/** Powered time as stored on the disk. */
export interface SavedUptime {
  readonly ms: number;
  /** The boot in which it was saved, if the system identifies boots. */
  readonly boot: string | undefined;
  /** The system's uptime at that moment, in ms. */
  readonly uptime_ms: number;
  /** Boots of this node. If the system does not identify boots, each start counts as one. */
  readonly boots: number;
}

export class CumulativeUptime {
  readonly #boot: string | undefined = bootId();
  readonly #offset: number;
  /** Boots this node has seen, this one included. */
  readonly boots: number;

  /** Continues from the saved time. In the same boot, the time between two runs counts too. */
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
