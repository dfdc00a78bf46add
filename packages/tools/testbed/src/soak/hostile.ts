/**
 * Hostile datagrams at each daemon, and at node agents from what they take for their controller:
 * the corpus and its mutants. Nothing may be thrown, nothing hold up the event loop, and memory
 * must be what it was.
 */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { Endpoint } from '@latchkey/runtime/net';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { Campaign, Scale } from './campaign.js';
import { endpointOf, SoakEnvironment } from './environment.js';
import { HostileController } from './hostile-controller.js';
import { mutant } from './mutator.js';
import { MonitoredDaemon } from './monitored-daemon.js';

interface HostileSize {
  /** At each target. */
  readonly datagrams: number;
  /** For what is remembered of a request to be forgotten, in ms. */
  readonly settleMs: number;
  /**
   * What memory may grow by, as a factor. After a few thousand datagrams the process is still
   * growing into its work.
   */
  readonly growth: number;
  /**
   * What one turn of the event loop may take, in ms. The short form is a test, which shares its
   * machine.
   */
  readonly maxBlockMs: number;
}

const SIZES: Readonly<Record<Scale, HostileSize>> = {
  full: { datagrams: 1_000_000, settleMs: 70_000, growth: 1.1, maxBlockMs: 100 },
  medium: { datagrams: 100_000, settleMs: 1_000, growth: 1.5, maxBlockMs: 100 },
  short: { datagrams: 10_000, settleMs: 500, growth: 2, maxBlockMs: 1_000 },
};

/**
 * Part of the datagrams that come before memory is looked at for the first time: code is compiled
 * and tables are made by then.
 */
const WARM_UP_FRACTION = 0.1;
/** What may be alive besides, in octets, however little there was. */
const MEMORY_SLACK = 2 * 1024 * 1024;
const BURST = 250;
/**
 * No faster than a server looks at what comes from strangers, or most of it would not be looked at.
 */
const DATAGRAMS_PER_SECOND = 12_000;
const SOURCES = 64;
const PING = Buffer.of(0x40, 0x00, 0x12, 0x34);
const RESET = Buffer.of(0x70, 0x00, 0x12, 0x34);
const PONG_TIMEOUT_MS = 1_000;
const NODES = 2;

export const hostile: Campaign = async ({ scale, seed, report, passThrough = false }) => {
  const size = SIZES[scale];
  const random = new SeededRandom(seed, 'hostile datagrams');
  const environment = await SoakEnvironment.create({ passThrough });
  try {
    const nodes = await environment.install({ count: NODES + 1 });
    const server = new MonitoredDaemon(environment, 'auth-server', (env) => environment.startAuthServer(env));
    const controller = new MonitoredDaemon(environment, 'controller', (env) => environment.startController(env));
    await Promise.all([server.process.listening(), controller.process.listening()]);
    const failures: string[] = [];
    const counts: Record<string, number | string> = {};

    for (const [daemon, address] of [
      [controller, environment.controllerAddress],
      [server, environment.serverAddress],
    ] as const) {
      const { name } = daemon.process;
      const attack = await DatagramAttack.open(endpointOf(address), random);
      const send = (n: number): Promise<void> => attack.send(n, (sent) => report(`${name}: ${sent} datagrams`));
      Object.assign(counts, await attackMonitored(daemon, size, send, failures));
      counts[`${name}: slowest answer to an honest ping, ms`] = Math.round(attack.slowestPing);
      attack.close();
    }

    const [honest, ...victims] = nodes;
    if (honest !== undefined) await environment.network.run('node-agent', ['join', '--state', honest.folder]);
    await controller.process.stop();
    failures.push(...controller.unexpectedOutput(), ...server.unexpectedOutput());

    // The controller's place is taken by one that talks rubbish.
    const impostor = await HostileController.open(endpointOf(environment.controllerAddress), random);
    const agents = victims.map((node) => ({
      agent: new MonitoredDaemon(environment, `node-${node.id}`, (env) => environment.startNode(node, env)),
      victim: impostor.victim(node.id),
    }));
    const each = { ...size, datagrams: Math.ceil(size.datagrams / agents.length) };
    await Promise.all(
      agents.map(async ({ agent, victim }) => {
        const send = (n: number): Promise<void> => victim.send(n, (sent) => report(`node-agent: ${sent} datagrams`));
        Object.assign(counts, await attackMonitored(agent, each, send, failures));
      }),
    );
    await impostor.close();
    await environment.startController().listening();
    for (const { agent } of agents) {
      await agent.process.waitFor(({ msg }) => msg === 'joined', 5 * 60_000);
      failures.push(...agent.unexpectedOutput());
    }
    return { counts, failures };
  } finally {
    await environment.network.remove();
  }
};

