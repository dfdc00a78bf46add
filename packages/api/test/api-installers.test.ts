// Installers over the API: who may store whom keys are encrypted to, and what the audit log has.

import { setTimeout as pause } from 'node:timers/promises';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { MAX_INSTALLERS } from '@latchkey/operations/contract';
import { decryptManifest } from '@latchkey/provisioning';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { openInstallerStore } from '../src/installers/installer-store.js';
import { BrowserApi, type BrowserSession, PASSWORD } from './browser-api.js';
import { type Answer, createToken, LocalApi } from './local-api.js';

const DEADLINE_MS = 120_000;
const PATH = '/v1/installers';
const MINUTE = 60_000;

let kims: string;
let bos: string;
let own: string;
let identity: string;
/** What an audit entry has of a recipient. */
const beginning = (recipient: string): string => recipient.slice(0, 28);

beforeEach(async () => {
  identity = await generateIdentity();
  [kims = '', bos = '', own = ''] = await Promise.all(
    [identity, await generateIdentity(), await generateIdentity()].map((one) => identityToRecipient(one)),
  );
});

async function start(): Promise<{ readonly fixture: AdminFixture; readonly api: LocalApi }> {
  const fixture = await AdminFixture.open();
  return { fixture, api: await LocalApi.start(fixture.registry.folder) };
}

/** A caller with a token of these scopes, who hands keys to `own` only. */
async function tokenCaller(
  { fixture, api }: Awaited<ReturnType<typeof start>>,
  scopes: readonly ('orders' | 'keys')[],
): Promise<(method: string, path: string, body?: object, headers?: Record<string, string>) => Promise<Answer>> {
  const { text } = await createToken(fixture.registry.folder, { name: 'ordering', scopes, recipients: [own] });
  return (method, path, body, headers = {}) =>
    api.remote(
      path,
      text,
      { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) },
    );
}

describe('installers', () => {
  it('are added, shown, changed and removed, each change in the audit log', async () => {
    const { fixture, api } = await start();
    const before = fixture.headSeq;
    const added = await api.change('POST', PATH, { name: ' Kim & Söhne ', contact: '+49 30 1', recipients: [kims, kims] });
    expect([added.status, added.body]).toEqual([
      200,
      {
        id: expect.stringMatching(/^[0-9a-f]{16}$/),
        name: 'Kim & Söhne',
        contact: '+49 30 1',
        site: null,
        note: null,
        recipients: [kims],
        recipients_changed_at: added.body.created_at,
        recipients_changed_by: `uid ${process.getuid?.()}`,
        created_at: expect.any(String),
      },
    ]);
    const { id } = added.body;
    const shown = await api.get(`${PATH}/${id}`);
    expect(shown.body).toEqual(added.body);
    const ifMatch = { 'if-match': String(shown.headers.etag) };
    const described = await api.change('PATCH', `${PATH}/${id}`, { contact: null, site: 'north', note: 'gate 3' }, ifMatch);
    expect(described.body).toEqual({
      ...added.body,
      changed: true,
      contact: null,
      site: 'north',
      note: 'gate 3',
    });
    const any = { 'if-match': '*' };
    const changed = await api.change('PATCH', `${PATH}/${id}`, { recipients: [bos] }, any);
    expect(changed.body).toMatchObject({ changed: true, recipients: [bos], note: 'gate 3' });
    expect((await api.change('PATCH', `${PATH}/${id}`, { recipients: [bos] }, any)).body).toEqual({
      ...changed.body,
      changed: false,
    });
    expect((await api.change('PATCH', `${PATH}/${id}`, { recipients: [] }, any)).body).toMatchObject({ recipients: [] });
    expect((await api.change('DELETE', `${PATH}/${id}`, undefined, any)).body).toEqual({ id, name: 'Kim & Söhne' });
    expect((await api.get(`${PATH}/${id}`)).status).toBe(404);
    expect((await api.get(PATH)).body).toEqual({ items: [], next: null, total: 0 });
    expect(fixture.entriesAfter(before).map(({ what, note }) => [what, note])).toEqual([
      ['installer added', `installer ${id}; keys for ${beginning(kims)}`],
      ['installer changed', `installer ${id}`],
      ['installer recipients changed', `installer ${id}: keys for ${beginning(bos)}; no keys for ${beginning(kims)}`],
      ['installer recipients changed', `installer ${id}: no keys for ${beginning(bos)}`],
      ['installer removed', `installer ${id}`],
    ]);
  });

  it('are changed only as the caller has seen them', async () => {
    const { api } = await start();
    const { id } = (await api.change('POST', PATH, { name: 'Kim' })).body;
    const path = `${PATH}/${id}`;
    const seen = { 'if-match': String((await api.get(path)).headers.etag) };
    expect((await api.change('PATCH', path, { site: 'north' })).status).toBe(428);
    expect((await api.change('DELETE', path)).status).toBe(428);
    expect((await api.change('PATCH', path, { site: 'north' }, seen)).status).toBe(200);
    for (const [method, body] of [
      ['PATCH', { recipients: [bos] }],
      ['PATCH', { site: 'south' }],
      ['DELETE', undefined],
    ] as const)
      expect([method, (await api.change(method, path, body, seen)).status]).toEqual([method, 412]);
    expect((await api.get(path)).body).toMatchObject({ site: 'north', recipients: [] });
  });

  it('of every name have a path, and are listed page by page', async () => {
    const { api } = await start();
    const long = '𝄞'.repeat(127);
    const names = ['../users', 'Kim', 'kim', '%2F', `${long}b`, `${long}a`, 'Ä', '"; DROP'];
    for (const name of names) expect((await api.change('POST', PATH, { name })).status).toBe(200);
    const listed: { id: string; name: string }[] = [];
    for (let after: string | null = ''; after !== null;) {
      const page: Answer = await api.get(`${PATH}?limit=1${after === '' ? '' : `&after=${after}`}`);
      expect([page.status, page.body.total]).toEqual([200, names.length]);
      listed.push(...page.body.items);
      after = page.body.next;
    }
    expect(listed.map(({ name }) => name).toSorted()).toEqual(names.toSorted());
    expect(listed.slice(0, 6).map(({ name }) => name)).toEqual(['"; DROP', '%2F', '../users', 'Kim', 'kim', 'Ä']);
    for (const { id, name } of listed) {
      expect((await api.get(`${PATH}/${id}`)).body.name).toBe(name);
      const found = (await api.get(`${PATH}?name=${encodeURIComponent(name)}`)).body;
      expect(found).toMatchObject({ total: 1, items: [{ id }] });
    }
  });

  it('have a name of their own, valid recipients, and a bound', async () => {
    const { fixture, api } = await start();
    await api.change('POST', PATH, { name: 'Kim' });
    const head = fixture.headSeq;
    const taken = await api.change('POST', PATH, { name: 'Kim' });
    expect([taken.status, taken.body.detail]).toEqual([409, 'there is an installer Kim already']);
    for (const recipients of [[identity], ['age1nonsense'], ['ssh-ed25519 AAAA'], Array.from({ length: 9 }, () => kims)]) {
      const { status, body, text } = await api.change('POST', PATH, { name: 'Bo', recipients });
      expect([status, body.errors[0].at]).toEqual([400, 'recipients']);
      expect(text).not.toContain(identity);
    }
    const store = await openInstallerStore(fixture.registry.folder);
    const texts = { contact: null, site: null, note: null, recipients: [], recipientsChanged: null, createdAt: 0, revision: 1 };
    await Promise.all(
      Array.from({ length: MAX_INSTALLERS - 1 }, (_, i) =>
        store.add({ id: i.toString(16).padStart(16, '0'), name: `N${i}`, ...texts }),
      ),
    );
    await store.close();
    const full = await api.change('POST', PATH, { name: 'Bo' });
    expect([full.status, full.body.detail]).toEqual([409, `there are ${MAX_INSTALLERS} installers already`]);
    expect(fixture.entriesAfter(head)).toEqual([]);
  });
});

