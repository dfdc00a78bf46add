// Proves with real processes that the files of `deliver` follow the registry: a node that joins,
// renews, is disabled, moved, reset or removed, and a controller that is killed or loses its store.

import { readFile, rm, watch } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../src/network.js';
import type { CommandResult, DaemonProcess } from '../../src/process.js';
import { CONTROLLER, orderAndInstall, type RunningNetwork, startNetwork } from '../fixtures.js';
import { until } from './delivery-world.js';

const OTHER = '00000002';
const LABEL = 'mqtt-psk';

interface NodeAgent {
  readonly id: string;
  readonly state: string;
}

/** What `latchkey-node-agent key` prints. */
interface NodeKey {
  readonly identity: string;
  readonly key: string;
}

let running: RunningNetwork;
let controller: DaemonProcess;
let deliver: DaemonProcess;
beforeEach(async () => {
  running = await startNetwork();
  await running.controller.stop();
  await startController();
});
afterEach(() => running.network.remove());

const path = (name: string): string => running.network.path(name);
const text = (name: string): Promise<string> => readFile(path(name), 'utf8').catch(() => '');
const linesOf = async (name: string): Promise<string[]> => (await text(name)).split('\n').filter((line) => line !== '');
const pskLine = ({ identity, key }: NodeKey): string => `${identity}:${key}`;

async function startController(): Promise<void> {
  const keys = [{ socket: path('keys.sock'), mode: '0600', labels: [LABEL] }];
  const config = await running.network.file('controller.yaml', stringify({ keys }));
  controller = await running.network.startController(CONTROLLER, running.controllerAddress, '--config', config);
}

async function killController(): Promise<void> {
  controller.signal('SIGKILL');
  await controller.ended();
}

/** Two targets; the first notifies of revocations. */
async function configure(): Promise<string> {
  const hook = await running.network.file('hook', `#!/bin/sh\necho "$1 $LATCHKEY_REASON" >> ${path('hook.log')}\n`, 0o755);
  const targets = [
    { label: LABEL, file: path('keys.psk'), format: 'psk', on_revoke: [hook, '{id}'] },
    { label: LABEL, file: path('keys.jsonl'), format: 'jsonl' },
  ];
  return running.network.file('deliver.yaml', stringify({ socket: path('keys.sock'), state: path('deliver'), targets }));
}

async function startDeliver(): Promise<void> {
  deliver = running.network.start('controller', ['deliver', '--config', await configure()]);
  await deliver.waitFor(({ msg }) => msg === 'synced with the key socket');
}

async function runDeliver(...args: readonly string[]): Promise<CommandResult> {
  return running.network.try('controller', ['deliver', '--config', await configure(), ...args]);
}

async function admin(...args: readonly string[]): Promise<void> {
  await running.network.run('auth-server', [...args, '--data', running.network.registry]);
  await running.network.run('controller', ['sync', '--state', path(`controller-${CONTROLLER}`)]);
}

/** Joins with a new key. */
async function join({ id, state }: NodeAgent): Promise<NodeKey> {
  await running.network.run('node-agent', ['join', '--state', state]);
  const key = (await running.network.run('node-agent', ['key', '--state', state, '--label', LABEL])).trim();
  const json = await running.network.run('node-agent', ['key', '--state', state, '--label', LABEL, '--format', 'json']);
  const { kid } = JSON.parse(json) as { readonly kid: string };
  return { identity: `${id}@${kid}`, key };
}

/** Waits until both files have exactly these generations: by ID, and those of a node as given. */
async function expectDelivered(...keys: readonly NodeKey[]): Promise<void> {
  const idOf = ({ identity }: NodeKey): string => identity.slice(0, 8);
  const expected = keys.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : Number(idOf(a) > idOf(b)))).map(pskLine);
  const current = async (): Promise<string[][]> => [
    await linesOf('keys.psk'),
    (await linesOf('keys.jsonl')).map((line) => pskLine(JSON.parse(line) as NodeKey)),
  ];
  let last: string[][] = [];
  await until(
    async () => {
      last = await current();
      return last.every((lines) => lines.join('\n') === expected.join('\n'));
    },
    () => `${JSON.stringify(expected)}; the files have ${JSON.stringify(last)}\n${deliver.transcript()}`,
  );
}

