// Changes of one thing over HTTP: only by a caller who has seen it as it is, and in that one's
// name.

import { join } from 'node:path';
import { formatId, Secret } from '@latchkey/protocol';
import { backup, Registry, restore } from '@latchkey/registry';
import { setDisabled, setKeyLifetime } from '@latchkey/operations';
import { AdminFixture, C1, C2, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it } from 'vitest';
import { createToken, LocalApi } from './local-api.js';

const UID = `uid ${process.getuid?.() ?? 0}`;

async function start(): Promise<{ readonly fixture: AdminFixture; readonly api: LocalApi }> {
  const fixture = await AdminFixture.open();
  await fixture.order({ 1: newSecret(), 2: newSecret() });
  return { fixture, api: await LocalApi.start(fixture.registry.folder) };
}

async function etagOf(api: LocalApi, path: string): Promise<Record<string, string>> {
  const { status, headers } = await api.get(path);
  expect([path, status]).toEqual([path, 200]);
  return { 'if-match': String(headers.etag) };
}

describe('a node', () => {
  it('is changed by a caller who has seen it as it is, whom the audit log names', async () => {
    const { fixture, api } = await start();
    const path = '/v1/nodes/00000001';
    const seen = await etagOf(api, path);
    const before = fixture.headSeq;
    const disabled = await api.change('PATCH', path, { disabled: true }, seen);
    expect([disabled.status, disabled.body]).toEqual([200, { changed: 1, unchanged: 0 }]);
    expect((await api.get(path)).body.state).toBe('disabled');
    const renewed = await etagOf(api, path);
    expect((await api.change('PATCH', path, { lifetime_seconds: 60, grace_seconds: 5 }, renewed)).status).toBe(200);
    expect((await api.get(path)).body).toMatchObject({ lifetime_seconds: 60, grace_seconds: 5 });
    expect(fixture.entriesAfter(before).map(({ what, actor, node }) => [what, actor, node])).toEqual([
      ['node disabled', UID, '00000001'],
      ['node lifetime changed', UID, '00000001'],
    ]);
  });

  it('is described, and each change of that makes what was seen before an old state', async () => {
    const { fixture, api } = await start();
    const path = '/v1/nodes/00000001';
    const seen = await etagOf(api, path);
    const texts = { name: 'Pump 3', site: 'north', location: 'pillar 7', note: 'new', tags: ['pump'] };
    const described = await api.change('PATCH', path, texts, seen);
    expect([described.status, described.body]).toEqual([200, { changed: 1, unchanged: 0 }]);
    expect((await api.change('PATCH', path, { name: 'Valve' }, seen)).status).toBe(412);
    expect((await api.change('PATCH', path, { note: null, tags: [] }, await etagOf(api, path))).status).toBe(200);
    expect((await api.get(path)).body).toMatchObject({ ...texts, note: null, tags: [] });
    const wrong = await api.change('PATCH', path, { name: 'a\u202eb' }, await etagOf(api, path));
    expect([wrong.status, wrong.text.includes('\u202e')]).toEqual([400, false]);
    expect(fixture.entriesAfter(0).flatMap(({ what, note }) => (what === 'node described' ? [note] : []))).toEqual([
      'name, site, location, note, tags',
      'note, tags',
    ]);
  });

  it('is not changed without If-Match, by an old one, by another thing’s or by another caller’s', async () => {
    const { fixture, api } = await start();
    const path = '/v1/nodes/00000001';
    const seen = await etagOf(api, path);
    const { text } = await createToken(fixture.registry.folder, { scopes: ['read', 'nodes'] });
    const strange = await api.remote(path, text);
    const head = fixture.headSeq;
    const missing = await api.change('PATCH', path, { disabled: true });
    expect([missing.status, missing.body.type]).toEqual([428, 'urn:latchkey:problem:precondition-required']);
    expect((await api.change('DELETE', path)).status).toBe(428);
    for (const wrong of [
      await etagOf(api, '/v1/nodes/00000002'),
      await etagOf(api, '/v1/orders/1'),
      { 'if-match': String(strange.headers.etag) },
      { 'if-match': '"x"' },
      { 'if-match': `W/${seen['if-match'] ?? ''}` },
      { 'if-match': '' },
    ])
      expect([wrong, (await api.change('PATCH', path, { disabled: true }, wrong)).status]).toEqual([wrong, 412]);
    expect(fixture.headSeq).toBe(head);
    await setDisabled(fixture.registry, [1], true);
    const stale = await api.change('DELETE', path, undefined, seen);
    expect([stale.status, stale.body.type]).toEqual([412, 'urn:latchkey:problem:changed-meanwhile']);
    expect((await api.get(path)).status).toBe(200);
  });

  it('is not changed by who saw it before a restore, though its latest entry has the same number', async () => {
    const { fixture, api } = await start();
    const { folder } = fixture.registry;
    const path = '/v1/nodes/00000001';
    const copy = join(await tempFolder(), 'backup');
    await backup(fixture.registry, copy);
    const { next } = (await api.get('/v1/nodes?limit=1')).body;
    await fixture.registry.record({ what: 'user added', note: 'user bo: viewer' });
    await setDisabled(fixture.registry, [1], true);
    const seen = await etagOf(api, path);
    const entry = fixture.headSeq;
    await restore(copy, { folder, master: Secret.from(MASTER), actor: 'user ada', replace: true });
    const restored = await Registry.open(folder, Secret.from(MASTER), 'user ada');
    await setKeyLifetime(restored, [1], { lifetime: 60, grace: 5 });
    expect((await restored.nodeRow(1))?.entry).toBe(entry);
    await restored.close();
    expect((await api.change('PATCH', path, { disabled: true }, seen)).status).toBe(412);
    expect((await api.change('PATCH', path, { disabled: true }, await etagOf(api, path))).status).toBe(200);
    expect((await api.get(`/v1/nodes?limit=1&after=${next}`)).body.type).toBe('urn:latchkey:problem:cursor-invalid');
  });

  it('is changed by one of two callers who have seen the same, never by both', async () => {
    const { fixture, api } = await start();
    const path = '/v1/nodes/00000001';
    const seen = await etagOf(api, path);
    const before = fixture.headSeq;
    const answers = await Promise.all(
      [10, 20, 30, 40].map((lifetime) => api.change('PATCH', path, { lifetime_seconds: lifetime }, seen)),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412, 412, 412]);
    expect(fixture.entriesAfter(before).length).toBe(1);
  });

  it('is removed, and is then unknown', async () => {
    const { api } = await start();
    const path = '/v1/nodes/00000001';
    const seen = await etagOf(api, path);
    expect((await api.change('DELETE', path, undefined, seen)).status).toBe(200);
    for (const answer of [await api.get(path), await api.change('DELETE', path, undefined, seen)])
      expect([answer.status, answer.body.type]).toEqual([404, 'urn:latchkey:problem:not-found']);
    expect((await api.change('PATCH', path, { disabled: true }, { 'if-match': '*' })).status).toBe(404);
  });
});

