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
import { ReopenedRegistry } from '../src/registry-access.js';
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

  it('says resync after an ID of before a restore, though the log has an entry of that number', async () => {
    const { fixture, api } = await start();
    const { folder } = fixture.registry;
    const copy = join(await tempFolder(), 'backup');
    await backup(fixture.registry, copy);
    const client = await Client.open(api.socket);
    await setDisabled(fixture.registry, [1], true);
    const { id } = await client.event();
    client.close();
    await restore(copy, { folder, master: Secret.from(MASTER), actor: 'user ada', replace: true });
    const restored = await Registry.open(folder, Secret.from(MASTER), 'user ada');
    await setDisabled(restored, [2, 3], true);
    await restored.close();
    const later = await Client.open(api.socket, '/v1/events', { 'last-event-id': String(id) });
    expect((await later.event()).event).toBe('resync');
  });

  it('says resync after an ID where entries after it were pruned', async () => {
    const { fixture, api } = await start();
    const client = await Client.open(api.socket);
    await setDisabled(fixture.registry, [1], true);
    const { id } = await client.event();
    await setDisabled(fixture.registry, [2, 3], true);
    await fixture.registry.pruneAudit(fixture.headSeq - 1, 'elsewhere');
    const later = await Client.open(api.socket, '/v1/events', { 'last-event-id': String(id) });
    expect((await later.event()).event).toBe('resync');
    await setDisabled(fixture.registry, [4], true);
    expect((await later.event()).data).toMatchObject({ what: 'node disabled', node: '00000004' });
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

interface Setup {
  readonly fixture: AdminFixture;
  /** Opens a stream of the caller after entry `seq`. */
  readonly open: (principal: Principal, seq?: number) => Promise<Client>;
}

/** A stream of a registry with node 1, whose looks come fast. */
async function setUp(): Promise<Setup> {
  const fixture = await AdminFixture.open();
  await fixture.order({ 1: newSecret() });
  const { folder } = fixture.registry;
  const registry = new ReopenedRegistry(folder, () => Registry.open(folder, Secret.from(MASTER), 'api'));
  const [log, opaque] = [new CapturedLog().log, new OpaqueValues()];
  const streams = new EventStreams({ registry, opaque, log, intervalMs: 5, signOfLifeMs: 5 });
  let begun: { readonly principal: Principal; readonly last: string | undefined } | undefined;
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (begun !== undefined)
      void streams.open(begun.principal, fixture.registry, {}, begun.last).then(({ start }) => start(response));
  });
  const socket = join(await tempFolder(), 'events.sock');
  server.listen(socket);
  await once(server, 'listening');
  onTestFinished(async () => {
    await streams.close();
    server.close();
    await registry.close();
  });
  const open = (principal: Principal, seq?: number): Promise<Client> => {
    begun = { principal, last: seq === undefined ? undefined : opaque.sealCursor(principal, 'events', seq) };
    return Client.open(socket);
  };
  return { fixture, open };
}

describe('a stream of events, looked at closely', () => {
  it('shows that it is alive, and ends once its caller may no longer read', async () => {
    const { fixture, open } = await setUp();
    let scopes = scopesOf('viewer');
    const viewer: Principal = { id: 'uid 7', scopes, recheck: () => Promise.resolve({ id: 'uid 7', scopes }) };
    const client = await open(viewer);
    expect(await client.block()).toBe(': the audit log, from here on');
    expect(await client.block()).toBe(':');
    scopes = new Set();
    await setDisabled(fixture.registry, [1], true);
    let last;
    do last = await client.block();
    while (last === ':');
    expect(last).toBeUndefined();
  });

  it('searches a long log part by part for what a caller with limits sees, up to 20,000 entries', async () => {
    const { fixture, open } = await setUp();
    const { registry } = fixture;
    const othersChange = (count: number): Promise<void> => {
      const events = ids(0, count).map(() => ({ what: 'order described', order: 2 }) as const);
      return registry.write({}, () => ({ result: undefined, events }));
    };
    const kim: Principal = { id: 'uid 7', scopes: scopesOf('viewer'), limits: { orders: [1] } };
    const before = fixture.headSeq;
    await othersChange(2_100);
    await setDisabled(registry, [1], true);
    // Found within the last part: what is before it was not for this caller.
    expect((await (await open(kim, before)).event()).data).toMatchObject({ what: 'node disabled', node: '00000001' });
    const after = fixture.headSeq;
    await setDisabled(registry, [1], false);
    await othersChange(1_100);
    expect((await (await open(kim, after)).event()).event).toBe('resync');
    const end = fixture.headSeq;
    for (let i = 0; i < 4; i++) await othersChange(5_001);
    expect((await (await open(kim, end)).event()).event).toBe('resync');
  });
});
