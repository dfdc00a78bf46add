// Keys leave the API as age files only, to the recipients of the request.

import { setTimeout as pause } from 'node:timers/promises';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import type { OrderLimits } from '@latchkey/operations/contract';
import { formatId, parseId, Secret } from '@latchkey/protocol';
import { decryptManifest } from '@latchkey/provisioning';
import { AdminFixture, C1, C2, newSecret } from '@latchkey/test-support/admin-fixture';
import { Registry } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { exportOnTheMachine, refuseManyNodes, resetOnTheMachine } from '../src/resources/key-files.js';
import { BrowserApi, type BrowserSession, FROM_PAGE } from './browser-api.js';
import { type Answer, createToken, LocalApi } from './local-api.js';

const UID = `uid ${process.getuid?.() ?? 0}`;
const DEADLINE_MS = 120_000;
const ORDER = { installer: 'Kim', controller: formatId(C1), count: 3, lifetime_seconds: 3_600, grace_seconds: 600 };

let fixture: AdminFixture;
let api: LocalApi;
let identity: string;
let recipient: string;
/** Every answer of the API but the files. */
let answers: Answer[];
let keyCount: number;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  api = await LocalApi.start(fixture.registry.folder);
  identity = await generateIdentity();
  recipient = await identityToRecipient(identity);
  answers = [];
  keyCount = 0;
});

async function ask(method: string, path: string, body?: object): Promise<Answer> {
  const key: Record<string, string> = method === 'POST' ? { 'idempotency-key': `request-${++keyCount}` } : {};
  const answer = await api.change(method, path, body, key);
  answers.push(answer);
  return answer;
}

/** Begins a job, and waits until its file is there. */
async function jobOf(path: string, body: object): Promise<string> {
  const { status, headers, text } = await ask('POST', path, { recipients: [recipient], ...body });
  expect([text, status]).toEqual([text, 202]);
  const location = String(headers.location);
  for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await pause(10)) {
    const { body: job } = await ask('GET', location);
    if (job.state === 'running') continue;
    expect(job).toMatchObject({ state: 'done', done: job.total, problem: null, file: { until: expect.any(String) } });
    return location;
  }
  throw new Error('the job does not end');
}

function fetchOctets(
  path: string,
): Promise<{ readonly status: number; readonly type: string | undefined; readonly octets: Buffer }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: api.socket, path, method: 'POST', agent: false }, (response) => {
      const { statusCode: status = 0, headers } = response;
      void response
        .toArray()
        .then((parts) => resolve({ status, type: headers['content-type'], octets: Buffer.concat(parts) }), reject);
    });
    sent.on('error', reject).end();
  });
}

async function open(location: string): Promise<string> {
  const { status, type, octets } = await fetchOctets(`${location}/file`);
  expect([status, type]).toEqual([200, 'application/octet-stream']);
  return Buffer.from(await decryptManifest(octets, 'file', { identities: [identity] })).toString();
}

/** IDs and keys of a manifest. */
function linesOf(manifest: string): [id: string, key: string][] {
  const [heading, ...lines] = manifest.trim().split('\n');
  expect(heading).toContain('id');
  return lines.map((line) => [line.split(',')[0] ?? '', line.split(',').at(-1) ?? '']);
}

/** No answer but a file has a key, however it is written, nor has the store of jobs or the log. */
async function expectNoKeyIn(keys: readonly string[]): Promise<void> {
  expect(keys.length).toBeGreaterThan(0);
  expect(answers.length).toBeGreaterThan(0);
  const stored = await readFile(join(fixture.registry.folder, 'api-requests', 'data.mdb'));
  for (const hex of keys) {
    const octets = Buffer.from(hex, 'hex');
    for (const written of [octets, hex, octets.toString('base64')]) expect(stored.includes(written)).toBe(false);
    expect(api.log.text).not.toContain(hex);
    for (const written of [
      hex,
      hex.toUpperCase(),
      octets.toString('base64').slice(0, 20),
      octets.toString('base64url').slice(0, 20),
    ])
      for (const { text, headers } of answers) expect(`${text} ${JSON.stringify(headers)}`).not.toContain(written);
  }
}

