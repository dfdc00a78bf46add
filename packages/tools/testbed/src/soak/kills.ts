/**
 * kill -9 of every daemon at random moments, under load: node agents and fleets of nodes that renew
 * keys of a few seconds, over one controller and one auth-server. Now and then all of them at once,
 * as when the power fails; then what the disks hold is compared.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { DaemonProcess } from '../process.js';
import type { Campaign, Scale } from './campaign.js';
import { findKeyMismatches, joinOnceMore, SoakEnvironment, nodeOnDisk, type SoakNode } from './environment.js';

interface KillSize {
  readonly kills: number;
  readonly agents: number;
  readonly fleets: number;
  readonly nodesPerFleet: number;
  /** Kills between two power failures. */
  readonly blackoutEvery: number;
}

const SIZES: Readonly<Record<Scale, KillSize>> = {
  full: { kills: 1_000, agents: 8, fleets: 4, nodesPerFleet: 15, blackoutEvery: 100 },
  medium: { kills: 60, agents: 4, fleets: 2, nodesPerFleet: 10, blackoutEvery: 30 },
  short: { kills: 20, agents: 2, fleets: 1, nodesPerFleet: 8, blackoutEvery: 20 },
};

/** Renewed after some five seconds. */
const LIFETIME = '6s';
/**
 * Between two kills at most, in ms: long enough for what was killed to come up and be killed at
 * work, not only in starting.
 */
const MAX_KILL_INTERVAL_MS = 1_400;

/** A daemon that is started again whenever it was killed. */
interface RestartedProcess {
  readonly kind: 'auth-server' | 'controller' | 'node-agent' | 'fleet';
  readonly nodes: readonly SoakNode[];
  readonly start: () => Promise<DaemonProcess>;
  running: DaemonProcess;
}

/** A key that a node had confirmed when it was looked at. */
interface ConfirmedKey {
  readonly node: string;
  readonly key: string;
}

class KillCampaign {
  readonly counts: Record<RestartedProcess['kind'], number> = { 'auth-server': 0, controller: 0, 'node-agent': 0, fleet: 0 };
  readonly confirmed: ConfirmedKey[] = [];
  readonly #environment: SoakEnvironment;
  readonly #victims: readonly RestartedProcess[];
  readonly #servers: DaemonProcess[] = [];
  /**
   * `ID key`, as the registry had it whenever its server was dead: also what was committed a moment
   * before, with no time to say so.
   */
  readonly #registered = new Set<string>();

  constructor(environment: SoakEnvironment, victims: readonly RestartedProcess[]) {
    this.#environment = environment;
    this.#victims = victims;
  }

  get total(): number {
    return Object.values(this.counts).reduce((sum, n) => sum + n, 0);
  }

  async killAndRestart(victim: RestartedProcess): Promise<void> {
    await this.#kill(victim);
    await this.#recordConfirmedKeys(victim.nodes);
    victim.running = await victim.start();
  }

  /** Everything at once; `whileDark` sees what the disks hold. */
  async blackout<T>(whileDark: () => Promise<T>): Promise<T> {
    await this.killAll();
    await this.#recordConfirmedKeys(this.#victims.flatMap(({ nodes }) => nodes));
    const seen = await whileDark();
    await Promise.all(this.#victims.map(async (victim) => (victim.running = await victim.start())));
    return seen;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.#victims.map((victim) => this.#kill(victim)));
  }

  /** Keys that nodes confirmed and no auth-server ever had (invariant 2). */
  findUncommittedKeys(): string[] {
    const said = this.#servers
      .flatMap(({ lines }) => lines)
      .filter(({ msg }) => msg === 'node has a new key')
      .map((line) => `${String(line['node'])} ${String(line['key'])}`);
    const committed = new Set([...this.#registered, ...said]);
    return this.confirmed
      .filter(({ node, key }) => !committed.has(`${node} ${key}`))
      .map(({ node, key }) => `node ${node} confirmed ${key}, which no server committed`);
  }

  async #kill(victim: RestartedProcess): Promise<void> {
    const code = await victim.running.stop('SIGKILL');
    // A daemon that ended by itself before is a failure of its own.
    if (code !== null) throw new Error(`${victim.kind} had ended with ${code}:\n${victim.running.transcript().slice(-2_000)}`);
    this.counts[victim.kind] += 1;
    if (victim.kind !== 'auth-server') return;
    this.#servers.push(victim.running);
    for (const [node, key] of await this.#environment.registryKeys()) this.#registered.add(`${node} ${key}`);
  }

  async #recordConfirmedKeys(nodes: readonly SoakNode[]): Promise<void> {
    for (const node of nodes) {
      const { state } = await nodeOnDisk(node);
      if (!state.initial) this.confirmed.push({ node: node.id, key: state.confirmed.fingerprint });
    }
  }
}

export const kills: Campaign = async ({ scale, seed, report, passThrough = false }) => {
  const size = SIZES[scale];
  const random = new SeededRandom(seed, 'kills');
  const environment = await SoakEnvironment.create({ passThrough });
  try {
    const nodes = await environment.install({ count: size.agents + size.fleets * size.nodesPerFleet, lifetime: LIFETIME });
    const victims = await startVictims(environment, nodes, size);
    const campaign = new KillCampaign(environment, victims);
    const failures: string[] = [];
    for (let i = 1; i <= size.kills; i++) {
      await pause(random.below(MAX_KILL_INTERVAL_MS));
      if (i % size.blackoutEvery === 0) failures.push(...(await campaign.blackout(() => findKeyMismatches(environment, nodes))));
      else await campaign.killAndRestart(victimOf(victims, random));
      report(`${campaign.total} kills, ${campaign.confirmed.length} looks at what a node confirmed`);
      if (campaign.total >= size.kills) break;
    }
    await campaign.killAll();
    failures.push(...(await findKeyMismatches(environment, nodes)), ...campaign.findUncommittedKeys());
    report('every node joins once more');
    await Promise.all([environment.startAuthServer().listening(), environment.startController().listening()]);
    failures.push(...(await joinOnceMore(environment, nodes)));
    return {
      counts: { nodes: nodes.length, ...campaign.counts, kills: campaign.total, 'keys compared': campaign.confirmed.length },
      failures,
    };
  } finally {
    await environment.network.remove();
  }
};

async function startVictims(
  environment: SoakEnvironment,
  nodes: readonly SoakNode[],
  size: KillSize,
): Promise<RestartedProcess[]> {
  const of = async (
    kind: RestartedProcess['kind'],
    its: readonly SoakNode[],
    start: RestartedProcess['start'],
  ): Promise<RestartedProcess> => ({
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
    of('auth-server', [], () => Promise.resolve(environment.startAuthServer())),
    of('controller', [], () => Promise.resolve(environment.startController())),
    ...agents.map((node) => of('node-agent', [node], () => Promise.resolve(environment.startNode(node)))),
    ...fleets.map((fleet) => of('fleet', fleet, () => environment.startFleet('run', fleet))),
  ]);
}

/** Each kind as often as the next: there is one controller and many nodes. */
function victimOf(victims: readonly RestartedProcess[], random: SeededRandom): RestartedProcess {
  const kind = random.pick(['auth-server', 'controller', 'node-agent', 'fleet'] as const);
  return random.pick(victims.filter((victim) => victim.kind === kind));
}
