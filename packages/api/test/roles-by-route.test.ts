// Who may do what, over the real socket: processes of other users call every route.

import { readFileSync } from 'node:fs';
import type { Secret } from '@latchkey/protocol';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { LOCAL_ROLES, ROLES } from '../src/access.js';
import type { Method, Route } from '../src/route.js';
import { ROUTES } from '../src/routes.js';
import { BrowserApi } from './browser-api.js';
import { CAN_BECOME_OTHERS, createToken, LocalApi, OtherCaller } from './local-api.js';

const manual = readFileSync(new URL('../../../docs/API.md', import.meta.url), 'utf8');
/** Of each caller; the last has no role. */
const UIDS: Readonly<Record<(typeof LOCAL_ROLES)[number] | 'any other user', number>> = {
  viewer: 61_001,
  operator: 61_002,
  'key-officer': 61_003,
  admin: 61_004,
  'any other user': 61_005,
};
/** Values for the names in a path. */
const VALUES: Readonly<Record<string, string>> = {
  id: '00000001',
  order: '1',
  job: 'aaaaaaaaaaaaaaaa',
  installer: 'aaaaaaaaaaaaaaaa',
};

const TOKENS = ['read', 'audit', 'describe', 'nodes', 'orders', 'controllers', 'keys'] as const;
/** Who may is answered so: no request here has a body, or says what it has seen of a resource. */
const ALLOWED: Readonly<Record<Method, number>> = { GET: 200, PATCH: 400, POST: 400, DELETE: 428 };
/** No caller here has a job. A stream would not end: its parameter is wrong. */
const ALLOWED_BY_NAME: Readonly<Record<string, number>> = {
  'jobs.show': 404,
  'jobs.cancel': 404,
  'jobs.remove': 404,
  'jobs.fetch-file': 404,
  'jobs.remove-file': 404,
  // No installer is stored.
  'installers.show': 404,
  'events.follow': 400,
  // It needs no body.
  'audit.verify': 202,
  // Nothing was seen of an ID that waits for nothing: there is no state to compare.
  'waiting.dismiss': 200,
};

function statusIfAllowed({ name, method = 'GET' }: Route): number {
  return ALLOWED_BY_NAME[name] ?? ALLOWED[method];
}

function pathOf({ path, mediaType }: Route): string {
  if (mediaType === 'text/event-stream') return `${path}?node=x`;
  return path.replaceAll(/:(\w+)/g, (_, field: string) => VALUES[field] ?? '');
}

/** The table of docs/API.md: by operation, what each caller is answered. */
function documentedTable(): Map<string, ReadonlyMap<string, string>> {
  const section = /^## Who may do what\n(.*?)^## /ms.exec(manual)?.[1] ?? '';
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  const [heading = [], , ...lines] = rows;
  return new Map(lines.map(([name = '', ...cells]) => [name, new Map(cells.map((cell, i) => [heading[i + 1] ?? '', cell]))]));
}

