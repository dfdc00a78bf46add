/**
 * What a world is like, drawn from its seed: who is in it, how the network and the disks do, when clocks jump, what the attacker is up to. Each
 * seed draws its own kinds of trouble and leaves out others: a world in which everything goes wrong a little reaches less than many worlds
 * in which one thing goes badly wrong.
 */

import type { RespondentBounds } from '@latchkey/protocol';
import { Chance } from './chance.js';
import { type Kind, KINDS, type Weather } from './network.js';
import type { Mortality } from './process.js';
import type { StoreWeather } from './store.js';

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
  readonly fallen: boolean;
  readonly diskErrors: number;
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
  | Reset
  | Restore;

/** A device that has lost its state, and its node in the registry, are put back to the initial key, with `gapMs` between two steps. */
export interface Reset {
  readonly at: number;
  readonly what: 'reset';
  readonly idI: number;
  /** `reset` in the registry, or removed and imported again. */
  readonly how: 'reset' | 'import';
  readonly first: 'device' | 'registry';
  readonly gapMs: number;
}

/** The registry is put back as it was `ageMs` before, and each node that has got another key since to its initial key. */
export interface Restore {
  readonly at: number;
  readonly what: 'restore';
  readonly ageMs: number;
  /** For how long no server runs. */
  readonly downMs: number;
  readonly gapMs: number;
}

/**
 * Devices whose power is cut again and again, on which nothing else fails: they must renew their
 * keys all the same. Times in ms.
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

const TRICKS = ['replay', 'splice', 'forge', 'flood', 'outcome', 'commits', 'confirmations', 'own controller'] as const;
export type Trick = (typeof TRICKS)[number];

export interface AttackerScenario {
  /** What it does from time to time, and how often. */
  readonly tricks: readonly Trick[];
  readonly turns: number;
  /** When its turns begin, in ms. */
  readonly from: number;
  /** What it does whenever it sees such a message go by, and how probably. */
  readonly reactions: readonly { readonly to: Kind; readonly trick: Trick; readonly probability: number }[];
  /** What it goes on with once faults have ended: nothing an honest node could not outlast. */
  readonly persists: 'no' | 'flood' | 'wrong proofs';
}

export interface Scenario {
  readonly nodes: readonly NodeScenario[];
  /** ID_c of the honest ones. */
  readonly controllers: readonly number[];
  /** Whether the attacker has a controller of its own, with a valid SK_cs. */
  readonly rogue: boolean;
  readonly replicas: number;
  /** The first controller has the registry itself. */
  readonly combined: boolean;
  readonly sharedNetwork: boolean;
  readonly bounds: RespondentBounds;
  /** When faults end, in ms. */
  readonly troubleMs: number;
  readonly weather: Weather;
  readonly store: StoreWeather;
  readonly mortality: { readonly node: Mortality; readonly controller: Mortality; readonly server: Mortality };
  readonly diskErrors: number;
  readonly skews: readonly number[];
  readonly incidents: readonly Incident[];
  readonly attacker: AttackerScenario | undefined;
  /** Nodes' machines that sleep once they have sent such a message, for so many ms, from some time on. */
  readonly sleepy: { readonly after: Kind; readonly from: number; readonly probability: number; readonly ms: number } | undefined;
  /** Controllers whose clock begins at one and the same time at each start. */
  readonly bootsAtNought: readonly number[];
  /** For how long an expired key may still renew itself, in seconds. */
  readonly grace: number;
  readonly powerCuts: PowerCuts | undefined;
}

/** No world's faults last so long, in seconds. */
const LONG_GRACE_S = 365 * 86_400;

export const ROGUE_IDC = 9;

/** How wrong clocks get, in ms. */
const SERVER_ERRORS = [
  -86_400_000, -3_000_000, -600_000, -350_000, -300_000, -250_000, -220_000, -150_000, -60_000, -3_000, 3_000, 40_000, 600_000,
  18_000_000, 31_536_000_000,
];
const CONTROLLER_ERRORS = [-172_800_000, -3_000_000, -50_000, -20_000, 10_000, 25_000, 50_000, 3_000_000, 172_800_000];
const NODE_ERRORS = [-86_400_000, -600_000, 600_000, 31_536_000_000];

