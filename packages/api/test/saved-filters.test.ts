// Saved filters of nodes: whose they are, who sees them, and how many.

import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it } from 'vitest';
import { generateUserId, openUserStore, type UserRecord, type UserStore } from '../src/users/user-store.js';
import { BrowserApi, type BrowserSession } from './browser-api.js';
import { type Answer, ask } from './local-api.js';

const MINUTE = 60_000;
const NEVER = { name: 'never joined', query: 'never_joined=true&site=Plant+2%2C+north' };
const UNKNOWN = '00000000000000000000';

const problem = ({ status, body }: Answer): string => `${status} ${body.type?.split(':').at(-1) ?? ''}`;

async function namesOf(session: BrowserSession): Promise<unknown[]> {
  const { body } = await session.get('/v1/filters');
  return body.items.map(({ name, user, is_own, is_shared }: Record<string, unknown>) => [name, user, is_own, is_shared]);
}

async function save(session: BrowserSession, terms: object): Promise<string> {
  const { status, body } = await session.post('/v1/filters', terms);
  expect(status).toBe(201);
  return body.id;
}

describe('a saved filter', () => {
  it('is made, changed, listed by name, and removed by its person', async () => {
    const api = await BrowserApi.start();
    const ada = await api.signedIn('ada', 'viewer');
    const made = await ada.post('/v1/filters', { ...NEVER, name: ' never joined ' });
    const filter = {
      id: expect.stringMatching(/^[0-9a-f]{20}$/),
      ...NEVER,
      is_shared: false,
      is_own: true,
      user: 'ada',
      saved_at: expect.stringMatching(/Z$/),
    };
    expect([made.status, made.body]).toEqual([201, filter]);
    const path = `/v1/filters/${made.body.id}`;
    await save(ada, { name: 'expired', query: 'state=expired' });
    expect((await ada.get('/v1/filters')).body).toEqual({
      items: [{ ...filter, id: expect.any(String), name: 'expired', query: 'state=expired' }, filter],
      max_own: 50,
    });
    expect(problem(await ada.post('/v1/filters', NEVER))).toBe('409 already-exists');
    expect(problem(await ada.send('PATCH', path, { name: 'expired' }))).toBe('409 already-exists');
    const changed = await ada.send('PATCH', path, { name: 'never', query: 'q=pump' });
    expect([changed.status, changed.body]).toEqual([200, { ...filter, name: 'never', query: 'q=pump' }]);
    expect((await ada.send('DELETE', path)).status).toBe(204);
    expect(problem(await ada.send('DELETE', path))).toBe('404 not-found');
    expect(problem(await ada.send('PATCH', path, { name: 'x' }))).toBe('404 not-found');
    expect(await namesOf(ada)).toEqual([['expired', 'ada', true, false]]);
    // It is no change of the registry.
    expect(api.fixture.entriesAfter(0).filter(({ what }) => what.includes('filter'))).toEqual([]);
  });

  it('names wrong fields, and never their values', async () => {
    const api = await BrowserApi.start();
    const ada = await api.signedIn('ada', 'viewer');
    const id = await save(ada, NEVER);
    const wrong = async (method: string, path: string, body: object): Promise<unknown[]> => {
      const answer = await ada.send(method, path, body);
      expect(answer.text).not.toContain('secret');
      return [answer.status, answer.body.errors?.map(({ at }: { readonly at: string }) => at)];
    };
    const add = (body: object): Promise<unknown[]> => wrong('POST', '/v1/filters', body);
    expect(await add({})).toEqual([400, ['name', 'query']]);
    expect(await add({ ...NEVER, name: '\u202esecret' })).toEqual([400, ['name']]);
    expect(await add({ ...NEVER, name: 'x'.repeat(65) })).toEqual([400, ['name']]);
    for (const query of ['', 'q=se cret', 'q=<secret>', '?q=secret', 'q=secret#x', '//secret', `q=${'x'.repeat(2_048)}`])
      expect([query, await add({ ...NEVER, query })]).toEqual([query, [400, ['query']]]);
    expect(await add({ ...NEVER, is_shared: 'secret' })).toEqual([400, ['is_shared']]);
    expect(await add({ ...NEVER, secret: 1 })).toEqual([400, ['body']]);
    expect(await wrong('PATCH', `/v1/filters/${id}`, {})).toEqual([400, ['body']]);
    for (const one of [UNKNOWN, '..', '%00', '%F0%9F%94%91', `${id}.${id}`])
      expect([one, problem(await ada.send('DELETE', `/v1/filters/${one}`))]).toEqual([one, '404 not-found']);
  });

  it('is unknown to every other person, an administrator too', async () => {
    const api = await BrowserApi.start();
    const [ada, bo] = [await api.signedIn('ada', 'operator'), await api.signedIn('bo', 'admin')];
    const id = await save(ada, NEVER);
    expect(await namesOf(bo)).toEqual([]);
    for (const method of ['PATCH', 'DELETE']) {
      const body = method === 'PATCH' ? { name: 'x' } : undefined;
      const [theirs, none] = [
        await bo.send(method, `/v1/filters/${id}`, body),
        await bo.send(method, `/v1/filters/${UNKNOWN}`, body),
      ];
      expect([theirs.status, theirs.text]).toEqual([404, none.text]);
    }
    // Both may use the name.
    await save(bo, NEVER);
    expect([await namesOf(ada), await namesOf(bo)]).toEqual([
      [['never joined', 'ada', true, false]],
      [['never joined', 'bo', true, false]],
    ]);
  });

  it('is on no socket but that for browsers', async () => {
    const api = await BrowserApi.start();
    const ada = await api.signedIn('ada', 'admin');
    const token = await ada.post('/v1/tokens', { name: 'x', scopes: ['read'] });
    const headers = { authorization: `Bearer ${token.body.token}` };
    expect(problem(await ask({ socketPath: api.sockets.remote }, '/v1/filters', { headers }))).toBe('404 not-found');
  });
});

