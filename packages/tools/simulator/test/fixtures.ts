// What the test files share: worlds of one plot, and the invariants that break in them.

import { mutantNamed } from '../src/mutants/index.js';
import type { DirectedScenarioName } from '../src/directed-scenarios.js';
import { run } from '../src/run.js';

/** `world.test.ts` plays the worlds of so many seeds by the rules of the profile. */
export const PROFILE_SEEDS = 200;
/** Worlds of a plot in which nothing may break: `.ci/run` simulates more. */
export const WORLDS = Number(process.env['LATCHKEY_WORLDS'] ?? 25);
/** Worlds of a plot in which a mutant is to break something. */
const MUTANT_WORLDS = 200;

/**
 * The invariants that break in the worlds of a plot, by the rules of the profile or of a mutant; no
 * more than `enough`.
 */
export async function violations(plot: DirectedScenarioName, mutant: string | undefined, enough: number): Promise<unknown[]> {
  const worlds = mutant === undefined ? WORLDS : MUTANT_WORLDS;
  const rules = mutantNamed(mutant);
  const found: unknown[] = [];
  for (let seed = 1; seed <= worlds && found.length < enough; seed++) {
    const { violation } = await run(seed, { directedScenario: plot, ...(rules === undefined ? {} : { rules }) });
    if (violation !== undefined) found.push(violation.invariant);
  }
  return found;
}
