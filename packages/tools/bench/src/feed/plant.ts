/** A registry, its auth-server and one controller with many nodes that have joined. */

import { randomBytes } from 'node:crypto';
import { copyFile, rm } from 'node:fs/promises';
import { moveNodes, removeNodes, resetNode, setDisabled } from '@latchkey/operations';
import { deriveApplicationRoot, deriveKeyId, formatId, parseId, Secret } from '@latchkey/protocol';
import type { Registry } from '@latchkey/registry';
import { encodeNid } from '@latchkey/runtime/net';
import { type DaemonProcess, freePort, TestNetwork } from '@latchkey/testbed';
import { runConcurrently } from '../registry/joins.js';
import type { KeyIds } from './watched-keys.js';

const CONTROLLER = '00000001';
const OTHER = '00000002';
export const LABEL = 'bench';
const IN_FLIGHT = 64;
const IDS_PER_READ = 256;

/** How many nodes a controller misses while it cannot follow the registry. */
export interface Changes {
  readonly renewed: number;
  /** Disabled, removed, reset and moved: as many each. */
  readonly revoked: number;
}

export class Plant {
  readonly socket: string;
  /** For a socket that has nothing to do with the plant. */
  readonly echoSocket: string;
  readonly #network: TestNetwork;
  readonly #server: string;
  readonly #listen: string;
  readonly #config: string;
  readonly #ids: readonly number[];
  #registry: Registry;
  #authServer: DaemonProcess | undefined;
  #controller: DaemonProcess | undefined;
  /** Where the next changes begin: each node changes once. */
  #next = 0;

  private constructor(
    network: TestNetwork,
    addresses: readonly [server: string, listen: string],
    config: string,
    ids: readonly number[],
    registry: Registry,
  ) {
    this.#network = network;
    [this.#server, this.#listen] = addresses;
    this.#config = config;
    this.#ids = ids;
    this.#registry = registry;
    this.socket = network.path('keys.sock');
    this.echoSocket = network.path('echo.sock');
  }

  static async create(nodes: number): Promise<Plant> {
    const network = await TestNetwork.create();
    try {
      const addresses = [await freePort(), await freePort()] as const;
      await network.addController(CONTROLLER, addresses[1], [addresses[0]]);
      await network.addController(OTHER, '192.0.2.2:5683', [addresses[0]]);
      const { lines } = await network.order({ controller: CONTROLLER, count: nodes });
      const config = await network.file(
        'controller.yaml',
        `keys: [{ socket: ${network.path('keys.sock')}, mode: "0600", labels: [${LABEL}] }]\n`,
      );
      const ids = lines.map(({ idI }) => idI);
      const plant = new Plant(network, addresses, config, ids, await network.openRegistry());
      await plant.#renew(ids);
      return plant;
    } catch (error) {
      await network.remove();
      throw error;
    }
  }

  // Both log what they log where they are installed: a network of tests logs each message.

  async startAuthServer(): Promise<void> {
    this.#authServer = this.#network.start('auth-server', ['run', ...this.#network.location(), '--listen', this.#server]);
    await this.#authServer.listening();
  }

  async killAuthServer(): Promise<void> {
    await this.#authServer?.stop('SIGKILL');
  }

  async startController(): Promise<void> {
    const state = ['--credential', this.#network.credential(CONTROLLER), '--state', this.#state];
    this.#controller = this.#network.start('controller', ['run', ...state, '--listen', this.#listen, '--config', this.#config]);
    await this.#controller.listening();
  }

  get #state(): string {
    return this.#network.path(`controller-${CONTROLLER}`);
  }

  async killController(): Promise<void> {
    await this.#controller?.stop('SIGKILL');
  }

  async loseState(): Promise<void> {
    await rm(this.#state, { recursive: true });
  }

  /** @returns the file */
  async backup(): Promise<string> {
    const file = this.#network.path('registry.lkb');
    await this.#network.run('auth-server', ['backup', file, '--data', this.#network.registry]);
    return file;
  }

  async restore(file: string): Promise<void> {
    await this.#registry.close();
    const master = this.#network.path('master.key');
    await copyFile(this.#network.path('auth-server', 'master.key'), master);
    const args = ['--data', this.#network.registry, '--master-key-file', master, '--replace', '--yes'];
    await this.#network.run('auth-server', ['restore', file, ...args]);
    this.#registry = await this.#network.openRegistry();
  }

  async change({ renewed, revoked }: Changes): Promise<void> {
    await this.#renew(this.#take(renewed));
    await setDisabled(this.#registry, this.#take(revoked), true);
    await removeNodes(this.#registry, this.#take(revoked));
    await moveNodes(this.#registry, this.#take(revoked), parseId(OTHER) ?? 0);
    for (const idI of this.#take(revoked)) await resetNode(this.#registry, idI, Secret.from(randomBytes(16)));
  }

  /** What the controller is to give out by what the registry says. */
  async expected(): Promise<KeyIds> {
    const idC = parseId(CONTROLLER);
    const kids = new Map<string, string>();
    for (let from = 0; from < this.#ids.length; from += IDS_PER_READ) {
      for (const { node } of await this.#registry.describedNodes(this.#ids.slice(from, from + IDS_PER_READ))) {
        const { idI, key, initial, disabled, controller } = node;
        if (!initial && !disabled && controller === idC)
          kids.set(formatId(idI), deriveKeyId(deriveApplicationRoot(key, idI), idI));
        key.wipe();
      }
    }
    return kids;
  }

  async remove(): Promise<void> {
    await this.#registry.close();
    await this.#network.remove();
  }

  #take(count: number): readonly number[] {
    const taken = this.#ids.slice(this.#next, this.#next + count);
    this.#next += count;
    return taken;
  }

  async #renew(ids: readonly number[]): Promise<void> {
    const nidI = encodeNid('192.0.2.77', 49_152);
    await runConcurrently(ids, IN_FLIGHT, async (idI) => {
      const node = await this.#registry.node(idI);
      if (node === undefined) throw new Error('a node of the plant is not in the registry');
      // As if it had joined through the controller, some time ago.
      const tid = (node.committed?.tid ?? 0n) + 1n;
      const commit = { idC: parseId(CONTROLLER) ?? 0, tid, ts: Date.now(), nidI, lifetime: 0 };
      const result = await this.#registry.commit(node, Secret.from(randomBytes(16)), commit, Date.now, () => true);
      if (result !== 'committed') throw new Error(`a commit was ${result}`);
    });
  }
}
