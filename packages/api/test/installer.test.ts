// Callers that see some orders: an installer in a browser, and a token that is limited.

import type { OrderLimits } from '@latchkey/operations/contract';
import { call, nodesSet, removeNodes, setDisabled } from '@latchkey/operations';
import { formatId } from '@latchkey/protocol';
import { C2, newSecret, UNKNOWN_CONTROLLER } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it, vi } from 'vitest';
import { LIMITABLE_SCOPES, type Role } from '../src/access.js';
import { ROUTES } from '../src/routes.js';
import { BrowserApi, FROM_PAGE } from './browser-api.js';
import { documentedRequests, type ValuesOf } from './documented-requests.js';
import { EventClient } from './event-client.js';
import { type Answer, ask, createToken } from './local-api.js';

const RECIPIENT = 'age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p';
/** The token does not name it. */
const OTHER_RECIPIENT = 'age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg';
const KIM: OrderLimits = { installer: 'Kim' };
const [OWN, OTHER, NOBODY] = [1, 0x11, 0x22].map(formatId) as [string, string, string];

interface Caller {
  readonly api: BrowserApi;
  readonly socket: string;
  readonly headers: Record<string, string>;
}

async function installer(limits: OrderLimits = KIM): Promise<Caller> {
  const api = await BrowserApi.start();
  const session = await api.signedIn('kim', 'installer', limits);
  return { api, socket: api.sockets.browser, headers: { ...FROM_PAGE, ...session.headers } };
}

async function limitedToken(): Promise<Caller> {
  const api = await BrowserApi.start();
  const { text } = await createToken(api.fixture.registry.folder, {
    scopes: LIMITABLE_SCOPES,
    recipients: [RECIPIENT],
    limits: KIM,
  });
  return { api, socket: api.sockets.remote, headers: { authorization: `Bearer ${text}` } };
}

function send({ socket, headers }: Caller, method: string, path: string, body?: object, more: object = {}): Promise<Answer> {
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  const options = { method, headers: { ...headers, ...type, ...more } };
  return ask({ socketPath: socket }, path, body === undefined ? options : { ...options, body: JSON.stringify(body) });
}

/** Order 1 is Kim's. */
async function addOwnOrder({ fixture }: BrowserApi): Promise<void> {
  const key = newSecret();
  await fixture.order({ 1: newSecret(), 5: key }, { site: 'north' });
  await fixture.join(5, key);
}

/**
 * Order 2 is Bo's; a node has joined, another is disabled, and a stranger was asked for. An
 * administrator has a job.
 */
async function addOtherOrder(api: BrowserApi): Promise<Target> {
  const { fixture } = api;
  const key = newSecret();
  await fixture.order({ 0x11: key, 0x12: newSecret() }, { installer: 'Bo', idC: C2, site: 'south' });
  await fixture.join(0x11, key, { idC: C2 });
  await setDisabled(fixture.registry, [0x12], true);
  await fixture.testServer(async (server) => {
    await server.request(server.exchange(0x22, newSecret(), { idC: C2 }), 'm2');
    await server.request(server.exchange(0x11, newSecret(), { idC: UNKNOWN_CONTROLLER }), 'm2');
  });
  const texts = { site: 'south', tag: 'moist', text: 'Valve of B' };
  const context = { registry: fixture.registry, clock: fixture.registry.clock, actor: 'user ada' };
  await call(nodesSet, context, { select: { ids: [OTHER] }, description: { name: texts.text, tags: [texts.tag] } });
  const { fingerprint } = (await fixture.registry.node(0x11))!.key;
  const session = await api.signedIn('cleo', 'admin');
  const { id: job } = (await session.post('/v1/diagnoses', { filter: {} })).body;
  return { id: OTHER, order: 2, controller: '00000002', installer: 'Bo', ...texts, job, key: fingerprint };
}

