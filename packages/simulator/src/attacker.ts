/**
 * An attacker on the network. It sees every datagram, sends what it likes from whatever address it likes, and lacks only keys: it has those of
 * its own nodes (and so of every node that shares their IK) and the SK_cs of its own controller. What it can open it opens, and
 * tells the oracle each key it finds.
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
import type { Chance } from './chance.js';
import { type Address, type Datagram, flipped, hostOf, type Kind, kindOf } from './network.js';
import { type AttackerScenario, ROGUE_IDC, type Trick } from './scenario.js';
import type { Surroundings } from './surroundings.js';

/** Datagrams remembered of each kind. */
const MEMORY = 32;
/** Keys tried on each M4 that goes by. */
const MAX_KEYS = 6;
const NOTHING = new Uint8Array(0);

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
  readonly #around: Surroundings;
  readonly #plan: AttackerPlan;
  readonly #seen = new Map<Kind, Datagram[]>();
  /** The latest request of each client that is not known to be answered. */
  readonly #open = new Map<Address, Datagram>();
  readonly #keys: Secret[];
  readonly #skCs: Secret | undefined;
  #reactions = 0;
  #tid = 0n;

  constructor(around: Surroundings, plan: AttackerPlan) {
    this.#around = around;
    this.#plan = plan;
    this.#keys = [...plan.keys];
    this.#skCs = plan.skCs;
  }

  /** One of its turns comes every so often while there is trouble. */
  begin(troubleMs: number): void {
    const { ground } = this.#around;
    const { turns, from, tricks, persists } = this.#plan.scenario;
    for (let i = 0; i < turns; i++) {
      const chance = ground.chance(`x turn ${i}`);
      ground.timeline.after(chance.between(from, Math.max(from, troubleMs)), () => {
        const trick = chance.pick(tricks);
        if (ground.faults.strikes(`x turn ${i}: ${trick}`)) this.#play(trick, chance);
      });
    }
    if (persists === 'flood') this.#floodOn(ground.chance('x flood'));
  }

  #floodOn(chance: Chance): void {
    this.#around.ground.timeline.after(chance.between(2_000, 10_000), () => {
      this.#flood(chance);
      this.#floodOn(chance);
    });
  }

  /** Sees a datagram go by. */
  see(datagram: Datagram): void {
    const { ground } = this.#around;
    const kind = kindOf(datagram);
    const seen = this.#seen.get(kind) ?? [];
    // A retransmission brings nothing new.
    if (!seen.some(({ payload, to }) => payload === datagram.payload && to === datagram.to)) seen.push(datagram);
    if (seen.length > MEMORY) seen.shift();
    this.#seen.set(kind, seen);
    if (datagram.kind === 'request') {
      this.#open.delete(datagram.from);
      this.#open.set(datagram.from, datagram);
      for (const oldest of this.#open.keys()) {
        if (this.#open.size <= MEMORY) break;
        this.#open.delete(oldest);
      }
    }
    this.#learn(datagram, kind);
    if (kind === 'M4' && this.#plan.scenario.persists === 'wrong proofs') this.#wrongProof(datagram);
    for (const { to, trick, probability } of this.#plan.scenario.reactions) {
      if (to !== kind) continue;
      this.#reactions += 1;
      const name = `x reaction ${this.#reactions}`;
      const chance = ground.faults.chance(name);
      if (chance.uniform() < probability && ground.faults.strikes(`${name} to ${kind}: ${trick}`))
        ground.timeline.after(chance.between(1, 500), () => this.#play(trick, chance, datagram));
    }
  }

  #play(trick: Trick, chance: Chance, on?: Datagram): void {
    switch (trick) {
      case 'replay':
        return this.#replay(chance);
      case 'splice':
        return this.#splice(chance);
      case 'forge':
        return this.#forge(chance);
      case 'flood':
        return this.#flood(chance);
      case 'outcome':
        return this.#outcome(chance, on);
      case 'commits':
        return this.#replayCommits(chance);
      case 'confirmations':
        return this.#replayConfirmations();
      case 'own controller':
        return this.#askAsController(chance);
    }
  }

  // What it sends.

  #send(datagram: Datagram): void {
    this.#around.oracle.inClear(datagram, 'x');
    this.#around.network.inject(datagram);
  }

  /** Some octets that went by, of any kind or of one. */
  #anySeen(chance: Chance, kinds?: readonly Kind[]): Datagram | undefined {
    const seen = (kinds ?? [...this.#seen.keys()]).flatMap((kind) => this.#seen.get(kind) ?? []);
    return seen.length === 0 ? undefined : chance.pick(seen);
  }

  #anyOpen(chance: Chance): Datagram | undefined {
    return this.#open.size === 0 ? undefined : chance.pick([...this.#open.values()]);
  }

  /** Answers an open request, with its token and from the address that was asked. */
  #answer(request: Datagram, payload: Uint8Array, code: CoapCode = '2.04', maxAge?: number, echo?: string): void {
    this.#send({ from: request.to, to: request.from, kind: 'answer', token: request.token, code, payload, maxAge, echo });
  }

  /** An old datagram again; if it was an answer, also as the answer to what is open now. */
  #replay(chance: Chance): void {
    const old = this.#anySeen(chance);
    if (old === undefined) return;
    this.#send(old);
    if (old.kind === 'request') return;
    for (const open of this.#open.values()) if (hostOf(open.from) === hostOf(old.to)) this.#answer(open, old.payload);
  }

  /** Octets of one message in another's place, whole or in part. */
  #splice(chance: Chance): void {
    const open = this.#anyOpen(chance);
    const other = this.#anySeen(chance);
    if (open === undefined || other === undefined) return;
    const payload = Uint8Array.from(other.payload);
    if (payload.length > 0) {
      switch (chance.below(4)) {
        case 0:
          break;
        case 1:
          payload[0] = TYPE.M1 + chance.below(9);
          break;
        case 2: {
          const third = this.#anySeen(chance, [kindOf(other)]);
          if (third !== undefined) payload.set(third.payload.subarray(chance.below(payload.length)), 0);
          break;
        }
        case 3:
          payload.set(flipped(payload, chance.below(payload.length * 8)));
          break;
      }
    }
    if (chance.below(2) === 0) this.#answer(open, payload);
    else this.#send({ ...open, payload });
    // A reflected request, and one of another client in this one's name.
    if (chance.below(3) === 0) this.#answer(open, open.payload);
  }

  /** Everything a stranger can make: right form, wrong key. */
  #forge(chance: Chance): void {
    const open = this.#anyOpen(chance);
    if (open === undefined) return;
    const key = this.#keys.length > 0 && chance.below(2) === 0 ? chance.pick(this.#keys) : Secret.from(chance.octets(16));
    const nonce = chance.octets(NONCE_LENGTH);
    const rn = { rnI: chance.octets(RN_LENGTH), rnC: chance.octets(RN_LENGTH) };
    const idI = chance.pick(this.#plan.ids);
    const idC = chance.pick(this.#plan.controllers);
    const tid = this.#anyTid(chance);
    switch (kindOf(open)) {
      case 'M1': {
        const m1 = tryDecode(decodeM1, open.payload);
        return this.#answer(open, sealM4({ idC, tid }, { ...rn, rnI: m1?.rnI ?? rn.rnI }, key, open.payload));
      }
      case 'M5':
        return this.#answer(open, chance.below(3) === 0 ? NOTHING : sealM6({ idC, tid }, { lifetime: 0 }, key, open.payload));
      case 'M2':
        return this.#answer(
          open,
          chance.pick([
            sealM3({ key, idI }, nonce, open.payload, this.#skCs ?? key),
            sealM9({ reason: 7, idI }, nonce, open.payload, key),
          ]),
        );
      case 'M7':
        return this.#answer(
          open,
          chance.pick([
            sealM8({ idI, lifetime: 0 }, nonce, open.payload, this.#skCs ?? key),
            sealM9({ reason: 7, idI }, nonce, open.payload, key),
          ]),
        );
      default:
        return this.#answer(open, chance.octets(chance.pick(Object.values(LENGTH))));
    }
  }

  /** A TID that went by. */
  #anyTid(chance: Chance): bigint {
    const m4 = this.#anySeen(chance, ['M4']);
    return (m4 && tryDecode(decodeM4, m4.payload)?.tid) ?? 1n;
  }

  /** M1s with known IDs from addresses that are not its own. */
  #flood(chance: Chance): void {
    const to = `c${chance.pick(this.#plan.controllers)}:5683`;
    for (let i = chance.between(2, 8); i > 0; i--) {
      const payload = encodeM1({ idI: chance.pick(this.#plan.ids), rnI: chance.octets(RN_LENGTH) });
      this.#send({ from: `x${chance.below(40)}:5`, to, kind: 'request', token: chance.u32(), payload });
    }
  }

  /** Errors and empty answers to what is open: hints, which no key depends on. */
  #outcome(chance: Chance, on: Datagram | undefined): void {
    const open = on?.kind === 'request' ? on : this.#anyOpen(chance);
    if (open === undefined) return;
    switch (chance.below(7)) {
      case 0:
        return this.#answer(open, NOTHING, '4.04');
      case 1:
        return this.#answer(open, NOTHING, '4.03');
      case 2:
        return this.#answer(open, NOTHING, '5.03', chance.pick([0, 20, 2 ** 31]));
      case 3:
        return this.#answer(open, NOTHING, '2.04');
      case 4:
        return this.#answer(open, NOTHING, '4.01', undefined, `x ${chance.u32()} x`);
      case 5:
        return this.#answer(open, chance.octets(13), chance.pick(['2.05', '4.00', '2.04']));
      case 6:
        for (let i = 0; i < 2; i++)
          this.#send({ from: open.to, to: open.from, kind: 'reset', token: open.token, payload: NOTHING });
    }
  }

  /** Each M7 it remembers, again: what a server takes only once, and only for so long. */
  #replayCommits(chance: Chance): void {
    const to = chance.pick(this.#plan.servers);
    for (const { payload, token, from } of this.#seen.get('M7') ?? [])
      this.#send({ from, to, kind: 'request', token: token ^ 1, payload });
  }

  /** To each M5 that waits for its M6, the M6s that node got, or should have got, before. */
  #replayConfirmations(): void {
    for (const open of this.#open.values()) {
      if (kindOf(open) !== 'M5') continue;
      for (const { to, payload } of this.#seen.get('M6') ?? []) if (hostOf(to) === hostOf(open.from)) this.#answer(open, payload);
    }
  }

  /** Asks for the keys of nodes that are not its controller's, and tries to commit what it saw others prove. */
  #askAsController(chance: Chance): void {
    const skCs = this.#skCs;
    const [to] = this.#plan.servers;
    if (skCs === undefined || to === undefined) return;
    this.#tid += 1n;
    const m1Octets =
      this.#anySeen(chance, ['M1'])?.payload ?? encodeM1({ idI: chance.pick(this.#plan.ids), rnI: chance.octets(RN_LENGTH) });
    if (m1Octets.length !== LENGTH.M1) return;
    const m5 = this.#anySeen(chance, ['M5']);
    const c5 = (m5 && tryDecode(decodeM5, m5.payload)?.c5) ?? chance.octets(24);
    const body = { rnC: chance.octets(RN_LENGTH), ts: BigInt(this.#plan.clock()), m1Octets };
    const header = {
      idC: chance.pick([ROGUE_IDC, ROGUE_IDC, ...this.#plan.controllers]),
      tid: this.#tid,
      nonce: chance.octets(NONCE_LENGTH),
    };
    const payload =
      chance.below(2) === 0 ? sealM2(header, body, skCs) : sealM7(header, { ...body, nidI: new Uint8Array(18), c5 }, skCs);
    this.#send({ from: `x:${this.#tid}`, to, kind: 'request', token: chance.u32(), payload });
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

  #learn(datagram: Datagram, kind: Kind): void {
    const request = datagram.kind === 'answer' ? this.#open.get(datagram.to) : undefined;
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
      if (opened !== undefined) return this.#keep(derivePsk(key, m1.rnI, opened.rnC), 'from M1 and M4');
    }
  }

  #learnFromM3(request: Uint8Array, octets: Uint8Array, skCs: Secret): void {
    if (tryDecode(decodeLinkRequest, request) === undefined) return;
    const m3 = openM3(octets, request, skCs);
    if (m3 !== undefined) this.#keep(m3.key, 'from M3');
  }

  #keep(key: Secret, how: string): void {
    this.#around.oracle.attackerLearns(key, how);
    if (this.#keys.some((known) => known.equals(key))) return;
    this.#keys.push(key);
    this.#around.ground.note('x', `learns a key ${how}`);
  }
}
