/**
 * What sources that have not proven their address may have of a server under load. Up to a rate
 * they are served like others; beyond it each is asked for proof (Echo) with nothing remembered, as
 * many as a fair share allows; the rest is dropped at the cost of one look. A source that brings
 * its proof back is served, whoever floods. What an honest peer was served is given back, so that
 * however many of them come after each other they are not asked for proof.
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
 * Datagrams looked at in a second, well-formed or not: most of a flood is answered by one small
 * datagram with an Echo, or not at all.
 */
const DATAGRAMS_PER_SECOND = 16_384;
/** Proofs checked in a second for sources that are beyond their share, a block cipher each. */
const PROOF_CHECKS_PER_SECOND = 16_384;

export class AdmissionControl {
  readonly #datagrams = new FairRateLimiter(DATAGRAMS_PER_SECOND);
  readonly #proofChecks = new FairRateLimiter(PROOF_CHECKS_PER_SECOND);
  /** How many more may be served now; grows with time up to what may come at once. */
  #tokens = BUCKET_SIZE;
  #refilledAt = 0;

  /** Whether a datagram from `address` is looked at although nothing is known of it yet. */
  admitDatagram(address: string, monotonicMs: number): boolean {
    return this.#datagrams.allow(address, monotonicMs);
  }

  /** Whether the proof in a datagram from `address` is checked, which alone can let it in now. */
  admitProofCheck(address: string, monotonicMs: number): boolean {
    return this.#proofChecks.allow(address, monotonicMs);
  }

  /**
   * Whether a request without proof is served: false where it must prove its address first.
   *
   * @param inFlight requests without proof that are being worked on
   * @param capacity for all requests: half of it is for those with proof, whatever the others do
   */
  admitRequest(monotonicMs: number, inFlight: number, capacity: number): boolean {
    if (inFlight * 2 >= capacity) return false;
    this.#tokens = Math.min(BUCKET_SIZE, this.#tokens + ((monotonicMs - this.#refilledAt) * REFILL_PER_SECOND) / 1_000);
    this.#refilledAt = monotonicMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /**
   * So many requests that were served without proof turned out to be an honest peer's: as many more
   * may be served.
   */
  refund(requests: number): void {
    this.#tokens = Math.min(BUCKET_SIZE, this.#tokens + requests);
  }
}
