// What daemons let others see: real ones, asked over real HTTP, on loopback and on a unix socket.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { exists } from '@latchkey/runtime/files';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CAN_INJECT_FAULTS, FaultInjector } from '../src/fault-injector.js';
import type { DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, endpointOf, orderAndInstall } from './fixtures.js';
import { get, httpOf, metricsOf, pollUntil } from './http.js';

let network: TestNetwork;
let authServer: DaemonProcess;
let controller: DaemonProcess;
let serverAddress: string;
let controllerAddress: string;
/** Where they serve health and metrics. */
let ofServer: string;
let ofController: string;

const startAuthServer = (): Promise<DaemonProcess> =>
  network.startAuthServer(serverAddress, '--http', `unix:${network.path('auth-server.sock')}`);

beforeAll(async () => {
  network = await TestNetwork.create();
  [serverAddress, controllerAddress] = [await freePort(), await freePort()];
  await network.addController(CONTROLLER, controllerAddress, [serverAddress]);
  authServer = await startAuthServer();
  controller = await network.startController(CONTROLLER, controllerAddress, '--http', '127.0.0.1:0');
  [ofServer, ofController] = [await httpOf(authServer), await httpOf(controller)];
});
afterAll(() => network.remove());

const isReady = ({ status }: { status: number }): boolean => status === 200;
const joins = (outcome: string, reason = ''): string => `latchkey_joins_total{outcome="${outcome}",reason="${reason}"}`;

/** By how much each number grew. */
async function growth(where: string, action: () => Promise<unknown>): Promise<(name: string) => number> {
  const before = await metricsOf(where);
  await action();
  const after = await metricsOf(where);
  return (name) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
}

