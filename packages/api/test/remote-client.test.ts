// Proves what the client of the API takes for a server, what it sends twice, and what it says of
// an answer: over TLS with the real gateway, and of servers that answer as no API does.

import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import {
  controllersRemove,
  type KeyOutput,
  nodesDiagnoseGroups,
  ordersCreate,
  ordersExport,
  ordersList,
  ordersShow,
  ordersSuspend,
} from '@latchkey/operations';
import { Failure } from '@latchkey/runtime/failure';
import { readVersion } from '@latchkey/runtime/telemetry';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder, unprivileged } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished } from 'vitest';
import { requestOf } from '../src/client/route-request.js';
import { nodeChangeRoutes } from '../src/resources/node-changes.js';
import { parseTarget, RemoteOperations } from '../src/client/index.js';
import { startGateway } from '../src/gateway.js';
import { certify, HAS_OPENSSL } from '@latchkey/test-support/certificate';
import { createToken, LocalApi } from './local-api.js';

type Options = Omit<ConstructorParameters<typeof RemoteOperations>[0], 'target'>;

function connect(server: string, options: Options = {}): RemoteOperations {
  const target = parseTarget(server);
  if (target === undefined) throw new Error(`no server: ${server}`);
  const remote = new RemoteOperations({ target, ...options });
  onTestFinished(() => remote.close());
  return remote;
}

/** What an operation failed with. */
async function failureOf(outcome: Promise<unknown>): Promise<Failure> {
  const failure: unknown = await outcome.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure instanceof Failure) return failure;
  throw new Error('expected a Failure', { cause: failure });
}

describe.skipIf(!HAS_OPENSSL)('over TLS', () => {
  /** An address of this process only: the port is in the list of hosts before it is bound. */
  const ADDRESS = `127.${(process.pid >> 16) & 0xff}.${(process.pid >> 8) & 0xff}.${process.pid & 0xff || 1}`;
  const SERVER = `https://${ADDRESS}:18443`;

  async function start(): Promise<{ readonly fixture: AdminFixture; readonly api: LocalApi; readonly pem: string }> {
    const fixture = await AdminFixture.open();
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    const api = await LocalApi.start(fixture.registry.folder);
    const { cert, key, pem } = await certify(await tempFolder(), 'plant', ADDRESS);
    const config = { listen: [{ host: ADDRESS, port: 18443 }], cert, key, hosts: [`${ADDRESS}:18443`] };
    const gateway = await startGateway({ config, apiSocket: api.remoteSocket, log: new CapturedLog().log });
    onTestFinished(() => gateway.stop());
    return { fixture, api, pem };
  }

  it('a token counts at a server of the named authority, or with the pinned key, and is sent nowhere else', async () => {
    const { fixture, api, pem } = await start();
    const { folder } = fixture.registry;
    const { text: token } = await createToken(folder, { scopes: ['read', 'orders'], name: 'ci' });
    const pin = createHash('sha256')
      .update(new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' }))
      .digest();
    const wrong = Buffer.alloc(32, 1);

    for (const [options, says] of [
      [{ token }, 'of no authority that this machine knows'],
      [{ token, pin: wrong }, 'another key than --pin says'],
      [{ token, pin: wrong, ca: pem }, 'another key than --pin says'],
    ] as const)
      expect(await failureOf(connect(SERVER, options).call(ordersList, {}, {}))).toMatchObject({
        exitCode: 1,
        message: expect.stringContaining(says),
      });
    expect(api.log.text).not.toContain('"answered"');

    for (const options of [{ ca: pem }, { pin }, { ca: pem, pin }]) {
      const { items } = await connect(SERVER, { token, ...options }).call(ordersList, {}, {});
      expect(items.map(({ order, nodes }) => [order, nodes])).toEqual([[1, 2]]);
    }
    const remote = connect(SERVER, { token, ca: pem });
    expect(await remote.call(ordersSuspend, {}, { order: 1 })).toEqual({ order: 1, state: 'suspended' });
    await fixture.registry.refresh();
    expect(await fixture.registry.audit.readEntry(fixture.headSeq)).toMatchObject({
      what: 'order suspended',
      actor: 'token ci of ada',
    });

    expect(await failureOf(remote.call(controllersRemove, {}, { id: '00000001' }))).toMatchObject({
      exitCode: 1,
      advice: expect.stringContaining('`controllers`'),
    });
    const other = token.endsWith('a') ? 'b' : 'a';
    const stranger = connect(SERVER, { token: `${token.slice(0, -1)}${other}`, ca: pem });
    expect(await failureOf(stranger.call(ordersList, {}, {}))).toMatchObject({
      exitCode: 1,
      advice: expect.stringContaining('token list'),
    });
  });
});

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** A server on a unix socket that answers as `handler` does. */
interface Served {
  readonly remote: RemoteOperations;
  readonly seen: IncomingMessage[];
  /** From then on nothing listens there. */
  readonly stopListening: () => void;
}

async function serve(handler: Handler): Promise<Served> {
  const path = join(await tempFolder(), 'api.sock');
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    handler(request, response, seen.length);
  });
  server.listen(path);
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { remote: connect(`unix:${path}`), seen, stopListening: () => void server.close() };
}

