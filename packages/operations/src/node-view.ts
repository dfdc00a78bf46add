/** How a node looks to the administrator. */

import { expiryOf, formatId, formatTid } from '@latchkey/protocol';
import { formatDuration } from '@latchkey/runtime/config';
import { formatNid } from '@latchkey/runtime/net';
import { isoTime } from '@latchkey/runtime/iso-time';
import type { NodeInfo, UnsealedNode } from '@latchkey/registry';
import { renewalDue } from './diagnosis-situation.js';

/** `expiring`: it should have renewed its key by now. `expired`: it may still, within its grace. */
export const NODE_STATES = ['enrolled', 'joined', 'expiring', 'expired', 'disabled'] as const;
export type NodeStatus = (typeof NODE_STATES)[number];

/**
 * What `node list` and `node show` tell of a node; times in ISO 8601. No key, only its fingerprint.
 */
export interface NodeView {
  readonly id: string;
  readonly state: NodeStatus;
  readonly controller: string;
  readonly order: number;
  readonly key: string;
  readonly key_is_initial: boolean;
  /** Whether its initial key is, or was, made of a device key and the installer's half. */
  readonly split: boolean;
  readonly lifetime_seconds: number;
  readonly grace_seconds: number;
  readonly added_at: string;
  readonly joined_at: string | null;
  readonly renewed_at: string | null;
  readonly expires_at: string | null;
  readonly address: string | null;
  readonly tid: string | null;
}

export function nodeState(node: NodeInfo, now: number): NodeStatus {
  const expiry = expiryOf(node);
  const { committed } = node;
  if (node.disabled) return 'disabled';
  if (committed === undefined) return 'enrolled';
  if (expiry === undefined) return 'joined';
  if (now > expiry) return 'expired';
  return now > renewalDue(node) ? 'expiring' : 'joined';
}

export function viewNode(node: UnsealedNode, now: number): NodeView {
  const expiry = expiryOf(node);
  const { committed, committedAt, joinedAt } = node;
  const isoOrNull = (at: number | undefined): string | null => (at === undefined ? null : isoTime(at));
  return {
    id: formatId(node.idI),
    state: nodeState(node, now),
    controller: formatId(node.controller),
    order: node.order,
    key: node.key.fingerprint,
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
  };
}

export const NODE_HEADINGS: readonly string[] = ['ID', 'STATE', 'CONTROLLER', 'ORDER', 'KEY', 'JOINED', 'EXPIRES', 'ADDRESS'];

export function nodeTableRow(view: NodeView): string[] {
  const { id, state, controller, order, key, joined_at, expires_at, address } = view;
  return [id, state, controller, String(order), key, joined_at ?? '-', expires_at ?? '-', address ?? '-'];
}

/** For `node show`, names before values. */
export function nodeFields(view: NodeView): Record<string, string | undefined> {
  return {
    id: view.id,
    state: view.state,
    controller: view.controller,
    order: String(view.order),
    key: `[secret ${view.key}]${view.key_is_initial ? ', the initial key' : ''}`,
    'initial key': view.split ? "split: a device key and the installer's half" : undefined,
    lifetime: `${formatDuration(view.lifetime_seconds)}, grace ${formatDuration(view.grace_seconds)}`,
    added: view.added_at,
    joined: view.joined_at ?? 'never',
    renewed: view.renewed_at ?? undefined,
    expires: view.expires_at ?? undefined,
    address: view.address ?? undefined,
    transaction: view.tid ?? undefined,
  };
}
