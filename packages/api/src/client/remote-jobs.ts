/** Jobs of an API elsewhere. */

import { requireRunning } from '@latchkey/operations';
import { type JobInput, jobsShow } from '@latchkey/operations/contract';
import type { RouteCaller } from './route-caller.js';

/** DELETE forgets a job that has ended: it is sent for one that runs only. */
export async function cancelJob(api: RouteCaller, { job }: JobInput): Promise<unknown> {
  requireRunning(jobsShow.output.parse(await api.fetch(jobsShow.name, { job })));
  return api.fetch('jobs.remove', { job });
}
