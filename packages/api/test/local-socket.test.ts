// The API as callers on this machine meet it: real sockets, a registry in a folder, and an
// auth-server that writes to it at the same time.

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { formatId, Secret } from '@latchkey/protocol';
import { backup, restore, rotateMasterKey, STORE_FOLDER } from '@latchkey/registry';
import { call, nodesSet, setDisabled } from '@latchkey/operations';
import { AdminFixture, C1, C2, diagnosisOf, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it } from 'vitest';
import { LocalApi } from './local-api.js';

const ids = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const keys = (wanted: readonly number[]): Record<number, Secret> => Object.fromEntries(wanted.map((id) => [id, newSecret()]));

describe('a list of nodes', () => {
  it('comes in pages that hold each node once, with the total of the first page', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys(ids(0x100, 25)));
    const api = await LocalApi.start(fixture.registry.folder);
    const found: string[] = [];
    let after = '';
    let pages = 0;
    for (;;) {
      const { status, body } = await api.get(`/v1/nodes?limit=10${after}`);
      expect(status).toBe(200);
      expect(body.total).toBe(25);
      found.push(...body.items.map(({ id }: { id: string }) => id));
      pages += 1;
      if (body.next === null) break;
      after = `&after=${body.next}`;
    }
    expect(pages).toBe(3);
    expect(found).toEqual(ids(0x100, 25).map(formatId));
  });

  it('has the nodes that pass every filter, whose values are alternatives', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys([0x7a3_00001, 2]), { idC: C1 });
    await fixture.order(keys([3, 4]), { idC: C2 });
    await setDisabled(fixture.registry, [4], true);
    const joined = newSecret();
    await fixture.order({ 5: joined }, { idC: C2 });
    await fixture.join(5, joined, { idC: C2 });
    const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
    const description = { name: 'Pump 3', site: 'Süd', tags: ['pump'] };
    const context = { registry: fixture.registry, clock, actor: 'user ada' };
    await call(nodesSet, context, { select: { ids: ['00000003'] }, description });
    const api = await LocalApi.start(fixture.registry.folder);
    const found = async (query: string): Promise<string[]> => {
      const { status, body } = await api.get(`/v1/nodes?${query}`);
      expect([query, status]).toEqual([query, 200]);
      expect(body.total).toBe(body.items.length);
      return body.items.map(({ id }: { id: string }) => id);
    };
    expect(await found('starts=7a3')).toEqual(['7a300001']);
    expect(await found('order=1&order=3')).toEqual(['00000002', '00000005', '7a300001']);
    expect(await found('controller=00000002&state=enrolled')).toEqual(['00000003']);
    expect(await found('controller=00000002&state=enrolled&state=disabled')).toEqual(['00000003', '00000004']);
    expect(await found('never_joined=false')).toEqual(['00000005']);
    expect(await found('expires_before=2100-01-01T00:00:00Z')).toEqual(['00000005']);
    expect(await found('expires_from=2100-01-01T00:00:00Z')).toEqual([]);
    expect(await found('order=77')).toEqual([]);
    // Its key lasts an hour, and the calendar says what the list does.
    for (const query of ['by=day&count=366&time_zone=Europe/Berlin', 'by=week&count=2', 'order=3&controller=00000002']) {
      const { body } = await api.get(`/v1/calendar?${query}`);
      const days = body.items as { from: string; before: string; nodes: number }[];
      expect([query, days.reduce((sum, { nodes }) => sum + nodes, body.overdue + body.later)]).toEqual([query, 1]);
      const { from = '', before = '' } = days.find(({ nodes }) => nodes > 0) ?? {};
      expect(await found(`expires_from=${from}&expires_before=${before}`)).toEqual(['00000005']);
    }
    expect((await api.get('/v1/calendar?count=3&order=1')).body).toMatchObject({
      overdue: 0,
      items: [{ nodes: 0 }, {}, {}],
      later: 0,
    });
    const byOrder = await api.get('/v1/calendar/orders?expires_before=2100-01-01T00:00:00Z');
    expect(byOrder.body).toEqual({ items: [{ order: 3, installer: 'Kim', nodes: 1 }], next: null, total: 1 });
    expect((await api.get('/v1/calendar/orders?expires_from=2100-01-01T00:00:00Z')).body).toMatchObject({ items: [], total: 0 });
    expect((await api.get('/v1/calendar/orders?controller=00000001')).body).toMatchObject({ items: [], total: 0 });
    expect((await api.get('/v1/calendar/orders?expires_from=soon')).body.errors).toMatchObject([{ at: 'expires_from' }]);
    expect((await api.get('/v1/calendar?time_zone=Mars')).body.errors).toMatchObject([{ at: 'time_zone' }]);
    expect(await found('site=S%C3%BCd&site=north&tag=pump')).toEqual(['00000003']);
    expect(await found('q=PUMP&controller=00000002')).toEqual(['00000003']);
    expect(await found('q=pump&order=1')).toEqual([]);
    expect(await found('sort=-id&order=1&order=3')).toEqual(['7a300001', '00000005', '00000002']);
    expect(await found('sort=expires_at&order=1&order=3')).toEqual(['00000005', '00000002', '7a300001']);
    expect(await found('sort=-joined_at&order=1&order=3')).toEqual(['00000005', '00000002', '7a300001']);
    const pages: string[] = [];
    for (let after = ''; ;) {
      const { body } = await api.get(`/v1/nodes?sort=expires_at&limit=2${after}`);
      pages.push(...body.items.map(({ id }: { id: string }) => id));
      expect(body.total).toBe(5);
      if (body.next === null) break;
      after = `&after=${body.next}`;
    }
    expect(pages).toEqual(['00000005', '00000002', '00000003', '00000004', '7a300001']);
    expect((await api.get('/v1/nodes/00000003')).body).toMatchObject({ ...description, location: null, note: null });
    const life = (await api.get('/v1/nodes/00000003/life')).body.items as { what: string }[];
    expect(life.map(({ what }) => what)).toEqual(['order created', 'node described']);
  });

  it('is continued by its own cursor only: not by another filter’s, a changed one or one of another start', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys(ids(1, 5)));
    const api = await LocalApi.start(fixture.registry.folder);
    const { next } = (await api.get('/v1/nodes?limit=2')).body;
    const changed = `${next.slice(0, -2)}${next.endsWith('AA') ? 'BB' : 'AA'}`;
    expect((await api.get(`/v1/nodes?limit=2&after=${next}`)).status).toBe(200);
    const answers = [
      await api.get(`/v1/nodes?limit=2&order=1&after=${next}`),
      await api.get(`/v1/audit?after=${next}`),
      await api.get(`/v1/nodes?limit=2&after=${changed}`),
    ];
    await api.stop();
    const restarted = await LocalApi.start(fixture.registry.folder);
    for (const answer of [...answers, await restarted.get(`/v1/nodes?limit=2&after=${next}`)]) {
      expect(answer.status).toBe(400);
      expect(answer.body.type).toBe('urn:latchkey:problem:cursor-invalid');
    }
  });
});

