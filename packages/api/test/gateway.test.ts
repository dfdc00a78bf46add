// TLS in front of the API, with certificates that openssl makes, and an API behind it.

import { once } from 'node:events';
import { chmod, copyFile, readFile, rename, writeFile } from 'node:fs/promises';
import { connect as connectPlain } from 'node:net';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import type { Daemon } from '@latchkey/runtime/daemon';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startGateway } from '../src/gateway.js';
import { type Certified, certify, HAS_OPENSSL, issue } from '@latchkey/test-support/certificate';
import { type Answer, ask, createToken, LocalApi, type RequestOptions } from './local-api.js';

const HOST = 'plant.example:8443';

interface Setup {
  readonly folder: string;
  readonly port: number;
  readonly cert: string;
  readonly key: string;
  readonly log: CapturedLog;
  readonly daemon: Daemon;
  readonly tls: ConnectionOptions;
  readonly send: (path: string, options?: RequestOptions) => Promise<Answer>;
}

/**
 * @param apiSocket of the API, if it is not to be one that runs
 * @param clientCa file of the authorities of clients
 */
async function start(apiSocket?: string, clientCa?: string): Promise<Setup> {
  const fixture = await AdminFixture.open();
  const { folder } = fixture.registry;
  const { cert, key, pem } = await certify(await tempFolder(), 'first');
  const log = new CapturedLog();
  const socket = apiSocket ?? (await LocalApi.start(folder)).remoteSocket;
  const config = { listen: [{ host: '127.0.0.1', port: 0 }], cert, key, client_ca: clientCa, hosts: [HOST] };
  const daemon = await startGateway({ config, apiSocket: socket, log: log.log });
  onTestFinished(() => daemon.stop());
  const { address } = await log.until(({ msg }) => msg === 'serving the API over TLS');
  const port = Number(String(address).split(':').at(-1));
  const tls = { host: '127.0.0.1', port, ca: pem, servername: 'plant.example' };
  const send = (path: string, { headers = {}, ...options }: RequestOptions = {}): Promise<Answer> =>
    ask(tls, path, { ...options, headers: { host: HOST, ...headers } });
  return { folder, port, cert, key, log, daemon, tls, send };
}

async function open(tls: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect(tls);
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  socket.on('error', () => undefined);
  return socket;
}

async function exchange(tls: ConnectionOptions, text: string): Promise<string> {
  const socket = await open(tls);
  socket.write(text);
  return ((await socket.setEncoding('utf8').toArray()) as string[]).join('');
}

