// Proves on a real socket that no datagram ends, stalls or confuses the server, and what it answers
// to whom.

import { execFileSync } from 'node:child_process';
import { generate, type Packet } from 'coap-packet';
import * as fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CoapServer, type PostResponse, type PostRequest } from '../src/server.js';
import { CapturedLog, HAS_IPV6, IS_ROOT, lookUpBy, type Received, UdpPeer } from '@latchkey/test-support/fixtures';

type Answer = (request: PostRequest) => PostResponse | Promise<PostResponse>;

const ECHO = 252;

interface Served {
  readonly server: CoapServer;
  readonly log: CapturedLog;
  readonly at: { readonly host: string; readonly port: number };
}

/**
 * A server on a port of its own that answers with what it is given; it is stopped with the test.
 */
async function serve(answer: Answer = echoBack, host = '127.0.0.1'): Promise<Served> {
  const log = new CapturedLog();
  const server = await CoapServer.listen({ listen: { host, port: 0 }, resourceType: 'latchkey.sbr', answer, log: log.log });
  let stopped = false;
  const stop = server.stop.bind(server);
  server.stop = () => {
    stopped = true;
    return stop();
  };
  onTestFinished(async () => {
    if (!stopped) await server.stop();
  });
  return { server, log, at: server.address };
}

function echoBack({ payload }: PostRequest): PostResponse {
  return { code: '2.04', payload };
}

let messageId = 0;

/** A confirmable POST /k, unless told otherwise. */
function post(payload: string, more: Packet = {}): Packet {
  messageId = (messageId + 1) % 0x1_0000;
  return {
    code: 'POST',
    confirmable: true,
    messageId,
    token: Buffer.from('ab'),
    payload: Buffer.from(payload),
    options: [{ name: 'Uri-Path', value: Buffer.from('k') }],
    ...more,
  };
}

function get(path: string, query?: string): Packet {
  const options: NonNullable<Packet['options']> = path
    .split('/')
    .filter((segment) => segment !== '')
    .map((segment) => ({ name: 'Uri-Path', value: Buffer.from(segment) }));
  if (query !== undefined) options.push({ name: 'Uri-Query', value: Buffer.from(query) });
  return post('', { code: 'GET', options });
}

/** Sends and waits for the answer. */
async function ask(peer: UdpPeer, { at }: Served, packet: Packet): Promise<Received> {
  peer.send(packet, at);
  const answer = await peer.next();
  expect(answer.token).toEqual(packet.token);
  return answer;
}

/**
 * The server answers requests, in order: once this is answered, all that was sent before has been
 * dealt with.
 */
async function settled(peer: UdpPeer, served: Served): Promise<void> {
  const packet = get('nothing');
  const answer = await ask(peer, served, packet);
  expect([answer.code, answer.messageId]).toEqual(['4.04', packet.messageId]);
}

function optionOf(received: Received, name: string | number): Buffer | undefined {
  return received.options.find((option) => String(option.name) === String(name))?.value;
}

/** A handler that waits until it is let go. */
function gated(answer: PostResponse): { handler: Answer; started: Promise<void>; release: () => void; calls: () => number } {
  let calls = 0;
  let begin = (): void => undefined;
  let release = (): void => undefined;
  const started = new Promise<void>((resolve) => (begin = resolve));
  const gate = new Promise<void>((resolve) => (release = resolve));
  const handler = async (): Promise<PostResponse> => {
    calls += 1;
    begin();
    await gate;
    return answer;
  };
  return { handler, started, release, calls: () => calls };
}

