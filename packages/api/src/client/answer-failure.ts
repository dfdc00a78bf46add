/**
 * Failure for an answer that reports no success. For an error of usage the message is the same as
 * on the machine itself.
 */

import { type ProblemDocument, problemSchema, UNSEEN } from '@latchkey/operations/contract';
import { parseCommandLine } from '@latchkey/runtime/cli';
import { type Advice, Failure, NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { failureKindOf, PROBLEM_TYPE, problemType } from '../problem.js';
import type { Route } from '../route.js';
import type { ApiAnswer } from './connection.js';
import { ifUnfinished } from './unfinished.js';

/** Characters that a server's text may not have on a terminal. */
const HIDDEN = new RegExp(UNSEEN, 'gu');

/** A server's text must not command the terminal. */
export function printable(text: string): string {
  return text.replaceAll(HIDDEN, '\ufffd');
}

/** Reads JSON of a server, its texts printable. */
export function readJson({ octets }: ApiAnswer, server: string): unknown {
  try {
    return JSON.parse(octets.toString('utf8'), (_, value: unknown) =>
      typeof value === 'string' ? printable(value) : value,
    ) as unknown;
  } catch {
    throw notAnApi(server);
  }
}

export function notAnApi(server: string): Failure {
  return new Failure(`${server} answers, and not as a Latchkey API does`, {
    advice: 'Compare its name and port with `api.gateway:` in the configuration of the server.',
  });
}

interface Versions {
  readonly server: string | undefined;
  readonly own: string;
}

/** Returns `undefined` for an answer that is no problem of an API. */
export function readProblem(answer: ApiAnswer, server: string): ProblemDocument | undefined {
  if (answer.headers['content-type']?.startsWith(PROBLEM_TYPE) !== true) return undefined;
  return problemSchema.safeParse(readJson(answer, server)).data;
}

/** @param server its name, in messages */
export function answerFailure(answer: ApiAnswer, route: Route, server: string, versions: Versions): Failure {
  const { status } = answer;
  const problem = readProblem(answer, server);
  if (problem === undefined) return notAnApi(server);
  if (status === 404 && problem.detail === undefined) return otherVersion(route, server, versions);
  if (status === 400 && versions.server !== undefined && versions.server !== versions.own)
    return new UsageFailure(describe(problem), {
      advice: `Nothing was changed. The server has version ${versions.server}, and this program ${versions.own}: it may not know all of this.`,
    });
  return problemFailure(problem, route, server);
}

/** The server has no such route. */
function otherVersion({ name }: Route, server: string, versions: Versions): Failure {
  return new Failure(
    `${server} does not know the operation ${name}: it has version ${versions.server ?? 'unknown'}, and this program ${versions.own}`,
    { advice: 'Install the same version in both places, or run the command on the machine of the registry.' },
  );
}

/** Also of a job that failed. */
export function problemFailure(
  problem: ProblemDocument,
  route: Pick<Route, 'name' | 'method' | 'scope' | 'beginsJob'>,
  server: string,
): Failure {
  const message = describe(problem);
  const given = adviceOf(problem);
  const at = (advice: string): Failure => new Failure(`${server}: ${message}`, { advice });
  if (problem.type === problemType('recipient-not-allowed'))
    return at('Name a recipient of the token with --recipient, or the file of its identity with --identity-file.');
  if (problem.type === problemType('outcome-unknown'))
    return new Failure(`${server}: ${message}, for its answer was lost`, ifUnfinished(route));
  switch (problem.status) {
    case 401:
      return at(
        'The token is of another server, has expired, was revoked, or may not be used from this address: the log of the API says which. One of `latchkey-auth-server login` counts for 12 hours: run that again. On the machine of the registry: latchkey-auth-server token list --data DIR',
      );
    case 403:
      return at(problem.advice ?? `The operation needs the scope \`${route.scope}\`. Ask an administrator for it.`);
    case 413:
      return new UsageFailure('that is too much for one request', {
        advice: 'Nothing was changed. Name fewer nodes at once, or a filter that they match.',
      });
    case 421:
      return at('Name the server as `api.gateway.hosts:` in its configuration does, with the port.');
  }
  switch (failureKindOf(problem)) {
    case 'not-found':
      return new NotFound(message, given);
    case 'usage':
      return new UsageFailure(message, given);
    case 'failed':
      return new Failure(`${server}: ${message}`, given);
  }
}

function describe({ title, detail, errors = [] }: ProblemDocument): string {
  if (errors.length > 0) return errors.map(({ at, is }) => `${at}: ${is}`).join('; ');
  return detail ?? title;
}

function adviceOf({ advice, run = [] }: ProblemDocument): Advice {
  return { ...(advice === undefined ? {} : { advice }), run: run.map(parseCommandLine) };
}
