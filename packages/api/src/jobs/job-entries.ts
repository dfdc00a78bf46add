/**
 * Entries of the audit log for a job that ended without its result. Only these entries show whether
 * its change was made.
 */

import {
  controllersAdd,
  controllersRotate,
  importsRun,
  nodesExportWithKeys,
  nodesReset,
  ordersCreate,
  ordersExport,
} from '@latchkey/operations/contract';
import { formatId } from '@latchkey/protocol';
import type { AuditEntry, Registry } from '@latchkey/registry';
import type { JobRecord } from './request-store.js';

/** Entries that are looked through for one job. */
const MAX_ENTRIES = 20_000;

/** The audit entry of an operation's change. A reset has one entry for each node. */
const ENTRY_OF: ReadonlyMap<string, AuditEntry['what']> = new Map<string, AuditEntry['what']>([
  [ordersCreate.name, 'order created'],
  [ordersExport.name, 'order exported'],
  [nodesReset.name, 'node reset'],
  [controllersAdd.name, 'controller added'],
  [controllersRotate.name, 'controller key staged'],
  [nodesExportWithKeys.name, 'nodes exported'],
  [importsRun.name, 'nodes imported'],
]);

export function hasEntry(kind: string): boolean {
  return ENTRY_OF.has(kind);
}

/**
 * Returns the first entry that may belong to the job, or `null`. If a caller has two concurrent
 * jobs, it may belong to the other one.
 */
export async function firstEntryOf({ audit }: Registry, job: JobRecord): Promise<number | null> {
  const { kind, actor, auditHead = 0, order, controller } = job;
  const what = ENTRY_OF.get(kind);
  const about = controller === undefined ? undefined : formatId(controller);
  let looked = 0;
  for await (const page of audit.entryPages(auditHead + 1))
    for (const entry of page) {
      const isOfOther = (order ?? entry.order) !== entry.order || (about ?? entry.controller) !== entry.controller;
      if (entry.what === what && entry.actor === actor && !isOfOther) return entry.seq;
      looked += 1;
      // It can be from here on only.
      if (looked >= MAX_ENTRIES) return entry.seq + 1;
    }
  return null;
}
