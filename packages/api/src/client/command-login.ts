/**
 * Signs a command in at a server: a person confirms it in the console (docs/decisions/0052). The
 * token is in one answer, and in no URL.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '@latchkey/runtime/failure';
import { readVersion } from '@latchkey/runtime/telemetry';
import { z } from 'zod';
import { PERSON_SCOPES, type Scope } from '../access.js';
import { BEGIN_PATH, CANCEL_PATH, FETCH_PATH } from '../command-login/contract.js';
import { notAnApi, problemFailure, readJson, readProblem } from './answer-failure.js';
import { type ApiAnswer, ApiConnection, type ConnectionOptions } from './connection.js';

/** For a decision at the last moment, in ms: the server keeps it for longer. */
const LATE_MS = 15_000;
/** For the server to take in that the command gives up, in ms. */
const GIVE_UP_MS = 3_000;
/** In s, whatever the server says. */
const MAX_INTERVAL_S = 60;
const MAX_EXPIRES_S = 3_600;
/** A server that has none of these routes answers so. */
const NO_SUCH_ROUTE: ReadonlySet<number> = new Set([401, 403, 404, 405]);

const secondsSchema = (max: number): z.ZodInt => z.int().min(1).max(max);
const textSchema = z.string().min(1).max(512);

/** Further fields are ignored: a newer server may have some. */
const begunSchema = z.object({
  secret: textSchema,
  code: textSchema,
  address: textSchema,
  expires_seconds: secondsSchema(MAX_EXPIRES_S),
  interval_seconds: secondsSchema(MAX_INTERVAL_S),
});
/** A token of the person who confirmed. */
export interface ConfirmedLogin {
  readonly token: string;
  readonly token_id: string;
  readonly user: string;
  readonly scopes: readonly string[];
  /** ISO 8601 */
  readonly expires_at: string;
}

const confirmedSchema: z.ZodType<ConfirmedLogin & { readonly state: 'confirmed' }> = z.object({
  state: z.literal('confirmed'),
  token: z.string().regex(/^[!-~]{1,200}$/),
  token_id: textSchema,
  user: textSchema,
  scopes: z.array(textSchema),
  expires_at: z.iso.datetime(),
});
const outcomeSchema = z.union([confirmedSchema, z.object({ state: z.enum(['pending', 'refused', 'unknown']) })]);

/** Scopes that such a token may have. */
export const LOGIN_SCOPES: readonly Scope[] = PERSON_SCOPES;

export interface LoginOptions {
  /** Name of this machine, which the person is shown. */
  readonly machine: string;
  /** Name of the server here, which the person is shown. */
  readonly context: string;
  /** `undefined`: whatever the person may. */
  readonly scopes?: readonly Scope[] | undefined;
  readonly lifetimeSeconds: number;
  /** Called once, with what the person needs. */
  readonly show: (prompt: { readonly code: string; readonly address: string; readonly expiresSeconds: number }) => void;
  /** Called when the server stops answering. The login goes on. */
  readonly warn: (message: string) => void;
  /** Gives up. */
  readonly signal: AbortSignal;
}

/** @throws Failure unless a person has confirmed */
export async function logIn(
  connectionOptions: Omit<ConnectionOptions, 'userAgent' | 'token'>,
  options: LoginOptions,
): Promise<ConfirmedLogin> {
  const connection = new ApiConnection({ ...connectionOptions, userAgent: `latchkey-auth-server/${readVersion().version}` });
  try {
    return await waitForPerson(connection, options);
  } finally {
    connection.close();
  }
}

