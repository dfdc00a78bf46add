/**
 * The controller (SBR): its open transactions, and what each message does to them. No I/O; randomness and time are handed in.
 *
 * How it is driven: hand each M1 and M5 to `receiveM1` and `receiveM5`.
 *
 *   answer   send `octets` as 2.04
 *   ask      send `transaction.request` to an auth-server, then hand what comes back to `receiveLinkAnswer`. The decision is the
 *            same for a copy: whoever drives this keeps one request under way per transaction and lets copies wait for it.
 *   prove    ask for proof of the source address (Echo), with nothing remembered
 *   refuse   send the refusal's code
 *
 * Transactions live 60 s; `expire` drops what is older and wipes its keys. The bounds hold whoever sends what (invariant 7).
 */

import {
  ID_LENGTH,
  MAX_TRANSACTIONS_PER_NODE,
  NONCE_LENGTH,
  RN_LENGTH,
  TID_LENGTH,
  TRANSACTION_LIFE_MS,
  TS_LENGTH,
  TYPE,
} from './constants.js';
import { ifWellFormed, type LinkRefusal, type Refusal, refusalOfReason } from './errors.js';
import {
  decodeM1,
  decodeM5,
  type M1,
  type M5,
  openC5,
  openM3,
  openM8,
  openM9,
  sealM2,
  sealM4,
  sealM6,
  sealM7,
} from './messages.js';
import { KeptMessages } from './kept-messages.js';
import { Line, type Place } from './line.js';
import { linkNonce } from './nonce.js';
import { equalInConstantTime, Writer } from './octets.js';
import { derivePsk } from './psk.js';
import type { Secret } from './secret.js';
import type { Source } from './source.js';
import { type OfNode, OpenTransaction, type Phase, type Transaction } from './transaction.js';
import { WrongProofs } from './wrong-proofs.js';

const NOTHING: Uint8Array = new Uint8Array(0);
const NONE: readonly OpenTransaction[] = [];

/** Two clocks in ms: `wall` goes into TS, `steady` never jumps and measures lives. */
export interface Now {
  readonly wall: number;
  readonly steady: number;
}

/**
 * Bounds on open transactions. Those that are through (M8 came) are kept besides, for copies of M5: `total` of them at most and as many per
 * node as may be open, the oldest goes first.
 */
export interface RespondentBounds {
  readonly total: number;
  readonly perSource: number;
}

export interface RespondentOptions {
  readonly idC: number;
  readonly skCs: Secret;
  readonly bounds: RespondentBounds;
  /** `n` octets from the system's generator. */
  readonly draw: (n: number) => Uint8Array;
  /** The next TID: larger than every one before, over the controller's whole life. `undefined`: none can be had now. */
  readonly takeTid: () => bigint | undefined;
}

type Asked = Pick<Extract<Phase, { name: 'asking' }>, 'request' | 'skCs'>;

interface Refused {
  readonly kind: 'refuse';
  readonly refusal: Refusal;
}

interface Answer {
  readonly kind: 'answer';
  readonly octets: Uint8Array;
}

interface Ask {
  readonly kind: 'ask';
  readonly transaction: Transaction;
}

export type M1Decision = Answer | Ask | Refused | { readonly kind: 'prove' };
export type M5Decision = M1Decision;

/** M8 has opened: the auth-server holds `psk` for this node. */
export interface Joined {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly nidI: Uint8Array;
  readonly psk: Secret;
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
}

export type LinkDecision =
  | (Answer & { /** With the first M8 alone. */ readonly joined?: Joined })
  | { readonly kind: 'refuse'; readonly refusal: LinkRefusal }
  /** Not an M3, M8 or M9 that opens: no answer. */
  | { readonly kind: 'ignored' }
  /** The transaction is gone: expired, or made room for another. */
  | { readonly kind: 'forgotten' };

export class Respondent {
  readonly #options: RespondentOptions;
  /** All, and where they stand in the order they were opened in, which is the order they expire in. */
  readonly #byTid = new Map<bigint, Place<OpenTransaction>>();
  readonly #all = new Line<OpenTransaction>();
  readonly #byNode = new Map<number, OfNode>();
  /** How many are open, by source. */
  readonly #perSource = new Map<string, number>();
  /** Those that are through, in that order, and what is kept of them. */
  readonly #through = new Line<OpenTransaction>();
  readonly #kept: KeptMessages;
  readonly #wrongProofs = new WrongProofs();
  #skCs: Secret;
  /** SK_cs that were replaced, each with the last transaction that may still need it. */
  #former: { readonly skCs: Secret; readonly lastTid: bigint }[] = [];
  #lastTid = -1n;