/** Requests whose answers have no time of now but in `at`. */
const READS = [
  '/v1/summary',
  '/v1/nodes',
  '/v1/nodes?limit=1',
  '/v1/nodes?order=1',
  '/v1/nodes?order=2',
  '/v1/nodes?controller=00000002',
  '/v1/nodes?state=disabled&state=joined',
  '/v1/nodes?site=south',
  '/v1/nodes?starts=0000001',
  '/v1/nodes?q=11',
  ...[OWN, OTHER, NOBODY].flatMap((id) => [`/v1/nodes/${id}`, `/v1/nodes/${id}/life`, `/v1/diagnoses/${id}`]),
  `/v1/diagnoses/${OTHER}?holds=1b21`,
  '/v1/orders',
  '/v1/orders?limit=1',
  '/v1/orders/1',
  '/v1/orders/2',
  '/v1/orders/2/exposure',
  '/v1/exposure',
  '/v1/controllers',
  '/v1/controllers/00000002',
  '/v1/clock',
  '/v1/audit',
  '/v1/audit/head',
  '/v1/jobs',
  '/v1/nowhere',
];

/** What is of the time of asking, or opaque, is left out: the entity tag of such an answer, too. */
async function transcript(caller: Caller): Promise<unknown[]> {
  const answers = [];
  for (const path of READS) {
    const { status, headers, text } = await send(caller, 'GET', path);
    const body = text
      .replaceAll(/"(at|seen_at)":"[^"]*"/g, '"$1":""')
      .replaceAll(/last seen at \S*Z/g, 'last seen')
      .replace(/"next":"([^"]*)"/, (_, { length }: string) => `"next":${length}`);
    answers.push([path, status, headers['content-length'], body === text ? headers.etag : '', body]);
  }
  return answers;
}

/** What a request names. */
interface Target {
  readonly id: string;
  readonly order: number;
  readonly controller: string;
  readonly installer: string;
  readonly site: string;
  readonly tag: string;
  readonly text: string;
  readonly job: string;
  /** Fingerprint. */
  readonly key: string;
}

/** Nothing in the registry, and as long in octets as what `addOtherOrder` adds. */
const NOTHING: Target = {
  id: '000000dd',
  order: 7,
  controller: '000000cc',
  installer: 'Zo',
  site: 'sooth',
  tag: 'humid',
  text: 'Valve of Z',
  job: 'aaaaaaaaaaaaaaaa',
  key: '1b21',
};

function valuesOf({ id, order, controller, installer, site, tag, text, job, key }: Target): ValuesOf {
  const values: Readonly<Record<string, readonly unknown[]>> = {
    order: [order],
    controller: [controller],
    to: [controller],
    installer: [installer],
    actor: [installer],
    site: [site],
    tag: [tag],
    job: [job],
    id: [id],
    node: [id],
    after_id: [id],
    id_prefix: [id],
    starts: [id],
    ids: [[id], [OWN, id]],
    q: [id, text],
    search: [id, text],
    holds: [key],
    recipients: [[RECIPIENT], [OTHER_RECIPIENT]],
    time_zone: ['Europe/Berlin'],
    what: ['node disabled'],
    after: ['bm90IGEgY3Vyc29y'],
    expect: ['AAAAAAAAAAAAAAAAAAAAAA'],
    max_age_seconds: [0],
    'If-Match': ['*', '"AAAAAAAAAAAAAAAAAAAAAA"'],
    'Idempotency-Key': ['a request'],
    'Last-Event-ID': ['bm90IG9uZQ'],
  };
  return (name) => values[name];
}

/** A body has one of these, which no schema says. */
const COMPLETIONS: Readonly<Record<string, readonly object[]>> = {
  'nodes.change-many': [{ dry_run: true }, { expect: 'AAAAAAAAAAAAAAAAAAAAAA' }],
  'imports.run': [{ dry_run: true }, { expect: 'AAAAAAAAAAAAAAAAAAAAAA' }],
};

