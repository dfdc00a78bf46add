// Signing in with an OpenID provider.

import { once } from 'node:events';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import type { FastifyRequest } from 'fastify';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { Role } from '../src/access.js';
import { type OidcPerson, OidcSignIn } from '../src/oidc/oidc-sign-in.js';
import { Problem } from '../src/problem.js';
import { Passwords } from '../src/users/password.js';
import { hashOfSecret } from '../src/users/random-secret.js';
import { SESSION_COOKIE, Sessions } from '../src/users/sessions.js';
import { openUserStore, type UserStore } from '../src/users/user-store.js';
import { type Answer } from './local-api.js';
import { CLIENT_SECRET, startProvider } from '@latchkey/test-support/oidc-provider';
import { BrowserApi, BrowserSession, FROM_PAGE, ORIGIN, PASSWORD } from './browser-api.js';

/** A browser at the provider: follows redirects, keeps cookies, and fills in the two forms. */
class ProviderVisit {
  readonly #cookies = new Map<string, string>();
  /** How often the provider wanted the password. */
  passwords = 0;

  /** Returns the query that the provider sends the browser back with. */
  async signIn(url: string, name: string): Promise<string> {
    let next = new URL(url);
    let form: URLSearchParams | undefined;
    for (let step = 0; step < 20; step++) {
      const response = await fetch(next, {
        redirect: 'manual',
        headers: { cookie: [...this.#cookies].map((pair) => pair.join('=')).join('; ') },
        ...(form === undefined ? {} : { method: 'POST', body: form }),
      });
      for (const line of response.headers.getSetCookie()) {
        const [, key = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        this.#cookies.set(key, value);
      }
      const location = response.headers.get('location');
      const text = await response.text();
      if (location !== null) {
        next = new URL(location, next);
        form = undefined;
        if (next.origin === ORIGIN) return next.search.slice(1);
        continue;
      }
      const [, action = ''] = /action="([^"]+)"/.exec(text) ?? [];
      const [, prompt = ''] = /name="prompt" value="([^"]+)"/.exec(text) ?? [];
      if (action === '') throw new Error(`the provider answered ${response.status}: ${text.slice(0, 500)}`);
      if (prompt === 'login') this.passwords += 1;
      next = new URL(action, next);
      form = new URLSearchParams({ prompt, login: name, password: 'any' });
    }
    throw new Error('the provider goes on and on');
  }
}

interface Begun {
  readonly location: string;
  readonly cookie: string;
  readonly secret: string;
}

async function begin(api: BrowserApi, body: object = {}): Promise<Begun> {
  // Sign-ins of one address are limited by the minute.
  api.clock.monotonicMs += 60_000;
  const { status, headers, body: answer } = await api.fetch('/v1/login/oidc', body);
  expect([status, headers['set-cookie']]).toEqual([
    200,
    [expect.stringMatching(/^__Host-latchkey-oidc=[\w-]{43}; Max-Age=600; Path=\/; Secure; HttpOnly; SameSite=Strict$/)],
  ]);
  const { location, secret } = answer;
  return { location, secret, cookie: String(headers['set-cookie']?.[0]?.split(';')[0]) };
}

function finish(api: BrowserApi, query: string, { cookie, secret }: Omit<Begun, 'location'>): Promise<Answer> {
  return api.fetch('/v1/login/oidc/callback', { secret, query }, { cookie });
}

async function signIn(api: BrowserApi, name: string, body: object = {}): Promise<Answer> {
  const begun = await begin(api, body);
  return finish(api, await new ProviderVisit().signIn(begun.location, name), begun);
}

const NO_SESSION = { headers: {} } as FastifyRequest;

/** Sessions over a store of their own, with the notes that the audit log took. */
async function openSessions(): Promise<{
  readonly users: UserStore;
  readonly sessions: Sessions;
  readonly recorded: string[];
  readonly log: { isFull: boolean };
}> {
  const users = await openUserStore(await tempFolder());
  onTestFinished(() => users.close());
  const recorded: string[] = [];
  const log = { isFull: false };
  const sessions = new Sessions({
    users,
    passwords: new Passwords(),
    registryRestoredAt: () => Promise.resolve(null),
    record: ({ note }) => {
      if (log.isFull) return Promise.reject(new Error('the audit log is full'));
      recorded.push(note ?? '');
      return Promise.resolve();
    },
    addressOf: () => undefined,
    log: new CapturedLog().log,
  });
  return { users, sessions, recorded, log };
}

