// Persons in a browser: links, passwords, sessions and their end, over a real listener.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { OrderLimits } from '@latchkey/operations/contract';
import { Secret } from '@latchkey/protocol';
import { backup, restore } from '@latchkey/registry';
import { MASTER } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Role, ROLES, scopesOf } from '../src/access.js';
import { ROUTES } from '../src/routes.js';
import { BrowserApi, BrowserSession, PASSWORD } from './browser-api.js';
import { type Answer, ask, createToken } from './local-api.js';

const MINUTE = 60_000;
const REFUSED = [401, '{"type":"urn:latchkey:problem:not-authenticated","title":"The caller is not known","status":401}'];

const limitsOf = (role: Role): OrderLimits | undefined => (role === 'installer' ? { installer: 'Kim' } : undefined);
const statusOf = async (answer: Promise<Answer>): Promise<number> => (await answer).status;
const resultOf = async (answer: Promise<Answer>): Promise<unknown[]> => {
  const { status, text } = await answer;
  return [status, text];
};

describe('a sign-in link', () => {
  it('sets the password, begins a session, and is good once, for 15 minutes', async () => {
    const api = await BrowserApi.start();
    const token = await api.addUser('ada', 'key-officer');
    const short = await api.fetch('/v1/login/link', { token, password: 'elevenchars' });
    expect([short.status, short.body.errors]).toEqual([400, [{ at: 'password', is: 'expected 12 octets at least' }]]);
    const first = await api.fetch('/v1/login/link', { token, password: PASSWORD });
    expect([first.status, first.body]).toEqual([
      200,
      {
        user: 'ada',
        role: 'key-officer',
        sign_in: 'password',
        scopes: ['read', 'describe', 'nodes', 'audit', 'orders', 'controllers', 'keys'],
        secret: expect.stringMatching(/^[\w-]{43}$/),
        session: expect.stringMatching(/^[0-9a-f]{10}$/),
        signed_in_at: expect.stringMatching(/^20.*Z$/),
        expires_at: expect.stringMatching(/^20.*Z$/),
      },
    ]);
    expect(first.headers['set-cookie']).toEqual([
      expect.stringMatching(/^__Host-latchkey=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/),
    ]);
    expect(await resultOf(api.fetch('/v1/login/link', { token, password: 'another password' }))).toEqual(REFUSED);
    expect(await statusOf(api.fetch('/v1/login', { user: 'ada', password: PASSWORD }))).toBe(200);
    const late = await api.addUser('bo', 'viewer');
    api.clock.aheadMs = 15 * MINUTE;
    expect(await resultOf(api.fetch('/v1/login/link', { token: late, password: PASSWORD }))).toEqual(REFUSED);
    // A clock that was ahead when the link was made has been set back.
    api.clock.aheadMs = -2 * MINUTE;
    expect(await resultOf(api.fetch('/v1/login/link', { token: late, password: PASSWORD }))).toEqual(REFUSED);
    api.clock.aheadMs = 0;
    expect(await statusOf(api.fetch('/v1/login/link', { token: late, password: PASSWORD }))).toBe(200);
  });

  it('that is used twice at once works once', async () => {
    const api = await BrowserApi.start();
    const token = await api.addUser('ada', 'viewer');
    const answers = await Promise.all(
      ['first password', 'second password'].map((password) => api.fetch('/v1/login/link', { token, password })),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 401]);
  });

  it('of a person who has one already ends the other, and when it is used every session', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'viewer');
    const [lost, found] = [await api.createLink('ada'), await api.createLink('ada')];
    expect(await statusOf(api.fetch('/v1/login/link', { token: lost, password: 'new password' }))).toBe(401);
    expect(await statusOf(session.get('/v1/me'))).toBe(200);
    expect(await statusOf(api.fetch('/v1/login/link', { token: found, password: 'new password' }))).toBe(200);
    expect(await statusOf(session.get('/v1/me'))).toBe(401);
    expect(await statusOf(api.fetch('/v1/login', { user: 'ada', password: PASSWORD }))).toBe(401);
  });
});

