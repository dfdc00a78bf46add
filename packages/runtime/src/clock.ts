/** Time, read in one place. */

import { CLOCK_STEP_PENALTY_MS, type Now } from '@latchkey/protocol';

/** The wall clock and the monotonic one, in ms. */
export function readClock(): Now {
  return { wall: Date.now(), steady: performance.now() };
}

export type Clock = () => Now;

/** Less than this is the clock being slewed, not stepped, in ms. */
const STEP_MS = 1_000;

/**
 * Notices that the wall clock was set back: it then lags behind what it and the monotonic clock said before. For five minutes
 * after that an M7 could bear a time stamp that was taken before the step, so a server refuses M7 (profile, "Auth-server").
 */
export class ClockStepWatch {
  #ahead: number | undefined;
  #steppedAt: number | undefined;

  /** @param lastWall the latest wall time known from an earlier run, ms since the epoch: also that must not lie ahead */
  constructor(start: Now, lastWall?: number) {
    if (lastWall !== undefined) this.#ahead = lastWall - start.steady;
    this.observe(start);
  }

  /** Takes note of the clocks and tells whether a step back is less than five minutes ago. */
  observe(now: Now): boolean {
    const ahead = now.wall - now.steady;
    if (this.#ahead !== undefined && this.#ahead - ahead > STEP_MS) this.#steppedAt = now.steady;
    this.#ahead = ahead;
    return this.#steppedAt !== undefined && now.steady - this.#steppedAt < CLOCK_STEP_PENALTY_MS;
  }
}
