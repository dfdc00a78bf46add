/**
 * A pass-through controller of an attacker. It has its SK_cs and honest nodes. It chooses its
 * contribution, TS and TID, and which M7 it sends at which time. It tries all octets that it can
 * decrypt as keys. After the fault phase it relays correctly, and its earlier actions must not lock
 * a node out.
 */

import {
  decodeM1,
  decodeM5,
  encodeM1,
  encodeM4,
  encodeM6,
  NONCE_LENGTH,
  openM10,
  openM11,
  openM3,
  RN_LENGTH,
  sealM2,
  sealM7,
  type Secret,
  tryDecode,
  TYPE,
} from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { type Datagram, kindOf } from './network.js';
import { textOf } from './oracle.js';
import type { DishonestTactic } from './scenario.js';
import type { SimulationContext } from './simulation-context.js';

/** Transactions and requests that it remembers. */
const MAX_REMEMBERED = 64;
/** When a node lets a fifth candidate replace its first, and a little more, in ms. */
const UNTIL_REPLACED_MS = 305_000;
/** Attempts of a node until then. */
const ATTEMPTS_UNTIL_REPLACED = 5;
const KEY_LENGTH = 16;
/** How far ahead of the server's clock its TS may be, in ms. */
const MAX_AHEAD_MS = 29_000;

export interface DishonestPlan {
  readonly idC: number;
  readonly skCs: Secret;
  /** By name. */
  readonly servers: readonly string[];
  readonly tactic: DishonestTactic;
}

/** What it contributes to a transaction. */
interface Contribution {
  readonly tid: bigint;
  readonly ts: bigint;
  readonly rnC: Uint8Array;
  readonly m1Octets: Uint8Array;
}

interface Begun extends Contribution {
  readonly at: number;
  m4?: Uint8Array;
  m5?: Uint8Array;
  m6?: Uint8Array;
}

/** How far it is with steering a node. */
interface Steering {
  /** The first counter block of an M4, under a PSK's own subkey if RN_c was its own to choose. */
  counter?: Uint8Array;
}

export class DishonestController {
  readonly #context: SimulationContext;
  readonly #plan: DishonestPlan;
  readonly #random: SeededRandom;
  /** By M1, the oldest first. */
  readonly #begun = new Map<string, Begun>();
  readonly #pending = new Map<number, (payload: Uint8Array) => void>();
  readonly #steering = new Map<number, Steering>();
  /** The M7 of each node that it delays, and the number of proofs that the node has made since. */
  readonly #keptBack = new Map<number, { readonly begun: Begun; readonly m5: Uint8Array; proofs: number }>();
  /** M1 of other nodes and transactions. */
  readonly #otherM1: Uint8Array[] = [];
  #acts = 0;
  #token = 0;
  #tid = 0n;

  constructor(context: SimulationContext, plan: DishonestPlan) {
    this.#context = context;
    this.#plan = plan;
    this.#random = context.simulation.random(`c${plan.idC} is dishonest`);
  }

  begin(): void {
    const { network } = this.#context;
    this.#tid = BigInt(this.#context.simulation.trueTime) * 1000n;
    network.listen(`c${this.#plan.idC}:5683`, (datagram) => this.#serve(datagram));
    network.listen(`c${this.#plan.idC}:7`, (datagram) => {
      if (datagram.kind !== 'answer') return;
      const pending = this.#pending.get(datagram.token);
      this.#pending.delete(datagram.token);
      pending?.(datagram.payload);
    });
  }

  /** Whether it does what it should not, this time. */
  #dares(what: string, probability: number): boolean {
    const { simulation, oracle } = this.#context;
    this.#acts += 1;
    const name = `c${this.#plan.idC} act ${this.#acts}: ${what}`;
    if (this.#random.uniform() >= probability || !simulation.faults.trigger(name)) return false;
    oracle.counts.dishonest += 1;
    return true;
  }

  #serve(datagram: Datagram): void {
    if (datagram.kind !== 'request') return;
    const kind = kindOf(datagram);
    if (kind === 'M1') this.#receiveM1(datagram);
    if (kind === 'M5') this.#receiveM5(datagram);
  }

