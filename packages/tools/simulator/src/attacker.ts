/**
 * An attacker on the network. It sees every datagram, and sends any datagram from any address. It
 * lacks only keys: it has those of its own nodes (and so of every node that shares their IK), and
 * the SK_cs of its own controller. It decrypts what it can, and reports each key that it finds to
 * the oracle.
 */

import {
  type CoapCode,
  decodeLinkRequest,
  decodeM1,
  decodeM4,
  decodeM5,
  derivePsk,
  encodeM1,
  tryDecode,
  LENGTH,
  NONCE_LENGTH,
  openM3,
  openM4,
  RN_LENGTH,
  sealM2,
  sealM3,
  sealM4,
  sealM6,
  sealM7,
  sealM8,
  sealM9,
  Secret,
  TYPE,
} from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { type Address, type Datagram, flipBit, hostOf, type AnyKind, kindOf } from './network.js';
import { type AttackerScenario, ROGUE_IDC, type Tactic } from './scenario.js';
import type { SimulationContext } from './simulation-context.js';

/** Datagrams remembered of each kind. */
const MAX_REMEMBERED = 32;
/** Keys tried on each M4 that goes by. */
const MAX_KEYS = 6;
const EMPTY = new Uint8Array(0);

export interface AttackerPlan {
  readonly scenario: AttackerScenario;
  /** IDs of nodes, honest and its own. */
  readonly ids: readonly number[];
  readonly controllers: readonly number[];
  readonly servers: readonly Address[];
  readonly clock: () => number;
  /** IKs it has. */
  readonly keys: readonly Secret[];
  /** SK_cs of its own controller. */
  readonly skCs: Secret | undefined;
}

export class Attacker {
  readonly #context: SimulationContext;
  readonly #plan: AttackerPlan;
  readonly #seen = new Map<AnyKind, Datagram[]>();
  /** The latest request of each client that is not known to be answered. */
  readonly #pending = new Map<Address, Datagram>();
  readonly #keys: Secret[];
  readonly #skCs: Secret | undefined;
  #reactionCount = 0;
  #tid = 0n;

  constructor(context: SimulationContext, plan: AttackerPlan) {
    this.#context = context;
    this.#plan = plan;
    this.#keys = [...plan.keys];
    this.#skCs = plan.skCs;
  }

  /** Schedules its actions during the fault phase. */
  begin(faultPhaseMs: number): void {
    const { simulation } = this.#context;
    const { turns, from, tactics, persistsWith } = this.#plan.scenario;
    for (let i = 0; i < turns; i++) {
      const random = simulation.random(`x turn ${i}`);
      simulation.events.schedule(random.between(from, Math.max(from, faultPhaseMs)), () => {
        const tactic = random.pick(tactics);
        if (simulation.faults.trigger(`x turn ${i}: ${tactic}`)) this.#play(tactic, random);
      });
    }
    if (persistsWith === 'flood') this.#floodOn(simulation.random('x flood'));
  }