async function expectHook(line: string): Promise<void> {
  await until(
    async () => (await linesOf('hook.log')).includes(line),
    () => `${line} in hook.log\n${deliver.transcript()}`,
  );
}

/** Each content of the file that a reader can see from now on. Returns what ends it. */
function recordContents(name: string): () => Promise<string[][]> {
  const contents: string[][] = [];
  const stop = new AbortController();
  const recording = (async () => {
    contents.push(await linesOf(name));
    for await (const { filename } of watch(running.network.folder, { signal: stop.signal }))
      if (filename === name) contents.push(await linesOf(name));
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  return async () => {
    stop.abort();
    await recording;
    return [...contents, await linesOf(name)];
  };
}

describe('deliver and a real controller', () => {
  it('have the keys of nodes that join and renew', async () => {
    const [one, two] = [await orderAndInstall(running.network), await orderAndInstall(running.network)];
    await startDeliver();
    const first = await join(one);
    await expectDelivered(first);
    const other = await join(two);
    await expectDelivered(first, other);
    const second = await join(one);
    await expectDelivered(second, first, other);
    const third = await join(one);
    await expectDelivered(third, second, first, other);
    expect(await linesOf('hook.log')).toEqual([]);
  });

  it('take the keys of a node away that is disabled, and have them again once it is enabled', async () => {
    const [one, two] = [await orderAndInstall(running.network), await orderAndInstall(running.network)];
    const other = await join(two);
    await join(one);
    const key = await join(one);
    await startDeliver();
    await until(
      async () => (await linesOf('keys.psk')).length === 3,
      () => deliver.transcript(),
    );
    await admin('node', 'disable', one.id);
    await expectDelivered(other);
    await expectHook(`${one.id} disabled`);
    await admin('node', 'enable', one.id);
    await expectDelivered(key, other);
  });

  it('take the keys of a node away that is moved, reset or removed', async () => {
    const moved = await orderAndInstall(running.network);
    const reset = await orderAndInstall(running.network);
    const removed = await orderAndInstall(running.network);
    const keys = [await join(moved), await join(reset), await join(removed)];
    await startDeliver();
    await expectDelivered(...keys);
    await running.network.addController(OTHER, await freePort(), [running.serverAddress]);
    await admin('node', 'move', moved.id, '--controller', OTHER);
    await expectDelivered(...keys.slice(1));
    await expectHook(`${moved.id} moved`);
    await admin('node', 'reset', reset.id, '--out', path('reset'), '--yes');
    await expectDelivered(...keys.slice(2));
    await expectHook(`${reset.id} reset`);
    await admin('node', 'remove', removed.id, '--yes');
    await expectDelivered();
    await expectHook(`${removed.id} removed`);
    expect(await linesOf('hook.log')).toHaveLength(3);
  });

  it('tell of a node that was revoked while neither ran', async () => {
    const node = await orderAndInstall(running.network);
    const key = await join(node);
    await startDeliver();
    await expectDelivered(key);
    await deliver.stop('SIGKILL');
    await killController();
    await running.network.run('auth-server', ['node', 'disable', node.id, '--data', running.network.registry]);
    await startController();
    await startDeliver();
    await expectDelivered();
    await expectHook(`${node.id} disabled`);
  });
});

describe('while the controller is killed and started again', () => {
  let keys: NodeKey[];
  let contents: () => Promise<string[][]>;
  let nodes: NodeAgent[];
  beforeEach(async () => {
    nodes = [await orderAndInstall(running.network), await orderAndInstall(running.network)];
    keys = [];
    for (const node of nodes) keys.push(await join(node));
    await startDeliver();
    await expectDelivered(...keys);
    contents = recordContents('keys.psk');
    await killController();
    await deliver.waitFor(({ level }) => level === 'warn');
  });

  /** Each content since has all of the keys: none was taken away. */
  async function expectNeverShorter(): Promise<void> {
    for (const lines of await contents()) expect(lines).toEqual(expect.arrayContaining(keys.map(pskLine)));
    expect(await linesOf('hook.log')).toEqual([]);
  }

  async function renewFirst(): Promise<void> {
    const renewed = await join(nodes[0]!);
    await until(
      async () => (await linesOf('keys.psk')).includes(pskLine(renewed)),
      () => `${pskLine(renewed)}\n${deliver.transcript()}`,
    );
  }

  it('no key leaves the files, and they are right afterwards', async () => {
    await startController();
    await renewFirst();
    expect(await linesOf('keys.psk')).toHaveLength(3);
    await expectNeverShorter();
  });

  it('no key leaves the files although its store was lost', async () => {
    await rm(path(`controller-${CONTROLLER}/application-roots`), { recursive: true });
    await startController();
    await renewFirst();
    await expectNeverShorter();
  });
});

describe('the other ways to run deliver', () => {
  it('--once writes what a real controller has, then ends; --check writes nothing', async () => {
    const node = await orderAndInstall(running.network);
    const key = await join(node);
    const checked = await runDeliver('--check');
    expect(checked).toMatchObject({ code: 0, stdout: `${path('deliver.yaml')} is right: 2 targets, label ${LABEL}\n` });
    expect(await text('keys.psk')).toBe('');
    expect(await runDeliver('--once')).toMatchObject({ code: 0, stdout: '2 targets are up to date\n' });
    expect(await linesOf('keys.psk')).toEqual([pskLine(key)]);
    expect(await linesOf('keys.jsonl')).toHaveLength(1);
    await admin('node', 'disable', node.id);
    expect(await runDeliver('--once')).toMatchObject({ code: 0 });
    expect(await text('keys.psk')).toBe('');
    expect(await linesOf('hook.log')).toEqual([`${node.id} disabled`]);
  });

  it('--once says that the socket is not for the label', async () => {
    const config = await configure();
    const yaml = (await readFile(config, 'utf8')).replaceAll(LABEL, 'tls-psk');
    const other = await running.network.file('other.yaml', yaml);
    const { code, stderr } = await running.network.try('controller', ['deliver', '--config', other, '--once']);
    expect(code).toBe(1);
    expect(stderr).toContain('the label tls-psk is not for this socket');
  });
});

describe('deliver beside the registry', () => {
  it('writes what the node has, former keys too, and nothing of a node that is disabled', async () => {
    const { network, serverAddress, authServer } = running;
    await authServer.stop();
    const keys = [{ socket: path('registry.sock'), mode: '0600', labels: [LABEL] }];
    await network.startAuthServer(serverAddress, '--config', await network.file('auth-server.yaml', stringify({ keys })));
    const targets = [{ label: LABEL, file: path('keys.psk'), format: 'psk' }];
    const config = await network.file(
      'auth-server-deliver.yaml',
      stringify({ socket: path('registry.sock'), state: path('auth-server-deliver'), targets }),
    );
    deliver = network.start('auth-server', ['deliver', '--config', config]);
    await deliver.waitFor(({ msg }) => msg === 'synced with the key socket');
    const node = await orderAndInstall(network);
    const first = await join(node);
    const second = await join(node);
    const options = { timeout: 120_000, interval: 50 };
    await expect.poll(() => text('keys.psk'), options).toBe([second, first].map((key) => `${pskLine(key)}\n`).join(''));
    await network.run('auth-server', ['node', 'disable', node.id, '--data', network.registry]);
    await expect.poll(() => text('keys.psk'), options).toBe('');
  });
});
