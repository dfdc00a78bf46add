// The API inside a daemon: in a controller in combined mode, and where a store belongs to one
// process, as on systems with musl.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { cp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { freePort, TestNetwork } from '../src/network.js';
import type { DaemonProcess, LogLine } from '../src/process.js';
import { applicationKeys, CONTROLLER, orderAndInstall, showStatus } from './fixtures.js';
import { get } from './http.js';

let network: TestNetwork;
/** As `--server` has it. */
let server: string;
beforeAll(async () => {
  network = await TestNetwork.create();
  server = `unix:${network.path('api.sock')}`;
});
afterAll(() => network.remove());

const isServing = ({ msg }: LogLine): boolean => msg === 'serving the API';
const ask = async (...args: readonly string[]): Promise<unknown> =>
  JSON.parse(await network.run('auth-server', [...args, '--server', server, '--json']));

/** A node joins, is disabled through the API, and is refused by the same process. */
async function expectAdministration(options: { readonly controller: string }): Promise<void> {
  const { id, state } = await orderAndInstall(network, options);
  expect(await ask('node', 'show', id)).toMatchObject({ id, state: 'enrolled' });
  await network.run('node-agent', ['join', '--state', state]);
  expect(await ask('node', 'show', id)).toMatchObject({ state: 'joined', key: (await showStatus(network, state))['key'] });
  await network.run('auth-server', ['node', 'disable', id, '--server', server]);
  const [entry] = (await ask('audit', 'list', '--limit', '1')) as readonly unknown[];
  expect(entry).toMatchObject({ what: 'node disabled', actor: 'uid 0' });
  expect(await network.try('node-agent', ['join', '--state', state])).toMatchObject({ code: 1 });
  await network.run('auth-server', ['node', 'enable', id, '--server', server]);
  await network.run('node-agent', ['join', '--state', state]);
  expect(await ask('node', 'list', '--state', 'joined', '--controller', options.controller)).toMatchObject([{ id }]);
}

describe('a controller in combined mode', () => {
  const ID = '00000002';
  let address: string;
  let configuration: string;
  const start = async (): Promise<DaemonProcess> => {
    const controller = await network.startController(ID, address, '--config', configuration);
    onTestFinished(async () => void (await controller.stop()));
    return controller;
  };
  beforeAll(async () => {
    address = await freePort();
    await network.addController(ID, address, []);
    const browser = `browser: { listen: ["127.0.0.1:0"], origin: "http://localhost:8080" }`;
    const api = `api: { socket: ${network.path('api.sock')}, ${browser} }`;
    configuration = await network.file('combined.yaml', `mode: combined\nregistry: ${network.registry}\n${api}\n`);
  });

  it('serves the API of the registry that it has inside', async () => {
    const controller = await start();
    await controller.waitFor(isServing);
    await expectAdministration({ controller: ID });
    const { address } = await controller.waitFor(({ msg }) => msg === 'serving the API to browsers');
    expect((await get(String(address), '/', { headers: { host: 'localhost:8080' } })).text).toContain('<title>Latchkey</title>');
    // Commands on the folder still work beside it, and take the controller's configuration.
    const options = ['--data', network.registry, '--config', configuration, '--role', 'admin'];
    expect(await network.run('auth-server', ['user', 'add', 'ada', ...options])).toContain('http://localhost:8080/');
  });

  it('goes on serving nodes while the API cannot start, and tries it again', async () => {
    const blocked = network.path('api.sock');
    await network.file('api.sock', 'not a socket');
    const controller = await start();
    const { error, retryInSeconds } = await controller.waitFor(({ msg }) => msg === 'the API could not start');
    expect(error).toContain(blocked);
    expect(retryInSeconds).toBe(1);
    const { state } = await orderAndInstall(network, { controller: ID });
    await network.run('node-agent', ['join', '--state', state]);
    await rm(blocked);
    await controller.waitFor(isServing);
    expect(await ask('controller', 'show', ID)).toMatchObject({ id: ID });
  });

  it('ends in order within its time, though clients are slow with their requests', async () => {
    const controller = await start();
    const { address } = await controller.waitFor(({ msg }) => msg === 'serving the API to browsers');
    const [header, body] = [connect(Number(String(address).split(':').at(-1))), connect(network.path('api.sock'))];
    for (const socket of [header, body]) socket.on('error', () => undefined);
    header.write('GET / HTTP/1.1\r\nHost: localhost:8080\r\nX-Slow: ');
    body.write(`POST /v1/orders HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`);
    // Whoever connects later is accepted later.
    await ask('controller', 'show', ID);
    expect(await controller.stop()).toBe(0);
    for (const socket of [header, body]) if (!socket.destroyed) await once(socket, 'close');
  });

  it('serves the API once nothing keeps the controller from starting', async () => {
    const run = [
      'run',
      '--credential',
      network.credential(ID),
      '--state',
      network.path('other-state'),
      '--config',
      configuration,
    ];
    const socket = createSocket('udp4').bind(Number(address.split(':').at(-1)), '127.0.0.1');
    onTestFinished(() => void socket.close());
    await once(socket, 'listening');
    const refused = network.start('controller', [...run, '--listen', address]);
    expect(await refused.ended()).toBe(1);
    expect(refused.transcript()).toContain('another process listens there');
    expect(refused.lines.filter(isServing)).toEqual([]);
  });

  it('refuses `api:` as relay, where the auth-server has it', async () => {
    const config = await network.file('relay.yaml', `mode: relay\napi: { socket: ${network.path('x.sock')} }\n`);
    const run = ['run', '--credential', network.credential(ID), '--state', network.path('relay'), '--config', config];
    const { code, stderr } = await network.try('controller', run);
    expect(stderr).toContain('relay.yaml, line 2: api: only for mode: combined');
    expect(code).toBe(2);
  });
});

