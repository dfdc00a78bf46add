/** Event queue with simulated time: whole ms since the world began. Nothing waits in real time. */

interface ScheduledEvent {
  readonly at: number;
  /** What was put in first happens first. */
  readonly order: number;
  readonly action: () => void;
}

export class EventQueue {
  #now = 0;
  #order = 0;
  /** A binary heap, the next entry on top. */
  readonly #heap: ScheduledEvent[] = [];

  get now(): number {
    return this.#now;
  }

  /** `ms` from now, in whole ms. */
  schedule(ms: number, action: () => void): void {
    const entry = { at: this.#now + Math.max(0, Math.round(ms)), order: this.#order++, action };
    let at = this.#heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      this.#heap[at] = above;
      at = parent;
    }
    this.#heap[at] = entry;
  }

  /** Lets the next thing happen, unless that is later than `until`. */
  step(until: number): boolean {
    const [next] = this.#heap;
    if (next === undefined || next.at > until) {
      this.#now = Math.max(this.#now, until);
      return false;
    }
    this.#now = next.at;
    this.#removeTop();
    next.action();
    return true;
  }

  #removeTop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [this.#heap[child], this.#heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isBefore(right, left)) child += 1;
      const smaller = child === 2 * at + 1 ? left : right;
      if (smaller === undefined || !isBefore(smaller, last)) break;
      this.#heap[at] = smaller;
      at = child;
    }
    this.#heap[at] = last;
  }
}

function isBefore(a: ScheduledEvent, b: ScheduledEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
