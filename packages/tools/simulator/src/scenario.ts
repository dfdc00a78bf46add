/**
 * Scenario of a world, generated from its seed: its members, its network and disks, its clock
 * steps, and its attacker. Each seed has its own kinds of faults and leaves out others. Many worlds
 * with one severe fault reach more states than a world with a little of every fault.
 */

import type { RespondentBounds } from '@latchkey/protocol';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { type FeedConditions, type Kind, KINDS, type NetworkConditions } from './network.js';
import type { CrashModel } from './process.js';
import type { SharedScenario } from './shared-registry/conditions.js';
import type { StoreConditions } from './simulated-storage.js';

export interface NodeScenario {
  readonly idI: number;
  /** Nodes with the same number share an IK. */
  readonly ik: number;
  /** The controllers it was ordered for. */
  readonly controllers: readonly number[] | 'any';
  readonly endpoints: readonly number[];
  /** The one it is assigned to at the server. */
  readonly assigned: number;
  /** Seconds. */
  readonly lifetime: number;
  /** The attacker's own, or one whose IK the attacker has. */
  readonly compromised: boolean;
  readonly diskErrorProbability: number;
  readonly startsAt: number;
}

/** Something that happens at a set time, in ms. */
export type Incident =
  /** `all`: the auth-servers and every controller. */
  | { readonly at: number; readonly what: 'clock'; readonly host: string; readonly error: number }
  | { readonly at: number; readonly what: 'sleep'; readonly idI: number; readonly ms: number }
  | { readonly at: number; readonly what: 'folder'; readonly idC: number; readonly downMs: number }
  | { readonly at: number; readonly what: 'off'; readonly server: number; readonly downMs: number }
  | { readonly at: number; readonly what: 'reassign'; readonly idI: number; readonly idC: number }
  | { readonly at: number; readonly what: 'install'; readonly idI: number; readonly downMs: number }
  | { readonly at: number; readonly what: 'disable'; readonly idI: number; readonly ms: number }
  | { readonly at: number; readonly what: 'switch'; readonly idC: number; readonly passThrough: boolean }
  | Reset
  | Restore;

/**
 * A device that has lost its state, and its node in the registry, are put back to the initial key,
 * with `gapMs` between two steps.
 */
export interface Reset {
  readonly at: number;
  readonly what: 'reset';
  readonly idI: number;
  /** `reset` in the registry, or removed and imported again. */
  readonly how: 'reset' | 'import';
  readonly first: 'device' | 'registry';
  readonly gapMs: number;
}

/**
 * The registry is put back as it was `ageMs` before, and each node that has got another key since
 * to its initial key.
 */
export interface Restore {
  readonly at: number;
  readonly what: 'restore';
  readonly ageMs: number;
  /** For how long no server runs. */
  readonly downMs: number;
  readonly gapMs: number;
  /** Soon after the next commit. */
  readonly afterCommit?: boolean;
}

/**
 * Devices with repeated power failures and no other fault: they must still renew their keys. Times
 * in ms.
 */
interface PowerCuts {
  /** How long a device runs from its boot to the cut, and how long it is off then. */
  readonly runs: readonly [from: number, to: number];
  readonly off: readonly [from: number, to: number];
  /** What its clock shows; `stopped` while it is off. */
  readonly clock: 'right' | 'ahead as it joins' | 'the same at each boot' | 'stopped';
  /** A timer starts `join --if-due` so often; `undefined` if the agent runs. */
  readonly lookEveryMs: number | undefined;
}

const TACTICS = ['replay', 'splice', 'forge', 'flood', 'outcome', 'commits', 'confirmations', 'own controller'] as const;
export type Tactic = (typeof TACTICS)[number];

/** What a dishonest pass-through controller is after. */
export type DishonestTactic = 'steers' | 'keeps M7 back' | 'varies';

/** A pass-through controller that belongs to an attacker. */
interface DishonestScenario {
  readonly idC: number;
  readonly tactic: DishonestTactic;
}

export interface AttackerScenario {
  /** What it does from time to time, and how often. */
  readonly tactics: readonly Tactic[];
  readonly turns: number;
  /** When its turns begin, in ms. */
  readonly from: number;
  /** Reaction to such a message on the network, and its probability. */
  readonly reactions: readonly { readonly to: Kind; readonly trick: Tactic; readonly probability: number }[];
  /**
   * Behaviour that continues after faults have ended. An honest node must be able to outlast it.
   */
  readonly persistsWith: 'no' | 'flood' | 'wrong proofs';
}

