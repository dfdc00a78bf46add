/** Plain numbers that a daemon counts as it works, and that whoever asks reads: counting costs a few nanoseconds. */

/** How often each of a few things happened. Labels are the code's own words, never what a peer sent: so their number has a bound. */
export class Tally<L extends string> {
  readonly #counts = new Map<L, number>();

  /** @param labels are there from the start, at 0 */
  constructor(labels: Iterable<L> = []) {
    for (const label of labels) this.#counts.set(label, 0);
  }

  add(label: L, times: number = 1): void {
    this.#counts.set(label, (this.#counts.get(label) ?? 0) + times);
  }

  get(label: L): number {
    return this.#counts.get(label) ?? 0;
  }

  [Symbol.iterator](): IterableIterator<[L, number]> {
    return this.#counts.entries();
  }
}

/** Upper bounds of the buckets, in seconds: from a commit on a fast disk to a transaction's life. */
export const DURATION_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** How long something took, as a histogram. */
export class Durations {
  /** One for each bound, and one for what is beyond the last. */
  readonly #counts: number[] = Array.from({ length: DURATION_BOUNDS.length + 1 }, () => 0);
  #sum = 0;

  /** @param since when it began, ms of `performance.now()` */
  addSince(since: number): void {
    this.add(performance.now() - since);
  }

  add(ms: number): void {
    const seconds = ms / 1000;
    this.#sum += seconds;
    let bucket = 0;
    while (bucket < DURATION_BOUNDS.length && seconds > (DURATION_BOUNDS[bucket] ?? 0)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  /** Seconds in all. */
  get sum(): number {
    return this.#sum;
  }

  /** How many took so long or less, for each bound in order, and last how many there are. */
  get cumulative(): number[] {
    let sofar = 0;
    return this.#counts.map((count) => (sofar += count));
  }
}
