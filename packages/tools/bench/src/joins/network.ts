/**
 * The networks that joins are played against, each of real processes with a load generator of its
 * own.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Daemon } from '../daemon.js';
import { LoadGenerator } from '../load/generator.js';
import type { LoadProfile, LoadResult, Workload } from '../load/load-profile.js';
import { mainThreadCpuMs } from '../machine.js';
import { Fleet } from '../registry/fleet.js';
import { RegistryFixture } from '../registry/registry-fixture.js';

/**
 * `relayed`, `passThrough`, `combined`: Latchkey, with a controller that gets the keys of nodes,
 * with one that gets none, and in one process. `coap`, `dgram`: what stands in for it.
 */
export const NETWORKS = ['relayed', 'passThrough', 'combined', 'coap', 'dgram'] as const;
export type NetworkName = (typeof NETWORKS)[number];

/**
 * Message IDs of one socket come round after 65,536: enough sockets that none does within 247 s
 * (RFC 7252 section 4.4).
 */
const SOCKETS = 64;
const LOOPBACK = '127.0.0.1:0';

/** What one plan took. */
export interface PlanResult {
  readonly result: LoadResult;
  /** Of the daemons' processes, ms. */
  readonly controllerCpuMs: number;
  readonly serverCpuMs: number;
  /** Of their threads that run JavaScript, ms: the controller's, the auth-server's. */
  readonly mainThreadCpuMs: readonly number[];
}

export class MeasuredNetwork {
  readonly name: NetworkName;
  readonly controller: Daemon;
  /** `undefined` in combined mode. */
  readonly server: Daemon | undefined;
  readonly #generator: LoadGenerator;

  private constructor(name: NetworkName, controller: Daemon, server: Daemon | undefined, generator: LoadGenerator) {
    this.name = name;
    this.controller = controller;
    this.server = server;
    this.#generator = generator;
  }

  /** @param folder for its stores; `nodes`: how many there are */
  static async start(name: NetworkName, folder: string, nodes: number, how: DaemonOptions = {}): Promise<MeasuredNetwork> {
    await mkdir(folder, { mode: 0o700 });
    const { server, controller } = await startDaemons(name, folder, nodes, how);
    const script: Workload = name === 'coap' || name === 'dgram' ? 'plain' : 'join';
    try {
      const generator = await LoadGenerator.start({ to: controller.address, workload: script, nodes, sockets: SOCKETS });
      return new MeasuredNetwork(name, controller, server, generator);
    } catch (error) {
      await Promise.all([controller.stop(), server?.stop()]);
      throw error;
    }
  }

  async play(plan: LoadProfile): Promise<PlanResult> {
    const before = [this.controller.resources().cpuMs, this.server?.resources().cpuMs ?? 0] as const;
    const mainThreads = this.#mainThreads();
    const result = await this.#generator.play(plan);
    return {
      result,
      mainThreadCpuMs: this.#mainThreads().map((ms, i) => ms - (mainThreads[i] ?? 0)),
      controllerCpuMs: this.controller.resources().cpuMs - before[0],
      serverCpuMs: (this.server?.resources().cpuMs ?? 0) - before[1],
    };
  }

  #mainThreads(): number[] {
    return this.daemons.map(({ pid }) => mainThreadCpuMs(pid));
  }

  /** Of the daemons and the load generator. */
  get pids(): readonly number[] {
    return [...this.daemons.map(({ pid }) => pid), this.#generator.pid];
  }

  get daemons(): readonly Daemon[] {
    return this.server === undefined ? [this.controller] : [this.controller, this.server];
  }

  /** MiB of each daemon's own: anonymous pages. */
  memory(): number[] {
    return this.daemons.map((daemon) => daemon.resources().anonymousMiB);
  }

  async stop(): Promise<void> {
    await this.#generator.stop();
    await this.controller.stop();
    await this.server?.stop();
  }
}

interface Daemons {
  readonly controller: Daemon;
  readonly server: Daemon | undefined;
}

interface DaemonOptions {
  readonly profiled?: boolean;
  /** Further lines of YAML. */
  readonly controllerConfig?: readonly string[];
}

async function startDaemons(name: NetworkName, folder: string, nodes: number, how: DaemonOptions): Promise<Daemons> {
  if (name === 'coap' || name === 'dgram') {
    const server = await Daemon.start('limits', name === 'coap' ? ['coap-server', join(folder, 'store')] : ['dgram-server']);
    return { server, controller: await Daemon.start('limits', [`${name}-controller`, server.address]) };
  }
  const site = new RegistryFixture(join(folder, 'registry'), new Fleet(nodes), join(folder, 'fleet.csv'));
  await site.fleet.writeCsv(join(folder, 'fleet.csv'));
  await site.create(...(name === 'passThrough' ? ['--pass-through'] : []));
  if (name === 'combined') {
    const config = [`mode: combined`, `registry: ${site.folder}`];
    return { server: undefined, controller: await startController(site, folder, config, how) };
  }
  const server = await Daemon.start('auth-server', ['run', '--data', site.folder, '--listen', LOOPBACK], how);
  return { server, controller: await startController(site, folder, [`servers: ['${server.address}']`], how) };
}

async function startController(
  site: RegistryFixture,
  folder: string,
  config: readonly string[],
  how: DaemonOptions,
): Promise<Daemon> {
  const path = join(folder, 'controller.yaml');
  await writeFile(path, `${[...config, ...(how.controllerConfig ?? [])].join('\n')}\n`, { mode: 0o600 });
  const where = ['--credential', site.credential, '--state', join(folder, 'state'), '--config', path, '--listen', LOOPBACK];
  return Daemon.start('controller', ['run', ...where], how);
}
