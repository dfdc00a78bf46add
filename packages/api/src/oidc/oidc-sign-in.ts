/**
 * Sign-in with an OpenID provider: the code flow with PKCE, state and nonce, by openid-client. The
 * provider is contacted only when a person signs in with it. An unreachable provider therefore does
 * not prevent a sign-in by password.
 */

import type { Log } from '@latchkey/runtime/daemon';
import { RateLimitedLog } from '@latchkey/runtime/daemon';
import type * as OpenIdClient from 'openid-client';
import { LOCAL_ROLES, type Role } from '../access.js';
import { Problem } from '../problem.js';
import { generateSecret, hashOfSecret, isSecret } from '../users/random-secret.js';
import type { OidcConfig } from './config.js';
import { PendingSignIns } from './pending-sign-ins.js';

const TIMEOUT_S = 10;
/** Cache lifetime of the provider's metadata, in ms. */
const METADATA_AGE_MS = 3_600_000;
/** How long ago a person may have given the password to the provider, in seconds. */
const MAX_AGE_S = 12 * 3_600;
const MAX_FRESH_AGE_S = 240;
/** The clocks of the provider and of this machine differ by so much at most, in ms. */
const CLOCK_TOLERANCE_MS = 60_000;
/** Permitted names of persons: a name is written to the audit log, and is part of paths. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,47}$/;
const REFUSED = 'a sign-in with the provider was refused';
/** No name of `user add` has a colon. */
const PREFIX = 'oidc:';

/** Who a person is to the provider, for good. */
export interface OidcIdentity {
  readonly issuer: string;
  readonly subject: string;
}

/** A person whom the provider has authenticated. */
export interface OidcPerson {
  readonly name: string;
  /** `undefined`: nothing is allowed to that person here. */
  readonly role: Role | undefined;
  readonly identity: OidcIdentity;
  /** When the person gave the password to the provider, ms since the epoch. */
  readonly authenticatedAt: number;
}

/** What was sent to the provider, and its answer must fit. */
interface AuthorizationRequest {
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

interface PendingSignIn extends AuthorizationRequest {
  readonly secretHash: Uint8Array;
  readonly maxAge: number;
}

interface PendingStepUp extends AuthorizationRequest {
  /** ID of the session that began it. */
  readonly session: string;
  /** ms since the epoch */
  readonly begunAt: number;
}

/** A step-up that continues at the provider. */
interface StartedStepUp {
  readonly url: string;
  /** For the page that began it. */
  readonly secret: string;
}

export interface StartedSignIn extends StartedStepUp {
  /** For a cookie: only the browser that began it can end it. Another service can plant one. */
  readonly handle: string;
}

export interface OidcOptions {
  readonly config: OidcConfig;
  readonly clientSecret: string;
  /** Of the console. */
  readonly origin: string;
  readonly log: Log;
  /** ms since the epoch */
  readonly now?: (() => number) | undefined;
}

type PersonClaims = Readonly<Record<string, unknown>> & { readonly sub: string };

/** For a person with a session, in place of the reason, which is for the log. */
interface RefusalWords {
  readonly detail: string;
  readonly advice: string;
}

const NOT_BEGUN_HERE: RefusalWords = {
  detail: 'This session did not begin the sign-in, or did so more than 10 minutes ago.',
  advice: 'Sign in at the provider again.',
};
const NO_AUTH_TIME: RefusalWords = {
  detail: 'The provider does not say when it asked for the password: its ID token has no auth_time.',
  advice: 'Have the provider send auth_time for max_age, or use a user with a password.',
};
const OLD_AUTH_TIME: RefusalWords = {
  detail: 'The provider did not ask for the password now: auth_time of its ID token is of before.',
  advice: 'If it did ask, its clock is behind. Otherwise have it heed max_age=0 and prompt=login.',
};
const PROVIDER_SAID_NO: RefusalWords = {
  detail: 'The provider refused the sign-in.',
  advice: 'Sign in at the provider again. The log of the API has its reason.',
};
const NOT_VALID: RefusalWords = {
  detail: 'The answer of the provider does not count.',
  advice: 'Sign in at the provider again. The log of the API has the reason.',
};

/** An answer of the provider that does not count. */
class Refusal extends Error {
  readonly words: RefusalWords | undefined;

  /** @param reason for the log */
  constructor(reason: string, words?: RefusalWords) {
    super(reason);
    this.words = words;
  }
}

export class OidcSignIn {
  readonly #config: OidcConfig;
  readonly #clientSecret: string;
  readonly #returnUrl: string;
  readonly #log: RateLimitedLog;
  readonly #now: () => number;
  /** By handle. */
  readonly #signIns = new PendingSignIns<PendingSignIn>();
  /** By secret. Sign-ins, which anybody may begin, do not take their places. */
  readonly #stepUps = new PendingSignIns<PendingStepUp>();
  #provider: { readonly at: number; readonly configuration: OpenIdClient.Configuration } | undefined;

