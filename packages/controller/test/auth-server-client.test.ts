// Proves the relay against servers on bare sockets: it turns from one that does not answer to one
// that does, and takes no answer that does not open.

import { type LinkDecision, type LinkRefusal, TYPE } from '@latchkey/protocol';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CapturedLog, lookUpBy, type Received, UdpPeer } from '@latchkey/test-support/fixtures';
import { ClientMetrics } from '@latchkey/coap';
import { CoapAuthServerClient } from '../src/auth-server-client.js';
import { ConnectionPool } from '../src/connection-pool.js';

type Endpoint = UdpPeer['endpoint'];

const QUESTION = Buffer.from('question');
/** For what is waited for: longer than it takes on a busy machine. */
const LONG = { timeout: 60_000, interval: 200 };

/** Takes `right` for an answer that opens. */
function accept(octets: Uint8Array): LinkDecision {
  return Buffer.from(octets).toString() === 'right' ? { kind: 'answer', octets } : { kind: 'ignored' };
}

/** As it stands in a message: no more octets than it takes (RFC 7252, section 3.2). */
function maxAgeOption(seconds: number): Buffer {
  return seconds < 256 ? Buffer.of(seconds) : Buffer.of(seconds >> 8, seconds & 0xff);
}

function newClient(...servers: readonly Endpoint[]): { client: CoapAuthServerClient; log: CapturedLog } {
  const log = new CapturedLog();
  const client = new CoapAuthServerClient(servers, log.log);
  onTestFinished(() => client.close());
  return { client, log };
}

/**
 * The same for each copy of a request: on a busy machine one is retransmitted before its answer
 * comes.
 */
const exchangeOf = ({ from, messageId }: Received): string => `${from.port} ${messageId}`;

/**
 * A server that answers each request `copies` times with `payload`, until the test ends; lists the
 * requests, without retransmissions.
 */
function answerWith(peer: UdpPeer, payload: string, { copies = 1, code = '2.04' } = {}): { requests: Buffer[] } {
  const seen = { requests: [] as Buffer[] };
  const exchanges = new Set<string>();
  void (async () => {
    for (;;) {
      const request = await peer.next();
      if (!exchanges.has(exchangeOf(request))) seen.requests.push(request.payload);
      exchanges.add(exchangeOf(request));
      const { messageId, token } = request;
      for (let i = 0; i < copies; i++) peer.reply(request, { code, ack: true, messageId, token, payload: Buffer.from(payload) });
    }
  })();
  return seen;
}

/**
 * A server behind a NAT or firewall: it passes what comes from any port, until the flows there are
 * get lost.
 */
class ServerBehindFlows {
  /** Requests by source port. */
  readonly requests = new Map<number, number>();
  readonly #lost = new Set<number>();
  #answersPingsOnly = false;

  constructor(peer: UdpPeer) {
    void this.#serve(peer);
  }

  static async open(): Promise<ServerBehindFlows & { readonly endpoint: Endpoint }> {
    const peer = await UdpPeer.open();
    return Object.assign(new ServerBehindFlows(peer), { endpoint: peer.endpoint });
  }

  /** From here on nothing from the ports that were seen gets through. */
  loseFlows(): void {
    for (const port of this.requests.keys()) this.#lost.add(port);
  }

  answerPingsOnly(only: boolean): void {
    this.#answersPingsOnly = only;
  }

