// Proves that a node agent writes its keys to the files of other programs on the device, that one
// killed right after a renewal goes on where it was, and that `join` does as much without a process
// that stays.

import { readFile, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';

const LABEL = 'mqtt-psk';

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

/** What a `psk` file has of the node's key, or of the one before. */
async function line(id: string, state: string, ...which: readonly string[]): Promise<string> {
  const said = await running.network.run('node-agent', ['key', '--state', state, '--label', LABEL, '--kid', ...which]);
  const [kid = '', key = ''] = said.trim().split(' ');
  return `${id}@${kid}:${key}\n`;
}

async function configure(
  name: string,
  activateAfter: string,
): Promise<{ file: string; config: string; text: () => Promise<string> }> {
  const { network } = running;
  const file = network.path(`${name}.psk`);
  const target = { label: LABEL, file, format: 'psk', debounce: '1s' };
  const config = await network.file(
    `${name}-${activateAfter}.yaml`,
    JSON.stringify({ activate_after: activateAfter, targets: [target] }),
  );
  return { file, config, text: () => readFile(file, 'utf8').catch(() => '') };
}

it('an agent that was killed after a renewal keeps the former key until it is time, then has the new one', async () => {
  const { network } = running;
  const { id, state } = await orderAndInstall(network);
  const { file, config, text } = await configure('killed', '10m');
  const agent = network.start('node-agent', ['run', '--state', state, '--config', config]);
  await agent.waitFor(({ msg }) => msg === 'joined');
  const first = await line(id, state);
  await expect.poll(text).toBe(first);
  agent.signal('SIGUSR2');
  await expect.poll(() => line(id, state)).not.toBe(first);
  await agent.stop('SIGKILL');
  expect(await line(id, state, '--previous')).toBe(first);

  await rm(file);
  const again = network.start('node-agent', ['run', '--state', state, '--config', config]);
  await expect.poll(text).not.toBe('');
  expect(await text()).toBe(first);
  await again.stop();

  const soon = await configure('killed', '1s');
  const last = network.start('node-agent', ['run', '--state', state, '--config', soon.config]);
  await expect.poll(text).toBe(await line(id, state));
  await last.stop();
});

describe('join', () => {
  it('ends once the files have the key that it got', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    const { config, text } = await configure('once', '1s');
    for (const options of [[], [], ['--if-due']]) {
      await network.run('node-agent', ['join', '--state', state, '--config', config, ...options]);
      expect(await text()).toBe(await line(id, state));
    }
  });

  it('refuses targets that are wrong with exit code 2, and does not join', async () => {
    const { network } = running;
    const { state } = await orderAndInstall(network);
    const config = await network.file('wrong.yaml', 'targets:\n  - { file: keys.psk, format: psk, label: x }\n');
    const { code, stderr } = await network.try('node-agent', ['join', '--state', state, '--config', config]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('line 2: targets.0.file: expected an absolute path')]);
  });
});
