/**
 * Queue of M5 of pass-through transactions that wait for the auth-server's answer. The controller
 * cannot verify C5 itself, and an attacker who guesses a TID may send an M5 for it. Each M5
 * therefore waits in a separate place, and the right M5 gets its turn despite any others.
 *
 * - One M7 per transaction is in flight at a time. The M5 of a transaction are served in order of
 *   arrival. An exception is the M5 from the validated source of M1, which is served first.
 * - All transactions together have 256 M7 in flight at most. Waiting networks take turns.
 */

import { equalInConstantTime } from './octets.js';
import type { Secret } from './secret.js';
import type { Source } from './source.js';
import type { Transaction } from './open-transaction.js';

/** M7 in flight, of all transactions together. */
const MAX_RELAYS = 256;
/** M5 of sources that have not proven their address, over a transaction's life. */
const MAX_UNVALIDATED = 2;
/**
 * M5 that wait, of one transaction and of all; the one from where M1 came from is counted apart.
 */
const MAX_WAITING_PER_TRANSACTION = 32;
const MAX_WAITING = 4_096;
/** Wrong M5 remembered of a transaction, so that copies are not relayed. */
const MAX_WRONG = 8;
/** Wrong M5 from where M1 came from, over a transaction's life. */
const MAX_WRONG_FROM_ORIGIN = 16;

/** An M5 that waits, and what waits for: the same object for each copy of that M5. */
export interface PendingProof {
  readonly transaction: Transaction;
}

/**
 * The place of an M5 in the queue: that of the source of M1, one for unvalidated sources, or that
 * of its network.
 */
type Place = 'origin' | 'unvalidated' | 'network';

export class QueuedProof<T extends Transaction> implements PendingProof {
  readonly transaction: T;
  readonly proofs: TransactionProofs<T>;
  readonly m5: Uint8Array;
  readonly place: Place;
  /** The source of its first copy. */
  readonly source: Pick<Source, 'prefix' | 'addressValidated' | 'address' | 'nid'>;
  /** When, by the monotonic clock. */
  readonly receivedAt: number;
  /** In whose turn it is relayed. */
  network: string;
  /** The M7 that carries it, while in flight. */
  request: Uint8Array | undefined;
  /** Under which that is sealed. */
  skCs: Secret | undefined;

  constructor(fields: Pick<QueuedProof<T>, 'transaction' | 'proofs' | 'm5' | 'place' | 'source' | 'receivedAt'>) {
    this.transaction = fields.transaction;
    this.proofs = fields.proofs;
    this.m5 = fields.m5;
    this.place = fields.place;
    this.source = fields.source;
    this.receivedAt = fields.receivedAt;
    this.network = fields.source.prefix;
  }
}

/** What is known of the M5 of one transaction. */
export class TransactionProofs<T extends Transaction> {
  readonly waiting: QueuedProof<T>[] = [];
  underWay: QueuedProof<T> | undefined;
  /** The network whose turn it waits for, while none of its M5 is in flight. */
  turnOf: string | undefined;
  #unvalidated = 0;
  #wrongFromOrigin = 0;
  readonly #wrong: Uint8Array[] = [];

  /** The M5 that these octets are a copy of. */
  find(m5: Uint8Array): QueuedProof<T> | undefined {
    const { underWay } = this;
    if (underWay !== undefined && equalInConstantTime(underWay.m5, m5)) return underWay;
    return this.waiting.find((proof) => equalInConstantTime(proof.m5, m5));
  }

  isKnownWrong(m5: Uint8Array): boolean {
    return this.#wrong.some((wrong) => equalInConstantTime(wrong, m5));
  }

