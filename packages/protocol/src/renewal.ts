/**
 * When a node renews its key: a pure function of what it stored with the key and of its clocks
 * (docs/decisions/0015).
 *
 * A device may have no clock that is right, and may lose its power at any moment. Neither of its
 * clocks is then enough: the wall clock may show any time, and powered time lacks the time the
 * device was off and the run time that no write saved. Boots are the third measure. Each boot
 * counts for a share of the delay, which is never less than the run time that the boot before could
 * have lost.
 */

import { RENEWAL } from './constants.js';

/** A renewal is due at a uniformly random boot between these, even if no time has passed. */
const BOOTS = { from: 4, to: 8 } as const;
/** Powered time is saved this often at least while a key waits for its renewal, in ms. */
const MAX_SAVE_INTERVAL_MS = 3_600_000;

/**
 * Time at which a key is due, chosen at random when it is confirmed. Nodes that joined, or were
 * switched on, together therefore do not renew together.
 */
export interface Renewal {
  /** Time after the confirmation, in ms. */
  readonly afterMs: number;
  /** Boots after the confirmation. */
  readonly afterBoots: number;
}

/** A node's clocks at one moment. */
export interface NodeClocks {
  /** The wall clock, ms since the epoch. It may show any time. */
  readonly wallMs: number;
  /** Powered time, in ms: never ahead of real time. */
  readonly poweredMs: number;
  /** The boots that this node has seen. */
  readonly boots: number;
}

/** What a node stored as it confirmed its key: its clocks, and when it renews. */
export interface Confirmation {
  /** By the wall clock, ms since the epoch. */
  readonly at: number;
  /** By powered time, in ms. */
  readonly poweredAt: number;
  readonly boots: number;
  /** `undefined` if the key does not expire. */
  readonly renewal: Renewal | undefined;
}

/**
 * Chooses when a key is renewed. Returns `undefined` if it does not expire.
 *
 * @param lifetime seconds, 0 = no expiry
 * @param uniform returns random numbers from [0, 1)
 */
export function scheduleRenewal(lifetime: number, uniform: () => number): Renewal | undefined {
  if (lifetime === 0) return undefined;
  const afterMs = Math.round(lifetime * 1000 * (RENEWAL.from + (RENEWAL.to - RENEWAL.from) * uniform()));
  const afterBoots = BOOTS.from + Math.floor((BOOTS.to - BOOTS.from + 1) * uniform());
  return { afterMs, afterBoots };
}

/**
 * Returns the time until a key is due in ms, negative once it is overdue, or `Infinity` if it never
 * is.
 */
export function msUntilRenewal({ at, poweredAt, boots, renewal }: Confirmation, now: NodeClocks): number {
  if (renewal === undefined) return Infinity;
  const elapsedMs = now.poweredMs - poweredAt + (now.boots - boots) * msPerBoot(renewal);
  return renewal.afterMs - Math.max(elapsedMs, now.wallMs - at);
}

/**
 * Returns how often powered time must be saved while a key waits for its renewal, in ms. A boot
 * counts for at least as much, so that powered time and boots together are never behind the time
 * for which the node ran.
 */
export function saveIntervalMs(renewal: Renewal): number {
  return Math.min(MAX_SAVE_INTERVAL_MS, msPerBoot(renewal));
}

/**
 * Returns the time that one boot counts for, in ms. Rounded up, so that the last boot is not a
 * millisecond short.
 */
function msPerBoot({ afterMs, afterBoots }: Renewal): number {
  return Math.ceil(afterMs / afterBoots);
}