export function drawScenario(seed: number): Scenario {
  const chance = new Chance(seed, 'scenario');
  const rarely = (p: number): boolean => chance.uniform() < p;
  const combined = rarely(0.15);
  const controllers = Array.from({ length: chance.pick([1, 1, 2, 2, 3]) }, (_, i) => i + 1);
  const rogue = rarely(0.3);
  const troubleMs = chance.pick([120, 300, 500, 500, 700, 1_000]) * 1000;
  const attacked = rarely(0.6);
  const nodes = drawNodes(chance, controllers, rogue, attacked);
  const replicas = combined ? 1 : chance.pick([1, 2, 2, 3]);
  const administered = drawAdministration(new Chance(seed, 'administrator'), troubleMs, nodes);
  return {
    nodes,
    controllers,
    rogue,
    replicas,
    combined,
    sharedNetwork: rarely(0.3),
    bounds: chance.pick([
      { total: 8, perSource: 4 },
      { total: 16, perSource: 8 },
      { total: 64, perSource: 16 },
    ]),
    troubleMs,
    weather: drawWeather(chance, troubleMs),
    store: {
      stalled: chance.pick([0, 0, 0.02, 0.2, 0.5]),
      stallMs: chance.pick([
        [200, 2_000],
        [10_000, 25_000],
        [29_000, 45_000, 90_000],
        [360_000, 500_000],
      ]),
      refused: chance.pick([0, 0, 0, 0.1, 0.5]),
    },
    mortality: {
      node: drawMortality(chance, NODE_STEPS),
      controller: drawMortality(chance, CONTROLLER_STEPS),
      server: drawMortality(chance, SERVER_STEPS),
    },
    diskErrors: chance.pick([0, 0, 0, 0.02, 0.2]),
    skews: Array.from({ length: 8 }, () => chance.between(-2_000, 2_000)),
    incidents: [...drawIncidents(chance, troubleMs, controllers, nodes, replicas, combined), ...administered],
    attacker: attacked ? drawAttacker(chance, rogue) : undefined,
    sleepy: rarely(0.05)
      ? { after: chance.pick<Kind>(['M1', 'M5']), from: 0, probability: 0.1, ms: chance.pick([20_000, 310_000]) }
      : undefined,
    bootsAtNought: [],
    grace: LONG_GRACE_S,
    powerCuts: undefined,
  };
}

function drawNodes(chance: Chance, controllers: readonly number[], rogue: boolean, attacked: boolean): NodeScenario[] {
  const count = chance.pick([1, 1, 2, 2, 3, 4]);
  const shared = chance.uniform() < 0.4;
  const lifetimes = chance.pick([[0], [90, 300], [0, 300, 3_600], [120]]);
  const node = (idI: number, ik: number, fallen: boolean): NodeScenario => {
    const assigned = fallen && rogue && chance.below(2) === 0 ? ROGUE_IDC : chance.pick(controllers);
    const bound = controllers.filter((idC) => idC === assigned || chance.below(2) === 0);
    return {
      idI,
      ik,
      controllers: assigned === ROGUE_IDC ? [ROGUE_IDC] : chance.below(5) === 0 ? 'any' : bound,
      endpoints: assigned === ROGUE_IDC ? [ROGUE_IDC] : bound,
      assigned,
      lifetime: chance.pick(lifetimes),
      fallen,
      diskErrors: chance.pick([0, 0, 0, 0.02, 0.1]),
      startsAt: chance.below(20_000),
    };
  };
  const nodes = Array.from({ length: count }, (_, i) => node(i + 1, shared ? 1 : i + 1, false));
  // The attacker's own node, and an honest user's that was installed with the same IK: both are lost to it.
  if (attacked && chance.uniform() < 0.4) nodes.push(node(101, 101, true));
  if (attacked && chance.uniform() < 0.15) nodes.push(node(102, 101, true));
  return nodes;
}

