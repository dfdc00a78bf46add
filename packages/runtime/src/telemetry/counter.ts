/** Counters of a daemon. An increment costs a few nanoseconds; readers read the plain numbers. */

/**
 * Counter with a label from a fixed set. Labels are constants in the code, never values that a peer
 * sent, so their number is bounded.
 */
export class LabelledCounter<L extends string> {
  readonly #counts = new Map<L, number>();

  /** @param labels are there from the start, at 0 */
  constructor(labels: Iterable<L> = []) {
    for (const label of labels) this.#counts.set(label, 0);
  }

  increment(label: L, times: number = 1): void {
    this.#counts.set(label, (this.#counts.get(label) ?? 0) + times);
  }

  get(label: L): number {
    return this.#counts.get(label) ?? 0;
  }

  [Symbol.iterator](): IterableIterator<[L, number]> {
    return this.#counts.entries();
  }
}

/**
 * Upper bounds of the buckets, in seconds: from a commit on a fast disk to a transaction's life.
 */
export const DEFAULT_BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** How long something took, as a histogram. */
export class Histogram {
  /** One count for each bound, and one for values beyond the last. */
  readonly #counts: number[] = Array.from({ length: DEFAULT_BUCKETS.length + 1 }, () => 0);
  #sum = 0;

  /** @param since when it began, ms of `performance.now()` */
  observeSince(since: number): void {
    this.observe(performance.now() - since);
  }

  observe(ms: number): void {
    const seconds = ms / 1000;
    this.#sum += seconds;
    let index = 0;
    while (index < DEFAULT_BUCKETS.length && seconds > (DEFAULT_BUCKETS[index] ?? 0)) index += 1;
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  /** Seconds in all. */
  get sum(): number {
    return this.#sum;
  }

  /**
   * Cumulative counts: for each bound in order the number of values up to it, and last the total.
   */
  get cumulative(): number[] {
    let total = 0;
    return this.#counts.map((count) => (total += count));
  }
}
