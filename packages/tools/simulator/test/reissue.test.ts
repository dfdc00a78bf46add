// Proves that no M7 from before locks a node out once an administrator has put it back to its
// initial key, or the registry to a backup; and that such worlds get to where it would: with any
// part of the rule left out, some of them lock nodes out.

import { describe, expect, it } from 'vitest';
import type { DirectedScenarioName } from '../src/directed-scenarios.js';
import { run, type WorldResult } from '../src/run.js';
import { violations, WORLDS } from './fixtures.js';

describe.each<[string, DirectedScenarioName, readonly string[]]>([
  [
    'nodes are put back to their initial keys',
    'resetSoon',
    [
      'an initial key given again without a wait',
      'what bears a TS from before a reset refused, and no more',
      'that a key was given again not compared in the commit',
      'the key of a removed node forgotten at once',
    ],
  ],
  ['a registry is restored', 'restoredSoon', ['a registry restored without a wait']],
])('an attacker who sends recorded M7s again as %s', (_, plot, mutants) => {
  it('locks no node out, and some of those M7s are held off', async () => {
    const outcomes: WorldResult[] = [];
    for (let seed = 1; seed <= WORLDS; seed++) outcomes.push(await run(seed, { directedScenario: plot }));
    expect(outcomes.filter(({ violation }) => violation !== undefined)).toEqual([]);
    const reached = outcomes.filter(({ counts: { resets, heldOff } }) => resets > 0 && heldOff > 0);
    expect(reached.length).toBeGreaterThan(WORLDS / 4);
  });

  it.each(mutants)('would by this mutant: %s', async (mutant) => {
    expect(await violations(plot, mutant, 3)).toEqual([1, 1, 1]);
  });
});