describe('a node', () => {
  it('is shown as it is after a commit of another process, with its life and the diagnosis of `node why`', async () => {
    const fixture = await AdminFixture.open();
    const key = newSecret();
    await fixture.order({ 0xa1b2: key });
    const api = await LocalApi.start(fixture.registry.folder);
    expect((await api.get('/v1/nodes/0000a1b2')).body).toMatchObject({
      state: 'enrolled',
      key_is_initial: true,
      joined_at: null,
    });
    await fixture.join(0xa1b2, key);
    const { body } = await api.get('/v1/nodes/0000a1b2');
    expect(body).toMatchObject({ id: '0000a1b2', state: 'joined', key_is_initial: false, initial_key: key.fingerprint });
    const life = (await api.get('/v1/nodes/0000a1b2/life')).body.items;
    expect(life.map(({ what }: { what: string }) => what)).toEqual(['order created', 'node joined']);
    const diagnosis = (await api.get('/v1/diagnoses/0000a1b2')).body;
    expect(diagnosis).toMatchObject({ id: '0000a1b2', cause: 'joined', action: { kind: 'start-server' } });
  });

  it('that does not exist is a problem, but has a diagnosis', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    for (const path of ['/v1/nodes/0000dead', '/v1/nodes/0000dead/life']) {
      const { status, headers, body } = await api.get(path);
      expect(status).toBe(404);
      expect(headers['content-type']).toBe('application/problem+json');
      expect(body.type).toBe('urn:latchkey:problem:not-found');
    }
    expect((await api.get('/v1/diagnoses/0000dead')).body).toMatchObject({ cause: 'unknown', action: { kind: 'import-node' } });
  });

  it('has a diagnosis of which the schema strips nothing', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order({ 2: newSecret() });
    await setDisabled(fixture.registry, [2], true);
    const api = await LocalApi.start(fixture.registry.folder);
    for (const idI of [2, 3]) {
      const { body } = await api.get(`/v1/diagnoses/${formatId(idI)}`);
      const { facts, action } = await diagnosisOf(fixture.registry, idI, Date.parse(body.facts.at));
      expect([Object.keys(body.facts), body.action]).toEqual([Object.keys(facts), action]);
    }
  });
});

