/**
 * A dishonest controller: it has SK_cs, chooses the content of M2 and M7, and records all messages
 * of its nodes. In the draft it learns K_i; a pass-through controller does not. Each attack here is
 * the same in both modes.
 */

import { randomBytes } from 'node:crypto';
import {
  decodeM1,
  decodeM4,
  derivePsk,
  encodeM1,
  encodeM4,
  encodeM6,
  openM10,
  openM11,
  openM3,
  openM4,
  openM8,
  sealM2,
  sealM4,
  sealM5,
  sealM6,
  sealM7,
  Secret,
} from '@latchkey/protocol';
import type { Attack } from '../attack.js';
import { ID_C, newSecret, ProfileNetwork, type ProfileNode, WALL } from '../profile.js';

const [VICTIM, OTHER] = [0xa1, 0xb2];
/** Age at which a node may replace a candidate by a fifth one, plus a margin, in ms. */
const UNTIL_DROPPED = 310_000;

interface Choice {
  readonly rnC?: Uint8Array;
  /** Of a transaction before; otherwise the next one. */
  readonly tid?: bigint;
}

/** A transaction that the controller has begun. */
interface Begun {
  readonly tid: bigint;
  readonly m1: Uint8Array;
  readonly rnC: Uint8Array;
  readonly m4: Uint8Array;
  /** The PSK, where the controller can tell. */
  readonly psk: Secret | undefined;
}

class DishonestController {
  readonly #network: ProfileNetwork;
  readonly #skCs: Secret;
  #tid = 0n;
  /** Every key that it was given or could derive, in whatever use it tries them. */
  readonly known: Secret[] = [];

  constructor(network: ProfileNetwork) {
    this.#network = network;
    this.#skCs = network.skCs.get(ID_C)!;
  }