describe('a shared filter', () => {
  it('is seen by those who see all orders, changed by its person, and removed by an administrator too', async () => {
    const api = await BrowserApi.start();
    const [ada, bo] = [await api.signedIn('ada', 'viewer'), await api.signedIn('bo', 'operator')];
    const cy = await api.signedIn('cy', 'admin');
    const id = await save(ada, { ...NEVER, is_shared: true });
    await save(bo, { name: 'zinc', query: 'q=zinc' });
    expect(await namesOf(bo)).toEqual([
      ['zinc', 'bo', true, false],
      ['never joined', 'ada', false, true],
    ]);
    expect(problem(await bo.send('PATCH', `/v1/filters/${id}`, { name: 'x' }))).toBe('404 not-found');
    expect(problem(await bo.send('DELETE', `/v1/filters/${id}`))).toBe('404 not-found');
    // Kept for oneself again, and shared again.
    await ada.send('PATCH', `/v1/filters/${id}`, { is_shared: false });
    expect(await namesOf(cy)).toEqual([]);
    expect(problem(await cy.send('DELETE', `/v1/filters/${id}`))).toBe('404 not-found');
    await ada.send('PATCH', `/v1/filters/${id}`, { is_shared: true });
    expect(await namesOf(cy)).toEqual([['never joined', 'ada', false, true]]);
    expect((await cy.send('DELETE', `/v1/filters/${id}`)).status).toBe(204);
    expect(await namesOf(ada)).toEqual([]);
  });

  it('is neither seen nor made by an installer, whatever it was before', async () => {
    const api = await BrowserApi.start();
    const [ada, kim] = [await api.signedIn('ada', 'operator'), await api.signedIn('kim', 'operator')];
    await save(ada, { ...NEVER, is_shared: true });
    const id = await save(kim, { name: 'mine', query: 'q=mine', is_shared: true });
    expect(await namesOf(ada)).toContainEqual(['mine', 'kim', false, true]);

    await api.users.setRole('kim', 'installer', { installer: 'Kim & Sons' });
    expect(await namesOf(ada)).toEqual([['never joined', 'ada', true, true]]);
    expect(await namesOf(kim)).toEqual([['mine', 'kim', true, false]]);
    expect(problem(await kim.post('/v1/filters', { ...NEVER, is_shared: true }))).toBe('403 forbidden');
    expect(problem(await kim.send('PATCH', `/v1/filters/${id}`, { is_shared: true }))).toBe('403 forbidden');
    // What was written under limits is not shared later on.
    expect((await kim.send('PATCH', `/v1/filters/${id}`, { query: 'q=site+of+kim' })).status).toBe(200);
    await api.users.setRole('kim', 'operator');
    expect(await namesOf(ada)).toEqual([['never joined', 'ada', true, true]]);
    expect(await namesOf(kim)).toEqual([
      ['mine', 'kim', true, false],
      ['never joined', 'ada', false, true],
    ]);
  });

  it('ends with its person', async () => {
    const api = await BrowserApi.start();
    const [ada, bo] = [await api.signedIn('ada', 'viewer'), await api.signedIn('bo', 'viewer')];
    await save(bo, { ...NEVER, is_shared: true });
    await save(bo, { name: 'mine', query: 'q=mine' });
    await api.users.remove('bo');
    expect(await namesOf(ada)).toEqual([]);
    // Another person of that name.
    expect(await namesOf(await api.signedIn('bo', 'viewer'))).toEqual([]);
  });
});

