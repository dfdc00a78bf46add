/** Status of a node, for people and for scripts. It never contains a key. */

import { formatId, type NodeClocks, msUntilRenewal } from '@latchkey/protocol';
import { formatDuration } from '@latchkey/runtime/config';
import { formatEndpoint } from '@latchkey/runtime/net';
import { formatFields } from '@latchkey/runtime/cli';
import { expiryOf } from './key-lease.js';
import type { StoredNode } from './node-file.js';

/**
 * `installed`: the node has its initial key. `joined`: it has a key of its own. `expired`: that key
 * has expired. `unconfirmed`: it may have a newer key, which the network has not confirmed.
 */
type Status = 'installed' | 'joined' | 'expired' | 'unconfirmed';

interface StatusView {
  readonly id: string;
  readonly status: Status;
  readonly key: string;
  readonly key_is_initial: boolean;
  /** Whether the initial key was made of a device key and the installer's half. */
  readonly split: boolean;
  /** Whether the device key is in the state folder. */
  readonly device_key_here: boolean;
  readonly open_candidates: number;
  readonly controllers: readonly string[] | 'any';
  readonly addresses: readonly string[];
  /** When it traded its initial key in, as the registry has it. */
  readonly joined_at: string | null;
  /** When it got the key it has, if that is not the first. */
  readonly renewed_at: string | null;
  readonly lifetime_seconds: number | null;
  readonly renewal_due_at: string | null;
  readonly expires_at: string | null;
  readonly last_attempt_at: string | null;
  readonly last_attempt: string | null;
}

export function statusJson(record: StoredNode, now: NodeClocks, deviceKeyHere: boolean): string {
  return `${JSON.stringify(viewOf(record, now, deviceKeyHere), null, 2)}\n`;
}

export function statusText(record: StoredNode, now: NodeClocks, deviceKeyHere: boolean): string {
  return formatFields(fieldsOf(viewOf(record, now, deviceKeyHere)));
}

function viewOf(record: StoredNode, now: NodeClocks, deviceKeyHere: boolean): StatusView {
  const { state, endpoints, keyLease, lastAttempt } = record;
  const due = keyLease?.renewal === undefined ? undefined : now.wallMs + msUntilRenewal(keyLease, now);
  const expiry = expiryOf(record, now);
  return {
    id: formatId(state.idI),
    status: statusOf(state, expiry, now),
    key: state.confirmed.fingerprint,
    key_is_initial: state.initial,
    split: record.split === true,
    device_key_here: deviceKeyHere,
    open_candidates: state.candidates.length,
    controllers: state.controllers === 'any' ? 'any' : state.controllers.map(formatId),
    addresses: endpoints.map(formatEndpoint),
    joined_at: isoTime(keyLease?.joinedAt),
    renewed_at: isoTime(keyLease?.at === keyLease?.joinedAt ? undefined : keyLease?.at),
    lifetime_seconds: keyLease?.lifetime ?? null,
    renewal_due_at: isoTime(due),
    expires_at: isoTime(expiry),
    last_attempt_at: isoTime(lastAttempt?.at),
    last_attempt: lastAttempt?.outcome ?? null,
  };
}

function statusOf({ candidates, initial }: StoredNode['state'], expiry: number | undefined, now: NodeClocks): Status {
  if (candidates.length > 0) return 'unconfirmed';
  if (initial) return 'installed';
  return now.wallMs > (expiry ?? Infinity) ? 'expired' : 'joined';
}

function fieldsOf(view: StatusView): Record<string, string | undefined> {
  return {
    id: view.id,
    status: view.status,
    key: `[secret ${view.key}]${view.key_is_initial ? ', the initial key' : ''}`,
    'device key': view.device_key_here ? 'here' : view.split ? 'used for the initial key, not here any more' : undefined,
    'open candidates': view.open_candidates === 0 ? undefined : String(view.open_candidates),
    controller: `${view.controllers === 'any' ? 'any' : view.controllers.join(', ')} at ${view.addresses.join(', ')}`,
    joined: view.joined_at ?? 'never',
    renewed: view.renewed_at ?? undefined,
    lifetime: view.lifetime_seconds === null ? undefined : formatDuration(view.lifetime_seconds),
    'renewal due': view.renewal_due_at ?? undefined,
    expires: view.expires_at ?? undefined,
    'last attempt': view.last_attempt_at === null ? undefined : `${view.last_attempt_at}: ${view.last_attempt ?? ''}`,
  };
}

function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
