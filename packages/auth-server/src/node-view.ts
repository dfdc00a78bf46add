/** How a node looks to the administrator. */

import { expiryOf, formatId, formatTid } from '@latchkey/protocol';
import { formatDuration, formatNid } from '@latchkey/runtime';
import type { RegisteredNode } from './registry.js';

type NodeStatus = 'enrolled' | 'joined' | 'expired' | 'disabled';

/** What `node list` and `node show` tell of a node; times in ISO 8601. No key, only its fingerprint. */
export interface NodeView {
  readonly id: string;
  readonly state: NodeStatus;
  readonly controller: string;
  readonly order: number | null;
  readonly key: string;
  readonly key_is_initial: boolean;
  readonly lifetime_seconds: number;
  readonly added_at: string;
  readonly joined_at: string | null;
  readonly expires_at: string | null;
  readonly address: string | null;
  readonly tid: string | null;
}

export function viewNode(node: RegisteredNode, now: number): NodeView {
  const expiry = expiryOf(node);
  const { committed, committedAt } = node;
  return {
    id: formatId(node.idI),
    state: node.disabled ? 'disabled' : node.initial ? 'enrolled' : expiry !== undefined && now > expiry ? 'expired' : 'joined',
    controller: formatId(node.controller),
    order: node.order ?? null,
    key: node.key.fingerprint,
    key_is_initial: node.initial,
    lifetime_seconds: node.lifetime,
    added_at: isoTime(node.addedAt),
    joined_at: committedAt === undefined ? null : isoTime(committedAt),
    expires_at: expiry === undefined ? null : isoTime(expiry),
    address: committed === undefined ? null : formatNid(committed.nidI),
    tid: committed === undefined ? null : formatTid(committed.tid),
  };
}

export const NODE_HEADINGS: readonly string[] = ['ID', 'STATE', 'CONTROLLER', 'ORDER', 'KEY', 'JOINED', 'EXPIRES', 'ADDRESS'];

export function nodeRow(view: NodeView): string[] {
  const { id, state, controller, order, key, joined_at, expires_at, address } = view;
  return [id, state, controller, String(order ?? '-'), key, joined_at ?? '-', expires_at ?? '-', address ?? '-'];
}

/** For `node show`, names before values. */
export function nodeFields(view: NodeView): Record<string, string | undefined> {
  return {
    id: view.id,
    state: view.state,
    controller: view.controller,
    order: view.order === null ? undefined : String(view.order),
    key: `[secret ${view.key}]${view.key_is_initial ? ', the initial key' : ''}`,
    lifetime: formatDuration(view.lifetime_seconds),
    added: view.added_at,
    joined: view.joined_at ?? 'never',
    expires: view.expires_at ?? undefined,
    address: view.address ?? undefined,
    transaction: view.tid ?? undefined,
  };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
