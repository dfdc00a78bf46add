/**
 * Faults of a world. Only the seed and the fault's name (`n1#12 M5 lost`) determine whether a fault
 * is triggered. A run can therefore be repeated with some of its faults only, which minimizes a
 * failure.
 */

import { SeededRandom, mix } from '@latchkey/test-support/seeded-random';

export class FaultPlan {
  readonly #seed: number;
  readonly #only: ReadonlySet<string> | undefined;
  /** Those that struck, in that order. */
  readonly triggered: string[] = [];
  #over = false;

  /** @param only the faults that may strike; all if left out */
  constructor(seed: number, only?: readonly string[]) {
    this.#seed = seed;
    this.#only = only && new Set(only);
  }

  /** From here on nothing goes wrong any more. */
  end(): void {
    this.#over = true;
  }

  get over(): boolean {
    return this.#over;
  }

  /** Draws for all that may befall one thing. */
  random(of: string): SeededRandom {
    return new SeededRandom(this.#seed, of);
  }

  /**
   * Returns true if a fault of `probability` is triggered at the `count`th step of a stream. Cheap
   * for small probabilities.
   */
  roll(stream: number, count: number, probability: number): boolean {
    return !this.#over && probability > 0 && mix(mix(this.#seed >>> 0, stream), count) / 2 ** 32 < probability;
  }

  /** Notes that the fault called `name` is due, and tells whether it may strike. */
  trigger(name: string): boolean {
    if (this.#over || (this.#only !== undefined && !this.#only.has(name))) return false;
    this.triggered.push(name);
    return true;
  }
}