describe('the table of docs/API.md', () => {
  const table = documentedTable();

  it('has a row for each operation and a column for each caller', () => {
    expect([...table.keys()].toSorted()).toEqual(ROUTES.map(({ name }) => name).toSorted());
    for (const cells of table.values())
      expect([...cells.keys()]).toEqual([
        'request',
        ...ROLES,
        'any other user',
        ...TOKENS.map((scope) => `token: ${scope}`),
        'no token',
      ]);
    for (const { name, path, method = 'GET' } of ROUTES)
      expect(table.get(name)?.get('request')).toBe(`${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  });

  it.skipIf(!CAN_BECOME_OTHERS)('holds in each cell (needs root)', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order({ 1: newSecret() });
    const local = Object.fromEntries(LOCAL_ROLES.map((role) => [String(UIDS[role]), role]));
    const api = await LocalApi.start(fixture.registry.folder, local);
    let cells = 0;
    const refusals: string[] = [];
    for (const [caller, uid] of Object.entries(UIDS)) {
      const process = await OtherCaller.start(uid, api.socket);
      for (const route of ROUTES) {
        const { name, method = 'GET' } = route;
        const { status, text } = await process.request(method, pathOf(route));
        const documented = table.get(name)?.get(caller);
        expect([name, caller, status]).toEqual([
          name,
          caller,
          documented === 'yes' ? statusIfAllowed(route) : caller === 'any other user' ? 401 : 403,
        ]);
        // Only an answer may name the node.
        if (documented !== 'yes') refusals.push(text);
        cells += 1;
      }
    }
    expect(cells).toBe(ROUTES.length * 5);
    expect(refusals.length).toBeGreaterThan(0);
    expect(refusals.filter((text) => text.includes('00000001'))).toEqual([]);
  });
});

describe('the table of docs/API.md, for an installer', () => {
  it('holds in each cell', async () => {
    const api = await BrowserApi.start();
    await api.fixture.order({ 1: newSecret() });
    const session = await api.signedIn('kim', 'installer', { installer: 'Kim' });
    const table = documentedTable();
    const refusals: string[] = [];
    for (const route of ROUTES) {
      const { name, method = 'GET' } = route;
      const { status, text } = await session.send(method, pathOf(route));
      const isAllowed = table.get(name)?.get('installer') === 'yes';
      expect([name, status]).toEqual([name, isAllowed ? statusIfAllowed(route) : 403]);
      if (!isAllowed) refusals.push(text);
    }
    expect(refusals.length).toBeGreaterThan(0);
    expect(refusals.filter((text) => text.includes('00000001'))).toEqual([]);
  });
});

describe('the table of docs/API.md, for tokens', () => {
  it('holds in each cell, also for a proxy that runs as root', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order({ 1: newSecret() });
    const { folder } = fixture.registry;
    let seconds = 0;
    // No caller here is too fast.
    const api = await LocalApi.start(folder, {}, undefined, () => 1_000 * seconds++);
    const tokens: Record<string, string | undefined> = { 'no token': undefined };
    for (const scope of TOKENS) tokens[`token: ${scope}`] = (await createToken(folder, { scopes: [scope] })).text;
    for (const [caller, token] of Object.entries(tokens)) {
      for (const route of ROUTES) {
        const { name, method = 'GET' } = route;
        const { status } = await api.remote(pathOf(route), token, {}, { method });
        const documented = documentedTable().get(name)?.get(caller);
        const expected = documented === 'yes' ? statusIfAllowed(route) : token === undefined ? 401 : 403;
        expect([name, caller, status]).toEqual([name, caller, expected]);
      }
    }
  });
});

describe.skipIf(!CAN_BECOME_OTHERS)('a caller (needs root)', () => {
  it('of uid 65534 is nobody, and a path that does not exist is answered as one that does', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    for (const uid of [65_534, 61_005]) {
      const caller = await OtherCaller.start(uid, api.socket);
      const answers = await Promise.all(['/v1/summary', '/v1/nowhere', '/'].map((path) => caller.get(path)));
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect(answers[0]?.status).toBe(401);
    }
  });

  it('outside the group of the socket does not get in at all', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder, { '61001': 'admin' });
    const caller = await OtherCaller.start(61_001, api.socket, 61_001);
    expect(await caller.get('/v1/summary')).toEqual({ status: 0, text: 'EACCES' });
  });

  it('cannot go on with the list of another caller', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(Object.fromEntries([1, 2, 3].map((id): [number, Secret] => [id, newSecret()])));
    const api = await LocalApi.start(fixture.registry.folder, { '61001': 'admin' });
    const caller = await OtherCaller.start(61_001, api.socket);
    const { headers, body } = await api.get('/v1/nodes?limit=1');
    expect((await caller.get(`/v1/nodes?limit=1&after=${body.next}`)).status).toBe(400);
    expect((await caller.get('/v1/nodes?limit=1', { 'if-none-match': String(headers.etag) })).status).toBe(200);
  });
});