  rememberWrong({ m5, place }: QueuedProof<T>): void {
    if (place === 'origin') this.#wrongFromOrigin += 1;
    this.#wrong.push(m5);
    if (this.#wrong.length > MAX_WRONG) this.#wrong.shift();
  }

  /** Whether another M5 may wait in that place; one of the unproven is taken for good. */
  take(place: Place, source: Source): boolean {
    const inPlace = this.underWay === undefined ? this.waiting : [this.underWay, ...this.waiting];
    const sameNetwork = (): boolean => inPlace.some((proof) => proof.place === place && proof.source.prefix === source.prefix);
    switch (place) {
      case 'origin':
        return this.#wrongFromOrigin < MAX_WRONG_FROM_ORIGIN && !inPlace.some((proof) => proof.place === 'origin');
      case 'network':
        return !sameNetwork();
      case 'unvalidated':
        if (this.#unvalidated >= MAX_UNVALIDATED || sameNetwork()) return false;
        this.#unvalidated += 1;
        return true;
    }
  }
}

export class ProofQueue<T extends Transaction> {
  /** Transactions with a waiting M5 and none in flight, by network, in the order of their turns. */
  readonly #ready = new Map<string, TransactionProofs<T>[]>();
  readonly #underWay = new Set<QueuedProof<T>>();
  #waiting = 0;

  /** Gives false at a bound. */
  add(proof: QueuedProof<T>): boolean {
    const { proofs, place } = proof;
    if (place === 'origin') {
      proofs.waiting.push(proof);
      this.prefer(proof, proof.network);
      return true;
    }
    if (this.#waiting >= MAX_WAITING || proofs.waiting.length >= MAX_WAITING_PER_TRANSACTION) return false;
    this.#waiting += 1;
    proofs.waiting.push(proof);
    if (proofs.underWay === undefined && proofs.waiting.length === 1) this.#makeReady(proofs);
    return true;
  }

  /**
   * Moves an M5 from the source of M1 to the front of its transaction. The transaction then takes
   * its turn with `network`, not with the network of the M5 that was first before.
   */
  prefer(proof: QueuedProof<T>, network: string): void {
    const { proofs } = proof;
    const { waiting, turnOf } = proofs;
    const place = waiting.indexOf(proof);
    if (place < 0) return;
    waiting.splice(place, 1);
    waiting.unshift(proof);
    proof.network = network;
    if (proofs.underWay !== undefined || turnOf === network) return;
    const others = this.#ready.get(turnOf ?? '')?.filter((each) => each !== proofs) ?? [];
    if (turnOf !== undefined && others.length > 0) this.#ready.set(turnOf, others);
    else if (turnOf !== undefined) this.#ready.delete(turnOf);
    this.#makeReady(proofs);
  }

  /** Returns the next M5. Its M7 is in flight from here on until `end`. */
  next(): QueuedProof<T> | undefined {
    while (this.#underWay.size < MAX_RELAYS) {
      const [turn] = this.#ready;
      if (turn === undefined) return undefined;
      const [network, transactions] = turn;
      const proofs = transactions.shift();
      this.#ready.delete(network);
      if (transactions.length > 0) this.#ready.set(network, transactions);
      if (proofs !== undefined) proofs.turnOf = undefined;
      const proof = proofs?.underWay === undefined ? proofs?.waiting.shift() : undefined;
      if (proof === undefined) continue;
      this.#uncount(proof);
      proof.proofs.underWay = proof;
      this.#underWay.add(proof);
      return proof;
    }
    return undefined;
  }

  /** The M7 of that M5 is not in flight any more. */
  end(proof: QueuedProof<T>): void {
    this.#underWay.delete(proof);
    proof.request = undefined;
    proof.skCs = undefined;
    const { proofs } = proof;
    if (proofs.underWay !== proof) return;
    proofs.underWay = undefined;
    if (proofs.waiting.length > 0) this.#makeReady(proofs);
  }

  /** Nothing more of a transaction is relayed. Gives the M5 that waited. */
  clear(proofs: TransactionProofs<T>): readonly QueuedProof<T>[] {
    const waiting = proofs.waiting.splice(0);
    for (const proof of waiting) this.#uncount(proof);
    return waiting;
  }

  #makeReady(proofs: TransactionProofs<T>): void {
    const network = proofs.waiting[0]?.network ?? '';
    proofs.turnOf = network;
    const transactions = this.#ready.get(network);
    if (transactions === undefined) this.#ready.set(network, [proofs]);
    else transactions.push(proofs);
  }

  #uncount({ place }: QueuedProof<T>): void {
    if (place !== 'origin') this.#waiting -= 1;
  }
}