  /** Datagrams, of pings too, that got lost. */
  get lost(): number {
    return [...this.#lost].reduce((sum, port) => sum + (this.requests.get(port) ?? 0), 0);
  }

  async #serve(peer: UdpPeer): Promise<void> {
    for (;;) {
      const request = await peer.next();
      const { messageId, token, code, from } = request;
      this.requests.set(from.port, (this.requests.get(from.port) ?? 0) + 1);
      if (this.#lost.has(from.port)) continue;
      if (code === '0.00') peer.reply(request, { code, reset: true, messageId });
      else if (!this.#answersPingsOnly)
        peer.reply(request, { code: '2.04', ack: true, messageId, token, payload: Buffer.from('right') });
    }
  }
}

/** Asks so often that each socket of the pool is used. */
function askOnAllSockets(client: CoapAuthServerClient): Promise<readonly unknown[]> {
  return Promise.all(Array.from({ length: 32 }, () => client.request(QUESTION, accept)));
}

async function useAllSockets(client: CoapAuthServerClient): Promise<void> {
  expect(await askOnAllSockets(client)).not.toContain(undefined);
}

/** Peers at two addresses, on a port that is free at both. */
async function openAtOnePort(first: string, second: string): Promise<readonly [UdpPeer, UdpPeer]> {
  for (;;) {
    const one = await UdpPeer.open(first);
    const other = await UdpPeer.open(second, one.endpoint.port).catch(() => undefined);
    if (other !== undefined) return [one, other];
  }
}

/** A port where nobody listens. */
async function unusedPort(): Promise<Endpoint> {
  // Bound for the time of the test, by a socket connected elsewhere: whatever comes is refused.
  const { createSocket } = await import('node:dgram');
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  await new Promise<void>((resolve) => socket.connect(9, '127.0.0.1', resolve));
  onTestFinished(() => void socket.close());
  return { host: '127.0.0.1', port: socket.address().port };
}

describe('a relay', () => {
  it('asks the first server, and gives its answer', async () => {
    const [first, second] = [await UdpPeer.open(), await UdpPeer.open()];
    const { client } = newClient(first.endpoint, second.endpoint);
    const [ours, theirs] = [answerWith(first, 'right'), answerWith(second, 'right')];
    expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
    expect(ours.requests).toEqual([QUESTION]);
    expect(theirs.requests).toEqual([]);
  });

  it.each(['4.01', '4.03', '5.03'])('goes by the payload: an answer that opens counts under %s too', async (code) => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    answerWith(server, 'right', { code });
    expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
  });

  it('ignores answers that do not open, and takes the right one after them, with its Max-Age', async () => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    const ages: (number | undefined)[] = [];
    const asked = client.request(QUESTION, (octets, maxAge) => {
      ages.push(maxAge);
      return accept(octets);
    });
    const request = await server.next();
    const { messageId, token } = request;
    for (const [payload, maxAge] of [
      ['wrong', 1],
      ['', undefined],
      ['right?', 300],
      ['right', 35],
    ] as const) {
      const options = maxAge === undefined ? {} : { options: [{ name: 'Max-Age' as const, value: maxAgeOption(maxAge) }] };
      server.reply(request, { code: '5.03', ack: true, messageId, token, payload: Buffer.from(payload), ...options });
    }
    expect(await asked).toMatchObject({ kind: 'answer' });
    expect(ages).toEqual([1, undefined, 300, 35]);
  });

  it('turns to the second server from one whose answers do not open, says why, and asks it first from then on', async () => {
    const [first, second] = [await UdpPeer.open(), await UdpPeer.open()];
    const { client, log } = newClient(first.endpoint, second.endpoint);
    const [wrong, right] = [answerWith(first, '', { copies: 17, code: '4.01' }), answerWith(second, 'right')];
    for (let i = 1; i <= 3; i++) {
      expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
      expect(right.requests).toHaveLength(i);
    }
    expect(wrong.requests).toHaveLength(1);
    expect(log.lines).toMatchObject([{ level: 'warn', server: `127.0.0.1:${first.endpoint.port}`, ignored: 17 }]);
    expect(log.text).toContain("the auth-server's answers do not count");
  });

  it('asks the same question octet for octet at both', async () => {
    const [first, second] = [await UdpPeer.open(), await UdpPeer.open()];
    const { client } = newClient(first.endpoint, second.endpoint);
    const [one, two] = [answerWith(first, '', { copies: 17 }), answerWith(second, 'right')];
    await client.request(QUESTION, accept);
    expect([one.requests, two.requests]).toEqual([[QUESTION], [QUESTION]]);
  });

  it('turns to the second server from one that is silent, not there, has no name, or cannot be reached', async () => {
    const silent = (await UdpPeer.open()).endpoint;
    const firsts = [
      silent,
      await unusedPort(),
      { host: 'no-such-name.invalid', port: 5693 },
      // connect(2) refuses the broadcast address, as one without a route.
      { host: '255.255.255.255', port: 5693 },
    ];
    await Promise.all(
      firsts.map(async (first) => {
        const second = await UdpPeer.open();
        const { client, log } = newClient(first, second.endpoint);
        answerWith(second, 'right');
        expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
        expect(log.lines).toMatchObject([{ level: 'warn', server: `${first.host}:${first.port}` }]);
      }),
    );
  });

  it('turns to the second server while the first one’s name is looked up and nobody answers that, and looks it up once for all', async () => {
    const lookUps = lookUpBy(() => new Promise<never>(() => undefined));
    const second = await UdpPeer.open();
    answerWith(second, 'right');
    const log = new CapturedLog();
    const client = new CoapAuthServerClient([{ host: 'unfound.example', port: 5693 }, second.endpoint], log.log);
    const answers = await Promise.all(Array.from({ length: 8 }, () => client.request(QUESTION, accept)));
    expect(answers.map((answer) => answer?.kind)).toEqual(Array.from({ length: 8 }, () => 'answer'));
    expect(lookUps.times).toBe(1);
    expect(log.text).toContain('its name was not found in time');
    // Nor is it waited for in the end.
    await client.close();
  });

  it('answers many questions at once, each with its own answer', async () => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    void (async () => {
      for (;;) {
        const request = await server.next();
        const { messageId, token, payload } = request;
        server.reply(request, { code: '2.04', ack: true, messageId, token, payload });
      }
    })();
    const questions = Array.from({ length: 100 }, (_, i) => Buffer.from(`question ${i}`));
    const answers = await Promise.all(
      questions.map((question) => client.request(question, (octets) => ({ kind: 'answer', octets: Buffer.from(octets) }))),
    );
    expect(answers).toEqual(questions.map((octets) => ({ kind: 'answer', octets })));
  });

