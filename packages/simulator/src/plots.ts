/**
 * Troubles that have to come together to get anywhere near the edge of a rule. Drawn apart they would meet once in thousands of worlds, so
 * some worlds are made of them; all the rest of such a world is left to chance as elsewhere.
 */

import type { Chance } from './chance.js';
import { type Kind, KINDS } from './network.js';
import { drawReset, type Incident, type NodeScenario, ROGUE_IDC, type Scenario } from './scenario.js';

const NONE_LOST = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;

const NONE_HELD: Scenario['weather']['held'] = { kinds: [], probability: 0, ms: [0, 0] };

type Plot = (scenario: Scenario, chance: Chance) => Scenario;

function withGoodDisk(node: NodeScenario): NodeScenario {
  return { ...node, diskErrors: 0 };
}

/** Ordered for the controller it is assigned to and no other, and renewing all the time. */
function orderedForOne(node: NodeScenario): NodeScenario {
  const { assigned } = node;
  return assigned === ROGUE_IDC ? node : { ...node, controllers: [assigned], endpoints: [assigned], lifetime: 60 };
}

/** With a disk that refuses nothing. `lifetime` in seconds. */
function renewing(node: NodeScenario, lifetime: number): NodeScenario {
  return { ...orderedForOne(withGoodDisk(node)), lifetime };
}

/**
 * A node in haste: its machine fails soon after each M5, and it tries again at once, while M7s are on their way for as long as a server
 * takes them. Its candidates are all open at once.
 */
const haste: Plot = (scenario, chance) => ({
  ...scenario,
  nodes: scenario.nodes.map(withGoodDisk),
  weather: {
    ...scenario.weather,
    lost: chance.below(2) === 0 ? NONE_LOST : scenario.weather.lost,
    siege: undefined,
    held: {
      kinds: ['M7'],
      probability: 1,
      ms: chance.pick([
        [50_000, 100_000],
        [62_000, 88_000],
        [5_000, 60_000],
      ]),
    },
  },
  mortality: {
    ...scenario.mortality,
    node: { perStep: 0, focus: { step: 'retransmits', probability: 0.7 }, power: chance.pick([0, 0.5]), down: [200, 2_000] },
    controller: {
      perStep: 0,
      focus: { step: 'takes a request', probability: chance.pick([0, 0, 0.03]) },
      power: 0,
      down: [200, 2_000],
    },
  },
});

/**
 * The same with more time between, so that the fifth attempt comes when the first's transaction is over but its M7 still counts; and a
 * machine that now and then sleeps between M1 and M4, for longer than a candidate has to be old.
 */
const sleepyHaste: Plot = (scenario, chance) => {
  const { weather, mortality, ...rest } = haste(scenario, chance);
  return {
    ...rest,
    weather: { ...weather, lost: NONE_LOST, held: { ...weather.held, ms: [80_000, 89_000] } },
    diskErrors: 0,
    store: { stalled: 0, stallMs: [0], refused: 0 },
    mortality: {
      ...mortality,
      node: { perStep: 0, focus: { step: 'retransmits', probability: 0.9 }, power: 0, down: [9_000, 18_000] },
    },
    sleepy: { after: 'M1', from: 60_000, probability: 0.5, ms: 310_000 },
    incidents: [],
  };
};

/** Commits of one node that wait before they are written, and overtake each other. */
const contest: Plot = (scenario, chance) => {
  const { weather, ...rest } = haste(scenario, chance);
  return {
    ...rest,
    weather: { ...weather, held: { ...weather.held, probability: 0 } },
    store: { stalled: 0.5, stallMs: [200, 8_000, 20_000, 27_000], refused: 0 },
  };
};

/** No M7 arrives until then, and who has kept them sends them after that. */
function heldBack(scenario: Scenario, until: number): Scenario {
  return {
    ...scenario,
    troubleMs: 500_000,
    weather: { ...scenario.weather, siege: { kinds: ['M7'], from: 0, to: until } },
    mortality: { ...scenario.mortality, server: { ...scenario.mortality.server, perStep: 0, focus: undefined } },
    attacker: { tricks: ['commits'], turns: 16, from: until, reactions: [], persists: scenario.attacker?.persists ?? 'no' },
  };
}

/** M7s are kept from the server for minutes, its clock is set back, and who has kept them sends them again. */
const heldBackCommits: Plot = (scenario, chance) => {
  const at = chance.between(320_000, 430_000);
  const back: Incident = { at, what: 'clock', host: 's', error: chance.pick([-220_000, -250_000, -300_000, -350_000]) };
  const others = scenario.incidents.filter((incident) => incident.what !== 'clock' && incident.at < 500_000);
  return { ...heldBack(scenario, at), incidents: [...others, back] };
};

/** The same with all clocks right, and nodes in haste. */
const heldBackLong: Plot = (scenario, chance) => {
  const held = heldBack(haste(scenario, chance), chance.between(320_000, 400_000));
  return { ...held, weather: { ...held.weather, held: { ...held.weather.held, probability: 0 } }, incidents: [] };
};

