// Proves against a peer on a bare socket what counts as an answer to the client, how an exchange
// ends, and that nothing is left of it.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { queryObjects } from 'node:v8';
import { OutgoingMessage } from 'coap';
import type { Packet } from 'coap-packet';
import * as fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CoapClient, type CoapClientOptions, type ExchangeOptions, type ExchangeOutcome, type Response } from '../src/client.js';
import type { Endpoint } from '@latchkey/runtime/net';
import { HAS_IPV6, type Received, UdpPeer } from '@latchkey/test-support/fixtures';

/** So long that no exchange ends by it, nor a test waits for it. */
const LONG = 3_600_000;

async function connect(peer: Endpoint, options: Partial<CoapClientOptions> = {}): Promise<CoapClient> {
  const client = await CoapClient.connect({ peer, tokenLength: 4, maxInFlight: 8, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** An exchange in which `right` counts and nothing else does. */
function send(client: CoapClient, more: Partial<ExchangeOptions<Response>> = {}): Promise<ExchangeOutcome<Response>> {
  return client.exchange({
    payload: Buffer.from('question'),
    deadlineMs: LONG,
    maxIgnored: 16,
    accept: (response) => (response.payload.toString() === 'right' ? response : undefined),
    ...more,
  });
}

function piggybacked(to: Received, payload: string, more: Packet = {}): Packet {
  return { code: '2.04', ack: true, messageId: to.messageId, token: to.token, payload: Buffer.from(payload), ...more };
}

function separate(to: Received, payload: string, messageId: number, more: Packet = {}): Packet {
  return { ...piggybacked(to, payload), ack: false, confirmable: true, messageId, ...more };
}

async function closedPort(): Promise<Endpoint> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return { host: '127.0.0.1', port };
}

describe('a request', () => {
  it('is a confirmable POST /k with a token of the length asked for, the payload and the Echo', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint, { tokenLength: 2 });
    const outcome = send(client, { echo: Buffer.from('echo') });
    const request = await peer.next();
    expect(request).toMatchObject({ confirmable: true, code: '0.02', payload: Buffer.from('question') });
    expect(request.token).toHaveLength(2);
    expect(request.options).toEqual([
      { name: 'Uri-Path', value: Buffer.from('k') },
      { name: '252', value: Buffer.from('echo') },
    ]);
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered' });
  });

  it('is sent again octet for octet until something comes back', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint));
    const first = await peer.next();
    const second = await peer.next();
    expect(second.octets).toEqual(first.octets);
    peer.reply(second, piggybacked(second, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered' });
  });

  it('is first sent again at one of 20 times from ACK_TIMEOUT on, whose timers share a list', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint, { maxInFlight: 200 });
    const timers = vi.spyOn(globalThis, 'setTimeout');
    onTestFinished(() => timers.mockRestore());
    const outcomes = Array.from({ length: 200 }, () => send(client));
    for (let i = 0; i < 200; i++) {
      const request = await peer.next();
      peer.reply(request, piggybacked(request, 'right'));
    }
    await Promise.all(outcomes);
    const waits = timers.mock.calls.map(([, ms = 0]) => ms).filter((ms) => ms >= 2_000 && ms <= 3_000);
    expect(waits).toHaveLength(200);
    const times = new Set(Array.from({ length: 21 }, (_, i) => 2_000 + 50 * i));
    expect(waits.filter((ms) => !times.has(ms))).toEqual([]);
    expect(new Set(waits).size).toBeGreaterThan(10);
  });

  it('bears a token and a message ID that no other request in flight has', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint, { tokenLength: 2, maxInFlight: 200 });
    const outcomes = Array.from({ length: 200 }, () => send(client));
    const requests: Received[] = [];
    for (let i = 0; i < 200; i++) requests.push(await peer.next());
    expect(new Set(requests.map(({ token }) => token.toString('hex'))).size).toBe(200);
    expect(new Set(requests.map(({ messageId }) => messageId)).size).toBe(200);
    for (const request of requests) peer.reply(request, piggybacked(request, 'right'));
    expect((await Promise.all(outcomes)).every(({ kind }) => kind === 'answered')).toBe(true);
  });
});

