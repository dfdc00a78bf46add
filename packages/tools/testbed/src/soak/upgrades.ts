/**
 * Upgrades of two auth-servers on one database, one after the other, while nodes join for the first
 * time and others join again and again. Each upgrade brings a later schema. `upgrade` has to refuse
 * while an auth-server of the version before runs, and that version must not start after it.
 */

import { PostgresCluster } from '../postgres-cluster.js';
import { DaemonProcess, type LogLine, runProcess } from '../process.js';
import type { Campaign, CampaignResult, Scale } from './campaign.js';
import { chainFaults, describeLost, findLostCommits, isCommit, keyIn } from './commits.js';
import { CONTROLLER, findKeyMismatches, joinOnceMore, SoakEnvironment, type SoakNode } from './environment.js';
import { laterVersion, makeLaterVersion } from './later-version.js';

interface UpgradeSize {
  readonly upgrades: number;
  /** Nodes that join again and again. */
  readonly renewing: number;
  /** Nodes that join for the first time, at each upgrade. */
  readonly joining: number;
}

const SIZES: Readonly<Record<Scale, UpgradeSize>> = {
  full: { upgrades: 10, renewing: 40, joining: 20 },
  medium: { upgrades: 3, renewing: 20, joining: 10 },
  short: { upgrades: 1, renewing: 10, joining: 6 },
};

/** Asks the auth-servers in the other order: so both have work. */
const OTHER_CONTROLLER = '00000002';
/** For new nodes to join: candidates may have to grow 300 s old first. In ms. */
const JOIN_TIMEOUT_MS = 12 * 60_000;

class UpgradeCampaign {
  /** The longest time without a commit during each upgrade, in ms. */
  readonly pausesMs: number[] = [];
  readonly failures: string[] = [];
  readonly #environment: SoakEnvironment;
  /** Those that run, and all there were. */
  readonly #servers: DaemonProcess[] = [];
  readonly #allServers: DaemonProcess[] = [];
  readonly #fleets: DaemonProcess[] = [];

  constructor(environment: SoakEnvironment) {
    this.#environment = environment;
  }

