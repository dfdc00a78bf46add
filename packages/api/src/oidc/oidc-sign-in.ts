/**
 * Signing in with an OpenID provider: the code flow with PKCE, state and nonce, by openid-client.
 * The provider is asked for nothing until a person signs in with it: one that does not answer keeps
 * nobody from a password.
 */

import type { Log } from '@latchkey/runtime/daemon';
import { RateLimitedLog } from '@latchkey/runtime/daemon';
import type * as OpenIdClient from 'openid-client';
import { LOCAL_ROLES, type Role } from '../access.js';
import { Problem } from '../problem.js';
import { generateSecret, hashOfSecret, isSecret } from '../users/random-secret.js';
import type { OidcConfig } from './config.js';

/** Sign-ins that have begun; at the bound the oldest is given up. */
const MAX_PENDING = 1_024;
const PENDING_MS = 10 * 60_000;
const TIMEOUT_S = 10;
/** What the provider says of itself is asked for again after so long, in ms. */
const METADATA_AGE_MS = 3_600_000;
/** How long ago a person may have given the password to the provider, in seconds. */
const MAX_AGE_S = 12 * 3_600;
const MAX_FRESH_AGE_S = 240;
/** What a person may be called: it stands in the audit log, and in paths. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,47}$/;
const REFUSED = 'a sign-in with the provider was refused';
/** No name of `user add` has a colon. */
const PREFIX = 'oidc:';

/** Who a person is to the provider, for good. */
export interface OidcIdentity {
  readonly issuer: string;
  readonly subject: string;
}

/** A person whom the provider has recognised. */
export interface OidcPerson {
  readonly name: string;
  /** `undefined`: nothing is allowed to that person here. */
  readonly role: Role | undefined;
  readonly identity: OidcIdentity;
  /** When the person gave the password to the provider, ms since the epoch. */
  readonly authenticatedAt: number;
}

interface Pending {
  readonly startedAt: number;
  readonly secretHash: Uint8Array;
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
  readonly maxAge: number;
}

/** A sign-in that goes on at the provider. */
export interface StartedSignIn {
  readonly url: string;
  /** For a cookie: only the browser that began it can end it. */
  readonly handle: string;
  /** For the page, since another service of the host can plant a cookie. */
  readonly secret: string;
}

export interface OidcOptions {
  readonly config: OidcConfig;
  readonly clientSecret: string;
  /** Of the console. */
  readonly origin: string;
  readonly log: Log;
}

type Claims = Readonly<Record<string, unknown>>;

export class OidcSignIn {
  readonly #config: OidcConfig;
  readonly #clientSecret: string;
  readonly #returnUrl: string;
  readonly #log: RateLimitedLog;
  /** By handle. */
  readonly #pending = new Map<string, Pending>();
  #provider: { readonly at: number; readonly configuration: OpenIdClient.Configuration } | undefined;

  constructor({ config, clientSecret, origin, log }: OidcOptions) {
    this.#config = config;
    this.#clientSecret = clientSecret;
    this.#returnUrl = `${origin}/sign-in`;
    this.#log = new RateLimitedLog(log);
  }

