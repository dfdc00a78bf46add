/**
 * AES key wrap (RFC 3394) of 24 octets under one key, whose schedules are made once: the auth-server opens four wrapped keys for each join.
 * The block functions are @noble/ciphers'.
 */

import type { Secret } from '@latchkey/protocol';
import { unsafe } from '@noble/ciphers/aes.js';

/** Semiblocks of 8 octets in what is wrapped. */
const SEMIBLOCKS = 3;
const ROUNDS = 6;
const PLAIN_LENGTH: number = 8 * SEMIBLOCKS;
export const WRAPPED_LENGTH: number = 8 + PLAIN_LENGTH;
/** RFC 3394 section 2.2.3.1. */
const INITIAL_VALUE = 0xa6a6a6a6;

export class KeyWrap {
  readonly #forward: Uint32Array;
  readonly #inverse: Uint32Array;

  constructor(key: Secret) {
    this.#forward = unsafe.expandKeyLE(key.expose());
    this.#inverse = unsafe.expandKeyDecLE(key.expose());
  }

  /** 24 octets to 32. */
  wrap(plain: Uint8Array): Uint8Array {
    if (plain.length !== PLAIN_LENGTH) throw new RangeError(`what is wrapped has ${PLAIN_LENGTH} octets`);
    const out = new Uint8Array(WRAPPED_LENGTH);
    out.set(plain, 8);
    const words = new DataView(out.buffer);
    let [a0, a1] = [INITIAL_VALUE, INITIAL_VALUE];
    for (let step = 1; step <= ROUNDS * SEMIBLOCKS; step++) {
      const at = 8 + ((step - 1) % SEMIBLOCKS) * 8;
      const { s0, s1, s2, s3 } = unsafe.encrypt(this.#forward, a0, a1, words.getUint32(at, true), words.getUint32(at + 4, true));
      // The step counts in the last octet of A, the highest of a little-endian word.
      [a0, a1] = [s0, s1 ^ (step << 24)];
      words.setUint32(at, s2, true);
      words.setUint32(at + 4, s3, true);
    }
    words.setUint32(0, a0, true);
    words.setUint32(4, a1, true);
    return out;
  }

  /** 32 octets to 24; `undefined`: it was not wrapped under this key. */
  unwrap(wrapped: Uint8Array): Uint8Array | undefined {
    if (wrapped.length !== WRAPPED_LENGTH) return undefined;
    const octets = new Uint8Array(wrapped);
    const words = new DataView(octets.buffer);
    let [a0, a1] = [words.getUint32(0, true), words.getUint32(4, true)];
    for (let step = ROUNDS * SEMIBLOCKS; step >= 1; step--) {
      const at = 8 + ((step - 1) % SEMIBLOCKS) * 8;
      const { s0, s1, s2, s3 } = unsafe.decrypt(
        this.#inverse,
        a0,
        a1 ^ (step << 24),
        words.getUint32(at, true),
        words.getUint32(at + 4, true),
      );
      [a0, a1] = [s0, s1];
      words.setUint32(at, s2, true);
      words.setUint32(at + 4, s3, true);
    }
    const opens = ((a0 ^ INITIAL_VALUE) | (a1 ^ INITIAL_VALUE)) === 0;
    const plain = opens ? octets.slice(8) : undefined;
    octets.fill(0);
    return plain;
  }

  wipe(): void {
    this.#forward.fill(0);
    this.#inverse.fill(0);
  }
}
