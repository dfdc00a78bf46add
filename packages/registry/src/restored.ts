/** What a registry that was put back from a backup is to know of that. */

import { addRange, type ClockHistory, MAX_SERVER_CLOCK_SKEW_MS } from '@latchkey/protocol';
import { isoTime } from '@latchkey/runtime/iso-time';
import { formatHead } from './audit-chain.js';
import { drawTransactionKey, type Restored } from './registry-core.js';
import type { Registry } from './registry.js';

/**
 * Notes that the registry was put back, before anybody serves from it. `now`: ms since the epoch.
 */
export async function markRestored(registry: Registry, now: number): Promise<void> {
  const { keyring, audit } = registry;
  const [head, backupAt] = [await audit.readHead(), await audit.readLastWrittenAt()];
  await registry.write({ metadata: ['clock history'] }, (found) => {
    const note = `from a backup of ${isoTime(backupAt)}${head === undefined ? '' : `, HEAD ${formatHead(head)}`}`;
    // What was shown since the backup nobody has kept.
    const span = { from: Math.min(backupAt, now), until: now + MAX_SERVER_CLOCK_SKEW_MS };
    return {
      result: undefined,
      put: {
        metadata: [
          // For every node: a key that was replaced since the backup is back (protocol,
          // `reissuedAt`).
          ['restored', { at: now, backupAt, entry: found.head.seq + 1 } satisfies Restored],
          // A pass-through controller may hold M7 from before: their proofs open no more.
          ['transaction key', drawTransactionKey(keyring)],
          ['clock history', addRange(found.metadata('clock history') as ClockHistory, span)],
        ],
      },
      events: [{ what: 'registry restored', note }],
    };
  });
}