  /**
   * @param isFresh the person is to give the password again
   * @throws Problem if the provider does not answer
   */
  async begin(isFresh: boolean): Promise<StartedSignIn> {
    const { client, configuration } = await this.#discover();
    const [state, nonce, codeVerifier] = [client.randomState(), client.randomNonce(), client.randomPKCECodeVerifier()];
    const maxAge = isFresh ? MAX_FRESH_AGE_S : MAX_AGE_S;
    const url = client.buildAuthorizationUrl(configuration, {
      redirect_uri: this.#returnUrl,
      scope: ['openid', ...this.#config.scopes].join(' '),
      code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
      state,
      nonce,
      // The provider then says when the person gave the password.
      max_age: String(maxAge),
      ...(isFresh ? { prompt: 'login' } : {}),
    });
    const [handle, secret] = [generateSecret(), generateSecret()];
    const secretHash = hashOfSecret(secret);
    if (secretHash === undefined) throw new TypeError('a new secret has a hash');
    const [oldest] = this.#pending.keys();
    if (this.#pending.size >= MAX_PENDING && oldest !== undefined) this.#pending.delete(oldest);
    this.#pending.set(handle, { startedAt: performance.now(), secretHash, state, nonce, codeVerifier, maxAge });
    return { url: url.href, handle, secret };
  }

  /**
   * @param secret that the page brings
   * @param query what the provider sent the browser back with
   * @throws Problem: the same one whatever is wrong, but for a provider that fails
   */
  async finish(handle: string | undefined, secret: string, query: string): Promise<OidcPerson> {
    const pending = handle === undefined ? undefined : this.#pending.get(handle);
    if (handle !== undefined) this.#pending.delete(handle);
    if (pending === undefined || performance.now() - pending.startedAt > PENDING_MS)
      return this.#refuse('it was not begun by this browser, or long ago');
    if (!isSecret(secret, pending.secretHash)) return this.#refuse('it was not begun by this tab of the browser');
    const { client, configuration } = await this.#discover();
    const url = new URL(this.#returnUrl);
    url.search = query;
    const { state: expectedState, nonce: expectedNonce, codeVerifier: pkceCodeVerifier, maxAge } = pending;
    const checks = { expectedState, expectedNonce, pkceCodeVerifier, maxAge, idTokenExpected: true };
    try {
      const tokens = await client.authorizationCodeGrant(configuration, url, checks);
      const claims = tokens.claims();
      if (claims === undefined) return this.#refuse('the provider sent no ID token');
      // For many tenants of Microsoft's, openid-client expects the tenant that the token itself
      // names.
      if (claims.iss !== configuration.serverMetadata().issuer)
        return this.#refuse('the token’s issuer is not the provider’s: configure the issuer of one tenant');
      return this.#personOf(await this.#withUserInfo(claims, tokens.access_token));
    } catch (error) {
      if (error instanceof Problem) throw error;
      // What the browser brought, or the provider's own word against it.
      if (error instanceof client.AuthorizationResponseError || error instanceof client.ResponseBodyError)
        return this.#refuse(`the provider answered ${error.error}`);
      if (error instanceof client.ClientError && error.code?.startsWith('OAUTH_') === true && !isTimeout(error))
        return this.#refuse(`the answer is not valid: ${error.code}`);
      throw this.#failure(error);
    }
  }

  /** Where the browser ends the session at the provider; `undefined` if that is not possible. */
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
  async #withUserInfo(claims: OpenIdClient.IDToken, accessToken: string): Promise<Claims & { readonly sub: string }> {
    const { role_claim: roles, name_claim: name } = this.#config;
    const { client, configuration } = await this.#discover();
    const isComplete = claims[roles] !== undefined && claims[name] !== undefined;
    if (isComplete || configuration.serverMetadata().userinfo_endpoint === undefined) return claims;
    return { ...(await client.fetchUserInfo(configuration, accessToken, claims.sub)), ...claims };
  }

  #personOf(claims: Claims & { readonly sub: string }): OidcPerson {
    const { issuer, role_claim: roleClaim, name_claim: nameClaim } = this.#config;
    const { [nameClaim]: name, auth_time: time, sub: subject } = claims;
    const role = this.#roleOf(claims[roleClaim]);
    if (typeof name !== 'string' || !NAME.test(name))
      return this.#refuse(`the claim ${nameClaim} has no name that can be used here`);
    if (role === undefined)
      this.#log.warn('no role', { reason: `the claim ${roleClaim} has no value that stands for a role` }, REFUSED);
    const authenticatedAt = typeof time === 'number' ? 1_000 * time : 0;
    return { name: `${PREFIX}${name.toLowerCase()}`, role, identity: { issuer, subject }, authenticatedAt };
  }

  /** Of several roles the one that may most. */
  #roleOf(claim: unknown): Role | undefined {
    const values: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
    const { roles } = this.#config;
    const found = new Set(
      values.map((value) => (typeof value === 'string' && Object.hasOwn(roles, value) ? roles[value] : undefined)),
    );
    return LOCAL_ROLES.findLast((role) => found.has(role));
  }

  async #discover(): Promise<{ readonly client: typeof OpenIdClient; readonly configuration: OpenIdClient.Configuration }> {
    // Loaded where somebody signs in with it only.
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

  #refuse(reason: string): never {
    this.#log.warn('provider sign-in refused', { reason }, REFUSED);
    throw new Problem('not-authenticated');
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
