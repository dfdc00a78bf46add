// What the listener for browsers refuses: pages of other origins, rebound names, thieves of
// cookies.

import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { BrowserApi, FROM_PAGE, PASSWORD } from './browser-api.js';

const problemOf = ({ status, body }: { readonly status: number; readonly body: { readonly type?: string } }): string =>
  `${status} ${body.type?.split(':').at(-1) ?? ''}`;

async function exchange(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(text);
  return ((await socket.setEncoding('utf8').toArray()) as string[]).join('');
}

describe('the listener for browsers', () => {
  it('serves its own host and origin only: a name that was rebound to it gets nothing', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'admin');
    const hosts = [
      'evil.example',
      'evil.example:8080',
      'localhost',
      'localhost:8081',
      '127.0.0.1:8080',
      '[::1]:8080',
      'localhost.:8080',
    ];
    for (const host of hosts)
      for (const path of ['/v1/summary', '/v1/nowhere', '/', '/assets/a.js'])
        expect([host, path, problemOf(await api.send(path, { headers: { ...session.headers, host } }))]).toEqual([
          host,
          path,
          '421 misdirected-request',
        ]);
    for (const origin of [
      'http://evil.example',
      'https://localhost:8080',
      'http://localhost',
      'http://localhost:8080.evil.example',
      'null',
    ])
      expect([origin, problemOf(await api.fetch('/v1/summary', undefined, { ...session.headers, origin }))]).toEqual([
        origin,
        '421 misdirected-request',
      ]);
    expect((await api.send('/v1/me', { headers: { ...session.headers, host: 'LOCALHOST:8080' } })).status).toBe(200);
  });

  it('takes no change that a page of another origin sends with the cookie of a person', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'admin');
    const json = { 'content-type': 'application/json' };
    const body = '{"user":"eve","role":"admin"}';
    const change = async (headers: Record<string, string>, method = 'POST'): Promise<string> =>
      problemOf(
        await api.send('/v1/users', {
          method,
          headers: { host: 'localhost:8080', ...session.headers, ...headers },
          ...(method === 'POST' ? { body } : {}),
        }),
      );
    expect(await change(json)).toBe('403 cross-site-request');
    for (const site of ['cross-site', 'same-site', 'none', ''])
      expect([site, await change({ ...json, 'sec-fetch-site': site })]).toEqual([site, '403 cross-site-request']);
    expect(await change({ ...json, origin: 'http://localhost:8080', 'sec-fetch-site': 'same-site' })).toBe(
      '403 cross-site-request',
    );
    expect(await change({ ...json, origin: 'http://localhost:9090', 'sec-fetch-site': 'same-origin' })).toBe(
      '421 misdirected-request',
    );
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonp',
    ])
      expect([type, await change({ ...FROM_PAGE, 'content-type': type })]).toEqual([type, '415 unsupported-media-type']);
    expect(await change({ ...FROM_PAGE })).toBe('415 unsupported-media-type');
    for (const method of ['PUT', 'OPTIONS', 'DELETE'])
      expect([method, await change({ ...json, 'sec-fetch-site': 'cross-site' }, method)]).toEqual([
        method,
        '403 cross-site-request',
      ]);
    expect(api.users.find('eve')).toBe(undefined);
    // What a page of the console sends, and browsers that send one of the two headers.
    expect(await change({ ...json, 'sec-fetch-site': 'same-origin' })).toBe('201 ');
    expect(await change({ ...json, origin: 'http://localhost:8080' })).toBe('409 already-exists');
  });

  it('shows no answer to a page of another origin, and lets a link elsewhere lead to a page', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'admin');
    const get = async (path: string, headers: Record<string, string>): Promise<number> =>
      (await api.send(path, { headers: { host: 'localhost:8080', ...session.headers, ...headers } })).status;
    for (const site of ['cross-site', 'same-site', 'none']) {
      const visit = { 'sec-fetch-site': site, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
      expect([site, await get('/v1/summary', visit)]).toEqual([site, 403]);
    }
    const { headers } = await session.get('/v1/summary');
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(headers).toMatchObject({ 'cache-control': 'no-store', 'cross-origin-resource-policy': 'same-origin' });
  });

  it('has nothing for a thief of the cookie: another service on the same host gets it from the browser', async () => {
    const api = await BrowserApi.start();
    const { cookie } = await api.signedIn('ada', 'admin');
    expect((await api.fetch('/v1/me', undefined, { cookie })).status).toBe(401);
    expect((await api.fetch('/v1/step-up', { password: PASSWORD }, { cookie })).status).toBe(401);
  });

  it('refuses what could be read in two ways, and a token', async () => {
    const api = await BrowserApi.start();
    const request = (lines: string): Promise<string> => exchange(api.port, `${lines}Connection: close\r\n\r\n`);
    const host = 'Host: localhost:8080\r\n';
    for (const [status, text] of [
      [400, `GET /v1/me HTTP/1.1\r\n${host}Host: evil.example\r\n`],
      [400, `GET http://localhost:8080/v1/me HTTP/1.1\r\n${host}`],
      [400, `GET /v1/me HTTP/1.1\r\n${host}Origin: http://localhost:8080\r\nOrigin: http://evil.example\r\n`],
      [400, `GET /v1/me HTTP/1.1\r\n${host}Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n`],
      [
        400,
        `POST /v1/login HTTP/1.1\r\n${host}Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\nContent-Type: text/plain\r\n`,
      ],
      [421, `GET /v1/me HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost:8080\r\n`],
      [401, `GET /v1/me HTTP/1.1\r\n${host}Authorization: Bearer lk_aaaaaaaa\r\n`],
    ] as const)
      expect([text, await request(text)]).toEqual([text, expect.stringMatching(new RegExp(`^HTTP/1\\.1 ${status} `))]);
  });

  it.each([
    ['a body that does not come in full', 'POST', 'Content-Length: 1000\r\n\r\n{"user":', /^HTTP\/1\.1 408 /],
    ['a body of more than 64 KiB', 'POST', `Content-Length: 70000\r\n\r\n${'x'.repeat(70_000)}`, /^HTTP\/1\.1 413 /],
    ['a header of more than 16 KiB', 'POST', `X: ${'x'.repeat(20_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    ['JSON with __proto__', 'POST', 'Content-Length: 17\r\n\r\n{"__proto__":{} }', /^HTTP\/1\.1 400 /],
  ])('answers and closes a sign-in with %s', async (_, method, rest, answer) => {
    const api = await BrowserApi.start();
    const head = `${method} /v1/login HTTP/1.1\r\nHost: localhost:8080\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n`;
    expect(await exchange(api.port, `${head}Content-Type: application/json\r\n${rest}`)).toMatch(answer);
  });
});
