/** What others get to see of a transaction of the controller. */

/** One transaction {ID_i, TID, M1, RN_c, TS, source} and how far it is. */
export interface Transaction {
  readonly idI: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly m1: Uint8Array;
  /** Whether its M1 came with a proof of its source address. */
  readonly addressValidated: boolean;
  /** Sent with each request to an auth-server: M2 while asking, M7 while committing or relaying. */
  readonly request: Uint8Array | undefined;
}
