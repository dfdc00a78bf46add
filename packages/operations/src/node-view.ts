/** How a node looks to the administrator. */

import { expiryOf, formatId, formatTid } from '@latchkey/protocol';
import { formatNid } from '@latchkey/runtime/net';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type NodeDescription, type NodeInfo, nodeState, renewalDue, type UnsealedNode } from '@latchkey/registry';
import type { NodeView } from './contract/nodes.js';
import { viewDescription } from './descriptions.js';
import type { VisibleOrders } from './visibility.js';

/** Whether a node should have renewed its key by now. */
export function isLate(node: Pick<NodeInfo, 'committed' | 'disabled'>, now: number): boolean {
  return !node.disabled && now > renewalDue(node);
}

/**
 * `description`: that of the node, if it has one. `visibleOrders`: of the caller; with limits it
 * gets no fingerprint.
 */
export function viewNode(
  node: UnsealedNode,
  now: number,
  description?: NodeDescription,
  visibleOrders?: VisibleOrders,
): NodeView {
  const expiry = expiryOf(node);
  const { committed, committedAt, joinedAt } = node;
  const isoOrNull = (at: number | undefined): string | null => (at === undefined ? null : isoTime(at));
  return {
    id: formatId(node.idI),
    state: nodeState(node, now),
    controller: formatId(node.controller),
    order: node.order,
    key: visibleOrders === undefined ? node.key.fingerprint : null,
    key_is_initial: node.initial,
    split: node.split,
    lifetime_seconds: node.lifetime,
    grace_seconds: node.grace,
    added_at: isoTime(node.addedAt),
    joined_at: isoOrNull(joinedAt),
    renewed_at: isoOrNull(committedAt === joinedAt ? undefined : committedAt),
    expires_at: isoOrNull(expiry),
    address: committed === undefined ? null : formatNid(committed.nidI),
    tid: committed === undefined ? null : formatTid(committed.tid),
    ...viewDescription(description, node.orderSite),
  };
}
