/**
 * Requests of commands to be signed in, until a person has confirmed them in the console and the
 * command has fetched its token. In memory only: a caller without credentials writes nothing to the
 * disk.
 */

import { randomInt } from 'node:crypto';
import type { Scope } from '../access.js';
import { sourceOf } from '../tokens/networks.js';
import { generateSecret, hashOfSecret } from '../users/random-secret.js';

/** Requests at once. */
const MAX_REQUESTS = 256;
/** For the person to type the code, in ms. */
export const CODE_LIFETIME_MS: number = 10 * 60_000;
/** For the command to fetch what came of its request, after the code has expired, in ms. */
const FETCH_MS = 60_000;
/** Consonants, so that no word comes of them (RFC 8628, 6.1): 8 of them have 34 bits. */
const ALPHABET = 'BCDFGHJKLMNPQRSTVWXZ';
const CODE_LENGTH = 8;

/** What the command says of itself. Nobody has verified it. */
export interface ClaimedLogin {
  /** Name of its machine. */
  readonly machine: string;
  /** Name that the person gave the server there. */
  readonly context: string;
  /** `undefined`: whatever the person may. */
  readonly scopes: readonly Scope[] | undefined;
  readonly lifetimeSeconds: number;
}

/** What the person has decided. */
type Decision<C> = { readonly kind: 'refused' } | { readonly kind: 'confirmed'; readonly confirmation: C };

export interface LoginRequest<C> extends ClaimedLogin {
  /** As the command shows it: `BCDF-GHJK`. */
  readonly code: string;
  /** Where the request came from. */
  readonly address: string | undefined;
  /** That the rate limit counts. */
  readonly source: string;
  /** By a monotonic clock, in ms. */
  readonly beganMs: number;
  /** ID of the user who typed the code last. Only this user can decide. */
  foundBy: string | undefined;
  /** The log is written before the decision counts. */
  isBeingDecided: boolean;
  decision: Decision<C> | undefined;
}

/** @typeParam C what is needed to make the token of a confirmed request */
export class LoginRequests<C> {
  /** By the SHA-256 of the command's secret, in hex. The oldest is first. */
  readonly #requests = new Map<string, LoginRequest<C>>();
  readonly #nowMs: () => number;

  /** @param nowMs a monotonic clock, in ms */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Adds a request. At the bound the source with the most requests loses its oldest one that no
   * person has seen: a flood from few sources evicts requests of the flood.
   *
   * @returns the secret of the command, or `undefined` if persons have seen all requests
   */
  add(claimed: ClaimedLogin, address: string | undefined): { readonly secret: string; readonly code: string } | undefined {
    this.#removeExpired();
    if (this.#requests.size >= MAX_REQUESTS && !this.#evict()) return undefined;
    const secret = generateSecret();
    const code = this.#newCode();
    const beganMs = this.#nowMs();
    this.#requests.set(keyOf(secret), {
      ...claimed,
      code,
      address,
      source: sourceOf(address),
      beganMs,
      foundBy: undefined,
      isBeingDecided: false,
      decision: undefined,
    });
    return { secret, code };
  }

  /**
   * Returns the request of a code that was typed, in any case and with any separators. Returns
   * `undefined` if there is none, or if it is decided.
   */
  find(typed: string): LoginRequest<C> | undefined {
    this.#removeExpired();
    const code = normalize(typed);
    const request = [...this.#requests.values()].find((one) => normalize(one.code) === code);
    if (request === undefined || this.remainingMs(request) <= 0) return undefined;
    return request.isBeingDecided || request.decision !== undefined ? undefined : request;
  }

  /** Until the code expires, in ms. */
  remainingMs({ beganMs }: LoginRequest<C>): number {
    return beganMs + CODE_LIFETIME_MS - this.#nowMs();
  }

  /**
   * Returns the request of a command, by its secret. A request that was decided is removed: the
   * decision is fetched once.
   */
  take(secret: string): LoginRequest<C> | undefined {
    this.#removeExpired();
    const key = keyOf(secret);
    const request = this.#requests.get(key);
    if (request === undefined) return undefined;
    if (request.decision !== undefined) this.#requests.delete(key);
    // A code that has expired cannot be typed: nothing will come of the request.
    else if (this.remainingMs(request) <= 0) return undefined;
    return request;
  }

  /** Removes the request of a command, decided or not. */
  remove(secret: string): void {
    this.#requests.delete(keyOf(secret));
  }

  /** Returns a request that was taken, and that nothing came of. */
  putBack(secret: string, request: LoginRequest<C>): void {
    this.#requests.set(keyOf(secret), request);
  }

  #removeExpired(): void {
    const before = this.#nowMs() - CODE_LIFETIME_MS - FETCH_MS;
    for (const [key, { beganMs }] of this.#requests) if (beganMs < before) this.#requests.delete(key);
  }

  /** Returns false if persons have seen all requests. */
  #evict(): boolean {
    const unseen = [...this.#requests].filter(([, { foundBy }]) => foundBy === undefined);
    const counts = new Map<string, number>();
    for (const [, { source }] of unseen) counts.set(source, (counts.get(source) ?? 0) + 1);
    const most = Math.max(...counts.values());
    const [key] = unseen.find(([, { source }]) => counts.get(source) === most) ?? [];
    return key !== undefined && this.#requests.delete(key);
  }

  /** Returns a code that no other request has. */
  #newCode(): string {
    const codes = new Set([...this.#requests.values()].map(({ code }) => code));
    for (;;) {
      const letters = Array.from({ length: CODE_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
      const code = `${letters.slice(0, CODE_LENGTH / 2)}-${letters.slice(CODE_LENGTH / 2)}`;
      if (!codes.has(code)) return code;
    }
  }
}

function normalize(code: string): string {
  return code.toUpperCase().replaceAll(/[^A-Z]/g, '');
}

/** A text that is no secret has a key that no request has. */
function keyOf(secret: string): string {
  return hashOfSecret(secret)?.toString('hex') ?? '';
}