describe('where a store belongs to one process', () => {
  beforeAll(async () => {
    // The package without the native lock, which musl has none of.
    const installed = dirname(process.env['LATCHKEY_TESTBED_BIN'] ?? '');
    const copy = network.path('without-native-lock');
    await cp(installed, copy, { recursive: true, verbatimSymlinks: true });
    for (const command of await readdir(join(copy, 'lib/latchkey')))
      await rm(join(copy, 'lib/latchkey', command, 'node_modules/fs-native-extensions'));
    vi.stubEnv('LATCHKEY_TESTBED_BIN', join(copy, 'bin'));
    vi.stubEnv('LATCHKEY_TESTBED_WORKER', undefined);
    // Of a package manager: packages of the checkout.
    vi.stubEnv('NODE_PATH', undefined);
  });
  afterAll(() => void vi.unstubAllEnvs());

  it('an auth-server serves the API itself, and a controller answers `key`', async () => {
    const [address, nid] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, nid, [address]);
    const { id, state } = await orderAndInstall(network);
    const config = await network.file('auth-server.yaml', `api: { socket: ${network.path('api.sock')} }\n`);
    const authServer = await network.startAuthServer(address, '--config', config);
    await authServer.waitFor(isServing);
    const controller = await network.startController(CONTROLLER, nid);
    await network.run('node-agent', ['join', '--state', state]);
    expect(await ask('node', 'show', id)).toMatchObject({ state: 'joined' });
    const [ofNode, ofController] = await applicationKeys(network, id, state);
    expect(ofController).toBe(ofNode);
    const refused = await network.try('auth-server', ['node', 'list', '--data', network.registry]);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toContain('is in use by another process, and cannot be shared on this system');
    const second = await network.try('auth-server', ['api', '--data', network.registry, '--config', config]);
    expect(second).toMatchObject({ code: 2 });
    expect(second.stderr).toContain('Write `api:` into the configuration of the server');
    expect(await authServer.stop()).toBe(0);
    expect(await controller.stop()).toBe(0);
  });
});