function person(name: string, role: Role | undefined, subject: string): OidcPerson {
  return { name, role, identity: { issuer: 'https://id.example', subject }, authenticatedAt: Date.now() };
}

it('persons sign in with an OpenID provider, with the role of their groups; passwords do not need it', async () => {
  const { issuer, child, config } = await startProvider(ORIGIN);
  const api = await BrowserApi.start(undefined, ORIGIN, config);
  expect((await api.fetch('/v1/login')).body).toEqual({ oidc: true });

  const ada = await signIn(api, 'ada');
  expect([ada.status, ada.body]).toMatchObject([200, { user: 'oidc:ada', role: 'admin', sign_in: 'oidc' }]);
  const session = new BrowserSession(api, ada, 1);
  expect((await session.get('/v1/me')).body).toMatchObject({ user: 'oidc:ada', role: 'admin' });
  expect((await session.get('/v1/users')).body.items).toMatchObject([
    { user: 'oidc:ada', provider: issuer, has_password: false },
  ]);
  // The provider has just asked for the password.
  expect((await session.post('/v1/users', { user: 'kim', role: 'viewer' })).status).toBe(201);
  expect((await session.post('/v1/step-up', { password: PASSWORD })).body.type).toBe('urn:latchkey:problem:step-up-refused');
  // A token ends as soon as a session does after the provider last said what the person may do.
  const terms = { name: 'x', scopes: ['read'] };
  const { created_at: madeAt, expires_at: endsAt } = (await session.post('/v1/tokens', terms)).body;
  expect(Date.parse(endsAt) - Date.parse(madeAt)).toBe(12 * 3_600_000);
  expect((await session.post('/v1/tokens', { ...terms, lifetime_seconds: 12 * 3_600 + 1 })).status).toBe(400);
  // Nobody makes a password of it, nor another role.
  expect((await session.post('/v1/users/oidc:ada/link')).status).toBe(404);
  expect((await session.send('PATCH', '/v1/users/oidc:ada', { role: 'viewer' })).status).toBe(404);

  expect(await signIn(api, 'eve')).toMatchObject({ status: 401 });
  expect(await signIn(api, 'bo', { fresh: true })).toMatchObject({ status: 200, body: { role: 'operator' } });
  // Another person who is called the same there now.
  expect(await signIn(api, 'bo2')).toMatchObject({ status: 401 });

  // Who may nothing any more has no session either.
  const cy = new BrowserSession(api, await signIn(api, 'cy'), 1);
  expect((await cy.get('/v1/summary')).status).toBe(200);
  await fetch(`${issuer}/cy-leaves`);
  expect([(await signIn(api, 'cy')).status, (await cy.get('/v1/me')).status]).toEqual([401, 401]);

  // An answer counts once, for the browser that began, with its own state.
  const begun = await begin(api);
  const other = await begin(api);
  const query = await new ProviderVisit().signIn(begun.location, 'bo');
  expect((await finish(api, query, other)).status).toBe(401);
  const forged = new URLSearchParams(query);
  forged.set('state', 'x'.repeat(43));
  const third = await begin(api);
  expect((await finish(api, forged.toString(), third)).status).toBe(401);
  expect((await finish(api, query, begun)).status).toBe(200);
  expect((await finish(api, query, begun)).status).toBe(401);
  expect((await api.fetch('/v1/login/oidc/callback', { query, secret: begun.secret }, {})).status).toBe(401);
  // A cookie that another service of the host has planted is not of the page that ends the sign-in.
  for (const secret of ['', other.secret]) {
    const planted = await begin(api);
    const answer = await new ProviderVisit().signIn(planted.location, 'bo');
    expect((await finish(api, answer, { ...planted, secret })).status).toBe(401);
  }

  const left = await session.post('/v1/logout');
  expect([left.status, left.body.location]).toEqual([200, expect.stringContaining(`${issuer}/session/end?`)]);
  expect((await session.get('/v1/me')).status).toBe(401);

  const notes = api.fixture.entriesAfter(0).map(({ actor, what, note }) => [actor, what, note]);
  expect(notes).toContainEqual(['user oidc:ada', 'user added', 'user oidc:ada: admin; by the sign-in provider']);
  // What the other person was refused is not said of bo.
  expect(notes.filter(([actor]) => actor === 'user oidc:bo')).toEqual([
    ['user oidc:bo', 'user added', 'user oidc:bo: operator; by the sign-in provider'],
  ]);
  const reasons = api.log.withMessage('a sign-in with the provider was refused').map(({ reason }) => reason);
  expect(reasons).toContain('the claim groups has no value that stands for a role');
  for (const secret of [CLIENT_SECRET, String(new URLSearchParams(query).get('code'))])
    expect(api.log.text).not.toContain(secret);

  // Without its provider nobody signs in with it, and everybody with a password.
  const started = await begin(api);
  child.kill();
  await once(child, 'exit');
  expect(
    (
      await finish(
        api,
        new URLSearchParams({
          code: 'x',
          state: new URL(started.location).searchParams.get('state') ?? '',
          iss: issuer,
        }).toString(),
        started,
      )
    ).body.type,
  ).toBe('urn:latchkey:problem:provider-failed');
  const local = await api.signedIn('dora', 'viewer');
  expect((await local.get('/v1/summary')).status).toBe(200);
});

