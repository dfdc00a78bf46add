/**
 * Since when and until when a node's keys are good, by clocks that may be wrong: the key that it
 * has, and the one before.
 */

import { type Confirmation, deriveApplicationRoot, type NodeClocks, type NodeState, type Secret } from '@latchkey/protocol';

/** A key that M6 confirmed. */
export interface KeyLease extends Confirmation {
  /** When the initial key was traded in, by the wall clock, ms since the epoch. */
  readonly joinedAt: number;
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
}

/** What is left of the former key: its application root. Its PSK is erased. */
export interface FormerKey {
  readonly applicationRoot: Secret;
  /** When another key took its place. */
  readonly replacedAt: NodeClocks;
  /** Its expiry, ms since the epoch, if it had one. */
  readonly expiresAt: number | undefined;
}

/** Both times as stored in a node's file. */
interface KeyTimes {
  readonly keyLease: KeyLease | undefined;
  readonly formerKey?: FormerKey | undefined;
}

/** The wall clock and powered time differ by more only if the wall clock was set, in ms. */
const CLOCK_STEP_MS = 60_000;
/**
 * As long as a controller keeps a former key unless configured otherwise (`key_overlap`), in ms.
 */
const FORMER_KEY_MS = 900_000;

/**
 * Returns when the key was confirmed, in ms since the epoch of the wall clock as it is now. If that
 * clock was set since, the time stored with the key is wrong by as much. Within one boot powered
 * time shows that. After another boot it lacks the time that the device was off, and only shows
 * that the clock was set back.
 */
export function confirmedAt({ at, poweredAt, boots }: KeyLease, now: NodeClocks): number {
  const setAheadMs = now.wallMs - at - (now.poweredMs - poweredAt);
  const wasSet = now.boots === boots ? Math.abs(setAheadMs) > CLOCK_STEP_MS : setAheadMs < -CLOCK_STEP_MS;
  return wasSet ? at + setAheadMs : at;
}

/**
 * Returns when the confirmed key expires, in ms since the epoch, or `undefined` if it does not, or
 * the node has not joined.
 */
export function expiryOf({ keyLease }: Pick<KeyTimes, 'keyLease'>, now: NodeClocks): number | undefined {
  if (keyLease === undefined || keyLease.lifetime === 0) return undefined;
  return confirmedAt(keyLease, now) + 1000 * keyLease.lifetime;
}

/**
 * Returns the lease of a candidate that becomes the confirmed key without an M6. It begins when the
 * candidate was stored, which is before the auth-server committed it. The lifetime of the key
 * before counts, as only an M6 brings another.
 */
export function leaseOfPromoted(
  { keyLease, state }: KeyTimes & { readonly state: NodeState },
  psk: Secret,
): KeyLease | undefined {
  const clocks = state.candidates.find((candidate) => candidate.psk === psk)?.clocks;
  if (keyLease === undefined || clocks === undefined) return keyLease;
  return { ...keyLease, at: clocks.wallMs, poweredAt: clocks.poweredMs, boots: clocks.boots };
}

/**
 * Returns the confirmed key as the former one, when another replaces it. An initial key leaves no
 * former key, because no application key derives from it.
 */
export function formerKeyOf(record: KeyTimes & { readonly state: NodeState }, now: NodeClocks): FormerKey | undefined {
  const { idI, confirmed, initial } = record.state;
  if (initial) return undefined;
  return { applicationRoot: deriveApplicationRoot(confirmed, idI), replacedAt: now, expiresAt: expiryOf(record, now) };
}

/**
 * Returns the time since the former key was replaced, in ms. Powered time lacks the time without
 * power. After another boot the wall clock counts if it shows more.
 */
export function msSinceReplaced({ replacedAt }: FormerKey, now: NodeClocks): number {
  const poweredMs = now.poweredMs - replacedAt.poweredMs;
  return now.boots === replacedAt.boots ? poweredMs : Math.max(poweredMs, now.wallMs - replacedAt.wallMs);
}

/**
 * Returns when no peer uses the former key any more, in ms since the epoch of the wall clock as it
 * is now.
 */
export function endOf(former: FormerKey, now: NodeClocks): number {
  const { expiresAt = Infinity, replacedAt } = former;
  return now.wallMs + Math.min(FORMER_KEY_MS, expiresAt - replacedAt.wallMs) - msSinceReplaced(former, now);
}
