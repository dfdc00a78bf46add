/**
 * The controller (SBR): its open transactions, and how each message changes them. No I/O;
 * randomness and time are passed in.
 *
 * How it is driven: pass each M1 and M5 to `receiveM1` and `receiveM5`.
 *
 *   answer     send `octets` as 2.04
 *   forward    send `transaction.request` to an auth-server, then pass the answer to
 *              `receiveLinkAnswer`. The decision is the same for a copy: the caller keeps one
 *              request in flight per transaction, and lets copies wait for it
 *   relay      of a pass-through transaction: the M5 waits as `proof`, as do its copies. See below
 *   challenge  require address validation (Echo), and store nothing
 *   refuse     send the code of the refusal
 *
 * After each call, `takeRelays` returns the M7 to send now. Pass the answer to `receiveLinkAnswer`,
 * whose decision is that of the M5. When the request has ended, with any outcome, call `endRelay`
 * for the next turn. `takeSettled` returns decisions on M5 that will not be relayed any more.
 *
 * Transactions live 60 s; `expire` removes older ones and wipes their keys. The bounds hold for any
 * input (invariant 7).
 */

import {
  ID_LENGTH,
  LENGTH,
  MAX_TRANSACTIONS_PER_NODE,
  NONCE_LENGTH,
  RN_LENGTH,
  TID_LENGTH,
  TRANSACTION_LIFETIME_MS,
  TS_LENGTH,
  TYPE,
} from './constants.js';
import {
  type Clocks,
  joinResult,
  type LinkDecision,
  type M1Decision,
  type M5Decision,
  type PendingRequest,
  refuse,
  type Relay,
  type RespondentOptions,
  type Settled,
} from './decisions.js';
import { tryDecode, refusalFromReason } from './errors.js';
import {
  decodeM1,
  decodeM5,
  encodeM4,
  encodeM6,
  type M1,
  type M5,
  openC5,
  openM10,
  openM11,
  openM3,
  openM8,
  openM9,
  sealM2,
  sealM4,
  sealM6,
  sealM7,
} from './messages.js';
import { CompletedMessages } from './completed-messages.js';
import { LinkedList, type ListNode } from './linked-list.js';
import { LinkKeys } from './link-keys.js';
import { linkNonce } from './nonce.js';
import { equalInConstantTime, Writer } from './octets.js';
import { type PendingProof, TransactionProofs } from './proof-queue.js';
import { ProofRelays } from './proof-relays.js';
import { deriveApplicationRoot, derivePsk } from './psk.js';
import type { Secret } from './secret.js';
import { limitKeyOf, type Source } from './source.js';
import type { Transaction } from './open-transaction.js';
import { type NodeTransactions, TransactionRecord, type Phase } from './transaction.js';
import { FailedProofLimiter } from './failed-proof-limiter.js';

const EMPTY: Uint8Array = new Uint8Array(0);
const EMPTY_LIST: readonly TransactionRecord[] = [];

export class Respondent {
  readonly #options: RespondentOptions;
  /**
   * All, and where they stand in the order they were opened in, which is the order they expire in.
   */
  readonly #byTid = new Map<bigint, ListNode<TransactionRecord>>();
  readonly #all = new LinkedList<TransactionRecord>();
  readonly #byNode = new Map<number, NodeTransactions>();
  /** How many are open, by source. */
  readonly #perSource = new Map<string, number>();
  /** Completed transactions in order of completion, with the data for retransmissions. */
  readonly #completed = new LinkedList<TransactionRecord>();
  readonly #completedMessages: CompletedMessages;
  readonly #failedProofs = new FailedProofLimiter();
  readonly #relays = new ProofRelays(this.#failedProofs);
  readonly #linkKeys: LinkKeys;
  #lastTid = -1n;

  constructor(options: RespondentOptions) {
    this.#options = options;
    this.#linkKeys = new LinkKeys(options.skCs);
    this.#completedMessages = new CompletedMessages(options.bounds.total + 1);
  }

  /**
   * Replaces SK_cs; the respondent owns the new one and seals with it from now on. Pending requests
   * are finished under the former one, which is wiped afterwards.
   */
  rekey(skCs: Secret): void {
    this.#linkKeys.replace(skCs, this.#lastTid, this.#all.first?.tid);
  }

  /** How many transactions are open. */
  get pendingCount(): number {
    return this.#byTid.size - this.#completed.length;
  }

