/**
 * Errors as RFC 9457 problem details. `type` is stable. No problem repeats a value of the input.
 */

import type { ProblemDocument } from '@latchkey/operations/contract';
import { formatCommandLine } from '@latchkey/runtime/cli';
import { type Failure, type FailureKind, UsageFailure } from '@latchkey/runtime/failure';
import { SECURITY_HEADERS } from './security-headers.js';

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  /** Kind of the failure of a command that gets this answer; `failed` without it. */
  readonly failure?: FailureKind;
}

/** Each kind of problem: the last part of its `type`. */
export type ProblemName =
  | 'bad-request'
  | 'cursor-invalid'
  | 'idempotency-key-required'
  | 'not-authenticated'
  | 'step-up-refused'
  | 'step-up-required'
  | 'provider-refused'
  | 'cross-site-request'
  | 'already-exists'
  | 'forbidden'
  | 'recipient-not-allowed'
  | 'forwarded-request'
  | 'not-found'
  | 'method-not-allowed'
  | 'request-timeout'
  | 'refused'
  | 'selection-changed'
  | 'request-under-way'
  | 'outcome-unknown'
  | 'changed-meanwhile'
  | 'body-too-large'
  | 'unsupported-media-type'
  | 'too-many-requests'
  | 'idempotency-key-reused'
  | 'precondition-required'
  | 'misdirected-request'
  | 'headers-too-large'
  | 'internal-error'
  | 'provider-failed'
  | 'unavailable'
  | 'busy';

const PROBLEMS: Readonly<Record<ProblemName, ProblemKind>> = {
  'bad-request': { status: 400, title: 'The request is not valid', failure: 'usage' },
  'cursor-invalid': { status: 400, title: 'The cursor is of another list or another start of the API' },
  'idempotency-key-required': { status: 400, title: 'The request needs an Idempotency-Key' },
  'not-authenticated': { status: 401, title: 'The caller is not known' },
  'step-up-refused': { status: 401, title: 'The password is wrong' },
  forbidden: { status: 403, title: 'The role of the caller does not allow the operation' },
  'recipient-not-allowed': { status: 403, title: 'The token hands keys to the recipients that it names only' },
  'forwarded-request': { status: 403, title: 'The socket takes no requests from browsers or proxies' },
  'step-up-required': { status: 403, title: 'The operation needs a password that was given in the last five minutes' },
  'provider-refused': { status: 403, title: 'The sign-in at the provider does not count' },
  'cross-site-request': { status: 403, title: 'The request does not come from a page of the console' },
  'not-found': { status: 404, title: 'The resource does not exist', failure: 'not-found' },
  'method-not-allowed': { status: 405, title: 'The resource does not have that method' },
  'request-timeout': { status: 408, title: 'The request did not arrive in time' },
  refused: { status: 409, title: 'The registry is not in a state that allows the operation', failure: 'usage' },
  'already-exists': { status: 409, title: 'The name is taken', failure: 'usage' },
  'selection-changed': { status: 409, title: 'Other nodes are selected than the preview showed' },
  'request-under-way': { status: 409, title: 'The same request is being answered' },
  'outcome-unknown': { status: 409, title: 'It is not known whether the request was done' },
  'changed-meanwhile': { status: 412, title: 'The resource is not what If-Match says' },
  'body-too-large': { status: 413, title: 'The body is too large', failure: 'usage' },
  'unsupported-media-type': { status: 415, title: 'The body is not of a known type' },
  'misdirected-request': { status: 421, title: 'The API does not serve that host or origin' },
  'idempotency-key-reused': { status: 422, title: 'The Idempotency-Key is of another request' },
  'precondition-required': { status: 428, title: 'The change needs If-Match' },
  'too-many-requests': { status: 429, title: 'The caller sends too many requests' },
  'headers-too-large': { status: 431, title: 'The header is too large' },
  'internal-error': { status: 500, title: 'The API has a fault' },
  'provider-failed': { status: 502, title: 'The sign-in provider does not answer as it should' },
  unavailable: { status: 503, title: 'The registry does not answer' },
  busy: { status: 503, title: 'Too much is under way' },
};

/**
 * What the API answers for a failure of an operation; a failure at work is a fault of the server.
 */