describe('what ends a bare `coap`', () => {
  it('does not end this server: an over-long token with a bad Block1, a Block1 of 4 octets, a FETCH, an Observe', async () => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    for (const hex of [
      // Token length 9, Block1 (27) of 4 octets.
      '49020001010203040506070809d10e74d40effffffff',
      '42020002abcdb16bd403ffffffff',
      '42020003abcdb16bd10307',
      '60440004d40effffffff',
      '42050005abcdb16b',
      '42010006abcd6100516b',
    ]) {
      peer.send(Buffer.from(hex, 'hex'), served.at);
    }
    const answers: string[] = [];
    const last = get('nothing');
    peer.send(last, served.at);
    for (;;) {
      const { code, messageId: id } = await peer.next();
      if (id === last.messageId) break;
      answers.push(`${id} ${code}`);
    }
    expect(answers).toEqual(['2 4.02', '3 4.02', '5 4.05', '6 4.05']);
  });

  it.skipIf(!IS_ROOT)('does not end this server: a datagram from port 0 (this test wants root and python3)', async () => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    sendFromPort0(generate(post('x')), served.at.port);
    await settled(peer, served);
    await served.server.stop();
    expect(served.log.withMessage('datagrams dropped')).toMatchObject([{ drops: { 'source port 0': 1 } }]);
  });
});

/** UDP with source port 0 and no checksum, through a raw socket. */
function sendFromPort0(payload: Buffer, port: number): void {
  const script = [
    'import socket, struct, sys',
    'data = bytes.fromhex(sys.argv[2])',
    's = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)',
    "s.sendto(struct.pack('!HHHH', 0, int(sys.argv[1]), 8 + len(data), 0) + data, ('127.0.0.1', 0))",
  ].join('\n');
  execFileSync('python3', ['-c', script, String(port), payload.toString('hex')]);
}

