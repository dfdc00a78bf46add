/**
 * AES key wrap (RFC 3394) of 24 octets under one key, whose schedules are made once: the
 * auth-server opens four wrapped keys for each join. The block functions are @noble/ciphers'.
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

/**
 * Scratch buffer, all zero between uses. It is outside V8's heap, where a view of words costs
 * nothing.
 */
const octets: Uint8Array = new Uint8Array(new ArrayBuffer(WRAPPED_LENGTH));
const words: DataView = new DataView(octets.buffer);

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
    octets.set(plain, 8);
    let [a0, a1] = [INITIAL_VALUE, INITIAL_VALUE];
    for (let step = 1; step <= ROUNDS * SEMIBLOCKS; step++) {
      const offset = 8 + ((step - 1) % SEMIBLOCKS) * 8;
      const { s0, s1, s2, s3 } = unsafe.encrypt(
        this.#forward,
        a0,
        a1,
        words.getInt32(offset, true),
        words.getInt32(offset + 4, true),
      );
      // The step counts in the last octet of A, the highest of a little-endian word.
      [a0, a1] = [s0, s1 ^ (step << 24)];
      words.setInt32(offset, s2, true);
      words.setInt32(offset + 4, s3, true);
    }
    words.setInt32(0, a0, true);
    words.setInt32(4, a1, true);
    const out = octets.slice();
    octets.fill(0);
    return out;
  }

  /**
   * 32 octets, from octet `offset` on, to 24; `undefined`: they were not wrapped under this key.
   */
  unwrap(wrapped: Uint8Array, offset: number = 0): Uint8Array | undefined {
    if (wrapped.length !== offset + WRAPPED_LENGTH) return undefined;
    for (let i = 0; i < WRAPPED_LENGTH; i++) octets[i] = wrapped[offset + i]!;
    let [a0, a1] = [words.getInt32(0, true), words.getInt32(4, true)];
    for (let step = ROUNDS * SEMIBLOCKS; step >= 1; step--) {
      const at = 8 + ((step - 1) % SEMIBLOCKS) * 8;
      const { s0, s1, s2, s3 } = unsafe.decrypt(
        this.#inverse,
        a0,
        a1 ^ (step << 24),
        words.getInt32(at, true),
        words.getInt32(at + 4, true),
      );
      [a0, a1] = [s0, s1];
      words.setInt32(at, s2, true);
      words.setInt32(at + 4, s3, true);
    }
    const isAuthentic = ((a0 ^ INITIAL_VALUE) | (a1 ^ INITIAL_VALUE)) === 0;
    const plain = isAuthentic ? octets.slice(8) : undefined;
    octets.fill(0);
    return plain;
  }

  wipe(): void {
    this.#forward.fill(0);
    this.#inverse.fill(0);
  }
}