  constructor({ config, clientSecret, origin, log, now = Date.now }: OidcOptions) {
    this.#config = config;
    this.#clientSecret = clientSecret;
    this.#returnUrl = `${origin}/sign-in`;
    this.#log = new RateLimitedLog(log);
    this.#now = now;
  }

  /**
   * @param isFresh the person must enter the password again
   * @throws Problem if the provider does not answer
   */
  async begin(isFresh: boolean): Promise<StartedSignIn> {
    const maxAge = isFresh ? MAX_FRESH_AGE_S : MAX_AGE_S;
    const { url, request } = await this.#authorize({ max_age: String(maxAge), ...(isFresh ? { prompt: 'login' } : {}) });
    const [handle, secret] = [generateSecret(), generateSecret()];
    const secretHash = hashOfSecret(secret);
    if (secretHash === undefined) throw new TypeError('a new secret has a hash');
    this.#signIns.add(handle, { ...request, secretHash, maxAge });
    return { url, handle, secret };
  }

  /**
   * @param secret sent by the page
   * @param query with which the provider redirected the browser
   * @throws Problem: the same for every fault, except for a failure of the provider
   */
  async finish(handle: string | undefined, secret: string, query: string): Promise<OidcPerson> {
    try {
      const pending = this.#signIns.take(handle);
      if (pending === undefined) throw new Refusal('it was not begun by this browser, or long ago');
      if (!isSecret(secret, pending.secretHash)) throw new Refusal('it was not begun by this tab of the browser');
      const claims = await this.#redeem(pending, query, pending.maxAge);
      const { auth_time: time } = claims;
      return this.#personOf(claims, typeof time === 'number' ? 1_000 * time : 0);
    } catch (error) {
      throw this.#problemOf(error, () => new Problem('not-authenticated'));
    }
  }

  /**
   * Begins a step-up: the person of a session must enter the password at the provider again.
   *
   * @param session its ID: only that session can complete the step-up
   * @throws Problem if the provider does not answer
   */
  async beginStepUp(session: string): Promise<StartedStepUp> {
    // Providers know one or the other; together they mean the same.
    const { url, request } = await this.#authorize({ max_age: '0', prompt: 'login' });
    const secret = generateSecret();
    this.#stepUps.add(secret, { ...request, session, begunAt: this.#now() });
    return { url, secret };
  }

  /** @throws Problem that names the fault, because the caller is authenticated */
  async finishStepUp(session: string, secret: string, query: string): Promise<OidcPerson> {
    try {
      const pending = this.#stepUps.take(secret);
      if (pending === undefined || pending.session !== session)
        throw new Refusal('a step-up was not begun by this session, or long ago', NOT_BEGUN_HERE);
      const claims = await this.#redeem(pending, query);
      const { auth_time: time } = claims;
      if (typeof time !== 'number') throw new Refusal('the ID token has no auth_time', NO_AUTH_TIME);
      const person = this.#personOf(claims, 1_000 * time);
      if (person.authenticatedAt < pending.begunAt - CLOCK_TOLERANCE_MS)
        throw new Refusal('the auth_time of the ID token is of before the step-up', OLD_AUTH_TIME);
      return person;
    } catch (error) {
      throw this.#problemOf(error, (refusal) => new Problem('provider-refused', refusal.words ?? NOT_VALID));
    }
  }

