import { z } from 'zod';
import { type Contract, idSchema, printedTimeSchema, timeSchema } from './contract.js';

/** An entry of the audit log, in the octets that its hash was made of. */
export interface AuditEntryView {
  readonly seq: number;
  readonly at: string;
  readonly actor: string;
  readonly what: string;
  readonly node?: string | undefined;
  readonly controller?: string | undefined;
  readonly order?: number | undefined;
  readonly tid?: string | undefined;
  readonly key_before?: string | undefined;
  readonly key?: string | undefined;
  readonly count?: number | undefined;
  readonly up_to?: number | undefined;
  readonly note?: string | undefined;
  readonly operation?: string | undefined;
  readonly previous_entry?: number | undefined;
}

/** In the field order of the log, so that an export can be hashed again. */
export const auditEntrySchema: z.ZodType<AuditEntryView> = z.object({
  seq: z.int(),
  at: printedTimeSchema,
  actor: z.string(),
  what: z.string(),
  node: z.string().optional(),
  controller: z.string().optional(),
  order: z.int().optional(),
  tid: z.string().optional(),
  key_before: z.string().optional(),
  key: z.string().optional(),
  count: z.int().optional(),
  up_to: z.int().optional(),
  note: z.string().optional(),
  operation: z.string().optional(),
  previous_entry: z.int().optional(),
});

const seqSchema = z.int().min(1);

export interface AuditListInput {
  /** About this node only. */
  readonly node?: string | undefined;
  /** Oldest first from this entry on; without it the latest ones, oldest first. */
  readonly from?: number | undefined;
  /** The last entry that may come. */
  readonly up_to?: number | undefined;
  /** Of this time or later, by the clock of who wrote it. */
  readonly since?: string | undefined;
  readonly limit: number;
}

export interface AuditPage {
  readonly items: readonly AuditEntryView[];
}

export const auditList: Contract<AuditListInput, AuditPage> = {
  name: 'audit.list',
  scope: 'audit',
  input: z.strictObject({
    node: idSchema.optional(),
    since: timeSchema.optional(),
    from: seqSchema.optional(),
    up_to: z.int().min(0).optional(),
    limit: z.int().min(1).max(1_000_000),
  }),
  output: z.object({ items: z.array(auditEntrySchema) }),
};

export interface AuditHead {
  /** Of the last entry: `SEQ:HASH`; `null` if the log is empty. */
  readonly head: string | null;
  /** The number of the last entry, 0 if the log is empty. */
  readonly seq: number;
}

export const auditHead: Contract<object, AuditHead> = {
  name: 'audit.head',
  scope: 'audit',
  input: z.strictObject({}),
  output: z.object({ head: z.string().nullable(), seq: z.int() }),
};

export interface AuditVerifyInput {
  /** A HEAD that was written down earlier. */
  readonly against?: string | undefined;
}

export interface AuditVerification {
  readonly valid: boolean;
  /** `SEQ:HASH`, or `none`. */
  readonly head: string;
  readonly problems: readonly string[];
}

export const auditVerify: Contract<AuditVerifyInput, AuditVerification> = {
  name: 'audit.verify',
  scope: 'audit',
  input: z.strictObject({ against: z.string().optional() }),
  output: z.object({ valid: z.boolean(), head: z.string(), problems: z.array(z.string()) }),
};

export interface AuditPruneInput {
  /** The last entry that is pruned. */
  readonly up_to: number;
  /** Path of the archive, for the log. */
  readonly out: string;
}

const pruneFields = { up_to: seqSchema, out: z.string().min(1) };

export const auditPrune: Contract<AuditPruneInput, AuditPruneInput> = {
  name: 'audit.prune',
  scope: 'admin',
  input: z.strictObject(pruneFields),
  output: z.object(pruneFields),
};