describe('a flood of datagrams', () => {
  it('of any octets leaves the server serving', async () => {
    const [served, peer, flooder] = [await serve(), await UdpPeer.open(), await UdpPeer.open()];
    const octets = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ minLength: 500, maxLength: 520, size: 'max' }),
      // Version 1 and a request's code, then anything: past the first checks.
      fc
        .tuple(fc.nat(31), fc.nat(5), fc.uint8Array({ minLength: 2, maxLength: 40 }))
        .map(([first, code, rest]) => Uint8Array.of(0x40 | first, code, ...rest)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(octets, { minLength: 100, maxLength: 100 }), async (datagrams) => {
        for (const datagram of datagrams) flooder.send(datagram, served.at);
        const packet = post('still here');
        expect((await ask(peer, served, packet)).payload.toString()).toBe('still here');
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });

  it('that are nearly requests leaves the server serving', async () => {
    const [served, peer, flooder] = [await serve(), await UdpPeer.open(), await UdpPeer.open()];
    const request = generate(
      post('payload', {
        options: [
          { name: 'Uri-Host', value: Buffer.from('controller') },
          { name: 'Uri-Path', value: Buffer.from('k') },
          { name: 'Content-Format', value: Buffer.of(42) },
          { name: 'Uri-Query', value: Buffer.from('q') },
          { name: 'Accept', value: Buffer.of(42) },
          { name: ECHO as never, value: Buffer.alloc(12, 1) },
        ],
      }),
    );
    const change = fc.record({ at: fc.nat(request.length - 1), to: fc.nat(255) });
    const changed = fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
      const octets = Buffer.from(request);
      for (const { at, to } of changes) octets[at] = to;
      return octets;
    });
    await fc.assert(
      fc.asyncProperty(fc.array(changed, { minLength: 100, maxLength: 100 }), async (datagrams) => {
        for (const datagram of datagrams) flooder.send(datagram, served.at);
        expect((await ask(peer, served, post('still here'))).payload.toString()).toBe('still here');
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
});

describe('copies of a request', () => {
  it('that is being worked on run the handler once and get one answer', async () => {
    const { handler, started, release, calls } = gated({ code: '2.04', payload: Buffer.from('done') });
    const [served, peer] = [await serve(handler), await UdpPeer.open()];
    const packet = post('work');
    for (let i = 0; i < 5; i++) peer.send(packet, served.at);
    await started;
    await settled(peer, served);
    release();
    const answer = await peer.next();
    expect([answer.code, answer.messageId, answer.payload.toString()]).toEqual(['2.04', packet.messageId, 'done']);
    await settled(peer, served);
    expect(calls()).toBe(1);
    expect(peer.unread).toEqual([]);
  });

  it('that was answered run the handler again: no answer is kept', async () => {
    let calls = 0;
    const [served, peer] = [await serve(() => ({ code: '2.04', payload: Buffer.of(++calls) })), await UdpPeer.open()];
    const packet = post('again');
    const answers = [await ask(peer, served, packet), await ask(peer, served, packet)];
    expect(answers.map(({ messageId, payload }) => [messageId, payload[0]])).toEqual([
      [packet.messageId, 1],
      [packet.messageId, 2],
    ]);
  });

  it('are told from requests with the same message ID and another token, or from another port', async () => {
    const [served, peer, other] = [await serve(), await UdpPeer.open(), await UdpPeer.open()];
    const packet = post('one');
    expect((await ask(peer, served, packet)).payload.toString()).toBe('one');
    expect(
      (await ask(peer, served, { ...packet, token: Buffer.from('xy'), payload: Buffer.from('two') })).payload.toString(),
    ).toBe('two');
    expect((await ask(other, served, { ...packet, payload: Buffer.from('three') })).payload.toString()).toBe('three');
  });
});

describe('an answer', () => {
  it.each([0, 1, 16])('with %d octets of payload has the marker before them if there are any', async (length) => {
    const { at } = await serve(() => ({ code: '2.04', payload: new Uint8Array(length) }));
    const peer = await UdpPeer.open();
    const request = post('x');
    peer.send(request, at);
    const { octets } = await peer.next();
    const head = Buffer.from([0x62, 0x44, request.messageId! >> 8, request.messageId! & 0xff, ...Buffer.from('ab')]);
    expect(octets).toEqual(length === 0 ? head : Buffer.concat([head, Buffer.of(0xff), Buffer.alloc(length)]));
  });

  it('to a CON is piggybacked: no CON of our own, however slow the handler', async () => {
    const slow = async ({ payload }: PostRequest): Promise<PostResponse> => {
      // `coap` by itself acknowledges after 50 ms and answers with a CON of its own.
      await new Promise((resolve) => setTimeout(resolve, 200));
      return { code: '2.04', payload };
    };
    const [served, peer] = [await serve(slow), await UdpPeer.open()];
    const packet = post('slow');
    const answer = await ask(peer, served, packet);
    expect(answer).toMatchObject({ ack: true, confirmable: false, code: '2.04', messageId: packet.messageId });
    await settled(peer, served);
    expect(peer.unread).toEqual([]);
  });

  it('leaves no timer once it is sent', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((what) => what === 'Timeout').length;
    const [served, peer] = [await serve(), await UdpPeer.open()];
    const before = timers();
    const packets = Array.from({ length: 100 }, (_, i) => post('x', { token: Buffer.from(`t${i}`) }));
    const answers = packets.map(() => peer.next());
    for (const packet of packets) peer.send(packet, served.at);
    await Promise.all(answers);
    // Some are the test runner's own. `coap` as published waits 2 s.
    await vi.waitFor(() => expect(timers() - before).toBeLessThan(20), { timeout: 60_000 });
  });

  it('to a NON is a NON', async () => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    const answer = await ask(peer, served, post('non', { confirmable: false }));
    expect(answer).toMatchObject({ ack: false, confirmable: false, reset: false, code: '2.04', payload: Buffer.from('non') });
  });

  it('goes to a request without a token too', async () => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    expect((await ask(peer, served, post('bare', { token: Buffer.alloc(0) }))).payload.toString()).toBe('bare');
  });

  it('has the code, the payload and the Max-Age it was given', async () => {
    const [served, peer] = [await serve(() => ({ code: '5.03', maxAge: 300 })), await UdpPeer.open()];
    const answer = await ask(peer, served, post('x'));
    expect([answer.code, optionOf(answer, 'Max-Age'), answer.payload.length]).toEqual(['5.03', Buffer.of(1, 44), 0]);
  });

  it('may have any octets, such as those that are no UTF-8', async () => {
    const octets = Buffer.from('ff00c0c1f5fffe00', 'hex');
    const [served, peer] = [await serve(), await UdpPeer.open()];
    expect((await ask(peer, served, post('', { payload: octets }))).payload).toEqual(octets);
  });

  it('is 5.03 where the handler fails, and the log says so', async () => {
    const failing = (): Promise<PostResponse> => Promise.reject(new Error('out of luck'));
    const [served, peer] = [await serve(failing), await UdpPeer.open()];
    const answer = await ask(peer, served, post('x'));
    expect([answer.code, answer.payload.length]).toEqual(['5.03', 0]);
    expect(served.log.withMessage('a request could not be answered')).toMatchObject([{ level: 'error', error: 'out of luck' }]);
  });
});