interface KeyFeedScenario {
  /** That an administrator changes something soon after a commit. */
  readonly changesAfterCommit: number;
}

export interface Scenario {
  readonly nodes: readonly NodeScenario[];
  /** ID_c of the honest ones. */
  readonly controllers: readonly number[];
  /** Those that are pass-through from the start. Some of the honest ones are switched later. */
  readonly passThrough: readonly number[];
  /** One of those, if any: it is pass-through all the time. */
  readonly dishonest: DishonestScenario | undefined;
  /** Whether the attacker has a controller of its own, with a valid SK_cs. */
  readonly rogue: boolean;
  readonly replicas: number;
  /** The first controller has the registry itself. */
  readonly combined: boolean;
  /** If controllers keep application roots, and follow the key feed. */
  readonly keyFeed: KeyFeedScenario | undefined;
  readonly sharedNetwork: boolean;
  readonly bounds: RespondentBounds;
  /** When faults end, in ms. */
  readonly faultPhaseMs: number;
  readonly networkConditions: NetworkConditions;
  readonly storeConditions: StoreConditions;
  readonly crashModels: { readonly node: CrashModel; readonly controller: CrashModel; readonly server: CrashModel };
  readonly diskErrorProbability: number;
  readonly skews: readonly number[];
  readonly incidents: readonly Incident[];
  readonly attacker: AttackerScenario | undefined;
  /**
   * Nodes' machines that sleep once they have sent such a message, for so many ms, from some time
   * on.
   */
  readonly suspending:
    | { readonly after: Kind; readonly from: number; readonly probability: number; readonly ms: number }
    | undefined;
  /** Controllers whose clock begins at one and the same time at each start. */
  readonly bootsAtEpoch: readonly number[];
  /** For how long an expired key may still renew itself, in seconds. */
  readonly grace: number;
  readonly powerCuts: PowerCuts | undefined;
  /** If servers share a registry as in PostgreSQL. */
  readonly shared?: SharedScenario;
}

/** No world's faults last so long, in seconds. */
const LONG_GRACE_S = 365 * 86_400;

export const ROGUE_IDC = 9;

/** How many worlds have controllers that follow the key feed: it costs a third of a world more. */
const KEY_FEED_PROBABILITY = 0.15;

/** How wrong clocks get, in ms. */
const SERVER_ERRORS = [
  -86_400_000, -3_000_000, -600_000, -350_000, -300_000, -250_000, -220_000, -150_000, -60_000, -3_000, 3_000, 40_000, 600_000,
  18_000_000, 31_536_000_000,
];
const CONTROLLER_ERRORS = [-172_800_000, -3_000_000, -50_000, -20_000, 10_000, 25_000, 50_000, 3_000_000, 172_800_000];
const NODE_ERRORS = [-86_400_000, -600_000, 600_000, 31_536_000_000];

