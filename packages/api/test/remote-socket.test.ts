// Callers with tokens, as a proxy brings them: real sockets and a real store of tokens.

import { connect } from 'node:net';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { backup, restore } from '@latchkey/registry';
import { AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it } from 'vitest';
import { generateToken } from '../src/tokens/token.js';
import { openTokenStore } from '../src/tokens/token-store.js';
import { type Answer, createToken, LocalApi } from './local-api.js';

async function start(): Promise<{ readonly folder: string; readonly fixture: AdminFixture; readonly api: LocalApi }> {
  const fixture = await AdminFixture.open();
  const { folder } = fixture.registry;
  return { folder, fixture, api: await LocalApi.start(folder) };
}

describe('a caller through the proxy', () => {
  it('without a token that counts is answered the same, whatever is wrong with it, and the log says what', async () => {
    const { folder, api } = await start();
    const right = await createToken(folder);
    const expired = await createToken(folder, { expiresAt: Date.now() - 1 });
    const elsewhere = await createToken(folder, { networks: ['198.51.100.0/24'] });
    const old = await createToken(folder, { registryRestoredAt: 1 });
    const year2200 = Date.UTC(2200, 0);
    const ahead = await createToken(folder, { createdAt: year2200, expiresAt: year2200 + 90 * 86_400_000 });
    const unknown = generateToken();
    const wrong: Record<string, Record<string, string>> = {
      'no token': {},
      'no scheme': { authorization: right.text },
      'another scheme': { authorization: `Basic ${right.text}` },
      'two tokens': { authorization: `Bearer ${right.text} ${right.text}` },
      'a mistyped one': { authorization: `Bearer ${right.text.slice(0, -1)}` },
      'one that was never made': { authorization: `Bearer ${unknown.text}` },
      'one that has expired': { authorization: `Bearer ${expired.text}` },
      'one of a clock that was ahead': { authorization: `Bearer ${ahead.text}` },
      'one for another network': { authorization: `Bearer ${elsewhere.text}`, 'x-forwarded-for': '198.51.100.7, 192.0.2.1' },
      'one for a network, without an address': { authorization: `Bearer ${elsewhere.text}` },
      'one of a registry that was restored': { authorization: `Bearer ${old.text}` },
    };
    for (const [what, headers] of Object.entries(wrong)) {
      const { status, headers: answered, text } = await api.remote('/v1/summary', undefined, headers);
      expect([what, status, answered['www-authenticate'], text]).toEqual([
        what,
        401,
        'Bearer',
        '{"type":"urn:latchkey:problem:not-authenticated","title":"The caller is not known","status":401}',
      ]);
    }
    expect((await api.remote('/v1/summary', right.text)).status).toBe(200);
    expect((await api.remote('/v1/summary', elsewhere.text, { 'x-forwarded-for': '198.51.100.7' })).status).toBe(200);
    const reasons = api.log.withMessage('a token was refused').map(({ reason }) => reason);
    expect(new Set(reasons)).toEqual(
      new Set([
        'the token is mistyped',
        'no such token',
        'the token has expired',
        'the clock was set back by a day and more since the token was made',
        'the token may not be used from this address',
        'the registry was restored since',
      ]),
    );
    for (const { text } of [right, expired, ahead, elsewhere, old, unknown]) expect(api.log.text).not.toContain(text.slice(11));
  });

  it('is refused from the next request on once its token is revoked', async () => {
    const { folder, api } = await start();
    const { id, text } = await createToken(folder);
    expect((await api.remote('/v1/summary', text)).status).toBe(200);
    const tokens = await openTokenStore(folder);
    expect([await tokens.remove(id), await tokens.remove(id)]).toEqual([true, false]);
    await tokens.close();
    expect((await api.remote('/v1/summary', text)).status).toBe(401);
  });

  it('has no token that counts after a restore', async () => {
    const { folder, fixture, api } = await start();
    const copy = join(await tempFolder(), 'backup');
    await backup(fixture.registry, copy);
    const { text } = await createToken(folder);
    expect((await api.remote('/v1/summary', text)).status).toBe(200);
    await restore(copy, { folder, master: Secret.from(MASTER), actor: 'user ada', replace: true });
    expect((await api.remote('/v1/summary', text)).status).toBe(401);
  });

  it('is refused with what a browser sends, and with two Authorization headers', async () => {
    const { folder, api } = await start();
    const { text } = await createToken(folder);
    for (const name of ['Cookie', 'Origin', 'Sec-Fetch-Site'])
      expect([name, (await api.remote('/v1/summary', text, { [name]: 'x' })).status]).toEqual([name, 403]);
    const socket = connect(api.remoteSocket);
    socket.end(
      `GET /v1/summary HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${text}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n`,
    );
    const answer = (await socket.setEncoding('utf8').toArray()) as string[];
    expect(answer.join('')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('that tries tokens is slowed down by its address, and others are not', async () => {
    const fixture = await AdminFixture.open();
    const { folder } = fixture.registry;
    let now = 0;
    const api = await LocalApi.start(folder, {}, undefined, () => now);
    const { text } = await createToken(folder);
    const guess = (): Promise<Answer> => api.remote('/v1/summary', generateToken().text, { 'x-forwarded-for': '192.0.2.66' });
    const statuses = (await Promise.all(Array.from({ length: 150 }, guess))).map(({ status }) => status);
    expect([401, 429].map((wanted) => statuses.filter((status) => status === wanted).length)).toEqual([100, 50]);
    expect((await api.remote('/v1/summary', text, { 'x-forwarded-for': '192.0.2.7' })).status).toBe(200);
    now += 50;
    expect([(await guess()).status, (await guess()).status]).toEqual([401, 429]);
  });

  it('goes on with no list of another token', async () => {
    const { folder, api } = await start();
    const [one, other] = [await createToken(folder, { scopes: ['audit'] }), await createToken(folder, { scopes: ['audit'] })];
    const { next } = (await api.remote('/v1/audit?limit=1', one.text)).body;
    const path = `/v1/audit?limit=1&after=${next}`;
    expect([(await api.remote(path, one.text)).status, (await api.remote(path, other.text)).status]).toEqual([200, 400]);
  });
});

describe('the store of tokens', () => {
  it('notes when and from where a token was used last, and keeps no token', async () => {
    const { folder, api } = await start();
    const { id, text } = await createToken(folder, { name: 'monitoring' });
    expect((await api.remote('/v1/summary', text, { 'x-forwarded-for': '192.0.2.7' })).status).toBe(200);
    const tokens = await openTokenStore(folder);
    const lastUse = async (): Promise<unknown> => (await tokens.list())[0]?.lastUse;
    const end = performance.now() + 60_000;
    while ((await lastUse()) === undefined && performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
    expect(await lastUse()).toMatchObject({ address: '192.0.2.7' });
    expect(await tokens.list()).toMatchObject([{ id, name: 'monitoring' }]);
    expect(JSON.stringify(await tokens.list())).not.toContain(text.slice(11, 63));
    await tokens.close();
  });

  it('takes 1,024 tokens, and one more only once another is removed', async () => {
    const folder = await tempFolder();
    const tokens = await openTokenStore(folder);
    const add = (id: string): Promise<void> =>
      tokens.add({
        id,
        name: 'test',
        hash: new Uint8Array(32),
        scopes: ['read'],
        networks: [],
        createdBy: 'user ada',
        createdAt: 0,
        expiresAt: 1,
        registryRestoredAt: null,
      });
    await Promise.all(Array.from({ length: 1_024 }, (_, i) => add(`token ${i}`)));
    await expect(add('one more')).rejects.toMatchObject({ name: 'UsageFailure' });
    await tokens.remove('token 7');
    await add('one more');
    expect(await tokens.list()).toHaveLength(1_024);
    await tokens.close();
  });
});
