/** Jobs of the API, as seen by commands: listing and cancelling. */

import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import * as contract from './contract/jobs.js';
import type { JobInput, JobList, JobView } from './contract/jobs.js';
import { type Context, implement, type Operation } from './operation.js';

/** Storage of jobs. */
export interface JobSource {
  /** Latest first. */
  readonly list: () => readonly JobView[];
  readonly show: (id: string) => JobView | undefined;
  /** Cancels a running job after its current part, and waits for its end. */
  readonly cancel: (id: string) => Promise<JobView>;
}

export interface JobContext extends Context {
  readonly jobs: JobSource;
}

const LIST_THEM = { advice: 'List them:', run: [['latchkey-auth-server', 'job', 'list']] };

export function jobNotFound(id: string): NotFound {
  return new NotFound(`there is no job ${id}`, LIST_THEM);
}

/** @throws UsageFailure if the job does not run any more */
export function requireRunning({ id, state }: JobView): void {
  if (state === 'running') return;
  throw new UsageFailure(`job ${id} has ended already: ${state}`, { advice: 'Nothing was changed.' });
}

function find({ jobs }: JobContext, id: string): JobView {
  const job = jobs.show(id);
  if (job === undefined) throw jobNotFound(id);
  return job;
}

export const jobsList: Operation<Record<string, never>, JobList, JobContext> = implement(
  contract.jobsList,
  ({ jobs }: JobContext) => ({ items: jobs.list() }),
);

export const jobsShow: Operation<JobInput, JobView, JobContext> = implement(contract.jobsShow, (context: JobContext, { job }) =>
  find(context, job),
);

export const jobsCancel: Operation<JobInput, JobView, JobContext> = implement(
  contract.jobsCancel,
  (context: JobContext, { job }) => {
    requireRunning(find(context, job));
    return context.jobs.cancel(job);
  },
);