export function generateScenario(seed: number): Scenario {
  const random = new SeededRandom(seed, 'scenario');
  const withProbability = (p: number): boolean => random.uniform() < p;
  const combined = withProbability(0.15);
  const controllers = Array.from({ length: random.pick([1, 1, 2, 2, 3]) }, (_, i) => i + 1);
  const rogue = withProbability(0.3);
  const faultPhaseMs = random.pick([120, 300, 500, 500, 700, 1_000]) * 1000;
  const attacked = withProbability(0.6);
  const nodes = generateNodes(random, controllers, rogue, attacked);
  const replicas = combined ? 1 : random.pick([1, 2, 2, 3]);
  const relaying = drawPassThrough(new SeededRandom(seed, 'pass-through'), faultPhaseMs, combined ? [] : controllers);
  const administered = drawAdministration(new SeededRandom(seed, 'administrator'), faultPhaseMs, nodes);
  const feed = drawKeyFeed(new SeededRandom(seed, 'key feed'), faultPhaseMs, controllers, nodes);
  return {
    nodes,
    controllers,
    keyFeed: feed?.scenario,
    passThrough: relaying.passThrough,
    dishonest: relaying.dishonest,
    rogue,
    replicas,
    combined,
    sharedNetwork: withProbability(0.3),
    bounds: random.pick([
      { total: 8, perSource: 4 },
      { total: 16, perSource: 8 },
      { total: 64, perSource: 16 },
    ]),
    faultPhaseMs,
    networkConditions: { ...generateNetworkConditions(random, faultPhaseMs), ...feed?.network },
    storeConditions: {
      stallProbability: random.pick([0, 0, 0.02, 0.2, 0.5]),
      stallMs: random.pick([
        [200, 2_000],
        [10_000, 25_000],
        [29_000, 45_000, 90_000],
        [360_000, 500_000],
      ]),
      failureProbability: random.pick([0, 0, 0, 0.1, 0.5]),
    },
    crashModels: {
      node: generateCrashModel(random, NODE_STEPS),
      controller: generateCrashModel(random, CONTROLLER_STEPS),
      server: generateCrashModel(random, SERVER_STEPS),
    },
    diskErrorProbability: random.pick([0, 0, 0, 0.02, 0.2]),
    skews: Array.from({ length: 8 }, () => random.between(-2_000, 2_000)),
    incidents: [
      ...generateIncidents(random, faultPhaseMs, controllers, nodes, replicas, combined),
      ...administered,
      ...relaying.switches,
      ...(feed?.incidents ?? []),
    ],
    attacker: attacked ? generateAttacker(random, rogue) : undefined,
    suspending: withProbability(0.05)
      ? { after: random.pick<Kind>(['M1', 'M5']), from: 0, probability: 0.1, ms: random.pick([20_000, 310_000]) }
      : undefined,
    bootsAtEpoch: [],
    grace: LONG_GRACE_S,
    powerCuts: undefined,
  };
}

function generateNodes(random: SeededRandom, controllers: readonly number[], rogue: boolean, attacked: boolean): NodeScenario[] {
  const count = random.pick([1, 1, 2, 2, 3, 4]);
  const shared = random.uniform() < 0.4;
  const lifetimes = random.pick([[0], [90, 300], [0, 300, 3_600], [120]]);
  const node = (idI: number, ik: number, compromised: boolean): NodeScenario => {
    const assigned = compromised && rogue && random.below(2) === 0 ? ROGUE_IDC : random.pick(controllers);
    const bound = controllers.filter((idC) => idC === assigned || random.below(2) === 0);
    return {
      idI,
      ik,
      controllers: assigned === ROGUE_IDC ? [ROGUE_IDC] : random.below(5) === 0 ? 'any' : bound,
      endpoints: assigned === ROGUE_IDC ? [ROGUE_IDC] : bound,
      assigned,
      lifetime: random.pick(lifetimes),
      compromised,
      diskErrorProbability: random.pick([0, 0, 0, 0.02, 0.1]),
      startsAt: random.below(20_000),
    };
  };
  const nodes = Array.from({ length: count }, (_, i) => node(i + 1, shared ? 1 : i + 1, false));
  // The attacker's own node, and an honest user's that was installed with the same IK: both are
  // lost to it.
  if (attacked && random.uniform() < 0.4) nodes.push(node(101, 101, true));
  if (attacked && random.uniform() < 0.15) nodes.push(node(102, 101, true));
  return nodes;
}

function generateNetworkConditions(random: SeededRandom, faultPhaseMs: number): NetworkConditions {
  const base = random.pick([0, 0, 0.02, 0.1, 0.3]);
  const lost = Object.fromEntries(KINDS.map((kind) => [kind, base])) as Record<Kind, number>;
  for (let i = random.below(3); i > 0; i--) lost[random.pick(KINDS)] = random.pick([0.5, 0.9, 1]);
  const from = random.below(Math.min(60_000, faultPhaseMs));
  return {
    lost,
    blackout:
      random.uniform() < 0.4
        ? {
            kinds: random.pick<readonly Kind[]>([['M5'], ['M6'], ['M7'], ['M7', 'M5'], ['M8'], ['M4'], ['M3'], KINDS]),
            from,
            to: from + random.pick([20_000, 100_000, 400_000, 600_000]),
          }
        : undefined,
    doubled: random.pick([0, 0.05, 0.3]),
    corrupted: random.pick([0, 0, 0.02, 0.1]),
    misrouted: random.pick([0, 0, 0.05, 0.3]),
    rewritten: random.pick([0, 0, 0, 0.1]),
    delayed: {
      kinds: random.pick<readonly Kind[]>([KINDS, ['M4'], ['M5'], ['M6'], ['M7'], ['M8'], ['M3'], ['M2', 'M7']]),
      probability: random.pick([0, 0.05, 0.3, 0.9]),
      ms: random.pick([
        [0, 3_000],
        [2_000, 20_000],
        [20_000, 90_000],
        [60_000, 110_000],
        [100_000, 600_000],
      ]),
    },
    feed: { lost: 0, delayed: { probability: 0, ms: [0, 0] }, blackout: undefined },
  };
}

