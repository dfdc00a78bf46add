/** Token bucket per caller: a burst, then a steady rate. */

/** Requests a second, and how many may come at once after a pause. */
const RATE = 20;
const BURST = 100;
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

  /** @param nowMs a monotonic clock, in ms */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Takes a token. Returns the seconds to wait if none is left, otherwise `undefined`. */
  take(caller: string): number | undefined {
    const now = this.#nowMs();
    const before = this.#buckets.get(caller);
    const tokens = before === undefined ? BURST : Math.min(BURST, before.tokens + ((now - before.at) * RATE) / 1000);
    this.#buckets.delete(caller);
    if (this.#buckets.size >= MAX_CALLERS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    this.#buckets.set(caller, { tokens: tokens < 1 ? tokens : tokens - 1, at: now });
    return tokens < 1 ? Math.ceil((1 - tokens) / RATE) : undefined;
  }
}
