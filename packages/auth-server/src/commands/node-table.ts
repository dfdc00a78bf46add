/** Text output for a node. */

import type { NodeView } from '@latchkey/operations/contract';
import { formatDuration } from '@latchkey/runtime/config';
import type { Column } from './list-output.js';

export const NODE_COLUMNS: readonly Column<NodeView>[] = [
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'name', heading: 'NAME', value: ({ name }) => name, unlessEmpty: true },
  { name: 'site', heading: 'SITE', value: ({ site }) => site, unlessEmpty: true },
  { name: 'location', heading: 'LOCATION', value: ({ location }) => location, onDemand: true },
  { name: 'tags', heading: 'TAGS', value: ({ tags }) => tags, onDemand: true },
  { name: 'note', heading: 'NOTE', value: ({ note }) => note, onDemand: true },
  { name: 'state', heading: 'STATE', value: ({ state }) => state },
  { name: 'controller', heading: 'CONTROLLER', value: ({ controller }) => controller },
  { name: 'order', heading: 'ORDER', value: ({ order }) => order },
  { name: 'key', heading: 'KEY', value: ({ key }) => key },
  { name: 'initial', heading: 'INITIAL', value: ({ key_is_initial: isInitial }) => isInitial, onDemand: true },
  { name: 'split', heading: 'SPLIT', value: ({ split }) => split, onDemand: true },
  {
    name: 'lifetime',
    heading: 'LIFETIME',
    value: ({ lifetime_seconds: seconds }) => seconds,
    text: ({ lifetime_seconds: seconds }) => formatDuration(seconds),
    onDemand: true,
  },
  {
    name: 'grace',
    heading: 'GRACE',
    value: ({ grace_seconds: seconds }) => seconds,
    text: ({ grace_seconds: seconds }) => formatDuration(seconds),
    onDemand: true,
  },
  { name: 'added', heading: 'ADDED', value: ({ added_at: at }) => at, isTime: true, onDemand: true },
  { name: 'joined', heading: 'JOINED', value: ({ joined_at: at }) => at, isTime: true },
  { name: 'renewed', heading: 'RENEWED', value: ({ renewed_at: at }) => at, isTime: true, onDemand: true },
  { name: 'expires', heading: 'EXPIRES', value: ({ expires_at: at }) => at, isTime: true },
  { name: 'address', heading: 'ADDRESS', value: ({ address }) => address },
];

/** For `node show`, names before values. */
export function nodeFields(view: NodeView): Record<string, string | undefined> {
  return {
    id: view.id,
    name: view.name ?? undefined,
    site: view.site ?? undefined,
    location: view.location ?? undefined,
    tags: view.tags.length === 0 ? undefined : view.tags.join(', '),
    note: view.note ?? undefined,
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