  constructor(options: RespondentOptions) {
    this.#options = options;
    this.#skCs = options.skCs;
    this.#kept = new KeptMessages(options.bounds.total + 1);
  }

  /**
   * Another SK_cs, the respondent's own from here on: what is sealed from now on is sealed under it. What is under way is finished under the
   * one before, which is wiped after that.
   */
  rekey(skCs: Secret): void {
    this.#former.push({ skCs: this.#skCs, lastTid: this.#lastTid });
    this.#skCs = skCs;
    this.#wipeFormer();
  }

  /** How many transactions are open. */
  get open(): number {
    return this.#byTid.size - this.#through.length;
  }

  receiveM1(octets: Uint8Array, source: Source, now: Now): M1Decision {
    const m1 = ifWellFormed(decodeM1, octets);
    if (m1 === undefined) return refuse('malformed');
    this.expire(now.steady);

    const ofNode = this.#byNode.get(m1.idI);
    const copy = ofNode && this.#copyOf(octets, ofNode);
    if (copy !== undefined)
      return copy.phase.name === 'asking'
        ? { kind: 'ask', transaction: copy }
        : { kind: 'answer', octets: this.#m4Of(copy.phase) };

    const counted = countedAs(source);
    const room = this.#roomFor(ofNode?.open ?? NONE, source, counted);
    if (room === 'prove') return { kind: 'prove' };
    if (room === 'tooMany' || room === 'overloaded') return refuse(room);
    return this.#openTransaction(
      m1,
      octets,
      { proven: source.proven, network: source.network, countedAs: counted },
      now,
      room.evicting,
    );
  }

