/** A bound on requests that are under way at once: of one caller, and of all. */

import type { Principal } from './access.js';
import { Problem } from './problem.js';

const MAX_PER_CALLER = 1;
/** Requests of all callers. */
export const MAX_AT_ONCE = 4;
const RETRY_AFTER_S = 5;

export class ConcurrencyLimit {
  readonly #detail: string;
  readonly #callers = new Map<symbol, string>();

  /** @param detail what a caller is told at the bound */
  constructor(detail: string) {
    this.#detail = detail;
  }

  /**
   * Admits a request. Call the returned function once the request is answered.
   *
   * @throws Problem at the bound, of status 503
   */
  take({ id }: Principal): () => void {
    const own = [...this.#callers.values()].filter((caller) => caller === id).length;
    if (own >= MAX_PER_CALLER || this.#callers.size >= MAX_AT_ONCE)
      throw new Problem('busy', { detail: this.#detail, retryAfter: RETRY_AFTER_S });
    const request = Symbol(id);
    this.#callers.set(request, id);
    return () => void this.#callers.delete(request);
  }
}
