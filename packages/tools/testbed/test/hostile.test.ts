// No datagram ends or stalls a daemon, none opens a socket that was not configured, and no key of a
// run is in any log.

import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DaemonProcess } from '../src/process.js';
import { endpointOf, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';
import { RawSocket } from './reference-peer.js';

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

/** Both daemons go on: a node joins through them. */
async function expectJoin(): Promise<void> {
  const { state } = await orderAndInstall(running.network);
  await running.network.run('node-agent', ['join', '--state', state]);
}

const targets = (): readonly [string, DaemonProcess][] => [
  [running.controllerAddress, running.controller],
  [running.serverAddress, running.authServer],
];

/**
 * Sends in bursts that the receive buffer holds, each followed by a ping that is answered when the
 * burst is through.
 */
async function flood(address: string, datagrams: Iterable<Buffer>): Promise<void> {
  const { host, port } = endpointOf(address);
  const sender = createSocket('udp4');
  const pinger = await RawSocket.open();
  const ping = Buffer.of(0x40, 0x00, 0x12, 0x34);
  let burst = 0;
  for (const datagram of datagrams) {
    sender.send(datagram, port, host);
    burst += 1;
    if (burst % 500 === 0) await roundTrip(pinger, ping, port, host);
  }
  await roundTrip(pinger, ping, port, host);
  sender.close();
  await pinger.close();
}

/** A CoAP ping is answered by a Reset with its message ID. */
async function roundTrip(pinger: RawSocket, ping: Buffer, port: number, host: string): Promise<void> {
  for (let i = 0; i < 50; i++) {
    await pinger.send(ping, port, host);
    if ((await pinger.next(1_000, ({ octets }) => octets[0] === 0x70)) !== undefined) return;
  }
  throw new Error(`${host}:${port} does not answer a ping`);
}

describe('hostile datagrams', () => {
  it('survives an over-long token with a bad Block1, and a response with a 4-octet Block1', async () => {
    const overLong = Buffer.concat([Buffer.of(0x4d, 0x02, 0x00, 0x01, 0x00), Buffer.alloc(13), Buffer.of(0xd1, 0x0e, 0xff)]);
    const response = Buffer.concat([Buffer.of(0x40, 0x45, 0x00, 0x02, 0xd4, 0x0e), Buffer.from('01020304', 'hex')]);
    const request = Buffer.concat([Buffer.of(0x40, 0x02, 0x00, 0x03, 0xd4, 0x0e), Buffer.from('01020304', 'hex')]);
    for (const [address] of targets()) await flood(address, [overLong, response, request]);
    await expectJoin();
  });

  // A source port of 0 takes a raw socket, which takes root, and a language that has them.
  const hasRawSockets = process.getuid?.() === 0 && spawnSync('python3', ['--version']).status === 0;
  it.skipIf(!hasRawSockets)('survives a datagram from source port 0 (needs root and python3)', async () => {
    const script = `
import socket, struct, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for port in map(int, sys.argv[1:]):
    coap = bytes([0x40, 0x02, 0x12, 0x34, 0xb1]) + b'k' + b'\\xff' + bytes(21)
    raw.sendto(struct.pack('!HHHH', 0, port, 8 + len(coap), 0) + coap, ('127.0.0.1', 0))
`;
    const ports = targets().map(([address]) => String(endpointOf(address).port));
    const child = spawn('python3', ['-c', script, ...ports], { stdio: 'inherit' });
    expect((await once(child, 'exit'))[0]).toBe(0);
    await expectJoin();
    await Promise.all(
      targets().map(async ([, daemon]) => {
        await daemon.stop();
        expect(daemon.lines.find(({ msg }) => msg === 'datagrams dropped')?.['drops']).toMatchObject({ 'source port 0': 1 });
      }),
    );
    const { network, serverAddress, controllerAddress } = running;
    const authServer = await network.startAuthServer(serverAddress);
    running = { ...running, authServer, controller: await network.startController('00000001', controllerAddress) };
  });

  it('goes on serving after 100,000 random datagrams to each, of noise and of mangled requests', async () => {
    const seed = Date.now();
    const random = new SeededRandom(seed, 'noise');
    const number = (below: number): number => random.below(below);
    function* datagrams(): Generator<Buffer> {
      for (let i = 0; i < 100_000; i++) {
        const noise = Buffer.from(Array.from({ length: 1 + number(64) }, () => number(256)));
        if (i % 2 === 0) yield noise;
        // A POST /k with a payload of the size of a message, some of its octets changed.
        else {
          const size = [21, 33, 79, 121][number(4)]!;
          const request = Buffer.concat([
            Buffer.of(0x42, 0x02, number(256), number(256), 1, 2, 0xb1, 0x6b, 0xff, 0x10 + number(10)),
            Buffer.alloc(size - 1, noise),
          ]);
          for (let j = number(3); j > 0; j--) request[number(request.length)] = number(256);
          yield request.subarray(0, number(8) === 0 ? number(request.length) : request.length);
        }
      }
    }
    for (const [address] of targets()) await flood(address, datagrams());
    await expectJoin();
    for (const [, daemon] of targets()) {
      expect(daemon.unparsedOutput, `seed ${seed}`).toBe('');
      expect(
        daemon.lines.filter(({ level }) => level === 'error' || level === 'fatal'),
        `seed ${seed}`,
      ).toEqual([]);
    }
  });
});

/** UDP and TCP sockets of a process, as ADDRESS:PORT in hex, from /proc. */
async function socketsOf(pid: number): Promise<string[]> {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')),
  );
  const inodes = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const tables = await Promise.all(
    ['udp', 'udp6', 'tcp', 'tcp6'].map((table) => readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '')),
  );
  return tables
    .flatMap((table) => table.trim().split('\n').slice(1))
    .map((row) => row.trim().split(/\s+/))
    .filter((fields) => inodes.has(fields[9] ?? ''))
    .map((fields) => fields[1] ?? '');
}