describe('recipients of an installer', () => {
  it('change with the scope `keys` only; texts with `orders`', async () => {
    const place = await start();
    const { id } = (await place.api.change('POST', PATH, { name: 'Kim', recipients: [kims] })).body;
    const head = place.fixture.headSeq;
    const send = await tokenCaller(place, ['orders']);
    const any = { 'if-match': '*' };
    for (const [method, path, body] of [
      ['POST', PATH, { name: 'Bo', recipients: [own] }],
      ['PATCH', `${PATH}/${id}`, { recipients: [own] }],
      ['PATCH', `${PATH}/${id}`, { recipients: [] }],
      ['PATCH', `${PATH}/${id}`, { recipients: [kims] }],
      // Another one of that name could then get other recipients.
      ['DELETE', `${PATH}/${id}`, undefined],
    ] as const)
      expect([method, body, (await send(method, path, body, any)).status]).toEqual([method, body, 403]);
    expect(place.fixture.entriesAfter(head)).toEqual([]);
    expect((await send('PATCH', `${PATH}/${id}`, { contact: 'Kim' }, any)).body).toMatchObject({ recipients: [kims] });
    const plain = (await send('POST', PATH, { name: 'Bo' })).body;
    expect((await send('DELETE', `${PATH}/${plain.id}`, undefined, any)).status).toBe(200);
  });

  it('that a token stores are those that it names, and the refusal of others is in the audit log', async () => {
    const place = await start();
    const { id } = (await place.api.change('POST', PATH, { name: 'Kim', recipients: [kims] })).body;
    const head = place.fixture.headSeq;
    const send = await tokenCaller(place, ['orders', 'keys']);
    const any = { 'if-match': '*' };
    for (const [method, path, body] of [
      ['POST', PATH, { name: 'Bo', recipients: [own, bos] }],
      ['PATCH', `${PATH}/${id}`, { recipients: [kims, bos] }],
    ] as const) {
      const { status, body: problem } = await send(method, path, body, any);
      expect([method, status, problem.type]).toEqual([method, 403, 'urn:latchkey:problem:recipient-not-allowed']);
    }
    const refused = place.fixture.entriesAfter(head);
    expect(refused.map(({ what, actor, note }) => [what, actor, note])).toEqual(
      ['installers.add', 'installers.set'].map((kind) => [
        'key recipient refused',
        'token ordering of ada',
        `${kind}, for ${beginning(bos)}`,
      ]),
    );
    expect((await place.api.get(`${PATH}/${id}`)).body.recipients).toEqual([kims]);
    // One that is there already may stay.
    const { status, body } = await send('PATCH', `${PATH}/${id}`, { recipients: [kims, own] }, any);
    expect([status, body.recipients]).toEqual([200, [kims, own]]);
  });

  it('change in a browser after a fresh sign-in only', async () => {
    const api = await BrowserApi.start();
    const session = await api.signedIn('ada', 'key-officer');
    const { id } = (await session.post(PATH, { name: 'Kim', recipients: [kims] })).body;
    const head = api.fixture.headSeq;
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 6 * MINUTE);
    onTestFinished(() => void vi.restoreAllMocks());
    for (const [method, path, body] of [
      ['POST', PATH, { name: 'Bo', recipients: [bos] }],
      ['PATCH', `${PATH}/${id}`, { recipients: [bos] }],
      ['DELETE', `${PATH}/${id}`, undefined],
    ] as const) {
      const { status, body: problem } = await sendAny(session, method, path, body);
      expect([method, status, problem.type]).toEqual([method, 403, 'urn:latchkey:problem:step-up-required']);
    }
    expect(api.fixture.entriesAfter(head)).toEqual([]);
    expect((await sendAny(session, 'PATCH', `${PATH}/${id}`, { site: 'north' })).status).toBe(200);
    expect((await session.post('/v1/step-up', { password: PASSWORD })).status).toBe(200);
    expect((await sendAny(session, 'PATCH', `${PATH}/${id}`, { recipients: [bos] })).status).toBe(200);
    expect((await session.get(`${PATH}/${id}`)).body).toMatchObject({
      recipients: [bos],
      recipients_changed_by: 'user ada',
    });
  });

  it('that were swapped are in the audit log, and open nothing that names the recipient of before', async () => {
    const place = await start();
    const { fixture, api } = place;
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    const { id } = (await api.change('POST', PATH, { name: 'Kim', recipients: [kims] })).body;
    // A person has read whose key it is by then.
    const seen = (await api.get(`${PATH}?name=Kim`)).body.items[0].recipients as readonly string[];
    const head = fixture.headSeq;
    await api.change('PATCH', `${PATH}/${id}`, { recipients: [bos] }, { 'if-match': '*' });
    expect(fixture.entriesAfter(head)).toMatchObject([
      {
        what: 'installer recipients changed',
        actor: `uid ${process.getuid?.()}`,
        note: `installer ${id}: keys for ${beginning(bos)}; no keys for ${beginning(kims)}`,
      },
    ]);
    const opened = await decryptManifest(await handedOver(api, seen), 'file', { identities: [identity] });
    expect(Buffer.from(opened).toString()).toContain('00000001');
    const swapped = (await api.get(`${PATH}?name=Kim`)).body.items[0].recipients as readonly string[];
    await expect(decryptManifest(await handedOver(api, swapped), 'file', { identities: [identity] })).rejects.toThrow('file');
    expect(fixture.entriesAfter(head).filter(({ what }) => what === 'keys fetched')).toMatchObject([
      { note: `order-1.csv.age, encrypted to ${beginning(kims)}` },
      { note: `order-1.csv.age, encrypted to ${beginning(bos)}` },
    ]);
    // A token does not hand keys to whoever is stored.
    const send = await tokenCaller(place, ['orders', 'keys']);
    const key = { 'idempotency-key': 'hand-over-by-token' };
    const { status, body } = await send('POST', '/v1/orders/1/manifests', { recipients: swapped }, key);
    expect([status, body.type]).toEqual([403, 'urn:latchkey:problem:recipient-not-allowed']);
  });
});

function sendAny(session: BrowserSession, method: string, path: string, body?: object): Promise<Answer> {
  return session.send(method, path, body, { 'if-match': '*' });
}

let requests = 0;

/** The file of order 1, for these recipients. */
async function handedOver(api: LocalApi, recipients: readonly string[]): Promise<Buffer> {
  const key = { 'idempotency-key': `hand-over-${++requests}` };
  const { headers } = await api.change('POST', '/v1/orders/1/manifests', { recipients }, key);
  const job = String(headers.location);
  for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await pause(10)) {
    const { state } = (await api.get(job)).body;
    if (state === 'running') continue;
    expect(state).toBe('done');
    return (await api.change('POST', `${job}/file`)).octets;
  }
  throw new Error('the job does not end');
}