describe('a request', () => {
  it('brings the address, the port and the NID of its source', async () => {
    const seen: PostRequest[] = [];
    const [served, peer] = [
      await serve((request) => {
        seen.push(request);
        return { code: '2.04' };
      }),
      await UdpPeer.open(),
    ];
    await ask(peer, served, post('x'));
    const { port } = peer.endpoint;
    const nid = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1, port >> 8, port & 0xff);
    expect(seen[0]).toMatchObject({
      payload: Buffer.from('x'),
      source: { address: '127.0.0.1', port, nid, addressValidated: false },
    });
  });

  it.each([
    ['another path', get('other'), '4.04'],
    ['no path', get(''), '4.04'],
    ['a path below', get('k/k'), '4.04'],
    ['a path above', get('.well-known'), '4.04'],
    ['a GET of the key resource', get('k'), '4.05'],
    ['a PUT of the key resource', post('x', { code: 'PUT' }), '4.05'],
    ['a DELETE of the key resource', post('', { code: 'DELETE' }), '4.05'],
    ['a POST to the list of resources', { ...get('.well-known/core'), code: 'POST' }, '4.05'],
  ])('for %s is refused', async (_, packet, code) => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    expect((await ask(peer, served, packet)).code).toBe(code);
  });

  const withOption = (name: 'Content-Format' | 'Accept', value: Buffer): Packet =>
    post('x', {
      options: [
        { name: 'Uri-Path', value: Buffer.from('k') },
        { name, value },
      ],
    });

  it.each([
    ['Content-Format 42', withOption('Content-Format', Buffer.of(42)), '2.04'],
    ['Content-Format 42 in two octets', withOption('Content-Format', Buffer.of(0, 42)), '2.04'],
    ['Content-Format 0', withOption('Content-Format', Buffer.of()), '4.15'],
    ['Content-Format 60', withOption('Content-Format', Buffer.of(60)), '4.15'],
    ['Content-Format 65,535, which nobody has', withOption('Content-Format', Buffer.of(255, 255)), '4.15'],
    ['Accept 42', withOption('Accept', Buffer.of(42)), '2.04'],
    ['Accept 0', withOption('Accept', Buffer.of()), '4.06'],
    ['Accept 40', withOption('Accept', Buffer.of(40)), '4.06'],
    ['Accept 65,535', withOption('Accept', Buffer.of(255, 255)), '4.06'],
  ])('with %s gets its answer', async (_, packet, code) => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    expect((await ask(peer, served, packet)).code).toBe(code);
  });
});

