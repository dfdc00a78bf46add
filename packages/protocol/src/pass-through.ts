/**
 * Messages that a pass-through controller relays without decrypting them. The auth-server generates
 * the E of M4 and M6, and the RN_c in them. The controller therefore learns neither K_i nor the
 * PSK, and cannot choose an input of the PSK.
 */

import { cmac } from './cipher.js';
import { ID_LENGTH, TID_LENGTH, TS_LENGTH } from './constants.js';
import type { M2 } from './messages.js';
import { Writer } from './octets.js';
import type { Secret } from './secret.js';

/**
 * What RN_c' depends on. The body of an M7 has the same fields as that of the M2 of its
 * transaction.
 */
export interface Contribution {
  readonly idC: number;
  readonly tid: bigint;
  /** `rnC` is the controller's contribution. */
  readonly body: Pick<M2, 'rnC' | 'ts' | 'm1Octets'>;
}

/**
 * `RN_c' = AES-CMAC(TK, ID_c | TID | TS | RN_c | M1)`: the RN_c that the node receives. The server
 * recomputes it from M7, and so stores no state. Each TS has a different RN_c', so a delayed M7
 * cannot get a fresh one.
 *
 * @param transactionKey TK of the registry; no controller has it
 */
export function derivePassThroughRnC(transactionKey: Secret, { idC, tid, body }: Contribution): Uint8Array {
  const header = new Writer(ID_LENGTH + TID_LENGTH + TS_LENGTH).u32(idC).u64(tid).u64(body.ts).done();
  return cmac(transactionKey.cipher, header, body.rnC, body.m1Octets);
}
