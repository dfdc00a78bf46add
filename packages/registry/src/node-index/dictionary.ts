/** Values that many nodes share, numbered from 1 in order of arrival. 0 means none. */
export class Dictionary<V> {
  readonly #numbers = new Map<string | number, number>();
  readonly #values: V[] = [];
  readonly #keyOf: (value: V) => string | number;

  constructor(keyOf: (value: V) => string | number, values: readonly V[] = []) {
    this.#keyOf = keyOf;
    for (const value of values) this.number(value);
  }

  get values(): readonly V[] {
    return this.#values;
  }

  get size(): number {
    return this.#values.length;
  }

  /** The number of a value, a new one if it has none. */
  number(value: V): number {
    const key = this.#keyOf(value);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#values.push(value);
    this.#numbers.set(key, this.#values.length);
    return this.#values.length;
  }

  /** The number of a value that is known, or `undefined`. */
  find(value: V): number | undefined {
    return this.#numbers.get(this.#keyOf(value));
  }

  /** @param number from 1 */
  value(number: number): V | undefined {
    return this.#values[number - 1];
  }

  /** For each number, from 0 for none on, 1 if its value passes the test. */
  select(test: (value: V) => boolean): Uint8Array {
    const selected = new Uint8Array(this.#values.length + 1);
    for (const [i, value] of this.#values.entries()) if (test(value)) selected[i + 1] = 1;
    return selected;
  }
}