const PROBLEM_OF_FAILURE: Readonly<Record<FailureKind, ProblemName | undefined>> = {
  failed: undefined,
  'not-found': 'not-found',
  usage: 'refused',
};

const PROBLEM_OF_PARSER: Readonly<Record<string, ProblemName>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'request-timeout',
  HPE_HEADER_OVERFLOW: 'headers-too-large',
};

export const PROBLEM_TYPE = 'application/problem+json';
const TYPE_PREFIX = 'urn:latchkey:problem:';

export function problemType(kind: ProblemName): string {
  return `${TYPE_PREFIX}${kind}`;
}

interface ProblemDetails extends Omit<ProblemDocument, 'type' | 'title' | 'status'> {
  /** Seconds after which the same request may succeed. */
  readonly retryAfter?: number | undefined;
}

/** Ends a request with a problem. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly kind: ProblemName;
  readonly details: ProblemDetails;

  constructor(kind: ProblemName, details: ProblemDetails = {}) {
    super(PROBLEMS[kind].title);
    this.kind = kind;
    this.details = details;
  }

  get status(): number {
    return statusOf(this.kind);
  }

  /** What an operation says of its caller's mistake. Returns `undefined` for a failure at work. */
  static ofFailure(failure: Failure): Problem | undefined {
    const kind = PROBLEM_OF_FAILURE[failure.kind];
    if (kind === undefined) return undefined;
    const { message: detail, advice, run } = failure;
    return new Problem(kind, { detail, advice, ...(run.length === 0 ? {} : { run: run.map(formatCommandLine) }) });
  }

  /** Of what Node.js's parser refuses: there is no request yet that could be answered. */
  static ofClientError(code: string | undefined): Problem {
    return new Problem(PROBLEM_OF_PARSER[code ?? ''] ?? 'bad-request');
  }

  /** A whole answer, after which the connection is closed. */
  toResponse(): string {
    const body = JSON.stringify(this);
    const headers = {
      ...SECURITY_HEADERS,
      'content-type': PROBLEM_TYPE,
      'content-length': String(body.length),
      connection: 'close',
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    return `HTTP/1.1 ${this.status} ${this.message}\r\n${lines.join('')}\r\n${body}`;
  }

  toJSON(): ProblemDocument {
    const { detail, advice, run, errors, preview } = this.details;
    return {
      type: problemType(this.kind),
      title: PROBLEMS[this.kind].title,
      status: this.status,
      ...(detail === undefined ? {} : { detail }),
      ...(advice === undefined ? {} : { advice }),
      ...(run === undefined ? {} : { run }),
      ...(errors === undefined ? {} : { errors }),
      ...(preview === undefined ? {} : { preview }),
    };
  }
}

export function statusOf(kind: ProblemName): number {
  return PROBLEMS[kind].status;
}

/** What the caller asked for that is not possible is answered, not logged. */
export async function refusable<T>(change: Promise<T>): Promise<T> {
  try {
    return await change;
  } catch (error) {
    throw (error instanceof UsageFailure ? Problem.ofFailure(error) : undefined) ?? error;
  }
}

/** Kind of the failure of a command that gets this answer. */
export function failureKindOf({ type, status }: Pick<ProblemDocument, 'type' | 'status'>): FailureKind {
  const name = type.slice(TYPE_PREFIX.length);
  // A later version may have other kinds of problems.
  const kind = Object.hasOwn(PROBLEMS, name) ? (name as ProblemName) : problemOfStatus(status);
  return PROBLEMS[kind].failure ?? 'failed';
}

/** Describes each kind of problem that has this status. */
export function describeStatus(status: number): string {
  const kinds = Object.entries(PROBLEMS).filter(([, kind]) => kind.status === status);
  return kinds.map(([name, { title }]) => `\`${name}\`: ${title}.`).join(' ');
}

/** Kind of problem of a status that fastify or Node.js chose. */
export function problemOfStatus(status: number): ProblemName {
  const found = Object.entries(PROBLEMS).find(([, kind]) => kind.status === status);
  if (found !== undefined) return found[0] as ProblemName;
  return status >= 500 ? 'internal-error' : 'bad-request';
}
