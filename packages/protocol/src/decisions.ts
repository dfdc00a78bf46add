/** Input of the controller, and its decisions on each message. */

import type { LinkRefusal, Refusal } from './errors.js';
import type { PendingProof } from './proof-queue.js';
import { deriveKeyId } from './psk.js';
import type { Secret } from './secret.js';
import type { Transaction } from './open-transaction.js';
import type { Phase } from './transaction.js';

/** Two clocks in ms: `wallMs` is used for TS, `monotonicMs` never jumps and measures lifetimes. */
export interface Clocks {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/**
 * Bounds on open transactions. Completed transactions (M8 received) are stored separately, to
 * answer retransmitted M5: `total` at most, and per node as many as may be open. The oldest is
 * evicted first.
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
  readonly randomBytes: (n: number) => Uint8Array;
  /**
   * The next TID: larger than every one before, over the controller's whole life. `undefined`: none
   * can be had now.
   */
  readonly nextTid: () => bigint | undefined;
}

export type PendingRequest = Pick<Extract<Phase, { name: 'awaiting-M3' }>, 'request' | 'skCs'>;

interface Refused {
  readonly kind: 'refuse';
  readonly refusal: Refusal;
}

interface Answer {
  readonly kind: 'answer';
  readonly octets: Uint8Array;
}

interface Forward {
  readonly kind: 'forward';
  readonly transaction: Transaction;
}

export type M1Decision = Answer | Forward | Refused | { readonly kind: 'challenge' };
export type M5Decision = M1Decision | { readonly kind: 'relay'; readonly proof: PendingProof };

/** An M7 to send. */
export interface Relay {
  readonly proof: PendingProof;
  readonly transaction: Transaction;
  readonly request: Uint8Array;
}

export interface Settled {
  readonly proof: PendingProof;
  readonly decision: LinkDecision;
}

/**
 * The auth-server has committed a new key for this node; what applications get from that key. The
 * PSK itself is wiped.
 */
export interface JoinResult {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly nidI: Uint8Array;
  /** AR_i of the new key; the receiver of the decision wipes it. */
  readonly applicationRoot: Secret;
  /** KID of the new key, 8 hex digits. */
  readonly keyId: string;
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
}

export type LinkDecision =
  | (Answer & { /** With the first M8 alone. */ readonly joined?: JoinResult })
  | { readonly kind: 'refuse'; readonly refusal: LinkRefusal }
  /** Not an answer of the auth-server that opens: no answer. */
  | { readonly kind: 'ignored' }
  /** The transaction has expired, or was evicted. */
  | { readonly kind: 'unknown-transaction' };

export function refuse<R extends Refusal>(refusal: R): { readonly kind: 'refuse'; readonly refusal: R } {
  return { kind: 'refuse', refusal };
}

export function joinResult(
  { idI, tid, ts }: Transaction,
  nidI: Uint8Array,
  applicationRoot: Secret,
  lifetime: number,
): JoinResult {
  return { idI, tid, ts, nidI, applicationRoot, keyId: deriveKeyId(applicationRoot, idI), lifetime };
}