function answer(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  const type = status < 400 ? 'application/json' : 'application/problem+json';
  response.writeHead(status, { 'content-type': type, ...headers }).end(JSON.stringify(body));
}

const problem = (status: number, more: object = {}): object => ({
  type: 'urn:latchkey:problem:x',
  title: 'A title',
  status,
  ...more,
});

const ORDER = {
  order: 1,
  kind: 'order',
  state: 'open',
  installer: 'Kim',
  contact: null,
  site: null,
  controller: '00000001',
  nodes: 2,
  joined: 0,
  shared_key: false,
  split: false,
  manufacturer: null,
  lifetime_seconds: 3_600,
  grace_seconds: 600,
  join_from: null,
  join_until: null,
  created_at: '2026-12-01T08:00:00.000Z',
};

describe('another version', () => {
  it('may add fields, in whatever order', async () => {
    const { installer, ...rest } = ORDER;
    const { remote } = await serve((_, response) =>
      answer(response, 200, { colour: 'red', items: [{ colour: 'red', ...rest, installer }], next: null }),
    );
    expect(JSON.stringify(await remote.call(ordersList, {}, {}))).toBe(JSON.stringify({ items: [ORDER] }));
  });

  it('is named where it lacks a field, an operation or an input', async () => {
    const { version } = readVersion();
    const { nodes: _, ...older } = ORDER;
    const lacking = await serve((_, response) => answer(response, 200, older));
    expect(await failureOf(lacking.remote.call(ordersShow, {}, { order: 1 }))).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/orders\.show otherwise than this program expects: nodes$/),
      advice: expect.stringContaining(version),
    });
    const without = await serve((_, response) => answer(response, 404, problem(404), { 'latchkey-version': '0.0.1' }));
    expect(await failureOf(without.remote.call(ordersShow, {}, { order: 1 }))).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining(`orders.show: it has version 0.0.1, and this program ${version}`),
    });
    const errors = [{ at: 'query', is: 'expected only limit, after' }];
    const strict = await serve((_, response) => answer(response, 400, problem(400, { errors }), { 'latchkey-version': '0.0.1' }));
    expect(await failureOf(strict.remote.call(ordersList, {}, {}))).toMatchObject({
      exitCode: 2,
      message: 'query: expected only limit, after',
      advice: expect.stringContaining('0.0.1'),
    });
  });
});

