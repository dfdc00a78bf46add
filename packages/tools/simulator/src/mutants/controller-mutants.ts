/** Controllers that break one rule of the profile each. */

import { Controller, type ControllerOptions } from '@latchkey/controller/controller';
import type { TidEnvironment } from '@latchkey/controller/tid-allocator';
import {
  ccmSeal,
  decodeLinkRequest,
  decodeM5,
  derivePsk,
  LABEL_M4,
  type LinkDecision,
  type M1Decision,
  type M5Decision,
  NONCE_LENGTH,
  type Clocks,
  openM2,
  openM3,
  type PendingProof,
  type Relay,
  Respondent,
  type RespondentOptions,
  RN_LENGTH,
  sealM4,
  sealM6,
  sealM7,
  type Secret,
  type Source,
  type Transaction,
  tryDecode,
  TYPE,
} from '@latchkey/protocol';
import { SimulatedController } from '../controller.js';
import type { RespondentRole } from '../roles.js';
import { PROFILE, type Rules } from '../rules.js';
import { receiveM4WithoutAad } from './node-mutants.js';

/** What a transaction is made of. */
interface KnownTransaction {
  readonly transaction: Transaction;
  readonly rnI: Uint8Array;
  readonly rnC: Uint8Array;
  readonly key: Secret;
  readonly psk: Secret;
  readonly source: Source;
}

/**
 * The real respondent, and all it knows: a mutant has K_i and the PSK of each transaction at hand.
 */
class InspectingRespondent implements RespondentRole {
  protected readonly options: RespondentOptions;
  protected readonly real: Respondent;
  readonly known = new Map<bigint, KnownTransaction>();
  readonly #sources = new Map<bigint, Source>();

  constructor(options: RespondentOptions) {
    this.options = options;
    this.real = new Respondent(options);
  }

  get pendingCount(): number {
    return this.real.pendingCount;
  }

  expire(steady: number): void {
    this.real.expire(steady);
  }

  takeRelays(): readonly Relay[] {
    return this.real.takeRelays();
  }

  endRelay(proof: PendingProof): void {
    this.real.endRelay(proof);
  }

  takeSettled(): ReturnType<Respondent['takeSettled']> {
    return this.real.takeSettled();
  }

  rekey(skCs: Secret): void {
    this.real.rekey(skCs);
  }

  receiveM1(octets: Uint8Array, source: Source, now: Clocks): M1Decision {
    const decision = this.real.receiveM1(octets, source, now);
    if (decision.kind === 'forward') this.#sources.set(decision.transaction.tid, source);
    return decision;
  }

  receiveM5(octets: Uint8Array, source: Source, now: Clocks): M5Decision {
    return this.real.receiveM5(octets, source, now);
  }

  receiveLinkAnswer(transaction: Transaction, octets: Uint8Array): LinkDecision {
    const { request } = transaction;
    const decision = this.real.receiveLinkAnswer(transaction, octets);
    if (decision.kind !== 'answer' || request?.[0] !== TYPE.M2) return decision;
    const m2 = openM2(decodeLinkRequest(request), this.options.skCs);
    const m3 = openM3(octets, request, this.options.skCs);
    const source = this.#sources.get(transaction.tid);
    if (m2 === undefined || m3 === undefined || source === undefined) return decision;
    const { rnC } = m2;
    const { rnI } = m2.m1;
    const psk = derivePsk(m3.key, rnI, rnC);
    this.known.set(transaction.tid, { transaction, rnI, rnC, key: m3.key, psk, source });
    return decision;
  }
}

function tidOf(m4: Uint8Array): bigint {
  return new DataView(m4.buffer, m4.byteOffset).getBigUint64(5);
}