  #floodOn(random: SeededRandom): void {
    this.#context.simulation.events.schedule(random.between(2_000, 10_000), () => {
      this.#flood(random);
      this.#floodOn(random);
    });
  }

  /** Sees a datagram go by. */
  observe(datagram: Datagram): void {
    const { simulation } = this.#context;
    const kind = kindOf(datagram);
    const seen = this.#seen.get(kind) ?? [];
    // A retransmission brings nothing new.
    if (!seen.some(({ payload, to }) => payload === datagram.payload && to === datagram.to)) seen.push(datagram);
    if (seen.length > MAX_REMEMBERED) seen.shift();
    this.#seen.set(kind, seen);
    if (datagram.kind === 'request') {
      this.#pending.delete(datagram.from);
      this.#pending.set(datagram.from, datagram);
      for (const oldest of this.#pending.keys()) {
        if (this.#pending.size <= MAX_REMEMBERED) break;
        this.#pending.delete(oldest);
      }
    }
    this.#learn(datagram, kind);
    if (kind === 'M4' && this.#plan.scenario.persistsWith === 'wrong proofs') this.#wrongProof(datagram);
    for (const { to, trick, probability } of this.#plan.scenario.reactions) {
      if (to !== kind) continue;
      this.#reactionCount += 1;
      const name = `x reaction ${this.#reactionCount}`;
      const random = simulation.faults.random(name);
      if (random.uniform() < probability && simulation.faults.trigger(`${name} to ${kind}: ${trick}`))
        simulation.events.schedule(random.between(1, 500), () => this.#play(trick, random, datagram));
    }
  }

  #play(trick: Tactic, random: SeededRandom, on?: Datagram): void {
    switch (trick) {
      case 'replay':
        return this.#replay(random);
      case 'splice':
        return this.#splice(random);
      case 'forge':
        return this.#forge(random);
      case 'flood':
        return this.#flood(random);
      case 'outcome':
        return this.#outcome(random, on);
      case 'commits':
        return this.#replayCommits(random);
      case 'confirmations':
        return this.#replayConfirmations();
      case 'own controller':
        return this.#askAsController(random);
    }
  }

  // What it sends.

  #send(datagram: Datagram): void {
    this.#context.oracle.assertNotInClear(datagram, 'x');
    this.#context.network.inject(datagram);
  }

  /** Some octets that went by, of any kind or of one. */
  #anySeen(random: SeededRandom, kinds?: readonly AnyKind[]): Datagram | undefined {
    const seen = (kinds ?? [...this.#seen.keys()]).flatMap((kind) => this.#seen.get(kind) ?? []);
    return seen.length === 0 ? undefined : random.pick(seen);
  }

  #anyPending(random: SeededRandom): Datagram | undefined {
    return this.#pending.size === 0 ? undefined : random.pick([...this.#pending.values()]);
  }

  /** Answers an open request, with its token and from the address that was asked. */
  #answer(request: Datagram, payload: Uint8Array, code: CoapCode = '2.04', maxAge?: number, echo?: string): void {
    this.#send({ from: request.to, to: request.from, kind: 'answer', token: request.token, code, payload, maxAge, echo });
  }

  /** An old datagram again; if it was an answer, also as the answer to what is open now. */
  #replay(random: SeededRandom): void {
    const old = this.#anySeen(random);
    if (old === undefined) return;
    this.#send(old);
    if (old.kind === 'request') return;
    for (const pending of this.#pending.values()) if (hostOf(pending.from) === hostOf(old.to)) this.#answer(pending, old.payload);
  }

  /** Octets of one message in another's place, whole or in part. */
  #splice(random: SeededRandom): void {
    const pending = this.#anyPending(random);
    const other = this.#anySeen(random);
    if (pending === undefined || other === undefined) return;
    const payload = Uint8Array.from(other.payload);
    if (payload.length > 0) {
      switch (random.below(4)) {
        case 0:
          break;
        case 1:
          payload[0] = TYPE.M1 + random.below(9);
          break;
        case 2: {
          const third = this.#anySeen(random, [kindOf(other)]);
          if (third !== undefined)
            payload.set(third.payload.subarray(random.below(payload.length)).subarray(0, payload.length), 0);
          break;
        }
        case 3:
          payload.set(flipBit(payload, random.below(payload.length * 8)));
          break;
      }
    }
    if (random.below(2) === 0) this.#answer(pending, payload);
    else this.#send({ ...pending, payload });
    // A reflected request, and one of another client in this one's name.
    if (random.below(3) === 0) this.#answer(pending, pending.payload);
  }

  /** Everything a stranger can make: right form, wrong key. */
  #forge(random: SeededRandom): void {
    const pending = this.#anyPending(random);
    if (pending === undefined) return;
    const key = this.#keys.length > 0 && random.below(2) === 0 ? random.pick(this.#keys) : Secret.from(random.octets(16));
    const nonce = random.octets(NONCE_LENGTH);
    const rn = { rnI: random.octets(RN_LENGTH), rnC: random.octets(RN_LENGTH) };
    const idI = random.pick(this.#plan.ids);
    const idC = random.pick(this.#plan.controllers);
    const tid = this.#anyTid(random);
    switch (kindOf(pending)) {
      case 'M1': {
        const m1 = tryDecode(decodeM1, pending.payload);
        return this.#answer(pending, sealM4({ idC, tid }, { ...rn, rnI: m1?.rnI ?? rn.rnI }, key, pending.payload));
      }
      case 'M5':
        return this.#answer(pending, random.below(3) === 0 ? EMPTY : sealM6({ idC, tid }, { lifetime: 0 }, key, pending.payload));
      case 'M2':
        return this.#answer(
          pending,
          random.pick([
            sealM3({ key, idI }, nonce, pending.payload, this.#skCs ?? key),
            sealM9({ reason: 7, idI }, nonce, pending.payload, key),
          ]),
        );
      case 'M7':
        return this.#answer(
          pending,
          random.pick([
            sealM8({ idI, lifetime: 0 }, nonce, pending.payload, this.#skCs ?? key),
            sealM9({ reason: 7, idI }, nonce, pending.payload, key),
          ]),
        );
      default:
        return this.#answer(pending, random.octets(random.pick(Object.values(LENGTH))));
    }
  }

  /** A TID that went by. */
  #anyTid(random: SeededRandom): bigint {
    const m4 = this.#anySeen(random, ['M4']);
    return (m4 && tryDecode(decodeM4, m4.payload)?.tid) ?? 1n;
  }

  /** M1s with known IDs from addresses that are not its own. */
  #flood(random: SeededRandom): void {
    const to = `c${random.pick(this.#plan.controllers)}:5683`;
    for (let i = random.between(2, 8); i > 0; i--) {
      const payload = encodeM1({ idI: random.pick(this.#plan.ids), rnI: random.octets(RN_LENGTH) });
      this.#send({ from: `x${random.below(40)}:5`, to, kind: 'request', token: random.u32(), payload });
    }
  }

  /** Errors and empty answers to what is open: hints, which no key depends on. */
  #outcome(random: SeededRandom, on: Datagram | undefined): void {
    const pending = on?.kind === 'request' ? on : this.#anyPending(random);
    if (pending === undefined) return;
    switch (random.below(7)) {
      case 0:
        return this.#answer(pending, EMPTY, '4.04');
      case 1:
        return this.#answer(pending, EMPTY, '4.03');
      case 2:
        return this.#answer(pending, EMPTY, '5.03', random.pick([0, 20, 2 ** 31]));
      case 3:
        return this.#answer(pending, EMPTY, '2.04');
      case 4:
        return this.#answer(pending, EMPTY, '4.01', undefined, `x ${random.u32()} x`);
      case 5:
        return this.#answer(pending, random.octets(13), random.pick(['2.05', '4.00', '2.04']));
      case 6:
        for (let i = 0; i < 2; i++)
          this.#send({ from: pending.to, to: pending.from, kind: 'reset', token: pending.token, payload: EMPTY });
    }
  }

  /** Replays each recorded M7, which a server accepts only once, and for a limited time. */
  #replayCommits(random: SeededRandom): void {
    const to = random.pick(this.#plan.servers);
    for (const { payload, token, from } of this.#seen.get('M7') ?? [])
      this.#send({ from, to, kind: 'request', token: token ^ 1, payload });
  }

  /** To each M5 that waits for its M6, the M6s that node got, or should have got, before. */
  #replayConfirmations(): void {
    for (const pending of this.#pending.values()) {
      if (kindOf(pending) !== 'M5') continue;
      for (const { to, payload } of this.#seen.get('M6') ?? [])
        if (hostOf(to) === hostOf(pending.from)) this.#answer(pending, payload);
    }
  }

  /**
   * Requests the keys of nodes of other controllers, and tries to commit recorded proofs of other
   * nodes.
   */
  #askAsController(random: SeededRandom): void {
    const skCs = this.#skCs;
    const [to] = this.#plan.servers;
    if (skCs === undefined || to === undefined) return;
    this.#tid += 1n;
    const m1Octets =
      this.#anySeen(random, ['M1'])?.payload ?? encodeM1({ idI: random.pick(this.#plan.ids), rnI: random.octets(RN_LENGTH) });
    if (m1Octets.length !== LENGTH.M1) return;
    const m5 = this.#anySeen(random, ['M5']);
    const c5 = (m5 && tryDecode(decodeM5, m5.payload)?.c5) ?? random.octets(24);
    const body = { rnC: random.octets(RN_LENGTH), ts: BigInt(this.#plan.clock()), m1Octets };
    const header = {
      idC: random.pick([ROGUE_IDC, ROGUE_IDC, ...this.#plan.controllers]),
      tid: this.#tid,
      nonce: random.octets(NONCE_LENGTH),
    };
    const payload =
      random.below(2) === 0 ? sealM2(header, body, skCs) : sealM7(header, { ...body, nidI: new Uint8Array(18), c5 }, skCs);
    this.#send({ from: `x:${this.#tid}`, to, kind: 'request', token: random.u32(), payload });
  }

  /** A wrong M5 for a transaction that has just got its M4, before the right one can come. */
  #wrongProof({ from, to, payload }: Datagram): void {
    const m4 = tryDecode(decodeM4, payload);
    if (m4 === undefined) return;
    const forged = new Uint8Array(LENGTH.M5);
    forged[0] = TYPE.M5;
    new DataView(forged.buffer).setBigUint64(1, m4.tid);
    this.#send({ from: m4.tid % 2n === 0n ? `x${m4.tid % 40n}:5` : to, to: from, kind: 'request', token: 1, payload: forged });
  }

  // What it finds out.

  #learn(datagram: Datagram, kind: AnyKind): void {
    const request = datagram.kind === 'answer' ? this.#pending.get(datagram.to) : undefined;
    if (request === undefined || request.token !== datagram.token) return;
    if (kind === 'M4') this.#learnPsk(request.payload, datagram.payload);
    if (kind === 'M3' && this.#skCs !== undefined) this.#learnFromM3(request.payload, datagram.payload, this.#skCs);
  }

  /** With K_i, M1 and M4 give the PSK. */
  #learnPsk(m1Octets: Uint8Array, octets: Uint8Array): void {
    const m1 = tryDecode(decodeM1, m1Octets);
    const m4 = tryDecode(decodeM4, octets);
    if (m1 === undefined || m4 === undefined) return;
    for (const key of this.#keys.slice(-MAX_KEYS)) {
      const opened = openM4(m4, key, m1Octets);
      if (opened !== undefined) return this.#addKey(derivePsk(key, m1.rnI, opened.rnC), 'from M1 and M4');
    }
  }

  #learnFromM3(request: Uint8Array, octets: Uint8Array, skCs: Secret): void {
    if (tryDecode(decodeLinkRequest, request) === undefined) return;
    const m3 = openM3(octets, request, skCs);
    if (m3 !== undefined) this.#addKey(m3.key, 'from M3');
  }

  #addKey(key: Secret, how: string): void {
    this.#context.oracle.attackerLearns(key, how);
    if (this.#keys.some((known) => known.equals(key))) return;
    this.#keys.push(key);
    this.#context.simulation.record('x', `learns a key ${how}`);
  }
}
