/**
 * kill -9 of every daemon at random moments, under load: node agents and fleets of nodes that renew keys of a few seconds, over one
 * controller and one auth-server. Now and then all of them at once, as when the power fails; then what the disks hold is compared.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { type DaemonProcess } from '../process.js';
import type { Campaign, Scale } from './campaign.js';
import { Draw } from './draw.js';
import { disagreements, Ground, nodeOnDisk, type SoakNode } from './ground.js';

interface Size {
  readonly kills: number;
  readonly agents: number;
  readonly fleets: number;
  readonly nodesPerFleet: number;
  /** Kills between two power failures. */
  readonly blackoutEvery: number;
}

const SIZES: Readonly<Record<Scale, Size>> = {
  full: { kills: 1_000, agents: 8, fleets: 4, nodesPerFleet: 15, blackoutEvery: 100 },
  medium: { kills: 60, agents: 4, fleets: 2, nodesPerFleet: 10, blackoutEvery: 30 },
  short: { kills: 20, agents: 2, fleets: 1, nodesPerFleet: 8, blackoutEvery: 20 },
};

/** Renewed after some five seconds. */
const LIFETIME = '6s';
/** Between two kills at most, in ms: long enough for what was killed to come up and be killed at work, not only in starting. */
const LONGEST_PAUSE_MS = 1_400;
/** For every node to join once more when all is up again: candidates may have to grow 300 s old first. In ms. */
const LAST_JOIN_MS = 12 * 60_000;

/** A daemon that is started again whenever it was killed. */
interface Victim {
  readonly kind: 'auth-server' | 'controller' | 'node-agent' | 'fleet';
  readonly nodes: readonly SoakNode[];
  readonly start: () => Promise<DaemonProcess>;
  running: DaemonProcess;
}

/** A key that a node had confirmed when it was looked at. */
interface Confirmed {
  readonly node: string;
  readonly key: string;
}

class Carnage {
  readonly counts: Record<Victim['kind'], number> = { 'auth-server': 0, controller: 0, 'node-agent': 0, fleet: 0 };
  readonly confirmed: Confirmed[] = [];
  readonly #ground: Ground;
  readonly #victims: readonly Victim[];
  readonly #servers: DaemonProcess[] = [];
  /** `ID key`, as the registry had it whenever its server was dead: also what was committed a moment before, with no time to say so. */
  readonly #registered = new Set<string>();

