/**
 * Former assignments of a node to controllers: which of them a changed row of the node changes.
 * Pure: every storage engine applies the result with the rows that it writes.
 */

import type { AuditEvent } from '../audit-chain.js';
import type { Listed } from '../listing.js';
import type { NodeRow } from './rows.js';

/** Former assignment of a node to a controller that it was assigned to, or joined through. */
export interface FormerAssignment {
  /** The entry of the audit log with which the node ceased to be its. */
  readonly until?: number;
  /** TID of the node's latest commit through it, where the node's own row has it no longer. */
  readonly tid?: string;
}

/** A node in the index of nodes by controller, and its order. */
export interface AssignedNode {
  readonly idI: number;
  readonly order: number;
}

/** Which nodes each controller has, and had. */
export interface AssignmentTable {
  /** In ascending order of ID, from `from` on, also nodes of orders that are not finished. */
  nodesOf(idC: number, from?: number): Listed<AssignedNode>;
  former(idI: number, idC: number): FormerAssignment | undefined | Promise<FormerAssignment | undefined>;
}

/**
 * Returns the former assignments that a change of a node's row adds, by controller. A join adds
 * none.
 *
 * @param after `undefined` if the node is removed
 * @param entry of the change in the audit log
 */
export function formerAssignments(
  before: NodeRow,
  after: NodeRow | undefined,
  entry: number,
): readonly (readonly [idC: number, added: FormerAssignment])[] {
  const { controller, committed } = before;
  const leaves = after?.controller !== controller;
  const added: (readonly [number, FormerAssignment])[] = leaves ? [[controller, { until: entry }]] : [];
  // A reset forgets the commit, and another controller's replaces it.
  if (committed !== undefined && (leaves || after.committed === undefined)) added.push([committed.idC, { tid: committed.tid }]);
  return added;
}

/** TID of the node's latest commit through controller `idC`, 0 if there was none. */
export function latestTid(row: NodeRow | undefined, former: FormerAssignment | undefined, idC: number): bigint {
  const tid = row?.committed?.idC === idC ? row.committed.tid : former?.tid;
  return tid === undefined ? 0n : BigInt(`0x${tid}`);
}

/**
 * Returns the entry number of each node, for the entries of one write.
 *
 * @param last the number of the last of them
 */
export function entriesByNode(events: readonly AuditEvent[], last: number): ReadonlyMap<number, number> {
  const entries = new Map<number, number>();
  for (const [i, { node }] of events.entries()) if (node !== undefined) entries.set(node, last - (events.length - 1 - i));
  return entries;
}