describe('an answer counts', () => {
  it('with its code, payload, Max-Age and Echo', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint));
    const request = await peer.next();
    const options: NonNullable<Packet['options']> = [
      { name: 'Max-Age', value: Buffer.of(1, 0) },
      { name: '252' as never, value: Buffer.from('proof') },
    ];
    peer.reply(request, piggybacked(request, 'right', { code: '4.01', options }));
    expect(await outcome).toEqual({
      kind: 'answered',
      value: { code: '4.01', payload: Buffer.from('right'), maxAge: 256, echo: Buffer.from('proof') },
    });
  });

  it('as a NON', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint));
    const request = await peer.next();
    peer.reply(request, separate(request, 'right', 77, { confirmable: false }));
    expect(await outcome).toMatchObject({ kind: 'answered' });
  });

  it('as a separate CON after an empty ACK, and is acknowledged, as each copy is', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint));
    const request = await peer.next();
    peer.reply(request, { code: '0.00', ack: true, messageId: request.messageId });
    peer.reply(request, separate(request, 'right', 777));
    expect(await peer.next()).toMatchObject({ code: '0.00', ack: true, reset: false, messageId: 777 });
    expect(await outcome).toMatchObject({ kind: 'answered' });
    peer.reply(request, separate(request, 'right', 777));
    expect(await peer.next()).toMatchObject({ code: '0.00', ack: true, reset: false, messageId: 777 });
    // Another message with the token of an exchange that has ended.
    peer.reply(request, separate(request, 'right', 778));
    expect(await peer.next()).toMatchObject({ code: '0.00', ack: false, reset: true, messageId: 778 });
  });

  it('as a separate CON without any ACK before', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint));
    const request = await peer.next();
    peer.reply(request, separate(request, 'right', 778));
    expect(await peer.next()).toMatchObject({ ack: true, messageId: 778 });
    expect(await outcome).toMatchObject({ kind: 'answered' });
  });

  it('to each of many exchanges on one socket, in any order', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint);
    const outcomes = Array.from({ length: 8 }, (_, i) =>
      client.exchange({
        payload: Buffer.of(i),
        deadlineMs: LONG,
        maxIgnored: 1,
        accept: ({ payload }) => payload[0],
      }),
    );
    const requests: Received[] = [];
    for (let i = 0; i < 8; i++) requests.push(await peer.next());
    for (const request of requests.toReversed()) peer.reply(request, piggybacked(request, '', { payload: request.payload }));
    expect(await Promise.all(outcomes)).toEqual(Array.from({ length: 8 }, (_, value) => ({ kind: 'answered', value })));
  });
});

