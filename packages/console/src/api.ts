/** Requests to the API of this origin. */

import type { ProblemDocument } from '@latchkey/operations/contract';
import { holdsSecret } from './pasted-key.js';
import { askForStepUp } from './step-up.js';
import { endSession, readSecret } from './session.js';

/** A problem as the API writes it, or that no answer came. */
export interface Problem extends Omit<ProblemDocument, 'type' | 'title'> {
  /** The last part of its `type`, `cursor-invalid` say; `unreachable` if no answer came. */
  readonly name: string;
  /** Seconds after which the same request may succeed. */
  readonly retryAfter?: number | undefined;
}

class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.name);
    this.problem = problem;
  }
}

export function problemOf(error: unknown): Problem {
  return error instanceof ApiError ? error.problem : { name: 'other', status: 0 };
}

export interface RequestOptions {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** Entity tag of what the caller has seen: anything else is not changed. */
  readonly ifMatch?: string;
  /** Under the same key a request happens once, however often it is sent. */
  readonly idempotencyKey?: string;
}

export interface Answer<T> {
  readonly data: T;
  readonly tag: string | undefined;
  /** When the server answered, by its clock, ms since the epoch. */
  readonly serverAt: number | undefined;
}

const PROBLEM_PREFIX = 'urn:latchkey:problem:';

/** @throws ApiError, or the AbortError of the signal */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const { data } = await requestTagged<T>(path, options);
  return data;
}

/** The answer with its entity tag. */
export async function requestTagged<T>(path: string, options: RequestOptions = {}): Promise<Answer<T>> {
  const response = await exchange(path, options);
  const data = (response.status === 204 ? undefined : await response.json()) as T;
  const answered = Date.parse(response.headers.get('date') ?? '');
  return {
    data,
    tag: response.headers.get('etag') ?? undefined,
    serverAt: Number.isNaN(answered) ? undefined : answered,
  };
}

/** The octets of a file. */
export async function requestOctets(path: string, options: RequestOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  const response = await exchange(path, options);
  return new Uint8Array(await response.arrayBuffer());
}

/**
 * Sends a request until it is answered. Asks for the password again if the server requires a
 * step-up.
 */
async function exchange(path: string, options: RequestOptions): Promise<Response> {
  const { method = 'GET', body, signal, ifMatch, idempotencyKey } = options;
  const secret = readSecret();
  const headers: Record<string, string> = {};
  if (secret !== null) headers['x-latchkey-session'] = secret;
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (ifMatch !== undefined) headers['if-match'] = ifMatch;
  if (idempotencyKey !== undefined) headers['idempotency-key'] = idempotencyKey;
  const text = body === undefined ? undefined : JSON.stringify(body);
  if (text !== undefined && holdsSecret(text)) throw new ApiError({ name: 'key-withheld', status: 0 });
  const response = await send(path, {
    method,
    headers,
    redirect: 'error',
    ...(text === undefined ? {} : { body: text }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (response.ok) return response;
  const problem = await readProblem(response);
  if (problem.name === 'not-authenticated' && secret !== null) endSession(secret);
  if (problem.name === 'step-up-required' && (await askForStepUp())) return exchange(path, options);
  throw new ApiError(problem);
}

/**
 * The stream of events after the one with that ID. By fetch: an EventSource sends no secret of the
 * session.
 */
export async function openEvents(lastEventId: string | undefined, signal: AbortSignal): Promise<ReadableStream<string>> {
  const secret = readSecret();
  const headers: Record<string, string> = {};
  if (secret !== null) headers['x-latchkey-session'] = secret;
  if (lastEventId !== undefined) headers['last-event-id'] = lastEventId;
  const response = await send('/v1/events', { headers, redirect: 'error', signal });
  if (!response.ok || response.body === null) {
    const problem = await readProblem(response);
    if (problem.name === 'not-authenticated') endSession(secret);
    throw new ApiError(problem);
  }
  return response.body.pipeThrough(new TextDecoderStream());
}

/**
 * Changes the current version of a resource, for an undo and for the action of a fresh diagnosis.
 */
export async function patchNow(path: string, body: object): Promise<void> {
  const { tag } = await requestTagged(path);
  await request(path, { method: 'PATCH', body, ...(tag === undefined ? {} : { ifMatch: tag }) });
}

/**
 * Undoes a change, unless another user has changed the same since.
 *
 * @param isAsWritten returns true if the resource still has the value that the change wrote
 */
export async function patchBack(path: string, isAsWritten: (now: unknown) => boolean, body: object): Promise<void> {
  const { data, tag = '' } = await requestTagged<unknown>(path);
  if (!isAsWritten(data)) throw new ApiError({ name: 'changed-meanwhile', status: 412 });
  await request(path, { method: 'PATCH', body, ifMatch: tag });
}

async function send(path: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError({ name: 'unreachable', status: 0 });
  }
}

async function readProblem(response: Response): Promise<Problem> {
  const { status } = response;
  const seconds = Number(response.headers.get('retry-after'));
  const retryAfter = seconds > 0 ? seconds : undefined;
  try {
    const problem = problemFrom((await response.json()) as Partial<ProblemDocument>, status);
    if (problem !== undefined) return { ...problem, retryAfter };
  } catch {
    // Not the API: a proxy before it.
  }
  return { name: status >= 502 ? 'unreachable' : 'other', status, retryAfter };
}

function problemFrom(document: Partial<ProblemDocument>, status: number): Problem | undefined {
  const { type, detail, advice, run, errors, preview } = document;
  if (type?.startsWith(PROBLEM_PREFIX) !== true) return undefined;
  return { name: type.slice(PROBLEM_PREFIX.length), status, detail, advice, run, errors, preview };
}

/** The error of a job that did not end well. */
export function jobError(document: ProblemDocument | null): Error {
  return new ApiError((document === null ? undefined : problemFrom(document, 0)) ?? { name: 'job-interrupted', status: 0 });
}
