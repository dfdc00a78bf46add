import { formatTable } from '@latchkey/runtime/cli';
import type { AuditEntryView } from '@latchkey/operations/contract';
import { pluralize } from './registry-command.js';

/** Entries of the audit log, one a row. */
export function auditTable(entries: readonly AuditEntryView[]): string {
  return formatTable(
    ['ENTRY', 'TIME', 'ACTOR', 'WHAT', 'NODE', 'DETAILS'],
    entries.map((entry) => [String(entry.seq), entry.at, entry.actor, entry.what, entry.node ?? '-', detailsOf(entry)]),
  );
}

function detailsOf({ order, controller, tid, count, up_to, key_before, key, note }: AuditEntryView): string {
  const parts = [
    order === undefined ? [] : [`order ${order}`],
    controller === undefined ? [] : [`controller ${controller}`],
    tid === undefined ? [] : [`tid ${tid}`],
    count === undefined ? [] : [pluralize(count, 'node')],
    up_to === undefined ? [] : [`up to entry ${up_to}`],
    key === undefined ? [] : [`key ${key_before === undefined ? '' : `${key_before} -> `}${key}`],
    note === undefined ? [] : [note],
  ];
  return parts.flat().join(', ');
}