describe('metrics', () => {
  it('tell of a join where it happens, and how long its steps took', async () => {
    const { state } = await orderAndInstall(network);
    let atServer: ((name: string) => number) | undefined;
    const atController = await growth(ofController, async () => {
      atServer = await growth(ofServer, () => network.run('node-agent', ['join', '--state', state]));
    });
    for (const grew of [atController, atServer!]) expect(grew(joins('joined'))).toBe(1);
    // A request that is retransmitted after its answer was sent is answered, and counted, again.
    const [m1, m5] = ['M1', 'M5'].map((message) => atController(`latchkey_exchange_seconds_count{message="${message}"}`));
    expect(Math.min(m1!, m5!)).toBeGreaterThanOrEqual(1);
    expect(atController('latchkey_answers_total{code="2.04"}')).toBe(m1! + m5!);
    for (const message of ['M2', 'M7'])
      expect(atServer!(`latchkey_exchange_seconds_count{message="${message}"}`)).toBeGreaterThanOrEqual(1);
    expect(atController('latchkey_requests_sent_total')).toBeGreaterThanOrEqual(2);
    expect(atServer!('latchkey_store_commit_seconds_count{store="registry"}')).toBe(1);
    expect(atServer!('latchkey_store_commit_seconds_bucket{store="registry",le="+Inf"}')).toBe(1);
    expect(atServer!('latchkey_store_commit_seconds_sum{store="registry"}')).toBeGreaterThan(0);
    const listed = JSON.parse(await network.run('auth-server', ['node', 'list', '--data', network.registry, '--json'])) as {
      state: string;
    }[];
    await pollUntil(
      () => metricsOf(ofController),
      (metrics) => metrics.get('latchkey_keys_stored') === listed.filter((node) => node.state === 'joined').length,
    );
    const renewal = await growth(ofServer, () => network.run('node-agent', ['join', '--state', state]));
    expect(renewal(joins('renewed'))).toBe(1);
  });

  it('tell why a join was refused', async () => {
    const { id, state } = await orderAndInstall(network);
    await network.run('auth-server', ['node', 'disable', id, '--data', network.registry]);
    let atServer: ((name: string) => number) | undefined;
    const atController = await growth(ofController, async () => {
      atServer = await growth(ofServer, () => network.try('node-agent', ['join', '--state', state]));
    });
    // A retransmitted M1 is refused, and counted, again.
    for (const grew of [atController, atServer!]) expect(grew(joins('failed', 'disabled'))).toBeGreaterThanOrEqual(1);
  });

  it('count nodes and orders by state', async () => {
    const { state } = await orderAndInstall(network, { count: 3, lifetime: '1h' });
    await network.run('node-agent', ['join', '--state', state]);
    const list = await network.run('auth-server', ['node', 'list', '--data', network.registry, '--json']);
    const states = (JSON.parse(list) as { state: string }[]).map((node) => node.state);
    const metrics = await pollUntil(
      () => metricsOf(ofServer),
      (latest) => latest.get('latchkey_nodes{state="enrolled"}') === states.filter((name) => name === 'enrolled').length,
    );
    for (const name of ['joined', 'disabled', 'expiring', 'expired'])
      expect(metrics.get(`latchkey_nodes{state="${name}"}`)).toBe(states.filter((other) => other === name).length);
    expect(metrics.get('latchkey_orders{state="open"}')).toBeGreaterThan(0);
  });

  it('count what the guard drops, by cause', async () => {
    const socket = createSocket('udp4');
    const { host, port } = endpointOf(controllerAddress);
    const drops = 'latchkey_datagrams_dropped_total{cause="not CoAP"}';
    const before = (await metricsOf(ofController)).get(drops)!;
    socket.send('?', port, host);
    const counted = await pollUntil(
      async () => (await metricsOf(ofController)).get(drops),
      (count) => count !== before,
    );
    expect(counted).toBe(before + 1);
    socket.close();
  });

  it('tell of a node: joined, until when, and what it cost', async () => {
    const { state } = await orderAndInstall(network, { lifetime: '1h' });
    const before = Date.now() / 1000;
    const agent = network.start('node-agent', ['run', '--state', state, '--http', `unix:${network.path('node.sock')}`]);
    const where = await httpOf(agent);
    await agent.waitFor(({ msg }) => msg === 'joined');
    const after = Date.now() / 1000;
    const metrics = await metricsOf(where);
    expect(metrics.get('latchkey_node_joined')).toBe(1);
    expect(metrics.get(joins('joined'))).toBe(1);
    expect(metrics.get('latchkey_exchange_seconds_count{message="M5"}')).toBe(1);
    const expiry = metrics.get('latchkey_key_expiry_timestamp_seconds') ?? 0;
    expect(expiry).toBeGreaterThanOrEqual(Math.floor(before) + 3600);
    expect(expiry).toBeLessThanOrEqual(Math.ceil(after) + 3600);
    expect(await get(where, '/readyz')).toMatchObject({ status: 200 });
    await agent.stop();
  });

  it('count what is sent again for want of an answer', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const { lines } = await network.order({ controller: CONTROLLER, count: 1 });
    const id = lines[0]!.idI.toString(16).padStart(8, '0');
    const at = `127.0.0.1:${silent.address().port}`;
    const install = ['install', '--state', network.node(id), '--id', id, '--controller', at, '--ik-file', '-'];
    await network.run('node-agent', install, lines[0]!.ik.toHex());
    const datagrams: Buffer[] = [];
    silent.on('message', (octets) => datagrams.push(octets));
    const agent = network.start('node-agent', ['run', '--state', network.node(id), '--http', '127.0.0.1:0']);
    const where = await httpOf(agent);
    while (datagrams.length < 2) await once(silent, 'message');
    // The next copy may be sent while the metrics are read.
    await pollUntil(
      async () => {
        const metrics = await metricsOf(where);
        return (metrics.get('latchkey_requests_sent_total') ?? 0) + (metrics.get('latchkey_retransmissions_sent_total') ?? 0);
      },
      (sent) => sent === datagrams.length,
    );
    expect((await metricsOf(where)).get('latchkey_retransmissions_sent_total')).toBeGreaterThanOrEqual(1);
    expect(await get(where, '/readyz')).toMatchObject({ status: 503, text: expect.stringContaining('has not joined') as string });
    expect(await get(where, '/healthz')).toMatchObject({ status: 200 });
    await agent.stop('SIGKILL');
    silent.close();
  });

  it('name no node, no controller and no key, not even by its fingerprint', async () => {
    const { id, state, order } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
    const shown = JSON.parse(await network.run('node-agent', ['status', '--state', state, '--json'])) as { key: string };
    const agent = network.start('node-agent', ['run', '--state', state, '--http', '127.0.0.1:0']);
    for (const where of [ofServer, ofController, await httpOf(agent)]) {
      for (const path of ['/metrics', '/readyz', '/healthz']) {
        const { text } = await get(where, path);
        const labels = [...text.replace(/^latchkey_build_info.*$/m, '').matchAll(/"[^"]*"/g)].join(' ');
        for (const word of [id, CONTROLLER, shown.key, order.lines[0]!.ik.toHex()]) expect(labels).not.toContain(word);
        expect(labels).not.toMatch(/[0-9a-f]{8}/);
      }
    }
    await agent.stop();
  });
});