describe('an order', () => {
  it('is described, which is a change that others see', async () => {
    const { api } = await start();
    const seen = await etagOf(api, '/v1/orders/1');
    expect((await api.change('PATCH', '/v1/orders/1', { site: 'north', contact: '+49 30 1' }, seen)).status).toBe(200);
    expect((await api.change('PATCH', '/v1/orders/1', { site: 'south' }, seen)).status).toBe(412);
    const both = { site: 'south', state: 'suspended' };
    expect((await api.change('PATCH', '/v1/orders/1', both, await etagOf(api, '/v1/orders/1'))).status).toBe(400);
    expect((await api.get('/v1/orders/1')).body).toMatchObject({ site: 'north', contact: '+49 30 1', state: 'open' });
    expect((await api.get('/v1/nodes?site=north')).body.total).toBe(2);
  });

  it('is suspended, resumed, opened for a window and closed for good', async () => {
    const { fixture, api } = await start();
    const path = '/v1/orders/1';
    const change = async (body: object): Promise<unknown> =>
      (await api.change('PATCH', path, body, await etagOf(api, path))).body;
    const before = fixture.headSeq;
    expect(await change({ state: 'suspended' })).toEqual({ order: 1, state: 'suspended' });
    expect(await change({ state: 'open' })).toEqual({ order: 1, state: 'open' });
    expect(await change({ join_from: '2100-01-01T00:00:00Z', join_until: '2100-02-01T00:00:00Z' })).toMatchObject({
      state: 'scheduled',
    });
    expect(await change({ join_until: null })).toMatchObject({ state: 'open' });
    expect((await api.get(path)).body).toMatchObject({ join_from: null, join_until: null });
    expect(await change({ state: 'closed' })).toMatchObject({ state: 'closed' });
    expect(fixture.entriesAfter(before).map(({ what, actor }) => [what, actor])).toEqual(
      ['order suspended', 'order resumed', 'order opened', 'order opened', 'order closed'].map((what) => [what, UID]),
    );
    const refused = await api.change('PATCH', path, { state: 'open' }, await etagOf(api, path));
    expect([refused.status, refused.body]).toEqual([
      409,
      {
        type: 'urn:latchkey:problem:refused',
        title: expect.any(String),
        status: 409,
        detail: 'order 1 is closed for good',
        advice: expect.stringContaining('Nothing was changed.'),
      },
    ]);
  });
});