/** A provider that answers what a test wants. Its ID tokens are believed as TLS is. */
function forgedProvider(issuer: string, ownIssuer: string = issuer): ForgedProvider {
  const { origin } = new URL(issuer);
  const metadata = { issuer: ownIssuer, authorization_endpoint: `${origin}/authorize`, token_endpoint: `${origin}/token` };
  let idToken = '';
  vi.stubGlobal('fetch', (url: string) =>
    Promise.resolve(
      Response.json(url.includes('/.well-known/') ? metadata : { access_token: 'x', token_type: 'Bearer', id_token: idToken }),
    ),
  );
  onTestFinished(() => void vi.unstubAllGlobals());
  const oidc = new OidcSignIn({
    config: {
      issuer,
      client_id: 'latchkey',
      client_secret_file: '/none',
      role_claim: 'roles',
      name_claim: 'preferred_username',
      roles: { admins: 'admin' },
      scopes: [],
    },
    clientSecret: CLIENT_SECRET,
    origin: ORIGIN,
    log: new CapturedLog().log,
  });
  return {
    oidc,
    answer(url, given) {
      const asked = new URL(url).searchParams;
      const now = Math.floor(Date.now() / 1_000);
      const claims = {
        iss: ownIssuer,
        aud: 'latchkey',
        sub: '1',
        nonce: asked.get('nonce'),
        iat: now,
        exp: now + 600,
        auth_time: now,
        preferred_username: 'ada@f1a2.example',
        roles: ['admins'],
        ...given,
      };
      const parts = [{ alg: 'RS256' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
      idToken = [...parts, 'AAAA'].join('.');
      return new URLSearchParams({ code: 'x', state: asked.get('state') ?? '' }).toString();
    },
  };
}

interface ForgedProvider {
  readonly oidc: OidcSignIn;
  /** Returns the query that a browser comes back with. */
  readonly answer: (url: string, claims: object) => string;
}

it.each([
  ['common', 'that of any tenant', '{tenantid}', 'not-authenticated'],
  ['f1a2', 'its own tenant', 'f1a2', 'oidc:ada@f1a2.example'],
])('at Microsoft, with the issuer %s, %s, a token counts if the configuration names its tenant', async (...given) => {
  const [path, , inMetadata, expected] = given;
  const host = 'https://login.microsoftonline.com';
  const { oidc, answer } = forgedProvider(`${host}/${path}/v2.0`, `${host}/${inMetadata}/v2.0`);
  const { url, handle, secret } = await oidc.begin(false);
  const query = answer(url, { iss: `${host}/f1a2/v2.0`, tid: 'f1a2' });
  const outcome = await oidc.finish(handle, secret, query).then(
    ({ name }) => name,
    (error: unknown) => (error instanceof Problem ? error.kind : error),
  );
  expect(outcome).toBe(expected);
});

const AGO_S = Math.floor(Date.now() / 1_000) - 300;

it.each([
  ['of now', {}, 'oidc:ada@f1a2.example'],
  ['absent', { auth_time: undefined }, 'its ID token has no auth_time'],
  ['a text', { auth_time: 'now' }, 'The answer of the provider does not count'],
  ['of five minutes ago', { auth_time: AGO_S }, 'auth_time of its ID token is of before'],
  ['of now, for another nonce', { nonce: 'other' }, 'The answer of the provider does not count'],
])('a step-up whose auth_time is %s ends in words', async (_, claims, expected) => {
  const { oidc, answer } = forgedProvider('https://id.example');
  const { url, secret } = await oidc.beginStepUp('s1');
  const asked = new URL(url).searchParams;
  expect([asked.get('max_age'), asked.get('prompt'), asked.get('code_challenge_method')]).toEqual(['0', 'login', 'S256']);
  const outcome = await oidc.finishStepUp('s1', secret, answer(url, claims)).then(
    ({ name }) => name,
    (error: unknown) => (error instanceof Problem ? `${error.kind}: ${error.details.detail}` : error),
  );
  expect(outcome).toContain(expected);
  expect(String(outcome).startsWith('provider-refused: ')).toBe(expected !== 'oidc:ada@f1a2.example');
});

it('an operation that needs the password again gets it from the provider, in the same session', async () => {
  const { issuer, config } = await startProvider(ORIGIN);
  const api = await BrowserApi.start(undefined, ORIGIN, config);
  const visit = new ProviderVisit();
  const enter = async (name: string, at: ProviderVisit): Promise<BrowserSession> => {
    const begun = await begin(api);
    return new BrowserSession(api, await finish(api, await at.signIn(begun.location, name), begun), 1);
  };
  const ada = await enter('ada', visit);
  expect(visit.passwords).toBe(1);
  const isStale = async (session: BrowserSession): Promise<void> => {
    const hash = hashOfSecret(session.cookie.split('=')[1]);
    if (hash === undefined) throw new Error('the session has no cookie');
    await api.users.updateSession(hash, { signedInAt: Date.now() - 6 * 60_000 });
  };
  await isStale(ada);
  const addUser = async (): Promise<unknown> =>
    (await ada.post('/v1/users', { user: `u${Date.now()}`, role: 'viewer' })).body.type ?? 'added';
  const beginStepUp = async (session: BrowserSession): Promise<Omit<Begun, 'cookie'>> => {
    api.clock.monotonicMs += 60_000;
    const { status, body } = await session.post('/v1/step-up/oidc');
    expect(status).toBe(200);
    return body;
  };
  const stepUp = (session: BrowserSession, { secret }: Omit<Begun, 'cookie'>, query: string): Promise<Answer> =>
    session.post('/v1/step-up/oidc/callback', { secret, query });
  const refused = async (answer: Promise<Answer>): Promise<unknown> => {
    const { status, body } = await answer;
    expect([status, body.type]).toEqual([403, 'urn:latchkey:problem:provider-refused']);
    return body.detail;
  };
  expect(await addUser()).toBe('urn:latchkey:problem:step-up-required');

  // Of somebody else, of another session, without its state, and a second time.
  let begun = await beginStepUp(ada);
  expect(await refused(stepUp(ada, begun, await new ProviderVisit().signIn(begun.location, 'bo')))).toContain('another person');
  begun = await beginStepUp(ada);
  const other = await enter('ada', new ProviderVisit());
  const query = await visit.signIn(begun.location, 'ada');
  // The provider knows her, and has asked again.
  expect(visit.passwords).toBe(2);
  const notBegunHere = 'This session did not begin the sign-in, or did so more than 10 minutes ago.';
  expect(await refused(stepUp(other, begun, query))).toBe(notBegunHere);
  expect(await refused(stepUp(ada, begun, query))).toBe(notBegunHere);
  begun = await beginStepUp(ada);
  const forged = new URLSearchParams(await visit.signIn(begun.location, 'ada'));
  forged.set('state', 'x'.repeat(43));
  expect(await refused(stepUp(ada, begun, forged.toString()))).toBe('The answer of the provider does not count.');
  const denied = new URLSearchParams({ error: 'access_denied', state: '', iss: issuer });
  begun = await beginStepUp(ada);
  denied.set('state', new URL(begun.location).searchParams.get('state') ?? '');
  expect(await refused(stepUp(ada, begun, denied.toString()))).toBe('The provider refused the sign-in.');
  expect(await addUser()).toBe('urn:latchkey:problem:step-up-required');

  begun = await beginStepUp(ada);
  const { status, body } = await stepUp(ada, begun, await visit.signIn(begun.location, 'ada'));
  expect([status, Math.abs(Date.parse(body.signed_in_at) - Date.now()) < 5 * 60_000]).toEqual([200, true]);
  expect(await addUser()).toBe('added');
  expect((await ada.get('/v1/me')).body.session).toBe(ada.answer.body.session);

  // Rights are those of now: who may nothing any more has no session.
  const cy = await enter('cy', new ProviderVisit());
  begun = await beginStepUp(cy);
  await fetch(`${issuer}/cy-leaves`);
  expect((await stepUp(cy, begun, await new ProviderVisit().signIn(begun.location, 'cy'))).status).toBe(401);
  expect((await cy.get('/v1/me')).status).toBe(401);

  // So many in a minute, of one person.
  const statuses: number[] = [];
  for (let count = 0; count < 7; count++) statuses.push((await ada.post('/v1/step-up/oidc')).status);
  expect(statuses.slice(0, 4).concat(statuses.slice(-1))).toEqual([200, 200, 200, 200, 429]);
});

it('the role of a step-up is the one of now, or nobody’s if the audit log could not take it', async () => {
  const { users, sessions, recorded, log } = await openSessions();
  const viewer = person('oidc:ada', 'viewer', '1');
  const begun = await sessions.beginForPerson(NO_SESSION, viewer);
  const request = {
    headers: { cookie: `${SESSION_COOKIE}=${begun.cookie}`, 'x-latchkey-session': begun.secret },
  } as unknown as FastifyRequest;
  await sessions.authenticate(request);
  await sessions.stepUpPerson(request, { ...viewer, role: 'operator' });
  expect([users.find('oidc:ada')?.role, recorded.at(-1)]).toEqual([
    'operator',
    'user oidc:ada: viewer to operator; by the sign-in provider',
  ]);
  log.isFull = true;
  await expect(sessions.stepUpPerson(request, { ...viewer, role: 'admin' })).rejects.toThrow('the audit log is full');
  expect([users.find('oidc:ada'), users.findSession(begun.hash)]).toEqual([undefined, undefined]);
});

it('a role that the audit log could not take is nobody’s', async () => {
  const { users, sessions, recorded, log } = await openSessions();
  const viewer = person('oidc:ada', 'viewer', '1');
  const session = await sessions.beginForPerson(NO_SESSION, viewer);
  log.isFull = true;
  await expect(sessions.beginForPerson(NO_SESSION, { ...viewer, role: 'admin' })).rejects.toThrow('the audit log is full');
  expect([users.find('oidc:ada'), users.findSession(session.hash)]).toEqual([undefined, undefined]);
  log.isFull = false;
  await sessions.beginForPerson(NO_SESSION, { ...viewer, role: 'admin' });
  expect(recorded).toEqual(['user oidc:ada: viewer; by the sign-in provider', 'user oidc:ada: admin; by the sign-in provider']);
});

it('a person who is renamed at the provider has one user, whose sessions end with the role', async () => {
  const { users, sessions, recorded } = await openSessions();
  const namesOf = (): readonly string[] => users.list().map(({ name }) => name);
  const other = await sessions.beginForPerson(NO_SESSION, person('oidc:bo', 'viewer', '2'));
  const former = await sessions.beginForPerson(NO_SESSION, person('oidc:ada', 'admin', '1'));
  const now = await sessions.beginForPerson(NO_SESSION, person('oidc:ada.l', 'viewer', '1'));
  expect(namesOf()).toEqual(['oidc:ada.l', 'oidc:bo']);
  expect(users.findSession(former.hash)).toBeUndefined();
  // Renamed once more, and without a role.
  await expect(sessions.beginForPerson(NO_SESSION, person('oidc:lovelace', undefined, '1'))).rejects.toThrow(Problem);
  expect([namesOf(), users.findSession(now.hash)]).toEqual([['oidc:bo'], undefined]);
  expect(users.findSession(other.hash)).toBeDefined();
  expect(recorded.slice(2)).toEqual([
    'user oidc:ada, who is oidc:ada.l now; by the sign-in provider',
    'user oidc:ada.l: viewer; by the sign-in provider',
    'user oidc:ada.l; by the sign-in provider',
  ]);
});

it('a page elsewhere begins no sign-in', async () => {
  const api = await BrowserApi.start();
  expect((await api.fetch('/v1/login')).body).toEqual({ oidc: false });
  const elsewhere = { ...FROM_PAGE, origin: 'https://evil.example', 'content-type': 'application/json' };
  expect((await api.send('/v1/login/oidc', { method: 'POST', headers: elsewhere, body: '{}' })).status).toBe(421);
});
