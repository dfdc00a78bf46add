/**
 * Scenarios that combine several faults to reach the limits of a rule. Independent faults would
 * coincide once in thousands of worlds, so some worlds are biased towards them. The rest of such a
 * world is random.
 */

import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { lateJoins } from './directed-scenarios-key-feed.js';
import { type Kind, KINDS } from './network.js';
import { drawReset, type Incident, type NodeScenario, ROGUE_IDC, type Scenario } from './scenario.js';

const NONE_LOST = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;

const NONE_HELD: Scenario['networkConditions']['delayed'] = { kinds: [], probability: 0, ms: [0, 0] };

type DirectedScenario = (scenario: Scenario, random: SeededRandom) => Scenario;

function withReliableDisk(node: NodeScenario): NodeScenario {
  return { ...node, diskErrorProbability: 0 };
}

/** Ordered for the controller it is assigned to and no other, and renewing all the time. */
function boundToAssigned(node: NodeScenario): NodeScenario {
  const { assigned } = node;
  return assigned === ROGUE_IDC ? node : { ...node, controllers: [assigned], endpoints: [assigned], lifetime: 60 };
}

/** With a disk that refuses nothing. `lifetime` in seconds. */
function renewing(node: NodeScenario, lifetime: number): NodeScenario {
  return { ...boundToAssigned(withReliableDisk(node)), lifetime };
}

/**
 * A node with rapid retries: its machine fails soon after each M5, and it retries at once. M7s are
 * delayed for as long as a server accepts them, so all its candidates are open together.
 */
const rapidRetries: DirectedScenario = (scenario, random) => ({
  ...scenario,
  nodes: scenario.nodes.map(withReliableDisk),
  networkConditions: {
    ...scenario.networkConditions,
    lost: random.below(2) === 0 ? NONE_LOST : scenario.networkConditions.lost,
    blackout: undefined,
    delayed: {
      kinds: ['M7'],
      probability: 1,
      ms: random.pick([
        [50_000, 100_000],
        [62_000, 88_000],
        [5_000, 60_000],
      ]),
    },
  },
  crashModels: {
    ...scenario.crashModels,
    node: {
      probabilityPerStep: 0,
      hotStep: { step: 'retransmits', probability: 0.7 },
      powerLossProbability: random.pick([0, 0.5]),
      downtimeMs: [200, 2_000],
    },
    controller: {
      probabilityPerStep: 0,
      hotStep: { step: 'takes a request', probability: random.pick([0, 0, 0.03]) },
      powerLossProbability: 0,
      downtimeMs: [200, 2_000],
    },
  },
});

/**
 * The same with more time between, so that the fifth attempt comes when the first's transaction is
 * over but its M7 still counts; and a machine that now and then sleeps between M1 and M4, for
 * longer than a candidate has to be old.
 */
const rapidRetriesWithSuspend: DirectedScenario = (scenario, random) => {
  const { networkConditions, crashModels, ...rest } = rapidRetries(scenario, random);
  return {
    ...rest,
    networkConditions: { ...networkConditions, lost: NONE_LOST, delayed: { ...networkConditions.delayed, ms: [80_000, 89_000] } },
    diskErrorProbability: 0,
    storeConditions: { stallProbability: 0, stallMs: [0], failureProbability: 0 },
    crashModels: {
      ...crashModels,
      node: {
        probabilityPerStep: 0,
        hotStep: { step: 'retransmits', probability: 0.9 },
        powerLossProbability: 0,
        downtimeMs: [9_000, 18_000],
      },
    },
    suspending: { after: 'M1', from: 60_000, probability: 0.5, ms: 310_000 },
    incidents: [],
  };
};

/** Commits of one node that wait before they are written, and overtake each other. */
const racingCommits: DirectedScenario = (scenario, random) => {
  const { networkConditions, ...rest } = rapidRetries(scenario, random);
  return {
    ...rest,
    networkConditions: { ...networkConditions, delayed: { ...networkConditions.delayed, probability: 0 } },
    storeConditions: { stallProbability: 0.5, stallMs: [200, 8_000, 20_000, 27_000], failureProbability: 0 },
  };
};

