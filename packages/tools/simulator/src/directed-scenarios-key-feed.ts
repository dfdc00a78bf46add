/**
 * Troubles of the key feed that have to come together. They are for worlds whose controllers follow
 * it.
 */

import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { KINDS, type Kind } from './network.js';
import type { Incident, Scenario } from './scenario.js';

const CALM = { probabilityPerStep: 0, hotStep: undefined, powerLossProbability: 0, downtimeMs: [200, 2_000] } as const;

/**
 * Joins of which a controller learns after the feed has told of what came after them: M8 is on its
 * way for almost as long as the controller waits for it on one socket, which is 4 s, while the node
 * is disabled or moved, or the registry is restored to before the join. Refusals do not arrive: a
 * copy of M7 would end the transaction. Devices stay as they are for a minute then, so that no
 * other join covers it up.
 */
export function lateJoins(scenario: Scenario, random: SeededRandom): Scenario {
  const isRestored = random.below(2) === 0;
  const at = random.between(30_000, 60_000);
  const restore: Incident = {
    at,
    what: 'restore',
    ageMs: at - random.below(10_000),
    downMs: random.between(100, 1_000),
    gapMs: 60_000,
    afterCommit: true,
  };
  const lost = Object.fromEntries(KINDS.map((kind) => [kind, kind === 'M9' ? 1 : 0])) as Record<Kind, number>;
  return {
    ...scenario,
    keyFeed: { changesAfterCommit: isRestored ? 0 : 1 },
    nodes: scenario.nodes.map((node) => ({ ...node, lifetime: 90, diskErrorProbability: 0 })),
    passThrough: [],
    dishonest: undefined,
    rogue: false,
    combined: false,
    replicas: 1,
    faultPhaseMs: 300_000,
    networkConditions: {
      ...scenario.networkConditions,
      lost,
      blackout: undefined,
      doubled: 0,
      corrupted: 0,
      misrouted: 0,
      rewritten: 0,
      delayed: { kinds: ['M8'], probability: 0.7, ms: [2_000, 3_900] },
      // M12 and M13 that are on their way for long, too, meet the M8 of a join.
      feed: { lost: 0, delayed: { probability: random.pick([0, 0.7]), ms: [1_000, 3_800] }, blackout: undefined },
    },
    storeConditions: { stallProbability: 0, stallMs: [0], failureProbability: 0 },
    crashModels: { node: CALM, controller: CALM, server: CALM },
    diskErrorProbability: 0,
    skews: scenario.skews.map(() => 0),
    incidents: isRestored ? [restore] : [],
    attacker: undefined,
    suspending: undefined,
    bootsAtEpoch: [],
  };
}
