/**
 * Sessions of persons in a browser. A session has two secrets: a cookie, which no script reads, and
 * a header, which no other origin has. Cookies ignore ports, so the cookie of one host is also sent
 * to what else listens there; the header is not.
 */

import { randomBytes } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { AuditEvent } from '@latchkey/registry';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { type Principal, scopesOf } from '../access.js';
import { NO_ORDERS } from '../order-limits.js';
import type { OidcIdentity, OidcPerson } from '../oidc/oidc-sign-in.js';
import { Problem } from '../problem.js';
import { type Rate, RateLimiter } from '../rate-limiter.js';
import { sourceOf } from '../tokens/networks.js';
import { CLOCK_TOLERANCE_MS, linkExpiry } from './administration.js';
import type { Passwords } from './password.js';
import { generateSecret, hashOfSecret, isSecret } from './random-secret.js';
import {
  type AddedPerson,
  generateUserId,
  isSamePerson,
  type SessionRecord,
  type UserRecord,
  type UserStore,
} from './user-store.js';

export const SESSION_COOKIE = '__Host-latchkey';
const SESSION_HEADER = 'x-latchkey-session';

/** In ms: without a request, and in all. */
const MAX_IDLE_MS = 30 * 60_000;
const MAX_AGE_MS = 12 * 3_600_000;
/** The last use of a session is written once in so many ms. */
const USE_INTERVAL_MS = 60_000;

/** Sign-ins from one IPv4 address or /64. */
const BY_SOURCE: Rate = { perSecond: 5 / 60, burst: 10 };
/**
 * Sign-ins of one name, from wherever. More than of a source, so that one address that guesses does
 * not keep the person out.
 */
const BY_NAME: Rate = { perSecond: 20 / 60, burst: 20 };
/** Passwords that one person gives within sessions. */
const BY_PERSON: Rate = { perSecond: 5 / 60, burst: 5 };

export interface SessionsOptions {
  readonly users: UserStore;
  readonly passwords: Passwords;
  /** When the registry was restored, ms since the epoch; `null` if never. */
  readonly registryRestoredAt: () => Promise<number | null>;
  readonly record: (event: AuditEvent, actor: string) => Promise<void>;
  /** Returns the source address of a request, or `undefined` if it is unknown. */
  readonly addressOf: (request: FastifyRequest) => string | undefined;
  readonly log: Log;
  readonly monotonicMs?: (() => number) | undefined;
  /** ms since the epoch */
  readonly now?: (() => number) | undefined;
}

/** A session whose secrets came with the request. */
export interface OpenSession {
  readonly hash: Buffer;
  readonly record: SessionRecord;
  readonly user: UserRecord;
}

/** A session that begins: its secrets are given out once. */
export interface NewSession extends OpenSession {
  readonly cookie: string;
  readonly secret: string;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #now: () => number;
  readonly #bySource: RateLimiter;
  readonly #byName: RateLimiter;
  readonly #byPerson: RateLimiter;
  readonly #log: RateLimitedLog;
  readonly #open = new WeakMap<FastifyRequest, OpenSession>();
  readonly #writing = new Set<Promise<void>>();

  constructor(options: SessionsOptions) {
    const { monotonicMs, log, now = Date.now } = options;
    this.#options = options;
    this.#now = now;
    this.#bySource = new RateLimiter(monotonicMs, BY_SOURCE);
    this.#byName = new RateLimiter(monotonicMs, BY_NAME);
    this.#byPerson = new RateLimiter(monotonicMs, BY_PERSON);
    this.#log = new RateLimitedLog(log);
  }

  /** Returns `undefined` without both secrets of a session that has not ended. */
  async authenticate(request: FastifyRequest): Promise<Principal | undefined> {
    const hash = hashOfSecret(cookieOf(request, SESSION_COOKIE));
    const secret = request.headers[SESSION_HEADER];
    if (hash === undefined || typeof secret !== 'string') return undefined;
    const session = await this.#find(hash);
    if (session === undefined || !isSecret(secret, session.record.secretHash)) return undefined;
    this.#open.set(request, session);
    this.#recordUse(session);
    return this.#principalOf(session);
  }