/** No M7 arrives until then, and who has kept them sends them after that. */
function delayedCommitsUntil(scenario: Scenario, until: number): Scenario {
  return {
    ...scenario,
    faultPhaseMs: 500_000,
    networkConditions: { ...scenario.networkConditions, blackout: { kinds: ['M7'], from: 0, to: until } },
    crashModels: {
      ...scenario.crashModels,
      server: { ...scenario.crashModels.server, probabilityPerStep: 0, hotStep: undefined },
    },
    attacker: {
      tactics: ['commits'],
      turns: 16,
      from: until,
      reactions: [],
      persistsWith: scenario.attacker?.persistsWith ?? 'no',
    },
  };
}

/**
 * M7s are delayed for minutes, the server's clock is set back, and the attacker who delayed the M7s
 * then sends them.
 */
const delayedCommits: DirectedScenario = (scenario, random) => {
  const at = random.between(320_000, 430_000);
  const back: Incident = { at, what: 'clock', host: 's', error: random.pick([-220_000, -250_000, -300_000, -350_000]) };
  const others = scenario.incidents.filter((incident) => incident.what !== 'clock' && incident.at < 500_000);
  return { ...delayedCommitsUntil(scenario, at), incidents: [...others, back] };
};

/** The same with all clocks right, and nodes in haste. */
const delayedCommitsLong: DirectedScenario = (scenario, random) => {
  const held = delayedCommitsUntil(rapidRetries(scenario, random), random.between(320_000, 400_000));
  return {
    ...held,
    networkConditions: { ...held.networkConditions, delayed: { ...held.networkConditions.delayed, probability: 0 } },
    incidents: [],
  };
};

/**
 * No M6 arrives for a while, and who has kept them sends them when the next attempt waits for its
 * own.
 */
const delayedConfirmations: DirectedScenario = (scenario, random) => ({
  ...scenario,
  networkConditions: {
    ...scenario.networkConditions,
    blackout: { kinds: ['M6'], from: 0, to: random.between(100_000, 300_000) },
  },
  attacker: {
    tactics: ['confirmations'],
    turns: 20,
    from: 0,
    reactions: [{ to: 'M5', trick: 'confirmations', probability: 0.5 }],
    persistsWith: 'no',
  },
});

/** A disk that hangs with a commit half made. */
const hangingDisk: DirectedScenario = (scenario, random) => ({
  ...scenario,
  faultPhaseMs: 700_000,
  storeConditions: { stallProbability: random.pick([0.3, 0.8]), stallMs: [340_000, 420_000, 500_000], failureProbability: 0 },
});

/**
 * Nodes are assigned to controllers they were not ordered for, and their datagrams find the way
 * there.
 */
const misassigned: DirectedScenario = (scenario, random) => {
  const { controllers, nodes, incidents, faultPhaseMs } = scenario;
  const reassigned = nodes
    .filter(({ assigned }) => assigned !== ROGUE_IDC)
    .map(({ idI }): Incident => ({ at: random.below(60_000), what: 'reassign', idI, idC: random.pick(controllers) }));
  return {
    ...scenario,
    nodes: nodes.map(boundToAssigned),
    networkConditions: { ...scenario.networkConditions, misrouted: 0.4 },
    incidents: [...incidents, ...reassigned].filter(({ at }) => at < faultPhaseMs),
  };
};

/**
 * Controllers whose machines have no clock of their own: each boot begins at one and the same time,
 * until the network sets it.
 */
const noRtc: DirectedScenario = (scenario, random) => ({
  ...scenario,
  bootsAtEpoch: scenario.combined ? [] : scenario.controllers,
  crashModels: {
    ...scenario.crashModels,
    controller: {
      probabilityPerStep: 0.01,
      hotStep: { step: 'takes an answer', probability: random.pick([0.05, 0.2]) },
      powerLossProbability: 0.5,
      downtimeMs: [200, 2_000],
    },
  },
});

/**
 * As `delayedCommits`, but the controllers' clocks are set back with the server's, early enough for
 * its five minutes to pass.
 */
const setBackTogether: DirectedScenario = (scenario, random) => {
  const at = random.between(60_000, 120_000);
  return {
    ...delayedCommitsUntil(scenario, at + 302_000),
    incidents: [{ at, what: 'clock', host: 'all', error: random.pick([-350_000, -330_000, -400_000]) }],
  };
};

/**
 * As `delayedCommits`, but the server's clock is set so far back that M7s count again when its five
 * minutes have passed.
 */
const setFarBack: DirectedScenario = (scenario, random) => {
  const at = random.between(330_000, 370_000);
  return {
    ...delayedCommitsUntil(scenario, at + 301_000),
    faultPhaseMs: 720_000,
    incidents: [{ at, what: 'clock', host: 's', error: -600_000 }],
  };
};

