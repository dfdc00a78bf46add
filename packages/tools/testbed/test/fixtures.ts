/**
 * What the tests from end to end have in common: a network with one controller and one auth-server,
 * up and listening.
 */

import { formatId } from '@latchkey/protocol';
import { parseEndpoint } from '@latchkey/runtime/net';
import type { DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork, type Order, type OrderOptions } from '../src/network.js';
import { pollUntil } from './http.js';
import type { Endpoint } from './reference-peer.js';

export const ID_C = 1;
export const CONTROLLER = formatId(ID_C);

/** A network, and where its daemons are to listen. */
export interface PlannedNetwork {
  readonly network: TestNetwork;
  readonly serverAddress: string;
  readonly controllerAddress: string;
}

export interface RunningNetwork extends PlannedNetwork {
  readonly authServer: DaemonProcess;
  readonly controller: DaemonProcess;
}

/** Neither daemon runs yet. */
export async function planNetwork(): Promise<PlannedNetwork> {
  const network = await TestNetwork.create();
  const [serverAddress, controllerAddress] = [await freePort(), await freePort()];
  await network.addController(CONTROLLER, controllerAddress, [serverAddress]);
  return { network, serverAddress, controllerAddress };
}

/** Both daemons, real ones, on free ports. */
export async function startNetwork(): Promise<RunningNetwork> {
  const { network, serverAddress, controllerAddress } = await planNetwork();
  const authServer = await network.startAuthServer(serverAddress);
  const controller = await network.startController(CONTROLLER, controllerAddress);
  return { network, authServer, controller, serverAddress, controllerAddress };
}

/** Orders nodes from controller 00000001 and installs the first. */
export async function orderAndInstall(
  network: TestNetwork,
  options: Partial<OrderOptions> = {},
): Promise<{ id: string; state: string; order: Order }> {
  const order = await network.order({ controller: CONTROLLER, count: 1, ...options });
  const id = formatId(order.lines[0]?.idI ?? 0);
  return { id, state: await network.install(id, order.manifest), order };
}

/** What `node show` says of a node. */
export async function showNode(network: TestNetwork, id: string): Promise<Record<string, unknown>> {
  return JSON.parse(await network.run('auth-server', ['node', 'show', id, ...network.location(), '--json'])) as Record<
    string,
    unknown
  >;
}

/** What `status` says of a node. */
export async function showStatus(network: TestNetwork, state: string): Promise<Record<string, unknown>> {
  return JSON.parse(await network.run('node-agent', ['status', '--state', state, '--json'])) as Record<string, unknown>;
}

/**
 * Both ends of an application key: what node and controller print. A controller stores its copy
 * within 50 ms of sending M6 (docs/decisions/0004), so the node may have joined before the copy is
 * there: waits until both ends print the same, and throws if they never do.
 */
export async function applicationKeys(
  network: TestNetwork,
  id: string,
  state: string,
): Promise<readonly [node: string, controller: string]> {
  const ofNode = await network.run('node-agent', ['key', '--state', state, '--label', 'test']);
  const args = ['key', id, '--state', network.path(`controller-${CONTROLLER}`), '--label', 'test'];
  const { stdout } = await pollUntil(
    () => network.try('controller', args),
    (ofController) => ofController.stdout === ofNode,
  );
  return [ofNode, stdout];
}

export function endpointOf(address: string): Endpoint {
  const endpoint = parseEndpoint(address);
  if (endpoint === undefined) throw new Error(`${address} is not HOST:PORT`);
  return endpoint;
}
