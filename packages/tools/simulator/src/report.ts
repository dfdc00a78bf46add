/** What the command prints. */

import type { BatchResult } from './worker-pool.js';
import type { WorldResult } from './run.js';

/** `invariant 3`, or what else was promised. */
export function invariantName(violation: NonNullable<WorldResult['violation']>): string {
  const { invariant } = violation;
  return typeof invariant === 'number' ? `invariant ${invariant}` : invariant;
}

/**
 * Lines about a failure: the violation, the minimal faults, the trace, and the command to repeat
 * it.
 */
export function failureLines(failed: WorldResult, minimized: WorldResult, command: string): string[] {
  const { seed, violation, faults } = minimized;
  if (violation === undefined) return [];
  return [
    `seed ${seed} breaks ${invariantName(violation)}: ${violation.what}`,
    '',
    `${faults.length} of ${failed.faults.length} faults are enough:`,
    ...faults.map((fault) => `  ${fault}`),
    '',
    ...minimized.log,
    '',
    `again: ${command}`,
  ];
}

export function summary({ worlds, events, counts, longestMs }: BatchResult, from: number, seconds: number): string[] {
  const { commits, joins, promotions, replaced, waits, conflicts, expired, resets, heldOff } = counts;
  const { relayed, switched, dishonest } = counts;
  return [
    `${worlds} worlds, seeds ${from} to ${from + worlds - 1}, ${events} events in ${seconds.toFixed(1)} s: no invariant broken`,
    `  ${commits} commits, ${joins} joins, ${promotions} promotions, ${replaced} candidates replaced, ${waits} waits for one to grow old`,
    `  ${conflicts} commits that lost their comparison, ${expired} that came too late`,
    `  ${resets} nodes put back to their initial key, ${heldOff} requests held off that may have been from before`,
    `  ${relayed} M11 for pass-through controllers, ${switched} proofs of transactions under way at a switch, ${dishonest} acts of dishonest controllers`,
    `  all honest nodes had joined ${(longestMs / 1000).toFixed(0)} s after faults ended, at the latest`,
  ];
}