const inHex = (address: string): string => {
  const { host, port } = endpointOf(address);
  const octets = host.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'));
  return `${octets.toReversed().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
};

describe.skipIf(process.platform !== 'linux')('what a daemon opens', () => {
  it('the auth-server has one socket, where it was told to listen', async () => {
    expect(await socketsOf(running.authServer.pid)).toEqual([inHex(running.serverAddress)]);
  });

  it('the controller has that one and those connected to its auth-server', async () => {
    await expectJoin();
    const local = await socketsOf(running.controller.pid);
    expect(local).toContain(inHex(running.controllerAddress));
    // The others are clients: nobody but the auth-server reaches them.
    const others = local.filter((address) => address !== inHex(running.controllerAddress));
    const table = await readFile(`/proc/${running.controller.pid}/net/udp`, 'utf8');
    for (const other of others) expect(table).toMatch(new RegExp(`${other} ${inHex(running.serverAddress)}`));
  });
});

describe('libcoap', () => {
  const client = ['coap-client-notls', 'coap-client'].find((name) => spawnSync(name, ['-h']).error === undefined);
  it.skipIf(client === undefined)('finds the resource under /.well-known/core of each daemon (needs coap-client)', async () => {
    const ask = (address: string): string =>
      spawnSync(client!, ['-m', 'get', '-B', '5', `coap://${address}/.well-known/core`], { encoding: 'utf8' }).stdout.trim();
    expect(ask(running.controllerAddress)).toContain('</k>;rt="latchkey.sbr"');
    expect(ask(running.serverAddress)).toContain('</k>;rt="latchkey.sbs"');
  });
});

it('no key of the run is in any log', async () => {
  const { network } = running;
  const { id, state, order } = await orderAndInstall(network);
  const agent = network.start('node-agent', ['run', '--state', state, '--log-level', 'debug']);
  await agent.waitFor(({ msg }) => msg === 'joined');
  await agent.stop();
  const credential = JSON.parse(await readFile(network.credential('00000001'), 'utf8')) as { sk_cs: string };
  const nodeFile = JSON.parse(await readFile(`${state}/node.json`, 'utf8')) as { confirmed: { key: string } };
  const logs = network.transcripts().toLowerCase();
  expect(logs).toContain(id);
  for (const key of [credential.sk_cs, nodeFile.confirmed.key, order.lines[0]!.ik.toHex()]) {
    const octets = Buffer.from(key, 'hex');
    for (const form of [key, octets.toString('base64'), octets.toString('latin1'), JSON.stringify([...octets])]) {
      expect(logs.includes(form.toLowerCase())).toBe(false);
    }
  }
});
