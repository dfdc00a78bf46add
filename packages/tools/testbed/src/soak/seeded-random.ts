/**
 * Randomness from a seed, so that a run that failed can be played again as far as the system's
 * timing lets it.
 */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A whole number from 0 to 2^32 - 1 (mulberry32). */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number from 0 to below `bound`. */
  below(bound: number): number {
    return this.u32() % bound;
  }

  /** True with this probability. */
  withProbability(probability: number): boolean {
    return this.u32() < probability * 2 ** 32;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new RangeError('nothing to pick from');
    return value;
  }

  octets(length: number): Buffer {
    const octets = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) octets[i] = this.u32() >>> 24;
    return octets;
  }
}
