/**
 * What joins and answers of the key feed make of the keys that a daemon has of its nodes,
 * wherever it keeps them.
 */

import { afterEntry, afterJoin, type JoinResult, type KeyFeedPage, NO_TID_COUNTS, type Secret } from '@latchkey/protocol';
import { receivedEntry, type SealedNodeKeys } from './node-key-rows.js';

/** The keys of all nodes, inside one write. */
export interface NodeKeyTable {
  get(idI: number): SealedNodeKeys | undefined;
  put(idI: number, before: SealedNodeKeys | undefined, after: SealedNodeKeys): void;
  /** Of all nodes. It may change while it is gone through. */
  ids(): Iterable<number>;
  seal(idI: number, applicationRoot: Secret): Uint8Array;
}

/** When this is, ms since the epoch, and for how long a generation that is replaced is served. */
type Now = Parameters<typeof afterEntry>[2];

/** Returns false if the join came too late to count. */
export function applyJoin(table: NodeKeyTable, joined: JoinResult, now: Now): boolean {
  const { idI, tid, ts, applicationRoot, keyId, lifetime } = joined;
  const before = table.get(idI);
  const joinedAt = Number(ts);
  const generation = {
    applicationRoot: table.seal(idI, applicationRoot),
    keyId,
    tid,
    joinedAt,
    expiresAt: lifetime === 0 ? undefined : joinedAt + 1000 * lifetime,
  };
  const after = afterJoin(before, generation, now);
  if (after === undefined) return false;
  table.put(idI, before, after);
  return true;
}

export function applyPage(table: NodeKeyTable, { entries, retains }: Pick<KeyFeedPage, 'entries' | 'retains'>, now: Now): void {
  for (const entry of entries) {
    const before = table.get(entry.idI);
    const received = receivedEntry(before, entry, now.wallMs, (root) => table.seal(entry.idI, root));
    if (received !== undefined) table.put(entry.idI, before, afterEntry(before, received, now));
  }
  if (retains === undefined) return;
  for (const idI of Array.from(table.ids())) {
    if (retains(idI)) continue;
    const before = table.get(idI);
    if (before !== undefined) table.put(idI, before, afterEntry(before, { state: 'removed', tid: NO_TID_COUNTS }, now));
  }
}