describe('a sign-in', () => {
  it('is answered the same, whatever is wrong with it', async () => {
    const api = await BrowserApi.start();
    await api.signedIn('ada', 'admin');
    await api.addUser('new', 'viewer');
    for (const [user, password] of [
      ['ada', 'a wrong one, and long'],
      ['ada', PASSWORD.toUpperCase()],
      ['ada', `${PASSWORD}\0`],
      ['Ada', PASSWORD],
      ['nobody', PASSWORD],
      ['__proto__', PASSWORD],
      ['new', PASSWORD],
    ])
      expect([user, password, await resultOf(api.fetch('/v1/login', { user, password }))]).toEqual([user, password, REFUSED]);
    // The log says what it was. A name that nobody has may be a password in the wrong field.
    const lines = api.log.withMessage('a sign-in was refused').map(({ user, reason }) => [user, reason]);
    expect(lines).toContainEqual(['ada', 'wrong password']);
    expect(lines).toContainEqual(['new', 'wrong password']);
    expect(lines).toContainEqual([undefined, 'no such user']);
    expect(api.log.text).not.toMatch(/nobody|__proto__|a wrong one/);
  });

  it('takes a password in either Unicode form, of 1,024 octets at most', async () => {
    const api = await BrowserApi.start();
    const token = await api.addUser('ada', 'viewer');
    expect(await statusOf(api.fetch('/v1/login/link', { token, password: 'ä'.repeat(513) }))).toBe(400);
    expect(await statusOf(api.fetch('/v1/login/link', { token, password: 'schlüssel für ada' }))).toBe(200);
    expect(await statusOf(api.fetch('/v1/login', { user: 'ada', password: 'schlu\u0308ssel fu\u0308r ada' }))).toBe(200);
    expect(await statusOf(api.fetch('/v1/login', { user: 'ada', password: 'x'.repeat(1_025) }))).toBe(400);
  });

  it('names wrong fields and never their values', async () => {
    const api = await BrowserApi.start();
    for (const body of [
      {},
      { user: 'ada' },
      { user: 7, password: 'secret thing' },
      { user: 'a', password: 'secret thing', more: 1 },
      [],
    ]) {
      const { status, text } = await api.fetch('/v1/login', body);
      expect([status, text.includes('errors'), text.includes('secret thing')]).toEqual([400, true, false]);
    }
  });

  it('gets a session of its own: secrets that somebody planted do not count', async () => {
    const api = await BrowserApi.start();
    await api.signedIn('ada', 'viewer');
    const planted = { cookie: `__Host-latchkey=${'A'.repeat(43)}`, 'x-latchkey-session': 'B'.repeat(43) };
    const answer = await api.fetch('/v1/login', { user: 'ada', password: PASSWORD }, planted);
    const session = new BrowserSession(api, answer);
    expect(session.cookie).not.toBe(planted.cookie);
    expect(await statusOf(session.get('/v1/me'))).toBe(200);
    expect(await statusOf(api.fetch('/v1/me', undefined, planted))).toBe(401);
    expect(await statusOf(api.fetch('/v1/me', undefined, { ...planted, cookie: session.cookie }))).toBe(401);
  });

  it('ends the session that the browser had', async () => {
    const api = await BrowserApi.start();
    const before = await api.signedIn('ada', 'viewer');
    const answer = await api.fetch('/v1/login', { user: 'ada', password: PASSWORD }, before.headers);
    expect(await statusOf(before.get('/v1/me'))).toBe(401);
    expect(await statusOf(new BrowserSession(api, answer).get('/v1/me'))).toBe(200);
  });

  it('is slowed down by address, whatever the name is', async () => {
    const api = await BrowserApi.start();
    await api.addUser('ada', 'viewer');
    const guess = (user: string): Promise<Answer> => api.fetch('/v1/login', { user, password: 'a wrong password' });
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) statuses.push((await guess(i % 2 === 0 ? 'ada' : `user${i}`)).status);
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 401), 429, 429]);
    expect((await guess('ada')).headers['retry-after']).toBe('12');
    api.clock.monotonicMs += 12_000;
    expect([await statusOf(guess('ada')), await statusOf(guess('ada'))]).toEqual([401, 429]);
  });

  it.each(['ada', 'nobody'])('is slowed down by name, from whatever addresses: %s', async (user) => {
    const api = await BrowserApi.start();
    await api.addUser('ada', 'viewer');
    const guess = (name: string, from: number): Promise<Answer> => api.loginFrom(`127.0.0.${from}`, name, 'a wrong password');
    const statuses: number[] = [];
    for (let i = 0; i < 22; i++) statuses.push((await guess(user, 2 + Math.floor(i / 5))).status);
    expect(statuses).toEqual([...Array.from({ length: 20 }, () => 401), 429, 429]);
    expect(await statusOf(guess('bo', 7))).toBe(401);
  });
});

