/** Times that the clock showed before a break, and the way to commit M7s of such times again (runtime, times.ts). */

import { pastOf, type Span, type Times } from '@latchkey/runtime';
import { formatId } from '@latchkey/protocol';
import type { Registry } from './registry.js';

/** Those that the clock has not yet left behind: now, or once it comes to them, no key is committed. */
export function pastAhead({ past }: Times, wall: number): readonly Span[] {
  return past.filter((span) => span.until >= wall || pastOf({ past: [span] }, wall) !== undefined);
}

/**
 * Controllers that still use an SK_cs from before the last break. What was sealed under one that was replaced since opens no more, so that of
 * all others no M7 from before can be kept back.
 */
export function keysFromBefore(registry: Registry): number[] {
  const replaced = new Set<string>();
  for (const { what, controller } of registry.audit.latestFirst()) {
    if (what === 'clock break') break;
    if (controller !== undefined && (what === 'controller key changed' || what === 'controller added')) replaced.add(controller);
  }
  return [...registry.controllers()].map(({ idC }) => idC).filter((idC) => !replaced.has(formatId(idC)));
}

/** M7s of those times count again. Gives what was released. */
export async function releasePast(registry: Registry, wall: number): Promise<readonly Span[]> {
  const released = pastAhead(registry.times, wall);
  if (released.length === 0) return released;
  await registry.releaseTimes(released);
  return released;
}