describe('what a server says', () => {
  it('of a mistake is said here, with its commands as words, and cannot command the terminal', async () => {
    const said = {
      detail: 'order 7 \u001b[31mis closed',
      advice: 'See:',
      run: ["latchkey-auth-server order show 7 --site 'a b'"],
    };
    const { remote } = await serve((_, response) => answer(response, 409, problem(409, said)));
    expect(await failureOf(remote.call(ordersSuspend, {}, { order: 7 }))).toMatchObject({
      exitCode: 2,
      message: 'order 7 \ufffd[31mis closed',
      advice: 'See:',
      run: [['latchkey-auth-server', 'order', 'show', '7', '--site', 'a b']],
    });
  });

  it.each([
    [400, 'bad-request', 2],
    [404, 'not-found', 1],
    [409, 'refused', 2],
    [409, 'already-exists', 2],
    [413, 'body-too-large', 2],
    // The same command works a moment later.
    [409, 'selection-changed', 1],
    [409, 'request-under-way', 1],
    [412, 'changed-meanwhile', 1],
    [422, 'idempotency-key-reused', 1],
    // Kinds that a later version may have go by their status.
    [404, 'of-a-later-version', 1],
    [409, 'of-a-later-version', 2],
    [418, 'of-a-later-version', 2],
  ])('with %i %s ends a command with %i', async (status, kind, exitCode) => {
    const said = { type: `urn:latchkey:problem:${kind}`, detail: 'It is so' };
    const { remote } = await serve((_, response) => answer(response, status, problem(status, said)));
    expect(await failureOf(remote.call(ordersSuspend, {}, { order: 7 }))).toMatchObject({ exitCode });
  });

  it('of a job that failed is said here', async () => {
    const job = { id: 'abcdefghijklmnop', kind: 'x', done: 0, total: 1, created_at: '2026-12-01T08:00:00.000Z', result: null };
    const { remote, seen } = await serve(({ method }, response) =>
      method === 'POST'
        ? answer(response, 202, { ...job, state: 'running', finished_at: null, problem: null })
        : answer(response, 200, {
            ...job,
            state: 'failed',
            finished_at: '2026-12-01T08:00:00.000Z',
            problem: problem(409, { detail: 'the registry was restored' }),
          }),
    );
    expect(await failureOf(remote.call(nodesDiagnoseGroups, {}, { filter: {} }))).toMatchObject({
      exitCode: 2,
      message: 'the registry was restored',
    });
    expect(seen.map(({ url }) => url)).toEqual(['/v1/diagnoses', `/v1/jobs/${job.id}`]);
  });

  it.each([
    [
      'a redirect',
      (response: ServerResponse): unknown => response.writeHead(307, { location: '/v1/elsewhere' }).end(),
      'a redirect',
    ],
    ['no JSON', (response: ServerResponse): unknown => response.end('<html>'), 'not as a Latchkey API does'],
    [
      'a page of errors',
      (response: ServerResponse): unknown => response.writeHead(502).end('<html>'),
      'not as a Latchkey API does',
    ],
    ['more than 64 MiB', (response: ServerResponse): unknown => flood(response), 'more than 64 MiB'],
  ])('is no answer: %s', async (_, send, says) => {
    const { remote, seen } = await serve((__, response) => void send(response));
    expect(await failureOf(remote.call(ordersShow, {}, { order: 1 }))).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining(says),
    });
    expect(seen.length).toBe(1);
  });
});

/** Sends until the caller has gone. */
function flood(response: ServerResponse): void {
  const part = Buffer.alloc(1024 * 1024, ' ');
  const send = (): void => {
    if (response.destroyed) return;
    if (response.write(part)) setImmediate(send);
    else response.once('drain', send);
  };
  send();
}

describe('a request', () => {
  it('is sent again where that cannot do anything twice', async () => {
    const { remote, seen } = await serve((request, response, count) => {
      if (count === 1) request.socket.destroy();
      else if (count === 2) answer(response, 503, problem(503), { 'retry-after': '0' });
      else if (count === 3) answer(response, 429, problem(429), { 'retry-after': '0' });
      else answer(response, 409, problem(409, { detail: 'enough' }));
    });
    const { message } = await failureOf(remote.call(nodesDiagnoseGroups, {}, { filter: {} }));
    expect(message).toBe('enough');
    expect(seen.length).toBe(4);
    expect(seen.filter(({ headers }) => 'idempotency-key' in headers)).toEqual([]);
    // A change has a key, and each try of it the same one.
    const [change] = nodeChangeRoutes;
    expect(requestOf(change!, { select: { order: 1 }, change: { kind: 'disable' }, expect: 'x' })).toMatchObject({
      headers: { 'idempotency-key': expect.stringMatching(/^[0-9a-f-]{36}$/) },
      isRepeatable: true,
    });
  });

  it('is sent once where it may have been done, which is then said', async () => {
    const { remote, seen } = await serve((request) => void request.socket.destroy());
    expect(await failureOf(remote.call(ordersSuspend, {}, { order: 1 }))).toMatchObject({
      exitCode: 1,
      advice: expect.stringContaining('Look whether it was done'),
    });
    expect(seen.map(({ method, headers }) => [method, headers['if-match']])).toEqual([['PATCH', '*']]);
  });
});

