import { formatTable } from '@latchkey/runtime/cli';
import type { AuditEntryView } from '@latchkey/operations/contract';
import type { Column } from './list-output.js';
import { pluralize } from './registry-command.js';

export const AUDIT_COLUMNS: readonly Column<AuditEntryView>[] = [
  { name: 'entry', heading: 'ENTRY', value: ({ seq }) => seq },
  { name: 'time', heading: 'TIME', value: ({ at }) => at, isTime: true },
  { name: 'actor', heading: 'ACTOR', value: ({ actor }) => actor },
  { name: 'what', heading: 'WHAT', value: ({ what }) => what },
  { name: 'node', heading: 'NODE', value: ({ node }) => node },
  { name: 'order', heading: 'ORDER', value: ({ order }) => order, onDemand: true },
  { name: 'controller', heading: 'CONTROLLER', value: ({ controller }) => controller, onDemand: true },
  { name: 'details', heading: 'DETAILS', value: detailsOf, none: '' },
];

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
