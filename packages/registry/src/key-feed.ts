/**
 * The key feed of a controller's nodes: all keys, by a walk through the index of its nodes, or the
 * changes since a cursor, from the tail of the audit log. The cost of an answer is proportional to
 * its content. This module has the pure part that all engines share.
 *
 *   cursor   0 | incarnation 27 | entry of the audit log 36     what changed after that entry
 *            1 | walk 31 | ID_i 32                              a walk goes on at that node
 */

import { feedEntryOf, FIRST_CURSOR, type KeyFeedEntry, type M13 } from '@latchkey/protocol';
import type { Keyring } from '@latchkey/keyring';
import type { TailEntry } from './audit-tail.js';
import { type NodeRow, type OrderRow, toNodeInfo, unsealNodeKey } from './model/rows.js';

/**
 * Entries of the audit log, or nodes, that one answer reads. At the bound the answer sets `more`.
 */
export const MAX_LOOKED_AT = 4_096;
/**
 * For so long an M12 with a smaller TID than that of the M12 that began a walk is taken for a copy
 * of an earlier one, in ms: none is in time for longer.
 */
const COPIES_COUNT_MS = 60_000;
/** Incarnations are random numbers from 1 to this: 27 bits of a cursor. */
export const MAX_INCARNATION: number = 2 ** 27 - 1;

export const START_OVER: M13 = { cursor: FIRST_CURSOR, more: true, entries: [] };

export interface KeyFeedQuestion {
  readonly idC: number;
  readonly tid: bigint;
  readonly cursor: bigint;
  readonly wallMs: number;
}

/** `behind`: this server has not yet read the entries that the cursor has seen. */
export type KeyFeedAnswer = M13 | 'behind';

export interface KeyFeed {
  /** The application roots are the caller's. Throws a Failure if a walk cannot be begun. */
  answer(question: KeyFeedQuestion): Promise<KeyFeedAnswer>;
}

/** A walk of a controller through its nodes. */
export interface WalkRow {
  /** Drawn at random: names the walk in cursors. */
  walk: number;
  /** TID of the M12 that began it, and when that was, ms since the epoch. */
  tid: string;
  at: number;
  /** The entry of the audit log after which changes are sent once the walk is over. */
  start: number;
  /** Set if only the nodes of this order are sent. */
  order?: number;
}

export type OrderEntry = Extract<TailEntry, { kind: 'order' }>;

/**
 * Returns the walk that an M12 begins or continues. Returns `undefined` for a copy of an earlier
 * M12, which must not end the walk.
 *
 * @param head of the audit log
 * @param order that appeared, whose nodes are sent; `undefined` sends all nodes of the controller
 * @param draw returns a random whole number from 0 to below `end`
 */
export function walkFor(
  { tid, wallMs }: KeyFeedQuestion,
  before: WalkRow | undefined,
  head: number,
  order: OrderEntry | undefined,
  draw: (end: number) => number,
): WalkRow | undefined {
  if (before !== undefined && Math.abs(wallMs - before.at) < COPIES_COUNT_MS) {
    const tidBefore = BigInt(`0x${before.tid}`);
    // A copy of the M12 that began the walk continues it; a copy of an earlier M12 must not end it.
    if (tidBefore >= tid) return tidBefore === tid ? before : undefined;
  }
  return {
    walk: draw(2 ** 31),
    tid: tid.toString(16),
    at: wallMs,
    start: order?.seq ?? head,
    ...(order === undefined ? {} : { order: order.order }),
  };
}

/** Whether a cursor is one of a walk. */
export function isOfWalk(cursor: bigint): boolean {
  return cursor >> 63n === 1n;
}

/** Returns the walk of a cursor, and the node at which it continues. */
export function walkOf(cursor: bigint): { readonly walk: number; readonly from: number } {
  return { walk: Number((cursor >> 32n) & 0x7fff_ffffn), from: Number(cursor & 0xffff_ffffn) };
}

export function walkCursor(walk: number, idI: number): bigint {
  return (1n << 63n) | (BigInt(walk) << 32n) | BigInt(idI);
}

/** Returns the incarnation of a cursor, and the entry after which changes are sent. */
export function positionOf(cursor: bigint): { readonly incarnation: number; readonly entry: number } {
  return { incarnation: Number(cursor >> 36n), entry: Number(cursor & 0xf_ffff_ffffn) };
}

export function changesCursor(incarnation: number, entry: number): bigint {
  return (BigInt(incarnation) << 36n) | BigInt(entry);
}

/**
 * Returns the number of entries that an answer scanned, from the cursor of its request to its own
 * cursor.
 */
export function entriesBetween(from: bigint, to: bigint): number {
  if (isOfWalk(from) || isOfWalk(to)) return 0;
  const [before, after] = [positionOf(from), positionOf(to)];
  return before.incarnation === after.incarnation ? Math.max(0, after.entry - before.entry) : 0;
}

/** Whether nodes of an order are there for anybody. */
export function isPublished(order: OrderRow | undefined): order is OrderRow {
  return order !== undefined && order.state !== 'pending';
}

/**
 * Returns the node whose change an entry reports to a controller, if any.
 *
 * @param isTheirs returns true if a node is the controller's, or was after the cursor's position
 */
export function nodeToldOf(entry: TailEntry, idC: number, isTheirs: (idI: number) => boolean): number | undefined {
  switch (entry.kind) {
    case 'commit':
      return entry.controller === idC ? entry.node : undefined;
    case 'node':
      return isTheirs(entry.node) ? entry.node : undefined;
    case 'order':
    case 'other':
      return undefined;
  }
}

/** Builds the entry of a node, also of one that was removed or moved to another controller. */
export function describeKey(
  keyring: Keyring,
  idI: number,
  { row, order }: { readonly row: NodeRow | undefined; readonly order: OrderRow | undefined },
  { idC, wallMs }: KeyFeedQuestion,
  tid: bigint,
): KeyFeedEntry {
  if (row === undefined || !isPublished(order)) return feedEntryOf(idI, undefined, idC, tid, wallMs);
  const key = unsealNodeKey(keyring, idI, row);
  const entry = feedEntryOf(idI, { ...toNodeInfo(idI, row, order, undefined), key }, idC, tid, wallMs);
  key.wipe();
  return entry;
}
