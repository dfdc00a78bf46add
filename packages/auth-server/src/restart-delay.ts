/** Waits before something that failed is started again: each twice as long, up to a minute. */

const FIRST_MS = 1_000;
const MAX_MS = 60_000;

export class RestartDelay {
  #nextMs = FIRST_MS;

  /** Returns how long to wait this time, in ms. */
  next(): number {
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(2 * delayMs, MAX_MS);
    return delayMs;
  }

  /** After a run that lasted. */
  reset(): void {
    this.#nextMs = FIRST_MS;
  }
}