/** No M6 arrives for a while, and who has kept them sends them when the next attempt waits for its own. */
const heldBackConfirmations: Plot = (scenario, chance) => ({
  ...scenario,
  weather: { ...scenario.weather, siege: { kinds: ['M6'], from: 0, to: chance.between(100_000, 300_000) } },
  attacker: {
    tricks: ['confirmations'],
    turns: 20,
    from: 0,
    reactions: [{ to: 'M5', trick: 'confirmations', probability: 0.5 }],
    persists: 'no',
  },
});

/** A disk that hangs with a commit half made. */
const hangingDisk: Plot = (scenario, chance) => ({
  ...scenario,
  troubleMs: 700_000,
  store: { stalled: chance.pick([0.3, 0.8]), stallMs: [340_000, 420_000, 500_000], refused: 0 },
});

/** Nodes are assigned to controllers they were not ordered for, and their datagrams find the way there. */
const wrongPlace: Plot = (scenario, chance) => {
  const { controllers, nodes, incidents, troubleMs } = scenario;
  const reassigned = nodes
    .filter(({ assigned }) => assigned !== ROGUE_IDC)
    .map(({ idI }): Incident => ({ at: chance.below(60_000), what: 'reassign', idI, idC: chance.pick(controllers) }));
  return {
    ...scenario,
    nodes: nodes.map(orderedForOne),
    weather: { ...scenario.weather, misrouted: 0.4 },
    incidents: [...incidents, ...reassigned].filter(({ at }) => at < troubleMs),
  };
};

/** Controllers whose machines have no clock of their own: each boot begins at one and the same time, until the network sets it. */
const noBattery: Plot = (scenario, chance) => ({
  ...scenario,
  bootsAtNought: scenario.combined ? [] : scenario.controllers,
  mortality: {
    ...scenario.mortality,
    controller: {
      perStep: 0.01,
      focus: { step: 'takes an answer', probability: chance.pick([0.05, 0.2]) },
      power: 0.5,
      down: [200, 2_000],
    },
  },
});

/** As `heldBackCommits`, but the controllers' clocks are set back with the server's, early enough for its five minutes to pass. */
const setBackTogether: Plot = (scenario, chance) => {
  const at = chance.between(60_000, 120_000);
  return {
    ...heldBack(scenario, at + 302_000),
    incidents: [{ at, what: 'clock', host: 'all', error: chance.pick([-350_000, -330_000, -400_000]) }],
  };
};

/** As `heldBackCommits`, but the server's clock is set so far back that M7s count again when its five minutes have passed. */
const setFarBack: Plot = (scenario, chance) => {
  const at = chance.between(330_000, 370_000);
  return {
    ...heldBack(scenario, at + 301_000),
    troubleMs: 720_000,
    incidents: [{ at, what: 'clock', host: 's', error: -600_000 }],
  };
};

function switchedOff(at: number, downMs: number, { replicas }: Scenario): Incident[] {
  return Array.from({ length: replicas }, (_, server): Incident => ({ at, what: 'off', server, downMs }));
}

/** As `heldBackCommits`, but the server is down when its clock is set back, and what it last wrote is older still. */
const setBackWhileDown: Plot = (scenario, chance) => {
  const at = chance.between(330_000, 390_000);
  return {
    ...heldBack(scenario, at + 2_500),
    incidents: [...switchedOff(at, 2_000, scenario), { at: at + 1_000, what: 'clock', host: 's', error: -350_000 }],
  };
};

/** The lights go out where the servers are, soon after M7s were kept from them, and clocks go on from where they stood. */
const stoodStill: Plot = (scenario, chance) => {
  const at = chance.between(25_000, 60_000);
  const downMs = chance.between(280_000, 310_000);
  const held = heldBack(haste(scenario, chance), at + downMs + 10_000);
  return {
    ...held,
    troubleMs: at + downMs + 90_000,
    weather: { ...held.weather, held: { ...held.weather.held, probability: 0 } },
    incidents: [
      ...switchedOff(at, downMs, scenario),
      { at: at + downMs - 1, what: 'clock', host: 'all', error: chance.between(-downMs, 20_000 - downMs) },
    ],
  };
};

/**
 * Devices whose power is cut again and again, and whose clocks mostly say nothing, where all else
 * is well: no key may get past its grace. A key is renewed at the eighth boot at the latest, so
 * that each boot, with the time off after it, takes a ninth of what a key has at most; or a device
 * is hardly off, and runs as long as it likes.
 */