  /** M1 to M4; `undefined`: refused. */
  begin(m1: Uint8Array, { rnC = randomBytes(16), tid = (this.#tid += 1n) }: Choice = {}): Begun | undefined {
    const header = { idC: ID_C, tid };
    const m2 = sealM2({ ...header, nonce: randomBytes(13) }, { rnC, ts: this.#ts, m1Octets: m1 }, this.#skCs);
    const answer = this.#network.serve(m2);
    if (answer === undefined) return undefined;
    const m10 = openM10(answer, m2, this.#skCs);
    if (m10 !== undefined) return { tid, m1, rnC, m4: encodeM4({ ...header, c4: m10.c4 }), psk: undefined };
    const m3 = openM3(answer, m2, this.#skCs);
    if (m3 === undefined) return undefined;
    const { rnI } = decodeM1(m1);
    const psk = derivePsk(m3.key, rnI, rnC);
    this.known.push(m3.key, psk);
    return { tid, m1, rnC, m4: sealM4(header, { rnI, rnC }, m3.key, m1), psk };
  }

  /** M5 to M6; `undefined`: refused. */
  finish(begun: Begun, m5: Uint8Array): Uint8Array | undefined {
    const { tid, psk } = begun;
    const m7 = this.m7(begun, m5);
    const answer = this.#network.serve(m7);
    const m8 = answer && openM8(answer, m7, this.#skCs);
    if (m8 !== undefined && psk !== undefined) return sealM6({ idC: ID_C, tid }, m8, psk, m5);
    const m11 = answer && openM11(answer, m7, this.#skCs);
    if (m11 === undefined) return undefined;
    this.known.push(m11.applicationRoot);
    return encodeM6(m11.c6);
  }

  /** With the time as it is now, whenever the transaction began. */
  m7({ tid, m1, rnC }: Begun, m5: Uint8Array): Uint8Array {
    const body = { rnC, ts: this.#ts, nidI: new Uint8Array(18), m1Octets: m1, c5: m5.subarray(9) };
    return sealM7({ idC: ID_C, tid, nonce: randomBytes(13) }, body, this.#skCs);
  }

  /** A whole exchange; gives what was begun. */
  join(node: ProfileNode, choose: (m1: Uint8Array) => Choice = () => ({})): Begun {
    const m1 = node.m1();
    const begun = this.begin(m1, choose(m1));
    const m5 = begun && node.receiveM4(begun.m4);
    const m6 = begun && m5 && this.finish(begun, m5);
    if (begun === undefined || m6 === undefined || !node.receiveM6(m6)) throw new Error('the node did not join');
    return begun;
  }

  get #ts(): bigint {
    return BigInt(WALL + this.#network.elapsed);
  }
}

/** Plays `attack` as the draft has it, and against a pass-through controller. */
function inBothModes(attack: (network: ProfileNetwork) => boolean): Pick<Attack, 'draft' | 'profile'> {
  return {
    draft: () => attack(new ProfileNetwork()),
    profile: () => attack(new ProfileNetwork({ passThrough: true })),
  };
}

export const followedKeys: Attack = {
  name: "dishonest controller follows a node's keys",
  sentence:
    'A controller that once had the key of a node, and hears M1 and M4, derives each key that follows; a pass-through controller has an application root, which opens no message.',
  ...inBothModes((network) => {
    const node = network.install(VICTIM, newSecret());
    const dishonest = new DishonestController(network);
    dishonest.join(node);
    const known = [...dishonest.known];
    // From here on it only listens.
    const { m1, m4 } = new DishonestController(network).join(node);
    const { rnI } = decodeM1(m1);
    return known.some((key) => {
      const heard = openM4(decodeM4(m4), key, m1);
      return heard !== undefined && derivePsk(key, rnI, heard.rnC).equals(node.state.confirmed);
    });
  }),
};

export const commitsAlone: Attack = {
  name: 'dishonest controller commits alone',
  sentence:
    'A controller that has K_i plays the node to the server, which takes a key that the node never had; a pass-through controller cannot make the proof, whichever key it tries.',
  ...inBothModes((network) => {
    const node = network.install(VICTIM, newSecret());
    const dishonest = new DishonestController(network);
    dishonest.join(node);
    const m1 = encodeM1({ idI: VICTIM, rnI: randomBytes(16) });
    const begun = dishonest.begin(m1);
    if (begun === undefined) return false;
    for (const psk of dishonest.known)
      dishonest.finish(begun, sealM5({ idC: ID_C, tid: begun.tid, m1Octets: m1 }, begun.rnC, psk));
    return network.lockedOut(node);
  }),
};

/**
 * The first block of key stream of an M4, to who knows what it holds; and the block that this is
 * the encryption of.
 */
function keyStream({ m1, m4 }: Begun): { readonly counter: Uint8Array; readonly stream: Uint8Array } {
  const counter = new Uint8Array(16);
  counter[0] = 1;
  counter.set(m4.subarray(0, 13), 1);
  counter[15] = 1;
  return { counter, stream: xor(m4.subarray(13, 29), decodeM1(m1).rnI) };
}

function xor(one: Uint8Array, other: Uint8Array): Uint8Array {
  return one.map((octet, i) => octet ^ other[i]!);
}

/** The RN_c with which RN_i makes that block. */
function steer(m1: Uint8Array, block: Uint8Array): Choice {
  return { rnC: xor(decodeM1(m1).rnI, block) };
}

/** The block to which RN_c is steered. Its encryption under K_i is the key of M4's key stream. */
const PSK_BLOCK: Uint8Array = Uint8Array.of(0x14, ...new Uint8Array(15));

/**
 * A join after which the PSK is the key of M4's key stream. Returns a block, and what the PSK makes
 * of it.
 */
function steeredJoin(dishonest: DishonestController, node: ProfileNode): ReturnType<typeof keyStream> {
  return keyStream(dishonest.join(node, (m1) => steer(m1, PSK_BLOCK)));
}

export const steeredGeneration: Attack = {
  name: 'dishonest controller steers RN_c over one generation',
  sentence:
    "RN_c is chosen so that the PSK is the key of M4's key stream: the controller knows what the new key makes of a block; RN_c' is the server's, and the controller cannot choose it.",
  ...inBothModes((network) => {
    const node = network.install(VICTIM, newSecret());
    const { counter, stream } = steeredJoin(new DishonestController(network), node);
    return Buffer.from(node.state.confirmed.cipher.encrypt(counter)).equals(stream);
  }),
};

export const steeredGenerations: Attack = {
  name: 'dishonest controller steers RN_c over two generations',
  sentence:
    "After the first generation RN_c is chosen once more, so that the next PSK is the block of key stream that the controller knows: it has the key itself; RN_c' is the server's.",
  ...inBothModes((network) => {
    const node = network.install(VICTIM, newSecret());
    const dishonest = new DishonestController(network);
    const { counter, stream } = steeredJoin(dishonest, node);
    dishonest.join(node, (m1) => steer(m1, counter));
    return node.state.confirmed.equals(Secret.from(stream));
  }),
};

export const freshTs: Attack = {
  name: 'dishonest controller gives an M7 that it kept back a fresh TS',
  sentence:
    "Four M7 are kept back until the node has dropped the first one's key, which is then committed: a lockout; a pass-through C5 opens under the TS of its own M2 only.",
  ...inBothModes((network) => {
    const node = network.install(VICTIM, newSecret());
    const dishonest = new DishonestController(network);
    let first: { readonly begun: Begun; readonly m5: Uint8Array } | undefined;
    for (let i = 0; i < 5; i++) {
      const begun = dishonest.begin(node.m1());
      const m5 = begun && node.receiveM4(begun.m4);
      if (begun === undefined || m5 === undefined) throw new Error('the node sends no M5');
      first ??= { begun, m5 };
      if (i < 3) continue;
      node.powered += UNTIL_DROPPED;
      network.elapsed += UNTIL_DROPPED;
    }
    if (first === undefined) return false;
    network.serve(dishonest.m7(first.begun, first.m5));
    return network.lockedOut(node);
  }),
};

export const repeatedTids: Attack = {
  name: 'dishonest controller repeats TIDs',
  sentence:
    "Two M4 are sealed under one nonce, with another TS each. With what goes into one of them, and K_i, the other gives the PSK; a pass-through controller learns the difference of two RN_c', of which it knows neither.",
  ...inBothModes((network) => {
    const node = network.install(VICTIM, newSecret());
    const dishonest = new DishonestController(network);
    const m1 = node.m1();
    const first = dishonest.begin(m1);
    network.elapsed += 1_000;
    const second = first && dishonest.begin(m1, { tid: first.tid });
    if (second === undefined || node.receiveM4(second.m4) === undefined) throw new Error('the node sends no M5');
    // The second block of key stream, if RN_c is what the first M4 has in it; and so RN_c of the
    // other.
    const stream = xor(first!.m4.subarray(29, 45), first!.rnC);
    const rnC = xor(second.m4.subarray(29, 45), stream);
    const { rnI } = decodeM1(m1);
    return dishonest.known.some((key) => node.keys.some((held) => held.equals(derivePsk(key, rnI, rnC))));
  }),
};

export const anothersC4: Attack = {
  name: "dishonest controller answers with another node's C4",
  sentence:
    'A controller that has K_i seals what it likes for a node; a pass-through controller has C4 of other nodes, each of which is bound to the M1 that it answers.',
  ...inBothModes((network) => {
    const shared = newSecret();
    const [victim, other] = [network.install(VICTIM, shared), network.install(OTHER, shared)];
    const dishonest = new DishonestController(network);
    const begun = dishonest.begin(other.m1());
    const m1 = victim.m1();
    if (begun === undefined) return false;
    const key = dishonest.known[0];
    // With the key it seals that RN_c anew; without, it has what was sealed for the other.
    const m4 =
      key === undefined ? begun.m4 : sealM4({ idC: ID_C, tid: begun.tid }, { rnI: decodeM1(m1).rnI, rnC: begun.rnC }, key, m1);
    return victim.receiveM4(m4) !== undefined;
  }),
};