/** One after the other is on again: the second reads what the first has written. */
function poweredOff(at: number, downMs: number, { replicas }: Scenario): Incident[] {
  return Array.from({ length: replicas }, (_, server): Incident => ({ at, what: 'off', server, downMs: downMs + 50 * server }));
}

/**
 * As `delayedCommits`, but the server is down when its clock is set back, and what it last wrote is
 * older still.
 */
const setBackWhileDown: DirectedScenario = (scenario, random) => {
  const at = random.between(330_000, 390_000);
  return {
    ...delayedCommitsUntil(scenario, at + 2_500),
    incidents: [...poweredOff(at, 2_000, scenario), { at: at + 1_000, what: 'clock', host: 's', error: -350_000 }],
  };
};

/**
 * The servers lose power soon after M7s to them were delayed, and their clocks continue from the
 * time of the failure.
 */
const clockStopped: DirectedScenario = (scenario, random) => {
  const at = random.between(25_000, 60_000);
  const downMs = random.between(280_000, 310_000);
  const held = delayedCommitsUntil(rapidRetries(scenario, random), at + downMs + 10_000);
  return {
    ...held,
    faultPhaseMs: at + downMs + 90_000,
    networkConditions: { ...held.networkConditions, delayed: { ...held.networkConditions.delayed, probability: 0 } },
    incidents: [
      ...poweredOff(at, downMs, scenario),
      { at: at + downMs - 1, what: 'clock', host: 'all', error: random.between(-downMs, 20_000 - downMs) },
    ],
  };
};

/**
 * Devices with repeated power failures and mostly wrong clocks, and no other faults: no key may
 * outlive its grace period. A key is renewed at the eighth boot at the latest. So each boot, with
 * the time off after it, takes at most a ninth of a key's time. Or a device is hardly off, and runs
 * for any time.
 */
const powerCuts: DirectedScenario = (scenario, random) => {
  const lifetime = random.pick([60, 300, 1_800]);
  const grace = random.pick([lifetime / 3, lifetime]);
  const lastsMs = (lifetime + grace) * 1000;
  const cycleMs = Math.floor(lastsMs / 9);
  const runMs = random.between(2_000, cycleMs - 1_000);
  const none = { probabilityPerStep: 0, hotStep: undefined, powerLossProbability: 0, downtimeMs: [200, 2_000] } as const;
  return {
    ...scenario,
    nodes: scenario.nodes.filter(({ compromised }) => !compromised).map((node) => renewing(node, lifetime)),
    rogue: false,
    diskErrorProbability: 0,
    // To a registry, servers whose clocks differ look like one that was set back as they start.
    skews: scenario.skews.map(() => 0),
    faultPhaseMs: 8 * lastsMs,
    networkConditions: {
      ...scenario.networkConditions,
      lost: NONE_LOST,
      blackout: undefined,
      doubled: 0,
      corrupted: 0,
      misrouted: 0,
      rewritten: 0,
      delayed: NONE_HELD,
    },
    keyFeed: undefined,
    storeConditions: { stallProbability: 0, stallMs: [0], failureProbability: 0 },
    crashModels: { node: none, controller: none, server: none },
    incidents: [],
    attacker: undefined,
    suspending: undefined,
    grace,
    powerCuts: {
      ...(random.below(3) === 0
        ? { runs: [cycleMs, lifetime * 1000], off: [100, 500] }
        : { runs: [Math.min(2_000, runMs), runMs], off: [100, cycleMs - runMs] }),
      clock: random.pick(['right', 'ahead as it joins', 'the same at each boot', 'the same at each boot', 'stopped', 'stopped']),
      lookEveryMs: random.below(2) === 0 ? undefined : random.pick([5_000, cycleMs]),
    },
  };
};

/**
 * An administrator acts at `at`. An attacker who recorded M7s replays them from then on, for as
 * long as a server accepts them. They are M7s of joined nodes, or M7s that were delayed until then.
 * Controllers' clocks may be ahead by as much as a server permits.
 */