describe('saved filters', () => {
  it('are 50 of one person, whatever others have', async () => {
    const api = await BrowserApi.start();
    const [ada, bo] = [await api.signedIn('ada', 'viewer'), await api.signedIn('bo', 'viewer')];
    const ids: string[] = [];
    for (let made = 0; made < 50; made++) {
      api.clock.monotonicMs += MINUTE;
      ids.push(await save(ada, { name: `filter ${made}`, query: 'q=x' }));
    }
    const refused = await ada.post('/v1/filters', NEVER);
    expect([problem(refused), refused.body.detail]).toEqual(['409 refused', 'you have 50 saved filters already']);
    expect((await ada.send('PATCH', `/v1/filters/${ids[0]}`, NEVER)).status).toBe(200);
    await save(bo, NEVER);
    await ada.send('DELETE', `/v1/filters/${ids[0]}`);
    await save(ada, NEVER);
  });

  it('are 256 of all that are shared', async () => {
    const users = await openUserStore(await tempFolder());
    const people: UserRecord[] = [];
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) people.push(await addUser(users, name));
    const shared = { query: 'q=x', isShared: true };
    for (let made = 0; made < 256; made++) {
      const user = people[made % 6];
      if (user !== undefined) await users.filters.add(user, { ...shared, name: `filter ${made}` });
    }
    const [first] = people;
    if (first === undefined) throw new Error('nobody was added');
    await expect(users.filters.add(first, { ...shared, name: 'x' })).rejects.toThrow('256 filters are shared already');
    const own = await users.filters.add(first, { ...shared, name: 'x', isShared: false });
    await expect(users.filters.change(first, own.id, { isShared: true })).rejects.toThrow('256 filters are shared already');
    expect(users.filters.list(first).length).toBe(257);
    // Those of a person who is removed make room.
    await users.remove('b');
    await users.filters.change(first, own.id, { isShared: true });
    await users.close();
  });

  it('are not saved for a person who was removed in the meantime', async () => {
    const users = await openUserStore(await tempFolder());
    const user = await addUser(users, 'a');
    const { id } = await users.filters.add(user, { ...NEVER, isShared: false });
    await users.remove('a');
    await addUser(users, 'a');
    const message = 'The caller is not known';
    await expect(users.filters.add(user, { ...NEVER, isShared: false })).rejects.toThrow(message);
    await expect(users.filters.change(user, id, { name: 'x' })).rejects.toThrow(message);
    await expect(users.filters.remove(user, id)).rejects.toThrow(message);
    await users.close();
  });

  it('stay those of a person whom the sign-in provider renames', async () => {
    const users = await openUserStore(await tempFolder());
    const identity = { issuer: 'https://id.example', subject: '7' };
    const signIn = async (name: string): Promise<UserRecord> => {
      const user = { ...recordOf(name), identity };
      const session = {
        id: generateUserId(),
        user: name,
        secretHash: new Uint8Array(32),
        createdAt: 0,
        lastUsedAt: 0,
        signedInAt: 0,
        address: null,
        registryRestoredAt: null,
      };
      await users.addPersonSession(Buffer.from(name), session, user, undefined);
      return users.find(name) ?? user;
    };
    const before = await signIn('oidc:ada');
    await users.filters.add(before, { ...NEVER, isShared: true });
    const after = await signIn('oidc:ada.lee');
    expect(users.find('oidc:ada')).toBeUndefined();
    expect(users.filters.list(after)).toMatchObject([{ ...NEVER, owner: after.id, ownerName: 'oidc:ada.lee' }]);
    const other = await addUser(users, 'bo');
    expect(users.filters.list(other)).toMatchObject([{ ...NEVER, ownerName: 'oidc:ada.lee', isShared: true }]);
    await users.close();
  });
});

function recordOf(name: string): UserRecord {
  return { id: generateUserId(), name, role: 'viewer', password: null, createdBy: 'user root', createdAt: Date.now() };
}

async function addUser(users: UserStore, name: string): Promise<UserRecord> {
  const user = recordOf(name);
  await users.add(user);
  return user;
}
