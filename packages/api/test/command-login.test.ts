// A command on another machine that a person signs in, and those who would like to be signed in by
// somebody else.

import { createServer } from 'node:http';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { backup, restore } from '@latchkey/registry';
import { MASTER } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { logIn } from '../src/client/index.js';
import { BrowserApi, type BrowserSession } from './browser-api.js';
import { type Answer, ask, createToken, type RequestOptions } from './local-api.js';

const MINUTE = 60_000;
const CLAIMED = { machine: 'laptop-7', context: 'plant' };
const ADDRESS = '198.51.100.7';
const BEGIN = '/v1/login/command';
const TOKEN = '/v1/login/command/token';

/** The API, and commands that reach it through a proxy. */
class Setup {
  readonly api: BrowserApi;

  constructor(api: BrowserApi) {
    this.api = api;
  }

  static async start(): Promise<Setup> {
    return new Setup(await BrowserApi.start());
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}, from: string = ADDRESS): Promise<Answer> {
    const sent = { 'content-type': 'application/json', 'x-forwarded-for': from, ...headers };
    const options: RequestOptions = { method: 'POST', headers: sent, body: JSON.stringify(body) };
    return ask({ socketPath: this.api.sockets.remote }, path, options);
  }

  async begin(more: object = {}): Promise<{ readonly code: string; readonly secret: string }> {
    const { status, body } = await this.post(BEGIN, { ...CLAIMED, ...more });
    if (status !== 201) throw new Error(`the API answers ${status}`);
    return body;
  }

  async stateOf({ secret }: { readonly secret: string }): Promise<string> {
    const { status, body } = await this.post(TOKEN, { secret });
    return status === 200 ? body.state : `status ${status}`;
  }

  summary(token: string): Promise<Answer> {
    return ask({ socketPath: this.api.sockets.remote }, '/v1/summary', { headers: { authorization: `Bearer ${token}` } });
  }
}

async function decide(
  session: BrowserSession,
  what: 'find' | 'confirm' | 'refuse',
  code: string,
  scopes?: unknown,
): Promise<Answer> {
  return session.post(`${BEGIN}/${what}`, { code, ...(what === 'confirm' && { scopes: scopes ?? ['read'] }) });
}

const statusOf = async (answer: Promise<Answer>): Promise<number> => (await answer).status;

/** The confirmation is of five minutes and more ago. */
function letTimePass(ms: number): void {
  vi.spyOn(Date, 'now').mockReturnValue(Date.now() + ms);
  onTestFinished(() => void vi.restoreAllMocks());
}

