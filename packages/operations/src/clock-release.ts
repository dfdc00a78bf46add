/**
 * Times that the clock showed before a break, and the way to commit M7s of such times again
 * (runtime, times.ts).
 */

import { ClockStepDetector } from '@latchkey/runtime/daemon';
import {
  findPreviousRange,
  type TimeRange,
  type ClockHistory,
  CLOCK_STEP_HOLDOFF_MS,
  formatId,
  type Clocks,
} from '@latchkey/protocol';
import type { Registry } from '@latchkey/registry';

/**
 * Returns the ranges that the clock has not passed yet. While the clock is in one of them, no key
 * is committed.
 */
export function blockedRanges({ previous }: ClockHistory, wall: number): readonly TimeRange[] {
  return previous.filter((span) => span.until >= wall || findPreviousRange({ previous: [span] }, wall) !== undefined);
}

/**
 * Returns the end of the five-minute hold-off after a backward clock step, in ms since the epoch.
 * Returns `undefined` if none is active. A server has noticed the step, or will at its start. No
 * command shortens the hold-off.
 */
export function holdoffUntil(history: ClockHistory, now: Clocks): number | undefined {
  const { steppedBackAt: detected = -Infinity } = new ClockStepDetector(now, history);
  const { steppedBackAt: recorded = -Infinity } = history;
  // A value in the future comes from the monotonic clock of an earlier boot; ignore it.
  const setBackAt = Math.max(detected, recorded <= now.monotonicMs ? recorded : -Infinity);
  const remainingMs = setBackAt + CLOCK_STEP_HOLDOFF_MS - now.monotonicMs;
  return remainingMs > 0 ? now.wallMs + remainingMs : undefined;
}

/**
 * Returns the controllers that still use an SK_cs from before the last discontinuity. A message
 * under a replaced SK_cs does not decrypt any more. So only these controllers can have a delayed M7
 * from before.
 */
export async function controllersWithOldKeys(registry: Registry): Promise<number[]> {
  const replaced = await replacedSinceBreak(registry);
  // Read last: a controller whose key is replaced in the meantime is then named, which is only a
  // superfluous warning.
  const controllers = await registry.controllers();
  return controllers.map(({ idC }) => idC).filter((idC) => !replaced.has(formatId(idC)));
}

async function replacedSinceBreak(registry: Registry): Promise<ReadonlySet<string>> {
  const replaced = new Set<string>();
  for await (const page of registry.audit.newestFirst())
    for (const { what, controller } of page) {
      if (what === 'clock discontinuity') return replaced;
      if (controller !== undefined && (what === 'controller key activated' || what === 'controller added'))
        replaced.add(controller);
    }
  return replaced;
}

/**
 * Accepts M7s of these times again. Returns the released ranges.
 *
 * @param among ranges that the administrator was shown: a later range stays blocked
 */
export async function releaseRanges(
  registry: Registry,
  wall: number,
  among?: readonly TimeRange[],
): Promise<readonly TimeRange[]> {
  const isShown = ({ from, until }: TimeRange): boolean =>
    among === undefined || among.some((range) => range.from === from && range.until === until);
  return registry.releaseClockRanges((history) => blockedRanges(history, wall).filter(isShown));
}