  #answer({ from, to, token }: Datagram, payload: Uint8Array): void {
    this.#context.network.send({ from: to, to: from, kind: 'answer', token, code: '2.04', payload });
  }

  #ask(payload: Uint8Array, done: (answer: Uint8Array) => void): void {
    const { servers, idC } = this.#plan;
    this.#token += 1;
    const to = `${servers[this.#token % servers.length] ?? ''}:5693`;
    this.#pending.set(this.#token, done);
    forgetOldest(this.#pending);
    this.#context.network.send({ from: `c${idC}:7`, to, kind: 'request', token: this.#token, payload });
  }

  // M1 and M2.

  #receiveM1(datagram: Datagram): void {
    const { payload } = datagram;
    const m1 = tryDecode(decodeM1, payload);
    if (m1 === undefined) return;
    const known = this.#begun.get(textOf(payload));
    if (known?.m4 !== undefined) return this.#answer(datagram, known.m4);
    const begun = known ?? this.#begin(payload, m1);
    this.#begun.set(textOf(payload), begun);
    forgetOldest(this.#begun);
    this.#askForM4(begun, (m4) => {
      begun.m4 = m4;
      this.#answer(datagram, m4);
    });
    if (known === undefined && this.#plan.tactic === 'varies' && this.#dares('varies M2', 0.6)) this.#varyM2(begun);
    this.#otherM1.push(payload);
    if (this.#otherM1.length > MAX_REMEMBERED) this.#otherM1.shift();
  }

  #begin(m1Octets: Uint8Array, { idI, rnI }: { readonly idI: number; readonly rnI: Uint8Array }): Begun {
    const { now, trueTime } = this.#context.simulation;
    this.#tid += 1n;
    const ahead = this.#plan.tactic === 'keeps M7 back' && this.#dares('says a TS ahead', 0.3) ? MAX_AHEAD_MS : 0;
    const rnC =
      this.#plan.tactic === 'steers' && this.#dares(`steers n${idI}`, 0.9)
        ? this.#steer(idI, rnI)
        : this.#random.octets(RN_LENGTH);
    return { tid: this.#tid, ts: BigInt(trueTime + ahead), rnC, m1Octets, at: now };
  }

  /**
   * If RN_c were its own to choose: first PSK = EK(K_i, 0x14), which is the key of that M4, of
   * whose key stream it knows a block; then PSK = that block.
   */
  #steer(idI: number, rnI: Uint8Array): Uint8Array {
    const block = new Uint8Array(RN_LENGTH);
    block[0] = TYPE.M4;
    return xor(rnI, this.#steering.get(idI)?.counter ?? block);
  }

  #askForM4(begun: Contribution, done: (m4: Uint8Array) => void): void {
    const { idC, skCs } = this.#plan;
    const header = { idC, tid: begun.tid, nonce: this.#random.octets(NONCE_LENGTH) };
    const m2 = sealM2(header, begun, skCs);
    this.#ask(m2, (answer) => {
      const m3 = openM3(answer, m2, skCs);
      if (m3 !== undefined) this.#learn(m3.key.expose(), 'from M3');
      const m10 = openM10(answer, m2, skCs);
      if (m10 === undefined) return;
      this.#learn(m10.c4, 'from M10');
      const { idI, rnI } = decodeM1(begun.m1Octets);
      // What the key stream of this M4 is, as it begins with RN_i.
      this.#learn(xor(m10.c4.subarray(0, RN_LENGTH), rnI), 'from the key stream of M4');
      const m4 = encodeM4({ idC, tid: begun.tid, c4: m10.c4 });
      const counter = new Uint8Array(KEY_LENGTH);
      counter[0] = 1;
      counter.set(m4.subarray(0, 13), 1);
      counter[15] = 1;
      const steering = this.#steering.get(idI);
      this.#steering.set(idI, steering?.counter === undefined ? { counter } : {});
      done(m4);
    });
  }

  /** The same again, but for one field. */
  #varyM2({ tid, ts, rnC, m1Octets }: Contribution): void {
    const { idI } = decodeM1(m1Octets);
    const other = this.#otherM1.findLast((m1) => textOf(m1) !== textOf(m1Octets));
    const variants: Contribution[] = [
      { tid, ts: ts + 1n, rnC, m1Octets },
      { tid: tid ^ 1n, ts, rnC, m1Octets },
      { tid, ts, rnC: this.#random.octets(RN_LENGTH), m1Octets },
      { tid, ts, rnC, m1Octets: other ?? encodeM1({ idI, rnI: this.#random.octets(RN_LENGTH) }) },
    ];
    for (const variant of variants) this.#askForM4(variant, () => undefined);
  }

  // M5 and M7.

  #receiveM5(datagram: Datagram): void {
    const m5 = tryDecode(decodeM5, datagram.payload);
    const begun = m5 && [...this.#begun.values()].find(({ tid }) => tid === m5.tid);
    if (m5 === undefined || begun === undefined) return;
    if (begun.m6 !== undefined) return this.#answer(datagram, begun.m6);
    if (this.#plan.tactic === 'keeps M7 back' && this.#keepsBack(begun, datagram.payload)) return;
    if (this.#plan.tactic === 'varies' && this.#dares('varies M7', 0.5)) {
      this.#commit({ ...begun, tid: begun.tid ^ 1n }, datagram.payload, () => undefined);
      this.#commit({ ...begun, ts: begun.ts + 1n }, datagram.payload, () => undefined);
      this.#commit({ ...begun, rnC: this.#random.octets(RN_LENGTH) }, datagram.payload, () => undefined);
    }
    this.#commit(begun, datagram.payload, (m6) => {
      begun.m6 = m6;
      this.#answer(datagram, m6);
    });
  }

  /**
   * Keeps the M7 of a node back until the node has replaced that candidate, then says that the
   * transaction has just begun.
   */
  #keepsBack(begun: Begun, m5: Uint8Array): boolean {
    const { idI } = decodeM1(begun.m1Octets);
    const { simulation } = this.#context;
    const kept = this.#keptBack.get(idI);
    if (kept === undefined) {
      if (!this.#dares(`keeps M7 of n${idI} back`, 0.8)) return false;
      this.#keptBack.set(idI, { begun, m5, proofs: 1 });
      return true;
    }
    if (simulation.faults.over) return false;
    if (begun.m5 === undefined) kept.proofs += 1;
    begun.m5 = m5;
    if (kept.proofs < ATTEMPTS_UNTIL_REPLACED || simulation.now - kept.begun.at < UNTIL_REPLACED_MS) return true;
    if (this.#dares(`sends the M7 of n${idI} that it kept back`, 1))
      this.#commit({ ...kept.begun, ts: BigInt(simulation.trueTime) }, kept.m5, () => undefined);
    this.#commit(kept.begun, kept.m5, () => undefined);
    this.#keptBack.delete(idI);
    return true;
  }

  #commit({ tid, ts, rnC, m1Octets }: Contribution, m5: Uint8Array, done: (m6: Uint8Array) => void): void {
    const { idC, skCs } = this.#plan;
    const { c5 } = decodeM5(m5);
    const header = { idC, tid, nonce: this.#random.octets(NONCE_LENGTH) };
    const m7 = sealM7(header, { rnC, ts, nidI: new Uint8Array(18), m1Octets, c5 }, skCs);
    this.#ask(m7, (answer) => {
      const m11 = openM11(answer, m7, skCs);
      if (m11 === undefined) return;
      this.#learn(m11.c6, 'from M11');
      this.#learn(m11.applicationRoot.expose(), 'as an application root');
      done(encodeM6(m11.c6));
    });
  }

  /** Whatever it can read may be a key. */
  #learn(octets: Uint8Array, how: string): void {
    for (let at = 0; at + KEY_LENGTH <= octets.length; at++)
      this.#context.oracle.passThroughLearns(this.#plan.idC, octets.subarray(at, at + KEY_LENGTH), how);
  }
}

function xor(one: Uint8Array, other: Uint8Array): Uint8Array {
  return one.map((octet, i) => octet ^ (other[i] ?? 0));
}

function forgetOldest(map: Map<unknown, unknown>): void {
  const [oldest] = map.keys();
  if (map.size > MAX_REMEMBERED && oldest !== undefined) map.delete(oldest);
}