async function holds(id: string, hex: string): Promise<boolean> {
  const node = await fixture.registry.node(parseId(id) ?? 0);
  const isSame = node?.key.equals(Secret.fromHex(hex)) === true;
  node?.key.wipe();
  return isSame;
}

describe('keys that are too many for a file', () => {
  it('are counted as they are found, too: nodes may have been reset since the request came', () => {
    expect(() => refuseManyNodes(100_000, 7, 'x')).not.toThrow();
    expect(() => refuseManyNodes(100_001, 7, 'x')).toThrow(expect.objectContaining({ kind: 'refused' }));
  });

  it('are handed over on the machine: the manifest need not be plain there', () => {
    expect(exportOnTheMachine(7)).toMatch(/ with --recipient .*: latchkey-auth-server order export 7 --out \.\/order-7$/);
  });

  it('are not handed over as they were if nodes are to be reset', () => {
    expect(resetOnTheMachine(7, false)).toMatch(/: latchkey-auth-server node reset --order 7 --out \.\/reset-7$/);
    expect(resetOnTheMachine(7, true)).toMatch(/ --out \.\/reset-7 --unsplit$/);
  });
});

describe('a new order', () => {
  it('is handed over as a file for its recipients, which the audit log names before it leaves', async () => {
    const before = fixture.headSeq;
    const location = await jobOf('/v1/orders', { ...ORDER, site: 'north' });
    expect((await ask('GET', '/v1/orders/1')).body).toMatchObject({ installer: 'Kim', site: 'north', nodes: 3 });
    expect(fixture.entriesAfter(before).map(({ what, actor }) => [what, actor])).toEqual([['order created', UID]]);
    const lines = linesOf(await open(location));
    expect(lines.length).toBe(3);
    expect(await Promise.all(lines.map(([id, key]) => holds(id, key)))).toEqual([true, true, true]);
    expect(fixture.entriesAfter(before).at(-1)).toMatchObject({
      what: 'keys fetched',
      actor: UID,
      order: 1,
      note: `manifest.csv.age, encrypted to ${recipient.slice(0, 28)}`,
    });
    await ask('GET', '/v1/jobs');
    await ask('GET', '/v1/audit');
    await expectNoKeyIn(lines.map(([, key]) => key));
  });

  it('is fetched again after a lost answer, until it is acknowledged', async () => {
    const location = await jobOf('/v1/orders', ORDER);
    expect(await open(location)).toBe(await open(location));
    expect((await ask('DELETE', `${location}/file`)).status).toBe(200);
    for (const method of ['POST', 'DELETE']) expect((await ask(method, `${location}/file`)).status).toBe(404);
    expect((await ask('GET', location)).body.file).toBeUndefined();
    expect(fixture.entriesAfter(0).filter(({ what }) => what === 'keys fetched').length).toBe(2);
  });

  it('is not made for recipients that are none; an identity is not repeated', async () => {
    const head = fixture.headSeq;
    for (const wrong of [[], ['age1nonsense'], [identity], [recipient, identity], ['ssh-ed25519 AAAA'], 'x']) {
      const { status, text, body } = await ask('POST', '/v1/orders', { ...ORDER, recipients: wrong });
      expect([wrong, status, body.errors[0].at]).toEqual([wrong, 400, expect.stringMatching(/^recipients/)]);
      expect(text).not.toContain(identity.slice(15, 30));
    }
    for (const [status, change] of [
      [404, { controller: '0000dead' }],
      [409, { join_until: '2020-01-01T00:00:00Z' }],
    ] as const)
      expect((await ask('POST', '/v1/orders', { ...ORDER, ...change, recipients: [recipient] })).status).toBe(status);
    const { controller, count: _, ...terms } = ORDER;
    const share = (count: number, id: string = controller): object => ({ controller: id, count });
    for (const wrong of [
      { controller, count: 100_001 },
      { controller },
      { controllers: [share(60_000), share(60_000, formatId(C2))] },
      { controllers: [share(1), share(1)] },
      { controllers: [share(1)], controller, count: 1 },
    ])
      expect([wrong, (await ask('POST', '/v1/orders', { ...terms, ...wrong, recipients: [recipient] })).status]).toEqual([
        wrong,
        400,
      ]);
    expect(fixture.headSeq).toBe(head);
  });

  it('waits for room where files are not fetched', async () => {
    const locations = [];
    for (let i = 0; i < 4; i++) locations.push(await jobOf('/v1/orders', { ...ORDER, count: 1 }));
    const head = fixture.headSeq;
    expect((await ask('POST', '/v1/orders', { ...ORDER, recipients: [recipient] })).body.type).toBe('urn:latchkey:problem:busy');
    expect(fixture.headSeq).toBe(head);
    await ask('DELETE', `${locations[0]}/file`);
    await jobOf('/v1/orders', ORDER);
  });

  it('waits for room also while the last file that there is room for is made', async () => {
    const locations = [];
    for (let i = 0; i < 3; i++) locations.push(await jobOf('/v1/orders', { ...ORDER, count: 1 }));
    const order = (): Promise<Answer> => ask('POST', '/v1/orders', { ...ORDER, recipients: [recipient] });
    const both = await Promise.all([order(), order()]);
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([202, 503]);
    const begun = both.find(({ status }) => status === 202)?.headers.location;
    await expect.poll(async () => (await ask('GET', String(begun))).body.file, { timeout: DEADLINE_MS }).toBeDefined();
    expect((await ask('GET', '/v1/orders')).body.total).toBe(4);
  });

  it('that was refused, or that failed, takes up no room', async () => {
    for (let i = 0; i < 5; i++)
      expect((await ask('POST', '/v1/orders', { ...ORDER, controller: '0000dead', recipients: [recipient] })).status).toBe(404);
    await fixture.order({ 1: newSecret() });
    const disturb = vi.spyOn(Registry.prototype, 'record').mockRejectedValue(new Failure('the disk is full'));
    for (let i = 0; i < 5; i++) {
      const { headers, status } = await ask('POST', '/v1/node-exports', { filter: {}, recipients: [recipient] });
      expect(status).toBe(202);
      await expect
        .poll(async () => (await ask('GET', String(headers.location))).body.state, { timeout: DEADLINE_MS })
        .toBe('failed');
    }
    disturb.mockRestore();
    for (let i = 0; i < 4; i++) await jobOf('/v1/orders', { ...ORDER, count: 1 });
  });
});