  receiveM1(octets: Uint8Array, source: Source, now: Clocks): M1Decision {
    const m1 = tryDecode(decodeM1, octets);
    if (m1 === undefined) return refuse('malformed');
    this.expire(now.monotonicMs);

    const transactions = this.#byNode.get(m1.idI);
    const retransmitted = transactions && this.#findRetransmitted(octets, transactions);
    if (retransmitted !== undefined)
      return retransmitted.phase.name === 'awaiting-M3'
        ? { kind: 'forward', transaction: retransmitted }
        : { kind: 'answer', octets: this.#m4Of(retransmitted.phase) };

    const limitKey = limitKeyOf(source);
    const admission = this.#admit(transactions?.pending ?? EMPTY_LIST, source, limitKey);
    if (admission === 'challenge') return { kind: 'challenge' };
    if (admission === 'rateLimited' || admission === 'overloaded') return refuse(admission);
    return this.#beginTransaction(
      m1,
      octets,
      { addressValidated: source.addressValidated, prefix: source.prefix, originNid: source.nid, limitKey },
      now,
      admission.evicting,
    );
  }

  /**
   * Returns true if these octets are the first M5 of a transaction, from the source of its M1. Such
   * a sender received M4 there, or guessed the TID of an M1 that was served.
   */
  expectsM5(octets: Uint8Array, source: Pick<Source, 'nid'>): boolean {
    if (octets[0] !== TYPE.M5 || octets.length !== LENGTH.M5) return false;
    const m5 = tryDecode(decodeM5, octets);
    const transaction = m5 && this.#byTid.get(m5.tid)?.value;
    if (transaction === undefined || transaction.hasM5FromOrigin) return false;
    const { name } = transaction.phase;
    return (name === 'awaiting-M5' || name === 'relaying') && equalInConstantTime(source.nid, transaction.originNid);
  }