describe('readiness', () => {
  it('of a controller goes with its auth-server and comes back with it', async () => {
    await pollUntil(() => get(ofController, '/readyz'), isReady);
    await authServer.stop('SIGKILL');
    const fault = await pollUntil(
      () => get(ofController, '/readyz'),
      (answer) => !isReady(answer),
    );
    expect(fault).toMatchObject({
      status: 503,
      type: expect.stringContaining('application/json') as string,
      text: expect.stringContaining(
        '{"status":"not ready","checks":{"store":"ok","auth_server":"no auth-server answers","clock":"ok","key_feed":',
      ) as string,
    });
    expect((await metricsOf(ofController)).get('latchkey_check_ok{check="auth_server"}')).toBe(0);
    expect(await get(ofController, '/healthz')).toMatchObject({ status: 200, text: '{"status":"serves"}' });
    expect(await network.try('controller', ['health', '--http', ofController])).toMatchObject({ code: 0, stdout: 'serves\n' });
    expect(await network.try('controller', ['health', '--http', ofController, '--ready'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not ready; auth_server: no auth-server answers') as string,
    });
    authServer = await startAuthServer();
    ofServer = await httpOf(authServer);
    await pollUntil(() => get(ofController, '/readyz'), isReady);
    expect(await network.try('controller', ['health', '--http', ofController, '--ready'])).toMatchObject({
      code: 0,
      stdout: 'ready\n',
    });
  });

  it.skipIf(!CAN_INJECT_FAULTS)('goes with a disk that takes no writes and comes back with it (needs gcc)', async () => {
    const faults = FaultInjector.create(network, 'disk');
    const apart = await TestNetwork.create();
    try {
      const address = await freePort();
      await apart.addController(CONTROLLER, address, [await freePort()]);
      const server = apart.start(
        'auth-server',
        ['run', '--data', apart.registry, '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'],
        faults.environment,
      );
      const where = await httpOf(server);
      await pollUntil(() => get(where, '/readyz'), isReady);
      faults.setDisk('fails');
      const fault = await pollUntil(
        () => get(where, '/readyz'),
        (answer) => !isReady(answer),
      );
      expect(JSON.parse(fault.text)).toMatchObject({
        status: 'not ready',
        checks: { registry: expect.stringMatching(/^cannot write to the store .*input\/output error$/) as string },
      });
      faults.setDisk('works');
      await pollUntil(() => get(where, '/readyz'), isReady);
    } finally {
      faults.close();
      await apart.remove();
    }
  });
});

describe('HTTP', () => {
  let state: string;
  beforeAll(async () => {
    ({ state } = await orderAndInstall(network));
  });
  const tryToServe = (where: string): Promise<{ code: number | null; stderr: string }> =>
    network.try('controller', [
      'run',
      '--credential',
      network.credential(CONTROLLER),
      '--state',
      network.path('other'),
      '--listen',
      '127.0.0.1:0',
      '--http',
      where,
    ]);

  it('is off unless asked for', async () => {
    const agent = network.start('node-agent', ['run', '--state', state]);
    await agent.waitFor(({ msg }) => msg === 'joined');
    expect(await agent.stop()).toBe(0);
    expect(agent.lines.map(({ msg }) => msg)).not.toContain('serving health and metrics');
  });

  it.each(['0.0.0.0:9464', '192.0.2.1:9464', '[::]:9464', 'example.org:9464', '[2001:db8::1]:0'])(
    'is not served on %s, where others could reach it',
    async (where) => {
      const { code, stderr } = await tryToServe(where);
      expect(code).toBe(2);
      expect(stderr).toContain(`not served on ${where}, where others could reach them`);
    },
  );

  it.each(['9464', 'unix:relative.sock', `unix:/${'x'.repeat(108)}`, 'http://127.0.0.1:9464'])(
    'is not served on what is no place: %s',
    async (where) => {
      expect((await tryToServe(where)).code).toBe(2);
    },
  );

  it('is refused by the configuration alike', async () => {
    const config = await network.file('open.yaml', 'http: 0.0.0.0:9464\n');
    const { code, stderr } = await network.try('node-agent', ['run', '--state', state, '--config', config]);
    expect(code).toBe(2);
    expect(stderr).toContain('open.yaml, line 1: http: health and metrics are not served on 0.0.0.0:9464');
  });

  it('on a unix socket is for owner and group, outlives a kill, and ends with the daemon', async () => {
    const path = network.path('other.sock');
    const config = await network.file('unix.yaml', `http: "unix:${path}"\n`);
    const start = (): DaemonProcess => network.start('node-agent', ['run', '--state', state, '--config', config]);
    const killed = start();
    await httpOf(killed);
    expect((await stat(path)).mode & 0o777).toBe(0o660);
    expect(await tryToServe(`unix:${path}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('another process listens there') as string,
    });
    await killed.stop('SIGKILL');
    expect(await exists(path)).toBe(true);
    const again = start();
    await httpOf(again);
    expect(await network.try('node-agent', ['health', '--config', config])).toMatchObject({ code: 0, stdout: 'serves\n' });
    expect(await again.stop()).toBe(0);
    expect(await exists(path)).toBe(false);
    expect(await network.try('node-agent', ['health', '--config', config])).toMatchObject({ code: 1 });
  });

  it('leaves a file alone that is no socket', async () => {
    const path = network.path('precious');
    await writeFile(path, 'mine');
    expect(await tryToServe(`unix:${path}`)).toMatchObject({ code: 2 });
    expect((await stat(path)).size).toBe(4);
  });

  it('answers three paths and no more, and takes no bodies', async () => {
    expect((await get(ofController, '/metrics')).type).toContain('text/plain; version=0.0.4');
    expect((await get(ofController, '/')).status).toBe(404);
    expect((await get(ofController, '/metrics', { method: 'POST', body: 'x' })).status).toBe(404);
    expect((await get(ofController, '/healthz', { method: 'HEAD' })).status).toBe(200);
  });

  it('takes 32 connections at once', async () => {
    const { host, port } = endpointOf(ofController);
    const sockets: Socket[] = [];
    for (let i = 0; i < 33; i++) {
      const socket = connect(port, host);
      sockets.push(socket);
      socket.on('error', () => undefined);
      await once(socket, 'connect');
    }
    await once(sockets[32]!.resume(), 'close');
    for (const socket of sockets) socket.destroy();
    const again = await pollUntil(() => get(ofController, '/healthz').catch(() => ({ status: 0 })), isReady);
    expect(again.status).toBe(200);
  });
});
