// `latchkey-auth-server api` as a process, beside an auth-server that serves.

import { spawnSync } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { request as requestInClear } from 'node:http';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LogLine, runCommand } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, orderAndInstall } from './fixtures.js';
import { get, pollUntil } from './http.js';

const HAS_OPENSSL = spawnSync('openssl', ['version']).status === 0;

/** As a page of the console asks. */
class Browser {
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  send(
    port: number,
    method: string,
    path: string,
    body?: object,
    more: Record<string, string> = {},
  ): Promise<{ readonly status: number | undefined; readonly body: Record<string, unknown>; readonly cookie: string }> {
    const headers = {
      host: new URL(this.#origin).host,
      origin: this.#origin,
      'sec-fetch-site': 'same-origin',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...more,
    };
    return new Promise((resolve, reject) => {
      const sent = requestInClear({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          const [cookie = ''] = response.headers['set-cookie']?.[0]?.split(';') ?? [];
          const isJson = response.headers['content-type']?.includes('json') === true;
          const answer = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text };
          resolve({ status: response.statusCode, body: answer, cookie });
        });
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

let network: TestNetwork;
beforeAll(async () => {
  network = await TestNetwork.create();
});
afterAll(() => network.remove());

describe('the API beside an auth-server', () => {
  it('shows a join as it happens, and neither process minds that the other ends', async () => {
    const [server, address] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, address, [server]);
    const { state } = await orderAndInstall(network);
    const authServer = await network.startAuthServer(server);
    await network.startController(CONTROLLER, address);
    const socket = network.path('api.sock');
    const config = await network.file('api.yaml', `api: {socket: ${socket}}\n`);
    const args = ['api', '--data', network.registry, '--config', config];
    const api = network.start('auth-server', args);
    await api.waitFor(({ msg }) => msg === 'serving the API');
    const summary = async (): Promise<{ nodes: { by_state: { joined: number } } }> =>
      JSON.parse((await get(`unix:${socket}`, '/v1/summary')).text) as { nodes: { by_state: { joined: number } } };
    expect((await summary()).nodes.by_state.joined).toBe(0);
    const node = network.start('node-agent', ['run', '--state', state]);
    await node.waitFor(({ msg }) => msg === 'joined');
    expect((await summary()).nodes.by_state.joined).toBe(1);
    expect(await authServer.stop()).toBe(0);
    expect((await summary()).nodes.by_state.joined).toBe(1);
    expect(await api.stop()).toBe(0);
    const again = network.start('auth-server', args);
    await again.waitFor(({ msg }) => msg === 'serving the API');
    // A killed API leaves its socket, which the next one replaces.
    again.signal('SIGKILL');
    await pollUntil(
      async () => (await get(`unix:${socket}`, '/v1/summary').catch(() => undefined))?.status,
      (status) => status === undefined,
    );
    const third = network.start('auth-server', args);
    await third.waitFor(({ msg }) => msg === 'serving the API');
    const second = await runCommand('auth-server', args);
    expect([second.code, second.stderr]).toEqual([
      1,
      expect.stringMatching(
        new RegExp(
          `^latchkey-auth-server: the folder ${network.registry}/api-requests is in use by latchkey-auth-server api \\(process ${third.pid}, since \\S+\\)\nOne API serves a registry\\. .*\n$`,
        ),
      ),
    ]);
    const elsewhere = network.path('other-registry');
    expect((await runCommand('auth-server', ['init', '--data', elsewhere])).code).toBe(0);
    const other = await runCommand('auth-server', ['api', '--data', elsewhere, '--config', config]);
    expect([other.code, other.stderr]).toEqual([
      1,
      `latchkey-auth-server: cannot serve the API on unix:${socket}: another process listens there\n` +
        'Stop it, or choose another path with `socket:` below `api:` of the configuration.\n',
    ]);
    expect(await third.stop()).toBe(0);
  });

  it('is started by `run`, again when it was killed, and ends with it; a person signs in by a printed link', async () => {
    const origin = 'http://localhost:8080';
    const config = await network.file(
      'browser.yaml',
      `api: {socket: ${network.path('browser.sock')}, browser: {listen: ["127.0.0.1:0"], origin: "${origin}"}}\n`,
    );
    const authServer = await network.startAuthServer(await freePort(), '--config', config);
    const isServing = ({ msg }: LogLine): boolean => msg === 'serving the API to browsers';
    const portOf = ({ address }: LogLine): number => Number(String(address).split(':').at(-1));
    const addArgs = ['--data', network.registry, '--config', config, '--role', 'admin'];
    const printed = await network.run('auth-server', ['user', 'add', 'ada', ...addArgs]);
    const [, token = ''] = /^http:\/\/localhost:8080\/sign-in#link=([\w-]{43})$/m.exec(printed) ?? [];
    const browser = new Browser(origin);
    const port = portOf(await authServer.waitFor(isServing));
    const { body, cookie } = await browser.send(port, 'POST', '/v1/login/link', { token, password: 'correct horse battery' });
    const session = { cookie, 'x-latchkey-session': String(body['secret']) };
    // The console is installed with the command.
    const page = await browser.send(port, 'GET', '/sign-in');
    const [, script = ''] = /src="(\/assets\/[^"]+\.js)"/.exec(String(page.body['text'])) ?? [];
    expect([page.status, (await browser.send(port, 'GET', script)).status]).toEqual([200, 200]);
    expect(body).toMatchObject({ user: 'ada', role: 'admin' });
    const { pid } = await authServer.waitFor(({ msg }) => msg === 'the API is started');
    process.kill(Number(pid), 'SIGKILL');
    await authServer.waitFor(({ msg }) => msg === 'the API has ended');
    await pollUntil(
      async () => authServer.lines.filter(isServing).length,
      (count) => count === 2,
    );
    // A session outlives the process that began it.
    const next = portOf(authServer.lines.filter(isServing)[1] as LogLine);
    expect((await browser.send(next, 'GET', '/v1/me', undefined, session)).body).toMatchObject({ user: 'ada' });
    expect(await network.run('auth-server', ['user', 'list', '--data', network.registry])).toMatch(/^ada +admin +set +- /m);
    expect((await runCommand('auth-server', ['user', 'add', 'ada', ...addArgs])).code).toBe(2);
    await network.run('auth-server', ['user', 'remove', 'ada', '--data', network.registry]);
    expect((await browser.send(next, 'GET', '/v1/me', undefined, session)).status).toBe(401);
    expect(await authServer.stop()).toBe(0);
    await expect(browser.send(next, 'GET', '/')).rejects.toThrow('ECONNREFUSED');
    for (const secret of [token, cookie.slice(20), session['x-latchkey-session']])
      expect(authServer.transcript()).not.toContain(secret);
    // A parent that is killed ends its child too.
    const second = await network.startAuthServer(await freePort(), '--config', config);
    const last = portOf(await second.waitFor(isServing));
    second.signal('SIGKILL');
    await pollUntil(
      () =>
        browser.send(last, 'GET', '/').then(
          () => true,
          () => false,
        ),
      (isAnswered) => !isAnswered,
    );
  });

  it.skipIf(!HAS_OPENSSL)('serves a token over TLS until that is revoked, which the audit log has (needs openssl)', async () => {
    const [cert, key] = [network.path('tls.crt'), network.path('tls.key')];
    const [socket, remote] = [network.path('local.sock'), network.path('remote.sock')];
    const curve = [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '30',
      '-subj',
      '/CN=localhost',
    ];
    spawnSync('openssl', ['req', '-x509', ...curve, '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert]);
    const host = 'localhost:8443';
    const gateway = `{listen: ["127.0.0.1:0"], cert: ${cert}, key: ${key}, hosts: ["${host}"]}`;
    const config = await network.file(
      'remote.yaml',
      `api: {socket: ${socket}, remote: {socket: ${remote}}, gateway: ${gateway}}\n`,
    );
    const out = network.path('monitoring.token');
    const made = await network.run('auth-server', [
      'token',
      'create',
      'monitoring',
      '--data',
      network.registry,
      '--scope',
      'read',
      '--from',
      '127.0.0.0/8',
      '--out',
      out,
    ]);
    const [id = ''] = /[a-z2-7]{8}/.exec(made.replace('Token ', '')) ?? [];
    const token = (await readFile(out, 'utf8')).trim();
    expect([(await stat(out)).mode & 0o777, made.includes(token)]).toEqual([0o600, false]);
    const api = network.start('auth-server', ['api', '--data', network.registry, '--config', config]);
    const front = network.start('auth-server', ['api-gateway', '--config', config]);
    await api.waitFor(({ msg }) => msg === 'serving the API to callers with tokens');
    const { address } = await front.waitFor(({ msg }) => msg === 'serving the API over TLS');
    const port = Number(String(address).split(':').at(-1));
    const ca = await readFile(cert, 'utf8');
    const statusOf = (authorization: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const target = { host: '127.0.0.1', port, ca, servername: 'localhost', path: '/v1/nodes', agent: false };
        request({ ...target, headers: { host, authorization } }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode));
        })
          .on('error', reject)
          .end();
      });
    expect(await statusOf(`Bearer ${token}`)).toBe(200);
    front.signal('SIGHUP');
    await front.waitFor(({ msg }) => msg === 'certificate and key were read again');
    expect(await statusOf(`Bearer ${token}`)).toBe(200);
    const listed = JSON.parse(
      await network.run('auth-server', ['token', 'list', '--data', network.registry, '--json']),
    ) as object[];
    expect(listed).toMatchObject([{ id, name: 'monitoring', state: 'valid', scopes: ['read'], networks: ['127.0.0.0/8'] }]);
    await network.run('auth-server', ['token', 'revoke', id, '--data', network.registry]);
    expect(await statusOf(`Bearer ${token}`)).toBe(401);
    const audit = await network.run('auth-server', ['audit', 'list', '--data', network.registry]);
    expect(audit).toContain(`token ${id}: read; expires `);
    expect(audit).toMatch(new RegExp(`token revoked .*token ${id}`));
    const secret = token.slice(11, -6);
    for (const text of [audit, JSON.stringify(listed), api.transcript(), front.transcript()]) expect(text).not.toContain(secret);
    expect([await front.stop(), await api.stop()]).toEqual([0, 0]);
  });

