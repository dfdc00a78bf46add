/** Token bucket per caller: a burst, then a steady rate. */

import { Problem } from './problem.js';

export interface Rate {
  readonly perSecond: number;
  /** Burst size: requests that are admitted at once after a pause. */
  readonly burst: number;
}

/** Requests of a caller. */
const REQUESTS: Rate = { perSecond: 20, burst: 100 };
/**
 * Callers remembered. At the bound the least recent is forgotten, and starts with a full bucket.
 */
const MAX_CALLERS = 4_096;

interface Bucket {
  tokens: number;
  at: number;
}

export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  readonly #nowMs: () => number;
  readonly #rate: Rate;

  /** @param nowMs a monotonic clock, in ms */
  constructor(nowMs: () => number = () => performance.now(), rate: Rate = REQUESTS) {
    this.#nowMs = nowMs;
    this.#rate = rate;
  }

  /** Takes a token. Returns the seconds to wait if none is left, otherwise `undefined`. */
  take(caller: string): number | undefined {
    const now = this.#nowMs();
    const { perSecond, burst } = this.#rate;
    const before = this.#buckets.get(caller);
    const tokens = before === undefined ? burst : Math.min(burst, before.tokens + ((now - before.at) * perSecond) / 1000);
    this.#buckets.delete(caller);
    if (this.#buckets.size >= MAX_CALLERS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    this.#buckets.set(caller, { tokens: tokens < 1 ? tokens : tokens - 1, at: now });
    return tokens < 1 ? Math.ceil((1 - tokens) / perSecond) : undefined;
  }

  /** @throws Problem `too-many-requests` if no token is left */
  takeOrThrow(caller: string): void {
    const retryAfter = this.take(caller);
    if (retryAfter !== undefined) throw new Problem('too-many-requests', { retryAfter });
  }
}
