/** A transaction of the controller, {ID_i, TID, M1, RN_c, TS, source}, and how far it is. */

import type { ListNode } from './linked-list.js';
import type { TransactionProofs } from './proof-queue.js';
import type { Transaction } from './open-transaction.js';
import type { Secret } from './secret.js';

/** `skCs` is what `request` was sealed under, and its answer will be. */
export type Phase =
  | { readonly name: 'awaiting-M3'; readonly request: Uint8Array; readonly skCs: Secret }
  | { readonly name: 'awaiting-M5'; readonly m4: Uint8Array; readonly psk: Secret }
  | {
      readonly name: 'awaiting-M8';
      readonly m4: Uint8Array;
      readonly psk: Secret;
      readonly m5: Uint8Array;
      readonly nidI: Uint8Array;
      readonly request: Uint8Array;
      readonly skCs: Secret;
    }
  /**
   * The auth-server sealed the content of M4, so this controller is pass-through and cannot verify
   * an M5.
   */
  | { readonly name: 'relaying'; readonly m4: Uint8Array; readonly proofs: TransactionProofs<TransactionRecord> }
  /** It is through. `slot` has its messages, which are all that is left of it. */
  | { readonly name: 'completed'; readonly slot: number; readonly node: ListNode<TransactionRecord> };

export class TransactionRecord implements Transaction {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  m1: Uint8Array;
  rnC: Uint8Array;
  readonly addressValidated: boolean;
  /** Network of the source of its M1, validated or not. */
  readonly prefix: string;
  /** Address and port of the source of M1. */
  originNid: Uint8Array;
  /**
   * Whom the bound per source counts it against: a forged address never fills the share of a proven
   * one.
   */
  readonly limitKey: string;
  readonly startedAt: number;
  /** True after an M5 came from the source of M1. */
  hasM5FromOrigin = false;
  phase: Phase;

  constructor(
    fields: Omit<Transaction, 'request'> & {
      readonly rnC: Uint8Array;
      readonly prefix: string;
      readonly originNid: Uint8Array;
      readonly limitKey: string;
      readonly startedAt: number;
      readonly phase: Phase;
    },
  ) {
    this.idI = fields.idI;
    this.tid = fields.tid;
    this.ts = fields.ts;
    this.m1 = fields.m1;
    this.rnC = fields.rnC;
    this.addressValidated = fields.addressValidated;
    this.prefix = fields.prefix;
    this.originNid = fields.originNid;
    this.limitKey = fields.limitKey;
    this.startedAt = fields.startedAt;
    this.phase = fields.phase;
  }

  get request(): Uint8Array | undefined {
    const { phase } = this;
    if (phase.name === 'relaying') return phase.proofs.underWay?.request;
    return phase.name === 'awaiting-M3' || phase.name === 'awaiting-M8' ? phase.request : undefined;
  }

  /** Whether an M5 waits for the auth-server's word, which may be the right one. */
  get hasProof(): boolean {
    return this.phase.name === 'relaying' && (this.phase.proofs.underWay !== undefined || this.phase.proofs.waiting.length > 0);
  }

  /** The PSK is wiped with the transaction, or when its M6 is sealed. */
  wipe(): void {
    if (this.phase.name === 'awaiting-M5' || this.phase.name === 'awaiting-M8') this.phase.psk.wipe();
  }
}

/** Of one node; in the order in which they were opened, and in which they were through. */
export interface NodeTransactions {
  readonly pending: TransactionRecord[];
  readonly completed: TransactionRecord[];
}
