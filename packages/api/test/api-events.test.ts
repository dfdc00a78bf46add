// Events over HTTP, read as they come.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { backup, Registry, restore } from '@latchkey/registry';
import { setDisabled } from '@latchkey/operations';
import { AdminFixture, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Principal, scopesOf } from '../src/access.js';
import { EventStreams } from '../src/events/event-streams.js';
import { OpaqueValues } from '../src/opaque.js';
import { RegistryAccess } from '../src/registry-access.js';
import { EventClient as Client } from './event-client.js';
import { LocalApi } from './local-api.js';

const ids = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

async function start(nodes = 40): Promise<{ readonly fixture: AdminFixture; readonly api: LocalApi }> {
  const fixture = await AdminFixture.open();
  await fixture.order(Object.fromEntries(ids(1, nodes).map((id) => [id, newSecret()])));
  return { fixture, api: await LocalApi.start(fixture.registry.folder) };
}

describe('a stream of events', () => {
  it('has what happens from its beginning on, without who did it and without keys', async () => {
    const { fixture, api } = await start();
    const client = await Client.open(api.socket);
    await setDisabled(fixture.registry, [7], true);
    const { id, data } = await client.event();
    expect(data).toEqual({ at: expect.any(String), what: 'node disabled', node: '00000007' });
    expect(client.type).toBe('text/event-stream');
    expect(id).toMatch(/^[\w-]{30,}$/);
  });

  it('has what its filter lets through', async () => {
    const { fixture, api } = await start();
    const client = await Client.open(api.socket, '/v1/events?what=node%20enabled&what=order%20created&node=00000002');
    await setDisabled(fixture.registry, [1, 2], true);
    await setDisabled(fixture.registry, [1, 2], false);
    expect((await client.event()).data).toMatchObject({ what: 'node enabled', node: '00000002' });
  });

  it('counts what comes too fast, and goes on after any of its events', async () => {
    const { fixture, api } = await start();
    const client = await Client.open(api.socket);
    await setDisabled(fixture.registry, ids(1, 40), true);
    const events = [];
    for (let i = 0; i < 11; i++) events.push(await client.event());
    expect(events.slice(0, 10).map(({ data }) => data['node'])).toEqual(ids(1, 10).map((id) => `0000000${id.toString(16)}`));
    expect(events[10]).toMatchObject({ event: 'rate', data: { 'node disabled': 30 } });
    const later = await Client.open(api.socket, '/v1/events', { 'last-event-id': String(events[4]?.id) });
    expect((await later.event()).data).toMatchObject({ node: '00000006' });
    await setDisabled(fixture.registry, [3], false);
    expect((await client.event()).data).toMatchObject({ what: 'node enabled', node: '00000003' });
  });

  it('says resync after an ID that is not its own, or too old', async () => {
    const { fixture, api } = await start(1_100);
    const client = await Client.open(api.socket);
    await setDisabled(fixture.registry, [1], true);
    const { id } = await client.event();
    for (const wrong of ['x', '1', `${String(id).slice(0, -4)}AAAA`])
      expect((await (await Client.open(api.socket, '/v1/events', { 'last-event-id': wrong })).event()).event).toBe('resync');
    await setDisabled(fixture.registry, ids(2, 1_099), true);
    expect((await client.event()).event).toBe('resync');
    const old = await Client.open(api.socket, '/v1/events', { 'last-event-id': String(id) });
    expect((await old.event()).event).toBe('resync');
  });

  it('says resync after a restore, and goes on', async () => {
    const { fixture, api } = await start();
    const { folder } = fixture.registry;
    const copy = join(await tempFolder(), 'backup');
    await backup(fixture.registry, copy);
    const client = await Client.open(api.socket);
    await restore(copy, { folder, master: Secret.from(MASTER), actor: 'user ada', replace: true });
    let event;
    do ({ event } = await client.event());
    while (event !== 'resync');
    const restored = await Registry.open(folder, Secret.from(MASTER), 'user ada');
    await setDisabled(restored, [3], true);
    await restored.close();
    expect((await client.event()).data).toMatchObject({ what: 'node disabled', node: '00000003' });
  });

  it('is one of ten of its caller at most, and gives its place back', async () => {
    const { api } = await start(1);
    const clients = [];
    for (let i = 0; i < 10; i++) clients.push(await Client.open(api.socket));
    expect(clients.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect((await api.get('/v1/events')).body.type).toBe('urn:latchkey:problem:too-many-requests');
    expect((await api.request('/v1/events', { method: 'HEAD' })).status).toBe(404);
  });
});

describe('a stream of events, looked at closely', () => {
  it('shows that it is alive, and ends once its caller may no longer read', async () => {
    const fixture = await AdminFixture.open();
    await fixture.order({ 1: newSecret() });
    const { folder } = fixture.registry;
    const registry = new RegistryAccess(folder, () => Registry.open(folder, Secret.from(MASTER), 'api'));
    const log = new CapturedLog().log;
    const streams = new EventStreams({ registry, opaque: new OpaqueValues(), log, intervalMs: 5, signOfLifeMs: 5 });
    let scopes = scopesOf('viewer');
    const viewer: Principal = { id: 'uid 7', scopes, recheck: () => Promise.resolve({ id: 'uid 7', scopes }) };
    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      void streams.open(viewer, fixture.registry, {}, undefined).then(({ start }) => start(response));
    });
    const socket = join(await tempFolder(), 'events.sock');
    server.listen(socket);
    await once(server, 'listening');
    onTestFinished(async () => {
      await streams.close();
      server.close();
      await registry.close();
    });
    const client = await Client.open(socket);
    expect(await client.block()).toBe(': the audit log, from here on');
    expect(await client.block()).toBe(':');
    scopes = new Set();
    await setDisabled(fixture.registry, [1], true);
    let last;
    do last = await client.block();
    while (last === ':');
    expect(last).toBeUndefined();
  });
});
