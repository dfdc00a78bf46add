// Proves with real processes that a controller gives out what the registry has: after it was killed
// round a join, after its store was lost, and once a node is disabled, moved, removed or reset, or
// the registry is restored.

import { rm } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DaemonProcess } from '../src/process.js';
import { freePort } from '../src/network.js';
import { applicationKeys, CONTROLLER, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';

const OTHER = '00000002';
/** For the next answer of the auth-server to be in the store. */
const SOON = { timeout: 90_000, interval: 200 };

let running: RunningNetwork;
let controller: DaemonProcess;
let authServer: DaemonProcess;
let id: string;
let state: string;

async function start(): Promise<void> {
  running = await startNetwork();
  ({ controller, authServer } = running);
}

/** Each test has a node of its own, which has joined. */
async function newNode(): Promise<void> {
  if (controller.hasEnded) await startController();
  ({ id, state } = await orderAndInstall(running.network));
  await joinNode();
}

async function joinNode(): Promise<void> {
  await running.network.run('node-agent', ['join', '--state', state]);
}

function admin(...args: readonly string[]): Promise<string> {
  return running.network.run('auth-server', [...args, '--data', running.network.registry]);
}

function controllerState(): string {
  return running.network.path(`controller-${CONTROLLER}`);
}

/** Waits until the registry has confirmed what the controller gives out. */
function sync(): Promise<string> {
  return running.network.run('controller', ['sync', '--state', controllerState()]);
}

async function startController(): Promise<void> {
  controller = await running.network.startController(CONTROLLER, running.controllerAddress);
}

async function killController(): Promise<void> {
  controller.signal('SIGKILL');
  await controller.ended();
}

/** Whether both ends print the same key. */
async function agrees(): Promise<boolean> {
  const [node, atController] = await applicationKeys(running.network, id, state);
  return node === atController;
}

/** What `key` ends with, and what it says. */
async function refusedKey(): Promise<string> {
  const { code, stderr, stdout } = await running.network.try('controller', [
    'key',
    id,
    '--state',
    controllerState(),
    '--label',
    'test',
  ]);
  return `${code} ${stdout}${stderr}`;
}

describe('a controller', () => {
  beforeAll(async () => {
    await start();
    await running.network.addController(OTHER, await freePort(), [running.serverAddress]);
  });
  afterAll(() => running.network.remove());
  beforeEach(newNode);

  it('gives out the key of a join that it was killed at, once it runs again', async () => {
    await expect.poll(agrees, SOON).toBe(true);
    const before = controller.lines.length;
    const joined = joinNode();
    await controller.waitFor((line) => line.msg === 'node joined' && controller.lines.indexOf(line) >= before);
    await killController();
    await joined.catch(() => undefined);
    await startController();
    // The join may have had no M6: then the node holds the key in reserve until it joins again.
    await joinNode();
    await killController();
    await startController();
    await sync();
    expect(await agrees()).toBe(true);
  });

  it('gives out the keys of its nodes although its store was lost', async () => {
    await controller.stop();
    await rm(`${controllerState()}/application-roots`, { recursive: true });
    await startController();
    await sync();
    expect(await agrees()).toBe(true);
  });

  it('gives out no key, and says why, once a node is disabled, and its key once it is enabled', async () => {
    await admin('node', 'disable', id);
    await sync();
    expect(await refusedKey()).toMatch(/^1 .*which is disabled/);
    await admin('node', 'enable', id);
    await sync();
    expect(await agrees()).toBe(true);
  });

  it('does so without being told, within the interval', async () => {
    await admin('node', 'disable', id);
    await expect.poll(refusedKey, SOON).toMatch(/^1 .*which is disabled/);
  });

  it('gives out no key of a node that is moved, reset or removed', async () => {
    await admin('node', 'move', id, '--controller', OTHER);
    await sync();
    expect(await refusedKey()).toMatch(/^1 .*assigned to another controller/);
    await admin('node', 'move', id, '--controller', CONTROLLER);
    await sync();
    expect(await agrees()).toBe(true);
    await admin('node', 'reset', id, '--out', running.network.path('reset'), '--yes');
    await sync();
    expect(await refusedKey()).toMatch(/^1 .*has no key of its own/);
    await admin('node', 'remove', id, '--yes');
    await sync();
    expect(await refusedKey()).toMatch(/^1 .*not in the registry any more/);
  });

  it('answers commands that ask at the same time', async () => {
    const said = await Promise.all([sync(), sync(), sync()]);
    for (const one of said) expect(one).toContain('the registry has confirmed');
  });
});

describe('a controller whose auth-server stops', () => {
  beforeEach(async () => {
    await start();
    await newNode();
  });
  afterEach(() => running.network.remove());

  it('gives out what a restored registry has', async () => {
    const file = running.network.path('backup.lkb');
    await admin('backup', file);
    await admin('node', 'disable', id);
    await sync();
    expect(await refusedKey()).toMatch(/^1 .*which is disabled/);
    await authServer.stop();
    await admin('restore', file, '--replace', '--yes');
    authServer = await running.network.startAuthServer(running.serverAddress);
    await sync();
    expect(await agrees()).toBe(true);
  });

  it('says in words that no answer came', async () => {
    await authServer.stop();
    const { code, stderr } = await running.network.try('controller', ['sync', '--state', controllerState()]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/no complete answer|still waits for an auth-server/)]);
    expect(await agrees()).toBe(true);
  });
});