const powerCuts: Plot = (scenario, chance) => {
  const lifetime = chance.pick([60, 300, 1_800]);
  const grace = chance.pick([lifetime / 3, lifetime]);
  const lastsMs = (lifetime + grace) * 1000;
  const cycleMs = Math.floor(lastsMs / 9);
  const runMs = chance.between(2_000, cycleMs - 1_000);
  const none = { perStep: 0, focus: undefined, power: 0, down: [200, 2_000] } as const;
  return {
    ...scenario,
    nodes: scenario.nodes.filter(({ fallen }) => !fallen).map((node) => renewing(node, lifetime)),
    rogue: false,
    diskErrors: 0,
    // To a registry, servers whose clocks differ look like one that was set back as they start.
    skews: scenario.skews.map(() => 0),
    troubleMs: 8 * lastsMs,
    weather: {
      ...scenario.weather,
      lost: NONE_LOST,
      siege: undefined,
      doubled: 0,
      corrupted: 0,
      misrouted: 0,
      rewritten: 0,
      held: NONE_HELD,
    },
    store: { stalled: 0, stallMs: [0], refused: 0 },
    mortality: { node: none, controller: none, server: none },
    incidents: [],
    attacker: undefined,
    sleepy: undefined,
    grace,
    powerCuts: {
      ...(chance.below(3) === 0
        ? { runs: [cycleMs, lifetime * 1000], off: [100, 500] }
        : { runs: [Math.min(2_000, runMs), runMs], off: [100, cycleMs - runMs] }),
      clock: chance.pick(['right', 'ahead as it joins', 'the same at each boot', 'the same at each boot', 'stopped', 'stopped']),
      lookEveryMs: chance.below(2) === 0 ? undefined : chance.pick([5_000, cycleMs]),
    },
  };
};

/**
 * What an administrator does at `at`, and who has recorded M7s sends them again from then on, for as long as a server takes them: those of
 * nodes that have joined, or such as were kept back until then. Controllers' clocks may be ahead by as much as a server allows.
 */
function administered(scenario: Scenario, chance: Chance, at: number, acts: readonly Incident[]): Scenario {
  const ahead = scenario.controllers.map((idC): Incident => ({
    at: 0,
    what: 'clock',
    host: `c${idC}`,
    error: chance.pick([0, 20_000, 25_000]),
  }));
  const calm = { perStep: 0, focus: undefined, power: 0, down: [200, 2_000] } as const;
  return {
    ...scenario,
    nodes: scenario.nodes.map(withGoodDisk),
    troubleMs: at + 150_000,
    weather: {
      ...scenario.weather,
      lost: NONE_LOST,
      siege: chance.below(2) === 0 ? { kinds: ['M7'], from: 0, to: at } : undefined,
      held: { ...scenario.weather.held, probability: 0 },
    },
    mortality: { node: calm, controller: calm, server: calm },
    store: { stalled: chance.pick([0, 0.8]), stallMs: [5_000, 15_000, 25_000], refused: 0 },
    diskErrors: 0,
    incidents: [...(scenario.combined ? [] : ahead), ...acts],
    attacker: { tricks: ['commits'], turns: 24, from: at, reactions: [], persists: 'no' },
  };
}

/** Nodes are put back to their initial keys within the time in which M7s from before still count. */
const resetSoon: Plot = (scenario, chance) => {
  const at = chance.between(25_000, 70_000);
  const resets = scenario.nodes.map(({ idI }) => ({ ...drawReset(chance, idI, at), gapMs: chance.pick([0, 1_000, 5_000]) }));
  return administered(scenario, chance, at, resets);
};

/** The registry is put back as it was before nodes joined. */
const restoredSoon: Plot = (scenario, chance) => {
  const at = chance.between(25_000, 60_000);
  const restore: Incident = { at, what: 'restore', ageMs: at - chance.below(10_000), downMs: 1_000, gapMs: 1_000 };
  return administered(scenario, chance, at, [restore]);
};

export type PlotName =
  | 'haste'
  | 'sleepyHaste'
  | 'contest'
  | 'heldBackCommits'
  | 'heldBackLong'
  | 'heldBackConfirmations'
  | 'hangingDisk'
  | 'wrongPlace'
  | 'noBattery'
  | 'setBackTogether'
  | 'setFarBack'
  | 'setBackWhileDown'
  | 'stoodStill'
  | 'powerCuts'
  | 'resetSoon'
  | 'restoredSoon';

const PLOTS: Readonly<Record<PlotName, Plot>> = {
  haste,
  sleepyHaste,
  contest,
  heldBackCommits,
  heldBackLong,
  heldBackConfirmations,
  hangingDisk,
  wrongPlace,
  noBattery,
  setBackTogether,
  setFarBack,
  setBackWhileDown,
  stoodStill,
  powerCuts,
  resetSoon,
  restoredSoon,
};

/** Some are more often needed than others. */
const DRAWN: readonly PlotName[] = [
  'haste',
  'sleepyHaste',
  'sleepyHaste',
  'sleepyHaste',
  'contest',
  'heldBackCommits',
  'heldBackLong',
  'heldBackConfirmations',
  'hangingDisk',
  'wrongPlace',
  'noBattery',
  'setBackTogether',
  'setFarBack',
  'setBackWhileDown',
  'stoodStill',
  'powerCuts',
  'resetSoon',
  'resetSoon',
  'restoredSoon',
];

/** Some worlds have a plot, most have none. */
export function withPlot(scenario: Scenario, chance: Chance, always?: PlotName): Scenario {
  const name = always ?? chance.pick(DRAWN);
  return always !== undefined || chance.uniform() < 0.45 ? PLOTS[name](scenario, chance) : scenario;
}
