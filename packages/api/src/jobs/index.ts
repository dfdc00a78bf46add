/** Jobs of the API, for commands on its machine. */

import { setTimeout as pause } from 'node:timers/promises';
import type { JobSource } from '@latchkey/operations';
import { Failure } from '@latchkey/runtime/failure';
import { viewJob } from './job-view.js';
import { RequestStore } from './request-store.js';

/** Poll interval for the end of a job, in ms. */
const LOOK_MS = 100;
/** Maximum time of a job for its current part, in ms. */
const MAX_WAIT_MS = 60_000;

export interface JobStore extends JobSource {
  readonly close: () => Promise<void>;
}

/**
 * Jobs of every caller. What runs is in the API: it is asked to cancel a job.
 *
 * @param folder of the registry
 */
export async function openJobStore(folder: string, maxWaitMs: number = MAX_WAIT_MS): Promise<JobStore> {
  const store = await RequestStore.openBeside(folder);
  return {
    list: () => store.jobsOf().map(viewJob),
    show: (id) => {
      const record = store.job(id);
      return record && viewJob(record);
    },
    async cancel(id) {
      await store.requestCancellation(id);
      for (const until = performance.now() + maxWaitMs; performance.now() < until; await pause(LOOK_MS)) {
        const record = store.job(id);
        if (record !== undefined && record.state !== 'running') return viewJob(record);
      }
      throw new Failure(`job ${id} has not ended within ${Math.round(maxWaitMs / 1_000)} s`, {
        advice:
          'It ends after the part that is under way. If the API does not run any more, the job has ended with it, and the next start of the API says so. Look again:',
        run: [['latchkey-auth-server', 'job', 'show', id]],
      });
    },
    close: () => store.close(),
  };
}