  /** The session of a request that was authenticated. */
  of(request: FastifyRequest): OpenSession {
    const session = this.#open.get(request);
    if (session === undefined) throw new Problem('not-authenticated');
    return session;
  }

  expiresAt({ record: { createdAt } }: OpenSession): number {
    return createdAt + MAX_AGE_MS;
  }

  /** @throws Problem, the same one whatever is wrong */
  async signIn(request: FastifyRequest, name: string, password: string): Promise<NewSession> {
    const address = this.#options.addressOf(request);
    this.#bySource.takeOrThrow(sourceOf(address));
    this.#byName.takeOrThrow(name);
    const { users, passwords } = this.#options;
    const user = users.find(name);
    const stored = user?.password ?? undefined;
    const isRight = await passwords.isRight(password, stored, 'sign-in');
    if (user === undefined) return this.#refuse(request, 'no such user');
    if (stored === undefined || !isRight) return this.#refuse(request, 'wrong password', user);
    const session = await this.#newSession(user, address);
    if (!(await users.addSession(session.hash, session.record, stored, await this.#sessionBefore(request))))
      return this.#refuse(request, 'the password was changed', user);
    this.#logSignIn(session);
    return session;
  }

  /** Counts a try to sign in, by its source. */
  takeSignIn(request: FastifyRequest): void {
    this.#bySource.takeOrThrow(sourceOf(this.#options.addressOf(request)));
  }

  /**
   * Begins a session of a person whom the sign-in provider has authenticated.
   *
   * @throws Problem if the person has no role any more, which ends all its sessions; or if another
   *   person of the provider had that name
   */
  async beginForPerson(request: FastifyRequest, person: OidcPerson): Promise<NewSession> {
    const { users, addressOf } = this.#options;
    const { name, role, identity, authenticatedAt } = person;
    if (role === undefined) return this.#refusePerson(identity);
    const now = this.#now();
    const user = {
      id: generateUserId(),
      name,
      role,
      password: null,
      identity,
      createdBy: 'the sign-in provider',
      createdAt: now,
    };
    const begun = await this.#newSession(user, addressOf(request));
    // A provider whose clock is ahead makes no sign-in fresher.
    const session = { ...begun, record: { ...begun.record, signedInAt: Math.min(authenticatedAt, now) } };
    const added = await users.addPersonSession(session.hash, session.record, user, await this.#sessionBefore(request));
    if (added === undefined) return this.#refuse(request, 'the name is another person’s, or there are too many users', user);
    await this.#recordPerson(user, added);
    this.#logSignIn(session);
    return session;
  }

  /** Nothing is allowed to the person any more. */
  async #refusePerson(identity: OidcIdentity): Promise<never> {
    const { users, record } = this.#options;
    // Takes effect first: a right that ends does not wait for the log.
    for (const removed of await users.removePerson(identity))
      await record({ what: 'user removed', note: `user ${removed}; by the sign-in provider` }, `user ${removed}`);
    throw new Problem('not-authenticated');
  }

  /** A role that the audit log does not take ends, with every session of the person. */
  async #recordPerson(user: UserRecord, { roleBefore, formerNames }: AddedPerson): Promise<void> {
    const { users, record } = this.#options;
    const { name, role } = user;
    const by = 'by the sign-in provider';
    try {
      for (const former of formerNames)
        await record({ what: 'user removed', note: `user ${former}, who is ${name} now; ${by}` }, actorOfUser(user));
      if (roleBefore === undefined) await record({ what: 'user added', note: `user ${name}: ${role}; ${by}` }, actorOfUser(user));
      else if (roleBefore !== role)
        await record({ what: 'user role changed', note: `user ${name}: ${roleBefore} to ${role}; ${by}` }, actorOfUser(user));
    } catch (error) {
      await users.remove(name);
      throw error;
    }
  }

  /** Sets the password that goes with a sign-in link. The link is valid once. */
  async redeemLink(request: FastifyRequest, token: string, password: string): Promise<NewSession> {
    const { users, passwords, addressOf, record } = this.#options;
    const address = addressOf(request);
    this.#bySource.takeOrThrow(sourceOf(address));
    const hash = hashOfSecret(token);
    if (hash === undefined) return this.#refuse(request, 'the link is mistyped');
    const user = await this.#userOfLink(hash);
    if (user === undefined) return this.#refuse(request, 'no such link, or an old one');
    const stored = await passwords.hash(password, 'sign-in');
    const session = await this.#newSession({ ...user, password: stored }, address);
    // The link may have been used, or the registry restored, while the password was hashed.
    if ((await this.#userOfLink(hash)) === undefined) return this.#refuse(request, 'the link was used', user);
    await record({ what: 'password set', note: 'by a sign-in link' }, actorOfUser(user));
    if (!(await users.redeemLink(hash, stored, session.hash, session.record)))
      return this.#refuse(request, 'the link was used', user);
    this.#logSignIn(session);
    return session;
  }

  /** @throws Problem if the password is not that of the session's person */
  async stepUp(request: FastifyRequest, password: string): Promise<number> {
    const session = this.of(request);
    await this.#checkPassword(session, password);
    const signedInAt = this.#now();
    if (!(await this.#options.users.updateSession(session.hash, { signedInAt, lastUsedAt: signedInAt })))
      throw new Problem('not-authenticated');
    return signedInAt;
  }

  /** Counts a step-up at the provider, by the session's person. */
  takeStepUp(request: FastifyRequest): void {
    this.#byPerson.takeOrThrow(this.of(request).user.name);
  }

  /**
   * Completes a step-up: the provider has authenticated the person of the session again, with the
   * current role.
   *
   * @throws Problem if it is another person, or a person who has no role any more
   */
  async stepUpPerson(request: FastifyRequest, person: OidcPerson): Promise<number> {
    const { hash, user } = this.of(request);
    const { role, identity, authenticatedAt } = person;
    if (!isSamePerson(user.identity, identity)) {
      this.#log.warn('step-up of another', { user: user.name }, 'the provider recognised another person');
      throw new Problem('provider-refused', {
        detail: `The provider recognised another person than ${user.name}.`,
        advice: 'Sign in there as the person of this session.',
      });
    }
    if (role === undefined) return this.#refusePerson(identity);
    const now = this.#now();
    const signedInAt = Math.min(authenticatedAt, now);
    const roleBefore = await this.#options.users.stepUpPerson(hash, identity, role, { signedInAt, lastUsedAt: now });
    if (roleBefore === undefined) throw new Problem('not-authenticated');
    await this.#recordPerson({ ...user, role }, { roleBefore, formerNames: [] });
    return signedInAt;
  }

  /** Ends the person's other sessions. */
  async changePassword(request: FastifyRequest, password: string, next: string): Promise<void> {
    const session = this.of(request);
    const { users, passwords, record } = this.#options;
    const stored = await this.#checkPassword(session, password);
    const changed = await passwords.hash(next, 'session');
    await record({ what: 'password set' }, actorOfUser(session.user));
    if (!(await users.setPassword(session.user.name, stored, changed, session.hash))) throw new Problem('step-up-refused');
  }

  async signOut(request: FastifyRequest): Promise<void> {
    await this.#options.users.endSession(this.of(request).hash);
  }

  /** Sessions of the request's person that have not ended. */
  async list(request: FastifyRequest): Promise<readonly SessionRecord[]> {
    const { users, registryRestoredAt } = this.#options;
    const restoredAt = await registryRestoredAt();
    return users.sessionsOf(this.of(request).user.name).filter((session) => this.#isAlive(session, restoredAt));
  }

  /** Returns false if the request's person has no session of this ID. */
  end(request: FastifyRequest, id: string): Promise<boolean> {
    return this.#options.users.endSessionOf(this.of(request).user.name, id);
  }

  /** Waits for pending writes. */
  async close(): Promise<void> {
    await Promise.all(this.#writing);
  }

  async #find(hash: Buffer): Promise<OpenSession | undefined> {
    const { users, registryRestoredAt } = this.#options;
    const restoredAt = await registryRestoredAt();
    const record = users.findSession(hash);
    if (record === undefined || !this.#isAlive(record, restoredAt)) return undefined;
    const user = users.find(record.user);
    return user && { hash, record, user };
  }

  #isAlive({ createdAt, lastUsedAt, registryRestoredAt }: SessionRecord, restoredAt: number | null): boolean {
    const now = this.#now();
    return (
      registryRestoredAt === restoredAt &&
      // A clock that was set back does not make a session longer.
      lastUsedAt <= now + CLOCK_TOLERANCE_MS &&
      now < lastUsedAt + MAX_IDLE_MS &&
      now < createdAt + MAX_AGE_MS
    );
  }

  #principalOf({ hash, record: { signedInAt }, user }: OpenSession): Principal {
    return {
      id: `user ${user.id}`,
      actor: actorOfUser(user),
      scopes: scopesOf(user.role),
      limits: user.role === 'installer' ? (user.limits ?? NO_ORDERS) : undefined,
      signedInAt,
      recheck: async () => {
        const session = await this.#find(hash);
        return session && this.#principalOf(session);
      },
    };
  }

  async #userOfLink(hash: Buffer): Promise<UserRecord | undefined> {
    const { users, registryRestoredAt } = this.#options;
    const restoredAt = await registryRestoredAt();
    const link = users.findLink(hash);
    return link === undefined || linkExpiry(link, this.#now(), restoredAt) === null ? undefined : users.find(link.user);
  }

  /** The session that a browser had until now: signing in ends it. */
  async #sessionBefore(request: FastifyRequest): Promise<Buffer | undefined> {
    return (await this.authenticate(request)) && this.of(request).hash;
  }

  async #newSession(user: UserRecord, address: string | undefined): Promise<NewSession> {
    const [cookie, secret] = [generateSecret(), generateSecret()];
    const [hash, secretHash] = [hashOfSecret(cookie), hashOfSecret(secret)];
    if (hash === undefined || secretHash === undefined) throw new TypeError('a new secret has a hash');
    const now = this.#now();
    const record: SessionRecord = {
      id: randomBytes(5).toString('hex'),
      user: user.name,
      secretHash,
      createdAt: now,
      lastUsedAt: now,
      signedInAt: now,
      address: address ?? null,
      registryRestoredAt: await this.#options.registryRestoredAt(),
    };
    return { hash, record, user, cookie, secret };
  }

  async #checkPassword({ user }: OpenSession, password: string): Promise<NonNullable<UserRecord['password']>> {
    this.#byPerson.takeOrThrow(user.name);
    const { passwords } = this.#options;
    const stored = user.password ?? undefined;
    const isRight = await passwords.isRight(password, stored, 'session');
    if (stored !== undefined && isRight) return stored;
    this.#log.warn('password refused', { user: user.name }, 'a password was refused');
    throw new Problem('step-up-refused');
  }

  /**
   * @param user that exists: another name is the caller's text, and may be a password by mistake
   */
  #refuse(request: FastifyRequest, reason: string, user?: UserRecord): never {
    const address = this.#options.addressOf(request);
    this.#log.warn('sign-in refused', { user: user?.name, address, reason }, 'a sign-in was refused');
    throw new Problem('not-authenticated');
  }

  #logSignIn({ record: { id, user, address } }: OpenSession): void {
    this.#options.log.info({ user, session: id, address }, 'signed in');
  }

  #recordUse({ hash, record }: OpenSession): void {
    const lastUsedAt = this.#now();
    if (Math.abs(lastUsedAt - record.lastUsedAt) < USE_INTERVAL_MS) return;
    const writing = this.#options.users
      .updateSession(hash, { lastUsedAt })
      .then(() => undefined)
      .catch((error: unknown) => {
        const reason = error instanceof Failure ? error.message : String(error);
        this.#log.error('session use', {}, `the use of a session is not written: ${reason}`);
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }
}

/** As the audit log has the person. */
function actorOfUser({ name }: UserRecord): string {
  return `user ${name}`;
}

/** Returns `undefined` unless the cookie came once. */
export function cookieOf({ headers }: FastifyRequest, name: string): string | undefined {
  const values = (headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`));
  return values.length === 1 ? values[0]?.slice(name.length + 1) : undefined;
}