function drawWeather(chance: Chance, troubleMs: number): Weather {
  const base = chance.pick([0, 0, 0.02, 0.1, 0.3]);
  const lost = Object.fromEntries(KINDS.map((kind) => [kind, base])) as Record<Kind, number>;
  for (let i = chance.below(3); i > 0; i--) lost[chance.pick(KINDS)] = chance.pick([0.5, 0.9, 1]);
  const from = chance.below(Math.min(60_000, troubleMs));
  return {
    lost,
    siege:
      chance.uniform() < 0.4
        ? {
            kinds: chance.pick<readonly Kind[]>([['M5'], ['M6'], ['M7'], ['M7', 'M5'], ['M8'], ['M4'], ['M3'], KINDS]),
            from,
            to: from + chance.pick([20_000, 100_000, 400_000, 600_000]),
          }
        : undefined,
    doubled: chance.pick([0, 0.05, 0.3]),
    corrupted: chance.pick([0, 0, 0.02, 0.1]),
    misrouted: chance.pick([0, 0, 0.05, 0.3]),
    rewritten: chance.pick([0, 0, 0, 0.1]),
    held: {
      kinds: chance.pick<readonly Kind[]>([KINDS, ['M4'], ['M5'], ['M6'], ['M7'], ['M8'], ['M3'], ['M2', 'M7']]),
      probability: chance.pick([0, 0.05, 0.3, 0.9]),
      ms: chance.pick([
        [0, 3_000],
        [2_000, 20_000],
        [20_000, 90_000],
        [60_000, 110_000],
        [100_000, 600_000],
      ]),
    },
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

function drawMortality(chance: Chance, steps: readonly string[]): Mortality {
  const mortal = chance.uniform() < 0.5;
  const focused = chance.uniform() < 0.25;
  return {
    perStep: mortal ? chance.pick([0.001, 0.005, 0.02]) : 0,
    focus: focused ? { step: chance.pick(steps), probability: chance.pick([0.1, 0.4, 0.7]) } : undefined,
    power: chance.pick([0, 0.5, 1]),
    down: chance.pick([
      [200, 2_000],
      [1_000, 20_000],
      [10_000, 120_000],
    ]),
  };
}

function drawIncidents(
  chance: Chance,
  troubleMs: number,
  controllers: readonly number[],
  nodes: readonly NodeScenario[],
  replicas: number,
  combined: boolean,
): Incident[] {
  const incidents: Incident[] = [];
  const at = (): number => chance.below(troubleMs);
  const times = (p: number, most: number): number => (chance.uniform() < p ? chance.between(1, most) : 0);
  for (let i = times(0.4, 4); i > 0; i--) {
    const error = chance.pick(SERVER_ERRORS);
    const when = chance.uniform() < 0.5 ? at() : Math.min(troubleMs - 1, chance.between(300_000, 450_000));
    incidents.push({ at: when, what: 'clock', host: chance.pick(['s', 'all']), error });
  }
  for (let i = combined ? 0 : times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'clock', host: `c${chance.pick(controllers)}`, error: chance.pick(CONTROLLER_ERRORS) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'clock', host: `n${chance.pick(nodes).idI}`, error: chance.pick(NODE_ERRORS) });
  for (let i = times(0.3, 20); i > 0; i--)
    incidents.push({ at: at(), what: 'sleep', idI: chance.pick(nodes).idI, ms: chance.pick([500, 20_000, 120_000, 310_000]) });
  for (let i = times(0.2, 2); i > 0; i--)
    incidents.push({ at: at(), what: 'folder', idC: chance.pick(controllers), downMs: chance.between(100, 5_000) });
  for (let i = times(0.3, 3); i > 0; i--)
    incidents.push({ at: at(), what: 'off', server: chance.below(replicas), downMs: chance.between(1_000, 200_000) });
  for (let i = times(0.2, 4); i > 0; i--)
    incidents.push({ at: at(), what: 'reassign', idI: chance.pick(nodes).idI, idC: chance.pick(controllers) });
  for (let i = times(0.2, 6); i > 0; i--)
    incidents.push({ at: at(), what: 'install', idI: chance.pick(nodes).idI, downMs: chance.between(1_000, 20_000) });
  return incidents;
}

function drawAdministration(chance: Chance, troubleMs: number, nodes: readonly NodeScenario[]): Incident[] {
  const incidents: Incident[] = [];
  for (let i = chance.uniform() < 0.2 ? chance.between(1, 4) : 0; i > 0; i--)
    incidents.push(drawReset(chance, chance.pick(nodes).idI, chance.below(troubleMs)));
  if (chance.uniform() < 0.07) {
    const ageMs = chance.pick([1_000, 30_000, 100_000, 400_000]);
    const at = Math.min(troubleMs - 1, ageMs + chance.below(troubleMs));
    incidents.push({ at, what: 'restore', ageMs, downMs: chance.between(100, 20_000), gapMs: drawGap(chance) });
  }
  return incidents;
}

export function drawReset(chance: Chance, idI: number, at: number): Reset {
  const how = chance.pick(['reset', 'import'] as const);
  return { at, what: 'reset', idI, how, first: chance.pick(['device', 'registry'] as const), gapMs: drawGap(chance) };
}

/** Between two commands of an administrator's, in ms. */
function drawGap(chance: Chance): number {
  return chance.pick([0, 200, 5_000, 40_000]);
}

function drawAttacker(chance: Chance, rogue: boolean): AttackerScenario {
  const tricks = TRICKS.filter((trick) => chance.below(2) === 0 && (trick !== 'own controller' || rogue));
  const reaction = (): AttackerScenario['reactions'][number] => ({
    to: chance.pick<Kind>(['M1', 'M4', 'M5', 'M5', 'M7', 'M6']),
    trick: chance.pick<Trick>(['outcome', 'outcome', 'replay', 'splice', 'forge', 'confirmations']),
    probability: chance.pick([0.05, 0.3, 0.9]),
  });
  return {
    tricks: tricks.length === 0 ? ['replay'] : tricks,
    turns: chance.pick([5, 20, 60]),
    from: 0,
    reactions: chance.below(2) === 0 ? [] : [reaction(), reaction()],
    persists: chance.pick(['no', 'no', 'flood', 'wrong proofs'] as const),
  };
}
