/**
 * Logs the HEAD of the audit log at each start of a daemon with a registry, so that the HEAD is
 * also stored elsewhere.
 */

import type { Log } from '@latchkey/runtime/daemon';
import { formatHead, type Registry } from '@latchkey/registry';

/**
 * Beyond this number of entries a warning asks for `audit prune`. At some 400 octets each they take
 * 4 GB.
 */
const PRUNE_WARNING_ENTRIES = 10_000_000;

export async function logCheckpoint({ audit }: Registry, log: Log): Promise<void> {
  const [head, length] = [await audit.readHead(), await audit.readLength()];
  if (head !== undefined) log.info({ head: formatHead(head) }, 'audit log');
  if (length > PRUNE_WARNING_ENTRIES)
    log.warn({ entries: length }, 'the audit log is long: keep its old entries elsewhere, with `audit prune`');
}
