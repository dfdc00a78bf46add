/**
 * The latest changes by sequence number, so that a subscriber continues where it stopped. An entry
 * names a node. Its keys are read when the entry is sent, so a slow subscriber gets the newest
 * state, and each node once.
 */

import { randomInt } from 'node:crypto';

/** About 1 MiB of lines with one label. */
const MAX_CHANGES = 4_096;
/**
 * Sequence numbers begin at a random number. So a number from an earlier run of the daemon is not
 * mistaken for one of this run. The largest is far below 2^53.
 */
const FIRST_FROM = 2 ** 32;
const FIRST_BELOW = 2 ** 47;

export interface Change {
  readonly seq: number;
  readonly idI: number;
}

export class ChangeLog {
  readonly #capacity: number;
  readonly #ring: Uint32Array;
  #size = 0;
  #last: number;
  /** The latest change of each node in the ring. */
  readonly #latest = new Map<number, number>();

  constructor(capacity: number = MAX_CHANGES) {
    this.#capacity = capacity;
    this.#ring = new Uint32Array(capacity);
    this.#last = randomInt(FIRST_FROM, FIRST_BELOW);
  }

  /** The sequence number of the latest change, or where the numbers begin. */
  get last(): number {
    return this.#last;
  }

  /** Evicts the oldest change if the log is full. */
  append(idI: number): void {
    const seq = this.#last + 1;
    const slot = seq % this.#capacity;
    const evicted = this.#ring[slot]!;
    if (this.#size === this.#capacity) {
      if (this.#latest.get(evicted) === seq - this.#capacity) this.#latest.delete(evicted);
    } else {
      this.#size += 1;
    }
    this.#ring[slot] = idI;
    this.#latest.set(idI, seq);
    this.#last = seq;
  }

  /** Returns true if the log holds every change after `seq`. */
  covers(seq: number): boolean {
    return seq <= this.#last && seq >= this.#last - this.#size;
  }

  /** Returns the first change after `seq` that no later change of the same node replaces. */
  after(seq: number): Change | undefined {
    for (let next = seq + 1; next <= this.#last; next++) {
      const idI = this.#ring[next % this.#capacity]!;
      if (this.#latest.get(idI) === next) return { seq: next, idI };
    }
    return undefined;
  }
}