  constructor(ground: Ground, victims: readonly Victim[]) {
    this.#ground = ground;
    this.#victims = victims;
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, n) => sum + n, 0);
  }

  async killAndRestart(victim: Victim): Promise<void> {
    await this.#kill(victim);
    await this.#look(victim.nodes);
    victim.running = await victim.start();
  }

  /** Everything at once; `whileDark` sees what the disks hold. */
  async blackout<T>(whileDark: () => Promise<T>): Promise<T> {
    await this.killAll();
    await this.#look(this.#victims.flatMap(({ nodes }) => nodes));
    const seen = await whileDark();
    await Promise.all(this.#victims.map(async (victim) => (victim.running = await victim.start())));
    return seen;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.#victims.map((victim) => this.#kill(victim)));
  }

  /** Keys that nodes confirmed and no auth-server ever had (invariant 2). */
  unfounded(): string[] {
    const said = this.#servers
      .flatMap(({ lines }) => lines)
      .filter(({ msg }) => msg === 'node has a new key')
      .map((line) => `${String(line['node'])} ${String(line['key'])}`);
    const committed = new Set([...this.#registered, ...said]);
    return this.confirmed
      .filter(({ node, key }) => !committed.has(`${node} ${key}`))
      .map(({ node, key }) => `node ${node} confirmed ${key}, which no server committed`);
  }

  async #kill(victim: Victim): Promise<void> {
    const code = await victim.running.stop('SIGKILL');
    // A daemon that ended by itself before is a failure of its own.
    if (code !== null) throw new Error(`${victim.kind} had ended with ${code}:\n${victim.running.transcript().slice(-2_000)}`);
    this.counts[victim.kind] += 1;
    if (victim.kind !== 'auth-server') return;
    this.#servers.push(victim.running);
    for (const [node, key] of await this.#ground.registryKeys()) this.#registered.add(`${node} ${key}`);
  }

  async #look(nodes: readonly SoakNode[]): Promise<void> {
    for (const node of nodes) {
      const { state } = await nodeOnDisk(node);
      if (!state.initial) this.confirmed.push({ node: node.id, key: state.confirmed.fingerprint });
    }
  }
}

export const kills: Campaign = async ({ scale, seed, say }) => {
  const size = SIZES[scale];
  const draw = new Draw(seed);
  const ground = await Ground.create();
  try {
    const nodes = await ground.install({ count: size.agents + size.fleets * size.nodesPerFleet, lifetime: LIFETIME });
    const victims = await startVictims(ground, nodes, size);
    const carnage = new Carnage(ground, victims);
    const failures: string[] = [];
    for (let i = 1; i <= size.kills; i++) {
      await pause(draw.below(LONGEST_PAUSE_MS));
      if (i % size.blackoutEvery === 0) failures.push(...(await carnage.blackout(() => disagreements(ground, nodes))));
      else await carnage.killAndRestart(victimOf(victims, draw));
      say(`${carnage.total} kills, ${carnage.confirmed.length} looks at what a node confirmed`);
      if (carnage.total >= size.kills) break;
    }
    await carnage.killAll();
    failures.push(...(await disagreements(ground, nodes)), ...carnage.unfounded());
    say('every node joins once more');
    failures.push(...(await joinOnceMore(ground, nodes)));
    return {
      counts: { nodes: nodes.length, ...carnage.counts, kills: carnage.total, 'keys compared': carnage.confirmed.length },
      failures,
    };
  } finally {
    await ground.network.remove();
  }
};

async function startVictims(ground: Ground, nodes: readonly SoakNode[], size: Size): Promise<Victim[]> {
  const of = async (kind: Victim['kind'], its: readonly SoakNode[], start: Victim['start']): Promise<Victim> => ({
    kind,
    nodes: its,
    start,
    running: await start(),
  });
  const agents = nodes.slice(0, size.agents);
  const fleets = Array.from({ length: size.fleets }, (_, i) => {
    const from = size.agents + i * size.nodesPerFleet;
    return nodes.slice(from, from + size.nodesPerFleet);
  });
  return Promise.all([
    of('auth-server', [], () => Promise.resolve(ground.startAuthServer())),
    of('controller', [], () => Promise.resolve(ground.startController())),
    ...agents.map((node) => of('node-agent', [node], () => Promise.resolve(ground.startNode(node)))),
    ...fleets.map((fleet) => of('fleet', fleet, () => ground.startFleet('run', fleet))),
  ]);
}

/** Each kind as often as the next: there is one controller and many nodes. */
function victimOf(victims: readonly Victim[], draw: Draw): Victim {
  const kind = draw.pick(['auth-server', 'controller', 'node-agent', 'fleet'] as const);
  return draw.pick(victims.filter((victim) => victim.kind === kind));
}

/** With nobody killed any more, each node gets a key, and both sides hold the same one: none was locked out. */
async function joinOnceMore(ground: Ground, nodes: readonly SoakNode[]): Promise<string[]> {
  await Promise.all([ground.startAuthServer().listening(), ground.startController().listening()]);
  const fleet = await ground.startFleet('once', nodes);
  const all = await fleet.waitFor(({ msg }) => msg === 'all joined', LAST_JOIN_MS).catch(() => undefined);
  await fleet.stop();
  const joined = new Set(fleet.lines.filter(({ msg }) => msg === 'joined').map((line) => String(line['node'])));
  const late =
    all === undefined ? nodes.filter(({ id }) => !joined.has(id)).map(({ id }) => `node ${id} did not join again`) : [];
  return [...late, ...(await disagreements(ground, nodes))];
}
