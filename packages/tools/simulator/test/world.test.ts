// Proves, for fixed seeds, that no invariant breaks and every honest node joins; that a seed is all
// there is to a world; and that the worlds get to the places where rules could break. CI runs new
// seeds each time (`pnpm simulate`).

import { describe, expect, it } from 'vitest';
import { generateScenario } from '../src/scenario.js';
import { type WorldResult, run } from '../src/run.js';
import { LIVENESS_MS } from '../src/world.js';
import { PROFILE_SEEDS } from './fixtures.js';

const outcomes = new Map<number, Promise<WorldResult>>();
/** Each world is run once, whoever asks first. */
function outcomeOf(seed: number): Promise<WorldResult> {
  const known = outcomes.get(seed) ?? run(seed);
  outcomes.set(seed, known);
  return known;
}
const seeds = Array.from({ length: PROFILE_SEEDS }, (_, i) => i + 1);

/** One world after another: each is in memory as it runs. */
async function allOutcomes(): Promise<WorldResult[]> {
  const all: WorldResult[] = [];
  for (const seed of seeds) all.push(await outcomeOf(seed));
  return all;
}

describe('two hundred worlds', () => {
  it('hold the invariants after every event, and every honest node joins once faults end', async () => {
    const all = await allOutcomes();
    expect(all.filter(({ violation }) => violation !== undefined)).toEqual([]);
    expect(Math.max(...all.map(({ joinedAfterMs }) => joinedAfterMs))).toBeLessThan(LIVENESS_MS);
  });

  it('have a node assigned as before where faults end in the middle of a restore, and it joins', async () => {
    expect((await run(18_342)).violation).toBeUndefined();
  });

  it('reach what they are meant to reach', async () => {
    const all = await allOutcomes();
    const total = {
      commits: 0,
      joins: 0,
      promotions: 0,
      replaced: 0,
      waits: 0,
      conflicts: 0,
      resets: 0,
      heldOff: 0,
      relayed: 0,
      dishonest: 0,
    };
    for (const { counts } of all) {
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += counts[name];
    }
    expect(Object.entries(total).filter(([, count]) => count < 20)).toEqual([]);
    const struck = all.flatMap(({ faults }) => faults).join('\n');
    for (const fault of [
      /M\d lost/,
      /M\d doubled/,
      /M\d held for/,
      /M\d corrupted/,
      /M\d misrouted/,
      /M1 rewritten/,
      /n\d step \d+ killed before/,
      /c\d step \d+ power lost before/,
      /s\d step \d+ killed before/,
      /disk step \d+ fails/,
      /w\d+ waits/,
      /w\d+ syncs/,
      /w\d+ refused by the disk/,
      /clock of s is/,
      /clock of c\d is/,
      /clock of n\d is/,
      /with its clock at nought/,
      /loses its folder/,
      /is switched off/,
      /is assigned to/,
      /c\d is switched to pass-through (?:on|off)/,
      /c\d act \d+: steers n\d/,
      /c\d act \d+: keeps M7 of n\d back/,
      /c\d act \d+: varies M[27]/,
      /is installed again/,
      /n\d boot \d+ ends after/,
      /n\d is disabled for/,
      /commit \d+: n\d is (?:disabled|assigned to c\d) after/,
      /M1[23] lost/,
      /M1[23] held for/,
      /no M12, M13 arrives/,
      /write \d+ of application roots fails/,
      /is put back to its initial key \(reset, device first\)/,
      /is put back to its initial key \(import, registry first\)/,
      /the registry is restored/,
      /n\d sleeps/,
      /x turn \d+: (?:replay|splice|forge|flood|outcome|commits|confirmations|own controller)/,
      /x reaction \d+/,
    ])
      expect(struck).toMatch(fault);
  });

  it('are of every kind', () => {
    const scenarios = seeds.map((seed) => generateScenario(seed));
    for (const kind of [
      scenarios.some(({ combined }) => combined),
      scenarios.some(({ keyFeed }) => keyFeed !== undefined),
      scenarios.some(({ keyFeed, combined }) => keyFeed !== undefined && combined),
      scenarios.some(({ rogue }) => rogue),
      scenarios.some(({ dishonest }) => dishonest !== undefined),
      scenarios.some(({ passThrough, controllers }) => passThrough.length > 0 && passThrough.length < controllers.length),
      scenarios.some(({ controllers }) => controllers.length === 3),
      scenarios.some(({ replicas }) => replicas === 3),
      scenarios.some(({ nodes }) => nodes.some(({ compromised }) => compromised)),
      scenarios.some(({ nodes }) => new Set(nodes.map(({ ik }) => ik)).size < nodes.length),
      scenarios.some(({ nodes }) => nodes.some(({ controllers }) => controllers === 'any')),
      scenarios.some(({ attacker }) => attacker?.persistsWith === 'flood'),
      scenarios.some(({ attacker }) => attacker?.persistsWith === 'wrong proofs'),
    ])
      expect(kind).toBe(true);
  });
});

describe('a seed', () => {
  it('gives the same world each time, traced or not', async () => {
    for (const seed of [3, 14, 159]) {
      const { hash, events, faults } = await outcomeOf(seed);
      expect(await run(seed)).toMatchObject({ hash, events, faults });
      expect(await run(seed, { trace: true })).toMatchObject({ hash, events, faults });
    }
  });

  it('gives another world than the next', async () => {
    expect(new Set((await allOutcomes()).map(({ hash }) => hash)).size).toBe(PROFILE_SEEDS);
  });

  it('and all the faults that struck give the same world again', async () => {
    for (const seed of [3, 14, 159]) {
      const { hash, faults } = await outcomeOf(seed);
      expect((await run(seed, { only: faults })).hash).toBe(hash);
    }
  });
});
