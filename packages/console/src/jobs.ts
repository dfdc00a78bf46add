/** Changes that take long: begun, followed, cancelled. */

import type { JobView, ManyNodesChange, NodeChange, NodeSelection } from '@latchkey/operations/contract';
import { request } from './api.js';

export interface Job extends JobView {
  /** Keys that wait to be fetched. */
  readonly file?: { readonly name: string; readonly octets: number; readonly until: string } | undefined;
}

/** What a change is about to do. */
export interface Preview {
  readonly count: number;
  readonly already_so: number;
  readonly examples: readonly string[];
  readonly expect: string;
}

/** A change of many nodes, as the API takes it. */
export interface NodesChange {
  readonly select: NodeSelection;
  readonly change: ManyNodesChange;
}

const POLL_MS = 700;
const PATH = '/v1/node-changes';

export function previewChange(change: NodesChange): Promise<Preview> {
  return request(PATH, { method: 'POST', body: { ...change, dry_run: true } });
}

/** Begins the change of the nodes that the preview showed, and of no others. */
export function beginChange(change: NodesChange, expect: string): Promise<Job> {
  return request(PATH, { method: 'POST', body: { ...change, expect }, idempotencyKey: crypto.randomUUID() });
}

export function cancelJob(id: string): Promise<Job> {
  return request(`/v1/jobs/${id}/cancel`, { method: 'POST' });
}

/** Forgets a job that has ended. */
export function removeJob(id: string): Promise<Job> {
  return request(`/v1/jobs/${id}`, { method: 'DELETE' });
}

/** Resolves when the job has ended. The API goes on with it, whoever follows. */
export async function followJob(job: Job, onProgress: (job: Job) => void, signal?: AbortSignal): Promise<Job> {
  let now = job;
  while (now.state === 'running') {
    onProgress(now);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    signal?.throwIfAborted();
    now = await request<Job>(`/v1/jobs/${job.id}`, signal === undefined ? {} : { signal });
  }
  onProgress(now);
  return now;
}

/** What a job that is done has changed; `undefined` of other jobs. */
export function changedBy({ state, result }: Job): NodeChange | undefined {
  if (state !== 'done' || typeof result !== 'object' || result === null || !('changed' in result)) return undefined;
  return result as NodeChange;
}

/** Makes a change without a preview that somebody reads: an undo. */
export async function changeNow(change: NodesChange): Promise<void> {
  const { expect } = await previewChange(change);
  const { state } = await followJob(await beginChange(change, expect), () => undefined);
  if (state !== 'done') throw new Error(`the job has ended as ${state}`);
}
