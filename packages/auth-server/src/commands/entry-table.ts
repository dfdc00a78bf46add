import { formatTable } from '@latchkey/runtime';
import type { Entry } from '../audit.js';
import { counted } from './with-registry.js';

/** Entries of the audit log, one a row. */
export function entryTable(entries: readonly Entry[]): string {
  return formatTable(
    ['ENTRY', 'TIME', 'WHO', 'WHAT', 'NODE', 'DETAILS'],
    entries.map((entry) => [String(entry.seq), entry.at, entry.who, entry.what, entry.node ?? '-', detailsOf(entry)]),
  );
}

function detailsOf({ order, controller, tid, count, through, key_before, key, note }: Entry): string {
  const parts = [
    order === undefined ? [] : [`order ${order}`],
    controller === undefined ? [] : [`controller ${controller}`],
    tid === undefined ? [] : [`tid ${tid}`],
    count === undefined ? [] : [counted(count, 'node')],
    through === undefined ? [] : [`through entry ${through}`],
    key === undefined ? [] : [`key ${key_before === undefined ? '' : `${key_before} -> `}${key}`],
    note === undefined ? [] : [note],
  ];
  return parts.flat().join(', ');
}