describe('an answer is ignored', () => {
  /** What is said before the right answer must neither count nor be counted. */
  it.each<[string, (request: Received) => Packet]>([
    ['with another token', (request) => piggybacked(request, 'forged', { token: Buffer.alloc(4, 7) })],
    ['with no token', (request) => piggybacked(request, 'forged', { token: Buffer.alloc(0) })],
    ['with part of the token', (request) => piggybacked(request, 'forged', { token: request.token.subarray(0, 3) })],
    ['with another message ID in an ACK', (request) => piggybacked(request, 'forged', { messageId: request.messageId ^ 1 })],
    ['in a Reset', (request) => piggybacked(request, 'forged', { ack: false, reset: true })],
    ['with a code that is no response', (request) => piggybacked(request, 'forged', { code: '3.01' })],
    [
      'with a critical option',
      (request) => piggybacked(request, 'forged', { options: [{ name: 'If-Match', value: Buffer.of(1) }] }),
    ],
    [
      'with a Block1 of 4 octets',
      (request) => piggybacked(request, 'forged', { options: [{ name: 'Block1', value: Buffer.of(255, 255, 255, 255) }] }),
    ],
    ['with a Block2', (request) => piggybacked(request, 'forged', { options: [{ name: 'Block2', value: Buffer.of(0x0e) }] })],
  ])('%s', async (_, wrong) => {
    const peer = await UdpPeer.open();
    const accepted: string[] = [];
    const outcome = send(await connect(peer.endpoint), {
      maxIgnored: 1,
      accept: (response) => {
        accepted.push(response.payload.toString());
        return response;
      },
    });
    const request = await peer.next();
    peer.reply(request, wrong(request));
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered', value: { code: '2.04' } });
    expect(accepted).toEqual(['right']);
  });

  it('from another port, and from another address', async () => {
    const [peer, otherPort, otherAddress] = [await UdpPeer.open(), await UdpPeer.open(), await UdpPeer.open('127.0.0.2')];
    const accepted: string[] = [];
    const outcome = send(await connect(peer.endpoint), {
      accept: (response) => {
        accepted.push(response.payload.toString());
        return response;
      },
    });
    const request = await peer.next();
    otherPort.reply(request, piggybacked(request, 'forged'));
    otherAddress.reply(request, piggybacked(request, 'forged'));
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered' });
    expect(accepted).toEqual(['right']);
  });

  it('that is judged not to count, and the right one later counts', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { maxIgnored: 16 });
    const request = await peer.next();
    for (let i = 0; i < 16; i++) peer.reply(request, piggybacked(request, `wrong ${i}`));
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered', value: { payload: Buffer.from('right') } });
  });

  it('that is a CON and judged not to count, once, however often it is sent; it is acknowledged each time', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { maxIgnored: 1 });
    const request = await peer.next();
    for (let i = 0; i < 3; i++) {
      peer.reply(request, separate(request, 'wrong', 40));
      expect(await peer.next()).toMatchObject({ code: '0.00', ack: true, messageId: 40 });
    }
    peer.reply(request, separate(request, 'right', 41));
    expect(await outcome).toMatchObject({ kind: 'answered' });
  });

  it('among any octets, and a request to the client is not answered', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 50, maxLength: 50 }), async (datagrams) => {
        const outcome = send(client, { maxIgnored: 1 });
        // A CON with a token nobody has gets a Reset; nothing else but requests is ever sent.
        let request = await peer.next();
        for (; request.reset; request = await peer.next());
        expect(request.code).toBe('0.02');
        for (const datagram of datagrams) {
          peer.reply(request, { code: 'POST', confirmable: true, messageId: 1, token: request.token });
          // Not by `reply`, which would make a message of it.
          peer.send(datagram, { host: request.from.address, port: request.from.port });
          peer.send(Buffer.concat([request.octets.subarray(0, 8), datagram]), {
            host: request.from.address,
            port: request.from.port,
          });
        }
        peer.reply(request, piggybacked(request, 'right'));
        expect(await outcome).toMatchObject({ kind: 'answered' });
      }),
      { numRuns: 20, endOnFailure: true },
    );
  });
});

describe('an exchange ends', () => {
  it('deaf, with the last of the answers that do not count', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { maxIgnored: 16 });
    const request = await peer.next();
    for (let i = 0; i < 17; i++) peer.reply(request, piggybacked(request, 'wrong'));
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toEqual({ kind: 'too-many-invalid', ignored: 17 });
  });

  it('at its deadline, where nobody says anything', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { deadlineMs: 20 });
    expect(await outcome).toEqual({ kind: 'timeout', ignored: 0, lastCode: undefined });
    expect(await peer.next()).toMatchObject({ code: '0.02' });
  });

  it('at its deadline, also after an empty ACK, which `coap` would wait behind for ever', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { deadlineMs: 300 });
    const request = await peer.next();
    peer.reply(request, { code: '0.00', ack: true, messageId: request.messageId });
    expect(await outcome).toMatchObject({ kind: 'timeout' });
  });

  it('soon after an answer that does not count, where that is asked for, with its code', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { graceMs: 20 });
    const request = await peer.next();
    peer.reply(request, piggybacked(request, 'wrong', { code: '4.03' }));
    expect(await outcome).toEqual({ kind: 'timeout', ignored: 1, lastCode: '4.03' });
  });

  it('soon after an empty ACK, where that is asked for: what was lost then comes no more', async () => {
    const peer = await UdpPeer.open();
    const outcome = send(await connect(peer.endpoint), { graceMs: 20 });
    const request = await peer.next();
    peer.reply(request, { code: '0.00', ack: true, messageId: request.messageId });
    expect(await outcome).toEqual({ kind: 'timeout', ignored: 0, lastCode: undefined });
  });

  it('unreachable, where the machine there says twice that nobody listens', async () => {
    const outcome = send(await connect(await closedPort()));
    expect(await outcome).toEqual({ kind: 'unreachable', code: 'ECONNREFUSED' });
  });

  it('unreachable after two Resets, and not after one', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint);
    const reset = (to: Received): Packet => ({ code: '0.00', reset: true, messageId: to.messageId });
    const first = send(client);
    const request = await peer.next();
    peer.reply(request, reset(request));
    peer.reply(request, piggybacked(request, 'right'));
    expect(await first).toMatchObject({ kind: 'answered' });

    const second = send(client);
    const another = await peer.next();
    peer.reply(another, reset(another));
    peer.reply(another, reset(another));
    expect(await second).toEqual({ kind: 'unreachable', code: 'ECONNRESET' });
  });

  it('busy at once, where as many are in flight as may be', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint, { maxInFlight: 2 });
    const inFlight = [send(client), send(client)];
    expect(await send(client)).toEqual({ kind: 'busy' });
    for (const _ of inFlight) {
      const request = await peer.next();
      peer.reply(request, piggybacked(request, 'right'));
    }
    await Promise.all(inFlight);
    const next = send(client);
    const request = await peer.next();
    peer.reply(request, piggybacked(request, 'right'));
    expect(await next).toMatchObject({ kind: 'answered' });
  });
});

