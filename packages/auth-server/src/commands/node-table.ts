/** A node in words. */

import type { NodeView } from '@latchkey/operations/contract';
import { formatDuration } from '@latchkey/runtime/config';

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