type Compared = readonly [status: number, ...rest: unknown[]];

/** An answer without what is of the time of asking, of chance, or of the target that was named. */
function comparable({ status, headers, text }: Pick<Answer, 'status' | 'headers' | 'text'>, target: Target): Compared {
  const said = text
    .replaceAll(/(?<="(at|seen_at|created_at|finished_at)":")[^"]*/g, '')
    .replaceAll(/last seen at \S*Z/g, 'last seen')
    .replaceAll(new RegExp(`(?<=order |"order":)${target.order}\\b`, 'g'), 'N')
    .replaceAll(new RegExp([target.id, target.controller, target.job, target.text].join('|'), 'g'), '?')
    .replace(/(?<="next":")[^"]*/, ({ length }) => String(length))
    .replace(/(?<="id":")[\w-]{16}(?=","kind")/, 'JOB');
  const { date: _, etag, location, ...others } = headers;
  return [status, { ...others, location: location?.replace(/[\w-]{16}$/, 'JOB') }, said === text ? etag : '', said];
}

/** Takes every answer to a request: of a job its result too, and of a stream how it begins. */
async function tryAll(caller: Caller, target: Target): Promise<Map<string, Compared>> {
  const answers = new Map<string, Compared>();
  const refused = new Set<string>();
  let count = 0;
  const ask = (...request: Parameters<typeof send> extends [unknown, ...infer Rest] ? Rest : never): Promise<Answer> => {
    // No request is too fast.
    caller.api.clock.monotonicMs += 50;
    return send(caller, ...request);
  };
  for (const { operation, method, path, headers, body, about } of documentedRequests(valuesOf(target), COMPLETIONS)) {
    // A refusal is about the operation: no parameter is looked at.
    if (refused.has(operation)) continue;
    const name = [operation, method, ++count].join(' ');
    if (operation === 'events.follow') {
      caller.api.clock.monotonicMs += 50;
      const stream = await EventClient.open(caller.socket, path, { ...caller.headers, ...headers });
      answers.set(name, [stream.status, stream.type, await stream.block()]);
      stream.close();
      continue;
    }
    const sent =
      headers['idempotency-key'] === undefined ? headers : { ...headers, 'idempotency-key': `request-${count}-${target.id}` };
    const answer = await ask(method, path, body, sent);
    answers.set(name, comparable(answer, target));
    if (answer.status === 403 && about === '') refused.add(operation);
    // Its tag is of the body, which has the time of asking.
    if (method === 'GET') {
      const { headers: shown, ...head } = await ask('HEAD', path);
      answers.set(`${name} HEAD`, comparable({ ...head, headers: { ...shown, etag: undefined } }, target));
    }
    if (answer.status !== 202) continue;
    const job = `/v1/jobs/${answer.body.id}`;
    let ended: Answer;
    do ended = await ask('GET', job);
    while (ended.body.state === 'running');
    answers.set(`${name} job`, comparable(ended, target));
    await ask('DELETE', job);
  }
  return answers;
}

/** When the request was made, and when the server was seen. */
const TIMES = /(?<="(at|seen_at)":")[^"]*/g;