describe('keys', () => {
  it('of an order are handed over again, and of nodes that are reset for the first time', async () => {
    const joined = newSecret();
    const number = await fixture.order({ 1: joined, 2: newSecret(), 3: newSecret() });
    await fixture.join(1, joined);
    const again = linesOf(await open(await jobOf(`/v1/orders/${number}/manifests`, {})));
    expect(await Promise.all(again.map(async ([id, key]) => [id, await holds(id, key)]))).toEqual([
      ['00000002', true],
      ['00000003', true],
    ]);
    const reset = linesOf(await open(await jobOf('/v1/resets', { ids: ['00000001', '00000002'] })));
    expect(await Promise.all(reset.map(async ([id, key]) => [id, await holds(id, key)]))).toEqual([
      ['00000001', true],
      ['00000002', true],
    ]);
    expect(reset[1]?.[1]).not.toBe(again[0]?.[1]);
    await expectNoKeyIn([...again, ...reset].map(([, key]) => key));
    expect((await ask('POST', '/v1/orders/77/manifests', { recipients: [recipient] })).status).toBe(404);
    expect((await ask('POST', '/v1/resets', { ids: ['0000dead'], recipients: [recipient] })).status).toBe(404);
  });

  it('are new ones for all nodes of an order that still hold one initial key, and for no others', async () => {
    const shared = newSecret();
    const order = await fixture.order({ 1: shared, 2: shared, 3: shared, 4: newSecret() }, { sharedKey: true });
    await fixture.join(1, shared);
    const { key } = (await ask('GET', '/v1/nodes/00000002')).body;
    const other = (await ask('GET', '/v1/nodes/00000004')).body.key;
    const lines = linesOf(await open(await jobOf('/v1/resets', { order, holding: key })));
    expect(lines.map(([id]) => id)).toEqual(['00000002', '00000003']);
    expect(await Promise.all(lines.map(([id, text]) => holds(id, text)))).toEqual([true, true]);
    expect(new Set([shared.toHex(), ...lines.map(([, text]) => text)]).size).toBe(3);
    expect((await ask('GET', '/v1/nodes/00000004')).body.key).toBe(other);
    // Nobody holds it any more: the same request again resets nothing.
    const head = fixture.headSeq;
    const again = await ask('POST', '/v1/resets', { order, holding: key, recipients: [recipient] });
    expect([again.status, again.body.detail]).toEqual([409, `no node of order ${order} holds the initial key ${key} any more`]);
    expect(fixture.entriesAfter(head)).toEqual([]);
    const wrong = await ask('POST', '/v1/resets', { ids: ['00000002'], holding: key, recipients: [recipient] });
    expect([wrong.status, wrong.body.errors]).toEqual([400, [{ at: 'holding', is: 'expected with order only' }]]);
    await expectNoKeyIn(lines.map(([, text]) => text));
  });

  it('of a controller are its credential, new or next', async () => {
    const added = JSON.parse(await open(await jobOf('/v1/controllers', { id: '000000c3', nid: '192.0.2.9:5683' }))) as Credential;
    expect([added.id, await fixture.registry.hasCredential(0xc3, Secret.fromHex(added.sk_cs))]).toEqual(['000000c3', true]);
    const next = JSON.parse(await open(await jobOf('/v1/controllers/000000c3/rotations', {}))) as Credential;
    expect(await fixture.registry.hasCredential(0xc3, Secret.fromHex(next.sk_cs))).toBe(true);
    expect(next.sk_cs).not.toBe(added.sk_cs);
    const taken = await ask('POST', '/v1/controllers', { id: '000000c3', nid: '192.0.2.9:5683', recipients: [recipient] });
    expect(taken.status).toBe(409);
    await ask('GET', '/v1/controllers/000000c3');
    await expectNoKeyIn([added.sk_cs, next.sk_cs]);
  });

  it('go to their owner only, who may hand keys out, and gave the password lately', async () => {
    const location = await jobOf('/v1/orders', ORDER);
    const { text } = await createToken(fixture.registry.folder, { scopes: ['read', 'nodes', 'orders', 'controllers'] });
    expect((await api.remote(`${location}/file`, text, {}, { method: 'POST' })).status).toBe(403);
    const browser = await BrowserApi.start();
    await browser.signedIn('kay', 'key-officer');
    browser.clock.aheadMs = -400_000;
    const session = await browser.signIn('kay');
    const headers = { ...FROM_PAGE, ...session.headers, 'content-type': 'application/json', 'idempotency-key': 'request-1' };
    const body = JSON.stringify({ ...ORDER, recipients: [recipient] });
    for (const path of ['/v1/orders', '/v1/jobs/aaaaaaaaaaaaaaaa/file']) {
      const stale = await browser.send(path, { method: 'POST', headers, body: path === '/v1/orders' ? body : '{}' });
      expect([path, stale.body.type]).toEqual([path, 'urn:latchkey:problem:step-up-required']);
    }
  });
});

