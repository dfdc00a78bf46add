/** One timer for any number of deadlines: what is due is looked at once a tick. */

const TICK_MS = 50;
const SLOTS = 256;

/** Whatever waits. */
export interface Scheduled {
  /** When it is due, in ms of the monotonic clock; `Infinity`: not any more. */
  dueAt: number;
  /**
   * The wheel's own: the tick whose slot it stands in. A place it was given for a later tick counts
   * no more.
   */
  tick: number;
}

/** What has never been on a wheel. */
export const NO_TICK: number = Infinity;

export class TimerWheel<T extends Scheduled> {
  readonly #slots: T[][] = Array.from({ length: SLOTS }, () => []);
  readonly #onDue: (what: T) => void;
  readonly #timer: NodeJS.Timeout;
  #tick: number = Math.floor(performance.now() / TICK_MS);

  constructor(onDue: (what: T) => void) {
    this.#onDue = onDue;
    this.#timer = setInterval(() => this.advance(performance.now()), TICK_MS);
  }

  /**
   * To be called whenever `dueAt` was brought forward; one that was put off is found at its old
   * time, and put off then.
   */
  add(what: T): void {
    const ticks = Math.min(Math.max(Math.ceil(what.dueAt / TICK_MS) - this.#tick, 1), SLOTS - 1);
    const tick = this.#tick + ticks;
    if (tick >= what.tick) return;
    what.tick = tick;
    this.#slots[tick % SLOTS]?.push(what);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Up to `now`; its own timer calls it. */
  advance(now: number): void {
    const last = Math.floor(now / TICK_MS);
    while (this.#tick < last) {
      this.#tick += 1;
      const slot = this.#slots[this.#tick % SLOTS] ?? [];
      if (slot.length === 0) continue;
      this.#slots[this.#tick % SLOTS] = [];
      for (const what of slot) {
        if (what.tick !== this.#tick) continue;
        what.tick = NO_TICK;
        if (what.dueAt === Infinity) continue;
        if (what.dueAt <= now) this.#onDue(what);
        else this.add(what);
      }
    }
  }
}