/** M4 with no associated data. */
class WithoutAad extends InspectingRespondent {
  override receiveM1(octets: Uint8Array, source: Source, now: Clocks): M1Decision {
    const decision = super.receiveM1(octets, source, now);
    return decision.kind === 'answer' ? { ...decision, octets: this.#bare(decision.octets) } : decision;
  }

  override receiveLinkAnswer(transaction: Transaction, octets: Uint8Array): LinkDecision {
    const decision = super.receiveLinkAnswer(transaction, octets);
    return decision.kind === 'answer' ? { ...decision, octets: this.#bare(decision.octets) } : decision;
  }

  #bare(octets: Uint8Array): Uint8Array {
    const known = octets[0] === TYPE.M4 ? this.known.get(tidOf(octets)) : undefined;
    if (known === undefined) return octets;
    const clear = octets.slice(0, 13);
    const body = new Uint8Array(2 * RN_LENGTH);
    body.set(known.rnI);
    body.set(known.rnC, RN_LENGTH);
    const sealed = ccmSeal(known.key.ccmCipher(LABEL_M4), clear, new Uint8Array(0), body);
    const m4 = new Uint8Array(octets.length);
    m4.set(clear);
    m4.set(sealed, clear.length);
    return m4;
  }
}

function withoutAad(compareRnI: boolean): Rules {
  const { roles } = PROFILE;
  return {
    ...PROFILE,
    roles: {
      ...roles,
      initiator: { ...roles.initiator, receiveM4: receiveM4WithoutAad(compareRnI) },
      respondent: (options) => new WithoutAad(options),
    },
  };
}

/** A copy of M1 gets an M4 sealed anew, around another RN_c. */
class SealsAnew extends InspectingRespondent {
  override receiveM1(octets: Uint8Array, source: Source, now: Clocks): M1Decision {
    const decision = super.receiveM1(octets, source, now);
    const known = decision.kind === 'answer' ? this.known.get(tidOf(decision.octets)) : undefined;
    if (known === undefined) return decision;
    const { idC, randomBytes } = this.options;
    const { tid } = known.transaction;
    return { kind: 'answer', octets: sealM4({ idC, tid }, { rnI: known.rnI, rnC: randomBytes(RN_LENGTH) }, known.key, octets) };
  }
}

/** The K_i of a node's first M3 is remembered for all its transactions. */
class RemembersKey extends InspectingRespondent {
  readonly #first = new Map<number, Secret>();

  override receiveLinkAnswer(transaction: Transaction, octets: Uint8Array): LinkDecision {
    const decision = super.receiveLinkAnswer(transaction, octets);
    const known = this.known.get(transaction.tid);
    if (decision.kind !== 'answer' || decision.octets[0] !== TYPE.M4 || known === undefined) return decision;
    const first = this.#first.get(transaction.idI) ?? known.key;
    this.#first.set(transaction.idI, first);
    const m4 = sealM4({ idC: this.options.idC, tid: transaction.tid }, known, first, transaction.m1);
    return { ...decision, octets: m4 };
  }
}

/**
 * An M5 that fits no transaction is taken for the latest of its node's address, whatever TID it
 * bears.
 */
class TakesM5ForLatest extends InspectingRespondent {
  override receiveM5(octets: Uint8Array, source: Source, now: Clocks): M5Decision {
    const decision = super.receiveM5(octets, source, now);
    if (decision.kind !== 'refuse' || octets[0] !== TYPE.M5 || octets.length !== 33) return decision;
    const latest = [...this.known.values()].findLast((known) => known.source.address === source.address);
    if (latest === undefined) return decision;
    const { idC, randomBytes, skCs } = this.options;
    const { transaction, rnC } = latest;
    const { idI, tid, ts, m1 } = transaction;
    const { c5 } = decodeM5(octets);
    const nonce = randomBytes(NONCE_LENGTH);
    const request = sealM7({ idC, tid, nonce }, { rnC, ts, nidI: source.nid, m1Octets: m1, c5 }, skCs);
    return { kind: 'forward', transaction: { idI, tid, ts, m1, addressValidated: source.addressValidated, request } };
  }
}

/** One wrong M5 and the transaction is gone. */
class EvictsOnWrongM5 extends InspectingRespondent {
  readonly #gone = new Set<bigint>();