  it('gives nothing where nobody answers in time, and says so of each server', async () => {
    const [silent, mute, wrong] = [await UdpPeer.open(), await UdpPeer.open(), await UdpPeer.open()];
    answerWith(wrong, 'wrong', { copies: 17 });
    const networks = [[silent.endpoint], [await unusedPort()], [wrong.endpoint, mute.endpoint]];
    await Promise.all(
      networks.map(async (servers) => {
        const { client, log } = newClient(...servers);
        expect(await client.request(QUESTION, accept)).toBeUndefined();
        for (const { port } of servers) {
          expect(log.lines.some(({ level, server }) => level === 'warn' && server === `127.0.0.1:${port}`)).toBe(true);
        }
      }),
    );
  });
});

describe('sockets', () => {
  it('take turns, so many that no message ID comes round within its life at 4,200 joins/s', async () => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    const ports = new Map<number, Set<number>>();
    const answers = Promise.all(Array.from({ length: 320 }, () => client.request(QUESTION, accept)));
    for (;;) {
      const request = await Promise.race([server.next(), answers.then(() => undefined)]);
      if (request === undefined) break;
      const { messageId, token, from } = request;
      ports.set(from.port, (ports.get(from.port) ?? new Set()).add(messageId));
      server.reply(request, { code: '2.04', ack: true, messageId, token, payload: Buffer.from('right') });
    }
    expect([...ports.values()].filter((messageIds) => messageIds.size !== 10)).toEqual([]);
    // RFC 7252 section 4.8.2: EXCHANGE_LIFETIME is 247 s. A join takes two requests.
    expect((ports.size * 65_536) / 247 / 2).toBeGreaterThan(4_200);
  });

  it('on which a server was not to be had are not used again', async () => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    const refusedOn = new Set<number>();
    const answered = new Set<string>();
    const asked = Array.from({ length: 32 }, () => client.request(QUESTION, accept));
    const answers = Promise.all(asked).then(() => undefined);
    for (;;) {
      const request = await Promise.race([server.next(), answers]);
      if (request === undefined) break;
      const { messageId, token } = request;
      // Twice each: the question and its first repetition.
      if (refusedOn.size < 32 || refusedOn.has(request.from.port)) {
        refusedOn.add(request.from.port);
        server.reply(request, { code: '0.00', reset: true, messageId });
      } else {
        answered.add(exchangeOf(request));
        server.reply(request, { code: '2.04', ack: true, messageId, token, payload: Buffer.from('right') });
      }
    }
    expect(answered.size).toBe(32);
  });
});

