/** Reads the clocks, and detects a wall clock that was set back. */

import { CLOCK_STEP_HOLDOFF_MS, type Clocks, latestCovered, type ClockHistory } from '@latchkey/protocol';

/**
 * The wall clock and the monotonic clock, in ms. The monotonic clock is the same for all processes,
 * and starts again when the machine boots.
 */
export function readClock(): Clocks {
  return { wallMs: Date.now(), monotonicMs: Number(process.hrtime.bigint() / 1_000n) / 1_000 };
}

/**
 * Returns the monotonic clock only, in ms. Its origin differs from that of `performance.now()`,
 * which takes a device 2 ms to load.
 */
export function monotonicNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export type Clock = () => Clocks;

/** A smaller change is NTP slewing the clock, not a step, in ms. */
const STEP_MS = 1_000;

/**
 * Detects that the wall clock was set back, in one step or in many small ones, by comparing (wall -
 * monotonic) with the largest value seen so far. For five minutes after that a server refuses M7
 * (profile, "Auth-server"). Also counts discontinuities: each backward step, and each start after
 * an unknown downtime. Earlier times of the clock say nothing about times after a discontinuity
 * (clock-history.ts).
 */
export class ClockStepDetector {
  /** The largest (wall - monotonic) since the last backward step. */
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
    // After a reboot the monotonic clock cannot be compared with that of before.
    const lags = start.monotonicMs >= savedAt.monotonicMs && this.#maxOffset < savedOffset;
    if (lags || start.wallMs < savedAt.wallMs - STEP_MS) this.#steppedBackAt = start.monotonicMs;
  }

  /** Records the clocks. Returns true if a backward step is less than five minutes ago. */
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
 * Returns the servers' time, in ms since the epoch, to a process that reads the clock itself. No
 * server has sent an M3 at a later time since the last discontinuity. If the clock was set, or the
 * machine rebooted, since the servers stored their times, that is the end of the stored times,
 * which may be 60 s ahead.
 */
export function serverTime(history: ClockHistory, now: Clocks): number {
  return new ClockStepDetector(now, history).discontinuities === 0 ? now.wallMs : (latestCovered(history) ?? now.wallMs);
}
