/** Runs the world of a seed, and reports the result. */

import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { type DirectedScenarioName, withDirectedScenario } from './directed-scenarios.js';
import type { Oracle } from './oracle.js';
import { PROFILE, type Rules } from './rules.js';
import { generateScenario } from './scenario.js';
import { withSharedRegistry } from './shared-registry/scenario.js';
import { type Invariant, Simulation, Violation } from './simulation.js';
import { World } from './world.js';

/** `shared-registry`: several auth-servers on one registry, as in PostgreSQL. */
export const WORLD_KINDS = ['standard', 'shared-registry'] as const;
export type WorldKind = (typeof WORLD_KINDS)[number];

export interface RunOptions {
  /** Left out: `standard`. */
  readonly worlds?: WorldKind | undefined;
  readonly rules?: Rules;
  /** The one that every world has, instead of now and then any. */
  readonly directedScenario?: DirectedScenarioName;
  /** The only faults that may strike. */
  readonly only?: readonly string[] | undefined;
  readonly trace?: boolean;
}

export interface WorldResult {
  readonly seed: number;
  readonly violation: { readonly invariant: Invariant; readonly what: string } | undefined;
  readonly hash: string;
  readonly events: number;
  /** Faults that struck. */
  readonly faults: readonly string[];
  readonly counts: Oracle['counts'];
  /** How long after the end of faults the last honest node had joined, in ms. */
  readonly joinedAfterMs: number;
  readonly log: readonly string[];
}

/** Runs the world of one seed to its end, or to the first violation. */
export async function run(
  seed: number,
  { worlds = 'standard', rules = PROFILE, directedScenario, only, trace }: RunOptions = {},
): Promise<WorldResult> {
  const simulation = new Simulation(seed, { only, trace });
  const scenario =
    worlds === 'standard'
      ? withDirectedScenario(generateScenario(seed), new SeededRandom(seed, 'plot'), directedScenario)
      : withSharedRegistry(generateScenario(seed), new SeededRandom(seed, 'database'));
  const world = new World(simulation, rules, scenario);
  let violation: WorldResult['violation'];
  let joinedAfterMs = 0;
  try {
    joinedAfterMs = await world.run();
  } catch (error) {
    if (!(error instanceof Violation)) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      violation = { invariant: 'crash', what: `a role throws: ${text}` };
    } else violation = { invariant: error.invariant, what: error.message };
  } finally {
    await world.end();
  }
  const { hash, eventCount, trace: log } = simulation;
  return {
    seed,
    violation,
    hash,
    events: eventCount,
    faults: simulation.faults.triggered,
    counts: world.oracle.counts,
    joinedAfterMs,
    log: log ?? [],
  };
}
