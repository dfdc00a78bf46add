/** Work of the API that takes long. */

import { z } from 'zod';
import { type Contract, printedTimeSchema } from './contract.js';

const JOB_STATES = ['running', 'done', 'failed', 'cancelled', 'interrupted'] as const;

/** Why a job failed, as the API answers a request that fails. */
export interface JobProblem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string | undefined;
  readonly advice?: string | undefined;
  /** Commands that follow the advice. */
  readonly run?: readonly string[] | undefined;
  readonly errors?: readonly { readonly at: string; readonly is: string }[] | undefined;
  readonly preview?: unknown;
}

export interface JobView {
  readonly id: string;
  /** The operation, `nodes.change-many` say. */
  readonly kind: string;
  /** Who began it, as in the audit log. */
  readonly by: string;
  readonly state: (typeof JOB_STATES)[number];
  readonly done: number;
  readonly total: number;
  readonly created_at: string;
  readonly finished_at: string | null;
  /** What the operation returned, of a job that is done. */
  readonly result: unknown;
  /** Of a job that failed. */
  readonly problem: JobProblem | null;
  /**
   * Of a job that hands out keys or adds nodes, and ended without a result: the first entry of the
   * audit log that may be of it. `null`: there is none, or the caller sees no entries of others.
   */
  readonly audit_from: number | null;
}

const problemSchema: z.ZodType<JobProblem> = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  advice: z.string().optional(),
  run: z.array(z.string()).optional(),
  errors: z.array(z.object({ at: z.string(), is: z.string() })).optional(),
  preview: z.unknown().optional(),
});

export const jobViewSchema: z.ZodType<JobView> = z.object({
  id: z.string(),
  kind: z.string(),
  by: z.string(),
  state: z.enum(JOB_STATES),
  done: z.int(),
  total: z.int(),
  created_at: printedTimeSchema,
  finished_at: printedTimeSchema.nullable(),
  result: z.unknown(),
  problem: problemSchema.nullable(),
  audit_from: z.int().nullable(),
});

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
