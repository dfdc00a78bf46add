// Proves that no device lets its key get past its grace however often its power is cut and whatever
// its clock shows; and that in such worlds most did when powered time was saved only
// with attempts, under each kind of clock, with an agent and with a timer.

import { describe, expect, it } from 'vitest';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { mutantNamed } from '../src/mutants/index.js';
import { withDirectedScenario } from '../src/directed-scenarios.js';
import { generateScenario } from '../src/scenario.js';
import { run } from '../src/world.js';

const WORLDS = Number(process.env['LATCHKEY_WORLDS'] ?? 90);
const seeds = Array.from({ length: WORLDS }, (_, i) => i + 1);

/** The worlds that break a promise, and which. */
async function broken(mutant: string | undefined): Promise<{ seed: number; invariant: unknown }[]> {
  const rules = mutantNamed(mutant);
  const found: { seed: number; invariant: unknown }[] = [];
  for (const seed of seeds) {
    const { violation } = await run(seed, { directedScenario: 'powerCuts', ...(rules === undefined ? {} : { rules }) });
    if (violation !== undefined) found.push({ seed, invariant: violation.invariant });
  }
  return found;
}

function kindOf(seed: number): string {
  const { powerCuts } = withDirectedScenario(generateScenario(seed), new SeededRandom(seed, 'plot'), 'powerCuts');
  return `${powerCuts?.clock}, ${powerCuts?.lookEveryMs === undefined ? 'agent' : 'timer'}`;
}

const BAD_CLOCKS = ['ahead as it joins', 'the same at each boot', 'stopped'];

describe('devices whose power is cut again and again', () => {
  it('renew their keys in time', async () => {
    expect(await broken(undefined)).toEqual([]);
  });

  it.each(['powered time saved with attempts only', 'a boot counts for no time'])('would not if %s', async (mutant) => {
    const failed = await broken(mutant);
    expect(new Set(failed.map(({ invariant }) => invariant))).toEqual(new Set(['liveness']));
    expect(failed.length).toBeGreaterThan(seeds.length / 3);
    const kinds = new Set(failed.map(({ seed }) => kindOf(seed)));
    expect(BAD_CLOCKS.flatMap((clock) => [`${clock}, agent`, `${clock}, timer`]).filter((kind) => !kinds.has(kind))).toEqual([]);
  });
});