describe('/.well-known/core', () => {
  const LINK = '</k>;rt="latchkey.sbr"';

  it.each([
    [undefined, LINK],
    ['rt=latchkey.sbr', LINK],
    ['rt=latchkey.*', LINK],
    ['rt=*', LINK],
    ['href=/k', LINK],
    ['href=/*', LINK],
    ['rt=latchkey.sbs', ''],
    ['rt=latchkey', ''],
    ['rt=', ''],
    ['rt', ''],
    ['rt=latchkey.sbr.more', ''],
    ['if=sensor', ''],
    ['if=*', ''],
  ])('with query %j gives %j', async (query, expected) => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    const answer = await ask(peer, served, get('.well-known/core', query));
    expect(answer.payload.toString()).toBe(expected);
    expect([answer.code, optionOf(answer, 'Content-Format')]).toEqual(['2.05', Buffer.of(40)]);
  });

  it('is refused where another format alone is accepted', async () => {
    const [served, peer] = [await serve(), await UdpPeer.open()];
    const packet = get('.well-known/core');
    packet.options?.push({ name: 'Accept', value: Buffer.of(0) });
    expect((await ask(peer, served, packet)).code).toBe('4.06');
  });
});

describe('proof of a source address', () => {
  const challenge = ({ source }: PostRequest): PostResponse => (source.addressValidated ? { code: '2.04' } : 'challenge');
  const withEcho = (echo: Buffer): Packet =>
    post('x', {
      options: [
        { name: 'Uri-Path', value: Buffer.from('k') },
        { name: ECHO as never, value: echo },
      ],
    });

  it('is asked for with 4.01 and an Echo, and given by bringing that back', async () => {
    const [served, peer] = [await serve(challenge), await UdpPeer.open()];
    const asked = await ask(peer, served, post('x'));
    const echo = optionOf(asked, ECHO);
    expect([asked.code, asked.payload.length, echo?.length]).toEqual(['4.01', 0, 12]);
    expect((await ask(peer, served, withEcho(echo!))).code).toBe('2.04');
  });

  it('is not given by an Echo of another port, nor by one made up', async () => {
    const [served, peer, other] = [await serve(challenge), await UdpPeer.open(), await UdpPeer.open()];
    const echo = optionOf(await ask(other, served, post('x')), ECHO)!;
    expect((await ask(peer, served, withEcho(echo))).code).toBe('4.01');
    expect((await ask(peer, served, withEcho(Buffer.alloc(12)))).code).toBe('4.01');
    expect((await ask(other, served, withEcho(echo))).code).toBe('2.04');
  });

  it('is not given by an Echo of another server', async () => {
    const [one, two, peer] = [await serve(challenge), await serve(challenge), await UdpPeer.open()];
    const echo = optionOf(await ask(peer, one, post('x')), ECHO)!;
    expect((await ask(peer, two, withEcho(echo))).code).toBe('4.01');
  });
});

describe.skipIf(!HAS_IPV6)('over IPv6 (this machine has ::1)', () => {
  it('requests are answered and sources have their IPv6 NID', async () => {
    const seen: PostRequest[] = [];
    const [served, peer] = [
      await serve((request) => {
        seen.push(request);
        return echoBack(request);
      }, '::1'),
      await UdpPeer.open('::1'),
    ];
    expect((await ask(peer, served, post('six'))).payload.toString()).toBe('six');
    const { port } = peer.endpoint;
    const nid = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, port >> 8, port & 0xff);
    expect(seen[0]?.source).toMatchObject({ address: '::1', port, nid });
  });
});

/** Servers on all that `listen` stands for; stopped with the test. */
async function serveOnAll(listen: { host: string; port: number }, answer: Answer = echoBack): Promise<CoapServer[]> {
  const { log } = new CapturedLog();
  const servers = await CoapServer.listenOnAll([listen], { resourceType: 'latchkey.sbr', answer, log });
  onTestFinished(async () => void (await Promise.all(servers.map((server) => server.stop()))));
  return servers;
}

