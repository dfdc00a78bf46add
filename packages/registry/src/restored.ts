/** State of a registry after a restore from a backup. */

import type { Keyring } from '@latchkey/keyring';
import { addRange, type ClockHistory, MAX_SERVER_CLOCK_SKEW_MS } from '@latchkey/protocol';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type AuditEvent, type ChainHead, formatHead, headOf } from './audit-chain.js';
import { drawTransactionKey, type Restored } from './registry-core.js';
import type { Registry } from './registry.js';
import type { MetadataName } from './storage.js';

export interface RestoreMarks {
  readonly metadata: readonly (readonly [name: MetadataName, value: unknown])[];
  readonly event: AuditEvent;
}

/**
 * What is changed in a registry before anybody serves from it. `head`, `history`: as they are in
 * the backup; `now`: ms since the epoch.
 */
export function restoreMarks(head: ChainHead, history: ClockHistory, keyring: Keyring, now: number): RestoreMarks {
  const { at: backupAt } = head;
  const last = headOf(head);
  // No record exists of the times that were shown since the backup.
  const span = { from: Math.min(backupAt, now), until: now + MAX_SERVER_CLOCK_SKEW_MS };
  return {
    metadata: [
      // For every node: a key that was replaced since the backup is back (protocol, `reissuedAt`).
      ['restored', { at: now, backupAt, entry: head.seq + 1 } satisfies Restored],
      // A pass-through controller may hold M7 from before: their proofs open no more.
      ['transaction key', drawTransactionKey(keyring)],
      ['clock history', addRange(history, span)],
    ],
    event: {
      what: 'registry restored',
      note: `from a backup of ${isoTime(backupAt)}${last === undefined ? '' : `, HEAD ${formatHead(last)}`}`,
    },
  };
}

/** Notes in a registry whose storage was put back that it was. `now`: ms since the epoch. */
export async function markRestored(registry: Registry, now: number): Promise<void> {
  await registry.write({ metadata: ['clock history'] }, (found) => {
    const { metadata, event } = restoreMarks(found.head, found.metadata('clock history') as ClockHistory, registry.keyring, now);
    return { result: undefined, put: { metadata }, events: [event] };
  });
}