  receiveM5(octets: Uint8Array, source: Source, now: Clocks): M5Decision {
    const m5 = tryDecode(decodeM5, octets);
    if (m5 === undefined) return refuse('malformed');
    this.expire(now.monotonicMs);

    const transaction = this.#byTid.get(m5.tid)?.value;
    if (transaction === undefined || transaction.phase.name === 'awaiting-M3') return refuse('noTransaction');
    const { phase } = transaction;
    if (equalInConstantTime(source.nid, transaction.originNid)) transaction.hasM5FromOrigin = true;
    if (phase.name === 'relaying') return this.#relays.queue(transaction, phase.proofs, octets, source, now.monotonicMs);
    // A copy of the right M5 is proof by itself.
    if (phase.name !== 'awaiting-M5' && equalInConstantTime(octets, this.#m5Of(phase))) {
      return phase.name === 'awaiting-M8'
        ? { kind: 'forward', transaction }
        : { kind: 'answer', octets: this.#completedMessages.m6(phase.slot) };
    }
    if (this.#failedProofs.isLimited(source, now.monotonicMs))
      return source.addressValidated ? refuse('rateLimited') : { kind: 'challenge' };
    const decision =
      phase.name === 'awaiting-M5' ? this.#receiveProof(transaction, phase, m5, octets, source) : refuse('proofFailed');
    if (decision.kind === 'refuse') this.#failedProofs.record(source, now.monotonicMs);
    return decision;
  }

  /** Handles the answer to `transaction.request`: M3, M10 or M9 for M2, M8, M11 or M9 for M7. */
  receiveLinkAnswer(expected: Transaction, octets: Uint8Array): LinkDecision {
    const transaction = this.#byTid.get(expected.tid)?.value;
    if (transaction === undefined || transaction !== expected) return { kind: 'unknown-transaction' };
    const { phase } = transaction;
    switch (phase.name) {
      case 'awaiting-M3':
        return (
          this.#receiveM3(transaction, phase, octets) ??
          this.#receiveM10(transaction, phase, octets) ??
          this.#receiveM9(transaction, phase, octets)
        );
      case 'awaiting-M5':
        return { kind: 'answer', octets: phase.m4 };
      case 'awaiting-M8':
        return this.#receiveM8(transaction, phase, octets) ?? this.#receiveM9(transaction, phase, octets);
      case 'relaying':
        return this.#receiveRelayed(transaction, phase, octets);
      case 'completed':
        return { kind: 'answer', octets: this.#completedMessages.m6(phase.slot) };
    }
  }

  /** Drops the transactions whose life is over at `monotonicMs`. */
  expire(monotonicMs: number): void {
    for (let { first } = this.#all; first !== undefined; { first } = this.#all) {
      if (monotonicMs - first.startedAt < TRANSACTION_LIFETIME_MS) break;
      this.#drop(first);
    }
    this.#linkKeys.wipeUnused(this.#all.first?.tid);
  }

  /** The transaction that this very M1 opened. */
  #findRetransmitted(m1: Uint8Array, { pending, completed }: NodeTransactions): TransactionRecord | undefined {
    return pending.find((t) => equalInConstantTime(t.m1, m1)) ?? completed.find((t) => equalInConstantTime(this.#m1Of(t), m1));
  }

  /**
   * Decides whether an M1 with a new RN_i may open a further transaction of its node, and which one
   * is evicted for it.
   */
  #admit(
    pending: readonly TransactionRecord[],
    source: Source,
    limitKey: string,
  ): { readonly evicting: TransactionRecord | undefined } | 'challenge' | 'rateLimited' | 'overloaded' {
    const { total, perSource } = this.#options.bounds;
    const sourceIsFull = (this.#perSource.get(limitKey) ?? 0) >= perSource;
    if (!source.addressValidated) {
      return pending.length > 0 || this.pendingCount * 2 >= total || sourceIsFull ? 'challenge' : { evicting: undefined };
    }
    const nodeIsFull = pending.length >= MAX_TRANSACTIONS_PER_NODE;
    if (!nodeIsFull && !sourceIsFull && this.pendingCount < total) return { evicting: undefined };
    // The oldest one without a right M5, nor one that may be right. Transactions of the source
    // itself come first, so that no source evicts another's.
    const evictable = pending
      .filter((t) => t.phase.name !== 'awaiting-M8')
      .toSorted((a, b) => Number(a.hasProof) - Number(b.hasProof));
    const evicting = sourceIsFull
      ? evictable.find((t) => t.limitKey === limitKey)
      : (evictable.find((t) => t.prefix === source.prefix) ?? evictable[0]);
    if (evicting !== undefined) return { evicting };
    return nodeIsFull || sourceIsFull ? 'rateLimited' : 'overloaded';
  }

  #beginTransaction(
    m1: M1,
    octets: Uint8Array,
    source: Pick<TransactionRecord, 'addressValidated' | 'prefix' | 'originNid' | 'limitKey'>,
    now: Clocks,
    evicting: TransactionRecord | undefined,
  ): M1Decision {
    const { idC, randomBytes, nextTid } = this.#options;
    const skCs = this.#linkKeys.current;
    const tid = nextTid();
    if (tid === undefined) return refuse('overloaded');
    if (evicting !== undefined) this.#drop(evicting);
    const rnC = randomBytes(RN_LENGTH);
    const ts = BigInt(now.wallMs);
    const m1Octets = Uint8Array.from(octets);
    const nonce = this.#nonce(TYPE.M2, tid, ts, rnC, m1Octets);
    const request = sealM2({ idC, tid, nonce }, { rnC, ts, m1Octets }, skCs);
    const transaction = new TransactionRecord({
      idI: m1.idI,
      tid,
      ts,
      m1: m1Octets,
      rnC,
      ...source,
      startedAt: now.monotonicMs,
      phase: { name: 'awaiting-M3', request, skCs },
    });
    this.#lastTid = tid;
    this.#byTid.set(tid, this.#all.append(transaction));
    this.#transactionsOf(m1.idI).pending.push(transaction);
    this.#perSource.set(source.limitKey, (this.#perSource.get(source.limitKey) ?? 0) + 1);
    return { kind: 'forward', transaction };
  }

  #receiveM3(transaction: TransactionRecord, { request, skCs }: PendingRequest, octets: Uint8Array): LinkDecision | undefined {
    const { idC } = this.#options;
    const m3 = openM3(octets, request, skCs);
    if (m3 === undefined) return undefined;
    if (m3.idI !== transaction.idI) {
      m3.key.wipe();
      return { kind: 'ignored' };
    }
    const { rnI } = decodeM1(transaction.m1);
    const psk = derivePsk(m3.key, rnI, transaction.rnC);
    const m4 = sealM4({ idC, tid: transaction.tid }, { rnI, rnC: transaction.rnC }, m3.key, transaction.m1);
    m3.key.wipe();
    transaction.phase = { name: 'awaiting-M5', m4, psk };
    return { kind: 'answer', octets: m4 };
  }

  /**
   * The controller is pass-through: the auth-server sealed the content for the node, under a key
   * that the controller does not get.
   */
  #receiveM10(transaction: TransactionRecord, { request, skCs }: PendingRequest, octets: Uint8Array): LinkDecision | undefined {
    const m10 = openM10(octets, request, skCs);
    if (m10 === undefined) return undefined;
    if (m10.idI !== transaction.idI) return { kind: 'ignored' };
    const m4 = encodeM4({ idC: this.#options.idC, tid: transaction.tid, c4: m10.c4 });
    transaction.phase = { name: 'relaying', m4, proofs: new TransactionProofs<TransactionRecord>() };
    return { kind: 'answer', octets: m4 };
  }

  /** Returns the next M7s; each is in flight until `endRelay`. */
  takeRelays(): readonly Relay[] {
    return this.#relays.take((transaction, c5, nidI) => this.#sealM7(transaction, c5, nidI));
  }

  /** The request for a relay has ended, with any outcome. */
  endRelay(proof: PendingProof): void {
    this.#relays.end(proof);
  }

  /** Decisions on M5 that wait for nothing any more. */
  takeSettled(): readonly Settled[] {
    return this.#relays.takeSettled();
  }

  #receiveRelayed(transaction: TransactionRecord, phase: Phased<'relaying'>, octets: Uint8Array): LinkDecision {
    const { underWay } = phase.proofs;
    if (underWay?.request === undefined || underWay.skCs === undefined) return { kind: 'ignored' };
    const { request, skCs, m5, source } = underWay;
    const m11 = openM11(octets, request, skCs);
    if (m11 === undefined) {
      const decision = this.#receiveM9(transaction, { request, skCs }, octets);
      if (decision.kind === 'refuse' && decision.refusal === 'proofFailed') this.#relays.rememberWrong(underWay);
      return decision;
    }
    const { c6, applicationRoot, lifetime } = m11;
    if (m11.idI !== transaction.idI) {
      applicationRoot.wipe();
      return { kind: 'ignored' };
    }
    const m6 = encodeM6(c6);
    // Whatever the others are, the right one is known.
    this.#relays.settle(phase.proofs, refuse('proofFailed'));
    this.#complete(transaction, { m4: phase.m4, m5 }, m6);
    return { kind: 'answer', octets: m6, joined: joinResult(transaction, source.nid, applicationRoot, lifetime) };
  }

  #receiveProof(
    transaction: TransactionRecord,
    phase: Extract<Phase, { name: 'awaiting-M5' }>,
    m5: M5,
    octets: Uint8Array,
    source: Source,
  ): M5Decision {
    const { idC } = this.#options;
    const { tid, rnC, m1 } = transaction;
    const proof = openC5({ idC, tid, m1Octets: m1 }, m5.c5, phase.psk);
    if (proof === undefined || !equalInConstantTime(proof, rnC)) return refuse('proofFailed');
    const nidI = source.nid;
    const { request, skCs } = this.#sealM7(transaction, m5.c5, nidI);
    transaction.phase = { name: 'awaiting-M8', m4: phase.m4, psk: phase.psk, m5: Uint8Array.from(octets), nidI, request, skCs };
    return { kind: 'forward', transaction };
  }

  #sealM7({ tid, ts, rnC, m1 }: TransactionRecord, c5: Uint8Array, nidI: Uint8Array): PendingRequest {
    const { idC } = this.#options;
    const skCs = this.#linkKeys.current;
    const nonce = this.#nonce(TYPE.M7, tid, ts, rnC, nidI, m1, c5);
    return { request: sealM7({ idC, tid, nonce }, { rnC, ts, nidI, m1Octets: m1, c5 }, skCs), skCs };
  }

  #receiveM8(
    transaction: TransactionRecord,
    phase: Extract<Phase, { name: 'awaiting-M8' }>,
    octets: Uint8Array,
  ): LinkDecision | undefined {
    const m8 = openM8(octets, phase.request, phase.skCs);
    if (m8 === undefined) return undefined;
    if (m8.idI !== transaction.idI) return { kind: 'ignored' };
    const { idI, tid } = transaction;
    const { lifetime } = m8;
    const m6 = sealM6({ idC: this.#options.idC, tid }, { lifetime }, phase.psk, phase.m5);
    const applicationRoot = deriveApplicationRoot(phase.psk, idI);
    phase.psk.wipe();
    this.#complete(transaction, phase, m6);
    return { kind: 'answer', octets: m6, joined: joinResult(transaction, phase.nidI, applicationRoot, lifetime) };
  }

  /**
   * The transaction is completed: it does not count as open any more, and copies are answered from
   * the stored messages.
   */
  #complete(
    transaction: TransactionRecord,
    { m4, m5 }: { readonly m4: Uint8Array; readonly m5: Uint8Array },
    m6: Uint8Array,
  ): void {
    this.#removePending(transaction);
    const { completed } = this.#transactionsOf(transaction.idI);
    const slot = this.#completedMessages.insert(transaction.m1, m4, m5, m6);
    transaction.phase = { name: 'completed', slot, node: this.#completed.append(transaction) };
    transaction.m1 = EMPTY;
    transaction.rnC = EMPTY;
    transaction.originNid = EMPTY;
    completed.push(transaction);
    const oldest =
      completed.length > MAX_TRANSACTIONS_PER_NODE
        ? completed[0]
        : this.#completed.length > this.#options.bounds.total
          ? this.#completed.first
          : undefined;
    if (oldest !== undefined) this.#drop(oldest);
  }

  /**
   * Rejections are not cached, so a retransmission asks again. A temporary rejection leaves the
   * transaction open.
   */
  #receiveM9(transaction: TransactionRecord, { request, skCs }: PendingRequest, octets: Uint8Array): LinkDecision {
    const m9 = openM9(octets, request, skCs);
    const refusal = m9 === undefined ? undefined : refusalFromReason(m9.reason);
    if (m9 === undefined || refusal === undefined || m9.idI !== transaction.idI) return { kind: 'ignored' };
    const { phase } = transaction;
    // To a pass-through controller, a wrong proof only says that its sender was wrong. The right M5
    // may still arrive.
    const isOver =
      refusal !== 'overloaded' && refusal !== 'storeFailed' && !(phase.name === 'relaying' && refusal === 'proofFailed');
    if (isOver && phase.name === 'relaying') this.#relays.settle(phase.proofs, { kind: 'refuse', refusal });
    if (isOver) this.#drop(transaction);
    return { kind: 'refuse', refusal };
  }

  #nonce(type: number, tid: bigint, ts: bigint, ...rest: readonly Uint8Array[]): Uint8Array {
    const { idC, randomBytes } = this.#options;
    const header = new Writer(1 + ID_LENGTH + TID_LENGTH + TS_LENGTH).u8(type).u32(idC).u64(tid).u64(ts).done();
    return linkNonce(this.#linkKeys.current, randomBytes(NONCE_LENGTH), header, ...rest);
  }

  #drop(transaction: TransactionRecord): void {
    transaction.wipe();
    const node = this.#byTid.get(transaction.tid);
    if (node === undefined) return;
    this.#byTid.delete(transaction.tid);
    this.#all.remove(node);
    const { phase } = transaction;
    if (phase.name === 'relaying') this.#relays.settle(phase.proofs, { kind: 'unknown-transaction' });
    if (phase.name !== 'completed') return this.#removePending(transaction);
    this.#completed.remove(phase.node);
    this.#completedMessages.free(phase.slot);
    this.#detach(transaction, 'completed');
  }