describe('an operation that another run could do twice', () => {
  const JOB = {
    id: 'abcdefghijklmnop',
    kind: 'x',
    done: 0,
    total: 1,
    created_at: '2026-12-01T08:00:00.000Z',
    finished_at: null,
    result: null,
    problem: null,
    state: 'running',
  };
  const CREATED = {
    order: 7,
    installer: 'Kim',
    controller: '00000001',
    controllers: [{ controller: '00000001', count: 1 }],
    count: 1,
    split: false,
    manufacturer: null,
    lifetime_seconds: 86_400,
    grace_seconds: 0,
    join_from: null,
    join_until: null,
  };
  const openOutput = (): Promise<KeyOutput> => Promise.resolve({ kind: 'manifest', write: () => Promise.resolve() });
  const terms = {
    installer: 'Kim',
    controller: '00000001',
    count: 1,
    shared_key: false,
    lifetime_seconds: 86_400,
    grace_seconds: 0,
  };
  const order = (remote: RemoteOperations): Promise<Failure> => failureOf(remote.call(ordersCreate, { openOutput }, terms));
  const LOOK = {
    exitCode: 1,
    advice: expect.stringContaining('another run would order its nodes twice'),
    run: [['latchkey-auth-server', 'order', 'list']],
  };
  const LOOK_AT_JOB = { ...LOOK, run: [['latchkey-auth-server', 'job', 'show', 'abcdefghijklmnop'], ...LOOK.run] };
  /** A server that begins a job, and answers other requests as the test wants. */
  const serveJob = (look: (response: ServerResponse, path: string) => void): Promise<Served> =>
    serve(({ url = '' }, response) => (url === '/v1/orders' ? answer(response, 202, JOB) : look(response, url)));

  it('says so, with the job and the command that shows it, if the API ended', async () => {
    const { remote } = await serveJob((response) => answer(response, 200, { ...JOB, state: 'interrupted' }));
    expect(await order(remote)).toMatchObject({
      ...LOOK_AT_JOB,
      message: expect.stringContaining('job abcdefghijklmnop was interrupted'),
    });
  });

  it('names the entry of the audit log to look at, if the server found one', async () => {
    const { remote } = await serveJob((response) => answer(response, 200, { ...JOB, state: 'interrupted', audit_from: 12 }));
    const [job, list] = LOOK_AT_JOB.run;
    expect(await order(remote)).toMatchObject({
      advice: expect.stringMatching(/The first entry of the audit log that may be of the job is 12\. To look:$/),
      run: [job, ['latchkey-auth-server', 'audit', 'list', '--from', '12', '--limit', '10'], list],
    });
  });

  it('says so if its job cannot be followed any more, or fails for a fault of the server', async () => {
    const gone = await serveJob((response) => answer(response, 404, problem(404, { detail: 'No job of yours has this ID.' })));
    expect(await order(gone.remote)).toMatchObject({ ...LOOK_AT_JOB, message: expect.stringContaining('job abcdefghijklmnop') });
    const failed = { ...JOB, state: 'failed', problem: problem(503) };
    const { remote } = await serveJob((response) => answer(response, 200, failed));
    expect(await order(remote)).toMatchObject(LOOK_AT_JOB);
  });

  it('names the order whose manifest did not arrive', async () => {
    const { remote } = await serveJob((response, path) =>
      path.endsWith('/file')
        ? answer(response, 404, problem(404, { detail: 'The file is gone.' }))
        : answer(response, 200, { ...JOB, done: 1, state: 'done', result: CREATED }),
    );
    expect(await order(remote)).toMatchObject({ message: 'The file is gone.', order: 7 });
  });

  it('says so if its connection broke and nothing listens there then, but not if nothing was sent', async () => {
    const broken = await serve((request) => {
      broken.stopListening();
      request.socket.destroy();
    });
    expect(await order(broken.remote)).toMatchObject(LOOK);
    expect(await order(broken.remote)).toMatchObject({ run: [] });
    expect(broken.seen.length).toBe(1);
  });

  it.skipIf(process.getuid?.() !== 0)('says who may connect to a unix socket (needs root)', async () => {
    const path = join(await tempFolder(), 'api.sock');
    await chmod(dirname(path), 0o711);
    const server = createServer().listen(path);
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    await chmod(path, 0o660);
    const remote = connect(`unix:${path}`);
    await unprivileged(async () =>
      expect(await failureOf(remote.call(nodesDiagnoseGroups, {}, { filter: {} }))).toMatchObject({
        message: `unix:${path}: permission denied`,
        advice: expect.stringContaining('api.group'),
      }),
    );
  });

  it('says that another run is harmless where it is', async () => {
    const job = { ...JOB, state: 'interrupted' };
    const { remote } = await serve(({ url }, response) =>
      answer(response, url === '/v1/orders/1' ? 200 : 202, url === '/v1/orders/1' ? ORDER : job),
    );
    expect(await failureOf(remote.call(ordersExport, { openOutput }, { order: 1 }))).toMatchObject({
      advice: expect.stringContaining('hands over the same ones'),
    });
    expect(await failureOf(remote.call(nodesDiagnoseGroups, {}, { filter: {} }))).toMatchObject({
      advice: 'Nothing was changed. Run the command again.',
    });
  });
});
