/**
 * Environment of a campaign: controllers, auth-servers and nodes with their files, and the stores
 * of both sides.
 */

import { createNodeFile, NodeFile, type StoredNode } from '@latchkey/node-agent';
import { formatId } from '@latchkey/protocol';
import { type Endpoint, parseEndpoint } from '@latchkey/runtime/net';
import { freePort, type OrderOptions, type TestDatabase, TestNetwork } from '../network.js';
import type { DaemonProcess } from '../process.js';

export const CONTROLLER = '00000001';

/**
 * For every node to join once more when all is up again: candidates may have to grow 300 s old
 * first. In ms.
 */
const FINAL_JOIN_TIMEOUT_MS = 12 * 60_000;

/** Quiet, or a million refusals fill the memory of whoever listens. */
const LOG_LEVEL_ARGS = ['--log-level', 'info'];

export interface SoakNode {
  readonly id: string;
  readonly folder: string;
}

export class SoakEnvironment {
  readonly network: TestNetwork;
  /** Where controllers look for auth-servers, in this order. */
  readonly serverAddresses: readonly string[];
  readonly controllerAddress: string;
  /** Address of the controller as configured in nodes: the controller itself, or a proxy. */
  readonly nodeFacingAddress: string;
  /** Where controllers listen that were added later. */
  readonly #others = new Map<string, string>();

  private constructor(fields: Pick<SoakEnvironment, 'network' | 'serverAddresses' | 'controllerAddress' | 'nodeFacingAddress'>) {
    this.network = fields.network;
    this.serverAddresses = fields.serverAddresses;
    this.controllerAddress = fields.controllerAddress;
    this.nodeFacingAddress = fields.nodeFacingAddress;
  }

  /**
   * @param through nodes are told another address than the controller's
   * @param passThrough the controller gets no key of a node
   * @param database has the registry, in place of a folder
   */
  static async create({
    through: proxied = false,
    replicas = 1,
    passThrough = false,
    database,
  }: {
    readonly through?: boolean;
    readonly replicas?: number;
    readonly passThrough?: boolean;
    readonly database?: TestDatabase;
  } = {}): Promise<SoakEnvironment> {
    const network = await TestNetwork.create(database);
    const serverAddresses = await Promise.all(Array.from({ length: replicas }, freePort));
    const controllerAddress = await freePort();
    const nodesGoTo = proxied ? await freePort() : controllerAddress;
    await network.addController(CONTROLLER, nodesGoTo, serverAddresses, ...(passThrough ? ['--pass-through'] : []));
    return new SoakEnvironment({ network, serverAddresses, controllerAddress, nodeFacingAddress: nodesGoTo });
  }

  get serverAddress(): string {
    return this.serverAddresses[0] ?? '';
  }

  startAuthServer(env?: NodeJS.ProcessEnv, listen: string = this.serverAddress): DaemonProcess {
    // On a database each has a folder of its own.
    const i = this.serverAddresses.indexOf(listen);
    const where = this.network.location(i > 0 ? this.network.path(`auth-server-${i + 1}`) : this.network.registry);
    return this.network.start('auth-server', ['run', ...where, '--listen', listen, ...LOG_LEVEL_ARGS], env);
  }

  /** Adds a controller that looks for auth-servers in an order of its own. */
  async addController(id: string, servers: readonly string[]): Promise<void> {
    const address = await freePort();
    await this.network.addController(id, address, servers);
    this.#others.set(id, address);
  }

  startController(env?: NodeJS.ProcessEnv, id: string = CONTROLLER): DaemonProcess {
    const where = ['--credential', this.network.credential(id), '--state', this.network.path(`controller-${id}`)];
    const listen = this.#others.get(id) ?? this.controllerAddress;
    return this.network.start('controller', ['run', ...where, '--listen', listen, ...LOG_LEVEL_ARGS], env);
  }

  startNode({ folder }: SoakNode, env?: NodeJS.ProcessEnv): DaemonProcess {
    return this.network.start('node-agent', ['run', '--state', folder, ...LOG_LEVEL_ARGS], env);
  }

  /** One process for all of them. */
  async startFleet(mode: 'run' | 'once' | 'again', nodes: readonly SoakNode[]): Promise<DaemonProcess> {
    const list = await this.network.file(`fleet-${nodes[0]?.id ?? ''}`, nodes.map(({ folder }) => `${folder}\n`).join(''));
    return this.network.start('fleet', [mode, list]);
  }

  /** Orders nodes and installs each, as `latchkey-node-agent install` does. */
  async install(order: Omit<OrderOptions, 'controller'> & Partial<OrderOptions>): Promise<SoakNode[]> {
    const { lines } = await this.network.order({ controller: CONTROLLER, ...order });
    return Promise.all(
      lines.map(async ({ idI, idC, ik, controller }) => {
        const id = formatId(idI);
        const folder = this.network.node(id);
        const state = { idI, controllers: [idC], confirmed: ik, initial: true, candidates: [] };
        const nothingYet = { keyLease: undefined, lastAttempt: undefined, powered: undefined, hookPending: false };
        await createNodeFile(folder, { state, endpoints: [controller], ...nothingYet }, false);
        return { id, folder };
      }),
    );
  }

  /** Fingerprint of K_i by node, as the registry has it. */
  async registryKeys(): Promise<ReadonlyMap<string, string>> {
    const json = await this.network.run('auth-server', ['node', 'list', ...this.network.location(), '--json']);
    return new Map((JSON.parse(json) as { id: string; key: string }[]).map(({ id, key }) => [id, key]));
  }
}

/** What a node's disk holds. The node must not be running, or hold still. */
export async function nodeOnDisk({ folder }: SoakNode): Promise<StoredNode> {
  return (await NodeFile.open(folder)).record;
}

/** HOST:PORT that this testbed made itself. */
export function endpointOf(address: string): Endpoint {
  const parsed = parseEndpoint(address);
  if (parsed === undefined) throw new Error(`${address} is not HOST:PORT`);
  return parsed;
}

/**
 * Returns the differences between node files and the registry, when nothing runs. K_i must be among
 * the keys of its node (invariant 1), and the only key if no candidate is open.
 */
export async function findKeyMismatches(environment: SoakEnvironment, nodes: readonly SoakNode[]): Promise<string[]> {
  const keys = await environment.registryKeys();
  const found = await Promise.all(
    nodes.map(async (node) => {
      const { state } = await nodeOnDisk(node);
      const held = [state.confirmed, ...state.candidates.map(({ psk }) => psk)].map(({ fingerprint }) => fingerprint);
      const key = keys.get(node.id) ?? 'none';
      return held.includes(key) ? [] : [`node ${node.id} is locked out: it holds ${held.join(', ')}, the registry ${key}`];
    }),
  );
  return found.flat();
}

/**
 * With nobody killed any more, each node gets a key, and both sides hold the same one: none was
 * locked out.
 */
export async function joinOnceMore(environment: SoakEnvironment, nodes: readonly SoakNode[]): Promise<string[]> {
  const fleet = await environment.startFleet('once', nodes);
  const all = await fleet.waitFor(({ msg }) => msg === 'all joined', FINAL_JOIN_TIMEOUT_MS).catch(() => undefined);
  await fleet.stop();
  const joined = new Set(fleet.lines.filter(({ msg }) => msg === 'joined').map((line) => String(line['node'])));
  const late =
    all === undefined ? nodes.filter(({ id }) => !joined.has(id)).map(({ id }) => `node ${id} did not join again`) : [];
  return [...late, ...(await findKeyMismatches(environment, nodes))];
}
