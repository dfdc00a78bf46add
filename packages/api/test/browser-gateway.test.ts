// A person in a browser, over TLS through the gateway.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startGateway } from '../src/gateway.js';
import { BrowserApi, PASSWORD } from './browser-api.js';
import { certify, HAS_OPENSSL } from '@latchkey/test-support/certificate';
import { type Answer, ask, createToken, type RequestOptions } from './local-api.js';

const HOST = 'plant.example:8443';
const ORIGIN = `https://${HOST}`;
const FROM_PAGE = { host: HOST, origin: ORIGIN, 'sec-fetch-site': 'same-origin' };

interface Setup {
  readonly api: BrowserApi;
  readonly send: (path: string, options: RequestOptions) => Promise<Answer>;
}

async function start(): Promise<Setup> {
  const folder = await tempFolder();
  await mkdir(join(folder, 'console'));
  await writeFile(join(folder, 'console', 'index.html'), '<!doctype html><title>Latchkey</title>');
  const api = await BrowserApi.start(join(folder, 'console'), ORIGIN);
  const { cert, key, pem } = await certify(folder, 'first');
  const log = new CapturedLog();
  const daemon = await startGateway({
    config: { listen: [{ host: '127.0.0.1', port: 0 }], cert, key, hosts: [HOST] },
    apiSocket: api.sockets.remote,
    browser: { socket: api.sockets.browser, origin: ORIGIN },
    log: log.log,
  });
  onTestFinished(() => daemon.stop());
  const { address } = await log.until(({ msg }) => msg === 'serving the API over TLS');
  const tls = { host: '127.0.0.1', port: Number(String(address).split(':').at(-1)), ca: pem, servername: 'plant.example' };
  return { api, send: (path, options) => ask(tls, path, options) };
}

const json = { 'content-type': 'application/json' };

describe.skipIf(!HAS_OPENSSL)('the gateway with a browser (needs openssl)', () => {
  it('brings a person from the page to a session, from the address where the person is', async () => {
    const { api, send } = await start();
    const page = await send('/', { headers: { host: HOST, 'sec-fetch-site': 'none', 'accept-encoding': 'gzip' } });
    expect([page.status, page.headers['strict-transport-security'], page.headers['cache-control']]).toEqual([
      200,
      'max-age=31536000',
      'no-cache',
    ]);
    expect(page.headers['content-security-policy']).toContain("require-trusted-types-for 'script'");
    const token = await api.addUser('ada', 'operator');
    const answer = await send('/v1/login/link', {
      method: 'POST',
      headers: { ...FROM_PAGE, ...json, 'x-forwarded-for': '198.51.100.7' },
      body: JSON.stringify({ token, password: PASSWORD }),
    });
    const [cookie = ''] = answer.headers['set-cookie']?.[0]?.split(';') ?? [];
    const session = { ...FROM_PAGE, cookie, 'x-latchkey-session': String(answer.body.secret) };
    const { body } = await send('/v1/sessions', { headers: session });
    expect(body.items).toMatchObject([{ user: 'ada', address: '127.0.0.1', is_current: true }]);
    expect((await send('/v1/summary', { headers: session })).status).toBe(200);
    expect((await send('/v1/summary', { headers: FROM_PAGE })).status).toBe(401);
    expect((await send('/v1/logout', { method: 'POST', headers: { ...session, ...json }, body: '{}' })).status).toBe(204);
    expect((await send('/v1/me', { headers: session })).status).toBe(401);
  });

  it('passes on a large body where files are sent', async () => {
    const { api, send } = await start();
    const token = await api.addUser('kay', 'key-officer');
    const login = { method: 'POST', headers: { ...FROM_PAGE, ...json }, body: JSON.stringify({ token, password: PASSWORD }) };
    const answer = await send('/v1/login/link', login);
    const [cookie = ''] = answer.headers['set-cookie']?.[0]?.split(';') ?? [];
    const session = { ...FROM_PAGE, ...json, cookie, 'x-latchkey-session': String(answer.body.secret) };
    const terms = { installer: 'x', lifetime_seconds: 1, dry_run: true };
    const body = JSON.stringify({ ...terms, file: 'x'.repeat(300_000) });
    const { status, body: problem } = await send('/v1/imports', { method: 'POST', headers: session, body });
    expect([status, problem.errors]).toMatchObject([400, [{ at: 'file' }]]);
  });

  it('keeps the rules of each: no session with a token, no token in a browser, no other host', async () => {
    const { api, send } = await start();
    const { text } = await createToken(api.fixture.registry.folder);
    const authorization = `Bearer ${text}`;
    const statusOf = async (headers: Record<string, string>, method = 'GET'): Promise<number> =>
      (await send('/v1/summary', { method, headers })).status;
    expect(await statusOf({ host: HOST, authorization })).toBe(200);
    expect(await statusOf({ ...FROM_PAGE, authorization })).toBe(403);
    expect(await statusOf({ ...FROM_PAGE, host: 'evil.example' })).toBe(421);
    expect(await statusOf({ ...FROM_PAGE, origin: 'https://evil.example' })).toBe(421);
    expect(await statusOf({ ...FROM_PAGE, 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await statusOf({ ...FROM_PAGE, authorization: '' })).toBe(403);
    // The socket for browsers takes no token, whoever brings it.
    expect(
      (await ask({ socketPath: api.sockets.browser }, '/v1/summary', { headers: { host: HOST, authorization } })).status,
    ).toBe(401);
  });

  it('slows a guesser down by the address that the gateway saw', async () => {
    const { send } = await start();
    const guess = async (forwarded: string): Promise<number> =>
      (
        await send('/v1/login', {
          method: 'POST',
          headers: { ...FROM_PAGE, ...json, 'x-forwarded-for': forwarded },
          body: JSON.stringify({ user: `user of ${forwarded}`, password: 'a wrong password' }),
        })
      ).status;
    const statuses: number[] = [];
    for (let i = 1; i <= 11; i++) statuses.push(await guess(`198.51.100.${i}`));
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
  });
});

it('the gateway does not start if it would not serve the origin of the console', async () => {
  const config = { listen: [{ host: '127.0.0.1', port: 0 }], cert: '/none', key: '/none', hosts: [HOST] };
  const browser = { socket: '/none', origin: 'https://plant.example' };
  await expect(startGateway({ config, apiSocket: '/none', browser, log: new CapturedLog().log })).rejects.toThrow(
    'the origin https://plant.example of `browser:` is not among the hosts',
  );
});
