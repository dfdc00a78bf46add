/**
 * Plain numbers that a daemon counts as it works, and that whoever asks reads: counting costs a few
 * nanoseconds.
 */

/**
 * How often each of a few things happened. Labels are the code's own words, never what a peer sent:
 * so their number has a bound.
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
  /** One for each bound, and one for what is beyond the last. */
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

  /** How many took so long or less, for each bound in order, and last how many there are. */
  get cumulative(): number[] {
    let total = 0;
    return this.#counts.map((count) => (total += count));
  }
}