describe('a command that asks to be signed in', () => {
  it('gets a token of the person who has seen what asks and has confirmed, once', async () => {
    const setup = await Setup.start();
    const { api } = setup;
    const ada = await api.signedIn('ada', 'operator');
    const begun = await setup.post(BEGIN, { ...CLAIMED, lifetime_seconds: 3_600 });
    expect([begun.status, begun.body]).toEqual([
      201,
      {
        secret: expect.stringMatching(/^[\w-]{43}$/),
        code: expect.stringMatching(/^[A-Z]{4}-[A-Z]{4}$/),
        address: 'http://localhost:8080/code',
        expires_seconds: 600,
        interval_seconds: 2,
      },
    ]);
    const { secret, code } = begun.body;
    expect(await setup.stateOf(begun.body)).toBe('pending');

    const found = await decide(ada, 'find', code.toLowerCase());
    expect([found.status, found.body]).toEqual([
      200,
      {
        code,
        ...CLAIMED,
        address: ADDRESS,
        asked_at: expect.any(String),
        expires_at: expect.any(String),
        lifetime_seconds: 3_600,
        scopes: ['read', 'audit', 'describe', 'nodes'],
      },
    ]);
    expect(found.text).not.toContain(secret);
    expect(await setup.stateOf(begun.body)).toBe('pending');
    expect(await statusOf(decide(ada, 'confirm', code, ['read', 'nodes', 'read']))).toBe(204);
    expect(await statusOf(decide(ada, 'find', code))).toBe(404);

    // Twice at once, it comes once.
    const answers = await Promise.all([setup.post(TOKEN, { secret }), setup.post(TOKEN, { secret })]);
    const [confirmed, unknown] = answers.map(({ body }) => body).toSorted((a, b) => a.state.localeCompare(b.state));
    expect(unknown).toEqual({ state: 'unknown' });
    expect(confirmed).toEqual({
      state: 'confirmed',
      token: expect.stringMatching(/^lk_/),
      token_id: expect.any(String),
      user: 'ada',
      scopes: ['read', 'nodes'],
      expires_at: expect.any(String),
    });
    const { token, token_id: id, expires_at: expiresAt } = confirmed;
    expect(await statusOf(setup.summary(token))).toBe(200);
    const { items } = (await ada.get('/v1/tokens')).body;
    expect(items).toMatchObject([{ id, name: 'login at laptop-7', state: 'valid', scopes: ['read', 'nodes'], is_own: true }]);
    expect(Date.parse(expiresAt) - Date.parse(items[0].created_at)).toBeLessThanOrEqual(3_600_000);

    const entries = api.fixture.entriesAfter(0).filter(({ what }) => /^(?:token|command login)/.test(what));
    expect(entries.map(({ actor, what, note }) => `${actor}: ${what}: ${note}`)).toEqual([
      `user ada: command login confirmed: from ${ADDRESS}, which calls itself laptop-7 and the server plant, for 3600 s: read, nodes`,
      `user ada: token created: token ${id}: read, nodes; expires ${expiresAt}`,
    ]);
    for (const one of [secret, token.slice(11), code]) expect(api.log.text).not.toContain(one);
    // The token is the person's.
    await api.users.setRole('ada', 'viewer');
    expect((await setup.summary(token)).status).toBe(200);
    await api.users.remove('ada');
    expect((await setup.summary(token)).status).toBe(401);
  });

  it('gets nothing by the secret of another one, by a code, or once it was refused', async () => {
    const setup = await Setup.start();
    const ada = await setup.api.signedIn('ada', 'viewer');
    const [first, second] = [await setup.begin(), await setup.begin({ machine: 'other' })];
    await decide(ada, 'find', first.code);
    await decide(ada, 'confirm', first.code);
    expect(await setup.stateOf(second)).toBe('pending');
    for (const secret of [first.code, second.code, `${first.secret.slice(1)}A`, '', '__proto__'])
      expect(await setup.stateOf({ secret })).toBe('unknown');
    await decide(ada, 'find', second.code);
    expect(await statusOf(decide(ada, 'refuse', second.code))).toBe(204);
    expect(await statusOf(decide(ada, 'confirm', second.code))).toBe(404);
    expect([await setup.stateOf(second), await setup.stateOf(second)]).toEqual(['refused', 'unknown']);
    expect(await setup.stateOf(first)).toBe('confirmed');
    expect(setup.api.fixture.entriesAfter(0).map(({ what }) => what)).toContain('command login refused');
  });

  it('is forgotten after 10 minutes, and a code that is typed then is unknown', async () => {
    const setup = await Setup.start();
    const ada = await setup.api.signedIn('ada', 'viewer');
    const [late, missed] = [await setup.begin(), await setup.begin()];
    setup.api.clock.monotonicMs += 10 * MINUTE - 1;
    await decide(ada, 'find', late.code);
    await decide(ada, 'confirm', late.code);
    setup.api.clock.monotonicMs += 2;
    expect(await statusOf(decide(ada, 'find', missed.code))).toBe(404);
    expect([await setup.stateOf(missed), await setup.stateOf(late)]).toEqual(['unknown', 'confirmed']);
  });

  it('gets nothing if the person, the role or the registry has gone since the confirmation', async () => {
    const setup = await Setup.start();
    const { api } = setup;
    const confirmedBy = async (name: string): Promise<{ readonly secret: string }> => {
      const session = await api.signedIn(name, 'viewer');
      const begun = await setup.begin();
      await decide(session, 'find', begun.code);
      expect(await statusOf(decide(session, 'confirm', begun.code))).toBe(204);
      return begun;
    };
    const [removed, another, installer] = [await confirmedBy('ada'), await confirmedBy('bo'), await confirmedBy('cy')];
    await api.users.remove('ada');
    await api.users.remove('bo');
    await api.addUser('bo', 'viewer');
    await api.users.setRole('cy', 'installer', { installer: 'Kim' });
    for (const begun of [removed, another, installer]) expect(await setup.stateOf(begun)).toBe('refused');
    const { registry } = api.fixture;
    const copy = join(await tempFolder(), 'backup');
    await backup(registry, copy);
    const before = await confirmedBy('di');
    await restore(copy, { folder: registry.folder, master: Secret.from(MASTER), actor: 'user root', replace: true });
    expect(await setup.stateOf(before)).toBe('refused');
    expect(api.fixture.entriesAfter(0).map(({ what }) => what)).not.toContain('token created');
  });

  it('is told what is wrong with what it sends, and not what it sent', async () => {
    const setup = await Setup.start();
    const wrong = async (body: object): Promise<unknown[]> => {
      const { status, body: problem, text } = await setup.post(BEGIN, { ...CLAIMED, ...body });
      expect(text).not.toContain('click');
      setup.api.clock.monotonicMs += MINUTE;
      return [status, problem.errors?.[0]?.at];
    };
    expect(await wrong({ machine: 'IT department, click yes' })).toEqual([400, 'machine']);
    expect(await wrong({ machine: 'a'.repeat(49) })).toEqual([400, 'machine']);
    expect(await wrong({ context: 'click\u202e' })).toEqual([400, 'context']);
    expect(await wrong({ scopes: ['keys'] })).toEqual([400, 'scopes.0']);
    expect(await wrong({ scopes: ['admin'] })).toEqual([400, 'scopes.0']);
    expect(await wrong({ scopes: [] })).toEqual([400, 'scopes']);
    expect(await wrong({ lifetime_seconds: 43_201 })).toEqual([400, 'lifetime_seconds']);
    expect(await wrong({ origin: 'https://click.example' })).toEqual([400, expect.any(String)]);
    expect((await setup.post(BEGIN, { machine: 'x'.repeat(3_000) })).status).toBe(413);
  });

  it('is no page of a browser, and reaches the socket for tokens only', async () => {
    const setup = await Setup.start();
    for (const header of ['origin', 'cookie', 'sec-fetch-site'])
      expect(await statusOf(setup.post(BEGIN, CLAIMED, { [header]: 'x' }))).toBe(403);
    const ada = await setup.api.signedIn('ada', 'viewer');
    expect(await statusOf(ada.post(BEGIN, CLAIMED))).toBe(404);
    expect(await statusOf(ada.post(TOKEN, { secret: 'x' }))).toBe(404);
    // A token makes no token.
    const { text } = await createToken(setup.api.fixture.registry.folder);
    const { code } = await setup.begin();
    for (const what of ['find', 'confirm', 'refuse'])
      expect(await statusOf(setup.post(`${BEGIN}/${what}`, { code }, { authorization: `Bearer ${text}` }))).toBe(404);
  });

  it('may ask ten times at once from one address, whatever other addresses do', async () => {
    const setup = await Setup.start();
    const from = (address: string): Promise<number> => statusOf(setup.post(BEGIN, CLAIMED, {}, address));
    const statuses: number[] = [];
    for (let i = 0; i < 11; i++) statuses.push(await from(ADDRESS));
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 201), 429]);
    expect(await from('198.51.100.8')).toBe(201);
    setup.api.clock.monotonicMs += 12_000;
    expect([await from(ADDRESS), await from(ADDRESS)]).toEqual([201, 429]);
  });
});