describe('a session', () => {
  it('needs cookie and header together, each of this session', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'viewer');
    const other = await api.signedIn('bo', 'viewer');
    const { cookie, secret } = session;
    expect(await statusOf(session.get('/v1/summary'))).toBe(200);
    for (const headers of [
      {},
      { cookie },
      { 'x-latchkey-session': secret },
      { cookie, 'x-latchkey-session': other.secret },
      { cookie: other.cookie, 'x-latchkey-session': secret },
      { cookie: `${cookie}; ${cookie}`, 'x-latchkey-session': secret },
      { cookie: cookie.replace('__Host-', ''), 'x-latchkey-session': secret },
      { authorization: `Bearer ${secret}` },
    ] as Record<string, string>[])
      expect([Object.keys(headers), await resultOf(api.fetch('/v1/summary', undefined, headers))]).toEqual([
        Object.keys(headers),
        REFUSED,
      ]);
    expect(
      await statusOf(api.fetch('/v1/summary', undefined, { cookie: `a=b; ${cookie}; c=d`, 'x-latchkey-session': secret })),
    ).toBe(200);
  });

  it('ends after 30 minutes without a request, and 12 hours after the sign-in', async () => {
    const api = await BrowserApi.start();
    const [idle, busy] = [await api.signedIn('ada', 'viewer'), await api.signedIn('bo', 'viewer')];
    for (let minutes = 29; minutes < 12 * 60; minutes += 29) {
      api.clock.aheadMs = minutes * MINUTE;
      api.clock.monotonicMs += 29 * MINUTE;
      // The next request sees the use that this one has written.
      await busy.get('/v1/me');
      await expect
        .poll(() => api.users.sessionsOf('bo')[0]?.lastUsedAt, { interval: 1 })
        .toBeGreaterThan(Date.now() + (minutes - 1) * MINUTE);
      if (minutes === 29) continue;
      expect([minutes, await statusOf(idle.get('/v1/me'))]).toEqual([minutes, 401]);
    }
    expect(await statusOf(busy.get('/v1/me'))).toBe(200);
    api.clock.aheadMs = 12 * 60 * MINUTE;
    expect(await statusOf(busy.get('/v1/me'))).toBe(401);
  });

  it('has the rights that the role has now, and ends with its user', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'operator');
    const summary = async (): Promise<unknown> => [
      await statusOf(session.get('/v1/audit')),
      (await session.get('/v1/me')).body.scopes,
    ];
    expect(await summary()).toEqual([200, ['read', 'describe', 'nodes', 'audit']]);
    await api.users.setRole('ada', 'viewer');
    expect(await summary()).toEqual([403, ['read']]);
    await api.users.remove('ada');
    expect(await statusOf(session.get('/v1/me'))).toBe(401);
    await api.addUser('ada', 'admin');
    expect(await statusOf(session.get('/v1/me'))).toBe(401);
  });

  it('has no secret that counts after a restore, nor has a link', async () => {
    const api = await BrowserApi.start();
    const { registry } = api.fixture;
    const copy = join(await tempFolder(), 'backup');
    await backup(registry, copy);
    const session = await api.signedIn('ada', 'viewer');
    const token = await api.createLink('ada');
    expect(await statusOf(session.get('/v1/me'))).toBe(200);
    await restore(copy, { folder: registry.folder, master: Secret.from(MASTER), actor: 'user root', replace: true });
    expect(await statusOf(session.get('/v1/me'))).toBe(401);
    expect(await statusOf(api.fetch('/v1/login/link', { token, password: PASSWORD }))).toBe(401);
    expect(await statusOf((await api.signIn('ada')).get('/v1/me'))).toBe(200);
  });

  it('is listed and ended by its person only', async () => {
    const api = await BrowserApi.start();
    const [first, other] = [await api.signedIn('ada', 'viewer'), await api.signedIn('bo', 'admin')];
    const second = await api.signIn('ada');
    const { items } = (await second.get('/v1/sessions')).body;
    expect(items).toEqual([
      {
        id: second.answer.body.session,
        user: 'ada',
        created_at: expect.any(String),
        last_used_at: expect.any(String),
        address: '127.0.0.1',
        is_current: true,
      },
      expect.objectContaining({ id: first.answer.body.session, is_current: false }),
    ]);
    const path = `/v1/sessions/${items[1].id}`;
    expect(await statusOf(other.send('DELETE', path))).toBe(404);
    expect(await statusOf(first.get('/v1/me'))).toBe(200);
    expect(await statusOf(second.send('DELETE', path))).toBe(204);
    expect(await statusOf(first.get('/v1/me'))).toBe(401);
    const out = await second.post('/v1/logout');
    expect([out.status, out.headers['set-cookie']]).toEqual([
      204,
      ['__Host-latchkey=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict'],
    ]);
    expect(await statusOf(second.get('/v1/me'))).toBe(401);
  });

  it('is one of 16 of a person: the one that was used least recently ends', async () => {
    const api = await BrowserApi.start();
    const first = await api.signedIn('ada', 'viewer');
    for (let i = 0; i < 16; i++) {
      api.clock.monotonicMs += MINUTE;
      api.clock.aheadMs += 1;
      expect(await statusOf(api.fetch('/v1/login', { user: 'ada', password: PASSWORD }))).toBe(200);
    }
    expect(api.users.sessionsOf('ada')).toHaveLength(16);
    expect(await statusOf(first.get('/v1/me'))).toBe(401);
  });
});

