/**
 * Reports to the oracle what a controller decides, sends and accepts. It wraps the connections of
 * the controller to its respondent, its auth-servers and its nodes, and changes nothing.
 */

import type { AuthServerClient } from '@latchkey/controller/auth-server-client';
import type { ControllerRespondent } from '@latchkey/controller/controller';
import {
  decodeM1,
  decodeM5,
  type LinkDecision,
  type M1Decision,
  type M5Decision,
  type PendingProof,
  type Transaction,
  TYPE,
} from '@latchkey/protocol';
import { Violation } from './simulation.js';
import { type Oracle, textOf } from './oracle.js';
import type { RespondentRole } from './roles.js';

interface Observed {
  readonly idC: number;
  /** Not the attacker's own, which the attacker can answer in the server's name. */
  readonly honest: boolean;
  /** How many transactions may be open. */
  readonly total: number;
}

/** What a request to the auth-server is about, and the message of the node that it is sent for. */
interface Cause {
  readonly transaction: Transaction;
  readonly message: Uint8Array;
}

export class ControllerObserver {
  readonly #oracle: Oracle;
  readonly #observed: Observed;
  readonly #causes = new WeakMap<Uint8Array, Cause>();
  readonly #proofs = new WeakMap<PendingProof, Uint8Array>();
  /** Whether the source of the message that is being decided has proven its address in truth. */
  isAddressValidated = false;

  constructor(oracle: Oracle, observed: Observed) {
    this.#oracle = oracle;
    this.#observed = observed;
  }

  respondent(role: RespondentRole): ControllerRespondent {
    return {
      receiveM1: (octets, source, now) => this.#decided(role, octets, () => role.receiveM1(octets, source, now)),
      receiveM5: (octets, source, now) => this.#decided(role, octets, () => role.receiveM5(octets, source, now)),
      receiveLinkAnswer: (transaction, octets) => role.receiveLinkAnswer(transaction, octets),
      expire: (monotonicMs) => role.expire(monotonicMs),
      takeRelays: () => {
        const relays = role.takeRelays();
        for (const { proof, transaction, request } of relays) {
          const message = this.#proofs.get(proof);
          if (message === undefined) throw new Error('the respondent relays an M5 that it was never given');
          this.#causes.set(request, { transaction, message });
        }
        return relays;
      },
      endRelay: (proof) => role.endRelay(proof),
      takeSettled: () => role.takeSettled(),
      rekey: (skCs) => role.rekey(skCs),
    };
  }

  authServer(client: AuthServerClient): AuthServerClient {
    return {
      request: (request, accept) => {
        const cause = this.#causes.get(request);
        if (cause === undefined) throw new Error('the controller sends a request that its respondent did not decide on');
        this.#recordRequest(request, cause);
        return client.request(request, (octets, maxAge) => {
          const isAwaited = cause.transaction.request === request;
          const decision = accept(octets, maxAge);
          if (isAwaited) this.#checkAnswer(request, octets, decision);
          return decision;
        });
      },
      close: () => client.close(),
    };
  }

  /** A node gets `octets`, in answer to `message`: M4 for an M1, M6 for an M5. */
  sent(message: Uint8Array, octets: Uint8Array): void {
    const { idC } = this.#observed;
    if (octets[0] === TYPE.M4) {
      const tid = new DataView(octets.buffer, octets.byteOffset).getBigUint64(5);
      // An M5 of a transaction that was answered is answered with M6 alone.
      if (message[0] === TYPE.M1 && this.#oracle.isHonest(decodeM1(message).idI))
        this.#oracle.recordSent('M4', octets, [idC, tid, textOf(message)]);
    } else if (octets[0] === TYPE.M6 && message[0] === TYPE.M5) {
      this.#oracle.recordSent('M6', octets, [idC, decodeM5(message).tid, textOf(message)]);
    }
  }

  #decided<D extends M1Decision | M5Decision>(role: RespondentRole, message: Uint8Array, decide: () => D): D {
    const before = role.pendingCount;
    const decision = decide();
    this.#checkBounds(role.pendingCount, before);
    if (decision.kind === 'relay') this.#proofs.set(decision.proof, message);
    if (decision.kind !== 'forward') return decision;
    const { transaction } = decision;
    if (message[0] === TYPE.M5) this.#m5Accepted(message, transaction);
    if (transaction.request !== undefined) this.#causes.set(transaction.request, { transaction, message });
    return decision;
  }

  /** Invariant 7. */
  #checkBounds(pendingCount: number, before: number): void {
    const { idC, total } = this.#observed;
    if (pendingCount > total) throw new Violation(7, `c${idC} has ${pendingCount} open transactions of ${total}`);
    if (!this.isAddressValidated && pendingCount > before && before * 2 >= total)
      throw new Violation(7, `c${idC} opens a transaction for an unproven source with ${before} of ${total} open`);
  }

  #m5Accepted(octets: Uint8Array, { idI, tid, m1 }: Transaction): void {
    const { idC } = this.#observed;
    if (this.#oracle.isHonest(idI)) this.#oracle.checkAccepted(`c${idC}`, 'M5', octets, [idC, tid, idI, textOf(m1)]);
  }

  #recordRequest(request: Uint8Array, { transaction: { tid, m1 }, message }: Cause): void {
    const { idC } = this.#observed;
    if (request[0] === TYPE.M2) return this.#oracle.recordSent('M2', request, [idC, tid, textOf(m1)]);
    this.#oracle.recordSent('M7', request, [idC, tid, textOf(m1), textOf(decodeM5(message).c5)]);
  }

  #checkAnswer(request: Uint8Array, octets: Uint8Array, { kind }: LinkDecision): void {
    const { idC, honest } = this.#observed;
    if (!honest || (kind !== 'answer' && kind !== 'refuse')) return;
    const name = kind === 'refuse' ? 'M9' : request[0] === TYPE.M2 ? 'M3' : 'M8';
    this.#oracle.checkAccepted(`c${idC}`, name, octets, [idC, textOf(request)]);
  }
}
