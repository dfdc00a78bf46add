// A node joins because somebody asks it to: `join --now` next to a running agent, and after `move`.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { orderAndInstall, type RunningNetwork, showStatus, startNetwork } from './fixtures.js';

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

describe('join --now', () => {
  it('has the running agent renew, and says which key it has then', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    const agent = network.start('node-agent', ['run', '--state', state]);
    await agent.waitFor(({ msg }) => msg === 'joined');
    const { key } = await showStatus(network, state);
    const said = await network.run('node-agent', ['join', '--state', state, '--now']);
    const after = (await showStatus(network, state))['key'];
    expect(after).not.toBe(key);
    expect(said).toBe(`Node ${id} joined: its key is [secret ${String(after)}]\n`);
    await agent.stop();
  });

  it('joins by itself where no agent runs', async () => {
    const { network } = running;
    const { state } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state, '--now']);
    expect(await showStatus(network, state)).toMatchObject({ status: 'joined' });
  });
});

it('a node that was moved to another address renews with its next start', async () => {
  const { network, controllerAddress } = running;
  const { state } = await orderAndInstall(network);
  await network.run('node-agent', ['join', '--state', state]);
  const { key } = await showStatus(network, state);
  await network.run('node-agent', ['move', '--state', state, '--controller', controllerAddress]);
  await network.run('node-agent', ['join', '--state', state, '--if-due']);
  expect((await showStatus(network, state))['key']).not.toBe(key);
});
