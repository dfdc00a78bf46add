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

import { bytesToHex } from '@noble/ciphers/utils.js';
import { MAX_TRANSACTIONS_PER_NODE, NONCE_LENGTH, RN_LENGTH, TRANSACTION_LIFE_MS } from './constants.js';
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
import { equalInConstantTime } from './octets.js';
import { derivePsk } from './psk.js';
import type { Secret } from './secret.js';

/** Where a message came from. */
export interface Source {
  /** The address alone, in one spelling: what the bound per source counts. */
  readonly address: string;
  /** NID: address and port, 18 octets. */
  readonly nid: Uint8Array;
  /** Whether the source has shown that it receives what is sent to its address. */
  readonly proven: boolean;
}

/** Two clocks in ms: `wall` goes into TS, `steady` never jumps and measures lives. */
export interface Now {
  readonly wall: number;
  readonly steady: number;
}

/** Bounds on open transactions. */
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

type Phase =
  | { readonly name: 'asking'; readonly request: Uint8Array }
  | { readonly name: 'answered'; readonly m4: Uint8Array; readonly psk: Secret }
  | {
      readonly name: 'committing';
      readonly m4: Uint8Array;
      readonly psk: Secret;
      readonly m5: Uint8Array;
      readonly nidI: Uint8Array;
      readonly request: Uint8Array;
    }
  | { readonly name: 'joined'; readonly m4: Uint8Array; readonly m5: Uint8Array; readonly m6: Uint8Array };

/** One transaction {ID_i, TID, M1, RN_c, TS, source} and how far it is. */
export interface Transaction {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly m1: Uint8Array;
  /** Sent with each request to an auth-server: M2 while asking, M7 while committing. */
  readonly request: Uint8Array | undefined;
}

class OpenTransaction implements Transaction {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly m1: Uint8Array;
  readonly rnC: Uint8Array;
  readonly address: string;
  readonly openedAt: number;
  phase: Phase;

  constructor(
    fields: Omit<Transaction, 'request'> & {
      readonly rnC: Uint8Array;
      readonly address: string;
      readonly openedAt: number;
      readonly phase: Phase;
    },
  ) {
    this.idI = fields.idI;
    this.tid = fields.tid;
    this.ts = fields.ts;
    this.m1 = fields.m1;
    this.rnC = fields.rnC;
    this.address = fields.address;
    this.openedAt = fields.openedAt;
    this.phase = fields.phase;
  }

  get request(): Uint8Array | undefined {
    return this.phase.name === 'asking' || this.phase.name === 'committing' ? this.phase.request : undefined;
  }

  get hasRightM5(): boolean {
    return this.phase.name === 'committing' || this.phase.name === 'joined';
  }

