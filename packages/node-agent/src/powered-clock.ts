/**
 * Powered time: ms that have passed for this node, by a clock that nobody sets and that goes on where it was after a restart.
 * A candidate's age is measured by it (profile, "Node", rule 4), so it may lag behind real time but never run ahead of it.
 */

import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';

/** What is kept of powered time on disk. */
export interface PoweredTime {
  readonly ms: number;
  /** The boot it was saved in, where the system tells boots apart. */
  readonly boot: string | undefined;
  /** The system's uptime at that moment, in ms. */
  readonly uptime_ms: number;
}

export class PoweredClock {
  readonly #boot: string | undefined = bootId();
  readonly #offset: number;

  /** Goes on from what was saved: in the same boot also the time between two runs counts. */
  constructor(saved: PoweredTime | undefined) {
    const sameBoot = saved?.boot !== undefined && saved.boot === this.#boot && saved.uptime_ms <= uptimeMs();
    this.#offset = (saved?.ms ?? 0) - (sameBoot ? saved.uptime_ms : uptimeMs());
  }

  now(): number {
    return Math.round(this.#offset + uptimeMs());
  }

  save(): PoweredTime {
    const uptime_ms = uptimeMs();
    return { ms: Math.round(this.#offset + uptime_ms), boot: this.#boot, uptime_ms };
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