describe('a controller', () => {
  it('is moved to another address, and removed once it has no nodes; the operation says what to do first', async () => {
    const { api } = await start();
    const path = `/v1/controllers/${formatId(C1)}`;
    const changed = await api.change('PATCH', path, { nid: '192.0.2.99:5683' }, await etagOf(api, path));
    expect(changed.body).toMatchObject({ changed: true, nid: '192.0.2.99:5683', nodes: { waiting: [{ order: 1, nodes: 2 }] } });
    const refused = await api.change('DELETE', path, undefined, await etagOf(api, path));
    expect([refused.status, refused.body.run]).toEqual([
      409,
      [`latchkey-auth-server node move --from ${formatId(C1)} --controller ${formatId(C2)}`],
    ]);
    const other = `/v1/controllers/${formatId(C2)}`;
    expect((await api.change('DELETE', other, undefined, await etagOf(api, other))).body).toEqual({ id: formatId(C2) });
    expect((await api.get(other)).status).toBe(404);
  });

  it('is given keys of nodes only by a caller who may hand keys out', async () => {
    const { fixture, api } = await start();
    const path = `/v1/controllers/${formatId(C1)}`;
    const { text } = await createToken(fixture.registry.folder, { scopes: ['read', 'controllers'] });
    const { headers } = await api.remote(path, text);
    const set = async (isOn: boolean): Promise<number> => {
      const sent = { 'content-type': 'application/json', 'if-match': String(headers.etag) };
      const body = JSON.stringify({ pass_through: isOn });
      return (await api.remote(path, text, sent, { method: 'PATCH', body })).status;
    };
    expect([await set(false), await set(true)]).toEqual([403, 200]);
  });
});

describe('a change', () => {
  it('by a token is in the audit log under its name and its maker’s', async () => {
    const { fixture, api } = await start();
    const { text } = await createToken(fixture.registry.folder, { scopes: ['nodes'], name: 'ci', createdBy: 'user ada' });
    const before = fixture.headSeq;
    const headers = { 'content-type': 'application/json', 'if-match': '*' };
    const body = '{"disabled":true}';
    const { status } = await api.remote('/v1/nodes/00000001', text, headers, { method: 'PATCH', body });
    expect([status, fixture.entriesAfter(before).map(({ actor }) => actor)]).toEqual([200, ['token ci of ada']]);
  });

  it('that is wrong names each field, and none of its values', async () => {
    const { fixture, api } = await start();
    const head = fixture.headSeq;
    const path = '/v1/nodes/00000001';
    const match = { 'if-match': '*' };
    for (const [body, at] of [
      [{ lifetime_seconds: 'secret' }, 'lifetime_seconds'],
      [{ secret: 'secret' }, 'body'],
      [{ id: 'secret' }, 'body'],
      [{}, 'body'],
      [{ disabled: true, lifetime_seconds: 1 }, 'body'],
      [['secret'], 'body'],
      ['secret', 'body'],
    ] as const) {
      const answer = await api.change('PATCH', path, body, match);
      expect([body, answer.status, answer.body.errors?.[0]?.at]).toEqual([body, 400, at]);
      expect(answer.text).not.toContain('secret');
    }
    const raw = (body: string, type = 'application/json'): Promise<{ readonly status: number; readonly text: string }> =>
      api.request(path, { method: 'PATCH', headers: { ...match, 'content-type': type }, body });
    for (const [status, answer] of [
      [400, await raw('{"disabled":tru')],
      [400, await raw('{"__proto__":{"disabled":true},"disabled":true}')],
      [400, await raw('')],
      [415, await raw('disabled=true', 'application/x-www-form-urlencoded')],
      [415, await raw('{"disabled":true}', 'text/plain')],
      [413, await raw(JSON.stringify({ disabled: true, x: 'x'.repeat(70_000) }))],
      [400, await api.change('PATCH', `${path}?force=true`, { disabled: true }, match)],
      [400, await api.change('DELETE', path, { yes: true }, match)],
    ] as const)
      expect([answer.text, answer.status]).toEqual([answer.text, status]);
    expect(fixture.headSeq).toBe(head);
  });
});
