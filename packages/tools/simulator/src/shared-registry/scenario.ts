/**
 * Worlds whose auth-servers share a registry, as in PostgreSQL, with faults of its database in
 * addition to those of any world. Some are directed scenarios, in which several faults coincide.
 */

import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { type Kind, KINDS } from '../network.js';
import type { CrashModel } from '../process.js';
import { type Incident, ROGUE_IDC, type Scenario } from '../scenario.js';
import type { DatabaseIncident } from './cluster.js';
import type { SharedScenario } from './conditions.js';

/** No world with a database has trouble for longer than this, in ms. */
const MAX_FAULT_PHASE_MS = 420_000;

const CALM = { probabilityPerStep: 0, hotStep: undefined, powerLossProbability: 0, downtimeMs: [200, 2_000] } as const;
/** A node's machine fails soon after each M5, and it tries again at once. */
const HASTY: CrashModel = {
  probabilityPerStep: 0,
  hotStep: { step: 'retransmits', probability: 0.8 },
  powerLossProbability: 0,
  downtimeMs: [200, 2_000],
};
const NONE_LOST = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;

type Plot = (scenario: Scenario, random: SeededRandom) => Scenario;

/** The world of a seed, on a shared registry. */
export function withSharedRegistry(scenario: Scenario, random: SeededRandom): Scenario {
  const faultPhaseMs = Math.min(scenario.faultPhaseMs, random.pick([90_000, 150_000, 240_000, MAX_FAULT_PHASE_MS]));
  const base: Scenario = {
    ...scenario,
    combined: false,
    replicas: random.pick([2, 2, 3]),
    faultPhaseMs,
    storeConditions: { stallProbability: 0, stallMs: [0], failureProbability: 0 },
    incidents: scenario.incidents.filter(({ what, at }) => what !== 'restore' && at < faultPhaseMs),
    powerCuts: undefined,
    shared: {
      link: {
        probability: random.pick([0, 0, 0.002, 0.01, 0.03]),
        heldMs: random.pick([
          [100, 1_000],
          [1_500, 2_500, 6_000],
          [3_000, 9_000, 20_000],
        ]),
      },
      incidents: drawIncidents(random, faultPhaseMs),
    },
  };
  const plot = random.pick(PLOTS);
  return random.uniform() < 0.5 ? plot(base, random) : base;
}

function drawIncidents(random: SeededRandom, faultPhaseMs: number): DatabaseIncident[] {
  const incidents: DatabaseIncident[] = [];
  const at = (): number => random.below(faultPhaseMs);
  const times = (probability: number, most: number): number => (random.uniform() < probability ? random.between(1, most) : 0);
  const server = (): number => random.below(3);
  for (let i = times(0.7, 4); i > 0; i--) incidents.push({ at: at(), ...drawFailover(random) });
  for (let i = times(0.2, 2); i > 0; i--) incidents.push({ at: at(), what: 'restart', downMs: random.between(500, 8_000) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'blind', ms: random.pick([500, 2_000, 6_000, 12_000]) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({
      at: at(),
      what: 'waits cancelled',
      terminated: random.below(2) === 0,
      blindMs: random.pick([200, 1_000, 2_500]),
      onJoin: random.below(2) === 0,
    });
  for (let i = times(0.4, 4); i > 0; i--)
    incidents.push({
      at: at(),
      what: 'cut',
      server: server(),
      ms: random.pick([1_500, 4_000, 20_000]),
      all: random.below(2) === 0,
    });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'stall', server: server(), ms: random.pick([1_000, 3_000, 10_000, 40_000]) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'late half', server: server(), ms: random.pick([1_000, 3_000, 9_000, 20_000]) });
  if (random.below(4) === 0) incidents.push({ at: at(), what: 'slow reads', ms: 20_000 });
  for (let i = times(0.25, 2); i > 0; i--)
    incidents.push({
      at: at(),
      what: 'machine clock',
      host: random.below(3),
      error: random.pick([-400_000, -30_000, -1_500, 1_500, 30_000]),
    });
  return incidents;
}

type Failover = Extract<DatabaseIncident, { what: 'failover' }>;

