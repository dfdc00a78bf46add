/** What a node tells of itself, for people and for scripts: never a key. */

import { formatId } from '@latchkey/protocol';
import { formatDuration, formatEndpoint, formatFields } from '@latchkey/runtime';
import type { NodeRecord } from './node-file.js';

/**
 * `installed`: it has its initial key; `joined`: a key of its own; `expired`: that is over; `unconfirmed`: it may have another, the network has
 * not said so.
 */
type Status = 'installed' | 'joined' | 'expired' | 'unconfirmed';

interface StatusView {
  readonly id: string;
  readonly status: Status;
  readonly key: string;
  readonly key_is_initial: boolean;
  readonly open_candidates: number;
  readonly controllers: readonly string[] | 'any';
  readonly addresses: readonly string[];
  readonly joined_at: string | null;
  readonly lifetime_seconds: number | null;
  readonly renewal_due_at: string | null;
  readonly expires_at: string | null;
  readonly last_attempt_at: string | null;
  readonly last_attempt: string | null;
}

/** @param expiry of the confirmed key, ms since the epoch; `undefined`: never */
export function statusJson(record: NodeRecord, expiry: number | undefined): string {
  return `${JSON.stringify(viewOf(record, expiry), null, 2)}\n`;
}

export function statusText(record: NodeRecord, expiry: number | undefined): string {
  return formatFields(fieldsOf(viewOf(record, expiry)));
}

function viewOf({ state, endpoints, membership, lastAttempt }: NodeRecord, expiry: number | undefined): StatusView {
  const due = membership?.renewAfter === undefined ? undefined : membership.at + membership.renewAfter;
  return {
    id: formatId(state.idI),
    status: statusOf(state, expiry),
    key: state.confirmed.fingerprint,
    key_is_initial: state.initial,
    open_candidates: state.candidates.length,
    controllers: state.controllers === 'any' ? 'any' : state.controllers.map(formatId),
    addresses: endpoints.map(formatEndpoint),
    joined_at: isoTime(membership?.at),
    lifetime_seconds: membership?.lifetime ?? null,
    renewal_due_at: isoTime(due),
    expires_at: isoTime(expiry),
    last_attempt_at: isoTime(lastAttempt?.at),
    last_attempt: lastAttempt?.outcome ?? null,
  };
}

function statusOf({ candidates, initial }: NodeRecord['state'], expiry = Infinity): Status {
  if (candidates.length > 0) return 'unconfirmed';
  if (initial) return 'installed';
  return Date.now() > expiry ? 'expired' : 'joined';
}

function fieldsOf(view: StatusView): Record<string, string | undefined> {
  return {
    id: view.id,
    status: view.status,
    key: `[secret ${view.key}]${view.key_is_initial ? ', the initial key' : ''}`,
    'open candidates': view.open_candidates === 0 ? undefined : String(view.open_candidates),
    controller: `${view.controllers === 'any' ? 'any' : view.controllers.join(', ')} at ${view.addresses.join(', ')}`,
    joined: view.joined_at ?? 'never',
    lifetime: view.lifetime_seconds === null ? undefined : formatDuration(view.lifetime_seconds),
    'renewal due': view.renewal_due_at ?? undefined,
    expires: view.expires_at ?? undefined,
    'last attempt': view.last_attempt_at === null ? undefined : `${view.last_attempt_at}: ${view.last_attempt ?? ''}`,
  };
}

function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
