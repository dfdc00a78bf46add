/** The audit log: pages, latest entry first, and the head of its chain of hashes. */

import { type AuditEntry, formatHead } from '@latchkey/registry';
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { z } from 'zod';
import { type Route, defineRoute } from '../route.js';
import { Problem } from '../problem.js';
import { cursorSchema, idSchema, limitSchema, orderNumberSchema, pageSchema, timeSchema } from '../schemas.js';

/** Entries that one page looks through, and how many of them at a time. */
const MAX_ENTRIES = 20_000;
const ENTRIES_PER_SLICE = 500;

export const auditEntrySchema: z.ZodType<AuditEntry> = z
  .object({
    seq: z.int(),
    at: timeSchema,
    actor: z.string(),
    what: z.string(),
    node: idSchema.optional(),
    controller: idSchema.optional(),
    order: orderNumberSchema.optional(),
    tid: z.string().optional(),
    key_before: z.string().optional(),
    key: z.string().optional().describe('Fingerprint of the key, 4 hex digits'),
    count: z.int().optional(),
    up_to: z.int().optional(),
    note: z.string().optional(),
    previous_entry: z.int().optional().describe('The entry before this one about the same node'),
  })
  .meta({ id: 'AuditEntry' }) as z.ZodType<AuditEntry>;

const filtersSchema = z.strictObject({
  node: idSchema.optional(),
  controller: idSchema.optional(),
  order: orderNumberSchema.optional(),
  what: z.array(z.string().min(1).max(64)).max(32).optional().describe('Kind of entry, e.g. `node joined`'),
  actor: z.string().min(1).max(128).optional(),
});

const list = defineRoute({
  name: 'audit.list',
  summary: 'List entries of the audit log',
  description: `Latest first. A page looks through ${MAX_ENTRIES} entries at most, so a filtered page may be short, or empty, and have a next one.`,
  scope: 'audit',
  path: '/v1/audit',
  input: filtersSchema.extend({ limit: limitSchema, after: cursorSchema }),
  output: pageSchema(auditEntrySchema, 'Entries of the log; null with a filter'),
  async run({ registry, opaque, principal, signal }, { limit, after, ...filters }) {
    const listName = `audit.list ${JSON.stringify(filters)}`;
    const cursor = after === undefined ? undefined : z.int().safeParse(opaque.openCursor(principal, listName, after));
    if (cursor?.success === false) throw new Problem('cursor-invalid');
    const { audit } = registry;
    const items: AuditEntry[] = [];
    let seq = cursor?.data ?? audit.head?.seq ?? 0;
    for (let looked = 1; seq > 0 && items.length < limit && looked <= MAX_ENTRIES; looked++, seq--) {
      const entry = audit.entry(seq);
      // Pruned from here on.
      if (entry === undefined) seq = 0;
      else if (matches(entry, filters)) items.push(entry);
      if (looked % ENTRIES_PER_SLICE !== 0) continue;
      await yieldToOthers();
      signal.throwIfAborted();
    }
    const isFiltered = Object.values(filters).some((value) => value !== undefined);
    return {
      items,
      next: seq > 0 && audit.entry(seq) !== undefined ? opaque.sealCursor(principal, listName, seq) : null,
      total: isFiltered ? null : audit.length,
    };
  },
});

function matches(entry: AuditEntry, { node, controller, order, what, actor }: z.output<typeof filtersSchema>): boolean {
  return (
    (node === undefined || entry.node === node) &&
    (controller === undefined || entry.controller === controller) &&
    (order === undefined || entry.order === order) &&
    (actor === undefined || entry.actor === actor) &&
    (what === undefined || what.includes(entry.what))
  );
}

const head = defineRoute({
  name: 'audit.head',
  summary: 'Show the head of the audit log',
  description: 'Write it down elsewhere: `latchkey-auth-server audit verify --against` compares the log with it.',
  scope: 'audit',
  path: '/v1/audit/head',
  input: z.strictObject({}),
  output: z.object({ head: z.string().nullable().describe('Number and hash of the last entry, SEQ:HASH') }),
  run({ registry }) {
    const { head: last } = registry.audit;
    return { head: last === undefined ? null : formatHead(last) };
  },
});

export const auditRoutes: readonly Route[] = [list, head];
