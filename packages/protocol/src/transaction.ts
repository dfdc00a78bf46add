/** A transaction of the controller, {ID_i, TID, M1, RN_c, TS, source}, and how far it is. */

import type { Place } from './line.js';
import type { Secret } from './secret.js';

/** `skCs` is what `request` was sealed under, and its answer will be. */
export type Phase =
  | { readonly name: 'asking'; readonly request: Uint8Array; readonly skCs: Secret }
  | { readonly name: 'answered'; readonly m4: Uint8Array; readonly psk: Secret }
  | {
      readonly name: 'committing';
      readonly m4: Uint8Array;
      readonly psk: Secret;
      readonly m5: Uint8Array;
      readonly nidI: Uint8Array;
      readonly request: Uint8Array;
      readonly skCs: Secret;
    }
  /** It is through. `row` has its messages, which are all that is left of it. */
  | { readonly name: 'joined'; readonly row: number; readonly place: Place<OpenTransaction> };

/** One transaction {ID_i, TID, M1, RN_c, TS, source} and how far it is. */
export interface Transaction {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly m1: Uint8Array;
  /** Whether its M1 came with a proof of its source address. */
  readonly proven: boolean;
  /** Sent with each request to an auth-server: M2 while asking, M7 while committing. */
  readonly request: Uint8Array | undefined;
}

export class OpenTransaction implements Transaction {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  m1: Uint8Array;
  rnC: Uint8Array;
  readonly proven: boolean;
  /** Where its M1 came from, or claimed to. */
  readonly network: string;
  /** Whom the bound per source counts it against: a forged address never fills the share of a proven one. */
  readonly countedAs: string;
  readonly openedAt: number;
  phase: Phase;

  constructor(
    fields: Omit<Transaction, 'request'> & {
      readonly rnC: Uint8Array;
      readonly network: string;
      readonly countedAs: string;
      readonly openedAt: number;
      readonly phase: Phase;
    },
  ) {
    this.idI = fields.idI;
    this.tid = fields.tid;
    this.ts = fields.ts;
    this.m1 = fields.m1;
    this.rnC = fields.rnC;
    this.proven = fields.proven;
    this.network = fields.network;
    this.countedAs = fields.countedAs;
    this.openedAt = fields.openedAt;
    this.phase = fields.phase;
  }

  get request(): Uint8Array | undefined {
    return this.phase.name === 'asking' || this.phase.name === 'committing' ? this.phase.request : undefined;
  }

  /** The key goes with the transaction; after M8 it is the store's. */
  wipe(): void {
    if (this.phase.name === 'answered' || this.phase.name === 'committing') this.phase.psk.wipe();
  }
}

/** Of one node; in the order in which they were opened, and in which they were through. */
export interface OfNode {
  readonly open: OpenTransaction[];
  readonly through: OpenTransaction[];
}
