// Proves that no device lets its key get past its grace however often its power is cut and whatever
// its clock shows; and that in such worlds most did when powered time was saved only
// with attempts, under each kind of clock, with an agent and with a timer.

import { describe, expect, it } from 'vitest';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { mutantNamed } from '../src/mutants/index.js';
import { withDirectedScenario } from '../src/directed-scenarios.js';
import { generateScenario } from '../src/scenario.js';
import { run } from '../src/run.js';

/** Worlds in which nothing may break: some with each clock and each way. `.ci/run` plays more. */
const WORLDS = Number(process.env['LATCHKEY_WORLDS'] ?? 45);
/** Worlds of which a mutant is to break promises in a third; then some of each kind it has not. */
const MUTANT_WORLDS = 30;
const MORE_MUTANT_WORLDS = 90;

/** The promise that a world breaks. */
async function broken(seed: number, mutant?: string): Promise<unknown> {
  const rules = mutantNamed(mutant);
  const { violation } = await run(seed, { directedScenario: 'powerCuts', ...(rules === undefined ? {} : { rules }) });
  return violation?.invariant;
}

function kindOf(seed: number): string {
  const { powerCuts } = withDirectedScenario(generateScenario(seed), new SeededRandom(seed, 'plot'), 'powerCuts');
  return `${powerCuts?.clock}, ${powerCuts?.lookEveryMs === undefined ? 'agent' : 'timer'}`;
}

const BAD_CLOCKS = ['ahead as it joins', 'the same at each boot', 'stopped'];
const BAD_KINDS = BAD_CLOCKS.flatMap((clock) => [`${clock}, agent`, `${clock}, timer`]);

describe('devices whose power is cut again and again', () => {
  it('renew their keys in time', async () => {
    for (let seed = 1; seed <= WORLDS; seed++) expect(await broken(seed), `seed ${seed}`).toBeUndefined();
  });

  it.each(['powered time saved with attempts only', 'a boot counts for no time'])('would not if %s', async (mutant) => {
    const invariants = new Set<unknown>();
    const missing = new Set(BAD_KINDS);
    let [played, failed] = [0, 0];
    for (let seed = 1; seed <= MORE_MUTANT_WORLDS; seed++) {
      if (seed > MUTANT_WORLDS && !missing.has(kindOf(seed))) continue;
      played += 1;
      const invariant = await broken(seed, mutant);
      if (invariant === undefined) continue;
      failed += 1;
      invariants.add(invariant);
      missing.delete(kindOf(seed));
    }
    expect(missing).toEqual(new Set());
    expect(invariants).toEqual(new Set(['liveness']));
    expect(failed).toBeGreaterThan(played / 3);
  });
});