  /** It no longer counts as open. */
  #removePending(transaction: TransactionRecord): void {
    this.#detach(transaction, 'pending');
    const remaining = (this.#perSource.get(transaction.limitKey) ?? 1) - 1;
    if (remaining === 0) this.#perSource.delete(transaction.limitKey);
    else this.#perSource.set(transaction.limitKey, remaining);
  }

  #transactionsOf(idI: number): NodeTransactions {
    let transactions = this.#byNode.get(idI);
    if (transactions === undefined) this.#byNode.set(idI, (transactions = { pending: [], completed: [] }));
    return transactions;
  }

  #detach(transaction: TransactionRecord, state: keyof NodeTransactions): void {
    const transactions = this.#transactionsOf(transaction.idI);
    transactions[state].splice(transactions[state].indexOf(transaction), 1);
    if (transactions.pending.length + transactions.completed.length === 0) this.#byNode.delete(transaction.idI);
  }

  #m1Of({ phase, m1 }: TransactionRecord): Uint8Array {
    return phase.name === 'completed' ? this.#completedMessages.m1(phase.slot) : m1;
  }

  #m4Of(phase: Phased<'awaiting-M5' | 'awaiting-M8' | 'relaying' | 'completed'>): Uint8Array {
    return phase.name === 'completed' ? this.#completedMessages.m4(phase.slot) : phase.m4;
  }

  #m5Of(phase: Phased<'awaiting-M8' | 'completed'>): Uint8Array {
    return phase.name === 'completed' ? this.#completedMessages.m5(phase.slot) : phase.m5;
  }
}

type Phased<N extends Phase['name']> = Extract<Phase, { readonly name: N }>;