  it.each([
    [['token', 'create', '', '--scope', 'read'], 'characters that can be seen'],
    [['token', 'create', 'a\u202Eb', '--scope', 'read'], 'characters that can be seen'],
    [['token', 'create', 'x', '--scope', 'admin'], 'expected one of read, audit'],
    [['token', 'create', 'x'], '--scope'],
    [['token', 'create', 'x', '--scope', 'read', '--expires', '400d'], 'a year at most'],
    [['token', 'create', 'x', '--scope', 'read', '--from', '192.0.2.0/40'], 'expected an address, or a network'],
    [[`lk_${'a'.repeat(66)}`], '[withheld: it looks like a key]'],
    [['token', 'revoke', 'UPPER'], '8 characters of a-z and 2-7'],
    [['user', 'add', 'root', '--role', 'admin', '--config', 'none.yaml'], 'and not root'],
    [['user', 'add', 'Ada', '--role', 'admin', '--config', 'none.yaml'], 'expected 1 to 32 of a-z'],
    [['user', 'add', 'ada', '--role', 'king', '--config', 'none.yaml'], 'viewer, installer, operator, key-officer, admin'],
    [['user', 'add', 'ada', '--role', 'admin'], '--config'],
  ])('%j is refused with words', async (args, problem) => {
    const out = args[1] === 'create' ? ['--out', network.path('none.token')] : [];
    const { code, stderr } = await runCommand('auth-server', [...args, '--data', network.registry, ...out]);
    expect(stderr).toContain(problem);
    expect(code).toBe(2);
  });

