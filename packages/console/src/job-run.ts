/** Jobs of the API that are begun and waited for: what they found, or the file with keys. */

import { jobError, request, requestOctets } from './api.js';
import { followJob, type Job } from './jobs.js';

export interface KeyFile {
  /** `manifest.csv.age` say. */
  readonly name: string;
  /** In the age format. */
  readonly octets: Uint8Array<ArrayBuffer>;
  /** What the operation returned. */
  readonly result: unknown;
  /** The page has the file: the server forgets it. */
  readonly acknowledge: () => Promise<void>;
}

export interface JobRequest {
  readonly path: string;
  readonly body: object;
  /** Under the same key the request happens once: the same job goes on. */
  readonly idempotencyKey: string;
}

/** @throws ApiError if the request or its job fails; the AbortError of the signal */
export async function runKeyJob({ path, body, idempotencyKey }: JobRequest, signal: AbortSignal): Promise<KeyFile> {
  const job = await runJob({ path, body, idempotencyKey }, signal);
  const { id } = job;
  const octets = await requestOctets(`/v1/jobs/${id}/file`, { method: 'POST', signal });
  return {
    name: job.file?.name ?? 'manifest.csv.age',
    octets,
    result: job.result,
    acknowledge: () => request(`/v1/jobs/${id}/file`, { method: 'DELETE' }),
  };
}

/** @throws as `runKeyJob` */
async function runJob({ path, body, idempotencyKey }: JobRequest, signal: AbortSignal): Promise<Job> {
  const begun = await request<Job>(path, { method: 'POST', body, idempotencyKey, signal });
  const job = await followJob(begun, () => undefined, signal);
  if (job.state !== 'done') throw jobError(job.problem);
  return job;
}

/**
 * Returns the result of a job that changes nothing. The job is deleted at once, because no other
 * page reads it.
 */
export async function runQuery<T>(path: string, body: object, signal: AbortSignal): Promise<T> {
  const { id, result } = await runJob({ path, body, idempotencyKey: crypto.randomUUID() }, signal);
  // If it cannot be forgotten, it goes when it is the oldest one.
  await request(`/v1/jobs/${id}`, { method: 'DELETE' }).catch(() => undefined);
  return result as T;
}
