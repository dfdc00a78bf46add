/** Long-running changes: their progress and their results. */

import type { Context } from '@latchkey/operations';
import { z } from 'zod';
import type { Scope } from '../access.js';
import { Accepted } from '../answers.js';
import { JOB_FIELDS, JOB_ID, type JobView } from '@latchkey/operations/contract';
import type { KeyFileView } from '../jobs/key-files.js';
import { type Route, type RouteContext, defineRoute } from '../route.js';
import { timeSchema } from '../schemas.js';

export const jobSchema: z.ZodType<JobView & { readonly file?: KeyFileView | undefined }> = z
  .object({
    ...JOB_FIELDS,
    file: z
      .object({ name: z.string(), octets: z.int(), until: timeSchema })
      .optional()
      .describe('Keys that wait to be fetched, encrypted to their recipients'),
  })
  .meta({ id: 'Job' });

export const jobInputSchema: z.ZodObject<{ job: z.ZodString }> = z.strictObject({
  job: z.string().regex(JOB_ID, { error: 'expected the ID of a job, as Location has it' }),
});

/** Begins a job that reads the whole registry and changes nothing. */
export async function startWalk(
  { jobs, principal }: RouteContext,
  kind: string,
  scopes: readonly Scope[],
  walk: (context: Context) => Promise<unknown>,
): Promise<Accepted<JobView>> {
  const job = await jobs.start({ principal, kind, scopes }, async ({ context, begin }) => {
    await begin(1);
    return walk(context);
  });
  return new Accepted(`/v1/jobs/${job.id}`, job);
}

const list = defineRoute({
  name: 'jobs.list',
  summary: 'List the jobs of the caller',
  description: 'Latest first.',
  scope: 'own',
  path: '/v1/jobs',
  input: z.strictObject({}),
  output: z.object({ items: z.array(jobSchema) }),
  run: ({ jobs, principal }) => ({ items: [...jobs.list(principal)] }),
});

const show = defineRoute({
  name: 'jobs.show',
  summary: 'Show how far a job of the caller is',
  scope: 'own',
  path: '/v1/jobs/:job',
  input: jobInputSchema,
  output: jobSchema,
  run: ({ jobs, keyFiles, principal }, { job }) => ({ ...jobs.show(principal, job), file: keyFiles.view(principal, job) }),
});

const cancel = defineRoute({
  method: 'POST',
  name: 'jobs.cancel',
  summary: 'Cancel a job of the caller',
  description:
    'The job ends after the part that is under way, and what was done stays done. The answer comes when it has ended: `done`, if it was faster.',
  scope: 'own',
  path: '/v1/jobs/:job/cancel',
  input: jobInputSchema,
  output: jobSchema,
  run: ({ jobs, principal }, { job }) => jobs.cancel(principal, job),
});

const remove = defineRoute({
  method: 'DELETE',
  name: 'jobs.remove',
  summary: 'Forget a job of the caller that has ended',
  scope: 'own',
  path: '/v1/jobs/:job',
  input: jobInputSchema,
  output: jobSchema,
  run: ({ jobs, principal }, { job }) => jobs.remove(principal, job),
});

export const jobRoutes: readonly Route[] = [list, show, cancel, remove];
