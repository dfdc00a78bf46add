// Proves that the simulator finds faults: one of the first 2,000 seeds catches each mutant of the protocol, and not the
// profile.

import { describe, expect, it } from 'vitest';
import type { Invariant } from '../src/ground.ts';
import { firstCaught, MUTANTS } from '../src/mutants/index.ts';
import { minimize } from '../src/shorten.ts';
import { run } from '../src/world.ts';

const SEEDS = 2_000;
const INVARIANTS: readonly Invariant[] = [1, 2, 3, 4, 5, 6, 7, 'liveness'];

describe('each mutant is caught by a seed', () => {
  const broken = new Set<Invariant>();

  it.each(MUTANTS)(
    '$name',
    (mutant) => {
      const caught = firstCaught(mutant, SEEDS);
      expect(INVARIANTS).toContain(caught?.invariant);
      broken.add(caught!.invariant);
      expect(run(caught!.seed).violation, 'the profile holds where its mutant does not').toBeUndefined();
    },
    300_000,
  );

  it('and each invariant by a mutant', () => {
    expect(INVARIANTS.filter((invariant) => !broken.has(invariant))).toEqual([]);
  });
});

it('a failure is told in few faults, which fail the same way', () => {
  const mutant = MUTANTS.find(({ name }) => name === 'stale read for M2')!;
  const { rules } = mutant;
  const { seed } = firstCaught(mutant, SEEDS)!;
  const failed = run(seed, { rules });
  const minimized = minimize(failed, { rules });
  expect(minimized.violation?.invariant).toBe(failed.violation?.invariant);
  expect(minimized.faults.length).toBeLessThan(failed.faults.length);
  expect(minimized.log.length).toBeGreaterThan(0);
  expect(run(seed, { rules, only: minimized.faults }).hash).toBe(minimized.hash);
});
