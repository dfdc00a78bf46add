/** How far a controller followed the key feed, and how its store has that. */

import { FIRST_CURSOR } from '@latchkey/protocol';

export interface FeedProgress {
  /** Where to go on. */
  readonly cursor: bigint;
  /** When the registry last confirmed all keys, ms since the epoch; unset from a start on. */
  readonly confirmedAt: number | undefined;
}

export interface FeedRow {
  cursor: string;
  confirmedAt?: number;
}

export function fromFeedRow(row: FeedRow | undefined): FeedProgress {
  return { cursor: row === undefined ? FIRST_CURSOR : BigInt(`0x${row.cursor}`), confirmedAt: row?.confirmedAt };
}

export function toFeedRow({ cursor, confirmedAt }: FeedProgress): FeedRow {
  return { cursor: cursor.toString(16), ...(confirmedAt === undefined ? {} : { confirmedAt }) };
}