describe('sockets that outlived what they were made for', () => {
  it('cost one question some seconds and none its answer, when the flows of all are lost', async () => {
    const server = await ServerBehindFlows.open();
    const { client } = newClient(server.endpoint);
    await useAllSockets(client);
    expect(server.requests.size).toBe(32);
    server.loseFlows();
    const before = [...server.requests.values()].reduce((sum, n) => sum + n);
    for (let i = 0; i < 64; i++) expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
    // The first question and its repetition; every other one went to a new socket at once. Such a
    // one may have got a port that was lost.
    expect(server.lost - before).toBeLessThanOrEqual(8);
  });

  it('cost no question its answer that was under way on them either, with several servers too', async () => {
    const servers = await Promise.all(Array.from({ length: 4 }, () => ServerBehindFlows.open()));
    const networks = [servers.slice(0, 1), servers.slice(1)];
    await Promise.all(
      networks.map(async (network) => {
        const { client } = newClient(...network.map(({ endpoint }) => endpoint));
        await useAllSockets(client);
        // Those that come next in the order have open sockets, too.
        await client.checkReachability();
        for (const server of network) server.loseFlows();
        const answers = await Promise.all(Array.from({ length: 64 }, () => client.request(QUESTION, accept)));
        expect(answers.map((answer) => answer?.kind)).toEqual(Array.from({ length: 64 }, () => 'answer'));
      }),
    );
  });

  it('are not taken for such while they bring answers, though one question waits for long', async () => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    const ports = new Set<number>();
    const slow = Buffer.from('slow');
    let waiting: Received | undefined;
    let copies = 0;
    const answer = (request: Received): void => {
      const { messageId, token } = request;
      server.reply(request, { code: '2.04', ack: true, messageId, token, payload: Buffer.from('right') });
    };
    void (async () => {
      for (;;) {
        const request = await server.next();
        ports.add(request.from.port);
        if (!request.payload.equals(slow)) answer(request);
        // The third is what only an exchange that was not given up after two sends.
        else if (waiting?.messageId === request.messageId && (copies += 1) === 2) answer(request);
        else waiting ??= request;
      }
    })();
    await useAllSockets(client);
    const asked = client.request(slow, accept);
    // Those that are under way as the test ends get no answer.
    const others = setInterval(() => void askOnAllSockets(client), 200);
    onTestFinished(() => clearInterval(others));
    expect(await asked).toMatchObject({ kind: 'answer' });
    expect(ports.size).toBe(32);
  });

  it('are replaced by some to the address that the name means by then', async () => {
    const [old, next] = await openAtOnePort('127.0.0.1', '127.0.0.2');
    const before = new ServerBehindFlows(old);
    const { port } = old.endpoint;
    answerWith(next, 'right');
    let address = '127.0.0.1';
    lookUpBy(() => Promise.resolve([address]));
    const { client } = newClient({ host: 'moved.example', port });
    await useAllSockets(client);
    address = '127.0.0.2';
    before.loseFlows();
    before.answerPingsOnly(true);
    for (let i = 0; i < 40; i++) expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
  });

  it('are replaced by some to the last known address where no name server answers any more', async () => {
    const server = await ServerBehindFlows.open();
    let answers = true;
    lookUpBy(() =>
      answers ? Promise.resolve(['127.0.0.1']) : Promise.reject(Object.assign(new Error('no answer'), { code: 'EAI_AGAIN' })),
    );
    const { client } = newClient({ ...server.endpoint, host: 'known.example' });
    await useAllSockets(client);
    answers = false;
    server.loseFlows();
    for (let i = 0; i < 40; i++) expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
  });
});

describe('a name with several addresses', () => {
  it('is good if a server answers at any of them, one without a route or a silent one before it or not', async () => {
    const [silent, server] = await openAtOnePort('127.0.0.3', '127.0.0.4');
    const seen = answerWith(server, 'right');
    // connect(2) refuses the broadcast address, as one without a route.
    lookUpBy(() => Promise.resolve(['255.255.255.255', '127.0.0.3', '127.0.0.4']));
    const { client } = newClient({ host: 'several.example', port: silent.endpoint.port });
    for (let i = 1; i <= 40; i++) {
      expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
      expect(seen.requests).toHaveLength(i);
    }
    // The first question and its repetition.
    expect(silent.unread.length).toBeLessThanOrEqual(2);
  });
});