describe('the summary', () => {
  it('counts nodes, orders and controllers by state', async () => {
    const fixture = await AdminFixture.open();
    const key = newSecret();
    await fixture.order({ 1: key, 2: newSecret(), 3: newSecret() });
    await fixture.join(1, key);
    await setDisabled(fixture.registry, [2], true);
    const api = await LocalApi.start(fixture.registry.folder);
    expect((await api.get('/v1/summary')).body).toMatchObject({
      nodes: { total: 3, never_joined: 2, by_state: { enrolled: 1, joined: 1, expiring: 0, expired: 0, disabled: 1 } },
      orders: { total: 1, by_state: { open: 1 } },
      controllers: { total: 2 },
    });
  });
});

describe('the audit log', () => {
  it('comes latest first, page by page, and the head is the one that `audit verify` compares with', async () => {
    const fixture = await AdminFixture.open();
    for (const id of ids(1, 4)) await fixture.order(keys([id]));
    const api = await LocalApi.start(fixture.registry.folder);
    const first = (await api.get('/v1/audit?limit=3')).body;
    const second = (await api.get(`/v1/audit?limit=100&after=${first.next}`)).body;
    const seqs = [...first.items, ...second.items].map(({ seq }: { seq: number }) => seq);
    expect(seqs).toEqual(ids(1, fixture.headSeq).toReversed());
    expect([first.total, second.next]).toEqual([fixture.headSeq, null]);
    const { head } = (await api.get('/v1/audit/head')).body;
    expect(head).toBe(`${fixture.headSeq}:${(await fixture.registry.audit.readHead())?.hash}`);
    const orders = (await api.get('/v1/audit?what=order%20created&order=2')).body;
    expect(orders).toMatchObject({ total: null, items: [{ what: 'order created', order: 2, actor: 'user ada' }] });
  });
});

