// What a caller can take from the API by talking badly: nothing that others would miss.

import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { onTestFinished, expect, it } from 'vitest';
import { ReopenedRegistry } from '../src/registry-access.js';
import type { RouteServices } from '../src/route.js';
import { buildServer, MAX_CONNECTIONS } from '../src/server.js';
import { ANSWER_TIMEOUT_MS, CLIENT_TIMEOUT_MS } from '../src/timeouts.js';
import { LocalApi } from './local-api.js';

async function open(path: string): Promise<Socket> {
  const socket = connect(path);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** All that comes until the other end closes. */
async function readToEnd(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => (text += part));
  if (!socket.destroyed) await once(socket, 'close');
  return text;
}

async function startApi(): Promise<LocalApi> {
  const fixture = await AdminFixture.open();
  return LocalApi.start(fixture.registry.folder);
}

it('a request whose header does not end is answered 408 and closed, and others are served meanwhile', async () => {
  const api = await startApi();
  const socket = await open(api.socket);
  socket.write('GET /v1/summary HTTP/1.1\r\nHost: x\r\n');
  const answer = readToEnd(socket);
  expect((await api.get('/v1/summary')).status).toBe(200);
  expect(await answer).toMatch(/^HTTP\/1\.1 408 .*urn:latchkey:problem:request-timeout/s);
});

it('a body that does not come is not waited for', async () => {
  const api = await startApi();
  const socket = await open(api.socket);
  socket.write('POST /v1/summary HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{');
  const [first] = (await once(socket.setEncoding('utf8'), 'data')) as [string];
  expect(first).toMatch(/^HTTP\/1\.1 405 /);
  if (!socket.destroyed) await once(socket, 'close');
});

/** Sends a body for as long as the connection takes it, a part twice a second. */
async function sendSlowly(socket: Socket, body: string, part: number): Promise<void> {
  for (let sent = 0; sent < body.length && socket.writable; sent += part) {
    socket.write(body.slice(sent, sent + part));
    await pause(500);
  }
}

it('a large body at 256 kbit/s arrives after the time of a small one; one that trickles is answered 408', async () => {
  const api = await startApi();
  const file = 'x'.repeat(400_000);
  const body = JSON.stringify({ installer: 'x', lifetime_seconds: 1, dry_run: true, file });
  const header = `POST /v1/imports HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  const exchange = async (part: number): Promise<string> => {
    const socket = await open(api.socket);
    const answer = readToEnd(socket);
    socket.write(header);
    await sendSlowly(socket, body, part);
    return answer;
  };
  // One caller sends one large body at a time.
  const slow = await exchange(16_384);
  expect(slow).toMatch(/^HTTP\/1\.1 400 .*expected a file that age encrypted/s);
  expect(await exchange(1)).toMatch(/^HTTP\/1\.1 408 .*urn:latchkey:problem:request-timeout/s);
  // Nothing of them is left over.
  expect((await api.change('POST', '/v1/imports', JSON.parse(body))).status).toBe(400);
});

it('a header of more than 16 KiB is answered 431', async () => {
  const api = await startApi();
  const socket = await open(api.socket);
  socket.write(`GET /v1/summary HTTP/1.1\r\nHost: x\r\nX-Big: ${'x'.repeat(20_000)}\r\n\r\n`);
  expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 431 .*urn:latchkey:problem:headers-too-large/s);
});

it.each([
  ['nothing that is HTTP', 'hello\r\n\r\n'],
  ['no Host', 'GET /v1/summary HTTP/1.1\r\n\r\n'],
  [
    'a length and chunks',
    'POST /v1/summary HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a folded header', 'GET /v1/summary HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n'],
  ['a header name with a space', 'GET /v1/summary HTTP/1.1\r\nHost: x\r\nCookie : a=b\r\n\r\n'],
])('a request with %s is answered 400', async (_, text) => {
  const api = await startApi();
  const socket = await open(api.socket);
  socket.write(text);
  expect(await readToEnd(socket)).toMatch(/^HTTP\/1\.1 400 /);
});

it(`of more than ${MAX_CONNECTIONS} connections the rest is closed, and room that is made is given`, async () => {
  const api = await startApi();
  const sockets: Socket[] = [];
  for (let i = 0; i < MAX_CONNECTIONS; i++) sockets.push(await open(api.socket));
  const beyond = await open(api.socket);
  if (!beyond.destroyed) await once(beyond, 'close');
  for (const socket of sockets.slice(0, 8)) socket.end();
  // The server counts a connection until it has seen its end.
  const end = performance.now() + 60_000;
  const ask = (): Promise<number | undefined> =>
    api.get('/v1/summary').then(
      (answer) => answer.status,
      () => undefined,
    );
  let status = await ask();
  while (status !== 200 && performance.now() < end) status = await ask();
  expect(status).toBe(200);
});

it('cuts no connection while the gateway or a command still waits for the answer', () => {
  const { server } = buildServer({
    routes: [],
    registry: new ReopenedRegistry(undefined, () => Promise.reject(new Error('none'))),
    services: {} as RouteServices,
    opened: Promise.resolve(),
    checkRequest: () => undefined,
    authenticate: () => undefined,
    log: new CapturedLog().log,
  });
  expect(CLIENT_TIMEOUT_MS).toBeGreaterThan(ANSWER_TIMEOUT_MS);
  expect(server.timeout).toBeGreaterThan(CLIENT_TIMEOUT_MS);
});
