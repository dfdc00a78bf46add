// Proves that a server that anybody may ask serves some without proof of their address, lets others
// wait while they turn out to be honest, asks for proof else, and serves who brings it.

import { describe, expect, it, onTestFinished } from 'vitest';
import { CoapServer } from '../src/server.js';
import { GuardedSocket } from '../src/socket.js';
import { AdmissionControl } from '../src/admission-control.js';
import { CapturedLog, UdpPeer } from '@latchkey/test-support/fixtures';

const ECHO = '252' as never;

describe('strangers', () => {
  it('are served some at once, and more as time goes by', () => {
    const admission = new AdmissionControl();
    const served = (now: number, asked: number): number =>
      Array.from({ length: asked }, () => admission.admitRequest(now, 0, 8)).filter((may) => may).length;
    expect(served(1_000, 1_000)).toBe(256);
    expect(served(1_000, 10)).toBe(0);
    expect(served(1_010, 1_000)).toBe(5);
    expect(served(60_000, 1_000)).toBe(256);
  });

  it('are served as many more as turned out to be honest, and never more at once than the bound', () => {
    const admission = new AdmissionControl();
    const served = (asked: number): number =>
      Array.from({ length: asked }, () => admission.admitRequest(1_000, 0, 8)).filter((may) => may).length;
    expect(served(1_000)).toBe(256);
    admission.refund(2, 1_000);
    expect(served(1_000)).toBe(2);
    admission.refund(1_000, 1_000);
    expect(served(1_000)).toBe(256);
  });

  it('have half of the room for work at most', () => {
    const admission = new AdmissionControl();
    expect([0, 1, 3, 4, 8].map((inFlight) => admission.admitRequest(1_000, inFlight, 8))).toEqual([
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  it('are not served while 256 of them are worked on', () => {
    const admission = new AdmissionControl();
    expect([255, 256].map((inFlight) => admission.admitRequest(1_000, inFlight, 4_096))).toEqual([true, false]);
  });

  it('may wait for two seconds, then as many as honest ones are served in twelve', () => {
    const admission = new AdmissionControl();
    const maxHeld = (now: number): number => admission.maxHeld(now, 100);
    expect(admission.maxHeld(10_000, 0)).toBe(Infinity);
    expect([maxHeld(10_000), maxHeld(11_999)]).toEqual([Infinity, Infinity]);
    expect(maxHeld(12_000)).toBe(0);
    admission.refund(50, 12_100);
    expect(maxHeld(12_200)).toBe(600);
    admission.refund(25, 12_900);
    expect([maxHeld(12_950), maxHeld(13_500)]).toEqual([900, 900]);
    // None of them is honest any more.
    expect(maxHeld(15_200)).toBe(0);
  });

  it('wait for two seconds again once none was turned away for five', () => {
    const admission = new AdmissionControl();
    admission.turnedAway(10_000);
    expect([admission.maxHeld(14_999, 0), admission.maxHeld(15_000, 1), admission.maxHeld(15_000, 0)]).toEqual([0, 0, Infinity]);
  });

  it('are heard as long as they ask for no more than can be looked at', () => {
    const admission = new AdmissionControl();
    for (let i = 0; i < 10_000; i++) expect(admission.admitDatagram('192.0.2.1', i / 10)).toBe(true);
  });
});

/** Sees that what was asked for is done, and notes what was not. */
interface Served {
  readonly addressValidated: boolean;
  readonly first: number;
}

/** @param heldUpUntil when all but expected requests are answered */
async function serve({ honest = false, heldUpUntil = Promise.resolve() } = {}): Promise<{
  server: CoapServer;
  log: CapturedLog;
  served: Served[];
}> {
  const [log, served] = [new CapturedLog(), [] as Served[]];
  const server = await CoapServer.listen({
    listen: { host: '127.0.0.1', port: 0 },
    resourceType: 'latchkey.sbr',
    validateAddresses: true,
    isExpected: (payload) => payload[0] === EXPECTED,
    answer: async ({ payload, source, confirmLegitimate }) => {
      served.push({ addressValidated: source.addressValidated, first: payload[0] ?? 0 });
      if (payload[0] !== EXPECTED) await heldUpUntil;
      if (honest) confirmLegitimate(0);
      return { code: '2.04', payload };
    },
    log: log.log,
  });
  onTestFinished(() => server.stop());
  return { server, log, served };
}

const EXPECTED = 0x15;
const PEERS = 20;

function post(messageId: number, first: number, echo?: Buffer): Parameters<UdpPeer['send']>[0] {
  return {
    code: 'POST',
    confirmable: true,
    messageId,
    token: Buffer.from('ab'),
    payload: Buffer.alloc(21, first),
    options: [{ name: 'Uri-Path', value: Buffer.from('k') }, ...(echo === undefined ? [] : [{ name: ECHO, value: echo }])],
  };
}

/** Many send at once, each of them `each` requests. */
async function crowd(server: CoapServer, each: number): Promise<UdpPeer[]> {
  const peers = await Promise.all(Array.from({ length: PEERS }, () => UdpPeer.open()));
  for (let i = 0; i < each; i++) for (const peer of peers) peer.send(post(i, 1), server.address);
  return peers;
}

describe('a server that strangers ask', () => {
  it('asks those for proof who wait while no one turns out to be honest, in answers of three times the request at most, and serves who brings it', async () => {
    const { server, served } = await serve();
    const peers = await crowd(server, 100);
    let asked: { peer: UdpPeer; echo: Buffer | undefined } | undefined;
    for (const peer of peers) {
      for (let i = 0; i < 100; i++) {
        const answer = await peer.next();
        if (answer.code === '2.04') continue;
        expect(answer).toMatchObject({ code: '4.01', ack: true });
        expect(answer.octets.length).toBeLessThanOrEqual(3 * 30);
        const echo = answer.options.find(({ name }) => String(name) === '252')?.value;
        expect(echo).toHaveLength(12);
        asked = { peer, echo };
      }
    }
    expect(served.some(({ addressValidated }) => addressValidated)).toBe(false);
    expect(asked).toBeDefined();
    asked?.peer.send(post(60_000, 1, asked.echo), server.address);
    expect(await asked?.peer.next()).toMatchObject({ code: '2.04' });
    expect(served.at(-1)).toMatchObject({ addressValidated: true });
  });

  it('asks no one for proof of many who come at once and turn out to be honest, and serves each once', async () => {
    let goOn = (): void => undefined;
    const { server, served } = await serve({ honest: true, heldUpUntil: new Promise((resolve) => (goOn = resolve)) });
    const peers = await crowd(server, 100);
    // Copies of those that wait or are worked on get no answer of their own.
    for (const peer of peers) for (let i = 90; i < 100; i++) peer.send(post(i, 1), server.address);
    const last = await UdpPeer.open();
    last.send(post(1, EXPECTED), server.address);
    await last.next();
    expect(served).toHaveLength(256 + 1);
    goOn();
    for (const peer of peers) for (let i = 0; i < 100; i++) expect(await peer.next()).toMatchObject({ code: '2.04' });
    expect(served).toHaveLength(PEERS * 100 + 1);
    expect(served.some(({ addressValidated }) => addressValidated)).toBe(false);
  });

  it('serves a request that belongs to one that was served before those that wait', async () => {
    const { server, served } = await serve();
    const peers = await crowd(server, 100);
    const node = await UdpPeer.open();
    node.send(post(1, EXPECTED), server.address);
    expect(await node.next()).toMatchObject({ code: '2.04' });
    expect(served.filter(({ first }) => first === EXPECTED)).toEqual([{ addressValidated: false, first: EXPECTED }]);
    expect(peers).toHaveLength(PEERS);
  });

  it('serves on when its socket reports an error, and says so', async () => {
    const { server, log } = await serve();
    const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
    const sockets = handles.filter((handle): handle is GuardedSocket => handle instanceof GuardedSocket);
    expect(sockets.length).toBeGreaterThan(0);
    for (const socket of sockets) socket.emit('error', Object.assign(new Error('recvmsg ENOBUFS'), { code: 'ENOBUFS' }));
    expect(log.withMessage('the socket reports an error')).toMatchObject([{ level: 'warn', error: 'ENOBUFS' }]);
    const peer = await UdpPeer.open();
    peer.send({ code: 'GET', confirmable: true, messageId: 1, token: Buffer.from('ab') }, server.address);
    expect(await peer.next()).toMatchObject({ code: '4.04' });
  });
});
