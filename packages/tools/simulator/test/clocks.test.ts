// Proves that no M7 kept back from before a break locks a node out, however clocks are set back;
// and that such worlds get to where it would: by the profile's five minutes alone, each of them
// locks nodes out.

import { describe, expect, it } from 'vitest';
import type { DirectedScenarioName } from '../src/directed-scenarios.js';
import { violations } from './fixtures.js';

describe.each<[string, DirectedScenarioName, string]>([
  ['are set back together by minutes', 'setBackTogether', 'five minutes after a step back are enough'],
  ['are right but for a server that is set far back', 'setFarBack', 'five minutes after a step back are enough'],
  ['of a server are set back while it is down', 'setBackWhileDown', 'five minutes after a step back are enough'],
  ['stand still while the power is off', 'clockStopped', 'a clock that stood still while the machine was off is trusted'],
])('an attacker who has kept M7s back, where clocks %s,', (_, scenario, mutant) => {
  it('locks no node out', async () => {
    expect(await violations(scenario, undefined, 1)).toEqual([]);
  });

  it(`would if ${mutant}`, async () => {
    expect(await violations(scenario, mutant, 2)).toEqual([1, 1]);
  });
});
