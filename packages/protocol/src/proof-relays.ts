/**
 * Relays M5 of pass-through transactions: from their arrival to the M7 that carries them. It also
 * decides on M5 that get no M7.
 */

import { type LinkDecision, type M5Decision, type PendingRequest, refuse, type Relay, type Settled } from './decisions.js';
import { decodeM5 } from './messages.js';
import { equalInConstantTime } from './octets.js';
import { type PendingProof, ProofQueue, QueuedProof, type TransactionProofs } from './proof-queue.js';
import type { Source } from './source.js';
import type { TransactionRecord } from './transaction.js';
import type { FailedProofLimiter } from './failed-proof-limiter.js';

export class ProofRelays {
  readonly #queue = new ProofQueue<TransactionRecord>();
  readonly #failedProofs: FailedProofLimiter;
  #settled: Settled[] = [];

  constructor(failedProofs: FailedProofLimiter) {
    this.#failedProofs = failedProofs;
  }

  /**
   * An M5 that cannot be checked here: it waits for its turn to be relayed, if there is a place for
   * it.
   */
  queue(
    transaction: TransactionRecord,
    proofs: TransactionProofs<TransactionRecord>,
    octets: Uint8Array,
    source: Source,
    monotonicMs: number,
  ): M5Decision {
    const isOrigin = source.addressValidated && equalInConstantTime(source.nid, transaction.originNid);
    const queued = proofs.find(octets);
    if (queued !== undefined) {
      // The M5 may have arrived before without address validation, or from an attacker who copied
      // it.
      if (isOrigin) this.#queue.prefer(queued, source.prefix);
      return { kind: 'relay', proof: queued };
    }
    const turnAway = source.addressValidated ? refuse('rateLimited') : { kind: 'challenge' as const };
    if (!isOrigin && this.#failedProofs.isLimited(source, monotonicMs, 'prefix')) return turnAway;
    if (proofs.isKnownWrong(octets)) {
      if (!isOrigin) this.#failedProofs.record(source, monotonicMs, 'prefix');
      return refuse('proofFailed');
    }
    const place = isOrigin ? 'origin' : source.addressValidated ? 'network' : 'unvalidated';
    if (!proofs.take(place, source)) return turnAway;
    const m5 = Uint8Array.from(octets);
    const proof = new QueuedProof({ transaction, proofs, m5, place, source, receivedAt: monotonicMs });
    if (this.#queue.add(proof)) return { kind: 'relay', proof };
    return source.addressValidated ? refuse('overloaded') : { kind: 'challenge' };
  }

  /** Returns the next M7; each is in flight until `end`. */
  take(sealM7: (transaction: TransactionRecord, c5: Uint8Array, nidI: Uint8Array) => PendingRequest): readonly Relay[] {
    const relays: Relay[] = [];
    for (let proof = this.#queue.next(); proof !== undefined; proof = this.#queue.next()) {
      const { transaction, m5, source } = proof;
      const { request, skCs } = sealM7(transaction, decodeM5(m5).c5, source.nid);
      proof.request = request;
      proof.skCs = skCs;
      relays.push({ proof, transaction, request });
    }
    return relays;
  }

  end(proof: PendingProof): void {
    if (proof instanceof QueuedProof) this.#queue.end(proof);
  }

  /**
   * Counts an M5 that the auth-server rejected against its source. The source of M1 has a separate
   * count.
   */
  rememberWrong(proof: QueuedProof<TransactionRecord>): void {
    proof.proofs.rememberWrong(proof);
    if (proof.place !== 'origin') this.#failedProofs.record(proof.source, proof.receivedAt, 'prefix');
  }

  /** Nothing more of that transaction is relayed: the decision on each M5 that waits. */
  settle(proofs: TransactionProofs<TransactionRecord>, decision: LinkDecision): void {
    for (const proof of this.#queue.clear(proofs)) this.#settled.push({ proof, decision });
  }

  takeSettled(): readonly Settled[] {
    const settled = this.#settled;
    if (settled.length > 0) this.#settled = [];
    return settled;
  }
}