/** Sends, looks, and says what did not hold. */
async function attackMonitored(
  daemon: MonitoredDaemon,
  { datagrams, settleMs, growth, maxBlockMs }: HostileSize,
  send: (n: number) => Promise<void>,
  failures: string[],
): Promise<Record<string, number>> {
  const { name } = daemon.process;
  await send(Math.floor(datagrams * WARM_UP_FRACTION));
  await pause(settleMs);
  const before = await daemon.resetMonitor();
  await send(Math.ceil(datagrams * (1 - WARM_UP_FRACTION)));
  const under = await daemon.read();
  await pause(settleMs);
  const after = await daemon.resetMonitor();

  if (under.busy >= maxBlockMs) failures.push(`${name}: its event loop was blocked for ${Math.round(under.busy)} ms`);
  for (const what of ['alive', 'rss'] as const) {
    if (after[what] > before[what] * growth + MEMORY_SLACK)
      failures.push(`${name}: ${what} grew from ${before[what]} to ${after[what]} octets`);
  }
  return {
    [`${name}: datagrams`]: datagrams,
    [`${name}: longest block of the event loop, ms`]: Math.round(under.busy),
    [`${name}: latest tick, ms`]: Math.round(under.late),
    [`${name}: alive before, KiB`]: before.alive >> 10,
    [`${name}: alive after, KiB`]: after.alive >> 10,
    [`${name}: resident before, KiB`]: before.rss >> 10,
    [`${name}: resident after, KiB`]: after.rss >> 10,
  };
}

/**
 * Mutants at a server from many sources, in bursts its buffer holds, each followed by an honest
 * ping: its answer says that all were looked at.
 */
class DatagramAttack {
  slowestPing = 0;
  #sent = 0;
  readonly #to: Endpoint;
  readonly #random: SeededRandom;
  readonly #sockets: readonly Socket[];
  readonly #pinger: Socket;

  private constructor(to: Endpoint, random: SeededRandom, sockets: readonly Socket[], pinger: Socket) {
    this.#to = to;
    this.#random = random;
    this.#sockets = sockets;
    this.#pinger = pinger;
  }

  static async open(to: Endpoint, random: SeededRandom): Promise<DatagramAttack> {
    const bound = async (address: string): Promise<Socket> => {
      const socket = createSocket('udp4').bind(0, address);
      await once(socket, 'listening');
      return socket;
    };
    const sockets = await Promise.all(Array.from({ length: SOURCES }, (_, i) => bound(`127.2.0.${1 + i}`)));
    return new DatagramAttack(to, random, sockets, await bound('127.3.0.1'));
  }

  async send(count: number, report: (sent: number) => void): Promise<void> {
    const began = performance.now();
    for (let sent = 0; sent < count;) {
      for (const end = Math.min(count, sent + BURST); sent < end; sent++) {
        this.#random.pick(this.#sockets).send(mutant(this.#random), this.#to.port, this.#to.host, () => undefined);
      }
      await this.#ping();
      await pause(began + (sent * 1_000) / DATAGRAMS_PER_SECOND - performance.now());
      report(this.#sent + sent);
    }
    this.#sent += count;
  }

  async #ping(): Promise<void> {
    for (let tries = 0; tries < 30; tries++) {
      const began = performance.now();
      this.#pinger.send(PING, this.#to.port, this.#to.host);
      const answered = once(this.#pinger, 'message', { signal: AbortSignal.timeout(PONG_TIMEOUT_MS) }).catch(() => []) as Promise<
        Buffer[]
      >;
      if (!(await answered).some((pong) => Buffer.isBuffer(pong) && pong.equals(RESET))) continue;
      this.slowestPing = Math.max(this.slowestPing, performance.now() - began);
      return;
    }
    throw new Error(`${this.#to.host}:${this.#to.port} does not answer a ping any more`);
  }

  close(): void {
    for (const socket of [...this.#sockets, this.#pinger]) socket.close();
  }
}