const NODE_STEPS = [
  'takes an answer',
  'writes a file aside',
  'syncs the file aside',
  'renames the file',
  'syncs the folder',
  'goes on after a write',
  'retransmits',
];
const CONTROLLER_STEPS = ['takes a request', 'takes an answer', 'syncs the folder', 'goes on after a write'];
const SERVER_STEPS = ['takes a request', 'learns how its commit ended'];

function generateCrashModel(random: SeededRandom, steps: readonly string[]): CrashModel {
  const mortal = random.uniform() < 0.5;
  const focused = random.uniform() < 0.25;
  return {
    probabilityPerStep: mortal ? random.pick([0.001, 0.005, 0.02]) : 0,
    hotStep: focused ? { step: random.pick(steps), probability: random.pick([0.1, 0.4, 0.7]) } : undefined,
    powerLossProbability: random.pick([0, 0.5, 1]),
    downtimeMs: random.pick([
      [200, 2_000],
      [1_000, 20_000],
      [10_000, 120_000],
    ]),
  };
}

function generateIncidents(
  random: SeededRandom,
  faultPhaseMs: number,
  controllers: readonly number[],
  nodes: readonly NodeScenario[],
  replicas: number,
  combined: boolean,
): Incident[] {
  const incidents: Incident[] = [];
  const at = (): number => random.below(faultPhaseMs);
  const times = (p: number, most: number): number => (random.uniform() < p ? random.between(1, most) : 0);
  for (let i = times(0.4, 4); i > 0; i--) {
    const error = random.pick(SERVER_ERRORS);
    const when = random.uniform() < 0.5 ? at() : Math.min(faultPhaseMs - 1, random.between(300_000, 450_000));
    incidents.push({ at: when, what: 'clock', host: random.pick(['s', 'all']), error });
  }
  for (let i = combined ? 0 : times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'clock', host: `c${random.pick(controllers)}`, error: random.pick(CONTROLLER_ERRORS) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'clock', host: `n${random.pick(nodes).idI}`, error: random.pick(NODE_ERRORS) });
  for (let i = times(0.3, 20); i > 0; i--)
    incidents.push({ at: at(), what: 'sleep', idI: random.pick(nodes).idI, ms: random.pick([500, 20_000, 120_000, 310_000]) });
  for (let i = times(0.2, 2); i > 0; i--)
    incidents.push({ at: at(), what: 'folder', idC: random.pick(controllers), downMs: random.between(100, 5_000) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'off', server: random.below(replicas), downMs: random.between(1_000, 200_000) });
  for (let i = times(0.2, 4); i > 0; i--)
    incidents.push({ at: at(), what: 'reassign', idI: random.pick(nodes).idI, idC: random.pick(controllers) });
  for (let i = times(0.2, 6); i > 0; i--)
    incidents.push({ at: at(), what: 'install', idI: random.pick(nodes).idI, downMs: random.between(1_000, 20_000) });
  return incidents;
}

/** Many worlds have controllers of both kinds. */
function drawPassThrough(
  random: SeededRandom,
  faultPhaseMs: number,
  controllers: readonly number[],
): Pick<Scenario, 'passThrough' | 'dishonest'> & { readonly switches: readonly Incident[] } {
  const isPlain = random.uniform() < 0.55;
  const passThrough = isPlain ? [] : controllers.filter(() => random.uniform() < 0.75);
  const [first] = passThrough;
  const tactic = random.pick<DishonestTactic>(['steers', 'keeps M7 back', 'varies']);
  const dishonest = first !== undefined && random.uniform() < 0.5 ? { idC: first, tactic } : undefined;
  const switched = controllers.filter((idC) => idC !== dishonest?.idC);
  const switches: Incident[] = [];
  for (let i = isPlain || switched.length === 0 ? 0 : random.pick([0, 1, 4]); i > 0; i--) {
    const at = random.below(faultPhaseMs);
    switches.push({ at, what: 'switch', idC: random.pick(switched), passThrough: random.below(2) === 0 });
  }
  return { passThrough, dishonest, switches };
}