  async start(renewing: readonly (readonly SoakNode[])[]): Promise<void> {
    await Promise.all(this.#environment.serverAddresses.map((_, i) => this.#startServer(i)));
    const controllers = [CONTROLLER, OTHER_CONTROLLER].map((id) => this.#environment.startController({}, id));
    await Promise.all(controllers.map((controller) => controller.listening()));
    await Promise.all(renewing.map((nodes) => this.#startFleet('again', nodes)));
    await Promise.all(this.#servers.map((_, i) => this.#untilCommitOf(i)));
  }

  /** @param number of the upgrade, from 1 on */
  async upgrade(number: number, joining: readonly SoakNode[]): Promise<void> {
    const { network } = this.#environment;
    const before = network.packages;
    const later = await makeLaterVersion(network.path(`version-${number}`), number);
    const newNodes = await this.#startFleet('once', joining);
    const began = Date.now();
    for (const i of this.#servers.keys()) {
      await this.#expectRefusal(later, `which does not read schema ${number + 1}`);
      const code = await this.#servers[i]?.stop();
      if (code !== 0) this.failures.push(`auth-server ${i + 1} ended with ${code} as it was stopped`);
      // Its controller asks the other one.
      await this.#untilCommitOf(1 - i);
      network.packages = later;
      await this.#startServer(i);
      await this.#untilCommitOf(i);
    }
    const { code, stdout, stderr } = await this.#runUpgrade(later);
    if (code !== 0 || !stdout.includes(`had schema ${number}, and has schema ${number + 1}`))
      this.failures.push(`upgrade to version ${laterVersion(number)} ended with ${code}: ${stdout}${stderr}`);
    await Promise.all(this.#servers.map((_, i) => this.#untilCommitOf(i)));
    await this.#expectNoStart(before, `has schema ${number + 1}; this version of Latchkey reads schema`);
    await newNodes.waitFor(({ msg }) => msg === 'all joined', JOIN_TIMEOUT_MS);
    await newNodes.stop();
    this.pausesMs.push(this.#longestPause(began));
  }

  async stopFleets(): Promise<void> {
    await Promise.all(this.#fleets.map((fleet) => fleet.stop()));
    for (const server of this.#servers)
      if (server.hasEnded) this.failures.push(`an auth-server ended by itself:\n${server.transcript().slice(-2_000)}`);
  }

  /** `NODE KEY` of each commit that a server acknowledged. */
  get acknowledged(): readonly string[] {
    return this.#commits.map(keyIn);
  }

  /** `NODE KEY` of each key that a node has got. */
  get confirmed(): readonly string[] {
    return this.#linesOfFleets.filter(({ msg }) => msg === 'joined').map(keyIn);
  }

  /** Joins that a node had to begin again. */
  get failedJoins(): number {
    return this.#linesOfFleets.filter(({ level }) => level === 'warn').length;
  }

  get #linesOfFleets(): readonly LogLine[] {
    return this.#fleets.flatMap(({ lines }) => lines);
  }

  get #commits(): readonly LogLine[] {
    return this.#allServers.flatMap(({ lines }) => lines.filter(isCommit));
  }

  async #startServer(i: number): Promise<void> {
    const server = this.#environment.startAuthServer({}, this.#environment.serverAddresses[i]);
    this.#servers[i] = server;
    this.#allServers.push(server);
    await server.listening();
  }

  async #startFleet(mode: 'once' | 'again', nodes: readonly SoakNode[]): Promise<DaemonProcess> {
    const fleet = await this.#environment.startFleet(mode, nodes);
    this.#fleets.push(fleet);
    return fleet;
  }

  /** From now on. */
  async #untilCommitOf(i: number): Promise<void> {
    const since = Date.now();
    await this.#servers[i]?.waitFor((line) => isCommit(line) && Date.parse(line.time) >= since, JOIN_TIMEOUT_MS);
  }

  #runUpgrade(packages: string): ReturnType<typeof runProcess> {
    return runProcess('auth-server', ['upgrade', ...this.#environment.network.location()], { packages });
  }

  async #expectRefusal(packages: string, because: string): Promise<void> {
    const { code, stdout, stderr } = await this.#runUpgrade(packages);
    if (code !== 1 || !stderr.includes(because))
      this.failures.push(`upgrade had to be refused, and ended with ${code}: ${stdout}${stderr}`);
  }

  /** In the folder of a third machine. */
  async #expectNoStart(packages: string | undefined, because: string): Promise<void> {
    const { network } = this.#environment;
    const args = ['run', ...network.location(network.path('auth-server-3')), '--listen', '127.0.0.1:0'];
    const server = new DaemonProcess('auth-server', args, {}, [], packages);
    await server.listening().catch(() => undefined);
    const code = await server.stop('SIGKILL');
    if (code !== 2 || !server.transcript().includes(because))
      this.failures.push(`the version before had to refuse the database, and ended with ${code}: ${server.transcript()}`);
  }

  #longestPause(since: number): number {
    const times = this.#commits.map(({ time }) => Date.parse(time)).toSorted((a, b) => a - b);
    return Math.max(...times.map((time, i) => (time < since ? 0 : time - (times[i - 1] ?? since))));
  }
}

export const upgrades: Campaign = async ({ scale, report }) => {
  if (!PostgresCluster.AVAILABLE) return { counts: { 'not run': 'it takes PostgreSQL' }, failures: [] };
  const size = SIZES[scale];
  const cluster = await PostgresCluster.start(3);
  let environment: SoakEnvironment | undefined;
  try {
    await cluster.untilStreaming();
    const database = { url: `${cluster.url()}?password_file=${cluster.passwordFile}` };
    environment = await SoakEnvironment.create({ replicas: 2, database });
    await environment.addController(OTHER_CONTROLLER, environment.serverAddresses.toReversed());
    const count = (size.renewing + size.upgrades * size.joining) / 2;
    const orders = [
      await environment.install({ count }),
      await environment.install({ count, controller: OTHER_CONTROLLER }),
    ] as const;
    const nodes = orders.flat();
    const campaign = new UpgradeCampaign(environment);
    await campaign.start(orders.map((order) => order.splice(0, size.renewing / 2)));
    for (let number = 1; number <= size.upgrades; number++) {
      await campaign.upgrade(
        number,
        orders.flatMap((order) => order.splice(0, size.joining / 2)),
      );
      report(`${number} upgrades, ${campaign.acknowledged.length} commits`);
    }
    await campaign.stopFleets();
    const { failures } = campaign;
    failures.push(...(await findKeyMismatches(environment, nodes)));
    const lost = await findLostCommits(environment, campaign);
    report('every node joins once more');
    failures.push(...describeLost(lost), ...(await joinOnceMore(environment, nodes)), ...(await chainFaults(environment)));
    return { counts: countsOf(campaign, nodes.length, lost.acknowledged.length), failures };
  } finally {
    await environment?.network.remove();
    await cluster.remove();
  }
};

function countsOf(campaign: UpgradeCampaign, nodes: number, lost: number): CampaignResult['counts'] {
  const { pausesMs } = campaign;
  return {
    nodes,
    upgrades: pausesMs.length,
    'commits acknowledged': campaign.acknowledged.length,
    'of them lost': lost,
    'keys that nodes got': campaign.confirmed.length,
    'joins that had to be begun again': campaign.failedJoins,
    'no commit for': `${(Math.max(...pausesMs) / 1_000).toFixed(1)} s at most`,
  };
}