describe.each([
  ['an installer', installer],
  ['a token that is limited to an installer', limitedToken],
])('%s', (_, start) => {
  it('is answered the same, whatever there is of others', async () => {
    const caller = await start();
    await addOwnOrder(caller.api);
    const before = await transcript(caller);
    await addOtherOrder(caller.api);
    expect(await transcript(caller)).toEqual(before);
    expect((await send(caller, 'GET', '/v1/nodes')).body).toMatchObject({ total: 2, items: [{ id: OWN, key: null }, {}] });
    expect((await send(caller, 'GET', '/v1/summary')).body).toMatchObject({
      nodes: { total: 2 },
      orders: { total: 1 },
      controllers: { total: 1 },
    });
  });

  it('names what is of others in every parameter and field: it is as if there were nothing', async () => {
    const caller = await start();
    const { fixture } = caller.api;
    await addOwnOrder(caller.api);
    const other = await addOtherOrder(caller.api);
    const head = fixture.headSeq;
    const nothing = await tryAll(caller, NOTHING);
    for (const [name, answer] of await tryAll(caller, other)) expect([name, answer]).toEqual([name, nothing.get(name)]);
    expect(fixture.headSeq).toBe(head);
    // Each operation was reached, and none was refused for its input only, or for being too fast.
    for (const { name } of ROUTES) {
      const ofRoute = [...nothing].filter(([request]) => request.startsWith(`${name} `));
      const statuses = new Set(ofRoute.map(([, answer]) => answer[0]));
      expect([name, statuses.has(429)]).toEqual([name, false]);
      expect([name, [...statuses].some((status) => ![400, 428].includes(status))]).toEqual([name, true]);
    }
  });

  it('follows the events of its own nodes', async () => {
    const caller = await start();
    const { fixture } = caller.api;
    await addOwnOrder(caller.api);
    const client = await EventClient.open(caller.socket, '/v1/events', caller.headers);
    await addOtherOrder(caller.api);
    await fixture.registry.record({ what: 'user added', note: 'user bo: viewer' });
    await setDisabled(fixture.registry, [0x11, 1], true);
    expect((await client.event()).data).toEqual({ at: expect.any(String), what: 'node disabled', node: OWN });
  });

  it('is not told what happened to a node of others that had the ID of its own', async () => {
    const caller = await start();
    const { fixture } = caller.api;
    await fixture.order({ 1: newSecret() });
    await fixture.order({ 0x11: newSecret() }, { installer: 'Bo' });
    const client = await EventClient.open(caller.socket, '/v1/events', caller.headers);
    await setDisabled(fixture.registry, [1], true);
    const { id } = await client.event();
    client.close();
    await setDisabled(fixture.registry, [0x11], true);
    await removeNodes(fixture.registry, [0x11]);
    await fixture.order({ 0x11: newSecret() });
    await setDisabled(fixture.registry, [0x11], true);
    const later = await EventClient.open(caller.socket, '/v1/events', { ...caller.headers, 'last-event-id': String(id) });
    expect((await later.event()).data).toMatchObject({ what: 'order created', order: 3 });
    expect((await later.event()).data).toMatchObject({ what: 'node disabled', node: OTHER });
  });

  it('is not told of more events of others than a stream may be behind, but of its own among them', async () => {
    const caller = await start();
    const { fixture } = caller.api;
    await addOwnOrder(caller.api);
    await addOtherOrder(caller.api);
    const { headers } = await caller.api.signedIn('ada', 'admin');
    const client = await EventClient.open(caller.socket, '/v1/events', caller.headers);
    // Its turn is after the other's: that has been looked after once this one is told.
    const sentinel = await EventClient.open(caller.api.sockets.browser, '/v1/events', { ...FROM_PAGE, ...headers });
    const others = Array.from({ length: 1_100 }, () => ({ what: 'node disabled', node: 0x11, previousEntry: 0 }) as const);
    await fixture.registry.write({}, () => ({ result: undefined, events: others }));
    expect((await sentinel.event()).event).toBe('resync');
    await setDisabled(fixture.registry, [1], true);
    expect((await client.event()).data).toEqual({ at: expect.any(String), what: 'node disabled', node: OWN });
    const own = { what: 'node enabled', node: 1, previousEntry: 0 } as const;
    await fixture.registry.write({}, () => ({ result: undefined, events: [own, ...others] }));
    expect((await client.event()).event).toBe('resync');
  });

  it('learns of its nodes neither keys, nor who disabled them, nor when their controller was heard', async () => {
    const caller = await start();
    const { fixture } = caller.api;
    await addOwnOrder(caller.api);
    const { ik } = (await fixture.registry.node(1))!;
    const diagnose = async (holds?: string): Promise<unknown> =>
      (await send(caller, 'GET', `/v1/diagnoses/${OWN}${holds === undefined ? '' : `?holds=${holds}`}`)).text.replace(TIMES, '');
    const before = await diagnose();
    expect(await diagnose(ik.fingerprint)).toBe(before);
    const key = newSecret();
    await fixture.order({ 0x13: key }, { installer: 'Bo' });
    await fixture.join(0x13, key);
    expect(await diagnose()).toBe(before);
    await setDisabled(fixture.registry, [1], true);
    const disabled = await diagnose();
    expect(disabled).toMatch(/"cause":"disabled","sentence":"Node 00000001 is disabled since [-0-9T:.]*Z\./);
    expect(disabled).toMatch(/"disabled":null.*"heard_at":null/);
  });
});

describe('an installer', () => {
  it('names its nodes, and changes nothing else of them; the audit log has its name', async () => {
    const caller = await installer();
    const { fixture } = caller.api;
    await addOwnOrder(caller.api);
    const change = (body: object): Promise<Answer> => send(caller, 'PATCH', `/v1/nodes/${OWN}`, body, { 'if-match': '*' });
    expect((await change({ name: 'Pump 3', location: 'pillar 7', note: null })).body).toEqual({ changed: 1, unchanged: 0 });
    for (const body of [{ disabled: true }, { site: 'south' }, { tags: ['x'] }, { name: 'Pump 4', grace_seconds: 1 }])
      expect([body, (await change(body)).status]).toEqual([body, 403]);
    expect((await send(caller, 'GET', `/v1/nodes/${OWN}`)).body).toMatchObject({
      name: 'Pump 3',
      state: 'enrolled',
      site: 'north',
    });
    expect(fixture.entriesAfter(fixture.headSeq - 1)).toMatchObject([{ what: 'node described', actor: 'user kim', node: OWN }]);
  });

  it('sees from the next request on what its record names: an installer, orders, sites, or nothing', async () => {
    const caller = await installer();
    const { api } = caller;
    await addOwnOrder(api);
    await addOtherOrder(api);
    await api.fixture.order({ 3: newSecret() }, { site: 'south' });
    const ordersSeen = async (): Promise<number[]> =>
      (await send(caller, 'GET', '/v1/orders')).body.items.map(({ order }: { order: number }) => order);
    expect(await ordersSeen()).toEqual([1, 3]);
    expect((await send(caller, 'GET', '/v1/summary')).body).toMatchObject({
      nodes: { total: 3, never_joined: 2 },
      orders: { total: 2 },
    });
    for (const [limits, seen] of [
      [{ orders: [2, 7] }, [2]],
      [{ sites: ['south'] }, [2, 3]],
      [{ installer: 'Kim', sites: ['south'] }, [3]],
      [{ installer: 'kim' }, []],
      [undefined, []],
    ] as const) {
      await api.users.setRole('kim', 'installer', limits);
      expect([limits, await ordersSeen()]).toEqual([limits, seen]);
    }
  });

  it.each<[string, Role, OrderLimits | undefined]>([
    ['saw more orders', 'installer', { orders: [1, 2] }],
    ['was an operator', 'operator', undefined],
  ])('that %s before has no use for what it holds from then', async (_, role, limits) => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('kim', role, limits);
    const caller: Caller = { api, socket: api.sockets.browser, headers: { ...FROM_PAGE, ...session.headers } };
    await addOwnOrder(api);
    await addOtherOrder(api);
    const lists = ['/v1/nodes?limit=1', '/v1/nodes?sort=-joined_at&limit=1', '/v1/orders?limit=1', '/v1/calendar/orders?limit=1'];
    const cursors: string[] = [];
    for (const list of lists) cursors.push((await send(caller, 'GET', list)).body.next);
    const tags: string[] = [];
    for (const path of [`/v1/nodes/${OTHER}`, '/v1/orders/2']) tags.push(String((await send(caller, 'GET', path)).headers.etag));
    const [ofNode = '', ofOrder = ''] = tags;
    const { id: job } = (await session.post('/v1/diagnoses', { filter: {} })).body;
    await vi.waitFor(async () => expect((await send(caller, 'GET', `/v1/jobs/${job}`)).body.state).toBe('done'));
    const stream = await EventClient.open(caller.socket, '/v1/events', caller.headers);
    await setDisabled(api.fixture.registry, [0x11], true);
    const { id: event } = await stream.event();

    await api.users.setRole('kim', 'installer', { orders: [1] });
    await setDisabled(api.fixture.registry, [0x11], false);
    await setDisabled(api.fixture.registry, [1], true);
    expect((await stream.event()).data).toMatchObject({ what: 'node disabled', node: OWN });
    const answers = async (target: Target, held: { cursors: string[]; ofNode: string; ofOrder: string }): Promise<Compared[]> => {
      const requests: readonly Parameters<typeof send>[] = [
        ...lists.map((list, at): Parameters<typeof send> => [caller, 'GET', `${list}&after=${held.cursors[at]}`]),
        [caller, 'GET', '/v1/jobs'],
        [caller, 'GET', `/v1/jobs/${target.job}`],
        [caller, 'POST', `/v1/jobs/${target.job}/cancel`, {}],
        [caller, 'DELETE', `/v1/jobs/${target.job}`],
        [caller, 'GET', `/v1/nodes/${target.id}`, undefined, { 'if-none-match': held.ofNode }],
        [caller, 'GET', `/v1/orders/${target.order}`, undefined, { 'if-none-match': held.ofOrder }],
        [caller, 'PATCH', `/v1/nodes/${target.id}`, { name: 'x' }, { 'if-match': held.ofNode }],
        [caller, 'PATCH', `/v1/orders/${target.order}`, { site: 'x' }, { 'if-match': held.ofOrder }],
      ];
      const got: Compared[] = [];
      for (const request of requests) got.push(comparable(await send(...request), target));
      return got;
    };
    const nothing = { cursors: cursors.map(() => 'bm90IGEgY3Vyc29y'), ofNode: '"AAAA"', ofOrder: '"AAAA"' };
    expect(await answers({ ...NOTHING, id: OTHER, order: 2, job }, { cursors, ofNode, ofOrder })).toEqual(
      await answers(NOTHING, nothing),
    );
    const later = await EventClient.open(caller.socket, '/v1/events', { ...caller.headers, 'last-event-id': String(event) });
    expect((await later.event()).event).toBe('resync');
  });

  it('is not made without orders to see, and nobody else with them; an administrator changes that', async () => {
    const api = await BrowserApi.start();
    const admin = await api.signedIn('ada', 'admin');
    for (const body of [
      { user: 'kim', role: 'installer' },
      { user: 'kim', role: 'viewer', orders: [1] },
    ])
      expect([body, (await admin.post('/v1/users', body)).status]).toEqual([body, 409]);
    expect((await admin.post('/v1/users', { user: 'kim', role: 'installer', orders: [] })).status).toBe(400);
    expect((await admin.post('/v1/users', { user: 'kim', role: 'installer', ...KIM })).status).toBe(201);
    const changed = await admin.send('PATCH', '/v1/users/kim', { role: 'installer', orders: [1, 2] });
    expect(changed.body).toEqual({ user: 'kim', role: 'installer', orders: [1, 2] });
    const { items } = (await admin.get('/v1/users')).body;
    expect(items).toMatchObject([
      { user: 'ada', installer: null, orders: null, sites: null },
      { user: 'kim', installer: null, orders: [1, 2] },
    ]);
    const notes = api.fixture.entriesAfter(0).map(({ note }) => note);
    expect(notes).toContain('user kim: installer; limited to orders of one installer');
    expect(notes).toContain('user kim: installer to installer; limited to orders 1, 2');
  });
});
