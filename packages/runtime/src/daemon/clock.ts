/** Time, read in one place. */

import { CLOCK_STEP_HOLDOFF_MS, type Clocks, latestCovered, type ClockHistory } from '@latchkey/protocol';

/**
 * The wall clock and the monotonic one, in ms; the latter runs on from one process to the next
 * until the machine is started anew.
 */
export function readClock(): Clocks {
  return { wallMs: Date.now(), monotonicMs: Number(process.hrtime.bigint() / 1_000n) / 1_000 };
}

/**
 * The monotonic clock alone, in ms, from another origin than `performance.now()`: that takes a
 * device 2 ms to load.
 */
export function monotonicNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export type Clock = () => Clocks;

/** Less than this is the clock being slewed, not stepped, in ms. */
const STEP_MS = 1_000;

/**
 * Notices that the wall clock was set back: it then lags behind the most that it was ever ahead of
 * the monotonic clock, by one step or by many small ones. For five minutes after that a server
 * refuses M7 (profile, "Auth-server"). And counts the breaks, after which what the clock showed
 * before says nothing about when it was (times.ts): each step back, and a start of which nobody
 * knows how much time had passed.
 */
export class ClockStepDetector {
  /**
   * The most that the wall clock was ahead of the monotonic one, since it was last found set back.
   */
  #maxOffset: number;
  #steppedBackAt: number | undefined;
  #discontinuities = 0;

  constructor(start: Clocks, { savedAt, steppedBackAt }: Pick<ClockHistory, 'savedAt' | 'steppedBackAt'> = {}) {
    this.#maxOffset = start.wallMs - start.monotonicMs;
    if (savedAt === undefined) return;
    const savedOffset = savedAt.wallMs - savedAt.monotonicMs;
    const continuous = start.monotonicMs >= savedAt.monotonicMs && Math.abs(this.#maxOffset - savedOffset) <= STEP_MS;
    if (continuous) {
      this.#maxOffset = Math.max(this.#maxOffset, savedOffset);
      if (steppedBackAt !== undefined && steppedBackAt <= start.monotonicMs) this.#steppedBackAt = steppedBackAt;
      return;
    }
    this.#discontinuities = 1;
    // Of a machine that was started anew the monotonic clock tells nothing.
    const lags = start.monotonicMs >= savedAt.monotonicMs && this.#maxOffset < savedOffset;
    if (lags || start.wallMs < savedAt.wallMs - STEP_MS) this.#steppedBackAt = start.monotonicMs;
  }

  /** Takes note of the clocks and tells whether a step back is less than five minutes ago. */
  observe(now: Clocks): boolean {
    const offset = now.wallMs - now.monotonicMs;
    if (this.#maxOffset - offset > STEP_MS) {
      this.#steppedBackAt = now.monotonicMs;
      this.#discontinuities += 1;
      this.#maxOffset = offset;
    }
    this.#maxOffset = Math.max(this.#maxOffset, offset);
    return this.#steppedBackAt !== undefined && now.monotonicMs - this.#steppedBackAt < CLOCK_STEP_HOLDOFF_MS;
  }

  get discontinuities(): number {
    return this.#discontinuities;
  }

  /** When the last step back was noticed, by the monotonic clock. */
  get steppedBackAt(): number | undefined {
    return this.#steppedBackAt;
  }
}

/**
 * Returns the time by the clock that servers go by, in ms since the epoch, for a process that reads
 * a clock of its own. No server has given an M3 at a later one since the last break. Where the
 * clock here is not the one that the servers kept (it was set meanwhile, or the machine started
 * anew), that is the end of what they kept, which may lie 60 s ahead.
 */
export function serverTime(history: ClockHistory, now: Clocks): number {
  return new ClockStepDetector(now, history).discontinuities === 0 ? now.wallMs : (latestCovered(history) ?? now.wallMs);
}
