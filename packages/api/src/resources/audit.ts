/** The audit log: pages, latest entry first, and the head of its chain of hashes. */

import { auditHead, auditVerify, call } from '@latchkey/operations';
import type { AuditEntry } from '@latchkey/registry';
import { z } from 'zod';
import { JSON_LINES } from '../audit-exports.js';
import { operationContext } from '../operation-context.js';
import { type Route, defineRoute } from '../route.js';
import { Problem } from '../problem.js';
import { cursorSchema, idSchema, limitSchema, orderNumberSchema, pageSchema, timeSchema } from '../schemas.js';
import { jobSchema, startWalk } from './jobs.js';

/** Entries that one page looks through. */
const MAX_ENTRIES = 20_000;

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
    operation: z.string().optional().describe('ID of the change, in its first entry; of registries in a database'),
    previous_entry: z.int().optional().describe('The entry before this one about the same node'),
  })
  .meta({ id: 'AuditEntry' }) as z.ZodType<AuditEntry>;

const filtersSchema = z.strictObject({
  from: z.int().min(1).optional().describe('First entry, by its number'),
  up_to: z.int().min(0).optional().describe('Last entry, by its number'),
  since: timeSchema.optional().describe('Entries of this time or later, by the clock of their writer'),
  ascending: z.boolean().default(false).describe('Oldest first'),
  node: idSchema.optional(),
  controller: idSchema.optional(),
  order: orderNumberSchema.optional(),
  what: z.array(z.string().min(1).max(64)).max(32).optional().describe('Kind of entry, e.g. `node joined`'),
  actor: z.string().min(1).max(128).optional(),
});

const list = defineRoute({
  name: 'audit.list',
  summary: 'List entries of the audit log',
  description: `Latest first, unless \`ascending\`. A page looks through ${MAX_ENTRIES} entries at most, so a filtered page may be short, or empty, and have a next one.`,
  scope: 'audit',
  path: '/v1/audit',
  input: filtersSchema.extend({ limit: limitSchema, after: cursorSchema }),
  output: pageSchema(auditEntrySchema, 'Entries of the log; null with a filter'),
  async run({ registry, opaque, principal, signal }, { limit, after, ...filters }) {
    const listName = `audit.list ${JSON.stringify(filters)}`;
    const cursor = after === undefined ? undefined : z.int().safeParse(opaque.openCursor(principal, listName, after));
    if (cursor?.success === false) throw new Problem('cursor-invalid');
    await registry.refresh();
    const { audit } = registry.until(signal);
    const items: AuditEntry[] = [];
    const [head, length] = [await audit.readHead(), await audit.readLength()];
    const newest = head?.seq ?? 0;
    const first = Math.max(filters.from ?? 1, newest - length + 1);
    const last = Math.min(filters.up_to ?? newest, newest);
    const start = cursor?.data ?? (filters.ascending ? first : last);
    let [next, looked]: [number | undefined, number] = [undefined, 0];
    search: for await (const entries of filters.ascending ? audit.entryPages(start) : audit.newestFirst(start))
      for (const entry of entries) {
        if (entry.seq < first || entry.seq > last) break search;
        if (items.length >= limit || looked >= MAX_ENTRIES) {
          next = entry.seq;
          break search;
        }
        looked += 1;
        if (matches(entry, filters)) items.push(entry);
      }
    const { ascending: _, ...bounds } = filters;
    const isFiltered = Object.values(bounds).some((value) => value !== undefined);
    return {
      items,
      next: next === undefined ? null : opaque.sealCursor(principal, listName, next),
      total: isFiltered ? null : length,
    };
  },
});

function matches(entry: AuditEntry, { node, controller, order, what, actor, since }: z.output<typeof filtersSchema>): boolean {
  return (
    // A clock may have been set back: a later entry may be of an earlier time.
    (since === undefined || Date.parse(entry.at) >= Date.parse(since)) &&
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
  output: z.object({
    head: z.string().nullable().describe('Number and hash of the last entry, SEQ:HASH'),
    seq: z.int().describe('Number of the last entry, 0 in an empty log'),
  }),
  run: (context) => call(auditHead, operationContext(context), {}),
});

const verify = defineRoute({
  method: 'POST',
  name: auditVerify.name,
  summary: 'Walk the chain of hashes, and name what was changed, removed or put elsewhere',
  description: 'A job, whose result has `valid`, `head` and `problems`.',
  scope: auditVerify.scope,
  path: '/v1/audit/verifications',
  input: z.strictObject({
    against: z
      .string()
      .regex(/^\d{1,16}:[0-9a-f]{64}$/, { error: 'expected SEQ:HASH, a number and 64 hex digits' })
      .optional()
      .describe('A HEAD that was written down earlier'),
  }),
  output: jobSchema,
  beginsJob: true,
  run: (context, input) =>
    startWalk(context, auditVerify.name, [auditVerify.scope], (jobContext) => call(auditVerify, jobContext, input)),
});

const exportLog = defineRoute({
  name: 'audit.export',
  summary: 'Export the audit log',
  description:
    'An entry a line, oldest first, up to the last one at the time of the request. An answer that ends without its last chunk is incomplete. One at a time for a caller.',
  scope: 'audit',
  path: '/v1/audit/export',
  input: filtersSchema.pick({ from: true, up_to: true }),
  mediaType: JSON_LINES,
  output: z.string().describe('JSON Lines. Each line has the octets that its hash in the chain was made of'),
  async run({ registry, auditExports, principal, signal }, { from = 1, up_to: upTo = Infinity }) {
    await registry.refresh();
    const { audit } = registry.until(signal);
    const newest = (await audit.readHead())?.seq ?? 0;
    return auditExports.begin(principal, audit, { from, upTo: Math.min(upTo, newest) });
  },
});

export const auditRoutes: readonly Route[] = [list, head, verify, exportLog];