describe('close', () => {
  it('ends what is in flight and what comes later, and may be called again', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint);
    const outcome = send(client);
    await peer.next();
    await client.close();
    expect(await outcome).toEqual({ kind: 'unreachable', code: 'ECANCELED' });
    expect(await send(client)).toEqual({ kind: 'unreachable', code: 'ECANCELED' });
    await client.close();
  });

  it('when idle waits for what is in flight', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint);
    const outcome = send(client);
    const request = await peer.next();
    const closing = client.closeWhenIdle();
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered' });
    await closing;
  });
});

describe('connect', () => {
  it('fails in words where the name means nothing', async () => {
    await expect(connect({ host: 'no-such-name.invalid', port: 5683 })).rejects.toMatchObject({ name: 'Failure' });
  });

  it('does not throw into the process where the system has no way to the peer', async () => {
    // connect(2) to the broadcast address is refused with EACCES, as one without a route is with
    // ENETUNREACH.
    await expect(connect({ host: '255.255.255.255', port: 5683 })).rejects.toMatchObject({ name: 'Failure' });
  });

  it.skipIf(!HAS_IPV6)('reaches an IPv6 peer (this machine has ::1)', async () => {
    const peer = await UdpPeer.open('::1');
    const outcome = send(await connect(peer.endpoint));
    const request = await peer.next();
    peer.reply(request, piggybacked(request, 'right'));
    expect(await outcome).toMatchObject({ kind: 'answered' });
  });
});

describe('after 10,000 exchanges', () => {
  it('that ended in every way there is, nothing is kept of them', async () => {
    const peer = await UdpPeer.open();
    const client = await connect(peer.endpoint, { maxInFlight: 64 });
    const counts = { answered: 0, 'too-many-invalid': 0, timeout: 0 };
    const before = queryObjects(OutgoingMessage, { format: 'count' });

    const play = async (i: number): Promise<void> => {
      const silent = i % 50 === 0;
      const { kind } = await send(client, { deadlineMs: silent ? 1 : LONG, maxIgnored: 0 });
      counts[kind as keyof typeof counts] += 1;
    };
    const answering = (async () => {
      for (let i = 0; i < 10_000; i++) {
        const request = await peer.next();
        const says = i % 10 === 0 ? 'wrong' : 'right';
        if (i % 3 === 0) peer.reply(request, { code: '0.00', ack: true, messageId: request.messageId });
        peer.reply(request, i % 3 === 1 ? piggybacked(request, says) : separate(request, says, i, { confirmable: false }));
      }
    })();
    for (let i = 0; i < 10_000; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => play(i + k)));
    await answering;

    expect(counts.answered + counts['too-many-invalid'] + counts.timeout).toBe(10_000);
    expect(counts.answered).toBeGreaterThan(8_000);
    expect(counts['too-many-invalid']).toBeGreaterThan(500);
    // The last few may wait for timers of Node.js's own; ten thousand may not.
    expect(queryObjects(OutgoingMessage, { format: 'count' }) - before).toBeLessThan(100);
  });
});
