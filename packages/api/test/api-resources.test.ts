// Orders, controllers, exposure and the clock over HTTP, as the commands show them.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatId, type Secret } from '@latchkey/protocol';
import { call, type Context, controllersShow, ordersExposure, ordersList, setOrderState } from '@latchkey/operations';
import { STORE_FOLDER } from '@latchkey/registry';
import { readClock } from '@latchkey/runtime/daemon';
import { AdminFixture, C1, C2, newSecret } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { type Answer, LocalApi } from './local-api.js';

const keys = (from: number, count: number): Record<number, Secret> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [from + i, newSecret()]));
const contextOf = ({ registry }: AdminFixture): Context => ({ registry, clock: readClock, actor: registry.actor });

/** Items of all pages, and the answers that they came in. */
async function readPages(api: LocalApi, path: string): Promise<{ readonly items: object[]; readonly pages: Answer[] }> {
  const items: object[] = [];
  const pages: Answer[] = [];
  for (let after = ''; ;) {
    const page = await api.get(`${path}${path.includes('?') ? '&' : '?'}limit=2${after}`);
    expect(page.status).toBe(200);
    pages.push(page);
    items.push(...page.body.items);
    if (page.body.next === null) return { items, pages };
    after = `&after=${page.body.next}`;
  }
}

describe('orders', () => {
  it('come in pages, each once, as the operation lists them', async () => {
    const fixture = await AdminFixture.open();
    const joining = newSecret();
    await fixture.order({ 1: joining, 2: newSecret() });
    await fixture.join(1, joining);
    for (const from of [0x10, 0x20, 0x30, 0x40]) await fixture.order(keys(from, 3), { idC: C2 });
    await setOrderState(fixture.registry, 3, 'suspended');
    const api = await LocalApi.start(fixture.registry.folder);
    const { items, pages } = await readPages(api, '/v1/orders');
    expect(items).toEqual((await call(ordersList, contextOf(fixture), {})).items);
    expect(pages.map(({ body }) => [body.items.length, body.total])).toEqual([
      [2, 5],
      [2, 5],
      [1, 5],
    ]);
    expect((await api.get('/v1/orders/1')).body).toMatchObject({ order: 1, nodes: 2, joined: 1, state: 'open' });
    expect((await api.get('/v1/orders/3')).body.state).toBe('suspended');
  });

  it('that do not exist are a problem with the advice of the command', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    for (const path of ['/v1/orders/77', '/v1/orders/77/exposure', '/v1/controllers/0000dead']) {
      const { status, body } = await api.get(path);
      expect([path, status, body.type]).toEqual([path, 404, 'urn:latchkey:problem:not-found']);
      expect([body.advice, body.run]).toEqual(['List them:', [expect.stringMatching(/^latchkey-auth-server \w+ list$/)]]);
    }
    expect(api.log.text).not.toContain('failure');
    for (const path of ['/v1/orders/0', '/v1/orders/x', '/v1/orders/1e3']) expect((await api.get(path)).status).toBe(400);
  });
});

describe('controllers', () => {
  it('come in pages, and one is shown with the count of its nodes', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys(1, 3), { idC: C2 });
    const api = await LocalApi.start(fixture.registry.folder);
    const { items, pages } = await readPages(api, '/v1/controllers');
    expect(items).toMatchObject([{ id: formatId(C1) }, { id: formatId(C2) }]);
    expect(pages[0]?.body.total).toBe(2);
    const shown = await api.get(`/v1/controllers/${formatId(C2)}`);
    expect(shown.body).toEqual(await call(controllersShow, contextOf(fixture), { id: formatId(C2) }));
    expect(shown.body).toMatchObject({ nodes: 3, joined: 0 });
    const again = await api.get(`/v1/controllers/${formatId(C2)}`, { 'if-none-match': String(shown.headers.etag) });
    expect(again.status).toBe(304);
  });
});

describe('IDs that wait', () => {
  it('come in pages, and are dismissed one by one', async () => {
    const fixture = await AdminFixture.open();
    const rejected = { since: 1, at: 1, count: 1, refusal: 'unknownNode' as const, by: C1 };
    const seen = [5, 6, 7].map((idI) => [idI, { rejected }] as const);
    await fixture.registry.storage.recordActivity({ nodes: seen, controllers: [] });
    const api = await LocalApi.start(fixture.registry.folder);
    const { items, pages } = await readPages(api, '/v1/waiting');
    expect(items).toMatchObject([5, 6, 7].map((idI) => ({ id: formatId(idI), controller: formatId(C1), similar: [] })));
    expect(pages.map(({ body }) => [body.items.length, body.total])).toEqual([
      [2, 3],
      [1, 3],
    ]);
    const remove = (): Promise<Answer> => api.change('DELETE', '/v1/waiting/00000006');
    expect([(await remove()).body, (await remove()).body]).toEqual([{ dismissed: 1 }, { dismissed: 0 }]);
    expect((await api.get('/v1/waiting')).body).toMatchObject({ items: [{ id: '00000005' }, { id: '00000007' }], next: null });
    expect((await api.get('/v1/waiting?after=AAAA')).body.type).toBe('urn:latchkey:problem:cursor-invalid');
  });
});

