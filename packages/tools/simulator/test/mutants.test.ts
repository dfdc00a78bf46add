// Proves that the simulator finds faults: one of the first 2,000 seeds catches each mutant of the
// protocol, and not the profile. The seed that caught a mutant last is tried first;
// `pnpm simulate --mutants` searches all seeds (.ci/run). That the profile holds with the first 200
// seeds is what world.test.ts proves.

import { describe, expect, it } from 'vitest';
import type { Invariant } from '../src/simulation.js';
import { type Caught, firstCaught, type Mutant, MUTANTS } from '../src/mutants/index.js';
import { minimize } from '../src/minimize.js';
import { run } from '../src/run.js';
import { PROFILE_SEEDS } from './fixtures.js';
import knownSeeds from './known-seeds.json' with { type: 'json' };

const SEEDS = 2_000;
const INVARIANTS: readonly Invariant[] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 'liveness', 'acknowledged'];
/** By the mutant's name. `pnpm simulate --mutants` prints them. */
const KNOWN_SEEDS: Readonly<Record<string, number>> = knownSeeds;

async function caughtBy(mutant: Mutant): Promise<Caught | undefined> {
  const seed = KNOWN_SEEDS[mutant.name];
  const violation = seed === undefined ? undefined : (await run(seed, { rules: mutant.rules, worlds: mutant.worlds })).violation;
  return seed === undefined || violation === undefined ? firstCaught(mutant, SEEDS) : { seed, ...violation };
}

describe('each mutant is caught by a seed', () => {
  const broken = new Set<Invariant>();

  it.each(MUTANTS)('$name', async (mutant) => {
    const caught = await caughtBy(mutant);
    expect(INVARIANTS).toContain(caught?.invariant);
    broken.add(caught!.invariant);
    if (mutant.worlds === undefined && caught!.seed <= PROFILE_SEEDS) return;
    const { violation } = await run(caught!.seed, { worlds: mutant.worlds });
    expect(violation, 'the profile holds where its mutant does not').toBeUndefined();
  });

  it('and each invariant by a mutant', () => {
    expect(INVARIANTS.filter((invariant) => !broken.has(invariant))).toEqual([]);
  });
});

describe('a dishonest pass-through controller', () => {
  it.each([
    ["RN_c everywhere in place of RN_c'", 8, /known to a pass-through controller: c\d learns it from the key stream of M4/],
    ["RN_c' without TS", 1, /none that is K_i at the server/],
  ])('breaks an invariant by itself where the server has: %s', async (name, invariant, what) => {
    const mutant = MUTANTS.find((one) => one.name === name)!;
    const { violation } = await run(KNOWN_SEEDS[name]!, { rules: mutant.rules });
    expect(violation).toMatchObject({ invariant, what: expect.stringMatching(what) as string });
  });
});

it('a failure is told in few faults, which fail the same way', async () => {
  const mutant = MUTANTS.find(({ name }) => name === 'stale read for M2')!;
  const { rules } = mutant;
  const { seed } = (await caughtBy(mutant))!;
  const failed = await run(seed, { rules });
  const minimized = await minimize(failed, { rules });
  expect(minimized.violation?.invariant).toBe(failed.violation?.invariant);
  expect(minimized.faults.length).toBeLessThan(failed.faults.length);
  expect(minimized.log.length).toBeGreaterThan(0);
  expect((await run(seed, { rules, only: minimized.faults })).hash).toBe(minimized.hash);
});
