// Proves that no M7 kept back from before a break locks a node out, however clocks are set back; and that such worlds get to where it would: by
// the profile's five minutes alone, each of them locks nodes out.

import { describe, expect, it } from 'vitest';
import { mutantNamed } from '../src/mutants/index.ts';
import type { PlotName } from '../src/plots.ts';
import type { Rules } from '../src/rules.ts';
import { run } from '../src/world.ts';

const SEEDS = 200;

function violations(plot: PlotName, rules: Rules | undefined, enough: number): unknown[] {
  const found: unknown[] = [];
  for (let seed = 1; seed <= SEEDS && found.length < enough; seed++) {
    const { violation } = run(seed, { plot, ...(rules === undefined ? {} : { rules }) });
    if (violation !== undefined) found.push(violation.invariant);
  }
  return found;
}

describe.each<[string, PlotName, string]>([
  ['are set back together by minutes', 'setBackTogether', 'five minutes after a step back are enough'],
  ['are right but for a server that is set far back', 'setFarBack', 'five minutes after a step back are enough'],
  ['of a server are set back while it is down', 'setBackWhileDown', 'five minutes after a step back are enough'],
  ['stand still while the power is off', 'stoodStill', 'a clock that stood still while the machine was off is trusted'],
])('an attacker who has kept M7s back, where clocks %s,', (_, plot, mutant) => {
  it('locks no node out', () => {
    expect(violations(plot, undefined, 1)).toEqual([]);
  });

  it(`would if ${mutant}`, () => {
    expect(violations(plot, mutantNamed(mutant), 3)).toEqual([1, 1, 1]);
  });
});
