/** A folder with a key socket, a `deliver` process, and the peers that read its files. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import { DaemonProcess } from '../../src/process.js';
import { KeyFeed } from './key-feed.js';

const DEADLINE_MS = 120_000;
/** Below those that systems give out by themselves. */
const TCP_PORTS = [10_000, 32_768] as const;

/** Whether a program is installed here. */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/** Resolves once the condition holds. */
export async function until(condition: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; !(await condition());) {
    if (Date.now() > deadline) throw new Error(`it did not come to that: ${what()}`);
    await pause(20);
  }
}

export interface Finished {
  readonly code: number | null;
  readonly output: string;
}

/** Another program as a process, and all that it said. */
export class PeerProcess {
  readonly #child: ChildProcess;
  output = '';

  constructor(
    command: string,
    args: readonly string[],
    options: { readonly env?: NodeJS.ProcessEnv; readonly input?: string } = {},
  ) {
    const env = { ...process.env, ...options.env };
    // A process group of its own: what the program starts ends with it.
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env, detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.#child.stdin?.on('error', () => undefined);
    if (options.input !== undefined) this.#child.stdin?.end(options.input);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits for its end. */
  async finished(): Promise<Finished> {
    const timer = setTimeout(() => this.#kill(), DEADLINE_MS);
    const [code] = (await once(this.#child, 'close')) as [number | null];
    clearTimeout(timer);
    return { code, output: this.output };
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#kill();
    await once(this.#child, 'exit');
  }

  #kill(): void {
    const { pid } = this.#child;
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  }

  /** Resolves once it has said so. */
  async said(pattern: RegExp): Promise<void> {
    await until(
      () => pattern.test(this.output),
      () => `${String(pattern)} in ${this.output}`,
    );
  }
}

export class DeliveryWorld {
  readonly folder: string;
  readonly feed: KeyFeed;
  readonly #peers: PeerProcess[] = [];
  deliver: DaemonProcess | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    this.feed = new KeyFeed(join(folder, 'keys.sock'));
  }

  static async create(): Promise<DeliveryWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-delivery-'));
    // Peers under users of their own read here.
    await chmod(folder, 0o711);
    const world = new DeliveryWorld(folder);
    await world.feed.listen();
    return world;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async directory(name: string): Promise<string> {
    await mkdir(this.path(name), { mode: 0o700 });
    return this.path(name);
  }

  text(name: string): Promise<string> {
    return readFile(this.path(name), 'utf8').catch(() => '');
  }

  async file(name: string, lines: readonly string[], mode = 0o600): Promise<string> {
    await writeFile(this.path(name), `${lines.join('\n')}\n`, { mode });
    return this.path(name);
  }

  /** A program that appends a line to NAME.log. */
  async program(name: string, line: string): Promise<string> {
    return this.file(name, ['#!/bin/sh', `echo "${line}" >> ${this.path(`${name}.log`)}`], 0o755);
  }

  async configure(...targets: readonly Record<string, unknown>[]): Promise<string> {
    const config = { socket: this.feed.path, state: this.path('state'), targets };
    await writeFile(this.path('deliver.yaml'), stringify(config), { mode: 0o600 });
    return this.path('deliver.yaml');
  }

  /** Starts `deliver` on the configuration, and waits until it is synced. */
  async startDeliver(): Promise<DaemonProcess> {
    this.deliver = new DaemonProcess('controller', ['deliver', '--config', this.path('deliver.yaml')]);
    await this.deliver.waitFor(({ msg }) => msg === 'synced with the key socket');
    return this.deliver;
  }

  start(command: string, args: readonly string[], options: { readonly env?: NodeJS.ProcessEnv } = {}): PeerProcess {
    const peer = new PeerProcess(command, args, options);
    this.#peers.push(peer);
    return peer;
  }

  /**
   * Starts a server, and again whenever it ends, as a unit with Restart=always.
   *
   * @param command for `sh`, one that it can `exec`
   */
  async supervise(
    name: string,
    command: string,
    options: { readonly env?: NodeJS.ProcessEnv } = {},
  ): Promise<{ readonly process: PeerProcess } & Record<'reload' | 'restart', readonly string[]>> {
    const pid = this.path(`${name}.pid`);
    const server = await this.file(`${name}-server`, [`echo $$ >${pid}`, `exec ${command}`]);
    const loop = await this.file(`${name}-supervisor`, [`while :; do sh ${server} </dev/null; sleep 0.2; done`]);
    // A server that is not running reads its keys as it starts.
    const kill = (signal: string): Promise<string> =>
      this.file(`${name}-${signal}`, ['#!/bin/sh', `kill -${signal} "$(cat ${pid})" || true`], 0o700);
    return {
      process: this.start('sh', [loop], options),
      reload: [await kill('HUP')],
      restart: [await kill('TERM')],
    };
  }

  /** Runs a client to its end. */
  run(
    command: string,
    args: readonly string[],
    options: { readonly env?: NodeJS.ProcessEnv; readonly input?: string } = {},
  ): Promise<Finished> {
    const peer = new PeerProcess(command, args, { input: '', ...options });
    this.#peers.push(peer);
    return peer.finished();
  }

  async stopPeers(): Promise<void> {
    await Promise.all(this.#peers.map((peer) => peer.stop()));
  }

  async remove(): Promise<void> {
    await this.deliver?.stop('SIGKILL');
    await this.stopPeers();
    await this.feed.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A TCP port that nothing listens on. `freePort` of the testbed keeps the TCP port to itself. */
export async function tcpPort(): Promise<number> {
  for (;;) {
    const port = randomInt(...TCP_PORTS);
    const server = createServer();
    const isFree = await once(server.listen(port), 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** Resolves once something listens on the TCP port. */
export async function listens(port: number): Promise<void> {
  await until(
    async () => {
      const socket = connect(port, '127.0.0.1');
      const outcome = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'close').then(() => false),
      ]).catch(() => false);
      socket.destroy();
      return outcome;
    },
    () => `a listener on port ${port}`,
  );
}