  receiveM5(octets: Uint8Array, source: Source, now: Now): M5Decision {
    const m5 = ifWellFormed(decodeM5, octets);
    if (m5 === undefined) return refuse('malformed');
    this.expire(now.steady);

    const transaction = this.#byTid.get(m5.tid)?.thing;
    if (transaction === undefined || transaction.phase.name === 'asking') return refuse('noTransaction');
    const { phase } = transaction;
    // A copy of the right M5 is proof by itself.
    if (phase.name !== 'answered' && equalInConstantTime(octets, this.#m5Of(phase))) {
      return phase.name === 'committing' ? { kind: 'ask', transaction } : { kind: 'answer', octets: this.#kept.m6(phase.row) };
    }
    if (this.#wrongProofs.tooMany(source, now.steady)) return source.proven ? refuse('tooMany') : { kind: 'prove' };
    const decision =
      phase.name === 'answered' ? this.#receiveProof(transaction, phase, m5, octets, source) : refuse('proofFailed');
    if (decision.kind === 'refuse') this.#wrongProofs.count(source, now.steady);
    return decision;
  }

  /** Judges what came back for `transaction.request`: M3 or M9 for M2, M8 or M9 for M7. */
  receiveLinkAnswer(given: Transaction, octets: Uint8Array): LinkDecision {
    const transaction = this.#byTid.get(given.tid)?.thing;
    if (transaction === undefined || transaction !== given) return { kind: 'forgotten' };
    const { phase } = transaction;
    switch (phase.name) {
      case 'asking':
        return this.#receiveM3(transaction, phase, octets) ?? this.#receiveM9(transaction, phase, octets);
      case 'answered':
        return { kind: 'answer', octets: phase.m4 };
      case 'committing':
        return this.#receiveM8(transaction, phase, octets) ?? this.#receiveM9(transaction, phase, octets);
      case 'joined':
        return { kind: 'answer', octets: this.#kept.m6(phase.row) };
    }
  }

  /** Drops the transactions whose life is over at `steady` ms. */
  expire(steady: number): void {
    for (let { first } = this.#all; first !== undefined; { first } = this.#all) {
      if (steady - first.openedAt < TRANSACTION_LIFE_MS) break;
      this.#drop(first);
    }
    if (this.#former.length > 0) this.#wipeFormer();
  }

  /** TIDs only grow: the oldest that is left tells whether any of an earlier SK_cs is. */
  #wipeFormer(): void {
    const oldest = this.#all.first?.tid;
    const needed = this.#former.filter(({ lastTid }) => oldest !== undefined && oldest <= lastTid);
    for (const former of this.#former) if (!needed.includes(former)) former.skCs.wipe();
    this.#former = needed;
  }

  /** The transaction that this very M1 opened. */
  #copyOf(m1: Uint8Array, { open, through }: OfNode): OpenTransaction | undefined {
    return open.find((t) => equalInConstantTime(t.m1, m1)) ?? through.find((t) => equalInConstantTime(this.#m1Of(t), m1));
  }

  /** Whether an M1 with a new RN_i may have a transaction beside those of its node, and which one must go for it. */
  #roomFor(
    ofNode: readonly OpenTransaction[],
    source: Source,
    counted: string,
  ): { readonly evicting: OpenTransaction | undefined } | 'prove' | 'tooMany' | 'overloaded' {
    const { total, perSource } = this.#options.bounds;
    const sourceIsFull = (this.#perSource.get(counted) ?? 0) >= perSource;
    if (!source.proven) {
      return ofNode.length > 0 || this.open * 2 >= total || sourceIsFull ? 'prove' : { evicting: undefined };
    }
    const nodeIsFull = ofNode.length >= MAX_TRANSACTIONS_PER_NODE;
    if (!nodeIsFull && !sourceIsFull && this.open < total) return { evicting: undefined };
    // The oldest without a right M5; of those the source's own first, so that nobody pushes out another's.
    const mayGo = ofNode.filter(({ phase }) => phase.name === 'asking' || phase.name === 'answered');
    const evicting = sourceIsFull
      ? mayGo.find((t) => t.countedAs === counted)
      : (mayGo.find((t) => t.network === source.network) ?? mayGo[0]);
    if (evicting !== undefined) return { evicting };
    return nodeIsFull || sourceIsFull ? 'tooMany' : 'overloaded';
  }

  #openTransaction(
    m1: M1,
    octets: Uint8Array,
    from: Pick<OpenTransaction, 'proven' | 'network' | 'countedAs'>,
    now: Now,
    evicting: OpenTransaction | undefined,
  ): M1Decision {
    const { idC, draw, takeTid } = this.#options;
    const skCs = this.#skCs;
    const tid = takeTid();
    if (tid === undefined) return refuse('overloaded');
    if (evicting !== undefined) this.#drop(evicting);
    const rnC = draw(RN_LENGTH);
    const ts = BigInt(now.wall);
    const m1Octets = Uint8Array.from(octets);
    const nonce = this.#nonce(TYPE.M2, tid, ts, rnC, m1Octets);
    const request = sealM2({ idC, tid, nonce }, { rnC, ts, m1Octets }, skCs);
    const transaction = new OpenTransaction({
      idI: m1.idI,
      tid,
      ts,
      m1: m1Octets,
      rnC,
      ...from,
      openedAt: now.steady,
      phase: { name: 'asking', request, skCs },
    });
    this.#lastTid = tid;
    this.#byTid.set(tid, this.#all.join(transaction));
    this.#ofNode(m1.idI).open.push(transaction);
    this.#perSource.set(from.countedAs, (this.#perSource.get(from.countedAs) ?? 0) + 1);
    return { kind: 'ask', transaction };
  }

  #receiveM3(transaction: OpenTransaction, { request, skCs }: Asked, octets: Uint8Array): LinkDecision | undefined {
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
    transaction.phase = { name: 'answered', m4, psk };
    return { kind: 'answer', octets: m4 };
  }

  #receiveProof(
    transaction: OpenTransaction,
    phase: Extract<Phase, { name: 'answered' }>,
    m5: M5,
    octets: Uint8Array,
    source: Source,
  ): M5Decision {
    const { idC } = this.#options;
    const skCs = this.#skCs;
    const { tid, ts, rnC, m1 } = transaction;
    const proof = openC5({ idC, tid, m1Octets: m1 }, m5.c5, phase.psk);
    if (proof === undefined || !equalInConstantTime(proof, rnC)) return refuse('proofFailed');
    const nidI = source.nid;
    const nonce = this.#nonce(TYPE.M7, tid, ts, rnC, nidI, m1, m5.c5);
    const request = sealM7({ idC, tid, nonce }, { rnC, ts, nidI, m1Octets: m1, c5: m5.c5 }, skCs);
    transaction.phase = { name: 'committing', m4: phase.m4, psk: phase.psk, m5: Uint8Array.from(octets), nidI, request, skCs };
    return { kind: 'ask', transaction };
  }

  #receiveM8(
    transaction: OpenTransaction,
    phase: Extract<Phase, { name: 'committing' }>,
    octets: Uint8Array,
  ): LinkDecision | undefined {
    const m8 = openM8(octets, phase.request, phase.skCs);
    if (m8 === undefined) return undefined;
    if (m8.idI !== transaction.idI) return { kind: 'ignored' };
    const { idI, tid, ts } = transaction;
    const m6 = sealM6({ idC: this.#options.idC, tid }, { lifetime: m8.lifetime }, phase.psk, phase.m5);
    this.#keep(transaction, phase, m6);
    return { kind: 'answer', octets: m6, joined: { idI, tid, ts, nidI: phase.nidI, psk: phase.psk, lifetime: m8.lifetime } };
  }

  /** It is through: from here on it counts no more, and copies are answered with what is kept of it. */
  #keep(transaction: OpenTransaction, { m4, m5 }: Phased<'committing'>, m6: Uint8Array): void {
    this.#close(transaction);
    const { through } = this.#ofNode(transaction.idI);
    const row = this.#kept.keep(transaction.m1, m4, m5, m6);
    transaction.phase = { name: 'joined', row, place: this.#through.join(transaction) };
    transaction.m1 = NOTHING;
    transaction.rnC = NOTHING;
    through.push(transaction);
    const oldest =
      through.length > MAX_TRANSACTIONS_PER_NODE
        ? through[0]
        : this.#through.length > this.#options.bounds.total
          ? this.#through.first
          : undefined;
    if (oldest !== undefined) this.#drop(oldest);
  }

  /** Refusals are not kept, so that a copy asks anew; those that pass by themselves leave the transaction open. */
  #receiveM9(transaction: OpenTransaction, { request, skCs }: Asked, octets: Uint8Array): LinkDecision {
    const m9 = openM9(octets, request, skCs);
    const refusal = m9 === undefined ? undefined : refusalOfReason(m9.reason);
    if (m9 === undefined || refusal === undefined || m9.idI !== transaction.idI) return { kind: 'ignored' };
    if (refusal !== 'overloaded' && refusal !== 'storeFailed') this.#drop(transaction);
    return { kind: 'refuse', refusal };
  }

  #nonce(type: number, tid: bigint, ts: bigint, ...rest: readonly Uint8Array[]): Uint8Array {
    const { idC, draw } = this.#options;
    const header = new Writer(1 + ID_LENGTH + TID_LENGTH + TS_LENGTH).u8(type).u32(idC).u64(tid).u64(ts).done();
    return linkNonce(this.#skCs, draw(NONCE_LENGTH), header, ...rest);
  }

  #drop(transaction: OpenTransaction): void {
    transaction.wipe();
    const place = this.#byTid.get(transaction.tid);
    if (place === undefined) return;
    this.#byTid.delete(transaction.tid);
    this.#all.leave(place);
    const { phase } = transaction;
    if (phase.name !== 'joined') return this.#close(transaction);
    this.#through.leave(phase.place);
    this.#kept.drop(phase.row);
    this.#leaveNode(transaction, 'through');
  }

  /** It no longer counts as open. */
  #close(transaction: OpenTransaction): void {
    this.#leaveNode(transaction, 'open');
    const left = (this.#perSource.get(transaction.countedAs) ?? 1) - 1;
    if (left === 0) this.#perSource.delete(transaction.countedAs);
    else this.#perSource.set(transaction.countedAs, left);
  }

  #ofNode(idI: number): OfNode {
    let ofNode = this.#byNode.get(idI);
    if (ofNode === undefined) this.#byNode.set(idI, (ofNode = { open: [], through: [] }));
    return ofNode;
  }

  #leaveNode(transaction: OpenTransaction, state: keyof OfNode): void {
    const ofNode = this.#ofNode(transaction.idI);
    ofNode[state].splice(ofNode[state].indexOf(transaction), 1);
    if (ofNode.open.length + ofNode.through.length === 0) this.#byNode.delete(transaction.idI);
  }

  #m1Of({ phase, m1 }: OpenTransaction): Uint8Array {
    return phase.name === 'joined' ? this.#kept.m1(phase.row) : m1;
  }

  #m4Of(phase: Phased<'answered' | 'committing' | 'joined'>): Uint8Array {
    return phase.name === 'joined' ? this.#kept.m4(phase.row) : phase.m4;
  }

  #m5Of(phase: Phased<'committing' | 'joined'>): Uint8Array {
    return phase.name === 'joined' ? this.#kept.m5(phase.row) : phase.m5;
  }
}

function countedAs(source: Source): string {
  return `${source.proven ? 'proven' : 'claimed'} ${source.network}`;
}

type Phased<N extends Phase['name']> = Extract<Phase, { readonly name: N }>;

function refuse(refusal: Refusal): Refused {
  return { kind: 'refuse', refusal };
}