function drawFailover(random: SeededRandom): Omit<Failover, 'at'> {
  return {
    what: 'failover',
    how: random.pick(['killed', 'killed', 'power lost', 'cut off from standbys'] as const),
    promotedAfterMs: random.pick([300, 1_500, 6_000, 15_000]),
    backAfterMs: random.pick([1_000, 10_000, 40_000]),
    blindMs: random.pick([1, 300, 1_500, 9_000]),
    onJoin: random.below(2) === 0,
    restarts: random.below(3) === 0,
    emptied: random.below(4) === 0,
  };
}

/** A scenario with few faults except those that a directed scenario adds. */
function calm(scenario: Scenario): Scenario {
  return {
    ...scenario,
    nodes: scenario.nodes.map((node) => ({ ...node, diskErrorProbability: 0 })),
    diskErrorProbability: 0,
    networkConditions: {
      ...scenario.networkConditions,
      lost: NONE_LOST,
      blackout: undefined,
      delayed: { kinds: [], probability: 0, ms: [0, 0] },
    },
    crashModels: { node: CALM, controller: CALM, server: CALM },
    incidents: [],
    suspending: undefined,
    attacker: undefined,
  };
}

/** Nodes that renew their keys all the time. `lifetime` in seconds. */
function renewing(scenario: Scenario, lifetime: number): Scenario {
  return {
    ...scenario,
    nodes: scenario.nodes.map((node) => {
      const { assigned } = node;
      return assigned === ROGUE_IDC ? node : { ...node, controllers: [assigned], endpoints: [assigned], lifetime };
    }),
  };
}

function withDatabase(
  scenario: Scenario,
  incidents: readonly DatabaseIncident[],
  probability = 0,
): Scenario & { readonly shared: SharedScenario } {
  return { ...scenario, shared: { link: { probability, heldMs: [100, 1_000] }, incidents } };
}

/** Writes that no standby has become visible, and a failover undoes them, repeatedly. */
const visibleForks: Plot = (scenario, random) => {
  const renewed = renewing(calm(scenario), 60);
  const incidents: DatabaseIncident[] = [];
  for (let at = random.between(3_000, 20_000); at < renewed.faultPhaseMs - 30_000; at += random.between(25_000, 40_000))
    incidents.push({
      ...drawFailover(random),
      at,
      onJoin: true,
      how: random.pick(['killed', 'cut off from standbys'] as const),
      blindMs: random.pick([4_000, 7_000]),
      restarts: random.below(2) === 0,
      emptied: random.below(2) === 0,
      promotedAfterMs: random.pick([300, 3_000]),
      backAfterMs: 5_000,
    });
  return withDatabase(renewed, incidents);
};

/** Waits for standbys are cancelled just before a failover. */
const cancelledForks: Plot = (scenario, random) => {
  const renewed = renewing(calm(scenario), 60);
  const incidents: DatabaseIncident[] = [];
  for (let at = random.between(3_000, 20_000); at < renewed.faultPhaseMs - 30_000; at += random.between(15_000, 25_000)) {
    const blindMs = random.pick([300, 900]);
    incidents.push({ at, what: 'waits cancelled', onJoin: true, terminated: random.below(3) === 0, blindMs });
    incidents.push({
      ...drawFailover(random),
      at,
      onJoin: true,
      blindMs: blindMs + random.between(5, 300),
      restarts: false,
      emptied: false,
      backAfterMs: 2_000,
    });
  }
  return withDatabase(renewed, incidents);
};

/**
 * The second half of a node's first write is delayed for minutes, while the node retries rapidly.
 * The node drops that candidate, which is 300 s old, for another before the half arrives. No other
 * process writes, so the half belongs to an honest node.
 */
const lateHalves: Plot = (scenario, random) => {
  const honest = scenario.nodes.filter(({ compromised, assigned }) => !compromised && assigned !== ROGUE_IDC);
  const quiet = { nodes: honest.slice(0, 1), rogue: false, dishonest: undefined, passThrough: [], keyFeed: undefined };
  const renewed = renewing({ ...calm(scenario), ...quiet }, 0);
  const at = random.between(2_000, 20_000);
  const server = random.below(3);
  const ms = random.pick([320_000, 345_000]);
  return withDatabase(
    {
      ...renewed,
      // Each of the tries is a transaction at the controller for a minute.
      bounds: { total: 64, perSource: 32 },
      faultPhaseMs: at + ms + 60_000,
      crashModels: { ...renewed.crashModels, node: HASTY },
    },
    [0, 1, 2].map((i) => ({ at: at + 400 * ((server + i) % 3), what: 'late half', server: (server + i) % 3, ms })),
  );
};