  /** Makes the address that a browser is sent to. */
  async #authorize(
    parameters: Readonly<Record<string, string>>,
  ): Promise<{ readonly url: string; readonly request: AuthorizationRequest }> {
    const { client, configuration } = await this.#discover();
    const [state, nonce, codeVerifier] = [client.randomState(), client.randomNonce(), client.randomPKCECodeVerifier()];
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: this.#returnUrl,
      scope: ['openid', ...this.#config.scopes].join(' '),
      code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
      state,
      nonce,
      // With `max_age` the provider says when the person gave the password.
      ...parameters,
    });
    return { url: url.href, request: { state, nonce, codeVerifier } };
  }

  /**
   * Returns the claims of the authenticated person. `auth_time` is that of the ID token.
   *
   * @param maxAge of `auth_time`, in seconds; if absent, the caller checks `auth_time`
   */
  async #redeem({ state, nonce, codeVerifier }: AuthorizationRequest, query: string, maxAge?: number): Promise<PersonClaims> {
    const { client, configuration } = await this.#discover();
    const url = new URL(this.#returnUrl);
    url.search = query;
    const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: codeVerifier, idTokenExpected: true };
    try {
      const tokens = await client.authorizationCodeGrant(
        configuration,
        url,
        maxAge === undefined ? checks : { ...checks, maxAge },
      );
      const claims = tokens.claims();
      if (claims === undefined) throw new Refusal('the provider sent no ID token');
      // For many tenants of Microsoft's, openid-client expects the tenant that the token itself
      // names.
      if (claims.iss !== configuration.serverMetadata().issuer)
        throw new Refusal('the token’s issuer is not the provider’s: configure the issuer of one tenant');
      return { ...(await this.#withUserInfo(claims, tokens.access_token)), auth_time: claims.auth_time };
    } catch (error) {
      // What the browser brought, or the provider's own word against it.
      if (error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError)
        throw new Refusal(`the provider answered ${error.error}`, PROVIDER_SAID_NO);
      if (error instanceof client.ClientError && error.code?.startsWith('OAUTH_') === true && !isTimeout(error))
        throw new Refusal(`the answer is not valid: ${error.code}`);
      throw error;
    }
  }

  #problemOf(error: unknown, refused: (refusal: Refusal) => Problem): Problem {
    if (error instanceof Problem) return error;
    if (!(error instanceof Refusal)) return this.#failure(error);
    this.#log.warn('provider sign-in refused', { reason: error.message }, REFUSED);
    return refused(error);
  }

  /**
   * Returns the URL at which the browser ends the session at the provider, or `undefined` if the
   * provider has none.
   */
  async logoutUrl(): Promise<string | undefined> {
    try {
      const { client, configuration } = await this.#discover();
      if (configuration.serverMetadata().end_session_endpoint === undefined) return undefined;
      return client.buildEndSessionUrl(configuration, { post_logout_redirect_uri: this.#returnUrl }).href;
    } catch (error) {
      if (error instanceof Problem) return undefined;
      throw error;
    }
  }

  /** Providers may leave claims out of the ID token. */
  async #withUserInfo(claims: OpenIdClient.IDToken, accessToken: string): Promise<PersonClaims> {
    const { role_claim: roles, name_claim: name } = this.#config;
    const { client, configuration } = await this.#discover();
    const isComplete = claims[roles] !== undefined && claims[name] !== undefined;
    if (isComplete || configuration.serverMetadata().userinfo_endpoint === undefined) return claims;
    return { ...(await client.fetchUserInfo(configuration, accessToken, claims.sub)), ...claims };
  }

  /** @param authenticatedAt ms since the epoch */
  #personOf(claims: PersonClaims, authenticatedAt: number): OidcPerson {
    const { issuer, role_claim: roleClaim, name_claim: nameClaim } = this.#config;
    const { [nameClaim]: name, sub: subject } = claims;
    const role = this.#roleOf(claims[roleClaim]);
    if (typeof name !== 'string' || !NAME.test(name))
      throw new Refusal(`the claim ${nameClaim} has no name that can be used here`);
    if (role === undefined)
      this.#log.warn('no role', { reason: `the claim ${roleClaim} has no value that stands for a role` }, REFUSED);
    return { name: `${PREFIX}${name.toLowerCase()}`, role, identity: { issuer, subject }, authenticatedAt };
  }

  /** Of several roles, returns the one with most rights. */
  #roleOf(claim: unknown): Role | undefined {
    const values: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
    const { roles } = this.#config;
    const found = new Set(
      values.map((value) => (typeof value === 'string' && Object.hasOwn(roles, value) ? roles[value] : undefined)),
    );
    return LOCAL_ROLES.findLast((role) => found.has(role));
  }

  async #discover(): Promise<{ readonly client: typeof OpenIdClient; readonly configuration: OpenIdClient.Configuration }> {
    // Loaded only when a user signs in with the provider.
    const client = await import('openid-client');
    const now = performance.now();
    if (this.#provider !== undefined && now - this.#provider.at < METADATA_AGE_MS)
      return { client, configuration: this.#provider.configuration };
    const { issuer, client_id: clientId } = this.#config;
    const url = new URL(issuer);
    // The configuration has http for this machine only.
    const execute = url.protocol === 'http:' ? [client.allowInsecureRequests] : [];
    try {
      const configuration = await client.discovery(url, clientId, this.#clientSecret, undefined, { execute, timeout: TIMEOUT_S });
      this.#provider = { at: now, configuration };
      return { client, configuration };
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Its message is openid-client's, and repeats no token. */
  #failure(error: unknown): Problem {
    const { message, code } = error instanceof Error ? (error as Error & { readonly code?: string }) : { message: String(error) };
    this.#log.error('provider', { issuer: this.#config.issuer, code }, `the sign-in provider failed: ${message}`);
    return new Problem('provider-failed', { detail: 'The log of the API says why. Passwords work as before.' });
  }
}

function isTimeout({ code }: { readonly code?: string | undefined }): boolean {
  return code === 'OAUTH_TIMEOUT' || code === 'OAUTH_ABORT';
}
