/**
 * Joins as the auth-server sees them: the controller and the node behind it, sealed by the
 * protocol's functions before the clock runs.
 */

import { randomBytes } from 'node:crypto';
import { decodeM5, derivePsk, encodeM1, sealM2, sealM5, sealM7, type Secret } from '@latchkey/protocol';
import { encodeNid } from '@latchkey/runtime/net';
import { type Fleet, ID_C } from './fleet.js';

/** Prepared at once: a time stamp is good for 30 s. */
export const JOINS_PER_BATCH = 500;

/** One transaction that is ready to be sent. */
export interface Join {
  readonly node: number;
  readonly psk: Secret;
  readonly m2: Uint8Array;
  readonly m7: Uint8Array;
}

/** Whoever answers M2 and M7: gives the CoAP code. */
export type AnswerRequest = (octets: Uint8Array) => Promise<string>;

const NID_I: Uint8Array = encodeNid('192.0.2.77', 49_152);
let lastTid = BigInt(Date.now()) * 1000n;

export function prepareJoin(fleet: Fleet, node: number, skCs: Secret): Join {
  lastTid += 1n;
  const [tid, idI, rnI, rnC] = [lastTid, fleet.idI(node), randomBytes(16), randomBytes(16)];
  const m1Octets = encodeM1({ idI, rnI });
  const psk = derivePsk(fleet.key(node), rnI, rnC);
  const body = { rnC, ts: BigInt(Date.now()), m1Octets };
  const { c5 } = decodeM5(sealM5({ idC: ID_C, tid, m1Octets }, rnC, psk));
  return {
    node,
    psk,
    m2: sealM2({ idC: ID_C, tid, nonce: randomBytes(13) }, body, skCs),
    m7: sealM7({ idC: ID_C, tid, nonce: randomBytes(13) }, { ...body, nidI: NID_I, c5 }, skCs),
  };
}

/** M2 answered, then M7 committed. */
export async function join(fleet: Fleet, { node, psk, m2, m7 }: Join, answer: AnswerRequest): Promise<void> {
  for (const request of [m2, m7]) {
    const code = await answer(request);
    if (code !== '2.04') throw new Error(`the auth-server answered ${code}`);
  }
  fleet.joined(node, psk);
}

/** Works through `items`, `inFlight` at a time. */
export async function runConcurrently<T>(items: readonly T[], inFlight: number, work: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const worker = async (): Promise<void> => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}