describe('a password that is given again', () => {
  it('makes a sign-in fresh, and a wrong one ends nothing', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'admin');
    expect(await statusOf(session.post('/v1/users', { user: 'bo', role: 'viewer' }))).toBe(201);
    const aged = { signedInAt: Date.now() - 5 * MINUTE };
    const hash = createHash('sha256')
      .update(session.cookie.split('=')[1] ?? '')
      .digest();
    expect(await api.users.updateSession(hash, aged)).toBe(true);
    const add = (): Promise<Answer> => session.post('/v1/users', { user: 'cy', role: 'viewer' });
    expect((await add()).body.type).toBe('urn:latchkey:problem:step-up-required');
    const wrong = await session.post('/v1/step-up', { password: 'wrong password' });
    expect([wrong.status, wrong.body.type]).toEqual([401, 'urn:latchkey:problem:step-up-refused']);
    expect((await add()).status).toBe(403);
    expect(await statusOf(session.post('/v1/step-up', { password: PASSWORD }))).toBe(200);
    expect((await add()).status).toBe(201);
  });

  it('may be tried 5 times at once, and then 5 times a minute, whatever others do', async () => {
    const api = await BrowserApi.start();
    const [session, other] = [await api.signedIn('ada', 'viewer'), await api.signedIn('bo', 'viewer')];
    const statuses: number[] = [];
    for (let i = 0; i < 7; i++) statuses.push((await session.post('/v1/step-up', { password: 'wrong password' })).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
    expect(await statusOf(other.post('/v1/step-up', { password: PASSWORD }))).toBe(200);
  });

  it('is changed by who knows it, which ends the other sessions', async () => {
    const api = await BrowserApi.start();
    const [first, second] = [await api.signedIn('ada', 'viewer'), await api.signIn('ada')];
    const next = 'another good password';
    expect(await statusOf(second.post('/v1/password', { password: 'wrong password', new_password: next }))).toBe(401);
    expect(await statusOf(second.post('/v1/password', { password: PASSWORD, new_password: 'short' }))).toBe(400);
    expect(await statusOf(second.post('/v1/password', { password: PASSWORD, new_password: next }))).toBe(204);
    expect([await statusOf(first.get('/v1/me')), await statusOf(second.get('/v1/me'))]).toEqual([401, 200]);
    expect(await statusOf(api.fetch('/v1/login', { user: 'ada', password: PASSWORD }))).toBe(401);
    expect(await statusOf((await api.signIn('ada', next)).get('/v1/me'))).toBe(200);
  });
});