/** A standby that lacks what was acknowledged is promoted while servers renew keys. */
const lossyStandby: Plot = (scenario, random) => {
  const renewed = renewing(calm(scenario), 60);
  const incidents: DatabaseIncident[] = [];
  for (let at = random.between(10_000, 30_000); at < renewed.faultPhaseMs - 60_000; at += 70_000)
    incidents.push({ at, what: 'loss', lagMs: random.pick([20_000, 35_000]), servesMs: random.between(10_000, 20_000) });
  return withDatabase(renewed, incidents);
};

/** Nodes are reset, and controllers switched, between two statements of slow reads. */
const betweenReads: Plot = (scenario, random) => {
  const renewed = renewing(calm(scenario), 60);
  const reads: DatabaseIncident[] = [];
  for (let at = random.between(1_000, 10_000); at < renewed.faultPhaseMs - 20_000; at += 25_000)
    reads.push({ at, what: 'slow reads', ms: 14_000 });
  const { shared, ...rest } = withDatabase(renewed, reads);
  const controllers = renewed.controllers.filter((idC) => idC !== renewed.dishonest?.idC);
  return { ...rest, shared: { ...shared, resetsBetweenReads: true }, passThrough: controllers, dishonest: undefined };
};

/**
 * M7s are delayed while the database's clock is set back, or its machines or all servers are down.
 * The attacker who delayed the M7s then sends them.
 */
const clockBreaks: Plot = (scenario, random) => {
  const renewed = calm(scenario);
  const at = random.between(325_000, 380_000);
  const error = random.pick([-330_000, -310_000, -350_000]);
  const off = random.below(4) > 0;
  const down: Incident[] = off
    ? Array.from({ length: renewed.replicas }, (_, server): Incident => ({
        at,
        what: 'off',
        server,
        downMs: 3_000 + 400 * server,
      }))
    : [];
  return {
    ...withDatabase(
      renewed,
      off ? [] : [{ ...drawFailover(random), at, how: 'killed', blindMs: 1, restarts: false, emptied: false }],
    ),
    faultPhaseMs: at + 100_000,
    networkConditions: { ...renewed.networkConditions, blackout: { kinds: ['M7'], from: 0, to: at + 2_500 } },
    crashModels: { ...renewed.crashModels, node: HASTY },
    incidents: [...down, { at: at + 1_000, what: 'clock', host: 's', error }],
    attacker: { tactics: ['commits'], turns: 20, from: at + 2_500, reactions: [], persistsWith: 'no' },
  };
};

/** Servers die, are cut off and are stopped while nodes join through another. */
const servers: Plot = (scenario, random) => {
  const renewed = renewing(calm(scenario), 60);
  const database: DatabaseIncident[] = [];
  const incidents: Incident[] = [];
  for (let at = random.between(3_000, 15_000); at < renewed.faultPhaseMs - 20_000; at += random.between(8_000, 20_000)) {
    const server = random.below(renewed.replicas);
    const kind = random.below(4);
    if (kind === 0) incidents.push({ at, what: 'off', server, downMs: random.between(1_000, 15_000) });
    else if (kind === 1) database.push({ at, what: 'cut', server, ms: random.pick([3_000, 10_000]), all: random.below(2) === 0 });
    else if (kind === 2) database.push({ at, what: 'stall', server, ms: random.pick([2_500, 6_000, 15_000]) });
    else database.push({ at, what: 'late half', server, ms: random.pick([3_000, 9_000]) });
  }
  return { ...withDatabase(renewed, database, 0.01), incidents };
};

const PLOTS: readonly Plot[] = [
  visibleForks,
  visibleForks,
  cancelledForks,
  lateHalves,
  lossyStandby,
  betweenReads,
  clockBreaks,
  servers,
];
