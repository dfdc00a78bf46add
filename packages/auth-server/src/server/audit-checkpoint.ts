/**
 * What whoever serves from a registry logs of its audit log at each start, so that its HEAD stands
 * elsewhere too.
 */

import type { Log } from '@latchkey/runtime/daemon';
import { formatHead, type Registry } from '@latchkey/registry';

/** Entries, some 400 octets each, from which on the log asks to be pruned: 4 GB. */
const PRUNE_WARNING_ENTRIES = 10_000_000;

export async function logCheckpoint({ audit }: Registry, log: Log): Promise<void> {
  const [head, length] = [await audit.readHead(), await audit.readLength()];
  if (head !== undefined) log.info({ head: formatHead(head) }, 'audit log');
  if (length > PRUNE_WARNING_ENTRIES)
    log.warn({ entries: length }, 'the audit log is long: keep its old entries elsewhere, with `audit prune`');
}
