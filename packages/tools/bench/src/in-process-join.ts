/**
 * The three roles in this process: a join by the protocol's functions alone, with no socket, no
 * store and no log.
 */

import { randomBytes } from 'node:crypto';
import {
  beginAttempt,
  decodeLinkRequest,
  decide,
  openLinkRequest,
  receiveM4,
  receiveM6,
  Respondent,
  sealAnswer,
  Secret,
} from '@latchkey/protocol';
import { randomOctets } from '@latchkey/runtime/daemon';
import { encodeNid } from '@latchkey/runtime/net';

export type Side = 'node' | 'controller' | 'auth-server';

/** Does what one side has to do: whoever counts or measures sides does so around it. */
export type RunAs = <T>(side: Side, run: () => T) => T;

const ID_I = 7;
const SOURCE = { address: '192.0.2.9', prefix: '192.0.2.9', nid: encodeNid('192.0.2.9', 5683), addressValidated: true };
const RECORD = { idI: ID_I, controller: 1, disabled: false, initial: true, lifetime: 0, grace: 0, committed: undefined };

/**
 * The auth-server's part is without what its store takes: its keys are wrapped there. Controller
 * and auth-server draw from a pool, as the daemons do: a call of the system for each draw would be
 * counted as the protocol's own time.
 */
export class InProcessJoin {
  readonly #runAs: RunAs;
  readonly #skCs: Secret = Secret.from(randomBytes(16));
  readonly #respondent: Respondent;
  #tid = 0n;

  constructor(runAs: RunAs) {
    this.#runAs = runAs;
    const bounds = { total: 8, perSource: 8 };
    this.#respondent = new Respondent({
      idC: 1,
      skCs: this.#skCs,
      bounds,
      randomBytes: randomOctets,
      nextTid: () => (this.#tid += 1n),
    });
  }

  /** Plays a join, from an initial key. */
  join(): void {
    const runAs = this.#runAs;
    const ik = randomBytes(16);
    const key = Secret.from(ik);
    const state = { idI: ID_I, controllers: [1], confirmed: Secret.from(ik), initial: true, candidates: [] };
    const attempt = runAs('node', () => beginAttempt(state, randomBytes(16), 0));
    const m4 = this.#ask(attempt.m1, 'receiveM1', key);
    const stored = runAs('node', () => receiveM4(state, attempt, m4, 0));
    if (stored.kind !== 'store') throw new Error(`the node would ${stored.kind}`);
    const m6 = this.#ask(stored.m5, 'receiveM5', key);
    const joined = runAs('node', () => receiveM6(stored.state, stored.attempt, m6));
    if (joined.kind !== 'joined') throw new Error(`the node would ${joined.kind}`);
  }

  #ask(octets: Uint8Array, receive: 'receiveM1' | 'receiveM5', key: Secret): Uint8Array {
    const now = { wallMs: Date.now(), monotonicMs: performance.now() };
    const asked = this.#runAs('controller', () => this.#respondent[receive](octets, SOURCE, now));
    if (asked.kind !== 'forward' || asked.transaction.request === undefined)
      throw new Error(`the controller would ${asked.kind}`);
    const { transaction } = asked;
    const answer = this.#runAs('auth-server', () => this.#answer(asked.transaction.request ?? octets, key, now.wallMs));
    const decision = this.#runAs('controller', () => this.#respondent.receiveLinkAnswer(transaction, answer));
    if (decision.kind !== 'answer') throw new Error(`the controller would ${decision.kind}`);
    return decision.octets;
  }

  #answer(octets: Uint8Array, key: Secret, wall: number): Uint8Array {
    const request = decodeLinkRequest(octets);
    const opened = openLinkRequest(request, this.#skCs);
    if (opened === undefined) throw new Error('the auth-server cannot open it');
    const decision = decide(opened, { ...RECORD, key }, wall);
    const final = decision.kind === 'commit' ? ({ kind: 'answer', with: 'M8', lifetime: 0 } as const) : decision;
    return sealAnswer(request, opened, final, randomOctets(13), this.#skCs);
  }
}
