/**
 * Failovers of the registry's database under load. Two auth-servers work on a cluster of three; its
 * primary is killed, hangs, is cut off or is shut down, a standby is promoted, and the former
 * primary comes back as a standby. Meanwhile nodes join for the first time, and others join again
 * and again. Now and then an auth-server is killed at the same moment.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { PostgresCluster } from '../postgres-cluster.js';
import type { PostgresServer } from '../postgres-server.js';
import type { DaemonProcess, LogLine } from '../process.js';
import type { Campaign, CampaignResult, Scale } from './campaign.js';
import { CONTROLLER, findKeyMismatches, joinOnceMore, SoakEnvironment, type SoakNode } from './environment.js';
import { chainFaults, describeLost, findLostCommits, isCommit, keyIn } from './commits.js';
import { CutOff, Firewall } from './firewall.js';

interface FailoverSize {
  readonly failovers: number;
  /** From the start of one to the start of the next at least, in ms. */
  readonly everyMs: number;
  /** Nodes that join again and again. */
  readonly renewing: number;
  /** Nodes that join for the first time, at each failover. */
  readonly joining: number;
}

const SIZES: Readonly<Record<Scale, FailoverSize>> = {
  full: { failovers: 20, everyMs: 30_000, renewing: 40, joining: 20 },
  medium: { failovers: 4, everyMs: 25_000, renewing: 20, joining: 10 },
  short: { failovers: 2, everyMs: 5_000, renewing: 10, joining: 6 },
};

/** What becomes of the primary, in turn; the last one takes root and nft. */
const FATES = ['killed', 'hangs', 'shut down', 'cut off'] as const;
type Fate = (typeof FATES)[number];

/**
 * For how long there may be no commit, in ms, in addition to the time until a standby is promoted.
 * Counted, and no failure: a busy machine takes longer.
 */
const EXPECTED_PAUSE_MS: Readonly<Record<Fate, number>> = { killed: 3_000, 'shut down': 3_000, hangs: 8_000, 'cut off': 8_000 };

/** Asks the auth-servers in the other order: so both have work. */
const OTHER_CONTROLLER = '00000002';
/** At every so many of the failovers an auth-server is killed too. */
const SERVER_KILLED_EVERY = 3;
/** From the first join of new nodes to the failover at most, in ms. */
const MAX_WAIT_MS = 1_000;
/** For new nodes to join: candidates may have to grow 300 s old first. In ms. */
const JOIN_TIMEOUT_MS = 12 * 60_000;
/** A server that is killed may find the database away when it is started again. */
const MAX_STARTS = 30;

interface Failover {
  readonly fate: Fate;
  /** Until the standby was promoted, in ms. */
  readonly promotionMs: number;
  /** The longest time without a commit, in ms. */
  readonly pauseMs: number;
}

class FailoverCampaign {
  readonly failovers: Failover[] = [];
  serversKilled = 0;
  readonly #environment: SoakEnvironment;
  readonly #cluster: PostgresCluster;
  readonly #random: SeededRandom;
  /** Those that run, and all there were. */
  readonly #servers: DaemonProcess[] = [];
  readonly #allServers: DaemonProcess[] = [];
  readonly #fleets: DaemonProcess[] = [];

  constructor(environment: SoakEnvironment, cluster: PostgresCluster, random: SeededRandom) {
    this.#environment = environment;
    this.#cluster = cluster;
    this.#random = random;
  }

