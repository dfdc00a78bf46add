/**
 * What sources that have not proven their address may have of a server under load. Up to a rate
 * they are served like others. Beyond it they wait for as long as those who were served turn out to
 * be honest; else each is asked for proof (Echo) with nothing remembered, as many as a fair share
 * allows; the rest is dropped at the cost of one look. A source that brings its proof back is
 * served, whoever floods. What an honest peer was served is given back, so that however many of
 * them come, at once or after each other, they are not asked for proof.
 */

import { FairRateLimiter } from './fair-rate-limiter.js';

/**
 * Requests without proof that are served in a second: each may take a transaction and a question to
 * an auth-server.
 */
const REFILL_PER_SECOND = 512;
/**
 * As many of them may come at once, and be under way without having shown by what they ask for that
 * they are honest.
 */
const BUCKET_SIZE = 256;
/**
 * Requests without proof that are worked on at once, but for expected ones. More of them would all
 * take longer, and none be done sooner.
 */
const MAX_WORKED_ON = 256;
/**
 * Datagrams looked at in a second, well-formed or not: most of a flood is answered by one small
 * datagram with an Echo, or not at all.
 */
const DATAGRAMS_PER_SECOND = 16_384;
/** Proofs checked in a second for sources that are beyond their share, a block cipher each. */
const PROOF_CHECKS_PER_SECOND = 16_384;

/**
 * For so long requests wait before anything is known of those who were served, in ms. It is less
 * than a client waits before it sends a request again (ACK_TIMEOUT), and long enough for a join.
 */
const GRACE_MS = 2_000;
/** And they wait so again once nobody was turned away for so long, in ms. */
const QUIET_MS = 5_000;
/**
 * After that as many wait as honest peers are served in so many seconds. A flood makes them few. To
 * send a request again in that time costs a client no more datagrams than an Echo would.
 */
const HOLD_SECONDS = 12;
/** What honest peers were served is counted in steps of so many ms. */
const WINDOW_MS = 1_000;

export class AdmissionControl {
  readonly #datagrams = new FairRateLimiter(DATAGRAMS_PER_SECOND);
  readonly #proofChecks = new FairRateLimiter(PROOF_CHECKS_PER_SECOND);
  /** How many more may be served now; grows with time up to what may come at once. */
  #tokens = BUCKET_SIZE;
  #refilledAt = 0;
  #graceUntil = -Infinity;
  #turnedAwayAt = -Infinity;
  /** Requests of honest peers that were given back, in this window and in the one before. */
  #honest = 0;
  #honestBefore = 0;
  #windowEndsAt = 0;

  /** Whether a datagram from `address` is looked at although nothing is known of it yet. */
  admitDatagram(address: string, monotonicMs: number): boolean {
    return this.#datagrams.allow(address, monotonicMs);
  }

  /** Whether the proof in a datagram from `address` is checked, which alone can let it in now. */
  admitProofCheck(address: string, monotonicMs: number): boolean {
    return this.#proofChecks.allow(address, monotonicMs);
  }

  /**
   * Whether a request without proof is served: false where it has to wait, or to prove its address.
   *
   * @param inFlight requests without proof that are being worked on
   * @param capacity for all requests: half of it is for those with proof, whatever the others do
   */
  admitRequest(monotonicMs: number, inFlight: number, capacity: number): boolean {
    if (inFlight >= MAX_WORKED_ON || !this.hasRoom(inFlight, capacity)) return false;
    this.#tokens = Math.min(BUCKET_SIZE, this.#tokens + ((monotonicMs - this.#refilledAt) * REFILL_PER_SECOND) / 1_000);
    this.#refilledAt = monotonicMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Whether one more request without proof may be worked on, whatever was served before. */
  hasRoom(inFlight: number, capacity: number): boolean {
    return inFlight * 2 < capacity;
  }

  /**
   * How many requests without proof may wait.
   *
   * @param held how many wait now
   */
  maxHeld(monotonicMs: number, held: number): number {
    if (held === 0 && monotonicMs >= this.#graceUntil && monotonicMs - this.#turnedAwayAt >= QUIET_MS)
      this.#graceUntil = monotonicMs + GRACE_MS;
    if (monotonicMs < this.#graceUntil) return Infinity;
    this.#advance(monotonicMs);
    return HOLD_SECONDS * Math.max(this.#honest, this.#honestBefore) * (1_000 / WINDOW_MS);
  }

  /** One that could not wait any longer was asked for proof. */
  turnedAway(monotonicMs: number): void {
    this.#turnedAwayAt = monotonicMs;
  }

  /**
   * So many requests that were served without proof turned out to be an honest peer's: as many more
   * may be served.
   */
  refund(requests: number, monotonicMs: number): void {
    this.#tokens = Math.min(BUCKET_SIZE, this.#tokens + requests);
    this.#advance(monotonicMs);
    this.#honest += requests;
  }

  #advance(monotonicMs: number): void {
    if (monotonicMs < this.#windowEndsAt) return;
    this.#honestBefore = monotonicMs < this.#windowEndsAt + WINDOW_MS ? this.#honest : 0;
    this.#honest = 0;
    this.#windowEndsAt = monotonicMs + WINDOW_MS;
  }
}