function administered(scenario: Scenario, random: SeededRandom, at: number, acts: readonly Incident[]): Scenario {
  const ahead = scenario.controllers.map((idC): Incident => ({
    at: 0,
    what: 'clock',
    host: `c${idC}`,
    error: random.pick([0, 20_000, 25_000]),
  }));
  const calm = { probabilityPerStep: 0, hotStep: undefined, powerLossProbability: 0, downtimeMs: [200, 2_000] } as const;
  return {
    ...scenario,
    nodes: scenario.nodes.map(withReliableDisk),
    faultPhaseMs: at + 150_000,
    networkConditions: {
      ...scenario.networkConditions,
      lost: NONE_LOST,
      blackout: random.below(2) === 0 ? { kinds: ['M7'], from: 0, to: at } : undefined,
      delayed: { ...scenario.networkConditions.delayed, probability: 0 },
    },
    crashModels: { node: calm, controller: calm, server: calm },
    storeConditions: { stallProbability: random.pick([0, 0.8]), stallMs: [5_000, 15_000, 25_000], failureProbability: 0 },
    diskErrorProbability: 0,
    incidents: [...(scenario.combined ? [] : ahead), ...acts],
    attacker: { tactics: ['commits'], turns: 24, from: at, reactions: [], persistsWith: 'no' },
  };
}

/**
 * Nodes are put back to their initial keys within the time in which M7s from before still count.
 */
const resetSoon: DirectedScenario = (scenario, random) => {
  const at = random.between(25_000, 70_000);
  const resets = scenario.nodes.map(({ idI }) => ({ ...drawReset(random, idI, at), gapMs: random.pick([0, 1_000, 5_000]) }));
  return administered(scenario, random, at, resets);
};

/** The registry is put back as it was before nodes joined. */
const restoredSoon: DirectedScenario = (scenario, random) => {
  const at = random.between(25_000, 60_000);
  const restore: Incident = { at, what: 'restore', ageMs: at - random.below(10_000), downMs: 1_000, gapMs: 1_000 };
  return administered(scenario, random, at, [restore]);
};

export type DirectedScenarioName =
  | 'rapidRetries'
  | 'rapidRetriesWithSuspend'
  | 'racingCommits'
  | 'delayedCommits'
  | 'delayedCommitsLong'
  | 'delayedConfirmations'
  | 'hangingDisk'
  | 'misassigned'
  | 'noRtc'
  | 'setBackTogether'
  | 'setFarBack'
  | 'setBackWhileDown'
  | 'clockStopped'
  | 'powerCuts'
  | 'resetSoon'
  | 'restoredSoon'
  | 'lateJoins';

const DIRECTED_SCENARIOS: Readonly<Record<DirectedScenarioName, DirectedScenario>> = {
  rapidRetries,
  rapidRetriesWithSuspend,
  racingCommits,
  delayedCommits,
  delayedCommitsLong,
  delayedConfirmations,
  hangingDisk,
  misassigned,
  noRtc,
  setBackTogether,
  setFarBack,
  setBackWhileDown,
  clockStopped,
  powerCuts,
  resetSoon,
  restoredSoon,
  lateJoins,
};

/** Of the worlds whose controllers follow the key feed and that have no other plot. */
const LATE_JOINS_PROBABILITY = 0.4;

/** Some are more often needed than others. */
const WEIGHTED_NAMES: readonly DirectedScenarioName[] = [
  'rapidRetries',
  'rapidRetriesWithSuspend',
  'rapidRetriesWithSuspend',
  'rapidRetriesWithSuspend',
  'racingCommits',
  'delayedCommits',
  'delayedCommitsLong',
  'delayedConfirmations',
  'hangingDisk',
  'misassigned',
  'noRtc',
  'setBackTogether',
  'setFarBack',
  'setBackWhileDown',
  'clockStopped',
  'powerCuts',
  'resetSoon',
  'resetSoon',
  'restoredSoon',
];

/** Some worlds have a plot, most have none. */
export function withDirectedScenario(scenario: Scenario, random: SeededRandom, always?: DirectedScenarioName): Scenario {
  const name = always ?? random.pick(WEIGHTED_NAMES);
  if (always === undefined && random.uniform() >= 0.45)
    return scenario.keyFeed !== undefined && random.uniform() < LATE_JOINS_PROBABILITY ? lateJoins(scenario, random) : scenario;
  const directed = DIRECTED_SCENARIOS[name](scenario, random);
  if (directed.combined || name === 'resetSoon') return { ...directed, passThrough: [], dishonest: undefined };
  // A controller that relays as it likes is no trouble of the power's.
  if (directed.powerCuts === undefined) return directed;
  const passThrough = directed.passThrough.filter((idC) => idC !== directed.dishonest?.idC);
  return { ...directed, passThrough, dishonest: undefined };
}
