// Proves that a controller serves the keys of its nodes on the sockets of its configuration, relay
// and combined, to a program with @latchkey/keys, and that a wrong configuration is refused in
// words.

import { chmod, mkdir, stat } from 'node:fs/promises';
import { type KeyEvent, type KeysError, lookup, subscribe } from '@latchkey/keys';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, orderAndInstall } from './fixtures.js';

let network: TestNetwork;
beforeAll(async () => {
  network = await TestNetwork.create();
});
afterAll(() => network.remove());

/** A configuration with one key socket, whose path is returned with it. */
async function configuration(name: string, more = ''): Promise<{ socket: string; config: string }> {
  const socket = network.path(`${name}.sock`);
  const keys = `keys:\n  - { socket: ${socket}, mode: 0600, labels: [mqtt-psk, test] }\n`;
  return { socket, config: await network.file(`${name}.yaml`, `${more}${keys}`) };
}

async function keyOfNode(state: string, label: string): Promise<string> {
  return (await network.run('node-agent', ['key', '--state', state, '--label', label])).trim();
}

/** The first event from here on that matches. */
async function nextEvent(events: AsyncIterator<KeyEvent>, matches: (event: KeyEvent) => boolean): Promise<KeyEvent> {
  for (;;) {
    const { value, done } = await events.next();
    if (done === true) throw new Error('the subscription has ended');
    if (matches(value)) return value;
  }
}

async function expectKeysThroughRenewal(id: string, state: string, socket: string): Promise<void> {
  const subscription = subscribe({ socket, labels: ['mqtt-psk', 'test'] });
  onTestFinished(() => subscription.close());
  const events = subscription[Symbol.asyncIterator]();
  const eventOfNode = (): Promise<KeyEvent> => nextEvent(events, (event) => 'id' in event && event.id === id);
  await nextEvent(events, ({ type }) => type === 'synced');
  await network.run('node-agent', ['join', '--state', state]);
  const joined = await eventOfNode();
  expect(joined).toMatchObject({ type: 'key', keys: { test: Buffer.from(await keyOfNode(state, 'test'), 'hex') } });
  await network.run('node-agent', ['join', '--state', state]);
  const renewed = await eventOfNode();
  expect(renewed).toMatchObject({ type: 'key', keys: { 'mqtt-psk': Buffer.from(await keyOfNode(state, 'mqtt-psk'), 'hex') } });
  expect('kid' in renewed && renewed.kid).not.toBe('kid' in joined && joined.kid);
  const found = await lookup(id, 'test', { socket });
  expect(found.key.toString('hex')).toBe(await keyOfNode(state, 'test'));
  await expect(lookup(id, 'eap-psk', { socket })).rejects.toMatchObject({ code: 'label-refused' } satisfies Partial<KeysError>);
}

describe('a controller with keys', () => {
  it('serves them as relay', async () => {
    const [server, address] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, address, [server]);
    const authServer = await network.startAuthServer(server);
    const { socket, config } = await configuration('relay');
    const controller = await network.startController(CONTROLLER, address, '--config', config);
    expect((await stat(socket)).mode & 0o777).toBe(0o600);
    const { id, state } = await orderAndInstall(network);
    await expectKeysThroughRenewal(id, state, socket);
    await controller.stop();
    await expect(stat(socket)).rejects.toThrow('ENOENT');
    await authServer.stop();
  });

  it('serves them in combined mode', async () => {
    const id = '00000002';
    const address = await freePort();
    await network.addController(id, address, [await freePort()]);
    const { socket, config } = await configuration('combined', `mode: combined\nregistry: ${network.registry}\n`);
    const controller = await network.startController(id, address, '--config', config);
    const node = await orderAndInstall(network, { controller: id });
    await expectKeysThroughRenewal(node.id, node.state, socket);
    await controller.stop('SIGKILL');
    // The file of the socket is still there, and in nobody's way.
    const next = await network.startController(id, address, '--config', config);
    expect((await lookup(node.id, 'test', { socket })).key.toString('hex')).toBe(await keyOfNode(node.state, 'test'));
    await next.stop();
  });
});

describe('a configuration of keys', () => {
  it.each([
    ['no path', '- { socket: keys.sock, labels: [a] }', 'keys.0.socket: expected the path of a socket, beginning with /'],
    ['a mode for everybody', '- { socket: /k, mode: 0666, labels: [a] }', 'keys.0.mode: expected "0660" or "0600"'],
    ['no labels', '- { socket: /k, labels: [] }', 'keys.0.labels: expected a list of 1 or more'],
    ['a reserved label', '- { socket: /k, labels: ["latchkey key id"] }', 'labels that begin with "latchkey " are reserved'],
    [
      'a socket twice',
      '- { socket: /k, labels: [a] }\n  - { socket: "unix:/k", labels: [b] }',
      'line 3: keys.1.socket: expected another',
    ],
    ['a group without a name', '- { socket: /k, group: "", labels: [a] }', 'keys.0.group'],
    ['another key', '- { socket: /k, label: a }', 'keys.0.label'],
  ])('is refused with its line: %s', async (_, yaml, words) => {
    const config = await network.file('bad.yaml', `keys:\n  ${yaml}\n`);
    const args = ['run', '--credential', network.credential('0000000f'), '--state', network.path('bad'), '--config', config];
    const { code, stderr } = await network.try('controller', args);
    expect(stderr).toContain('bad.yaml, line ');
    expect(stderr).toContain(words);
    expect(code).toBe(2);
  });

  it.each([
    [
      'a folder that is not there',
      (folder: string) => `socket: ${folder}/none/keys.sock`,
      2,
      'Make it, for the user that the daemon runs as',
    ],
    [
      'a group that is not there',
      (folder: string) => `socket: ${folder}/x.sock, group: no-such-group`,
      2,
      'groupadd --system no-such-group',
    ],
    ['a file in the way', (folder: string) => `socket: ${folder}/bad.yaml`, 2, 'is there already, and is no socket'],
  ])('is refused at the start with what to do: %s', async (_, fields, expected, words) => {
    const id = '00000003';
    const state = network.path('refused');
    await mkdir(state, { recursive: true });
    await chmod(state, 0o700);
    const credential = network.credential(id);
    if (!(await stat(credential).catch(() => undefined))) await network.addController(id, await freePort(), [await freePort()]);
    const config = await network.file('bad.yaml', `keys: [{ ${fields(network.folder)}, labels: [a] }]\n`);
    const args = ['run', '--credential', credential, '--state', state, '--config', config, '--listen', await freePort()];
    const { code, stdout, stderr } = await network.try('controller', args);
    expect(stdout + stderr).toContain(words);
    expect(code).toBe(expected);
  });
});
