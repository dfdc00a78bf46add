/** How many AES blocks each side encrypts for one join: counted while the roles run, not guessed. */

import { randomBytes } from 'node:crypto';
import {
  BlockCipher,
  beginAttempt,
  decodeLinkRequest,
  judge,
  openLinkRequest,
  receiveM4,
  receiveM6,
  Respondent,
  sealAnswer,
  Secret,
} from '@latchkey/protocol';
import { encodeNid } from '@latchkey/runtime';

type Side = 'node' | 'controller' | 'auth-server';

/** Plays a join in this process. The auth-server's are without what its store takes: its keys are wrapped there. */
export function countBlocks(): Readonly<Record<Side, number>> {
  const counts = { node: 0, controller: 0, 'auth-server': 0 };
  const { encryptInPlace: original } = BlockCipher.prototype as { readonly encryptInPlace: (this: BlockCipher) => void };
  const as = <T>(side: Side, run: () => T): T => {
    BlockCipher.prototype.encryptInPlace = function count(): void {
      counts[side] += 1;
      original.call(this);
    };
    try {
      return run();
    } finally {
      BlockCipher.prototype.encryptInPlace = original;
    }
  };
  play(as);
  return counts;
}

function play(as: <T>(side: Side, run: () => T) => T): void {
  const ik = randomBytes(16);
  const [key, skCs] = [Secret.from(ik), Secret.from(randomBytes(16))];
  const now = { wall: Date.now(), steady: 0 };
  const bounds = { total: 8, perSource: 8 };
  const respondent = new Respondent({ idC: 1, skCs, bounds, draw: randomBytes, takeTid: () => 1n });
  const source = { address: '192.0.2.9', network: '192.0.2.9', nid: encodeNid('192.0.2.9', 5683), proven: true };
  const record = { idI: 7, controller: 1, disabled: false, initial: true, lifetime: 0, grace: 0, committed: undefined };

  const ask = (octets: Uint8Array, receive: 'receiveM1' | 'receiveM5'): Uint8Array => {
    const asked = as('controller', () => respondent[receive](octets, source, now));
    if (asked.kind !== 'ask' || asked.transaction.request === undefined) throw new Error(`the controller would ${asked.kind}`);
    const { transaction } = asked;
    const answer = as('auth-server', () => answerOf(asked.transaction.request ?? octets));
    const decision = as('controller', () => respondent.receiveLinkAnswer(transaction, answer));
    if (decision.kind !== 'answer') throw new Error(`the controller would ${decision.kind}`);
    return decision.octets;
  };
  const answerOf = (octets: Uint8Array): Uint8Array => {
    const request = decodeLinkRequest(octets);
    const opened = openLinkRequest(request, skCs);
    if (opened === undefined) throw new Error('the auth-server cannot open it');
    const judgement = judge(opened, { ...record, key }, now.wall);
    const final = judgement.kind === 'commit' ? ({ kind: 'answer', with: 'M8', lifetime: 0 } as const) : judgement;
    return sealAnswer(request, opened, final, randomBytes(13), skCs);
  };

  const state = { idI: 7, controllers: [1], confirmed: Secret.from(ik), initial: true, candidates: [] };
  const attempt = beginAttempt(state, randomBytes(16), 0);
  const m4 = ask(attempt.m1, 'receiveM1');
  const stored = as('node', () => receiveM4(state, attempt, m4, 0));
  if (stored.kind !== 'store') throw new Error(`the node would ${stored.kind}`);
  const m6 = ask(stored.m5, 'receiveM5');
  const joined = as('node', () => receiveM6(stored.state, stored.attempt, m6));
  if (joined.kind !== 'joined') throw new Error(`the node would ${joined.kind}`);
}
