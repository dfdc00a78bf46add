// Proves that a server that anybody may ask serves some without proof of their address, then asks
// for it, and serves who brings it.

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
    admission.refund(2);
    expect(served(1_000)).toBe(2);
    admission.refund(1_000);
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

  it('are heard as long as they ask for no more than can be looked at', () => {
    const admission = new AdmissionControl();
    for (let i = 0; i < 10_000; i++) expect(admission.admitDatagram('192.0.2.1', i / 10)).toBe(true);
  });
});

async function serve(): Promise<{ server: CoapServer; log: CapturedLog; served: string[] }> {
  const [log, served] = [new CapturedLog(), [] as string[]];
  const server = await CoapServer.listen({
    listen: { host: '127.0.0.1', port: 0 },
    resourceType: 'latchkey.sbr',
    validateAddresses: true,
    answer: ({ payload, source }) => {
      served.push(`${source.addressValidated}`);
      return { code: '2.04', payload };
    },
    log: log.log,
  });
  onTestFinished(() => server.stop());
  return { server, log, served };
}

describe('a server that strangers ask', () => {
  it('asks for proof when too many come at once, in answers of three times the request at most, and serves who brings it', async () => {
    const { server, served } = await serve();
    const peer = await UdpPeer.open();
    const post = (messageId: number, echo?: Buffer): Parameters<UdpPeer['send']>[0] => ({
      code: 'POST',
      confirmable: true,
      messageId,
      token: Buffer.from('ab'),
      payload: Buffer.alloc(21, messageId),
      options: [{ name: 'Uri-Path', value: Buffer.from('k') }, ...(echo === undefined ? [] : [{ name: ECHO, value: echo }])],
    });
    let asked: Buffer | undefined;
    for (let i = 0; asked === undefined; i += 100) {
      for (let j = 1; j <= 100; j++) peer.send(post(i + j), server.address);
      for (let j = 1; j <= 100; j++) {
        const answer = await peer.next();
        if (answer.code === '2.04') continue;
        expect(answer).toMatchObject({ code: '4.01', ack: true });
        expect(answer.octets.length).toBeLessThanOrEqual(3 * 30);
        asked = answer.options.find(({ name }) => String(name) === '252')?.value;
        expect(asked).toHaveLength(12);
      }
    }
    expect(served).not.toContain('true');
    peer.send(post(60_000, asked), server.address);
    expect(await peer.next()).toMatchObject({ code: '2.04' });
    expect(served.at(-1)).toBe('true');
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