describe('a request', () => {
  it('that is wrong is answered with each mistake by field, and without any of its values', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    const { status, text, body } = await api.get(
      '/v1/nodes?limit=secret1&state=secret2&secret3=secret4&starts=secret5&after=~secret6',
    );
    expect(status).toBe(400);
    expect(body.errors.map(({ at }: { at: string }) => at).toSorted()).toEqual(['after', 'limit', 'query', 'starts', 'state.0']);
    expect(text).not.toMatch(/secret/);
    for (const query of [
      'limit=1&limit=2',
      'limit=0',
      'limit=1001',
      'limit=1e2',
      'limit=',
      '__proto__=1',
      'constructor=1',
      'never_joined=yes',
    ])
      expect([query, (await api.get(`/v1/nodes?${query}`)).status]).toEqual([query, 400]);
    for (const path of [
      '/v1/nodes/A1B2',
      '/v1/nodes/0000a1b',
      '/v1/nodes/0000a1b2?id=00000001',
      '/v1/nodes/%00',
      '/v1/nodes/%zz',
    ])
      expect([path, (await api.get(path)).status]).toEqual([path, 400]);
    const many = Array.from({ length: 200 }, () => 'order=1').join('&');
    expect((await api.get(`/v1/nodes?${many}`)).status).toBe(400);
  });

  it('with another method, or for another path, is refused with a problem', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const { status, headers, body } = await api.request('/v1/nodes', {
        method,
        body: 'x'.repeat(10),
        headers: { 'content-length': '10' },
      });
      expect([method, status, headers.allow, body.status]).toEqual([method, 405, 'GET, HEAD', 405]);
    }
    expect((await api.request('/v1/nodes', { method: 'HEAD' })).status).toBe(200);
    for (const path of ['/', '/v1', '/v1/', '/v2/nodes', '/V1/nodes', '/v1//nodes', '/v1/../etc/passwd'])
      expect([path, (await api.get(path)).status]).toEqual([path, 404]);
  });

  it('is answered with headers that keep the answer out of caches and frames', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    for (const path of ['/v1/summary', '/v1/nodes/zz', '/nowhere']) {
      const { headers } = await api.get(path);
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      });
      expect(headers).not.toHaveProperty('access-control-allow-origin');
      expect(headers).not.toHaveProperty('server');
    }
  });

  it('that has the entity tag of the answer gets no body', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys([1]));
    const api = await LocalApi.start(fixture.registry.folder);
    const { headers } = await api.get('/v1/nodes/00000001');
    const again = await api.get('/v1/nodes/00000001', { 'if-none-match': String(headers.etag) });
    expect([again.status, again.text, again.headers.etag]).toEqual([304, '', headers.etag]);
    await setDisabled(fixture.registry, [1], true);
    const changed = await api.get('/v1/nodes/00000001', { 'if-none-match': String(headers.etag) });
    expect([changed.status, changed.body.state]).toEqual([200, 'disabled']);
    expect(changed.headers.etag).not.toBe(headers.etag);
  });

  it('from a browser or through a proxy is refused, whatever else is in it', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder);
    for (const name of [
      'Authorization',
      'Cookie',
      'ORIGIN',
      'Sec-Fetch-Site',
      'sec-fetch-mode',
      'Forwarded',
      'X-Forwarded-For',
      'X-Forwarded-Host',
      'Via',
      'X-Real-IP',
    ]) {
      const { status, body } = await api.get('/v1/summary', { [name]: 'x' });
      expect([name, status, body.type]).toEqual([name, 403, 'urn:latchkey:problem:forwarded-request']);
    }
  });

  it('beyond the rate of its caller is refused, and says when to ask again', async () => {
    const fixture = await AdminFixture.open();
    const api = await LocalApi.start(fixture.registry.folder, {}, undefined, () => 0);
    const answers = await Promise.all(Array.from({ length: 150 }, () => api.get('/v1/audit/head')));
    const refused = answers.filter(({ status }) => status === 429);
    expect([answers.filter(({ status }) => status === 200).length, refused.length]).toEqual([100, 50]);
    for (const { headers } of refused) expect(headers['retry-after']).toBe('1');
  });
});

describe('a registry that changes under the API', () => {
  it('is served as restored after `restore --replace`, by the very next request', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys([1]));
    const { folder } = fixture.registry;
    const copy = join(await tempFolder(), 'backup');
    await backup(fixture.registry, copy);
    const api = await LocalApi.start(folder);
    await fixture.order(keys([2]));
    expect((await api.get('/v1/summary')).body.nodes.total).toBe(2);
    await restore(copy, { folder, master: Secret.from(MASTER), actor: 'user ada', replace: true });
    expect((await api.get('/v1/summary')).body.nodes.total).toBe(1);
    expect((await api.get('/v1/nodes/00000002')).status).toBe(404);
  });

  it('is unavailable while its store is away, and served again once it is back; paths stay in the log', async () => {
    const fixture = await AdminFixture.open();
    const { folder } = fixture.registry;
    const api = await LocalApi.start(folder);
    await rename(join(folder, STORE_FOLDER), join(folder, 'away'));
    const { status, headers, text } = await api.get('/v1/summary');
    expect([status, headers['retry-after']]).toEqual([503, '5']);
    expect(text).not.toContain(folder);
    expect(api.log.text).toContain(folder);
    await rename(join(folder, 'away'), join(folder, STORE_FOLDER));
    expect((await api.get('/v1/summary')).status).toBe(200);
  });

  it('is opened again under a master key that took the place of the one it was opened with', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order(keys([1]));
    let master = Secret.from(MASTER);
    const api = await LocalApi.start(fixture.registry.folder, {}, () => Secret.from(master.expose()));
    expect((await api.get('/v1/nodes/00000001')).status).toBe(200);
    // The API asks for nothing while this goes on, and so knows neither key that follows.
    for (const key of [newSecret(), newSecret()]) {
      const install = (): Promise<void> => {
        master = key;
        return Promise.resolve();
      };
      await rotateMasterKey(fixture.registry, { path: '/nowhere', key: Secret.from(key.expose()), install });
    }
    const { status, body } = await api.get('/v1/nodes/00000001');
    expect([status, body.id]).toEqual([200, '00000001']);
  });
});
