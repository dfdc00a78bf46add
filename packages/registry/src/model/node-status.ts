/** The state of a node in a word, at the time one asks. */

import { expiryOf } from '@latchkey/protocol';
import type { NodeInfo } from './rows.js';

/** `expiring`: it should have renewed its key by now. `expired`: it may still, within its grace. */
export const NODE_STATES = ['enrolled', 'joined', 'expiring', 'expired', 'disabled'] as const;
export type NodeStatus = (typeof NODE_STATES)[number];

/**
 * Nodes renew at 72 to 88 % of the lifetime (profile, "Node", 6); ms since the epoch. Infinity:
 * never.
 */
export function renewalDue({ committed }: Pick<NodeInfo, 'committed'>): number {
  return committed === undefined || committed.lifetime === 0 ? Infinity : committed.ts + 880 * committed.lifetime;
}

export function nodeState(node: Pick<NodeInfo, 'committed' | 'disabled'>, now: number): NodeStatus {
  const expiry = expiryOf(node);
  if (node.disabled) return 'disabled';
  if (node.committed === undefined) return 'enrolled';
  if (expiry === undefined) return 'joined';
  if (now > expiry) return 'expired';
  return now > renewalDue(node) ? 'expiring' : 'joined';
}
