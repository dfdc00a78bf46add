/**
 * Callers through a proxy, authenticated by their token. The proxy has a separate socket, because
 * the user of the proxy does not identify the caller (docs/decisions/0023).
 */

import type { FastifyRequest } from 'fastify';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { type Principal, withImplied } from './access.js';
import { Problem } from './problem.js';
import { RateLimiter } from './rate-limiter.js';
import { isFromAhead, scopesOfToken } from './tokens/administration.js';
import { forwardedAddress, isInNetworks, sourceOf } from './tokens/networks.js';
import { isToken, tokenId } from './tokens/token.js';
import type { TokenRecord, TokenStore } from './tokens/token-store.js';
import type { UserStore } from './users/user-store.js';

const BEARER = /^Bearer ([!-~]{1,200})$/i;
const BROWSER = /^(?:cookie|origin|sec-fetch-.*)$/;
/** The last use of a token is written once in so many ms. */
const USE_INTERVAL_MS = 60_000;
/**
 * Tokens whose last use is cached. At the bound the cache is cleared, and each use is written
 * again.
 */
const MAX_REMEMBERED = 1_024;
/** Compared with where no token has the ID, so that both take the same time. */
const NO_HASH = new Uint8Array(32);

/** This socket takes no requests of browsers: it has no session that a page could ride on. */
export function refuseBrowsers({ raw }: FastifyRequest): void {
  let authorizations = 0;
  for (let i = 0; i < raw.rawHeaders.length; i += 2) {
    const name = (raw.rawHeaders[i] ?? '').toLowerCase();
    if (name === 'authorization') authorizations += 1;
    if (BROWSER.test(name))
      throw new Problem('forwarded-request', { detail: 'The request has a Cookie, Origin or Sec-Fetch header.' });
  }
  if (authorizations > 1) throw new Problem('bad-request', { detail: 'The request has several Authorization headers.' });
}

/** A token in the audit log: its name, and whose it is. */
function nameOf({ name, createdBy }: TokenRecord): string {
  return `token ${name} of ${createdBy.replace(/^user /, '')}`;
}

export interface RemoteCallersOptions {
  readonly tokens: TokenStore;
  /** Who tokens may belong to. */
  readonly users: UserStore;
  /** When the registry was restored, ms since the epoch; `null` if never. */
  readonly registryRestoredAt: () => Promise<number | null>;
  readonly log: Log;
  readonly monotonicMs?: (() => number) | undefined;
}

export class RemoteCallers {
  readonly #options: RemoteCallersOptions;
  readonly #bySource: RateLimiter;
  readonly #log: RateLimitedLog;
  readonly #usedAt = new Map<string, number>();
  readonly #writing = new Set<Promise<void>>();

  constructor(options: RemoteCallersOptions) {
    this.#options = options;
    this.#bySource = new RateLimiter(options.monotonicMs);
    this.#log = new RateLimitedLog(options.log);
  }

  /**
   * Returns `undefined` for every caller without a token that counts, whatever is wrong with it.
   */
  async authenticate({ headers }: FastifyRequest): Promise<Principal | undefined> {
    const address = forwardedAddress(headers);
    this.#bySource.takeOrThrow(sourceOf(address));
    const text = BEARER.exec(headers.authorization ?? '')?.[1];
    if (text === undefined) return undefined;
    const principal = await this.#find(text, address);
    if (principal !== undefined) this.#recordUse(principal.token, address);
    return principal;
  }

  async #find(text: string, address: string | undefined): Promise<(Principal & { readonly token: string }) | undefined> {
    const id = tokenId(text);
    if (id === undefined) return this.#refuse('the token is mistyped', undefined, address);
    const token = await this.#options.tokens.find(id);
    const isRight = isToken(text, token?.hash ?? NO_HASH);
    if (token === undefined || !isRight) return this.#refuse('no such token', id, address);
    const reason = await this.#whyVoid(token, address);
    if (reason !== undefined) return this.#refuse(reason, id, address);
    const scopes = scopesOfToken(token, this.#options.users);
    if (scopes === undefined) return this.#refuse('its user was removed, or is an installer now', id, address);
    const recheck = (): Promise<Principal | undefined> => this.#find(text, address);
    const { limits, recipients = [] } = token;
    return {
      id: `token ${id}`,
      token: id,
      scopes: withImplied(scopes),
      limits,
      keyRecipients: new Set(recipients),
      actor: nameOf(token),
      recheck,
    };
  }

  /** Waits for pending writes. */
  async close(): Promise<void> {
    await Promise.all(this.#writing);
  }

  async #whyVoid(token: TokenRecord, address: string | undefined): Promise<string | undefined> {
    const now = Date.now();
    if (now >= token.expiresAt) return 'the token has expired';
    if (isFromAhead(token, now)) return 'the clock was set back by a day and more since the token was made';
    if (!isInNetworks(address, token.networks)) return 'the token may not be used from this address';
    if (token.registryRestoredAt !== (await this.#options.registryRestoredAt())) return 'the registry was restored since';
    return undefined;
  }

  #refuse(reason: string, token: string | undefined, address: string | undefined): undefined {
    this.#log.warn('token refused', { token, address, reason }, 'a token was refused');
    return undefined;
  }

  #recordUse(id: string, address: string | undefined): void {
    const at = Date.now();
    if (Math.abs(at - (this.#usedAt.get(id) ?? -Infinity)) < USE_INTERVAL_MS) return;
    if (this.#usedAt.size >= MAX_REMEMBERED) this.#usedAt.clear();
    this.#usedAt.set(id, at);
    const writing = this.#options.tokens
      .recordUse(id, { at, address: address ?? null })
      .catch((error: unknown) => {
        this.#log.error(
          'token use',
          {},
          `the use of a token is not written: ${error instanceof Failure ? error.message : String(error)}`,
        );
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }
}
