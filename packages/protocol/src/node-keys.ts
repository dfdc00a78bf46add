/**
 * The keys of one node that a controller gives out, from joins in order of arrival and from entries
 * of the key feed. `R` is the application root as stored, sealed or not.
 */

import type { KeyFeedState } from './key-feed-messages.js';

/** Stored former generations of one node's key. */
const MAX_FORMER = 4;
/**
 * For so long it stays known that a node is not this controller's, in ms. A late M8 is no older.
 */
export const TOMBSTONE_MS = 60_000;

/** One generation of a node's key. Times are ms since the epoch. */
export interface StoredGeneration<R> {
  readonly keyId: string;
  readonly applicationRoot: R;
  readonly tid: bigint;
  readonly joinedAt: number;
  /** `undefined`: never. */
  readonly expiresAt: number | undefined;
}

/** One that was replaced and is served until then. */
export interface StoredFormerGeneration<R> extends StoredGeneration<R> {
  readonly until: number;
}

export interface StoredNodeKeys<R> {
  readonly state: KeyFeedState;
  /** TID of the entry that was applied last; -1: none was. */
  readonly entryTid: bigint;
  readonly current: StoredGeneration<R> | undefined;
  /** Newest first. */
  readonly former: readonly StoredFormerGeneration<R>[];
  /** When the state was last set, ms since the epoch. */
  readonly stateAt: number;
}

/** An entry of the feed, with its application root as stored. */
export type ReceivedEntry<R> =
  | { readonly state: 'current'; readonly tid: bigint; readonly generation: StoredGeneration<R> }
  | { readonly state: Exclude<KeyFeedState, 'current'>; readonly tid: bigint };

/** When a generation is replaced now, and for how long it is served after that, in ms. */
export interface Replacement {
  readonly wallMs: number;
  readonly overlapMs: number;
}

/**
 * What becomes of a node whose M8 or M11 arrived. `undefined`: the join is late, and the key is not
 * given out.
 */
export function afterJoin<R>(
  before: StoredNodeKeys<R> | undefined,
  generation: StoredGeneration<R>,
  now: Replacement,
): StoredNodeKeys<R> | undefined {
  if (before !== undefined && (generation.tid <= before.entryTid || generation.tid <= (before.current?.tid ?? -1n)))
    return undefined;
  return withCurrent(before, generation, before?.entryTid ?? -1n, now);
}

/** Applies an entry of the feed to a node. */
export function afterEntry<R>(
  before: StoredNodeKeys<R> | undefined,
  entry: ReceivedEntry<R>,
  now: Replacement,
): StoredNodeKeys<R> {
  if (entry.state === 'current') return withCurrent(before, entry.generation, entry.tid, now);
  const stateAt = before?.state === entry.state ? before.stateAt : now.wallMs;
  return { state: entry.state, entryTid: entry.tid, current: undefined, former: [], stateAt };
}

/** Returns true if nothing about the node needs to be stored any more. */
export function isForgettable({ state, stateAt }: Pick<StoredNodeKeys<unknown>, 'state' | 'stateAt'>, wallMs: number): boolean {
  // A clock that was set back makes it a tombstone for longer, never for less.
  return (state === 'removed' || state === 'moved') && wallMs - stateAt >= TOMBSTONE_MS;
}

function withCurrent<R>(
  before: StoredNodeKeys<R> | undefined,
  generation: StoredGeneration<R>,
  entryTid: bigint,
  { wallMs, overlapMs }: Replacement,
): StoredNodeKeys<R> {
  const replaced = before?.current;
  const isSame = replaced?.keyId === generation.keyId;
  const stateAt = before?.state === 'current' ? before.stateAt : wallMs;
  const former = [
    ...(replaced === undefined || isSame ? [] : [{ ...replaced, until: wallMs + overlapMs }]),
    ...(before?.former ?? []),
  ].filter(
    ({ keyId, until, expiresAt = Infinity }) =>
      // Of two generations with one key ID the current one counts.
      keyId !== generation.keyId && Math.min(until, expiresAt) > wallMs,
  );
  const current = isSame ? { ...generation, joinedAt: replaced.joinedAt } : generation;
  return { state: 'current', entryTid, current, former: former.slice(0, MAX_FORMER), stateAt };
}
