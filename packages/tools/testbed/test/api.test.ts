// `latchkey-auth-server api` as a process, beside an auth-server that serves.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, orderAndInstall } from './fixtures.js';
import { get, pollUntil } from './http.js';

let network: TestNetwork;
beforeAll(async () => {
  network = await TestNetwork.create();
});
afterAll(() => network.remove());

describe('the API beside an auth-server', () => {
  it('shows a join as it happens, and neither process minds that the other ends', async () => {
    const [server, address] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, address, [server]);
    const { state } = await orderAndInstall(network);
    const authServer = await network.startAuthServer(server);
    await network.startController(CONTROLLER, address);
    const socket = network.path('api.sock');
    const config = await network.file('api.yaml', `api: {socket: ${socket}}\n`);
    const args = ['api', '--data', network.registry, '--config', config];
    const api = network.start('auth-server', args);
    await api.waitFor(({ msg }) => msg === 'serving the API');
    const summary = async (): Promise<{ nodes: { by_state: { joined: number } } }> =>
      JSON.parse((await get(`unix:${socket}`, '/v1/summary')).text) as { nodes: { by_state: { joined: number } } };
    expect((await summary()).nodes.by_state.joined).toBe(0);
    const node = network.start('node-agent', ['run', '--state', state]);
    await node.waitFor(({ msg }) => msg === 'joined');
    expect((await summary()).nodes.by_state.joined).toBe(1);
    expect(await authServer.stop()).toBe(0);
    expect((await summary()).nodes.by_state.joined).toBe(1);
    expect(await api.stop()).toBe(0);
    const again = network.start('auth-server', args);
    await again.waitFor(({ msg }) => msg === 'serving the API');
    // A killed API leaves its socket, which the next one replaces.
    again.signal('SIGKILL');
    await pollUntil(
      async () => (await get(`unix:${socket}`, '/v1/summary').catch(() => undefined))?.status,
      (status) => status === undefined,
    );
    const third = network.start('auth-server', args);
    await third.waitFor(({ msg }) => msg === 'serving the API');
    const second = await runCommand('auth-server', args);
    expect([second.code, second.stderr]).toEqual([
      1,
      `latchkey-auth-server: cannot serve the API on unix:${socket}: another process listens there\n` +
        'Stop it, or choose another path with `socket:` below `api:` of the configuration.\n',
    ]);
    expect(await third.stop()).toBe(0);
  });

  it.each([
    ['{}', 'has no `api:`', 'Say where to serve the API'],
    ['api: {}', 'api.socket: expected text', ''],
    ['api: {socket: api.sock}', 'api.socket: expected an absolute path', ''],
    ['api: {socket: /nowhere/at/all/api.sock}', 'the folder /nowhere/at/all is not there', 'Make it'],
    ['api: {socket: /tmp/x.sock, local: {"a b": viewer}}', 'api.local', ''],
    ['api: {socket: /tmp/x.sock, local: {ops: king}}', 'expected one of viewer, operator, key-officer, admin', ''],
    [
      'api: {socket: /tmp/x.sock, local: {no-such-user-here: viewer}}',
      'this machine has no user of that name',
      'Write a user name',
    ],
    ['api: {socket: /tmp/x.sock, group: no-such-group-here}', 'this machine has no group no-such-group-here', 'groupadd'],
    ['api: {socket: /tmp/x.sock, port: 80}', 'unknown key api.port', ''],
  ])('refuses the configuration %s with words', async (text, problem, advice) => {
    const config = await network.file('wrong.yaml', `${text}\n`);
    const { code, stderr } = await runCommand('auth-server', ['api', '--data', network.registry, '--config', config]);
    expect(stderr).toContain(problem);
    expect(stderr).toContain(advice);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(code).toBe(2);
  });
});