describe('close', () => {
  it('ends the questions under way with no answer, and asks nobody any more', async () => {
    const [first, second] = [await UdpPeer.open(), await UdpPeer.open()];
    const client = new CoapAuthServerClient([first.endpoint, second.endpoint], new CapturedLog().log);
    const asked = client.request(QUESTION, accept);
    await first.next();
    await client.close();
    expect(await asked).toBeUndefined();
    expect(await client.request(QUESTION, accept)).toBeUndefined();
    expect([first.unread, second.unread]).toEqual([[], []]);
  });

  it('ends those on a socket that was given up, too', async () => {
    const silent = await UdpPeer.open();
    const pool = new ConnectionPool(silent.endpoint, new ClientMetrics());
    const connection = pool.next();
    const client = await connection.connecting;
    const asked = client.exchange({ payload: QUESTION, deadlineMs: 600_000, maxIgnored: 16, accept: () => undefined });
    pool.unanswered(connection);
    await pool.close();
    expect(await asked).toEqual({ kind: 'unreachable', code: 'ECANCELED' });
  });

  it('does not fail where a server is being looked for that has no name', async () => {
    const link = new CoapAuthServerClient([{ host: 'no-such-name.invalid', port: 1 }], new CapturedLog().log);
    void link.request(QUESTION, accept);
    await expect(link.close()).resolves.toBeUndefined();
  });
});

describe('other servers', () => {
  it('may be turned to while one that has no name is being looked for', async () => {
    const lost = vi.fn<(reason: unknown) => void>();
    process.on('unhandledRejection', lost);
    onTestFinished(() => void process.off('unhandledRejection', lost));
    const next = await UdpPeer.open();
    answerWith(next, 'right');
    const { client } = newClient({ host: 'no-such-name.invalid', port: 1 });
    const asked = client.request(QUESTION, accept);
    client.setServers([next.endpoint]);
    expect(await asked).toMatchObject({ kind: 'answer' });
    expect(lost).not.toHaveBeenCalled();
  });
});

describe('servers that were turned from', () => {
  it('are asked nothing more, by a question that is under way either', async () => {
    const [first, second, third] = [await UdpPeer.open(), await UdpPeer.open(), await UdpPeer.open()];
    const { client } = newClient(first.endpoint, second.endpoint);
    const [former, next] = [answerWith(second, 'right'), answerWith(third, 'right')];
    const asked = client.request(QUESTION, accept);
    const request = await first.next();
    client.setServers([third.endpoint]);
    const { messageId, token } = request;
    for (let i = 0; i < 17; i++)
      first.reply(request, { code: '2.04', ack: true, messageId, token, payload: Buffer.from('wrong') });
    expect(await asked).toMatchObject({ kind: 'answer' });
    expect([former.requests, next.requests]).toEqual([[], [QUESTION]]);
  });
});

