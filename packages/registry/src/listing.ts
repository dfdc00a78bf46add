/** What an engine answers at once, or in time: rows one after the other, and single answers. */

export type Listed<T> = Iterable<T> | AsyncIterable<T>;

/**
 * For `for await`, whatever the engine; and for `for`, of an engine that answers at once. Of
 * another one that throws a TypeError.
 */
export class Listing<T> implements Iterable<T>, AsyncIterable<T> {
  readonly #atOnce: () => Iterable<T>;
  readonly #inTime: () => Listed<T>;

  constructor(atOnce: () => Iterable<T>, inTime: () => Listed<T>) {
    this.#atOnce = atOnce;
    this.#inTime = inTime;
  }

  /** What is made of each row; `undefined` is left out. */
  static mapped<R, T>(read: () => Listed<R>, make: (row: R) => T | undefined): Listing<T> {
    return new Listing(
      function* () {
        for (const row of atOnce(read())) {
          const made = make(row);
          if (made !== undefined) yield made;
        }
      },
      async function* () {
        for await (const row of read()) {
          const made = make(row);
          if (made !== undefined) yield made;
        }
      },
    );
  }

  [Symbol.iterator](): Iterator<T, undefined> {
    return this.#atOnce()[Symbol.iterator]() as Iterator<T, undefined>;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    yield* this.#inTime();
  }
}

/** The rows of an engine that answers at once. */
export function atOnce<T>(rows: Listed<T>): Iterable<T> {
  if (!(Symbol.iterator in rows)) throw new TypeError('this storage engine does not answer at once');
  return rows;
}

/** For what cannot wait: the answer of an engine that answers at once. */
export function immediate<T>(answer: T | Promise<T>): T {
  if (answer instanceof Promise) throw new TypeError('this storage engine does not answer at once');
  return answer;
}
