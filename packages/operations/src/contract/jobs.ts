/** Work of the API that takes long. */

import { z } from 'zod';
import { type Contract, printedTimeSchema } from './contract.js';
import { type ProblemDocument, problemSchema } from './problem.js';

const JOB_STATES = ['running', 'done', 'failed', 'cancelled', 'interrupted'] as const;

export interface JobView {
  readonly id: string;
  readonly kind: string;
  readonly by: string;
  readonly state: (typeof JOB_STATES)[number];
  readonly done: number;
  readonly total: number;
  readonly created_at: string;
  readonly finished_at: string | null;
  readonly result: unknown;
  readonly problem: ProblemDocument | null;
  readonly audit_from: number | null;
}

/** The fields of a job, to which the API adds one. */
export const JOB_FIELDS: { readonly [Name in keyof JobView]: z.ZodType<JobView[Name]> } = {
  id: z.string(),
  kind: z.string().describe('The operation, `nodes.change-many` say'),
  by: z.string().describe('Who began it, as in the audit log'),
  state: z.enum(JOB_STATES).describe('`interrupted`: the API ended while it ran; `done` says how far it was'),
  done: z.int(),
  total: z.int(),
  created_at: printedTimeSchema,
  finished_at: printedTimeSchema.nullable(),
  result: z.unknown().describe('What the operation returned, of a job that is done'),
  problem: problemSchema.nullable().describe('Of a job that failed'),
  audit_from: z
    .int()
    .nullable()
    .describe(
      'Of a job that hands out keys or imports, and ended without a result: the first entry of the audit log that may be of it; null if there is none, and for callers with limits',
    ),
};

const jobViewSchema: z.ZodType<JobView> = z.object(JOB_FIELDS);

export interface JobInput {
  readonly job: string;
}

export const JOB_ID: RegExp = /^[\w-]{16}$/;

const jobInputSchema: z.ZodType<JobInput> = z.strictObject({ job: z.string().regex(JOB_ID) });

export interface JobList {
  /** Latest first. */
  readonly items: readonly JobView[];
}

export const jobsList: Contract<Record<string, never>, JobList> = {
  name: 'jobs.list',
  scope: 'read',
  input: z.strictObject({}) as z.ZodType<Record<string, never>>,
  output: z.object({ items: z.array(jobViewSchema) }),
};

export const jobsShow: Contract<JobInput, JobView> = {
  name: 'jobs.show',
  scope: 'read',
  input: jobInputSchema,
  output: jobViewSchema,
};

export const jobsCancel: Contract<JobInput, JobView> = {
  name: 'jobs.cancel',
  scope: 'read',
  input: jobInputSchema,
  output: jobViewSchema,
};