function drawAdministration(random: SeededRandom, faultPhaseMs: number, nodes: readonly NodeScenario[]): Incident[] {
  const incidents: Incident[] = [];
  for (let i = random.uniform() < 0.2 ? random.between(1, 4) : 0; i > 0; i--)
    incidents.push(drawReset(random, random.pick(nodes).idI, random.below(faultPhaseMs)));
  if (random.uniform() < 0.07) incidents.push(drawRestore(random, faultPhaseMs));
  return incidents;
}

/** In some worlds controllers follow the key feed: administrators are busier there. */
function drawKeyFeed(
  random: SeededRandom,
  faultPhaseMs: number,
  controllers: readonly number[],
  nodes: readonly NodeScenario[],
):
  | {
      readonly scenario: KeyFeedScenario;
      readonly network: Partial<NetworkConditions>;
      readonly incidents: readonly Incident[];
    }
  | undefined {
  if (random.uniform() >= KEY_FEED_PROBABILITY) return undefined;
  const at = (): number => random.below(faultPhaseMs);
  const incidents: Incident[] = [];
  for (let i = random.pick([0, 2, 8]); i > 0; i--)
    incidents.push({ at: at(), what: 'disable', idI: random.pick(nodes).idI, ms: random.pick([2_000, 20_000, 100_000]) });
  for (let i = random.pick([0, 0, 1, 4]); i > 0; i--)
    incidents.push({ at: at(), what: 'reassign', idI: random.pick(nodes).idI, idC: random.pick(controllers) });
  for (let i = random.pick([0, 0, 2]); i > 0; i--) incidents.push(drawReset(random, random.pick(nodes).idI, at()));
  if (random.below(3) === 0) incidents.push({ ...drawRestore(random, faultPhaseMs), afterCommit: random.below(2) === 0 });
  const from = at();
  const feed: FeedConditions = {
    lost: random.pick([0, 0.1, 0.5]),
    delayed: {
      probability: random.pick([0, 0.1, 0.5]),
      ms: random.pick([
        [0, 3_000],
        [2_000, 14_000],
        [10_000, 60_000],
      ]),
    },
    blackout: random.below(3) === 0 ? { from, to: from + random.pick([30_000, 100_000, 400_000]) } : undefined,
  };
  // Joins of which the feed has told before the controller learns of them.
  const delayed = { kinds: ['M8'], probability: 0.5, ms: [2_000, 14_000] } as const;
  return {
    scenario: { changesAfterCommit: random.pick([0, 0.3, 0.7]) },
    network: { feed, ...(random.below(3) === 0 ? { delayed } : {}) },
    incidents,
  };
}

function drawRestore(random: SeededRandom, faultPhaseMs: number): Restore {
  const ageMs = random.pick([1_000, 30_000, 100_000, 400_000]);
  const at = Math.min(faultPhaseMs - 1, ageMs + random.below(faultPhaseMs));
  return { at, what: 'restore', ageMs, downMs: random.between(100, 20_000), gapMs: drawGap(random) };
}

export function drawReset(random: SeededRandom, idI: number, at: number): Reset {
  const how = random.pick(['reset', 'import'] as const);
  return { at, what: 'reset', idI, how, first: random.pick(['device', 'registry'] as const), gapMs: drawGap(random) };
}

/** Between two commands of an administrator's, in ms. */
function drawGap(random: SeededRandom): number {
  return random.pick([0, 200, 5_000, 40_000]);
}

function generateAttacker(random: SeededRandom, rogue: boolean): AttackerScenario {
  const tricks = TACTICS.filter((trick) => random.below(2) === 0 && (trick !== 'own controller' || rogue));
  const reaction = (): AttackerScenario['reactions'][number] => ({
    to: random.pick<Kind>(['M1', 'M4', 'M5', 'M5', 'M7', 'M6']),
    trick: random.pick<Tactic>(['outcome', 'outcome', 'replay', 'splice', 'forge', 'confirmations']),
    probability: random.pick([0.05, 0.3, 0.9]),
  });
  return {
    tactics: tricks.length === 0 ? ['replay'] : tricks,
    turns: random.pick([5, 20, 60]),
    from: 0,
    reactions: random.below(2) === 0 ? [] : [reaction(), reaction()],
    persistsWith: random.pick(['no', 'no', 'flood', 'wrong proofs'] as const),
  };
}