  /** The key goes with the transaction; after M8 it is the store's. */
  wipe(): void {
    if (this.phase.name === 'answered' || this.phase.name === 'committing') this.phase.psk.wipe();
  }
}

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
  /** In the order they were opened, which is the order they expire in. */
  readonly #byTid = new Map<bigint, OpenTransaction>();
  readonly #byM1 = new Map<string, OpenTransaction>();
  readonly #byNode = new Map<number, Set<OpenTransaction>>();
  readonly #perSource = new Map<string, number>();
  readonly #wrongProofs = new WrongProofs();

  constructor(options: RespondentOptions) {
    this.#options = options;
  }

  get open(): number {
    return this.#byTid.size;
  }

  receiveM1(octets: Uint8Array, source: Source, now: Now): M1Decision {
    const m1 = ifWellFormed(decodeM1, octets);
    if (m1 === undefined) return refuse('malformed');
    this.expire(now.steady);

    const copy = this.#byM1.get(m1Key(m1));
    if (copy !== undefined)
      return copy.phase.name === 'asking' ? { kind: 'ask', transaction: copy } : { kind: 'answer', octets: copy.phase.m4 };

    const room = this.#makeRoom(m1, source);
    if (room !== 'room') return room === 'prove' ? { kind: 'prove' } : refuse(room);
    return this.#openTransaction(m1, octets, source, now);
  }

  receiveM5(octets: Uint8Array, source: Source, now: Now): M5Decision {
    const m5 = ifWellFormed(decodeM5, octets);
    if (m5 === undefined) return refuse('malformed');
    this.expire(now.steady);

    const transaction = this.#byTid.get(m5.tid);
    if (transaction === undefined || transaction.phase.name === 'asking') return refuse('noTransaction');
    if (this.#wrongProofs.tooMany(source, now.steady)) return source.proven ? refuse('tooMany') : { kind: 'prove' };
    const decision = this.#judgeM5(transaction, transaction.phase, m5, octets, source);
    if (decision.kind === 'refuse') this.#wrongProofs.count(source, now.steady);
    return decision;
  }

  #judgeM5(
    transaction: OpenTransaction,
    phase: Exclude<Phase, { name: 'asking' }>,
    m5: M5,
    octets: Uint8Array,
    source: Source,
  ): M5Decision {
    if (phase.name === 'answered') return this.#receiveProof(transaction, phase, m5, octets, source);
    if (!equalInConstantTime(octets, phase.m5)) return refuse('proofFailed');
    return phase.name === 'committing' ? { kind: 'ask', transaction } : { kind: 'answer', octets: phase.m6 };
  }

  /** Judges what came back for `transaction.request`: M3 or M9 for M2, M8 or M9 for M7. */
  receiveLinkAnswer(given: Transaction, octets: Uint8Array): LinkDecision {
    const transaction = this.#byTid.get(given.tid);
    if (transaction === undefined || transaction !== given) return { kind: 'forgotten' };
    const { phase } = transaction;
    switch (phase.name) {
      case 'asking':
        return this.#receiveM3(transaction, phase.request, octets) ?? this.#receiveM9(transaction, phase.request, octets);
      case 'answered':
        return { kind: 'answer', octets: phase.m4 };
      case 'committing':
        return this.#receiveM8(transaction, phase, octets) ?? this.#receiveM9(transaction, phase.request, octets);
      case 'joined':
        return { kind: 'answer', octets: phase.m6 };
    }
  }

  /** Drops the transactions whose life is over at `steady` ms. */
  expire(steady: number): void {
    for (const transaction of this.#byTid.values()) {
      if (steady - transaction.openedAt < TRANSACTION_LIFE_MS) return;
      this.#drop(transaction);
    }
  }

  /** Whether an M1 with a new RN_i may have a transaction, after room was made for it where that is allowed. */
  #makeRoom(m1: M1, source: Source): 'room' | 'prove' | Refusal {
    const { bounds } = this.#options;
    const ofNode = this.#byNode.get(m1.idI)?.size ?? 0;
    const sourceIsFull = (this.#perSource.get(source.address) ?? 0) >= bounds.perSource;
    if (!source.proven) {
      return ofNode > 0 || this.open * 2 >= bounds.total || sourceIsFull ? 'prove' : 'room';
    }
    if (ofNode >= MAX_TRANSACTIONS_PER_NODE || this.open >= bounds.total || sourceIsFull) {
      const oldest = this.#mayMakeRoom(m1.idI);
      if (oldest === undefined) return sourceIsFull || ofNode >= MAX_TRANSACTIONS_PER_NODE ? 'tooMany' : 'overloaded';
      if (sourceIsFull && oldest.address !== source.address) return 'tooMany';
      this.#drop(oldest);
    }
    return 'room';
  }

  /**
   * The node's oldest transaction without a right M5; if it has none, the oldest that is through: at worst its M6 was lost, and the
   * node is asking anew. One whose commit is under way never makes room.
   */
  #mayMakeRoom(idI: number): OpenTransaction | undefined {
    const ofNode = [...(this.#byNode.get(idI) ?? [])];
    return ofNode.find((t) => !t.hasRightM5) ?? ofNode.find((t) => t.phase.name === 'joined');
  }

  #openTransaction(m1: M1, octets: Uint8Array, source: Source, now: Now): M1Decision {
    const { idC, skCs, draw, takeTid } = this.#options;
    const tid = takeTid();
    if (tid === undefined) return refuse('overloaded');
    const rnC = draw(RN_LENGTH);
    const ts = BigInt(now.wall);
    const m1Octets = Uint8Array.from(octets);
    const request = sealM2({ idC, tid, nonce: draw(NONCE_LENGTH) }, { rnC, ts, m1Octets }, skCs);
    const transaction = new OpenTransaction({
      idI: m1.idI,
      tid,
      ts,
      m1: m1Octets,
      rnC,
      address: source.address,
      openedAt: now.steady,
      phase: { name: 'asking', request },
    });
    this.#byTid.set(tid, transaction);
    this.#byM1.set(m1Key(m1), transaction);
    const ofNode = this.#byNode.get(m1.idI) ?? new Set();
    this.#byNode.set(m1.idI, ofNode.add(transaction));
    this.#perSource.set(source.address, (this.#perSource.get(source.address) ?? 0) + 1);
    return { kind: 'ask', transaction };
  }

  #receiveM3(transaction: OpenTransaction, request: Uint8Array, octets: Uint8Array): LinkDecision | undefined {
    const { idC, skCs } = this.#options;
    const m3 = openM3(octets, request, skCs);
    if (m3 === undefined) return undefined;
    if (m3.idI !== transaction.idI) return { kind: 'ignored' };
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
    const { idC, skCs, draw } = this.#options;
    const { tid, ts, rnC, m1 } = transaction;
    const proof = openC5({ idC, tid, m1Octets: m1 }, m5.c5, phase.psk);
    if (proof === undefined || !equalInConstantTime(proof, rnC)) return refuse('proofFailed');
    const nidI = source.nid;
    const request = sealM7({ idC, tid, nonce: draw(NONCE_LENGTH) }, { rnC, ts, nidI, m1Octets: m1, c5: m5.c5 }, skCs);
    transaction.phase = { name: 'committing', m4: phase.m4, psk: phase.psk, m5: Uint8Array.from(octets), nidI, request };
    return { kind: 'ask', transaction };
  }

  #receiveM8(
    transaction: OpenTransaction,
    phase: Extract<Phase, { name: 'committing' }>,
    octets: Uint8Array,
  ): LinkDecision | undefined {
    const m8 = openM8(octets, phase.request, this.#options.skCs);
    if (m8 === undefined) return undefined;
    if (m8.idI !== transaction.idI) return { kind: 'ignored' };
    const { idI, tid, ts } = transaction;
    const m6 = sealM6({ idC: this.#options.idC, tid }, { lifetime: m8.lifetime }, phase.psk, phase.m5);
    transaction.phase = { name: 'joined', m4: phase.m4, m5: phase.m5, m6 };
    return { kind: 'answer', octets: m6, joined: { idI, tid, ts, nidI: phase.nidI, psk: phase.psk, lifetime: m8.lifetime } };
  }

  /** Refusals are not kept, so that a copy asks anew; those that pass by themselves leave the transaction open. */
  #receiveM9(transaction: OpenTransaction, request: Uint8Array, octets: Uint8Array): LinkDecision {
    const m9 = openM9(octets, request, this.#options.skCs);
    const refusal = m9 === undefined ? undefined : refusalOfReason(m9.reason);
    if (m9 === undefined || refusal === undefined || m9.idI !== transaction.idI) return { kind: 'ignored' };
    if (refusal !== 'overloaded' && refusal !== 'storeFailed') this.#drop(transaction);
    return { kind: 'refuse', refusal };
  }

  #drop(transaction: OpenTransaction): void {
    transaction.wipe();
    this.#byTid.delete(transaction.tid);
    this.#byM1.delete(m1Key(decodeM1(transaction.m1)));
    const ofNode = this.#byNode.get(transaction.idI);
    ofNode?.delete(transaction);
    if (ofNode?.size === 0) this.#byNode.delete(transaction.idI);
    const left = (this.#perSource.get(transaction.address) ?? 1) - 1;
    if (left === 0) this.#perSource.delete(transaction.address);
    else this.#perSource.set(transaction.address, left);
  }
}

/** How many wrong M5 came from each source lately. A forged source address counts for the unproven alone. */
class WrongProofs {
  /** Sources remembered at once; the one that came first makes room. */
  static readonly #MAX_SOURCES = 1024;
  /** Wrong M5 from one source in one transaction's life before it must prove its address, and proven before it is refused. */
  static readonly #MAX_WRONG = 16;

  readonly #sources = new Map<string, { wrong: number; readonly since: number }>();

  tooMany(source: Source, steady: number): boolean {
    const entry = this.#sources.get(WrongProofs.#key(source));
    return entry !== undefined && steady - entry.since < TRANSACTION_LIFE_MS && entry.wrong >= WrongProofs.#MAX_WRONG;
  }

  count(source: Source, steady: number): void {
    const key = WrongProofs.#key(source);
    const entry = this.#sources.get(key);
    if (entry !== undefined && steady - entry.since < TRANSACTION_LIFE_MS) {
      entry.wrong += 1;
      return;
    }
    this.#sources.delete(key);
    for (const first of this.#sources.keys()) {
      if (this.#sources.size < WrongProofs.#MAX_SOURCES) break;
      this.#sources.delete(first);
    }
    this.#sources.set(key, { wrong: 1, since: steady });
  }

  static #key(source: Source): string {
    return `${source.proven ? 'proven' : 'claimed'} ${source.address}`;
  }
}

function m1Key(m1: M1): string {
  return `${m1.idI} ${bytesToHex(m1.rnI)}`;
}

function refuse(refusal: Refusal): Refused {
  return { kind: 'refuse', refusal };
}
