/**
 * Admission control for sources whose address is not validated (docs/decisions/0010). Up to a rate
 * their requests are served like others. Beyond that rate requests wait, as long as most served
 * sources turn out to be honest. Otherwise a source is challenged (Echo) without any state, within
 * its fair share, and the rest is dropped after a first look. A source that returns its Echo is
 * served during any flood. When a peer turns out to be honest, its requests are refunded, so honest
 * peers are never challenged, however many there are.
 */

import { FairRateLimiter } from './fair-rate-limiter.js';

/**
 * Unvalidated requests that are served in a second. Each may cost a transaction and a request to an
 * auth-server.
 */
const REFILL_PER_SECOND = 512;
/**
 * Burst of unvalidated requests, and the most that may be in progress before any of them turns out
 * to be honest.
 */
const BUCKET_SIZE = 256;
/**
 * Unvalidated requests that are processed concurrently, not counting expected ones. With more of
 * them each would take longer, and none would finish sooner.
 */
const MAX_WORKED_ON = 256;
/**
 * Datagrams examined in a second, well-formed or not. Most of a flood costs one small answer with
 * an Echo, or none.
 */
const DATAGRAMS_PER_SECOND = 16_384;
/**
 * Echo values checked in a second for sources beyond their share. A check costs one call of the
 * block cipher.
 */
const PROOF_CHECKS_PER_SECOND = 16_384;

/**
 * How long all requests may wait before the first served sources are known to be honest or not, in
 * ms. It is shorter than a client's retransmission timeout (ACK_TIMEOUT), and long enough for a
 * join.
 */
const GRACE_MS = 2_000;
/** The grace period can begin again after this time without a challenge, in ms. */
const QUIET_MS = 5_000;
/**
 * After the grace period as many requests may wait as honest peers are served in this many seconds.
 * During a flood that number is small. The retransmissions in that time cost a client no more
 * datagrams than an Echo.
 */
const HOLD_SECONDS = 12;
/** Window in which refunded requests are counted, in ms. */
const WINDOW_MS = 1_000;

export class AdmissionControl {
  readonly #datagrams = new FairRateLimiter(DATAGRAMS_PER_SECOND);
  readonly #proofChecks = new FairRateLimiter(PROOF_CHECKS_PER_SECOND);
  /** Unvalidated requests that may be served now. Grows with time up to `BUCKET_SIZE`. */
  #tokens = BUCKET_SIZE;
  #refilledAt = 0;
  #graceUntil = -Infinity;
  #turnedAwayAt = -Infinity;
  /** Refunded requests of honest peers, in this window and in the previous one. */
  #honest = 0;
  #honestBefore = 0;
  #windowEndsAt = 0;

  /** Returns whether a datagram from `address` is examined. */
  admitDatagram(address: string, monotonicMs: number): boolean {
    return this.#datagrams.allow(address, monotonicMs);
  }

  /**
   * Returns whether the Echo in a datagram from `address` is checked. A source beyond its share is
   * admitted only by it.
   */
  admitProofCheck(address: string, monotonicMs: number): boolean {
    return this.#proofChecks.allow(address, monotonicMs);
  }

  /**
   * Returns whether an unvalidated request is served. If false, the request must wait, or its
   * source is challenged.
   *
   * @param inFlight unvalidated requests in progress
   * @param capacity of all requests. Half of it is reserved for validated sources
   */
  admitRequest(monotonicMs: number, inFlight: number, capacity: number): boolean {
    if (inFlight >= MAX_WORKED_ON || !this.hasRoom(inFlight, capacity)) return false;
    this.#tokens = Math.min(BUCKET_SIZE, this.#tokens + ((monotonicMs - this.#refilledAt) * REFILL_PER_SECOND) / 1_000);
    this.#refilledAt = monotonicMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Returns whether the capacity has room for one more unvalidated request. */
  hasRoom(inFlight: number, capacity: number): boolean {
    return inFlight * 2 < capacity;
  }

  /**
   * Returns how many unvalidated requests may wait.
   *
   * @param held requests that wait now
   */
  maxHeld(monotonicMs: number, held: number): number {
    if (held === 0 && monotonicMs >= this.#graceUntil && monotonicMs - this.#turnedAwayAt >= QUIET_MS)
      this.#graceUntil = monotonicMs + GRACE_MS;
    if (monotonicMs < this.#graceUntil) return Infinity;
    this.#advance(monotonicMs);
    return HOLD_SECONDS * Math.max(this.#honest, this.#honestBefore) * (1_000 / WINDOW_MS);
  }

  /** Records that a source was challenged because its request could not wait. */
  turnedAway(monotonicMs: number): void {
    this.#turnedAwayAt = monotonicMs;
  }

  /**
   * Refunds `requests` that were served without validation, after their peer turned out to be
   * honest.
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
