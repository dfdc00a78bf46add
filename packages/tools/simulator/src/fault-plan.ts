/**
 * What goes wrong in a world. Whether a given fault strikes is a matter of the seed and of that
 * fault's own name alone (`n1#12 M5 lost`), so that a run can be repeated with a few of its faults
 * and none of the others: that is how a failure is made short.
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
   * Whether something of `probability` strikes at the `count`th turn of a stream: cheap where it
   * nearly never does.
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