describe('a person who signs a command in', () => {
  it('has typed the code in this session or another one: nobody confirms what somebody else found', async () => {
    const setup = await Setup.start();
    const [ada, mallory] = [await setup.api.signedIn('ada', 'viewer'), await setup.api.signedIn('mallory', 'viewer')];
    const begun = await setup.begin();
    expect(await statusOf(decide(ada, 'confirm', begun.code))).toBe(404);
    await decide(ada, 'find', begun.code);
    for (const what of ['confirm', 'refuse'] as const) expect(await statusOf(decide(mallory, what, begun.code))).toBe(404);
    expect(await statusOf(setup.api.fetch(`${BEGIN}/confirm`, { code: begun.code, scopes: ['read'] }))).toBe(401);
    expect(await setup.stateOf(begun)).toBe('pending');
    expect(await statusOf(decide(ada, 'confirm', begun.code))).toBe(204);
  });

  it('passes on no more than the own rights, no keys, and no more than was asked for', async () => {
    const setup = await Setup.start();
    const { api } = setup;
    const [admin, viewer] = [await api.signedIn('ada', 'admin'), await api.signedIn('bo', 'viewer')];
    const installer = await api.signedIn('kim', 'installer', { installer: 'Kim' });
    const begun = await setup.begin({ scopes: ['read', 'nodes'] });
    expect((await decide(viewer, 'find', begun.code)).body.scopes).toEqual(['read']);
    expect(await statusOf(decide(viewer, 'confirm', begun.code, ['read', 'nodes']))).toBe(403);
    expect((await decide(admin, 'find', begun.code)).body.scopes).toEqual(['read', 'nodes']);
    expect(await statusOf(decide(admin, 'confirm', begun.code, ['read', 'orders']))).toBe(403);
    for (const scopes of [['keys'], ['admin'], []])
      expect(await statusOf(decide(admin, 'confirm', begun.code, scopes))).toBe(400);
    expect(await statusOf(decide(installer, 'find', begun.code))).toBe(403);
    expect(await setup.stateOf(begun)).toBe('pending');
    const whatever = await setup.begin();
    expect((await decide(admin, 'find', whatever.code)).body.scopes).not.toContain('keys');
  });

  it('has given the password in the last five minutes', async () => {
    const setup = await Setup.start();
    const ada = await setup.api.signedIn('ada', 'viewer');
    const begun = await setup.begin();
    letTimePass(6 * MINUTE);
    await decide(ada, 'find', begun.code);
    const refused = await decide(ada, 'confirm', begun.code);
    expect([refused.status, refused.body.type]).toEqual([403, 'urn:latchkey:problem:step-up-required']);
    expect(await setup.stateOf(begun)).toBe('pending');
    // To refuse takes no password.
    expect(await statusOf(decide(ada, 'refuse', begun.code))).toBe(204);
  });

  it('guesses ten codes at once, and then ten a minute', async () => {
    const setup = await Setup.start();
    const [ada, bo] = [await setup.api.signedIn('ada', 'viewer'), await setup.api.signedIn('bo', 'viewer')];
    const { code } = await setup.begin();
    const statuses: number[] = [];
    for (let i = 0; i < 11; i++) statuses.push(await statusOf(decide(ada, 'find', 'BBBB-BBBB')));
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 404), 429]);
    expect(await statusOf(decide(bo, 'find', code))).toBe(200);
  });

  it('hears on the page that there is no room for another token', async () => {
    const setup = await Setup.start();
    const { api } = setup;
    const ada = await api.signedIn('ada', 'viewer');
    const owner = { name: 'ada', createdAt: api.users.find('ada')?.createdAt ?? 0 };
    for (let made = 0; made < 32; made++) await createToken(api.fixture.registry.folder, { owner });
    const begun = await setup.begin();
    await decide(ada, 'find', begun.code);
    const { status, body } = await decide(ada, 'confirm', begun.code);
    expect([status, body.detail]).toEqual([409, 'the user has 32 tokens already']);
    expect(await setup.stateOf(begun)).toBe('pending');
    const [{ id }] = (await ada.get('/v1/tokens')).body.items;
    await ada.send('DELETE', `/v1/tokens/${id}`);
    expect(await statusOf(decide(ada, 'confirm', begun.code))).toBe(204);
    expect(await setup.stateOf(begun)).toBe('confirmed');
  });
});

