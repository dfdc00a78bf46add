/** Time, read in one place. */

import { CLOCK_STEP_PENALTY_MS, type Now } from '@latchkey/protocol';

/** The wall clock and the monotonic one, in ms. */
export function readClock(): Now {
  return { wall: Date.now(), steady: performance.now() };
}

/** The monotonic clock alone, in ms, from another origin than `performance.now()`: that takes a device 2 ms to load. */
export function steadyNow(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export type Clock = () => Now;

/** Less than this is the clock being slewed, not stepped, in ms. */
const STEP_MS = 1_000;

/**
 * Notices that the wall clock was set back: it then lags behind the most that it was ever ahead of the monotonic clock, by one step or
 * by many small ones. For five minutes after that an M7 could bear a time stamp that was taken before the step, so a server refuses M7 (profile, "Auth-server").
 */
export class ClockStepWatch {
  /** The most that the wall clock was ahead of the monotonic one, since it was last found set back. */
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
    const steppedBack = this.#ahead !== undefined && this.#ahead - ahead > STEP_MS;
    if (steppedBack) this.#steppedAt = now.steady;
    if (this.#ahead === undefined || ahead > this.#ahead || steppedBack) this.#ahead = ahead;
    return this.#steppedAt !== undefined && now.steady - this.#steppedAt < CLOCK_STEP_PENALTY_MS;
  }
}