describe('a user whose name was of somebody else before', () => {
  it('has none of the jobs, files and Idempotency-Keys of that one', async () => {
    const browser = await BrowserApi.start();
    const order = async (session: BrowserSession, count: number): Promise<Answer> => {
      const headers = {
        ...FROM_PAGE,
        ...session.headers,
        'content-type': 'application/json',
        'idempotency-key': 'order-of-today',
      };
      return browser.send('/v1/orders', {
        method: 'POST',
        headers,
        body: JSON.stringify({ ...ORDER, count, recipients: [recipient] }),
      });
    };
    const former = await browser.signedIn('kay', 'key-officer');
    const location = String((await order(former, 1)).headers.location);
    const deadline = Date.now() + DEADLINE_MS;
    while ((await former.get(location)).body.file === undefined && Date.now() < deadline) await pause(10);
    await browser.users.remove('kay');
    const kay = await browser.signedIn('kay', 'key-officer');
    expect((await kay.get('/v1/jobs')).body.items).toEqual([]);
    for (const [method, path] of [
      ['GET', location],
      ['DELETE', location],
      ['POST', `${location}/file`],
      ['DELETE', `${location}/file`],
    ] as const)
      expect([method, path, (await kay.send(method, path)).status]).toEqual([method, path, 404]);
    // The same key, of another caller: neither the former answer, nor a mistake.
    const again = await order(kay, 2);
    expect([again.status, again.headers.location === location]).toEqual([202, false]);
    expect(
      browser.fixture
        .entriesAfter(0)
        .filter(({ what }) => what === 'order created')
        .map(({ actor }) => actor)[0],
    ).toBe('user kay');
  });
});

