/**
 * Minimizes a failure: searches for a small set of faults that still causes it (ddmin, Zeller and
 * Hildebrandt 2002).
 */

import { type WorldResult, run, type RunOptions } from './run.js';

/** Runs that a search may cost. */
const MAX_RUNS = 600;

export async function minimize(failed: WorldResult, options: RunOptions = {}): Promise<WorldResult> {
  let best = failed;
  let runs = 0;
  /** Whether these faults alone break the same invariant. */
  const reproduces = async (only: readonly string[]): Promise<boolean> => {
    runs += 1;
    const outcome = await run(failed.seed, { ...options, only });
    if (outcome.violation?.invariant !== failed.violation?.invariant) return false;
    best = outcome;
    return true;
  };

  if (await reproduces([])) return traced(best, options);
  const isAffordable = (): boolean => runs < MAX_RUNS;
  let parts = 2;
  while (best.faults.length > 1 && isAffordable()) {
    const { faults } = best;
    const size = Math.ceil(faults.length / parts);
    const without = Array.from({ length: Math.ceil(faults.length / size) }, (_, i) => [
      ...faults.slice(0, i * size),
      ...faults.slice((i + 1) * size),
    ]);
    if (await isAnyTrue(without, async (only) => isAffordable() && (await reproduces(only)))) parts = Math.max(2, parts - 1);
    else if (size > 1) parts = Math.min(faults.length, 2 * parts);
    else break;
  }
  return traced(best, options);
}

/** As `some`. */
async function isAnyTrue<T>(values: readonly T[], isTrue: (value: T) => Promise<boolean>): Promise<boolean> {
  for (const value of values) if (await isTrue(value)) return true;
  return false;
}

function traced({ seed, faults }: WorldResult, options: RunOptions): Promise<WorldResult> {
  return run(seed, { ...options, only: faults, trace: true });
}