  override receiveM5(octets: Uint8Array, source: Source, now: Clocks): M5Decision {
    const tid = octets.length === 33 ? decodeTid(octets) : undefined;
    if (tid !== undefined && this.#gone.has(tid)) return { kind: 'refuse', refusal: 'noTransaction' };
    const decision = super.receiveM5(octets, source, now);
    if (decision.kind === 'refuse' && decision.refusal === 'proofFailed' && tid !== undefined) this.#gone.add(tid);
    return decision;
  }
}

function decodeTid(m5: Uint8Array): bigint {
  return new DataView(m5.buffer, m5.byteOffset).getBigUint64(1);
}

/** M6 goes out with M7. */
class ConfirmsFirst extends SimulatedController {
  protected override newController(options: ControllerOptions): Controller {
    const known = (tid: bigint | undefined): KnownTransaction | undefined =>
      tid !== undefined && this.respondent instanceof InspectingRespondent ? this.respondent.known.get(tid) : undefined;
    const { idC, context } = this;
    return new (class extends Controller {
      override answer(request: Parameters<Controller['answer']>[0]): ReturnType<Controller['answer']> {
        const answer = super.answer(request);
        const tid = tryDecode(decodeM5, request.payload)?.tid;
        const transaction = known(tid);
        if (!(answer instanceof Promise) || tid === undefined || transaction === undefined) return answer;
        context.simulation.run(() => answer);
        return { code: '2.04', payload: sealM6({ idC, tid }, { lifetime: 0 }, transaction.psk, request.payload) };
      }
    })(options);
  }
}

type OpenTids = SimulatedController['openTids'];

/** A controller that opens its TIDs as `change` has it. */
function withTids(change: (open: OpenTids, ...given: Parameters<OpenTids>) => ReturnType<OpenTids>): Rules {
  return {
    ...PROFILE,
    Controller: class extends SimulatedController {
      protected override openTids(...given: Parameters<OpenTids>): ReturnType<OpenTids> {
        return change((...changed) => super.openTids(...changed), ...given);
      }
    },
  };
}

/** Stored, but only after they were used. */
class StoredBehind {
  readonly #environment: TidEnvironment;
  #last: bigint;

  constructor(environment: TidEnvironment, last: bigint) {
    this.#environment = environment;
    this.#last = last;
  }

  next(): bigint {
    this.#last += 1n;
    this.#environment.replace('', String(this.#last)).catch(() => undefined);
    return this.#last;
  }
}

/** Every source counts as proven. */
class AsksNoProof extends SimulatedController {
  protected override sourceOf(
    ...given: Parameters<SimulatedController['sourceOf']>
  ): ReturnType<SimulatedController['sourceOf']> {
    return { ...super.sourceOf(...given), addressValidated: true };
  }
}

function withRespondent(role: (options: RespondentOptions) => RespondentRole): Rules {
  return { ...PROFILE, roles: { ...PROFILE.roles, respondent: role } };
}

export const m4WithoutAad: Rules = withoutAad(true);
export const m4WithoutAadOrRnI: Rules = withoutAad(false);
export const sealsM4Anew: Rules = withRespondent((options) => new SealsAnew(options));
export const remembersKey: Rules = withRespondent((options) => new RemembersKey(options));
export const takesM5ForLatest: Rules = withRespondent((options) => new TakesM5ForLatest(options));
export const evictsOnWrongM5: Rules = withRespondent((options) => new EvictsOnWrongM5(options));
export const hasNoBounds: Rules = withRespondent(
  (options) => new Respondent({ ...options, bounds: { total: 1_000_000, perSource: 1_000_000 } }),
);
export const confirmsFirst: Rules = {
  ...withRespondent((options) => new InspectingRespondent(options)),
  Controller: ConfirmsFirst,
};
/** From 1 at each start. */
export const tidsFromOne: Rules = withTids((open, environment) =>
  open({ ...environment, read: () => Promise.resolve(undefined) }, 0),
);
/** The clock only: what is stored is not read. */
export const tidsFromClock: Rules = withTids((open, environment, wallMs) =>
  open({ ...environment, read: () => Promise.resolve(undefined) }, wallMs),
);
export const tidsStoredBehind: Rules = withTids(async (_open, environment, wallMs) => {
  const last = await environment.read('');
  return new StoredBehind(environment, last === undefined ? BigInt(wallMs) * 1000n - 1n : BigInt(last));
});
export const asksNoProof: Rules = { ...PROFILE, Controller: AsksNoProof };