describe('a token with the scope keys', () => {
  const FROM = { 'x-forwarded-for': '192.0.2.7' };

  /** @param owner of order 1: another order is somebody else's */
  async function start(
    limits?: OrderLimits,
  ): Promise<(path: string, body?: object, from?: object, method?: 'GET' | 'POST') => Promise<Answer>> {
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    await fixture.order({ 3: newSecret() }, { installer: 'Bo' });
    const { text } = await createToken(fixture.registry.folder, {
      scopes: ['keys'],
      networks: ['192.0.2.0/24'],
      recipients: [recipient],
      limits,
      name: 'ordering',
    });
    return async (path, body, from = FROM, method = 'POST') => {
      const json: Record<string, string> =
        body === undefined ? {} : { 'content-type': 'application/json', 'idempotency-key': `request-${++keyCount}` };
      const options = { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
      const answer = await api.remote(path, text, { ...from, ...json }, options);
      if (body !== undefined) answers.push(answer);
      return answer;
    };
  }

  /** Fetches the file of a job that was just begun. */
  async function fetched(send: Awaited<ReturnType<typeof start>>, { headers }: Answer): Promise<[id: string, key: string][]> {
    const path = `${String(headers.location)}/file`;
    for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await pause(10)) {
      const { status, octets } = await send(path);
      if (status !== 200) continue;
      return linesOf(Buffer.from(await decryptManifest(octets, 'file', { identities: [identity] })).toString());
    }
    throw new Error('the file does not come');
  }

  it('orders nodes for its recipients, and the audit log names it before the file leaves', async () => {
    const send = await start();
    const before = fixture.headSeq;
    const begun = await send('/v1/orders', { ...ORDER, recipients: [recipient] });
    expect([begun.status, begun.text]).toEqual([202, expect.stringContaining('"running"')]);
    const lines = await fetched(send, begun);
    expect(await Promise.all(lines.map(([id, key]) => holds(id, key)))).toEqual([true, true, true]);
    expect(fixture.entriesAfter(before)).toMatchObject([
      { what: 'order created', actor: 'token ordering of ada' },
      { what: 'keys fetched', actor: 'token ordering of ada', note: expect.stringContaining(recipient.slice(0, 28)) },
    ]);
    await expectNoKeyIn(lines.map(([, key]) => key));
  });

  it('gets nothing for a recipient that it does not name, which is in the audit log, up to a limit', async () => {
    const send = await start();
    const before = fixture.headSeq;
    const other = await identityToRecipient(await generateIdentity());
    const recipients = [recipient, other];
    for (const [path, body] of [
      ['/v1/orders', ORDER],
      ['/v1/orders/1/manifests', {}],
      ['/v1/resets', { ids: ['00000001'] }],
      ['/v1/controllers', { id: '000000c3', nid: '192.0.2.9:5683' }],
      [`/v1/controllers/${formatId(C1)}/rotations`, {}],
      ['/v1/orders', ORDER],
    ] as const) {
      const { status, body: problem } = await send(path, { ...body, recipients });
      expect([path, status, problem.type]).toEqual([path, 403, 'urn:latchkey:problem:recipient-not-allowed']);
    }
    const refused = fixture.entriesAfter(before);
    expect(refused.map(({ what, actor }) => [what, actor])).toEqual(
      Array.from({ length: 5 }, () => ['key recipient refused', 'token ordering of ada']),
    );
    expect(refused[1]).toMatchObject({ order: 1, note: `orders.export, for ${other.slice(0, 28)}` });
    expect(refused[4]).toMatchObject({ controller: formatId(C1) });
  });

  it('without recipients in its record hands nothing out; from elsewhere it is nobody', async () => {
    const send = await start();
    const { text } = await createToken(fixture.registry.folder, { scopes: ['keys'] });
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'request-of-nobody' };
    const body = JSON.stringify({ ...ORDER, recipients: [recipient] });
    expect((await api.remote('/v1/orders', text, headers, { method: 'POST', body })).status).toBe(403);
    for (const from of [{}, { 'x-forwarded-for': '198.51.100.7' }, { 'x-forwarded-for': '192.0.2.7, 198.51.100.7' }])
      expect((await send('/v1/orders', { ...ORDER, recipients: [recipient] }, from)).status).toBe(401);
  });

  it('that is limited hands over what is left of its own orders, and nothing else', async () => {
    const send = await start({ installer: 'Kim' });
    const own = await fetched(send, await send('/v1/orders/1/manifests', { recipients: [recipient] }));
    expect(own.map(([id]) => id)).toEqual(['00000001', '00000002']);
    const [others, nobodys] = [
      await send('/v1/orders/2/manifests', { recipients: [recipient] }),
      await send('/v1/orders/7/manifests', { recipients: [recipient] }),
    ];
    expect([others.status, others.text.replace('order 2', 'order 7')]).toEqual([404, nobodys.text]);
    for (const [path, body] of [
      ['/v1/orders', ORDER],
      ['/v1/controllers', { id: '000000c3', nid: '192.0.2.9:5683' }],
      [`/v1/controllers/${formatId(C1)}/rotations`, {}],
    ] as const)
      expect([path, (await send(path, { ...body, recipients: [recipient] })).status]).toEqual([path, 403]);
  });

  it('that is limited resets nodes of its own orders, and is told no fingerprint of a key', async () => {
    const send = await start({ installer: 'Kim' });
    const before = fixture.headSeq;
    for (const ids of [['00000003'], ['00000001', '00000003']]) {
      const others = await send('/v1/resets', { ids, recipients: [recipient] });
      const nobodys = await send('/v1/resets', { ids: ids.map((id) => id.replace('3', '9')), recipients: [recipient] });
      expect([others.status, others.text.replace('00000003', '00000009')]).toEqual([404, nobodys.text]);
    }
    expect((await send('/v1/resets', { order: 2, recipients: [recipient] })).status).toBe(404);
    expect(fixture.headSeq).toBe(before);
    const begun = await send('/v1/resets', { ids: ['00000001'], recipients: [recipient] });
    const lines = await fetched(send, begun);
    expect(await Promise.all(lines.map(([id, key]) => holds(id, key)))).toEqual([true]);
    await expect
      .poll(async () => (await send(String(begun.headers.location), undefined, FROM, 'GET')).body, { timeout: DEADLINE_MS })
      .toMatchObject({ state: 'done', result: { nodes: 1, key: null, diagnosis: { cause: expect.any(String) } } });
    // Whether a key is held would say what its fingerprint is.
    const probe = await send('/v1/resets', { order: 1, holding: '0000', recipients: [recipient] });
    expect([probe.status, probe.body.detail]).toEqual([409, expect.stringContaining('shown no fingerprints')]);
    const all = await fetched(send, await send('/v1/resets', { order: 1, recipients: [recipient] }));
    expect(all.map(([id]) => id)).toEqual(['00000001', '00000002']);
    await expectNoKeyIn([...lines, ...all].map(([, key]) => key));
  });
});

interface Credential {
  readonly id: string;
  readonly sk_cs: string;
}
