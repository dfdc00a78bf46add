// What the test files share: worlds of one plot, and the invariants that break in them.

import { mutantNamed } from '../src/mutants/index.js';
import type { DirectedScenarioName } from '../src/directed-scenarios.js';
import { run } from '../src/world.js';

export const SEEDS = 200;

/**
 * The invariants that break in the worlds of a plot, by the rules of the profile or of a mutant; no
 * more than `enough`.
 */
export function violations(plot: DirectedScenarioName, mutant: string | undefined, enough: number): unknown[] {
  const rules = mutantNamed(mutant);
  const found: unknown[] = [];
  for (let seed = 1; seed <= SEEDS && found.length < enough; seed++) {
    const { violation } = run(seed, { directedScenario: plot, ...(rules === undefined ? {} : { rules }) });
    if (violation !== undefined) found.push(violation.invariant);
  }
  return found;
}
