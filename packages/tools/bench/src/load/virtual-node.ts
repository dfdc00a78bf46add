/** A node as a load generator plays it: its keys in memory, and one attempt at a time. */

import {
  decodeM4,
  derivePsk,
  encodeM1,
  equalInConstantTime,
  tryDecode,
  openM4,
  openM6,
  Secret,
  sealM5,
} from '@latchkey/protocol';

/** Keys that M5 was sent under and no M6 came for, the newest first. */
const MAX_CANDIDATES = 4;

/** What a node has once M4 has opened. */
export interface Proof {
  readonly idC: number;
  readonly tid: bigint;
  readonly m5: Buffer;
  readonly psk: Secret;
}

export class VirtualNode {
  readonly idI: number;
  #keys: Secret[];

  constructor(idI: number, ik: Uint8Array) {
    this.idI = idI;
    this.#keys = [Secret.from(ik)];
  }

  m1(rnI: Uint8Array): Buffer {
    return asBuffer(encodeM1({ idI: this.idI, rnI }));
  }

  /**
   * M5 and what goes with it, or `undefined`: no M4 that opens. The new key is a candidate from now
   * on.
   */
  prove(m4Octets: Uint8Array, m1: Uint8Array): Proof | undefined {
    const m4 = tryDecode(decodeM4, m4Octets);
    if (m4 === undefined) return undefined;
    const rnI = m1.subarray(5);
    for (const key of this.#keys) {
      const opened = openM4(m4, key, m1);
      if (opened === undefined || !equalInConstantTime(opened.rnI, rnI)) continue;
      const { idC, tid } = m4;
      const psk = derivePsk(key, rnI, opened.rnC);
      this.#keys = [key, psk, ...this.#keys.filter((other) => other !== key)].slice(0, MAX_CANDIDATES);
      return { idC, tid, m5: asBuffer(sealM5({ idC, tid, m1Octets: m1 }, opened.rnC, psk)), psk };
    }
    return undefined;
  }

  /** Whether this M6 ends the attempt: the new key is the only one then. */
  confirm(m6: Uint8Array, { idC, tid, m5, psk }: Proof): boolean {
    if (openM6({ idC, tid }, m6, psk, m5) === undefined) return false;
    this.#keys = [psk];
    return true;
  }
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length);
}
