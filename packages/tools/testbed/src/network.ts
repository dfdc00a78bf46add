/**
 * A network on loopback in a folder of its own: registry, controllers and nodes, each a real
 * process.
 */

import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import { type ManifestLine, parseManifest } from '@latchkey/provisioning';
import { readMasterKey } from '@latchkey/keyring';
import { recordNetworkKeys } from '@latchkey/test-support/output-record';
import { type CommandName, DaemonProcess, type CommandResult, runCommand } from './process.js';

export interface OrderOptions {
  readonly controller: string;
  readonly count: number;
  readonly installer?: string;
  readonly sharedKey?: boolean;
  readonly lifetime?: string;
  /** A file of device keys: the manifest has installer's halves of the initial keys. */
  readonly deviceKeys?: string;
  readonly site?: string;
}

/** What an order put into the installer's hands. */
export interface Order {
  readonly manifest: string;
  readonly lines: readonly ManifestLine[];
}

/** A registry in PostgreSQL. */
export interface TestDatabase {
  /** As `--data` has it. */
  readonly url: string;
}

/** Manifests, credentials, master keys and what nodes hold, by the names that tests give them. */
const FILES_WITH_KEYS = /(?:^|\/)(?:manifest\.csv|controller-[^/]*\.json|master\.key|node\.json)$/;
const KEY_IN_HEX = /(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/g;
/** Nodes of a registry whose keys are looked for in what programs print. */
const MAX_NODES_READ = 1_000;

export class TestNetwork {
  readonly folder: string;
  /**
   * Where the packages of the version are that commands and daemons are from, from now on;
   * `undefined`: this one.
   */
  packages: string | undefined;
  readonly #database: TestDatabase | undefined;
  readonly #daemons: DaemonProcess[] = [];
  #orderCount = 0;

  private constructor(folder: string, database: TestDatabase | undefined) {
    this.folder = folder;
    this.#database = database;
  }

  /** An empty registry in a new temporary folder, or in an empty database. */
  static async create(database?: TestDatabase): Promise<TestNetwork> {
    const network = new TestNetwork(await mkdtemp(join(tmpdir(), 'latchkey-')), database);
    try {
      await network.run('auth-server', ['init', ...network.location()]);
    } catch (error) {
      await network.remove();
      throw error;
    }
    return network;
  }

  /** Folder of the registry, or of the first machine if the registry is in a database. */
  get registry(): string {
    return this.path('auth-server');
  }

  /** How a command finds the registry. `localData`: of which machine, if it is in a database. */
  location(localData: string = this.registry): readonly string[] {
    if (this.#database === undefined) return ['--data', this.registry];
    const masterKey = localData === this.registry ? [] : ['--master-key-file', join(this.registry, 'master.key')];
    return ['--data', this.#database.url, '--local-data', localData, ...masterKey];
  }

  /** The registry, opened beside the server that may run on it. */
  async openRegistry(): Promise<Registry> {
    const master = await readMasterKey({ kind: 'file', path: join(this.registry, 'master.key') });
    return Registry.open(this.registry, master, 'testbed');
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names);
  }

  /** Runs a command that must succeed, and gives its standard output. */
  async run(name: CommandName, args: readonly string[], input?: string): Promise<string> {
    const finished = await this.try(name, args, input);
    if (finished.code !== 0)
      throw new Error(`latchkey-${name} ${args.join(' ')} ended with ${finished.code}:\n${finished.stdout}${finished.stderr}`);
    return finished.stdout;
  }

  /** Runs a command that may fail. */
  try(name: CommandName, args: readonly string[], input?: string): Promise<CommandResult> {
    return runCommand(name, args, { input, packages: this.packages });
  }

  /** `environment`, `within`: as of a DaemonProcess. */
  start(name: CommandName, args: readonly string[], environment?: NodeJS.ProcessEnv, within?: readonly string[]): DaemonProcess {
    const daemon = new DaemonProcess(name, args, environment, within, this.packages);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Starts the auth-server and waits until it listens. */
  async startAuthServer(listen: string, ...more: readonly string[]): Promise<DaemonProcess> {
    return this.startAuthServerOn(this.registry, listen, ...more);
  }

  /** As `startAuthServer`, on another machine than the first: `localData` is its folder. */
  async startAuthServerOn(localData: string, listen: string, ...more: readonly string[]): Promise<DaemonProcess> {
    const options = [...this.location(localData), '--listen', listen, '--log-level', 'debug'];
    const daemon = this.start('auth-server', ['run', ...options, ...more]);
    await daemon.listening();
    return daemon;
  }

  credential(id: string): string {
    return this.path(`controller-${id}.json`);
  }

  /** Adds a controller to the registry. */
  async addController(id: string, nid: string, servers: readonly string[], ...more: readonly string[]): Promise<void> {
    const names = servers.flatMap((server) => ['--server', server]);
    await this.run('auth-server', [
      'controller',
      'add',
      id,
      ...this.location(),
      '--nid',
      nid,
      ...names,
      '--out',
      this.credential(id),
      ...more,
    ]);
  }

  /** Starts controller `id` and waits until it listens. */
  async startController(id: string, listen: string, ...more: readonly string[]): Promise<DaemonProcess> {
    const daemon = this.start('controller', [
      'run',
      '--credential',
      this.credential(id),
      '--state',
      this.path(`controller-${id}`),
      '--listen',
      listen,
      '--log-level',
      'debug',
      ...more,
    ]);
    await daemon.listening();
    return daemon;
  }

  async order({
    controller,
    count,
    installer = 'Ada',
    sharedKey = false,
    lifetime,
    deviceKeys,
    site,
  }: OrderOptions): Promise<Order> {
    this.#orderCount += 1;
    const out = this.path(`order-${this.#orderCount}`);
    const flags = [
      ...(sharedKey ? ['--shared-key'] : []),
      ...(lifetime === undefined ? [] : ['--lifetime', lifetime]),
      ...(deviceKeys === undefined ? [] : ['--device-keys', deviceKeys]),
      ...(site === undefined ? [] : ['--site', site]),
    ];
    const args = [
      ...this.location(),
      '--installer',
      installer,
      '--controller',
      controller,
      '--count',
      String(count),
      '--out',
      out,
    ];
    await this.run('auth-server', ['order', 'create', ...args, ...flags]);
    const manifest = join(out, 'manifest.csv');
    return { manifest, lines: parseManifest(await readFile(manifest, 'utf8'), manifest) };
  }

  node(id: string): string {
    return this.path(`node-${id}`);
  }

  /** Installs a node from a manifest, and gives its state folder. */
  async install(id: string, manifest: string): Promise<string> {
    await this.run('node-agent', ['install', '--state', this.node(id), '--manifest', manifest, '--id', id]);
    return this.node(id);
  }

  /** A file for this network alone, mode 0600 unless told otherwise. */
  async file(name: string, content: string, mode = 0o600): Promise<string> {
    const path = this.path(name);
    await writeFile(path, content, { mode });
    return path;
  }

  /** Every log line and every other word of the daemons. */
  transcripts(): string {
    return this.#daemons.map((daemon) => daemon.transcript()).join('\n');
  }

  /** Drops the log of each daemon, and what it logs from now on: the network may run for days. */
  dropLogs(): void {
    for (const daemon of this.#daemons) daemon.dropLog();
  }

  /** Ends all that runs in order: each daemon says goodbye, and closes its store. */
  async stop(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
  }

  /** Ends all that runs and removes the folder. */
  async remove(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.stop('SIGKILL')));
    await recordNetworkKeys(() => this.#readKeys());
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Makes each key that the network has: those in its files, and those in its registry. */
  async #readKeys(): Promise<void> {
    const names = await readdir(this.folder, { recursive: true });
    for (const name of names) {
      if (!FILES_WITH_KEYS.test(name)) continue;
      const text = await readFile(this.path(name), 'utf8').catch(() => '');
      for (const [hex] of text.matchAll(KEY_IN_HEX)) Secret.fromHex(hex).wipe();
    }
    // A test may have damaged its registry, or moved it away: its keys are in the files, too.
    if (this.#database === undefined) await this.#readRegistry().catch(() => undefined);
  }

  async #readRegistry(): Promise<void> {
    const registry = await this.openRegistry();
    try {
      const now = Date.now();
      const { ids } = await registry.nodeList({ filter: {}, now, limit: MAX_NODES_READ });
      for (const idI of ids) (await registry.node(idI))?.key.wipe();
      for (const { idC } of await registry.controllers()) (await registry.controller(idC))?.skCs.wipe();
    } finally {
      await registry.close();
    }
  }
}

/** Below those that systems give out by themselves. */
const PORT_RANGE = [10_000, 32_768] as const;
const MAX_PORT_ATTEMPTS = 100;

/**
 * Returns a UDP port of 127.0.0.1 that is free, and stays this process's own until it exits: a
 * daemon that is restarted finds the port free again. Other test processes run at the same time and
 * choose from the same range, so the process holds the TCP port of the same number, which no daemon
 * here uses. The kernel gives that port to one process only, and frees it however the process ends.
 */
export async function freePort(): Promise<string> {
  for (let i = 0; i < MAX_PORT_ATTEMPTS; i++) {
    const port = randomInt(...PORT_RANGE);
    const reservation = await reserve(port);
    if (reservation === undefined) continue;
    const socket = createSocket('udp4').bind(port, '127.0.0.1');
    try {
      await once(socket, 'listening');
    } catch {
      reservation.close();
      continue;
    }
    socket.close();
    await once(socket, 'close');
    return `127.0.0.1:${port}`;
  }
  throw new Error(`no UDP port between ${PORT_RANGE.join(' and ')} is free`);
}

/**
 * As `freePort`, the number of a TCP port: the process holds the UDP port of the same number. Of
 * those that look for a port, one may try a TCP port for a moment while its server is down.
 */
export async function freeTcpPort(): Promise<number> {
  for (let i = 0; i < MAX_PORT_ATTEMPTS; i++) {
    const port = randomInt(...PORT_RANGE);
    const socket = createSocket('udp4').unref();
    try {
      await once(socket.bind(port, '127.0.0.1'), 'listening');
    } catch {
      socket.close();
      continue;
    }
    const isFree = await reserve(port);
    if (isFree === undefined) {
      socket.close();
      continue;
    }
    isFree.close();
    await once(isFree, 'close');
    return port;
  }
  throw new Error(`no TCP port between ${PORT_RANGE.join(' and ')} is free`);
}

/** Returns `undefined` if another process holds the TCP port. */
async function reserve(port: number): Promise<Server | undefined> {
  const server = createServer().unref();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
    return server;
  } catch {
    return undefined;
  }
}
