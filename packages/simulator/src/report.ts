/** What the command prints. */

import type { BatchResult } from './farm.js';
import type { Outcome } from './world.js';

/** `invariant 3`, or what else was promised. */
export function promiseOf(violation: NonNullable<Outcome['violation']>): string {
  const { invariant } = violation;
  return typeof invariant === 'number' ? `invariant ${invariant}` : invariant;
}

/** Lines about a failure: what broke, which faults are enough, what happened, how to see it again. */
export function failureLines(failed: Outcome, short: Outcome, command: string): string[] {
  const { seed, violation, faults } = short;
  if (violation === undefined) return [];
  return [
    `seed ${seed} breaks ${promiseOf(violation)}: ${violation.what}`,
    '',
    `${faults.length} of ${failed.faults.length} faults are enough:`,
    ...faults.map((fault) => `  ${fault}`),
    '',
    ...short.log,
    '',
    `again: ${command}`,
  ];
}

export function summary({ worlds, events, counts, longestMs }: BatchResult, from: number, seconds: number): string[] {
  const { commits, joins, promotions, replaced, waits, lostComparisons, late, resets, heldOff } = counts;
  return [
    `${worlds} worlds, seeds ${from} to ${from + worlds - 1}, ${events} events in ${seconds.toFixed(1)} s: no invariant broken`,
    `  ${commits} commits, ${joins} joins, ${promotions} promotions, ${replaced} candidates replaced, ${waits} waits for one to grow old`,
    `  ${lostComparisons} commits that lost their comparison, ${late} that came too late`,
    `  ${resets} nodes put back to their initial key, ${heldOff} requests held off that may have been from before`,
    `  all honest nodes had joined ${(longestMs / 1000).toFixed(0)} s after faults ended, at the latest`,
  ];
}