  async start(renewing: readonly (readonly SoakNode[])[]): Promise<void> {
    const { serverAddresses } = this.#environment;
    await Promise.all(serverAddresses.map((_, i) => this.#startServer(i)));
    const controllers = [CONTROLLER, OTHER_CONTROLLER].map((id) => this.#environment.startController({}, id));
    await Promise.all(controllers.map((controller) => controller.listening()));
    await Promise.all(renewing.map((nodes) => this.#startFleet('again', nodes)));
  }

  async failOver(fate: Fate, joining: readonly SoakNode[], killsServer: boolean): Promise<void> {
    const newNodes = await this.#startFleet('once', joining);
    await newNodes.waitFor(({ msg }) => msg === 'joined', JOIN_TIMEOUT_MS);
    await pause(this.#random.below(MAX_WAIT_MS));
    const { primary } = this.#cluster;
    const began = Date.now();
    const end = await take(primary, fate);
    let promotedAt: number;
    try {
      if (killsServer) await this.#killServer();
      await this.#cluster.promote();
      promotedAt = Date.now();
      // Until then it hangs, or stays cut off.
      await this.#untilCommitSince(promotedAt);
    } finally {
      await end();
    }
    if (killsServer) await this.#startServer(this.#servers.findIndex((server) => server.hasEnded));
    await this.#cluster.rejoin(primary);
    await this.#cluster.untilStreaming();
    await newNodes.waitFor(({ msg }) => msg === 'all joined', JOIN_TIMEOUT_MS);
    await newNodes.stop();
    await this.#untilCommitSince(Date.now());
    this.failovers.push({ fate, promotionMs: promotedAt - began, pauseMs: this.#longestPause(began) });
  }

  /** Nobody joins any more. Each auth-server must have been up until now. */
  async stopFleets(): Promise<string[]> {
    await Promise.all(this.#fleets.map((fleet) => fleet.stop()));
    return this.#servers
      .filter((server) => server.hasEnded)
      .map((server) => `an auth-server ended by itself:\n${server.transcript().slice(-2_000)}`);
  }

  /** `NODE KEY` of each commit that a server acknowledged. */
  get acknowledged(): readonly string[] {
    return this.#commits.map(keyIn);
  }

  /** `NODE KEY` of each key that a node has got. */
  get confirmed(): readonly string[] {
    return this.#fleets.flatMap(({ lines }) => lines.filter(({ msg }) => msg === 'joined')).map(keyIn);
  }

  get #commits(): readonly LogLine[] {
    return this.#allServers.flatMap(({ lines }) => lines.filter(isCommit));
  }

  async #startServer(i: number): Promise<void> {
    for (let starts = 1; ; starts++) {
      const server = this.#environment.startAuthServer({}, this.#environment.serverAddresses[i]);
      this.#servers[i] = server;
      this.#allServers.push(server);
      try {
        await server.listening();
        return;
      } catch (error) {
        if (starts === MAX_STARTS) throw error;
      }
    }
  }

  async #killServer(): Promise<void> {
    const server = this.#random.pick(this.#servers);
    const code = await server.stop('SIGKILL');
    if (code !== null) throw new Error(`an auth-server had ended with ${code}:\n${server.transcript().slice(-2_000)}`);
    this.serversKilled += 1;
  }

  async #startFleet(mode: 'once' | 'again', nodes: readonly SoakNode[]): Promise<DaemonProcess> {
    const fleet = await this.#environment.startFleet(mode, nodes);
    this.#fleets.push(fleet);
    return fleet;
  }

  /** A pause is over once there was a commit. */
  async #untilCommitSince(since: number): Promise<void> {
    const isLater = (line: LogLine): boolean => isCommit(line) && Date.parse(line.time) >= since;
    await Promise.any(this.#servers.map((server) => server.waitFor(isLater, JOIN_TIMEOUT_MS)));
  }

  #longestPause(since: number): number {
    const times = this.#commits.map(({ time }) => Date.parse(time)).toSorted((a, b) => a - b);
    const pauses = times.map((time, i) => (time < since ? 0 : time - (times[i - 1] ?? since)));
    return Math.max(...pauses);
  }
}

export const failovers: Campaign = async ({ scale, seed, report }) => {
  if (!PostgresCluster.AVAILABLE) return { counts: { 'not run': 'it takes PostgreSQL' }, failures: [] };
  const size = SIZES[scale];
  const random = new SeededRandom(seed, 'failovers');
  const cluster = await PostgresCluster.start(3);
  let environment: SoakEnvironment | undefined;
  try {
    await cluster.untilStreaming();
    const database = { url: `${cluster.url()}?password_file=${cluster.passwordFile}` };
    environment = await SoakEnvironment.create({ replicas: 2, database });
    await environment.addController(OTHER_CONTROLLER, environment.serverAddresses.toReversed());
    const count = (size.renewing + size.failovers * size.joining) / 2;
    const orders = [
      await environment.install({ count }),
      await environment.install({ count, controller: OTHER_CONTROLLER }),
    ] as const;
    const nodes = orders.flat();
    const someOfEach = (n: number): SoakNode[] => orders.flatMap((order) => order.splice(0, n / 2));
    const campaign = new FailoverCampaign(environment, cluster, random);
    await campaign.start(orders.map((order) => order.splice(0, size.renewing / 2)));
    const fates = Firewall.AVAILABLE ? FATES : FATES.filter((fate) => fate !== 'cut off');
    for (let i = 0; i < size.failovers; i++) {
      const next = performance.now() + size.everyMs;
      const fate = fates[i % fates.length] ?? 'killed';
      await campaign.failOver(fate, someOfEach(size.joining), i % SERVER_KILLED_EVERY === SERVER_KILLED_EVERY - 1);
      report(`${i + 1} failovers, ${campaign.acknowledged.length} commits`);
      if (i + 1 < size.failovers) await pause(Math.max(0, next - performance.now()));
    }
    const failures = await campaign.stopFleets();
    failures.push(...(await findKeyMismatches(environment, nodes)));
    const lost = await findLostCommits(environment, campaign);
    failures.push(...describeLost(lost));
    report('every node joins once more');
    failures.push(...(await joinOnceMore(environment, nodes)), ...(await chainFaults(environment)));
    return { counts: countsOf(campaign, nodes.length, lost.acknowledged.length), failures };
  } finally {
    await environment?.network.remove();
    await cluster.remove();
  }
};

/** Takes the primary away. What it gives makes sure that it is down. */
async function take(primary: PostgresServer, fate: Fate): Promise<() => Promise<void>> {
  switch (fate) {
    case 'killed':
      await primary.kill();
      return () => Promise.resolve();
    case 'shut down':
      await primary.stop();
      return () => Promise.resolve();
    case 'hangs':
      primary.pause();
      return () => primary.kill();
    case 'cut off': {
      const cutOff = CutOff.install(primary.port);
      return async () => {
        await primary.kill();
        cutOff.remove();
      };
    }
  }
}

function countsOf(campaign: FailoverCampaign, nodes: number, lost: number): CampaignResult['counts'] {
  const { failovers: all } = campaign;
  const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
  const range = (values: readonly number[]): string => {
    const ends = [Math.min(...values), Math.max(...values)].map(seconds);
    return `${[...new Set(ends)].join(' to ')} s`;
  };
  const pauses = FATES.flatMap((fate) => {
    const its = all.filter((failover) => failover.fate === fate);
    if (its.length === 0) return [];
    const promotion = range(its.map(({ promotionMs }) => promotionMs));
    const without = range(its.map(({ pauseMs }) => pauseMs));
    const beyond = range(its.map(({ promotionMs, pauseMs }) => pauseMs - promotionMs));
    return [[`primary ${fate}`, `${its.length}; promoted after ${promotion}, no commit for ${without}, ${beyond} more`] as const];
  });
  const expected = all.filter(({ fate, promotionMs, pauseMs }) => pauseMs <= promotionMs + EXPECTED_PAUSE_MS[fate]);
  return {
    nodes,
    failovers: all.length,
    'auth-servers killed': campaign.serversKilled,
    'commits acknowledged': campaign.acknowledged.length,
    'of them lost': lost,
    'keys that nodes got': campaign.confirmed.length,
    ...Object.fromEntries(pauses),
    'paused no longer than expected': `${expected.length} of ${all.length}`,
  };
}
