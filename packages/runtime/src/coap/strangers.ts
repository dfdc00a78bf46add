/**
 * What sources that have not proven their address may have of a server under load. Up to a rate they are served like others; beyond
 * it each is asked for proof (Echo) with nothing remembered, as many as a fair share allows; the rest is dropped at the cost of one
 * look. A source that brings its proof back is served, whoever floods. What an honest peer was served is given back, so that however many of
 * them come after each other they are not asked for proof.
 */

import { FairShare } from './fair-share.js';

/** Requests without proof that are served in a second: each may take a transaction and a question to an auth-server. */
const SERVED_PER_SECOND = 512;
/** As many of them may come at once, and be under way without having shown by what they ask for that they are honest. */
const SERVED_AT_ONCE = 256;
/** Datagrams looked at in a second, well-formed or not: most of a flood is answered by one small datagram with an Echo, or not at all. */
const LOOKED_AT_PER_SECOND = 16_384;
/** Proofs checked in a second for sources that are beyond their share, a block cipher each. */
const CHECKED_PER_SECOND = 16_384;

export class Strangers {
  readonly #looked = new FairShare(LOOKED_AT_PER_SECOND);
  readonly #checked = new FairShare(CHECKED_PER_SECOND);
  /** How many more may be served now; grows with time up to what may come at once. */
  #servable = SERVED_AT_ONCE;
  #countedAt = 0;

  /** Whether a datagram from `address` is looked at although nothing is known of it yet. */
  mayBeHeard(address: string, steady: number): boolean {
    return this.#looked.grants(address, steady);
  }

  /** Whether the proof in a datagram from `address` is checked, which alone can let it in now. */
  mayShowProof(address: string, steady: number): boolean {
    return this.#checked.grants(address, steady);
  }

  /**
   * Whether a request without proof is served: false where it must prove its address first.
   *
   * @param inWork requests without proof that are being worked on
   * @param room for all requests: half of it is for those with proof, whatever the others do
   */
  mayBeServed(steady: number, inWork: number, room: number): boolean {
    if (inWork * 2 >= room) return false;
    this.#servable = Math.min(SERVED_AT_ONCE, this.#servable + ((steady - this.#countedAt) * SERVED_PER_SECOND) / 1_000);
    this.#countedAt = steady;
    if (this.#servable < 1) return false;
    this.#servable -= 1;
    return true;
  }

  /** So many requests that were served without proof turned out to be an honest peer's: as many more may be served. */
  giveBack(requests: number): void {
    this.#servable = Math.min(SERVED_AT_ONCE, this.#servable + requests);
  }
}
