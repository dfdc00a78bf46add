/**
 * Walks through all nodes take turns: two at once finish no sooner. Between two pages of a walk
 * other requests are answered.
 */

import { Problem } from './problem.js';

/** Walks that wait for their turn. At the bound a request is answered 503. */
const MAX_WAITING = 32;
const RETRY_AFTER_S = 5;

export class RegistryWalks {
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Begins the walk once those before it have ended.
   *
   * @throws Problem if too many walks wait; the reason of `signal` if that is aborted by then
   */
  async run<T>(walk: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#waiting >= MAX_WAITING) throw new Problem('busy', { retryAfter: RETRY_AFTER_S });
    this.#waiting += 1;
    const turn = this.#last.then(() => {
      signal.throwIfAborted();
      return walk();
    });
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }
}
