// Proves, for fixed seeds, that several auth-servers on one registry, as in PostgreSQL, break no
// invariant: commits in doubt, failovers that take back what was visible, servers that are killed,
// cut off and stopped. `mutants.test.ts` proves that these worlds find what they are made to find.

import { describe, expect, it } from 'vitest';
import { type WorldResult, run } from '../src/run.js';

/** `.ci/run` simulates new seeds. */
const FIRST = Number(process.env['LATCHKEY_WORLDS'] ?? 15);
/** And the first in which a node is reset while it is read. */
const RESET_BETWEEN_READS = 72;
/** And one in which commits lose their comparison. */
const CONFLICTS = 27;
const seeds = new Set([...Array.from({ length: FIRST }, (_, i) => i + 1), RESET_BETWEEN_READS, CONFLICTS]);
const outcomes = new Map<number, Promise<WorldResult>>();
function outcomeOf(seed: number): Promise<WorldResult> {
  const known = outcomes.get(seed) ?? run(seed, { worlds: 'shared-registry' });
  outcomes.set(seed, known);
  return known;
}

/** One world after another: each is in memory as it runs. */
async function allOutcomes(): Promise<WorldResult[]> {
  const all: WorldResult[] = [];
  for (const seed of seeds) all.push(await outcomeOf(seed));
  return all;
}

describe('worlds with a shared registry', () => {
  it('hold the invariants after every event, and every honest node joins once faults end', async () => {
    expect((await allOutcomes()).filter(({ violation }) => violation !== undefined)).toEqual([]);
  });

  it('reach what they are meant to reach', async () => {
    const all = await allOutcomes();
    const sum = (name: 'commits' | 'joins' | 'conflicts'): number => all.reduce((total, { counts }) => total + counts[name], 0);
    expect(sum('commits')).toBeGreaterThan(seeds.size);
    expect(sum('joins')).toBeGreaterThan(seeds.size);
    expect(sum('conflicts')).toBeGreaterThan(0);
    const struck = all.flatMap(({ faults }) => faults).join('\n');
    for (const fault of [
      /the primary is killed/,
      /the primary is power lost/,
      /the primary is cut off from standbys/,
      /without standbys and a restart/,
      /its names emptied/,
      /waits for them are cancelled/,
      /waits for them are terminated/,
      /no standby receives anything/,
      /a standby that lacks what was acknowledged is promoted/,
      /s\d is cut off from the (?:database|primary)/,
      /s\d is stopped for/,
      /is held up inside for/,
      /breaks its connection before the answer/,
      /is lost with its connection/,
      /the clock of db\d is/,
      /clock of s is/,
      /s\d step \d+ killed before/,
      /is reset, and c\d switched/,
    ])
      expect(struck).toMatch(fault);
  });

  it('are the same each time, and with the faults that struck', async () => {
    for (const seed of [2, 4]) {
      const { hash, events, faults } = await outcomeOf(seed);
      expect(await run(seed, { worlds: 'shared-registry', trace: true })).toMatchObject({ hash, events, faults });
      expect((await run(seed, { worlds: 'shared-registry', only: faults })).hash).toBe(hash);
    }
  });
});
