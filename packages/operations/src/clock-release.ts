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
export function controllersWithOldKeys(registry: Registry): number[] {
  const replaced = new Set<string>();
  for (const { what, controller } of registry.audit.newestFirst()) {
    if (what === 'clock discontinuity') break;
    if (controller !== undefined && (what === 'controller key activated' || what === 'controller added'))
      replaced.add(controller);
  }
  return [...registry.controllers()].map(({ idC }) => idC).filter((idC) => !replaced.has(formatId(idC)));
}

/** M7s of those times count again. Gives what was released. */
export async function releaseRanges(registry: Registry, wall: number): Promise<readonly TimeRange[]> {
  const released = blockedRanges(registry.clockHistory, wall);
  if (released.length === 0) return released;
  await registry.releaseClockRanges(released);
  return released;
}