describe('the client of a command', () => {
  /** What a login comes to at a server that answers so, by path; the last answer is repeated. */
  async function loginAt(answers: Readonly<Record<string, readonly object[]>>): Promise<unknown> {
    const path = join(await tempFolder(), 'server.sock');
    const left: Record<string, readonly object[]> = { ...answers };
    const server = createServer((incoming, outgoing) => {
      incoming.resume();
      const url = incoming.url ?? '';
      const [answer, ...later] = left[url] ?? [];
      if (later.length > 0) left[url] = later;
      outgoing.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
      outgoing.end(JSON.stringify(answer ?? {}));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { signal } = new AbortController();
    const ignored = (): void => undefined;
    const options = { ...CLAIMED, lifetimeSeconds: 60, show: ignored, warn: ignored, signal };
    return logIn({ target: { kind: 'unix', path } }, options).catch((error: unknown) => error);
  }
  const begun = {
    secret: 'x',
    code: 'BCDF-GHJK',
    address: 'https://plant.example/code',
    expires_seconds: 1,
    interval_seconds: 1,
  };

  it('says that the code has expired, once it has', async () => {
    expect(await loginAt({ [BEGIN]: [begun], [TOKEN]: [{ state: 'pending' }, { state: 'unknown' }] })).toMatchObject({
      message: expect.stringContaining('the code has expired, and nobody has confirmed it') as string,
      advice: 'Nothing was changed. Begin again.',
    });
  });

  it('takes no other answer for one of an API, and no token that is none', async () => {
    const confirmed = {
      state: 'confirmed',
      token_id: 'x',
      user: 'ada',
      scopes: ['read'],
      expires_at: '2026-12-24T18:00:00.000Z',
    };
    for (const answers of [
      {},
      { [BEGIN]: [{}] },
      { [BEGIN]: [{ ...begun, interval_seconds: 0 }] },
      { [BEGIN]: [begun], [TOKEN]: [{}] },
      { [BEGIN]: [begun], [TOKEN]: [{ ...confirmed, token: 'two\nlines' }] },
    ])
      expect(await loginAt(answers)).toMatchObject({ message: expect.stringContaining('not as a Latchkey API does') as string });
  });
});
