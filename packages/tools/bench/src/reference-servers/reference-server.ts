/**
 * A server of somebody else's that authenticates devices by a pre-shared key, and the client that
 * comes with it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { resourcesOf } from '../machine.js';
import { percentile } from '../load/load-profile.js';
import type { Measurement } from '../interleave.js';
import { CountingRelay } from './counting-relay.js';

export type ReferenceCost = Measurement<'cpuUs' | 'p50' | 'datagrams' | 'octets'>;

export interface ReferenceProgram {
  readonly name: string;
  /** Debian's packages that have its commands. */
  readonly packages: readonly string[];
  readonly server: string;
  readonly client: string;
  /** Arguments, once the files in `folder` are written. Gives the port clients go to. */
  prepare(folder: string): Promise<{ readonly args: readonly string[]; readonly port: number }>;
  clientArgs(folder: string, port: number): Promise<readonly string[]>;
  /** In what the client prints when it was let in. */
  readonly success: RegExp;
}

/** Until a server answers its first client. */
const START_TIMEOUT_MS = 10_000;
const CONCURRENT_CLIENTS = 4;
/**
 * The part of clients that may be refused, and come again at the peer's cost: more would be told in
 * its figures.
 */
const MAX_REJECTED_FRACTION = 0.02;

/** Whether its commands are there. */
export async function isInstalled({ server, client }: ReferenceProgram): Promise<boolean> {
  const found = await Promise.all([server, client].map(find));
  return found.every((path) => path !== undefined);
}

async function find(command: string): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    const path = join(folder, command);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

export class ReferenceServer {
  readonly #program: ReferenceProgram;
  readonly #server: ChildProcess;
  readonly #relay: CountingRelay;
  readonly #client: readonly string[];

  private constructor(program: ReferenceProgram, server: ChildProcess, relay: CountingRelay, client: readonly string[]) {
    this.#program = program;
    this.#server = server;
    this.#relay = relay;
    this.#client = client;
  }

  static async start(program: ReferenceProgram, folder: string): Promise<ReferenceServer> {
    const [serverPath, clientPath] = await Promise.all([find(program.server), find(program.client)]);
    if (serverPath === undefined || clientPath === undefined) throw new Error(`${program.name} is not installed`);
    const { args, port } = await program.prepare(folder);
    const relay = await CountingRelay.open(port);
    const clientArgs = await program.clientArgs(folder, relay.port);
    const server = spawn(serverPath, args, { stdio: 'ignore' });
    const peer = new ReferenceServer(program, server, relay, [clientPath, ...clientArgs]);
    try {
      for (const since = performance.now(); !(await peer.#authenticate());) {
        if (performance.now() - since > START_TIMEOUT_MS || server.exitCode !== null)
          throw new Error(`${program.name} lets nobody in`);
      }
      peer.#relay.takeCounts();
      return peer;
    } catch (error) {
      await peer.stop();
      throw error;
    }
  }

  /**
   * So many authentications, a few at once; latency is of one at a time in the client, the others
   * wait in their processes' start.
   */
  async measure(count: number): Promise<ReferenceCost> {
    this.#relay.takeCounts();
    const before = this.#cpuMs();
    let left = count;
    let rejected = 0;
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        while (!(await this.#authenticate())) {
          rejected += 1;
          if (rejected > count * MAX_REJECTED_FRACTION) throw new Failure(`${this.#program.name} refused ${rejected} clients`);
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT_CLIENTS }, worker));
    const cpuMs = this.#cpuMs() - before;
    const { datagrams, octets, times } = this.#relay.takeCounts();
    return {
      cpuUs: (cpuMs * 1000) / count,
      p50: percentile(
        times.toSorted((a, b) => a - b),
        0.5,
      ),
      datagrams: datagrams / count,
      octets: octets / count,
    };
  }

  async stop(): Promise<void> {
    this.#relay.close();
    if (this.#server.exitCode !== null || this.#server.pid === undefined) return;
    const gone = once(this.#server, 'exit');
    this.#server.kill('SIGKILL');
    await gone;
  }

  async #authenticate(): Promise<boolean> {
    const [path = '', ...args] = this.#client;
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let words = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (words += text));
    await once(child, 'close');
    return this.#program.success.test(words);
  }

  #cpuMs(): number {
    const taken = this.#server.pid === undefined ? undefined : resourcesOf(this.#server.pid);
    if (taken === undefined) throw new Error(`${this.#program.name} ended`);
    return taken.cpuMs;
  }
}
