/**
 * Recent initial keys of each ID. If an administrator reissues one of them to that ID, an M7 from
 * the key's earlier use may still arrive. The row of the node stores that time (protocol,
 * `reissuedAt`). `remove` deletes the row with its key, so recent keys are stored here, by the
 * key's identity.
 *
 * An entry is needed for `INITIAL_KEY_RETENTION_MS` only, even if the clock steps in that time.
 * After a step forward an old M7 is outside the window for its TS. After a step back no M7 from
 * before the step is committed at all (protocol, clock-history).
 */

import { INITIAL_KEY_RETENTION_MS } from '@latchkey/protocol';

/**
 * Maximum of keys of one ID. At the bound the two oldest become one entry, which matches any key.
 */
const MAX_PER_ID = 8;
/** In place of an identity: any key. */
const ANY = new Uint8Array(0);

/**
 * An initial key that an ID had, by its identity, and until when: ms since the epoch, by the
 * servers' clock.
 */
export interface RecentInitialKey {
  readonly ik: Uint8Array;
  readonly until: number;
}

/**
 * Returns true if one of these is the key `ik`, or may be it. `at`: the time by the servers' clock.
 */
export function hadInitialKey(keys: readonly RecentInitialKey[], ik: Uint8Array, at: number): boolean {
  return stillRecent(keys, at).some((key) => key.ik.length === 0 || isSame(key.ik, ik));
}

/** What is remembered of an ID that has the key `ik` until now. */
export function rememberInitialKey(keys: readonly RecentInitialKey[], ik: Uint8Array, at: number): readonly RecentInitialKey[] {
  const others = stillRecent(keys, at).filter((other) => !isSame(other.ik, ik));
  const [oldest, next] = others;
  if (others.length >= MAX_PER_ID && oldest !== undefined && next !== undefined)
    others.splice(0, 2, { ik: ANY, until: Math.max(oldest.until, next.until) });
  return [...others, { ik, until: at }];
}

/** An entry far in the future is from before a backward step of the clock. */
export function stillRecent(keys: readonly RecentInitialKey[], at: number): RecentInitialKey[] {
  return keys.filter(({ until }) => Math.abs(at - until) <= INITIAL_KEY_RETENTION_MS);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
