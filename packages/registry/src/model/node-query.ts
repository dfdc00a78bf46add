/** Which nodes are listed or counted, and how: the same questions to every storage engine. */

import type { NodeStatus } from './node-status.js';

/** All that is given must be true of a node. Times are ms since the epoch. */
export interface NodeFilter {
  /** One of these. */
  readonly states?: readonly NodeStatus[] | undefined;
  /** Of one of these orders. */
  readonly orders?: readonly number[] | undefined;
  /** Assigned to one of these controllers. */
  readonly controllers?: readonly number[] | undefined;
  /** Of its order. */
  readonly installer?: string | undefined;
  /** Whether it traded its initial key in. */
  readonly hasJoined?: boolean | undefined;
  readonly expiringBefore?: number | undefined;
  /** Its key expires then or later. */
  readonly expiringFrom?: number | undefined;
  /** Its latest join or renewal came then or later. */
  readonly joinedSince?: number | undefined;
  /** IDs between these two, themselves included. */
  readonly idRange?: readonly [first: number, last: number] | undefined;
  /** At one of these sites: its own, or its order's if it has none. */
  readonly sites?: readonly string[] | undefined;
  /** It has one of these. */
  readonly tags?: readonly string[] | undefined;
  /** Stands somewhere in its ID, site or description; capitals and small letters are alike. */
  readonly search?: string | undefined;
}

/** `joined_at`: when it traded its initial key in. */
export const NODE_SORT_KEYS = ['id', 'expires_at', 'joined_at'] as const;
type NodeSortKey = (typeof NODE_SORT_KEYS)[number];

/** Of nodes with the same value the lower ID is first. Those without a value come last. */
export interface NodeSort {
  readonly by: NodeSortKey;
  readonly descending?: boolean | undefined;
}

/** End of a page: the sort value of its last node, if it has one, and its ID. */
export interface NodeCursor {
  readonly value: number | null;
  readonly idI: number;
}

export interface NodeListQuery {
  readonly filter: NodeFilter;
  /** The time that states are judged by. */
  readonly now: number;
  /** By ID unless it is given. */
  readonly sort?: NodeSort | undefined;
  /** Begins after this. */
  readonly after?: NodeCursor | undefined;
  readonly limit: number;
  /** Whether all that match are counted, which may take longer than the page. */
  readonly counted?: boolean | undefined;
}

export interface NodeListPage {
  readonly ids: readonly number[];
  /** Cursor of the next page; `undefined` if none exists. */
  readonly next: NodeCursor | undefined;
  /** How many nodes match, on all pages; `undefined` unless it was asked for. */
  readonly total: number | undefined;
}

/** What nodes are counted by. A node without a site counts under `null`. */
export interface NodeGroups {
  readonly state: NodeStatus;
  readonly order: number;
  readonly controller: number;
  readonly site: string | null;
}

export interface NodeTally {
  nodes: number;
  /** Those that traded their initial key in. */
  joined: number;
}

/** Groups without nodes are left out. */
export type NodeCounts<G extends keyof NodeGroups> = ReadonlyMap<NodeGroups[G], Readonly<NodeTally>>;

/**
 * How many keys expire in each interval from one edge up to the next, which is not in it. The edges
 * ascend, and have one more element than there are intervals.
 */
export type ExpiryCounts = readonly number[];

/** Returns the interval between edges that has the value, or -1 if none has it. */
export function intervalOf(value: number, edges: readonly number[]): number {
  let [low, high] = [0, edges.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((edges[middle] ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low === edges.length ? -1 : low - 1;
}

/** Text as a search compares it. */
export function foldText(text: string): string {
  return text.toLowerCase().normalize('NFC');
}

/**
 * The value by which a node is sorted, so that all sorts ascend. `value`: of a node; `undefined`:
 * it has none.
 */
export function sortValue(value: number | undefined, { descending = false }: Pick<NodeSort, 'descending'>): number {
  if (value === undefined) return Infinity;
  return descending ? -value : value;
}

/** Whether a node with this sort value comes after the cursor. */
export function isAfterCursor(value: number, idI: number, cursor: NodeCursor, sort: Pick<NodeSort, 'descending'>): boolean {
  const last = sortValue(cursor.value ?? undefined, sort);
  return value > last || (value === last && idI > cursor.idI);
}
