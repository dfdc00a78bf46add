/**
 * Queue of walks through all nodes. Two concurrent walks would finish no sooner, so one runs at a
 * time. Other requests are answered between two pages of a walk.
 */

import { Problem } from './problem.js';

/**
 * Walks of requests that wait for their turn, of one caller and of all. At the bound a request is
 * answered 503. Jobs are bounded already, and wait beyond this: none fails in its middle.
 */
const MAX_WAITING_PER_CALLER = 2;
const MAX_WAITING = 32;
const RETRY_AFTER_S = 5;

interface WaitingWalk {
  /** Of a request; `undefined`: of a job. */
  readonly caller: string | undefined;
  readonly begin: () => void;
}

export class RegistryWalks {
  /** In the order of their turns. */
  readonly #waiting = new Set<WaitingWalk>();
  #isWalking = false;

  /**
   * Begins the walk once those before it have ended.
   *
   * @param caller ID of the principal whose request walks; `undefined` for a job
   * @throws Problem if too many walks wait; the reason of `signal` if that is aborted by then
   */
  async run<T>(walk: () => Promise<T>, signal: AbortSignal, caller?: string): Promise<T> {
    signal.throwIfAborted();
    if (this.#isWalking) await this.#wait(signal, caller);
    else this.#isWalking = true;
    try {
      return await walk();
    } finally {
      this.#beginNext();
    }
  }

  async #wait(signal: AbortSignal, caller: string | undefined): Promise<void> {
    if (caller !== undefined) this.#requireRoom(caller);
    let leave = (): void => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const waiting: WaitingWalk = { caller, begin: resolve };
        leave = () => {
          this.#waiting.delete(waiting);
          reject(signal.reason as Error);
        };
        this.#waiting.add(waiting);
        signal.addEventListener('abort', leave, { once: true });
      });
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #requireRoom(caller: string): void {
    const ofRequests = [...this.#waiting].filter((waiting) => waiting.caller !== undefined);
    const own = ofRequests.filter((waiting) => waiting.caller === caller).length;
    if (own >= MAX_WAITING_PER_CALLER)
      throw new Problem('busy', {
        detail: `${own} requests of yours wait to read all nodes.`,
        advice: 'Wait until one is answered, or end it.',
        retryAfter: RETRY_AFTER_S,
      });
    if (ofRequests.length >= MAX_WAITING) throw new Problem('busy', { retryAfter: RETRY_AFTER_S });
  }

  /** Hands the turn on. */
  #beginNext(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#isWalking = false;
    else {
      this.#waiting.delete(next);
      next.begin();
    }
  }
}
