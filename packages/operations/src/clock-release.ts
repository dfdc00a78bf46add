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
 * Those that the clock has not yet left behind: now, or once it comes to them, no key is committed.
 */
export function blockedRanges({ previous }: ClockHistory, wall: number): readonly TimeRange[] {
  return previous.filter((span) => span.until >= wall || findPreviousRange({ previous: [span] }, wall) !== undefined);
}

/**
 * Until when nothing at all is committed, ms since the epoch: a step back is less than five minutes
 * ago, which a server has noticed, or will notice as it starts. No command shortens that.
 */
export function holdoffUntil(history: ClockHistory, now: Clocks): number | undefined {
  const { steppedBackAt: detected = -Infinity } = new ClockStepDetector(now, history);
  const { steppedBackAt: recorded = -Infinity } = history;
  // One that lies ahead is of a monotonic clock from before the machine was started anew.
  const setBackAt = Math.max(detected, recorded <= now.monotonicMs ? recorded : -Infinity);
  const remainingMs = setBackAt + CLOCK_STEP_HOLDOFF_MS - now.monotonicMs;
  return remainingMs > 0 ? now.wallMs + remainingMs : undefined;
}

/**
 * Controllers that still use an SK_cs from before the last break. What was sealed under one that
 * was replaced since opens no more, so that of all others no M7 from before can be kept back.
 */
export async function controllersWithOldKeys(registry: Registry): Promise<number[]> {
  const replaced = await replacedSinceBreak(registry);
  // Read last: a controller whose key is replaced meanwhile is named, which only warns once more.
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
 * M7s of those times count again. Gives what was released.
 *
 * @param among what an administrator was shown: a range that came since stays
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