  it.each([
    ['{}', 'has no `api:`', 'Say where to serve the API'],
    ['api: {}', 'api.socket: expected an absolute path', 'Correct the file'],
    ['api: {socket: api.sock}', 'api.socket: expected an absolute path', ''],
    ['api: {socket: /nowhere/at/all/api.sock}', 'the folder /nowhere/at/all is not there', 'Make it'],
    ['api: {socket: /tmp/x.sock, local: {"a b": viewer}}', 'api.local', ''],
    ['api: {socket: /tmp/x.sock, local: {ops: king}}', 'expected one of viewer, operator, key-officer, admin', ''],
    [
      'api: {socket: /tmp/x.sock, local: {no-such-user-here: viewer}}',
      'this machine has no user of that name',
      'Write a user name',
    ],
    ['api: {socket: /tmp/x.sock, group: no-such-group-here}', 'this machine has no group no-such-group-here', 'groupadd'],
    ['api: {socket: /tmp/x.sock, port: 80}', 'unknown key api.port', ''],
  ])('refuses the configuration %s with words', async (text, problem, advice) => {
    const config = await network.file('wrong.yaml', `${text}\n`);
    const { code, stderr } = await runCommand('auth-server', ['api', '--data', network.registry, '--config', config]);
    expect(stderr).toContain(problem);
    expect(stderr).toContain(advice);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(code).toBe(2);
  });
});
