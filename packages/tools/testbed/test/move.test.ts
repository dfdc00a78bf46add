// Proves that a node goes on with the key it has when it is assigned to another controller, and
// only then.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, orderAndInstall, showNode, showStatus } from './fixtures.js';

const OTHER = '00000002';

let network: TestNetwork;
let other: string;

beforeAll(async () => {
  network = await TestNetwork.create();
  const [server, address] = [await freePort(), await freePort()];
  other = await freePort();
  await network.addController(CONTROLLER, address, [server]);
  await network.addController(OTHER, other, [server]);
  await network.startAuthServer(server);
  await network.startController(CONTROLLER, address);
  await network.startController(OTHER, other);
});

afterAll(() => network.remove());

it('a joined node that was moved joins through the other controller, from the key it got through the first', async () => {
  const { id, state } = await orderAndInstall(network);
  await network.run('node-agent', ['join', '--state', state]);
  const before = (await showStatus(network, state))['key'];
  await network.run('node-agent', ['move', '--state', state, '--controller', other, '--controller-id', OTHER]);
  expect((await network.try('node-agent', ['join', '--state', state])).code).toBe(1);
  // What is seen is written once a second at most.
  const why = ['node', 'why', id, '--data', network.registry, '--json'];
  await expect
    .poll(async () => JSON.parse(await network.run('auth-server', why)) as unknown)
    .toMatchObject({ cause: 'wrong-controller' });
  expect((await showStatus(network, state))['key']).toBe(before);

  await network.run('auth-server', ['node', 'move', id, '--controller', OTHER, '--data', network.registry]);
  await network.run('node-agent', ['join', '--state', state]);
  const [there, here] = [await showNode(network, id), await showStatus(network, state)];
  expect(there).toMatchObject({ controller: OTHER, state: 'joined', key: here['key'] });
  expect(here['key']).not.toBe(before);
});

it('an address alone changes where the controller is, not which', async () => {
  const { state } = await orderAndInstall(network);
  await network.run('node-agent', ['move', '--state', state, '--controller', other]);
  expect((await network.try('node-agent', ['join', '--state', state])).code).toBe(1);
  expect(await showStatus(network, state)).toMatchObject({ status: 'installed', controllers: [CONTROLLER] });
});
