/**
 * Signing a command in on another machine, in the manner of RFC 8628 (docs/decisions/0052). The
 * command asks, and shows a code. A person types the code in the console, sees what asks, and
 * confirms. The command then fetches a token of that person, once.
 */

import type { AuditEvent } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { PERSON_SCOPES, type Scope, scopesOf } from '../access.js';
import { Problem, refusable } from '../problem.js';
import { type Rate, RateLimiter } from '../rate-limiter.js';
import { addToken, mayMakeTokens } from '../tokens/administration.js';
import { sourceOf } from '../tokens/networks.js';
import { generateToken } from '../tokens/token.js';
import type { TokenStore } from '../tokens/token-store.js';
import type { UserRecord, UserStore } from '../users/user-store.js';
import { type ClaimedLogin, CODE_LIFETIME_MS, type LoginRequest, LoginRequests } from './login-requests.js';

/** At which a command asks what came of its request, in s. */
const POLL_INTERVAL_S = 2;
/** Where a person types the code, in the console. */
const CODE_PATH = '/code';

/** Requests from one IPv4 address or /64. */
const REQUESTS_BY_SOURCE: Rate = { perSecond: 5 / 60, burst: 10 };
/** Codes that one person types. */
const CODES_BY_PERSON: Rate = { perSecond: 10 / 60, burst: 10 };
const RETRY_AFTER_S = 60;

export interface CommandLoginsOptions {
  readonly tokens: TokenStore;
  readonly users: UserStore;
  readonly record: (event: AuditEvent, actor: string) => Promise<void>;
  /** When the registry was restored, ms since the epoch; `null` if never. */
  readonly registryRestoredAt: () => Promise<number | null>;
  /** Of the console, e.g. `https://plant.example:8443`. */
  readonly origin: string;
  readonly monotonicMs?: (() => number) | undefined;
}

/** What a command gets of its request. */
export interface BegunLogin {
  /** Of the command: fetches the token. */
  readonly secret: string;
  /** For the person. */
  readonly code: string;
  /** Page of the console that takes the code. */
  readonly address: string;
  readonly expires_seconds: number;
  readonly interval_seconds: number;
}

/** What came of a request. `unknown`: it has expired, was fetched, or the API was restarted. */
export type LoginOutcome =
  | { readonly state: 'pending' | 'refused' | 'unknown' }
  | {
      readonly state: 'confirmed';
      readonly token: string;
      readonly token_id: string;
      readonly user: string;
      readonly scopes: readonly Scope[];
      readonly expires_at: string;
    };

/** What a person sees before the decision. `machine` and `context` are the command's claims. */
export interface LoginView {
  readonly code: string;
  readonly machine: string;
  readonly context: string;
  readonly address: string | null;
  readonly asked_at: string;
  readonly expires_at: string;
  /** Of the token. */
  readonly lifetime_seconds: number;
  /** That the token can have: of those that were asked for, what the person may. */
  readonly scopes: readonly Scope[];
}

interface Confirmation {
  readonly user: Pick<UserRecord, 'name' | 'createdAt'>;
  readonly scopes: readonly Scope[];
  readonly at: number;
  readonly registryRestoredAt: number | null;
}

export class CommandLogins {
  readonly #options: CommandLoginsOptions;
  readonly #requests: LoginRequests<Confirmation>;
  readonly #bySource: RateLimiter;
  readonly #fetchesBySource: RateLimiter;
  readonly #byPerson: RateLimiter;

  constructor(options: CommandLoginsOptions) {
    const { monotonicMs } = options;
    this.#options = options;
    this.#requests = new LoginRequests(monotonicMs);
    this.#bySource = new RateLimiter(monotonicMs, REQUESTS_BY_SOURCE);
    this.#fetchesBySource = new RateLimiter(monotonicMs);
    this.#byPerson = new RateLimiter(monotonicMs, CODES_BY_PERSON);
  }

  /** @throws Problem if the address asks too often, or too many requests are under way */
  begin(claimed: ClaimedLogin, address: string | undefined): BegunLogin {
    this.#bySource.takeOrThrow(sourceOf(address));
    const begun = this.#requests.add(claimed, address);
    if (begun === undefined) throw new Problem('busy', { retryAfter: RETRY_AFTER_S });
    return {
      ...begun,
      address: `${this.#options.origin}${CODE_PATH}`,
      expires_seconds: CODE_LIFETIME_MS / 1_000,
      interval_seconds: POLL_INTERVAL_S,
    };
  }

  /** Makes the token of a confirmed request. A decision is fetched once. */
  async fetch(secret: string, address: string | undefined): Promise<LoginOutcome> {
    this.#fetchesBySource.takeOrThrow(sourceOf(address));
    const request = this.#requests.take(secret);
    if (request === undefined) return { state: 'unknown' };
    const { decision } = request;
    if (decision === undefined) return { state: 'pending' };
    if (decision.kind === 'refused') return { state: 'refused' };
    try {
      return await this.#makeToken(request, decision.confirmation);
    } catch (error) {
      this.#requests.putBack(secret, request);
      throw error;
    }
  }

