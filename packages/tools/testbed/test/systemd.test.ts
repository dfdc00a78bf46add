// What real daemons tell systemd: that they serve, that they live, that they read anew, that they
// stop.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CAN_INJECT_FAULTS, FaultInjector } from '../src/fault-injector.js';
import type { DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, orderAndInstall } from './fixtures.js';
import { CAN_RECEIVE, NotifyReceiver } from './notify-receiver.js';

const HALF_A_SECOND = '500000';

let network: TestNetwork;
let receivers = 0;
beforeAll(async () => {
  network = await TestNetwork.create();
});
afterAll(() => network.remove());

/** A receiver, and what systemd would put into the environment of a service. */
async function supervised(abstract = false): Promise<{ receiver: NotifyReceiver; environment: NodeJS.ProcessEnv }> {
  receivers += 1;
  const path = network.path(`notify-${receivers}`);
  const receiver = await NotifyReceiver.open(abstract ? `@${path}` : path);
  return { receiver, environment: { NOTIFY_SOCKET: receiver.name, WATCHDOG_USEC: HALF_A_SECOND } };
}

const isWatchdogPing = (message: string): boolean => message.split('\n').includes('WATCHDOG=1');

/** CLOCK_MONOTONIC, in us. */
function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

async function expectWholeLife(daemon: DaemonProcess, receiver: NotifyReceiver): Promise<void> {
  await receiver.next((message) => message === 'READY=1');
  const first = receiver.messages.length;
  expect(await receiver.next(isWatchdogPing, first)).toMatch(/^STATUS=/m);
  await receiver.next(isWatchdogPing, receiver.messages.length);

  const before = receiver.messages.length;
  const sentAt = monotonicUs();
  daemon.signal('SIGHUP');
  const reloading = await receiver.next((message) => message.startsWith('RELOADING=1'), before);
  const usec = Number(/^MONOTONIC_USEC=(\d+)$/m.exec(reloading)?.[1]);
  expect(usec).toBeGreaterThanOrEqual(sentAt);
  expect(usec).toBeLessThanOrEqual(monotonicUs());
  await receiver.next((message) => message === 'READY=1', before);

  expect(await daemon.stop()).toBe(0);
  const stopping = receiver.messages.length;
  await receiver.next((message) => message.startsWith('STOPPING=1'));
  expect(receiver.messages.slice(stopping).filter(isWatchdogPing)).toEqual([]);
}

describe.skipIf(!CAN_RECEIVE)('systemd is told (needs Linux and python3)', () => {
  it('of the auth-server, at a path', async () => {
    const { receiver, environment } = await supervised();
    const args = ['run', '--data', network.registry, '--listen', '127.0.0.1:0'];
    const daemon = network.start('auth-server', args, environment);
    await receiver.next((message) => message === 'READY=1');
    expect(daemon.lines.some(({ msg }) => msg === 'listening') || (await daemon.listening())).toBeTruthy();
    await receiver.next((message) => message.includes('STATUS=ready'));
    await expectWholeLife(daemon, receiver);
  });

  it('of the controller, at an abstract name; its status tells that no auth-server answers', async () => {
    const { receiver, environment } = await supervised(true);
    await network.addController(CONTROLLER, await freePort(), [await freePort()]);
    const args = ['run', '--credential', network.credential(CONTROLLER), '--state', network.path('controller')];
    const daemon = network.start('controller', [...args, '--listen', '127.0.0.1:0'], environment);
    await receiver.next((message) => message.includes('STATUS=not ready; auth_server: no auth-server answers'));
    await expectWholeLife(daemon, receiver);
  });

  it('of the node-agent, whose hook is told nothing of it', async () => {
    const { receiver, environment } = await supervised();
    const serving = network.path('told');
    const [server, address] = [await freePort(), await freePort()];
    await network.addController('00000002', address, [server]);
    const authServer = await network.startAuthServer(server);
    await network.startController('00000002', address);
    const { state } = await orderAndInstall(network, { controller: '00000002' });
    const config = await network.file('hook.yaml', `on_key_change: 'env > ${serving}; true'\n`);
    const daemon = network.start('node-agent', ['run', '--state', state, '--config', config], environment);
    await daemon.waitFor(({ msg }) => msg === 'joined');
    await receiver.next((message) => message.includes('STATUS=ready'));
    await expectWholeLife(daemon, receiver);
    await authServer.stop();
    expect(readFileSync(serving, 'utf8')).not.toMatch(/NOTIFY_SOCKET|WATCHDOG/);
  });

  it('nothing of life where the watchdog asks for another process', async () => {
    const { receiver, environment } = await supervised();
    const { state } = await orderAndInstall(network, { controller: '00000002' });
    const daemon = network.start('node-agent', ['run', '--state', state], { ...environment, WATCHDOG_PID: '1' });
    await receiver.next((message) => message.startsWith('STATUS='));
    expect(await daemon.stop()).toBe(0);
    expect(receiver.messages.filter(isWatchdogPing)).toEqual([]);
  });

  it.skipIf(!CAN_INJECT_FAULTS)(
    'that a daemon lives whose disk takes no writes, and what is wrong with it (needs gcc)',
    async () => {
      const { receiver, environment } = await supervised();
      const apart = await TestNetwork.create();
      const faults = FaultInjector.create(apart, 'disk');
      try {
        const args = ['run', '--data', apart.registry, '--listen', '127.0.0.1:0'];
        apart.start('auth-server', args, { ...environment, ...faults.environment });
        await receiver.next((message) => message.includes('STATUS=ready'));
        faults.setDisk('fails');
        const told = await receiver.next((message) => message.includes('STATUS=not ready; registry: cannot write'));
        expect(isWatchdogPing(told)).toBe(true);
      } finally {
        faults.close();
        await apart.remove();
      }
    },
  );
});

describe('a daemon that systemd did not start', () => {
  it.skipIf(process.platform !== 'linux')('loads nothing to speak with it (needs Linux)', async () => {
    // A daemon that writes to LMDB loads koffi for that: the auth-server does, if its clock has
    // moved on by a minute.
    await network.addController('00000003', await freePort(), [await freePort()]);
    const { state } = await orderAndInstall(network, { controller: '00000003' });
    const daemon = network.start('node-agent', ['run', '--state', state]);
    await daemon.waitFor(({ failures }) => failures === 1);
    expect(readFileSync(`/proc/${daemon.pid}/maps`, 'utf8')).not.toContain('koffi');
    expect(await daemon.stop()).toBe(0);
  });

  it('says so, and serves, where systemd’s socket is not there', async () => {
    const environment = { NOTIFY_SOCKET: network.path('nobody') };
    const daemon = network.start('auth-server', ['run', '--data', network.registry, '--listen', '127.0.0.1:0'], environment);
    const line = await daemon.waitFor(({ level }) => level === 'warn');
    expect(line.msg).toContain('systemd cannot be notified: no such file or folder');
    expect(await daemon.stop()).toBe(0);
  });
});
