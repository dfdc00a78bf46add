// Each malformation at each daemon: it answers, if at all, with no more than three times as much
// and 136 octets, and goes on.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DaemonProcess } from '../src/process.js';
import { CORPUS, type Malformation } from '../src/soak/corpus.js';
import { mutant } from '../src/soak/mutator.js';
import { endpointOf, orderAndInstall, type RunningNetwork, startNetwork } from './fixtures.js';
import type { Endpoint } from './reference-peer.js';

/**
 * An answer to a source that has not proven its address: at most so many times the request, and so
 * many octets.
 */
const AMPLIFICATION = 3;
const LARGEST_ANSWER = 136;
const PING = Buffer.of(0x40, 0x00, 0xff, 0xfe);
const PONG = Buffer.of(0x70, 0x00, 0xff, 0xfe);

let running: RunningNetwork;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

/** Octets that come back to a datagram, until a ping after it is answered. */
async function answerTo(octets: Buffer, { host, port }: Endpoint): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  let answered = 0;
  const ponged = new Promise<void>((resolve) => {
    socket.on('message', (message) => {
      if (message.equals(PONG)) resolve();
      else answered += message.length;
    });
  });
  await sent(socket, octets, port, host);
  await sent(socket, PING, port, host);
  // A datagram may be lost on loopback too, where a receive buffer is full.
  const again = setInterval(() => socket.send(PING, port, host), 1_000);
  await ponged.finally(() => clearInterval(again));
  socket.close();
  return answered;
}

function sent(socket: Socket, octets: Buffer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) =>
    socket.send(octets, port, host, (error) => (error === null ? resolve() : reject(error))),
  );
}

const daemons = { controller: () => running.controllerAddress, 'auth-server': () => running.serverAddress };

function expectSmall({ name, octets }: Malformation, answered: number): void {
  expect(answered, name).toBeLessThanOrEqual(Math.min(LARGEST_ANSWER, AMPLIFICATION * octets.length));
}

describe.each(Object.entries(daemons))('the %s', (_, address) => {
  it('answers each malformation with little or nothing', async () => {
    for (const malformation of CORPUS) expectSmall(malformation, await answerTo(malformation.octets, endpointOf(address())));
  });

  it('answers mutants no more', async () => {
    const seed = Date.now() % 2 ** 31;
    const draw = new SeededRandom(seed, 'mutants');
    for (let i = 0; i < 1_000; i++) {
      const octets = mutant(draw);
      expectSmall({ name: `seed ${seed}: ${octets.toString('hex')}`, octets }, await answerTo(octets, endpointOf(address())));
    }
  });
});

it('under load the controller answers M1 with little, too', { timeout: 240_000 }, async () => {
  const flooder = fileURLToPath(new URL('../dist/soak/flooder.js', import.meta.url));
  const { port } = endpointOf(running.controllerAddress);
  const child = spawn(process.execPath, [flooder, String(port), '500', '6', ''], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  await once(child.stdout, 'data');
  const answers: number[] = [];
  for (let i = 0; i < 50; i++) {
    const octets = Buffer.concat([Buffer.from('420212340000b16bff11', 'hex'), new SeededRandom(i, 'M1').octets(20)]);
    const socket = createSocket('udp4').bind(0, `127.9.0.${i + 1}`);
    await once(socket, 'listening');
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(answers.length > 0 ? 500 : 5_000) }).catch(
      () => [],
    ) as Promise<Buffer[]>;
    socket.send(octets, port, '127.0.0.1');
    for (const message of (await answer).slice(0, 1)) answers.push(message.length / octets.length);
    socket.close();
  }
  await closed;
  expect(answers.length).toBeGreaterThan(0);
  expect(Math.max(...answers)).toBeLessThanOrEqual(AMPLIFICATION);
});

it('and a node joins through them afterwards', async () => {
  const { state } = await orderAndInstall(running.network);
  await running.network.run('node-agent', ['join', '--state', state]);
  for (const { unparsedOutput, lines } of [running.controller, running.authServer] satisfies DaemonProcess[]) {
    expect(unparsedOutput).toBe('');
    expect(lines.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([]);
  }
});
