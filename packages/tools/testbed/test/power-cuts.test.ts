// Proves with real processes that a device renews its key though its clock says nothing, and its
// power is cut again and again.

import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { orderAndInstall, type RunningNetwork, showNode, showStatus, startNetwork } from './fixtures.js';

/** A key is renewed at this boot at the latest (docs/decisions/0015). */
const BOOTS = 8;
/** By such a clock, which was years ahead as the node joined, its key is never due. */
const AHEAD = '2036-01-01T00:00:00.000Z';

interface NodeJson {
  powered?: { ms: number; boot: string };
  membership?: { at: string };
  candidates: { psk: string; stored_at: number }[];
}

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

async function readNode(state: string): Promise<NodeJson> {
  return JSON.parse(await readFile(join(state, 'node.json'), 'utf8')) as NodeJson;
}

async function change(state: string, edit: (node: NodeJson) => void): Promise<void> {
  const node = await readNode(state);
  edit(node);
  await writeFile(join(state, 'node.json'), JSON.stringify(node));
}

/**
 * What the node holds was saved in another boot than this one, as after a power cut. Gives which.
 */
async function reboot(state: string): Promise<string> {
  const boot = randomUUID();
  await change(state, ({ powered }) => (powered!.boot = boot));
  return boot;
}

async function joinWithClockAhead(lifetime?: string): Promise<{ id: string; state: string }> {
  const { network } = running;
  const { id, state } = await orderAndInstall(network, lifetime === undefined ? {} : { lifetime });
  await network.run('node-agent', ['join', '--state', state]);
  await change(state, ({ membership }) => (membership!.at = AHEAD));
  return { id, state };
}

describe('a device whose clock was years ahead as it joined', () => {
  it('renews its key though it is killed at each boot as soon as it has counted that', async () => {
    const { state } = await joinWithClockAhead();
    let [boots, renewed] = [0, false];
    while (boots < BOOTS && !renewed) {
      boots += 1;
      const before = await reboot(state);
      const agent = running.network.start('node-agent', ['run', '--state', state]);
      await expect.poll(async () => (await readNode(state)).powered?.boot).not.toBe(before);
      // At the last boot it begins with an attempt, in which this is written twice.
      if (boots === BOOTS) await agent.waitFor(({ msg }) => msg === 'joined');
      await agent.stop('SIGKILL');
      renewed = (await readNode(state)).membership?.at !== AHEAD;
    }
    expect(renewed).toBe(true);
    expect(boots).toBeGreaterThan(1);
  });

  it('renews its key though all that runs is `join --if-due`, now and then', async () => {
    const { state } = await joinWithClockAhead();
    const look = (): Promise<string> => running.network.run('node-agent', ['join', '--if-due', '--state', state]);
    let [boots, renewed] = [0, false];
    while (boots < BOOTS && !renewed) {
      boots += 1;
      await reboot(state);
      renewed = (await look()).includes(' joined: ');
      // Another look in the same boot does not count as one.
      expect(await look()).toContain('need not be renewed yet');
    }
    expect(renewed).toBe(true);
    expect(boots).toBeGreaterThan(1);
  });

  it('lets its candidates grow old while `join --if-due` is all that runs', async () => {
    const { network } = running;
    const { state } = await orderAndInstall(network);
    // Four keys that the network has not taken: an M4 opens under the initial key only, and a
    // fifth has to wait.
    await change(state, (node) => {
      node.candidates = Array.from({ length: 4 }, () => ({ psk: randomBytes(16).toString('hex'), stored_at: 0 }));
    });
    const command = network.start('node-agent', ['join', '--if-due', '--state', state]);
    const savedAt = async (): Promise<number> => (await readNode(state)).powered?.ms ?? 0;
    for (let saves = 0; saves < 3; saves++) {
      const before = await savedAt();
      await expect.poll(savedAt).toBeGreaterThan(before);
    }
    await command.stop('SIGKILL');
    expect((await network.try('node-agent', ['join', '--state', state])).stderr).toMatch(
      /must wait \d+ s before it may try a fifth/,
    );
  });

  it('renews its key in one boot by powered time, and says so of a key that was not renewed in time', async () => {
    const { network } = running;
    const { id, state } = await joinWithClockAhead('2s');
    const before = await showStatus(network, state);
    await expect.poll(async () => (await showStatus(network, state))['status']).toBe('expired');
    const agent = network.start('node-agent', ['run', '--state', state]);
    await agent.waitFor(({ msg }) => msg === 'joined');
    await agent.stop();
    const [node, after] = [await showNode(network, id), await showStatus(network, state)];
    expect(after['key']).toBe(node['key']);
    expect(after['key']).not.toBe(before['key']);
    expect(Date.parse(String(after['expires_at']))).toBeLessThan(Date.parse(AHEAD));
  });
});
