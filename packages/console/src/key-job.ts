/** Jobs of the API that hand out keys: begun, waited for, and their file fetched. */

import { jobError, type ProblemDocument, request, requestOctets } from './api.js';

interface KeyJob {
  readonly id: string;
  readonly state: 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';
  readonly result: unknown;
  readonly problem: ProblemDocument | null;
  readonly file?: { readonly name: string };
}

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

export interface KeyRequest {
  readonly path: string;
  readonly body: object;
  /** Under the same key the request happens once: the same job goes on. */
  readonly idempotencyKey: string;
}

const FIRST_POLL_MS = 250;
const MAX_POLL_MS = 4_000;

/** @throws ApiError if the request or its job fails; the AbortError of the signal */
export async function runKeyJob({ path, body, idempotencyKey }: KeyRequest, signal: AbortSignal): Promise<KeyFile> {
  const { id } = await request<KeyJob>(path, { method: 'POST', body, idempotencyKey, signal });
  const job = await endOf(id, signal);
  if (job.state !== 'done') throw jobError(job.problem);
  const octets = await requestOctets(`/v1/jobs/${id}/file`, { method: 'POST', signal });
  return {
    name: job.file?.name ?? 'manifest.csv.age',
    octets,
    result: job.result,
    acknowledge: () => request(`/v1/jobs/${id}/file`, { method: 'DELETE' }),
  };
}

async function endOf(id: string, signal: AbortSignal): Promise<KeyJob> {
  for (let pause = FIRST_POLL_MS; ; pause = Math.min(2 * pause, MAX_POLL_MS)) {
    const job = await request<KeyJob>(`/v1/jobs/${id}`, { signal });
    if (job.state !== 'running') return job;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
