/** Time, read in one place. */

import { CLOCK_STEP_HOLDOFF_MS, type Clocks } from '@latchkey/protocol';
import { lastShown, type Times } from './times.js';

/** The wall clock and the monotonic one, in ms; the latter runs on from one process to the next until the machine is started anew. */
export function readClock(): Clocks {
  return { wallMs: Date.now(), monotonicMs: Number(process.hrtime.bigint() / 1_000n) / 1_000 };
}

/** The monotonic clock alone, in ms, from another origin than `performance.now()`: that takes a device 2 ms to load. */
export function steadyNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export type Clock = () => Clocks;

/** Less than this is the clock being slewed, not stepped, in ms. */
const STEP_MS = 1_000;

/**
 * Notices that the wall clock was set back: it then lags behind the most that it was ever ahead of the monotonic clock, by one step or
 * by many small ones. For five minutes after that a server refuses M7 (profile, "Auth-server"). And counts the breaks, after which what the
 * clock showed before says nothing about when it was (times.ts): each step back, and a start of which nobody knows how much time had passed.
 */
export class ClockStepWatch {
  /** The most that the wall clock was ahead of the monotonic one, since it was last found set back. */
  #ahead: number;
  #setBackAt: number | undefined;
  #breaks = 0;

  constructor(start: Clocks, { kept, setBackAt }: Pick<Times, 'kept' | 'setBackAt'> = {}) {
    this.#ahead = start.wallMs - start.monotonicMs;
    if (kept === undefined) return;
    const before = kept.wallMs - kept.monotonicMs;
    const ranOn = start.monotonicMs >= kept.monotonicMs && Math.abs(this.#ahead - before) <= STEP_MS;
    if (ranOn) {
      this.#ahead = Math.max(this.#ahead, before);
      if (setBackAt !== undefined && setBackAt <= start.monotonicMs) this.#setBackAt = setBackAt;
      return;
    }
    this.#breaks = 1;
    // Of a machine that was started anew the monotonic clock tells nothing.
    const lags = start.monotonicMs >= kept.monotonicMs && this.#ahead < before;
    if (lags || start.wallMs < kept.wallMs - STEP_MS) this.#setBackAt = start.monotonicMs;
  }

  /** Takes note of the clocks and tells whether a step back is less than five minutes ago. */
  observe(now: Clocks): boolean {
    const ahead = now.wallMs - now.monotonicMs;
    if (this.#ahead - ahead > STEP_MS) {
      this.#setBackAt = now.monotonicMs;
      this.#breaks += 1;
      this.#ahead = ahead;
    }
    this.#ahead = Math.max(this.#ahead, ahead);
    return this.#setBackAt !== undefined && now.monotonicMs - this.#setBackAt < CLOCK_STEP_HOLDOFF_MS;
  }

  get breaks(): number {
    return this.#breaks;
  }

  /** When the last step back was noticed, by the monotonic clock. */
  get setBackAt(): number | undefined {
    return this.#setBackAt;
  }
}

/**
 * Returns the time by the clock that servers go by, in ms since the epoch, for a process that reads a clock of its own. No server has
 * given an M3 at a later one since the last break. Where the clock here is not the one that the servers kept (it was set meanwhile, or
 * the machine started anew), that is the end of what they kept, which may lie 60 s ahead.
 */
export function timeOfServers(times: Times, now: Clocks): number {
  return new ClockStepWatch(now, times).breaks === 0 ? now.wallMs : (lastShown(times) ?? now.wallMs);
}
