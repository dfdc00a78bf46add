/** A node as a load generator plays it: its keys in memory, and one attempt at a time. */

import { answerM4, buildM1, m4Key, opensM6, type Proof } from './node-crypto.js';

/** Keys that M5 was sent under and no M6 came for, the newest first. */
const MAX_CANDIDATES = 4;

interface Held {
  readonly key: Buffer;
  readonly ekM4: Buffer;
}

export class PlayedNode {
  readonly idI: number;
  #held: Held[];

  constructor(idI: number, ik: Buffer) {
    this.idI = idI;
    this.#held = [hold(ik)];
  }

  m1(rnI: Buffer): Buffer {
    return buildM1(this.idI, rnI);
  }

  /** M5 and what goes with it, or `undefined`: no M4 that opens. The new key is a candidate from now on. */
  prove(m4: Buffer, m1: Buffer): Proof | undefined {
    for (const held of this.#held) {
      const proof = answerM4(m4, m1, held.key, held.ekM4);
      if (proof === undefined) continue;
      this.#held = [held, hold(proof.psk), ...this.#held.filter((other) => other !== held)].slice(0, MAX_CANDIDATES);
      return proof;
    }
    return undefined;
  }

  /** Whether this M6 ends the attempt: the new key is the only one then. */
  confirm(m6: Buffer, proof: Proof): boolean {
    if (!opensM6(m6, proof)) return false;
    const confirmed = this.#held.find(({ key }) => key === proof.psk);
    if (confirmed !== undefined) this.#held = [confirmed];
    return true;
  }
}

function hold(key: Buffer): Held {
  return { key, ekM4: m4Key(key) };
}
