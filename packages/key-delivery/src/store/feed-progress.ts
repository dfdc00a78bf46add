/** How far a controller followed the key feed, and how its store has that. */

import { FIRST_CURSOR } from '@latchkey/protocol';

export interface FeedProgress {
  /** Cursor of the next request. */
  readonly cursor: bigint;
  /** When the registry last confirmed all keys, ms since the epoch; unset from a start on. */
  readonly confirmedAt: number | undefined;
  /**
   * Run time of the controller since then, in ms. It is stored for `max_unverified:`, across
   * restarts. 0 or unset once the registry has confirmed all keys again.
   */
  readonly unverifiedMs?: number;
  /** No key is given out: `max_unverified:` is over. */
  readonly isWithdrawn?: boolean;
}

export interface FeedRow {
  cursor: string;
  confirmedAt?: number;
  unverifiedMs?: number;
  isWithdrawn?: true;
}

export function fromFeedRow(row: FeedRow | undefined): FeedProgress {
  return {
    cursor: row === undefined ? FIRST_CURSOR : BigInt(`0x${row.cursor}`),
    confirmedAt: row?.confirmedAt,
    unverifiedMs: row?.unverifiedMs ?? 0,
    isWithdrawn: row?.isWithdrawn ?? false,
  };
}

export function toFeedRow({ cursor, confirmedAt, unverifiedMs = 0, isWithdrawn = false }: FeedProgress): FeedRow {
  return {
    cursor: cursor.toString(16),
    ...(confirmedAt === undefined ? {} : { confirmedAt }),
    ...(unverifiedMs === 0 ? {} : { unverifiedMs }),
    ...(isWithdrawn ? { isWithdrawn } : {}),
  };
}