describe('exposure', () => {
  it('is kept with the time of its walk, until it is older than the caller accepts', async () => {
    const fixture = await AdminFixture.open();
    const shared = newSecret();
    await fixture.order({ 1: shared, 2: shared }, { sharedKey: true });
    const api = await LocalApi.start(fixture.registry.folder);
    const first = (await api.get('/v1/exposure')).body;
    expect(first).toMatchObject({ total: 1, next: null, items: [{ nodes: 2, held: 2 }] });
    await fixture.order(keys(0x10, 3));
    expect((await api.get('/v1/exposure')).body).toEqual(first);
    const renewed = (await api.get('/v1/exposure?max_age_seconds=0')).body;
    expect(renewed.items).toEqual((await call(ordersExposure, contextOf(fixture), {})).items);
    expect([renewed.total, Date.parse(renewed.at) > Date.parse(first.at)]).toEqual([2, true]);
  });

  it('of one order has a line for each key, in pages', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys(1, 5));
    const api = await LocalApi.start(fixture.registry.folder);
    const { items, pages } = await readPages(api, '/v1/orders/1/exposure');
    expect(items).toEqual((await call(ordersExposure, contextOf(fixture), { order: 1 })).items);
    expect(pages.map(({ body }) => body.total)).toEqual([5, 5, 5]);
    // As commands ask. One walk has all pages.
    const ofNow = await readPages(api, '/v1/orders/1/exposure?max_age_seconds=0');
    expect(new Set(ofNow.pages.map(({ body }) => body.at)).size).toBe(1);
    const next = String(pages[0]?.body.next);
    expect((await api.get(`/v1/exposure?limit=2&after=${next}`)).body.type).toBe('urn:latchkey:problem:cursor-invalid');
  });
});

describe('the clock', () => {
  it('shows the times that no key is committed of', async () => {
    const fixture = await AdminFixture.open();
    const previous = [{ from: 1_000, until: Date.now() + 3_600_000 }];
    await fixture.registry.saveClockHistory((before) => ({ ...before, previous }), Date.now());
    const api = await LocalApi.start(fixture.registry.folder);
    expect((await api.get('/v1/clock')).body).toMatchObject({
      holdoff_until: null,
      blocked_ranges: [{ from: '1970-01-01T00:00:01.000Z' }],
      controllers_with_old_keys: [],
    });
  });
});

it('nodes are judged by the clock of the registry, which may be a database’s', async () => {
  const fixture = await AdminFixture.open();
  const key = newSecret();
  await fixture.order({ 1: key }, { lifetime: 86_400 });
  await fixture.join(1, key);
  const ahead = 10 * 86_400_000;
  const clock = (): ReturnType<typeof readClock> => ({ wallMs: Date.now() + ahead, monotonicMs: Date.now() });
  const api = await LocalApi.start(fixture.registry.folder, {}, undefined, undefined, clock);
  expect((await api.get('/v1/nodes/00000001')).body.state).toBe('expired');
  expect((await api.get('/v1/nodes')).body.items).toMatchObject([{ state: 'expired' }]);
  expect((await api.get('/v1/nodes?state=expired')).body.total).toBe(1);
  expect((await api.get('/v1/node-exports')).body.items).toMatchObject([{ state: 'expired' }]);
  const { at, nodes } = (await api.get('/v1/summary')).body;
  expect(nodes.by_state).toMatchObject({ expired: 1, joined: 0 });
  expect(Date.parse(at)).toBeGreaterThan(Date.now() + ahead / 2);
  expect((await api.get('/v1/calendar?count=1')).body.overdue).toBe(1);
});

it('keys that expire are counted by order, most first, in pages', async () => {
  const fixture = await AdminFixture.open();
  const drawn = keys(1, 6);
  const [first, second, third] = [[1], [2, 3, 4], [5, 6]];
  for (const ids of [first, second, third])
    await fixture.order(Object.fromEntries(ids.map((id) => [id, drawn[id] ?? newSecret()])), { lifetime: 86_400 });
  const now = Date.now();
  await fixture.join(4, drawn[4] ?? newSecret(), { wall: now - 86_400_000 });
  for (const id of [1, 2, 3, 5, 6]) await fixture.join(id, drawn[id] ?? newSecret(), { wall: now });
  const api = await LocalApi.start(fixture.registry.folder);
  const pages: unknown[] = [];
  for (let after: string | null = ''; after !== null;) {
    const { body } = await api.get(`/v1/calendar/orders?limit=1${after === '' ? '' : `&after=${after}`}`);
    expect(body.total).toBe(3);
    pages.push(...body.items);
    after = body.next;
  }
  expect(pages).toEqual([
    { order: 2, installer: 'Kim', nodes: 3 },
    { order: 3, installer: 'Kim', nodes: 2 },
    { order: 1, installer: 'Kim', nodes: 1 },
  ]);
  const from = new Date(now + 3_600_000).toISOString();
  const { items } = (await api.get(`/v1/calendar/orders?expires_from=${from}`)).body;
  expect(items.map(({ order, nodes }: { order: number; nodes: number }) => [order, nodes])).toEqual([
    [2, 2],
    [3, 2],
    [1, 1],
  ]);
});

it('the index of nodes is made at the start of the API, before anybody asks for a list', async () => {
  const fixture = await AdminFixture.open();
  const { folder } = fixture.registry;
  // So many that the API saves it once it is made.
  await fixture.order(keys(0x1000, 4_096));
  const file = join(folder, STORE_FOLDER, 'node-index');
  expect(existsSync(file)).toBe(false);
  await LocalApi.start(folder);
  await expect.poll(() => existsSync(file), { timeout: 120_000, interval: 50 }).toBe(true);
});