describe('an administrator in the console', () => {
  it('adds, changes and removes users, and the audit log names the person', async () => {
    const api = await BrowserApi.start();
    const admin = await api.signedIn('ada', 'admin');
    const added = await admin.post('/v1/users', { user: 'bo', role: 'viewer' });
    expect([added.status, added.body]).toEqual([
      201,
      {
        user: 'bo',
        role: 'viewer',
        link: expect.stringMatching(/^http:\/\/localhost:8080\/sign-in#link=[\w-]{43}$/),
        link_expires_at: expect.any(String),
      },
    ]);
    expect(await statusOf(admin.post('/v1/users', { user: 'bo', role: 'viewer' }))).toBe(409);
    for (const user of ['root', 'Bo', '', 'a b', 'x'.repeat(33)])
      expect([user, await statusOf(admin.post('/v1/users', { user, role: 'viewer' }))]).toEqual([user, 400]);
    expect(await statusOf(admin.send('PATCH', '/v1/users/bo', { role: 'operator' }))).toBe(200);
    expect(await statusOf(admin.send('PATCH', '/v1/users/cy', { role: 'operator' }))).toBe(404);
    expect(await statusOf(admin.post('/v1/users/bo/link'))).toBe(201);
    const nothing = { installer: null, orders: null, sites: null, provider: null };
    expect((await admin.get('/v1/users')).body.items).toEqual([
      {
        user: 'ada',
        role: 'admin',
        ...nothing,
        has_password: true,
        created_by: 'user root',
        created_at: expect.any(String),
        link_expires_at: null,
      },
      {
        user: 'bo',
        role: 'operator',
        ...nothing,
        has_password: false,
        created_by: 'user ada',
        created_at: expect.any(String),
        link_expires_at: expect.any(String),
      },
    ]);
    expect([await statusOf(admin.send('DELETE', '/v1/users/bo')), await statusOf(admin.send('DELETE', '/v1/users/bo'))]).toEqual([
      204, 404,
    ]);
    const { body } = await admin.get('/v1/audit?limit=20');
    const entries = (body.items as Record<string, string>[]).map(({ actor, what, note }) => `${actor}: ${what}: ${note}`);
    expect(entries.slice(0, 8)).toEqual([
      'user ada: user removed: user bo',
      'user ada: sign-in link made: user bo',
      'user ada: user role changed: user bo: viewer to operator',
      'user ada: sign-in link made: user bo',
      'user ada: user added: user bo: viewer',
      'user ada: password set: by a sign-in link',
      'user root: sign-in link made: user ada',
      'user root: user added: user ada: admin',
    ]);
  });

  it('is the only role that may', async () => {
    const api = await BrowserApi.start();
    for (const role of ROLES.filter((one) => one !== 'admin')) {
      const session = await api.signedIn(`${role}-user`, role, limitsOf(role));
      api.clock.monotonicMs += MINUTE;
      expect(
        await Promise.all([
          statusOf(session.get('/v1/users')),
          statusOf(session.post('/v1/users', { user: 'x', role: 'admin' })),
          statusOf(session.send('PATCH', `/v1/users/${role}-user`, { role: 'admin' })),
          statusOf(session.post(`/v1/users/${role}-user/link`)),
          statusOf(session.send('DELETE', `/v1/users/${role}-user`)),
        ]),
      ).toEqual([403, 403, 403, 403, 403]);
    }
  });
});

describe('a token of a person', () => {
  it('is shown once, does no more than its person now, and ends with the person', async () => {
    const api = await BrowserApi.start();
    const [ada, bo] = [await api.signedIn('ada', 'admin'), await api.signedIn('bo', 'operator')];
    const summaryStatus = (): Promise<number> =>
      statusOf(ask({ socketPath: api.sockets.remote }, '/v1/summary', { headers: { authorization: `Bearer ${text}` } }));
    const terms = { name: ' monitoring ', scopes: ['read', 'nodes'], networks: [], orders: [1] };
    const made = await bo.post('/v1/tokens', terms);
    const { token: text, ...view } = made.body;
    expect([made.status, view]).toEqual([
      201,
      {
        id: expect.stringMatching(/^[a-z2-7]{8}$/),
        name: 'monitoring',
        state: 'valid',
        scopes: ['read', 'nodes'],
        limits: { orders: [1] },
        networks: [],
        recipients: [],
        created_by: 'user bo',
        created_at: expect.any(String),
        expires_at: expect.any(String),
        last_used_at: null,
        last_used_from: null,
        is_own: true,
      },
    ]);
    expect(Date.parse(view.expires_at) - Date.parse(view.created_at)).toBe(90 * 86_400_000);
    expect(await summaryStatus()).toBe(200);

    // It is no secret of a session, and is in no later answer.
    const listed = await bo.get('/v1/tokens');
    expect(listed.body).toMatchObject({ items: [{ id: view.id, state: 'valid', is_own: true }], takes_tokens: true });
    expect(listed.text).not.toContain(text.slice(11));
    expect((await ada.get('/v1/tokens')).body.items).toMatchObject([{ id: view.id, created_by: 'user bo', is_own: false }]);

    const wrong = async (body: object): Promise<unknown[]> => {
      const answer = await bo.post('/v1/tokens', { ...terms, ...body });
      return [answer.status, answer.body.errors?.[0]?.at];
    };
    expect(await wrong({ scopes: ['read', 'orders'] })).toEqual([403, undefined]);
    expect(await wrong({ scopes: ['keys'] })).toEqual([400, 'scopes.0']);
    expect(await wrong({ scopes: ['audit'] })).toEqual([400, 'scopes']);
    expect(await wrong({ networks: ['192.0.2.0/99'] })).toEqual([400, 'networks.0']);
    expect(await wrong({ lifetime_seconds: 367 * 86_400 })).toEqual([400, 'lifetime_seconds']);
    expect(await wrong({ name: '\u200b' })).toEqual([400, 'name']);

    // The role of now counts, in both directions.
    await api.users.setRole('bo', 'viewer');
    expect(await summaryStatus()).toBe(200);
    await api.users.setRole('bo', 'installer', { installer: 'Kim' });
    expect(await summaryStatus()).toBe(401);
    expect((await bo.post('/v1/tokens', { name: 'x', scopes: ['read'] })).status).toBe(403);
    expect((await ada.get('/v1/tokens')).body.items).toMatchObject([{ id: view.id, state: 'void' }]);
    await api.users.setRole('bo', 'operator');
    expect(await summaryStatus()).toBe(200);
    await api.users.remove('bo');
    expect(await summaryStatus()).toBe(401);
    // Another person of the same name.
    const later = await api.signedIn('bo', 'operator');
    expect(await summaryStatus()).toBe(401);
    expect((await later.get('/v1/tokens')).body.items).toEqual([]);
    expect(await statusOf(later.send('DELETE', `/v1/tokens/${view.id}`))).toBe(404);
    expect(await statusOf(ada.send('DELETE', `/v1/tokens/${view.id}`))).toBe(204);
    expect(await statusOf(ada.send('DELETE', `/v1/tokens/${view.id}`))).toBe(404);

    const entries = api.fixture.entriesAfter(0).filter(({ what }) => what.startsWith('token '));
    expect(entries.map(({ actor, what, note }) => `${actor}: ${what}: ${note}`)).toEqual([
      `user bo: token created: token ${view.id}: read, nodes; expires ${view.expires_at}; limited to orders 1`,
      `user ada: token revoked: token ${view.id}`,
    ]);
    expect(api.log.text).not.toContain(text.slice(11));
  });

  it('gets the room of one that has expired', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'viewer');
    const owner = { name: 'ada', createdAt: api.users.find('ada')?.createdAt ?? 0 };
    const { folder } = api.fixture.registry;
    const valid = await createToken(folder, { owner });
    for (let made = 1; made < 32; made++) await createToken(folder, { owner, expiresAt: Date.now() - 1 });
    const { status, body } = await session.post('/v1/tokens', { name: 'x', scopes: ['read'] });
    const { items } = (await session.get('/v1/tokens')).body;
    expect([status, items.map(({ id }: { readonly id: string }) => id)]).toEqual([201, [valid.id, body.id]]);
  });

  it('needs a fresh password, and is one of 32', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'viewer');
    const add = (): Promise<Answer> => session.post('/v1/tokens', { name: 'x', scopes: ['read'] });
    for (let made = 0; made < 32; made++) {
      api.clock.monotonicMs += MINUTE;
      expect(await statusOf(add())).toBe(201);
    }
    const head = api.fixture.headSeq;
    const refused = await add();
    expect([refused.status, refused.body.detail]).toEqual([409, 'the user has 32 tokens already']);
    expect(api.fixture.entriesAfter(head)).toEqual([]);
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 6 * MINUTE);
    onTestFinished(() => void vi.restoreAllMocks());
    expect((await add()).body.type).toBe('urn:latchkey:problem:step-up-required');
    // A right that ends does not wait for a password.
    const [{ id }] = (await session.get('/v1/tokens')).body.items;
    expect(await statusOf(session.send('DELETE', `/v1/tokens/${id}`))).toBe(204);
  });
});

it('every route is answered by the scopes of the role, for each role', async () => {
  const api = await BrowserApi.start();
  for (const role of ROLES) {
    api.clock.monotonicMs += MINUTE;
    const session = await api.signedIn(`${role}-user`, role, limitsOf(role));
    for (const { name, method = 'GET', path, scope, isLimitable, mediaType } of ROUTES) {
      // A stream would not end: its parameter is wrong.
      const query = mediaType === 'text/event-stream' ? '?node=x' : '';
      const { status } = await session.send(method, `${path.replaceAll(/:\w+/g, '00000001')}${query}`);
      const isRefused = scope !== 'own' && (!scopesOf(role).has(scope) || (role === 'installer' && isLimitable !== true));
      expect([role, name, status === 403]).toEqual([role, name, isRefused]);
    }
  }
});