  /** The command gives up: its code can be confirmed no longer. */
  cancel(secret: string, address: string | undefined): void {
    this.#fetchesBySource.takeOrThrow(sourceOf(address));
    this.#requests.remove(secret);
  }

  /** @throws Problem if no such code waits for a person, or the person makes no tokens */
  find(user: UserRecord, code: string): LoginView {
    if (!mayMakeTokens(user))
      throw new Problem('forbidden', { detail: 'An installer makes no tokens, and signs in no command.' });
    this.#byPerson.takeOrThrow(user.id);
    const request = this.#requests.find(code);
    if (request === undefined) throw new Problem('not-found');
    request.foundBy = user.id;
    const expiresAt = Date.now() + this.#requests.remainingMs(request);
    return {
      code: request.code,
      machine: request.machine,
      context: request.context,
      address: request.address ?? null,
      asked_at: isoTime(expiresAt - CODE_LIFETIME_MS),
      expires_at: isoTime(expiresAt),
      lifetime_seconds: request.lifetimeSeconds,
      scopes: scopesFor(user, request),
    };
  }

  /**
   * The caller has checked that the sign-in is fresh.
   *
   * @throws Problem if the person has not found the request, or the scopes are not of it
   */
  async confirm(user: UserRecord, code: string, scopes: readonly Scope[]): Promise<void> {
    const request = this.#foundBy(user, code);
    const allowed = scopesFor(user, request);
    if (!mayMakeTokens(user) || !scopes.every((scope) => allowed.includes(scope)))
      throw new Problem('forbidden', { detail: 'A command may do no more than it asked for, and no more than its person.' });
    const { tokens, record, registryRestoredAt } = this.#options;
    request.isBeingDecided = true;
    try {
      // The person can make room, and the command cannot.
      await refusable(tokens.makeRoom(user, Date.now()));
      const confirmation = {
        user,
        scopes: [...new Set(scopes)],
        at: Date.now(),
        registryRestoredAt: await registryRestoredAt(),
      };
      const note = `${describe(request)}: ${confirmation.scopes.join(', ')}`;
      await record({ what: 'command login confirmed', note }, actorOf(user));
      request.decision = { kind: 'confirmed', confirmation };
    } finally {
      request.isBeingDecided = false;
    }
  }

  /** @throws Problem if the person has not found the request */
  async refuse(user: UserRecord, code: string): Promise<void> {
    const request = this.#foundBy(user, code);
    // Takes effect first.
    request.decision = { kind: 'refused' };
    await this.#options.record({ what: 'command login refused', note: describe(request) }, actorOf(user));
  }

  #foundBy({ id }: UserRecord, code: string): LoginRequest<Confirmation> {
    const request = this.#requests.find(code);
    if (request?.foundBy !== id) throw new Problem('not-found');
    return request;
  }

  async #makeToken(
    request: LoginRequest<Confirmation>,
    { user, scopes, at, registryRestoredAt }: Confirmation,
  ): Promise<LoginOutcome> {
    const { tokens, users, record, registryRestoredAt: restoredAt } = this.#options;
    const now = users.find(user.name);
    // What has ended since the confirmation: the user, the role, the registry that the user saw.
    if (now?.createdAt !== user.createdAt || !mayMakeTokens(now) || (await restoredAt()) !== registryRestoredAt)
      return { state: 'refused' };
    const token = generateToken();
    const waitedSeconds = Math.max(0, Math.ceil((Date.now() - at) / 1_000));
    const { name, createdAt } = user;
    const { expiresAt } = await refusable(
      addToken({ tokens, record: (event) => record(event, actorOf(user)), actor: actorOf(user), registryRestoredAt }, token, {
        name: `login at ${request.machine}`,
        scopes,
        limits: undefined,
        networks: [],
        lifetimeSeconds: Math.max(1, request.lifetimeSeconds - waitedSeconds),
        owner: { name, createdAt },
      }),
    );
    return { state: 'confirmed', token: token.text, token_id: token.id, user: name, scopes, expires_at: isoTime(expiresAt) };
  }
}

function scopesFor({ role }: UserRecord, { scopes }: ClaimedLogin): readonly Scope[] {
  const allowed = scopesOf(role);
  return (scopes ?? PERSON_SCOPES).filter((scope) => allowed.has(scope));
}

function describe({ machine, context, address = 'an unknown address', lifetimeSeconds }: LoginRequest<Confirmation>): string {
  return `from ${address}, which calls itself ${machine} and the server ${context}, for ${lifetimeSeconds} s`;
}

function actorOf({ name }: Pick<UserRecord, 'name'>): string {
  return `user ${name}`;
}