async function waitForPerson(connection: ApiConnection, options: LoginOptions): Promise<ConfirmedLogin> {
  const { machine, context, scopes, lifetimeSeconds, show, warn, signal } = options;
  const begun = begunSchema.safeParse(
    await post(connection, BEGIN_PATH, { machine, context, scopes, lifetime_seconds: lifetimeSeconds }, true),
  ).data;
  if (begun === undefined) throw notAnApi(connection.name);
  show({ code: begun.code, address: begun.address, expiresSeconds: begun.expires_seconds });
  const codeExpiresMs = performance.now() + 1_000 * begun.expires_seconds;
  let silence: Failure | undefined;
  while (performance.now() < codeExpiresMs + LATE_MS) {
    await pause(1_000 * begun.interval_seconds, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) throw await giveUp(connection, begun.secret);
    const answer = await ask(connection, begun.secret);
    if (answer instanceof Failure) {
      if (silence === undefined) warn(`${answer.message}. Asking again.`);
      silence = answer;
      continue;
    }
    silence = undefined;
    switch (answer.state) {
      case 'confirmed':
        return answer;
      case 'refused':
        throw new Failure(`${connection.name}: the sign-in of this command was refused in the console`, {
          advice: 'Nothing was changed.',
        });
      case 'unknown':
        if (performance.now() >= codeExpiresMs) throw expired(connection);
        throw new Failure(`${connection.name} has forgotten the sign-in of this command`, {
          advice:
            'Nothing was changed. The API was restarted, or has too many of them. Begin again. If you had confirmed it, see in the console whether it made a token, and revoke that.',
        });
      case 'pending':
    }
  }
  throw silence ?? expired(connection);
}

/** Tells the server, so that nobody confirms the code for nothing. */
async function giveUp(connection: ApiConnection, secret: string): Promise<Failure> {
  const told = sendPost(connection, CANCEL_PATH, { secret }, false).then(
    ({ status }) => status < 400,
    () => false,
  );
  const isTold = await Promise.race([told, pause(GIVE_UP_MS, false)]);
  return new Failure('interrupted before anybody confirmed the code', {
    advice: isTold
      ? 'Nothing was changed. The code is of no use now.'
      : 'Nothing was changed. The server does not answer: whoever confirms the code makes no token by that.',
  });
}

function expired({ name }: ApiConnection): Failure {
  return new Failure(`${name}: the code has expired, and nobody has confirmed it`, {
    advice: 'Nothing was changed. Begin again.',
  });
}

/** Returns a Failure if no answer came: the server may be restarted, and is asked again. */
async function ask(connection: ApiConnection, secret: string): Promise<z.output<typeof outcomeSchema> | Failure> {
  let answer: ApiAnswer;
  try {
    answer = await sendPost(connection, FETCH_PATH, { secret }, false);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  if (answer.status >= 500) return loginFailure(connection, answer);
  const outcome = outcomeSchema.safeParse(readAnswer(connection, answer)).data;
  if (outcome === undefined) throw notAnApi(connection.name);
  return outcome;
}

async function post(connection: ApiConnection, path: string, body: object, isRepeatable: boolean): Promise<unknown> {
  return readAnswer(connection, await sendPost(connection, path, body, isRepeatable));
}

function sendPost(connection: ApiConnection, path: string, body: object, isRepeatable: boolean): Promise<ApiAnswer> {
  return connection.send({ method: 'POST', path, headers: {}, body: JSON.stringify(body), isRepeatable });
}

function readAnswer(connection: ApiConnection, answer: ApiAnswer): unknown {
  if (answer.status >= 400) throw loginFailure(connection, answer);
  return readJson(answer, connection.name);
}

function loginFailure({ name }: ApiConnection, answer: ApiAnswer): Failure {
  const problem = readProblem(answer, name);
  if (problem === undefined) return notAnApi(name);
  if (NO_SUCH_ROUTE.has(problem.status))
    return new Failure(`${name} signs in no commands`, {
      advice:
        'Its configuration needs `remote:` and `browser:` below `api:`, and it needs the version of this program. Or make a token on its machine:',
      run: [['latchkey-auth-server', 'token', 'create', '--help']],
    });
  return problemFailure(problem, { name: 'login', scope: 'own' }, name);
}
