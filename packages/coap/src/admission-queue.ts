/**
 * Queue of requests without address validation that arrive faster than they are served. Its length
 * and the waiting time are limited by `AdmissionControl`. A request beyond a limit is challenged.
 */

import type { AdmissionControl } from './admission-control.js';
import { type HeldRequest, HeldRequests } from './held-requests.js';

/** Poll interval for queued requests, in ms. Tokens that honest peers refund are used at once. */
const INTERVAL_MS = 25;
/**
 * Requests that one poll challenges at most, so that rejecting a flood does not delay other work.
 */
const CHALLENGES_PER_LOOK = 512;

/** Who works on requests, or asks for proof. */
export interface RequestServer {
  /** How many requests without proof it works on, and how many requests it may. */
  readonly unvalidated: number;
  readonly capacity: number;
  serve(request: HeldRequest<RequestServer>): void;
  challenge(request: HeldRequest<RequestServer>): void;
}

export class AdmissionQueue {
  readonly #admission: AdmissionControl;
  readonly #held = new HeldRequests<RequestServer>();
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;

  constructor(admission: AdmissionControl) {
    this.#admission = admission;
  }

  /** Whether a copy of it waits. */
  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** `served`, now; `held`; `turned away`: it has to prove its address. */
  admit(server: RequestServer, request: Omit<HeldRequest<RequestServer>, 'receiver'>): 'served' | 'held' | 'turned away' {
    const now = performance.now();
    const { length } = this.#held;
    if (length === 0 && this.#admission.admitRequest(now, server.unvalidated, server.capacity)) return 'served';
    if (length < this.#admission.maxHeld(now, length) && this.#held.add({ ...request, receiver: server })) {
      this.#timer ??= setInterval(() => this.#advance(), INTERVAL_MS).unref();
      return 'held';
    }
    this.#admission.turnedAway(now);
    return 'turned away';
  }

  /** So many requests that were served turned out to be an honest peer's. */
  refund(requests: number): void {
    if (requests === 0) return;
    this.#admission.refund(requests, performance.now());
    if (this.#held.length === 0 || this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => this.#advance());
  }

  #advance(): void {
    this.#isDue = false;
    const now = performance.now();
    for (let next = this.#held.nextReceiver; next !== undefined; next = this.#held.nextReceiver) {
      if (!this.#admission.admitRequest(now, next.unvalidated, next.capacity)) break;
      const request = this.#held.shift();
      request?.receiver.serve(request);
    }
    for (let asked = 0; asked < CHALLENGES_PER_LOOK; asked++) {
      if (this.#held.length <= this.#admission.maxHeld(now, this.#held.length)) break;
      const request = this.#held.pop();
      request?.receiver.challenge(request);
      this.#admission.turnedAway(now);
    }
    if (this.#held.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