describe('a place to listen on', () => {
  it.each(['::', '0::0'])(
    'that is all addresses, [%s], takes IPv4 too on the same port, and names its sources as such',
    async (host) => {
      const seen: string[] = [];
      const servers = await serveOnAll({ host, port: 0 }, (request) => {
        seen.push(request.source.address);
        return echoBack(request);
      });
      const { port } = servers[0]!.address;
      expect(new Set(servers.map(({ address }) => address.port))).toEqual(new Set([port]));
      const homes = HAS_IPV6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'];
      for (const home of homes) {
        const [peer, packet] = [await UdpPeer.open(home), post('x')];
        peer.send(packet, { host: home, port });
        expect(await peer.next()).toMatchObject({ messageId: packet.messageId, from: { address: home } });
      }
      expect(seen).toEqual(homes);
    },
  );

  it('that is a name stands for all its addresses but those that the machine does not have', async () => {
    lookUpBy(() => Promise.resolve(['192.0.2.77', '127.0.0.6', '127.0.0.7']));
    const servers = await serveOnAll({ host: 'gateway.example', port: 0 });
    expect(servers.map(({ address }) => address.host)).toEqual(['127.0.0.6', '127.0.0.7']);
    lookUpBy(() => Promise.resolve(['192.0.2.77', '192.0.2.78']));
    await expect(serveOnAll({ host: 'elsewhere.example', port: 0 })).rejects.toMatchObject({
      name: 'Failure',
      message: 'cannot listen on elsewhere.example:0: this machine does not have that address',
    });
  });

  it('that another process has a part of is not had at all', async () => {
    const taken = await UdpPeer.open('127.0.0.9');
    const { port } = taken.endpoint;
    lookUpBy(() => Promise.resolve(['127.0.0.8', '127.0.0.9']));
    await expect(serveOnAll({ host: 'half.example', port })).rejects.toMatchObject({
      message: `cannot listen on half.example:${port}: another process listens there`,
    });
    // Nothing is left open on the other part.
    await UdpPeer.open('127.0.0.8', port);
  });
});

describe('stop', () => {
  it('waits for what is in flight, answers it, and takes nothing more', async () => {
    const { handler, started, release, calls } = gated({ code: '2.04', payload: Buffer.from('last') });
    const [served, peer] = [await serve(handler), await UdpPeer.open()];
    const packet = post('work');
    peer.send(packet, served.at);
    await started;
    let stopped = false;
    const stopping = served.server.stop().then(() => (stopped = true));
    peer.send(post('too late'), served.at);
    await new Promise(setImmediate);
    expect(stopped).toBe(false);
    release();
    await stopping;
    // What stop let out is at the peer by now, before anything that is sent after.
    peer.send(post('from the peer to itself'), peer.endpoint);
    const answer = await peer.next();
    expect([answer.messageId, answer.payload.toString()]).toEqual([packet.messageId, 'last']);
    expect(calls()).toBe(1);
  });

  it('ends at once where nothing is in flight, and frees the port', async () => {
    const served = await serve();
    await served.server.stop();
    const again = await CoapServer.listen({
      listen: served.at,
      resourceType: 'latchkey.sbr',
      answer: echoBack,
      log: served.log.log,
    });
    expect(again.address).toEqual(served.at);
    await again.stop();
  });
});

describe('listen', () => {
  it('fails in words where the port is taken, and says what to do', async () => {
    const served = await serve();
    const { host, port } = served.at;
    await expect(
      CoapServer.listen({ listen: served.at, resourceType: 'x', answer: echoBack, log: served.log.log }),
    ).rejects.toMatchObject({
      name: 'Failure',
      message: `cannot listen on ${host}:${port}: another process listens there`,
      advice: 'Stop it, or choose another with --listen, or `listen:` of the configuration.',
    });
  });

  it('fails in words where the machine does not have the address', async () => {
    const { log } = new CapturedLog();
    const listen = { host: '192.0.2.77', port: 0 };
    await expect(CoapServer.listen({ listen, resourceType: 'x', answer: echoBack, log })).rejects.toMatchObject({
      name: 'Failure',
      message: 'cannot listen on 192.0.2.77:0: this machine does not have that address',
    });
  });
});