describe('a look at the servers', () => {
  /**
   * Answers pings, and every request with so many answers that do not open that the relay gives up.
   */
  function answerWithoutKey(peer: UdpPeer): void {
    void (async () => {
      for (;;) {
        const request = await peer.next();
        const { messageId, token, code } = request;
        if (code === '0.00') peer.reply(request, { code, reset: true, messageId });
        else
          for (let i = 0; i < 17; i++)
            peer.reply(request, { code: '2.04', ack: true, messageId, token, payload: Buffer.from('wrong') });
      }
    })();
  }

  it('finds nobody where nobody answers', async () => {
    const { client } = newClient(await unusedPort(), { host: 'no-such-name.invalid', port: 5693 });
    expect(await client.checkReachability()).toBe('no auth-server answers');
  });

  it('goes the way that questions go: an open socket that is dead is found out, and replaced', async () => {
    const server = await ServerBehindFlows.open();
    const { client } = newClient(server.endpoint);
    await useAllSockets(client);
    server.loseFlows();
    // An answer of late counts for 5 s.
    await vi.waitFor(async () => {
      await client.checkReachability();
      expect(server.requests.size).toBeGreaterThan(32);
    }, LONG);
    expect(await client.checkReachability()).toBeUndefined();
    const before = server.lost;
    for (let i = 0; i < 32; i++) expect(await client.request(QUESTION, accept)).toMatchObject({ kind: 'answer' });
    expect(server.lost - before).toBeLessThanOrEqual(6);
  });

  it('believes a question without an answer more than a ping, until one gets an answer', async () => {
    const server = await ServerBehindFlows.open();
    const { client } = newClient(server.endpoint);
    server.answerPingsOnly(true);
    expect(await client.checkReachability()).toBeUndefined();
    expect(await client.request(QUESTION, accept)).toBeUndefined();
    expect(await client.checkReachability()).toBe('an auth-server answers pings, but the last request to it got no answer');
    server.answerPingsOnly(false);
    await client.request(QUESTION, accept);
    expect(await client.checkReachability()).toBeUndefined();
  });

  it('is content with any that answers a ping', async () => {
    const server = await UdpPeer.open();
    answerWithoutKey(server);
    const { client } = newClient(await unusedPort(), server.endpoint);
    expect(await client.checkReachability()).toBeUndefined();
  });

  describe('that refuse', () => {
    const M2 = Buffer.of(TYPE.M2);
    const M7 = Buffer.of(TYPE.M7);
    /** A server whose answers mean what is set here. */
    async function deciding(): Promise<{
      link: CoapAuthServerClient;
      ask: (request: Buffer, decision: LinkDecision) => Promise<unknown>;
    }> {
      const server = await UdpPeer.open();
      answerWith(server, 'right');
      const { client } = newClient(server.endpoint);
      return { link: client, ask: (request, decision) => client.request(request, () => decision) };
    }
    const refused = (refusal: LinkRefusal): LinkDecision => ({ kind: 'refuse', refusal });
    const given: LinkDecision = { kind: 'answer', octets: M2 };

    it('every M2 for its time: not well until one is not refused for that', async () => {
      for (const next of [given, refused('unknownNode'), refused('proofFailed')]) {
        const { link, ask } = await deciding();
        expect(link.lookAtClock()).toBeUndefined();
        await ask(M2, refused('clock'));
        await ask(M2, refused('overloaded'));
        expect(link.lookAtClock()).toContain('differ by more than 30 s');
        await ask(M2, next);
        expect(link.lookAtClock()).toBeUndefined();
      }
    });

    it('an M7 for its time: that may be a slow disk', async () => {
      const { link, ask } = await deciding();
      await ask(M7, refused('clock'));
      expect(link.lookAtClock()).toBeUndefined();
    });

    it('an M2 for its time: no more once the clock here was set', async () => {
      const { link, ask } = await deciding();
      await ask(M2, refused('clock'));
      const { now } = Date;
      Date.now = () => now() + 300_000;
      onTestFinished(() => void (Date.now = now));
      expect(link.lookAtClock()).toBeUndefined();
    });

    it.each(['overloaded', 'storeFailed'] as const)(
      'every M7 as %s: not well until one is not, whatever M2s get',
      async (refusal) => {
        const { link, ask } = await deciding();
        await ask(M2, given);
        await ask(M7, refused(refusal));
        expect(await link.checkReachability()).toContain('the auth-server commits no keys now');
        await ask(M2, given);
        expect(await link.checkReachability()).toContain('the auth-server commits no keys now');
        await ask(M7, given);
        expect(await link.checkReachability()).toBeUndefined();
      },
    );
  });

  it('is content with an answer of late, and sends nothing', async () => {
    const server = await UdpPeer.open();
    const { client } = newClient(server.endpoint);
    const seen = answerWith(server, 'right');
    await client.request(QUESTION, accept);
    expect(await client.checkReachability()).toBeUndefined();
    expect(seen.requests).toHaveLength(1);
  });

  it('tells when a server answers, but nothing that opens', async () => {
    const server = await UdpPeer.open();
    answerWithoutKey(server);
    const { client, log } = newClient(server.endpoint);
    void client.request(QUESTION, accept);
    await vi.waitFor(() => expect(log.lines.length).toBeGreaterThan(0), LONG);
    expect(await client.checkReachability()).toContain('nothing that opens');
  });
});