describe.skipIf(!HAS_OPENSSL)('the gateway (needs openssl)', () => {
  it('brings a caller with a token to the API, and the answer back with the headers it may have', async () => {
    const { folder, send } = await start();
    const { text } = await createToken(folder);
    const authorization = `Bearer ${text}`;
    const { status, headers, body } = await send('/v1/summary', { headers: { authorization } });
    expect([status, body.controllers.total]).toEqual([200, 2]);
    expect(headers).toMatchObject({
      'strict-transport-security': 'max-age=31536000',
      'cache-control': 'no-store',
      'content-type': 'application/json',
    });
    const head = await send('/v1/summary', { method: 'HEAD', headers: { authorization } });
    expect([head.status, head.text]).toEqual([200, '']);
    const { headers: described } = await send('/v1/openapi.json', { headers: { authorization } });
    const again = await send('/v1/openapi.json', { headers: { authorization, 'if-none-match': String(described.etag) } });
    expect([again.status, again.text]).toEqual([304, '']);
    const none = await send('/v1/summary');
    expect([none.status, none.headers['www-authenticate']]).toEqual([401, 'Bearer']);
  });

  it('serves the hosts of its list only, and no request that could be read in two ways', async () => {
    const { tls, send } = await start();
    for (const host of ['evil.example', 'plant.example', 'plant.example:8444', '127.0.0.1:8443', 'evil.plant.example:8443', ''])
      expect([host, (await send('/v1/summary', { headers: { host } })).status]).toEqual([host, 421]);
    for (const [status, text] of [
      [421, 'GET /v1/summary HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: plant.example:8443\r\n\r\n'],
      [400, `GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\nHost: evil.example\r\n\r\n`],
      [400, `GET https://${HOST}/v1/summary HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`],
      [400, `GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n`],
      [400, `GET /v1/summary HTTP/1.1\r\n\r\n`],
      [413, `GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 5\r\n\r\nhello`],
      [413, `GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      [413, `PATCH /v1/nodes/00000001 HTTP/1.1\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
      [413, `PATCH /v1/nodes/00000001 HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 65537\r\n\r\n{`],
      [405, `PUT /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 0\r\n\r\n`],
      [431, `GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
      [408, `GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\n`],
    ] as const)
      expect([text.slice(0, 80), await exchange(tls, text)]).toEqual([
        text.slice(0, 80),
        expect.stringMatching(new RegExp(`^HTTP/1\\.1 ${status} `)),
      ]);
  });

  it('reads a large body to its end where files are sent, and nowhere else', async () => {
    const { folder, send } = await start();
    const { text } = await createToken(folder, { scopes: ['keys'] });
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${text}` };
    const post = (path: string, file: string, more: Record<string, string> = headers): Promise<Answer> =>
      send(path, {
        method: 'POST',
        headers: more,
        body: JSON.stringify({ installer: 'x', lifetime_seconds: 1, dry_run: true, file }),
      });
    const large = 'x'.repeat(300_000);
    expect((await post('/v1/imports', large)).body.detail).toBe('A token brings no keys in.');
    expect((await post('/v1/imports', large, { ...headers, authorization: 'Bearer x' })).status).toBe(401);
    const { text: other } = await createToken(folder);
    expect((await post('/v1/imports', large, { ...headers, authorization: `Bearer ${other}` })).status).toBe(403);
    expect((await post('/v1/orders', 'x'.repeat(70_000))).status).toBe(413);
  });

  it('has room for a large body while callers that were refused do not send theirs', async () => {
    const { folder, tls, send } = await start();
    let ended = 0;
    const post = `POST /v1/imports HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer x\r\nContent-Length: 100000\r\n\r\n`;
    for (let refused = 0; refused < 4; refused++) {
      const socket = await open(tls);
      // The gateway answers a request that does not come in time.
      socket.once('data', () => ended++);
      socket.write(post);
    }
    const { text } = await createToken(folder, { scopes: ['keys'] });
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${text}` };
    const { status } = await send('/v1/imports', {
      method: 'POST',
      headers,
      body: JSON.stringify({ file: 'x'.repeat(100_000) }),
    });
    expect([status, ended]).toEqual([403, 0]);
  });

  it('gives a caller that was refused its answer after the fixed time of a body, whose rest may come slowly', async () => {
    const { tls } = await start();
    const socket = await open(tls);
    socket.write(`POST /v1/imports HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer x\r\nContent-Length: 5000000\r\n\r\n`);
    // Fast enough for a body that is admitted, and too slow to end soon.
    const sending = setInterval(() => void socket.write('x'.repeat(20_000)), 500);
    onTestFinished(() => clearInterval(sending));
    expect(((await socket.setEncoding('utf8').toArray()) as string[]).join('')).toMatch(/^HTTP\/1\.1 401 .*connection: close/is);
  });

  it('brings a change with its body, and its precondition', async () => {
    const { folder, send } = await start();
    const { text } = await createToken(folder, { scopes: ['read', 'controllers'], name: 'ci', createdBy: 'user ada' });
    const authorization = `Bearer ${text}`;
    const path = '/v1/controllers/00000001';
    const { headers } = await send(path, { headers: { authorization } });
    const change = (ifMatch: string): Promise<Answer> =>
      send(path, {
        method: 'PATCH',
        headers: { authorization, 'content-type': 'application/json', 'if-match': ifMatch },
        body: '{"nid":"192.0.2.77:5683"}',
      });
    expect((await change(String(headers.etag))).body).toMatchObject({ nid: '192.0.2.77:5683', changed: true });
    expect((await change(String(headers.etag))).status).toBe(412);
  });

  it('takes nothing from browsers', async () => {
    const { folder, send } = await start();
    const { text } = await createToken(folder);
    for (const name of ['cookie', 'origin', 'sec-fetch-site']) {
      const { status, headers } = await send('/v1/summary', { headers: { authorization: `Bearer ${text}`, [name]: 'x' } });
      expect([name, status, headers['access-control-allow-origin']]).toEqual([name, 403, undefined]);
    }
  });

  it('tells the API where a caller is; what the caller says of it counts for nothing', async () => {
    const { folder, send } = await start();
    const here = await createToken(folder, { networks: ['127.0.0.0/8'] });
    const there = await createToken(folder, { networks: ['198.51.100.7'] });
    const headers = { 'x-forwarded-for': '198.51.100.7', forwarded: 'for=198.51.100.7', 'x-real-ip': '198.51.100.7' };
    const statusOf = async ({ text }: { readonly text: string }): Promise<number> =>
      (await send('/v1/summary', { headers: { ...headers, authorization: `Bearer ${text}` } })).status;
    expect([await statusOf(here), await statusOf(there)]).toEqual([200, 401]);
  });

  it('speaks TLS 1.3 and nothing else', async () => {
    const { tls, port } = await start();
    expect((await open(tls)).getProtocol()).toBe('TLSv1.3');
    await expect(open({ ...tls, maxVersion: 'TLSv1.2' })).rejects.toMatchObject({
      code: expect.stringMatching(/ALERT|PROTOCOL/),
    });
    const plain = connectPlain(port, '127.0.0.1');
    plain.write(`GET /v1/summary HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    const answer = await plain
      .setEncoding('utf8')
      .toArray()
      .catch(() => []);
    expect(answer.join('')).not.toContain('200');
  });

  it('shows a new certificate after a reload, and goes on with the old one if the new one is spoiled', async () => {
    const { tls, cert, key, daemon } = await start();
    const nameOf = async (): Promise<string> => {
      const socket = await open({ ...tls, rejectUnauthorized: false });
      return String(socket.getPeerCertificate().subject.CN);
    };
    expect(await nameOf()).toBe('first');
    const next = await certify(await tempFolder(), 'second');
    await rename(next.cert, cert);
    // The key is still that of the first.
    await expect(daemon.reload?.()).rejects.toMatchObject({ name: 'UsageFailure' });
    expect(await nameOf()).toBe('first');
    await rename(next.key, key);
    await daemon.reload?.();
    expect(await nameOf()).toBe('second');
    await chmod(key, 0o644);
    await expect(daemon.reload?.()).rejects.toThrow(/others can read it/);
    expect(await nameOf()).toBe('second');
  });

  it('stops at once while somebody follows what happens, and ends that stream', async () => {
    const { folder, tls, daemon } = await start();
    const { text } = await createToken(folder);
    const socket = await open(tls);
    socket.write(`GET /v1/events HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${text}\r\n\r\n`);
    let received = '';
    socket.setEncoding('utf8').on('data', (part: string) => void (received += part));
    await expect.poll(() => received).toContain(': the audit log, from here on');
    const ended = once(socket, 'end');
    await daemon.stop();
    await ended;
    // The last chunk of a whole answer: the connection was not cut.
    expect(received).toMatch(/\r\n0\r\n\r\n$/);
  });

  it('serves others after callers that leave in the middle of an answer', async () => {
    const { folder, tls, send } = await start();
    const { text } = await createToken(folder);
    const asked = `GET /v1/openapi.json HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${text}\r\n\r\n`;
    for (let left = 0; left < 10; left++) {
      const socket = await open(tls);
      socket.write(asked);
      if (left % 2 === 0) await once(socket, 'data');
      socket.destroy();
    }
    expect((await send('/v1/summary', { headers: { authorization: `Bearer ${text}` } })).status).toBe(200);
  });

  it('says that the API is not there', async () => {
    const { send, log } = await start(join(await tempFolder(), 'nobody.sock'));
    const { status, headers, body } = await send('/v1/summary');
    expect([status, headers['retry-after'], body.type]).toEqual([503, '5', 'urn:latchkey:problem:unavailable']);
    await log.until(({ msg }) => msg === 'the API does not answer');
  });
});

describe.skipIf(!HAS_OPENSSL)('the gateway with client authorities (needs openssl)', () => {
  const REQUEST = `GET /v1/openapi.json HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`;

  interface Clients extends Setup {
    readonly clientCa: string;
    readonly authority: Certified;
    readonly other: Certified;
    /** What a client with that certificate gets: the status, or `refused`. */
    readonly statusOf: (certificate: Certified | undefined) => Promise<number | string>;
  }

  async function startWithAuthority(): Promise<Clients> {
    const folder = await tempFolder();
    const [authority, other] = [await certify(folder, 'clients'), await certify(folder, 'others')];
    const clientCa = join(folder, 'client-ca.crt');
    await copyFile(authority.cert, clientCa);
    const setup = await start(undefined, clientCa);
    const { text } = await createToken(setup.folder);
    const statusOf = async (certificate: Certified | undefined): Promise<number | string> => {
      const mine = certificate && { cert: certificate.pem, key: await readFile(certificate.key, 'utf8') };
      try {
        const headers = { host: HOST, authorization: `Bearer ${text}` };
        return (await ask({ ...setup.tls, ...mine }, '/v1/summary', { headers })).status;
      } catch (error) {
        return error instanceof Error && 'code' in error ? 'refused' : String(error);
      }
    };
    return { ...setup, clientCa, authority, other, statusOf };
  }

  it('answers clients with a certificate for clients of these authorities, and reads no request of others', async () => {
    const { authority, other, statusOf, log, tls } = await startWithAuthority();
    const folder = await tempFolder();
    expect(await statusOf(await issue(folder, 'ada', authority, 'clientAuth'))).toBe(200);
    expect(await statusOf(await issue(folder, 'both', authority, 'serverAuth,clientAuth'))).toBe(200);
    expect(await statusOf(undefined)).toBe('refused');
    expect(await statusOf(await issue(folder, 'server', authority, 'serverAuth'))).toBe('refused');
    expect(await statusOf(await issue(folder, 'unsaid', authority))).toBe('refused');
    expect(await statusOf(await issue(folder, 'any', authority, 'anyExtendedKeyUsage'))).toBe('refused');
    expect(await statusOf(await issue(folder, 'mallory', other, 'clientAuth'))).toBe('refused');
    expect(await statusOf(await certify(folder, 'self-signed'))).toBe('refused');
    // A certificate does not stand in for a token.
    const ada = await issue(folder, 'kim', authority, 'clientAuth');
    const mine = { ...tls, cert: ada.pem, key: await readFile(ada.key, 'utf8') };
    expect((await ask(mine, '/v1/summary', { headers: { host: HOST } })).status).toBe(401);
    // Not even a request that could not be read is answered.
    const socket = connect(tls);
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => undefined);
    socket.write('no request\r\n\r\n');
    const answered: Buffer[] = [];
    socket.on('data', (part) => void answered.push(part));
    await new Promise((resolve) => socket.once('close', resolve));
    expect(answered).toEqual([]);
    const reasons = log.lines.filter(({ msg }) => msg === 'a client was refused by its certificate').map(({ reason }) => reason);
    expect(new Set(reasons)).toEqual(
      new Set([
        'no certificate',
        'the certificate is not for clients',
        'INVALID_PURPOSE',
        'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
        'DEPTH_ZERO_SELF_SIGNED_CERT',
      ]),
    );
  });

  it('reads the authorities again, and lets no client of a former one go on', async () => {
    const { daemon, clientCa, authority, other, statusOf, tls } = await startWithAuthority();
    const folder = await tempFolder();
    const [before, after] = [await issue(folder, 'ada', authority, 'clientAuth'), await issue(folder, 'bo', other, 'clientAuth')];
    const key = await readFile(before.key, 'utf8');
    const [open, busy] = [await openWith({ ...tls, cert: before.pem, key }), await openWith({ ...tls, cert: before.pem, key })];
    open.socket.write(REQUEST);
    await expect.poll(() => open.text()).toContain('401');
    // A request that has begun, and an idle connection.
    busy.socket.write(REQUEST.slice(0, -2));
    await writeFile(clientCa, other.pem);
    await daemon.reload?.();
    await expect.poll(() => open.isClosed()).toBe(true);
    busy.socket.write('\r\n');
    await expect.poll(() => busy.isClosed()).toBe(true);
    expect(busy.text()).toBe('');
    expect([await statusOf(before), await statusOf(after)]).toEqual(['refused', 200]);
    // Nor with what the former connection left for the next one.
    expect(open.session()).toBeDefined();
    const resumed = await openWith({ ...tls, cert: before.pem, key, session: open.session() });
    resumed.socket.write(REQUEST);
    await expect.poll(() => resumed.isClosed()).toBe(true);
    expect(resumed.text()).toBe('');
  });

  it.each([
    ['no certificate in it', ''],
    ['half of one', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'],
    ['a certificate of a client', 'client'],
  ])('does not take a file with %s for authorities, and then goes on with those it has', async (_, content) => {
    const { daemon, clientCa, authority, statusOf } = await startWithAuthority();
    const client = await issue(await tempFolder(), 'ada', authority, 'clientAuth');
    await writeFile(clientCa, content === 'client' ? client.pem : content);
    await expect(daemon.reload?.()).rejects.toThrow(`${clientCa}: expected certificates of authorities in PEM`);
    expect(await statusOf(client)).toBe(200);
    expect(await statusOf(undefined)).toBe('refused');
    await expect(start('/none', clientCa)).rejects.toThrow('expected certificates of authorities in PEM');
  });
});

interface Opened {
  readonly socket: TLSSocket;
  readonly text: () => string;
  readonly isClosed: () => boolean;
  /** What a later connection may resume. */
  readonly session: () => Buffer | undefined;
}

async function openWith(tls: ConnectionOptions): Promise<Opened> {
  let [text, isClosed, session] = ['', false, undefined as Buffer | undefined];
  const socket = connect(tls);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  socket.on('data', (part) => (text += String(part)));
  socket.on('close', () => (isClosed = true));
  socket.on('session', (ticket) => (session = ticket));
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
  return { socket, text: () => text, isClosed: () => isClosed, session: () => session };
}
