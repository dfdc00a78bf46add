// Proves what becomes of a device's keys when it is installed again: with the same initial key no
// candidate goes that the network may have committed, or may still commit.

import { randomBytes } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatId } from '@latchkey/protocol';
import type { Order } from '../src/network.js';
import {
  applicationKeys,
  CONTROLLER,
  orderAndInstall,
  type RunningNetwork,
  showNode,
  showStatus,
  startNetwork,
} from './fixtures.js';

interface NodeJson {
  confirmed: { key: string; initial: boolean };
  candidates: { psk: string; stored_at: number }[];
  powered: { ms: number } | null;
}

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

const pathOf = (state: string): string => join(state, 'node.json');

async function readNode(state: string): Promise<NodeJson> {
  return JSON.parse(await readFile(pathOf(state), 'utf8')) as NodeJson;
}

function installAgain(
  state: string,
  id: string,
  { manifest }: Order,
): Promise<{ stdout: string; stderr: string; code: number | null }> {
  return running.network.try('node-agent', ['install', '--state', state, '--manifest', manifest, '--id', id, '--replace']);
}

/** A node that does not know of its commit: all of M6 was lost. */
async function unconfirmed(shared = false): Promise<{ id: string; state: string; order: Order; psk: string }> {
  const { network } = running;
  const { id, state, order } = await orderAndInstall(network, { count: 2, sharedKey: shared });
  const installed = await readNode(state);
  await network.run('node-agent', ['join', '--state', state]);
  const { confirmed, powered } = await readNode(state);
  const candidates = [
    { psk: randomBytes(16).toString('hex'), stored_at: 1 },
    { psk: confirmed.key, stored_at: 2 },
  ];
  await writeFile(pathOf(state), JSON.stringify({ ...installed, candidates, powered }));
  return { id, state, order, psk: confirmed.key };
}

describe('a node that is installed again with its initial key', () => {
  it('keeps its candidates and their ages, and joins by the one that the network has committed', async () => {
    const { network } = running;
    const { id, state, order } = await unconfirmed();
    const before = await readNode(state);
    const again = await installAgain(state, id, order);
    expect([again.code, again.stderr]).toEqual([0, '']);
    expect(again.stdout).toContain('Its open candidates stay');
    const after = await readNode(state);
    expect([after.confirmed, after.candidates, after.powered]).toEqual([before.confirmed, before.candidates, before.powered]);
    await network.run('node-agent', ['join', '--state', state]);
    expect(await showNode(network, id)).toMatchObject({ state: 'joined', key: (await showStatus(network, state))['key'] });
    const [ofNode, ofController] = await applicationKeys(network, id, state);
    expect(ofNode).toBe(ofController);
  });

  it('has none of another node with that initial key', async () => {
    const { state, order } = await unconfirmed(true);
    const other = formatId(order.lines[1]!.idI);
    expect((await installAgain(state, other, order)).code).toBe(0);
    expect(await readNode(state)).toMatchObject({ id: other, candidates: [] });
  });

  it('has none once it has traded that in: the registry must give it up first', async () => {
    const { network } = running;
    const { id, state, order } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
    expect((await installAgain(state, id, order)).stdout).not.toContain('candidates');
    expect(await readNode(state)).toMatchObject({ confirmed: { initial: true }, candidates: [], membership: null });
  });
});

describe('a node that is installed again', () => {
  it('with another initial key keeps nothing of the former', async () => {
    const { network } = running;
    const { id, state, psk } = await unconfirmed();
    const install = [
      'install',
      '--state',
      state,
      '--id',
      id,
      '--controller',
      running.controllerAddress,
      '--controller-id',
      CONTROLLER,
    ];
    await network.run('node-agent', [...install, '--ik-file', '-', '--replace'], randomBytes(16).toString('hex'));
    expect((await readNode(state)).candidates).toEqual([]);
    expect(await readFile(pathOf(state), 'utf8')).not.toContain(psk);
  });

  it.each([
    ['that others can read', (path: string) => chmod(path, 0o644), 'others can read it\nRun: chmod 600 '],
    [
      'of another version',
      async (path: string) => writeFile(path, (await readFile(path, 'utf8')).replace('"version":1', '"version":2')),
      'was written by another version of Latchkey\nNothing was changed. ',
    ],
  ])('over a file %s is not, and loses none of its candidates', async (_, spoil, says) => {
    const { id, state, order } = await unconfirmed();
    await spoil(pathOf(state));
    const before = await readFile(pathOf(state), 'utf8');
    const again = await installAgain(state, id, order);
    expect(again).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(says) as string });
    expect(await readFile(pathOf(state), 'utf8')).toBe(before);
  });

  it('over a file that is damaged says what that means, and is installed', async () => {
    const { id, state, order } = await unconfirmed();
    await writeFile(pathOf(state), '{');
    const again = await installAgain(state, id, order);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining(`Node ${id} is installed`) as string });
    expect(again.stderr).toMatch(/^Warning: .*not JSON\nIf the initial key is the same as before, start no agent for 130 s\./);
    expect(await readNode(state)).toMatchObject({ confirmed: { initial: true }, candidates: [] });
  });
});
