/** Requests to the API of this origin. */

import { endSession, readSecret } from './session.js';

export interface Problem {
  /** The last part of its `type`, `cursor-invalid` say; `unreachable` if no answer came. */
  readonly name: string;
  readonly status: number;
  readonly detail?: string | undefined;
  readonly advice?: string | undefined;
  readonly errors?: readonly { readonly at: string; readonly is: string }[] | undefined;
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
}

const PROBLEM_PREFIX = 'urn:latchkey:problem:';

/** @throws ApiError, or the AbortError of the signal */
export async function request<T>(path: string, { method = 'GET', body, signal }: RequestOptions = {}): Promise<T> {
  const secret = readSecret();
  const headers: Record<string, string> = {};
  if (secret !== null) headers['x-latchkey-session'] = secret;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const response = await send(path, {
    method,
    headers,
    redirect: 'error',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (!response.ok) {
    const problem = await readProblem(response);
    if (problem.name === 'not-authenticated' && secret !== null) endSession(secret);
    throw new ApiError(problem);
  }
  return (response.status === 204 ? undefined : await response.json()) as T;
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
  const seconds = Number(response.headers.get('retry-after'));
  const retryAfter = seconds > 0 ? seconds : undefined;
  try {
    const { type, detail, advice, errors } = (await response.json()) as Partial<Problem> & { readonly type?: string };
    if (type?.startsWith(PROBLEM_PREFIX) === true)
      return { name: type.slice(PROBLEM_PREFIX.length), status: response.status, detail, advice, errors, retryAfter };
  } catch {
    // Not the API: a proxy before it.
  }
  return { name: response.status >= 502 ? 'unreachable' : 'other', status: response.status, retryAfter };
}
