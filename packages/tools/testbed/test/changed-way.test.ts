// The way from a controller to its auth-server changes under its open sockets: flows are lost, a
// name means another address. Real processes.

import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, TestNetwork, type Order } from '../src/network.js';
import { CONTROLLER, endpointOf, ID_C } from './fixtures.js';
import { FlowRelay } from './flow-relay.js';
import { get, httpOf, metricsOf, pollUntil } from './http.js';
import { PeerNode, RawSocket } from './reference-peer.js';

/** Longer than a controller waits for its auth-server. */
const PATIENT = { timeoutMs: 60_000 };
const SOCKETS = 32;

/** Nodes of an order, each with a socket of its own. */
class Nodes {
  readonly #controller: string;
  readonly #lines: Order['lines'];
  #next = 0;

  constructor(controller: string, { lines }: Order) {
    this.#controller = controller;
    this.#lines = lines;
  }

  /** The next one joins at the first try, or this rejects. */
  async join(): Promise<void> {
    const line = this.#lines[this.#next++]!;
    const socket = await RawSocket.open();
    try {
      const node = new PeerNode(socket, { id: line.idI, key: Buffer.from(line.ik.expose()), controllers: [ID_C] });
      await node.join(endpointOf(this.#controller), PATIENT);
    } finally {
      await socket.close();
    }
  }

  async joinAfterEachOther(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.join();
  }

  async joinTogether(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.join()));
  }
}

const unanswered = async (where: string): Promise<number | undefined> =>
  (await metricsOf(where)).get('latchkey_joins_total{outcome="failed",reason="serverUnavailable"}');
const isReady = async (where: string): Promise<boolean> => (await get(where, '/readyz')).status === 200;

describe('a controller whose flows to the auth-server get lost', () => {
  let network: TestNetwork;
  let relay: FlowRelay;
  let nodes: Nodes;
  let where: string;

  beforeAll(async () => {
    network = await TestNetwork.create();
    const [server, between, address] = [await freePort(), await freePort(), await freePort()];
    await network.addController(CONTROLLER, address, [between]);
    await network.startAuthServer(server);
    relay = await FlowRelay.open(endpointOf(between), endpointOf(server));
    const controller = await network.startController(CONTROLLER, address, '--http', '127.0.0.1:0');
    where = await httpOf(controller);
    nodes = new Nodes(address, await network.order({ controller: CONTROLLER, count: 400 }));
    // Each join is two requests.
    await nodes.joinAfterEachOther(SOCKETS / 2);
  });
  afterAll(async () => {
    relay.close();
    await network.remove();
  });

  it('refuses no join, one after the other', async () => {
    expect(relay.flows).toBeGreaterThanOrEqual(SOCKETS);
    relay.loseFlows();
    await nodes.joinAfterEachOther(SOCKETS);
    expect(await unanswered(where)).toBe(0);
    expect(await isReady(where)).toBe(true);
  });

  it('refuses no join, many together', async () => {
    relay.loseFlows();
    await nodes.joinTogether(2 * SOCKETS);
    expect(await unanswered(where)).toBe(0);
    expect(await isReady(where)).toBe(true);
  });

  it('is ready again before the next node comes, where somebody asks', async () => {
    relay.loseFlows();
    const flows = relay.flows;
    // What was answered just now is believed for some seconds; then a ping goes out where requests
    // would.
    await pollUntil(
      () => isReady(where),
      (ready) => ready && relay.flows > flows,
    );
    const lostTo = relay.flows;
    await nodes.join();
    expect(relay.flows).toBeGreaterThanOrEqual(lostTo);
    expect(await unanswered(where)).toBe(0);
  });

  it('is not ready while nothing gets through, and is so again once something does', async () => {
    relay.pass(false);
    await pollUntil(
      () => isReady(where),
      (ready) => !ready,
    );
    relay.pass(true);
    await pollUntil(() => isReady(where), Boolean);
    await nodes.joinTogether(SOCKETS);
    expect(await unanswered(where)).toBe(0);
  });
});

const IS_ROOT = process.getuid?.() === 0;

/** Becomes the command that follows, with $0 in the place of /etc/hosts. */
const WITH_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"';

/**
 * Whether this machine lets root replace a file for one process, and takes names from that file.
 */
function canReplaceHosts(): boolean {
  const found = spawnSync('unshare', ['--mount', 'sh', '-c', WITH_HOSTS, '/etc/hosts', 'getent', 'hosts', 'localhost']);
  return IS_ROOT && found.status === 0;
}

describe.skipIf(!canReplaceHosts())('a controller whose auth-server has another address (needs root, unshare, getent)', () => {
  it('refuses no join: the name is looked up anew', async () => {
    const network = await TestNetwork.create();
    try {
      const [server, address] = [await freePort(), await freePort()];
      const { port } = endpointOf(server);
      const hosts = await network.file('hosts', '127.0.0.1 auth.example\n', 0o644);
      await network.addController(CONTROLLER, address, [`auth.example:${port}`]);
      const before = await network.startAuthServer(server);
      const run = ['run', '--credential', network.credential(CONTROLLER), '--state', network.path('state'), '--listen', address];
      const within = ['unshare', '--mount', 'sh', '-c', WITH_HOSTS, hosts];
      const controller = network.start('controller', [...run, '--http', '127.0.0.1:0'], {}, within);
      const where = await httpOf(controller);
      const nodes = new Nodes(address, await network.order({ controller: CONTROLLER, count: 100 }));
      await nodes.joinAfterEachOther(SOCKETS / 2);
      // As if the machine at the old address were gone: something is there that says nothing.
      await before.stop();
      const silent = await RawSocket.open('127.0.0.1', port);
      await network.file('hosts', '127.0.0.9 auth.example\n', 0o644);
      await network.startAuthServer(`127.0.0.9:${port}`);
      await nodes.joinAfterEachOther(SOCKETS);
      expect(await unanswered(where)).toBe(0);
      expect(await isReady(where)).toBe(true);
      await silent.close();
    } finally {
      await network.remove();
    }
  });
});
