// Nodes come in a file that is encrypted to the API: first a preview, then what was previewed. They
// leave with their keys in a file for recipients.

import { setTimeout as pause } from 'node:timers/promises';
import { formatId, parseId, Secret } from '@latchkey/protocol';
import { decryptManifest, encryptManifest, generateRecipient } from '@latchkey/provisioning';
import { call, type ExportedLine, nodesExport, removeNodes } from '@latchkey/operations';
import { AdminFixture, C1, C2, newSecret } from '@latchkey/test-support/admin-fixture';
import { beforeEach, describe, expect, it } from 'vitest';
import { MAX_IMPORT_BODY } from '../src/large-bodies.js';
import type { Problem } from '../src/problem.js';
import { linesOf } from '../src/resources/node-exports.js';
import { BrowserApi, FROM_PAGE } from './browser-api.js';
import { type Answer, createToken, LocalApi } from './local-api.js';

const DEADLINE_MS = 120_000;
const TERMS = { installer: 'Zoe', lifetime_seconds: 3_600 };

let fixture: AdminFixture;
let api: LocalApi;
let keyCount: number;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  api = await LocalApi.start(fixture.registry.folder);
  keyCount = 0;
});

function csv(nodes: Readonly<Record<string, string>>, controller: number = C1): string {
  const lines = Object.entries(nodes).map(([id, key]) => `${id},${formatId(controller)},192.0.2.1:5683,${key}\n`);
  return `id,controller_id,controller,ik\n${lines.join('')}`;
}

async function sealed(text: string): Promise<string> {
  const { recipient } = (await api.get('/v1/imports/recipient')).body;
  return Buffer.from(await encryptManifest(text, { recipients: [recipient] })).toString('base64');
}

function send(body: object, key: string = `request-${++keyCount}`): Promise<Answer> {
  return api.change('POST', '/v1/imports', { ...TERMS, ...body }, { 'idempotency-key': key });
}

async function jobOf({ status, text, headers }: Answer): Promise<Answer['body']> {
  expect([text, status]).toEqual([text, 202]);
  for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; await pause(10)) {
    const { body } = await api.get(String(headers.location));
    if (body.state !== 'running') return body;
  }
  throw new Error('the job does not end');
}

const KEY = '0a'.repeat(16);

describe('an import', () => {
  it('is previewed, then done as a job, once for an Idempotency-Key; the audit log names its caller', async () => {
    const file = await sealed(csv({ '0000a001': KEY, '0000a002': '0b'.repeat(16) }));
    const head = fixture.headSeq;
    const preview = await send({ file, dry_run: true });
    expect([preview.status, preview.body]).toEqual([
      200,
      {
        added: 2,
        changed: 0,
        unchanged: 0,
        duplicates: 0,
        rejected: 0,
        described_otherwise: 0,
        changes: [],
        problems: [],
        warnings: [expect.stringContaining(formatId(C1))],
        additions: [
          { line: 2, id: '0000a001' },
          { line: 3, id: '0000a002' },
        ],
        moves: [],
        shared_keys: 0,
        expect: expect.any(String),
      },
    ]);
    expect(fixture.headSeq).toBe(head);

    const { expect: expected } = preview.body;
    const first = await send({ file, expect: expected }, 'import-1');
    expect(await jobOf(first)).toMatchObject({ kind: 'imports.run', state: 'done', result: { order: 1, added: 2, rejected: 0 } });
    expect((await send({ file, expect: expected }, 'import-1')).text).toBe(first.text);
    expect(fixture.entriesAfter(head)).toMatchObject([
      { what: 'nodes imported', actor: `uid ${process.getuid?.() ?? 0}`, order: 1, count: 2, note: 'Zoe' },
    ]);
    const node = await fixture.registry.node(0xa001);
    expect(node?.key.equals(Secret.fromHex(KEY))).toBe(true);
    node?.key.wipe();
    for (const { text } of [preview, first, await api.get('/v1/jobs'), await api.get('/v1/audit')])
      expect(text).not.toContain(KEY);
    expect(api.log.text).not.toContain(KEY);
  });

  it('of something else than was previewed is refused, with a preview of now', async () => {
    const file = await sealed(csv({ '0000a001': KEY }));
    const { expect: expected } = (await send({ file, dry_run: true })).body;
    const other = await sealed(csv({ '0000a001': '0c'.repeat(16) }));
    for (const body of [{ file: other }, { file, shared_key: true }, { file, installer: 'Bo' }])
      expect((await send({ ...body, expect: expected })).body).toMatchObject({ type: 'urn:latchkey:problem:selection-changed' });
    // The registry is another one by now.
    await fixture.order({ 0xa001: Secret.fromHex('0d'.repeat(16)) });
    const head = fixture.headSeq;
    const { status, body } = await send({ file, expect: expected });
    expect([status, body.preview]).toMatchObject([409, { added: 0, changed: 1 }]);
    await jobOf(await send({ file, expect: body.preview.expect }));
    expect(fixture.entriesAfter(head)).toMatchObject([{ what: 'node changed by import', node: '0000a001' }]);
  });

  it('is not done once two of its lines have changed places, in the file or in what happens to them', async () => {
    const [first, second] = [newSecret(), newSecret()];
    await fixture.order({ 0xa002: second });
    const [keyA, keyB] = [first.toHex(), second.toHex()];
    const file = await sealed(csv({ '0000a001': keyA, '0000a002': keyB }));
    const { expect: expected, ...counts } = (await send({ file, dry_run: true })).body;
    expect(counts).toMatchObject({ added: 1, unchanged: 1, additions: [{ line: 2 }] });
    const swapped = await sealed(csv({ '0000a002': keyB, '0000a001': keyA }));
    expect((await send({ file: swapped, expect: expected })).status).toBe(409);
    // As many are added and unchanged as before, but others.
    await fixture.order({ 0xa001: first });
    await removeNodes(fixture.registry, [0xa002]);
    const { status, body } = await send({ file, expect: expected });
    expect([status, body.preview]).toMatchObject([409, { added: 1, unchanged: 1, additions: [] }]);
    await jobOf(await send({ file, expect: (await send({ file, dry_run: true })).body.expect }));
    await fixture.registry.refresh();
    const node = await fixture.registry.node(0xa002);
    expect(node?.key.equals(second)).toBe(true);
    node?.key.wipe();
  });

  it('says in its preview what is refused, and gives nothing to go on with', async () => {
    const key = newSecret();
    await fixture.order({ 1: key });
    await fixture.join(1, key);
    const file = await sealed(`${csv({ '00000001': KEY, '0000a001': '1f'.repeat(16) })}x,,,\n`);
    const { body } = await send({ file, dry_run: true });
    expect(body).toMatchObject({ added: 1, rejected: 2, expect: null, problems: [{ line: 2, id: '00000001' }, { line: 4 }] });
    expect((await send({ file, skip_bad: true, dry_run: true })).body).toMatchObject({ rejected: 2, expect: expect.any(String) });
    const moved = await sealed(csv({ '0000a002': KEY }, C2));
    expect((await send({ file: moved, dry_run: true })).body).toMatchObject({ added: 1, moves: [] });
  });

  it('takes files for its own recipient only, up to a size', async () => {
    const { recipient } = await generateRecipient();
    const foreign = Buffer.from(await encryptManifest(csv({ '0000a001': KEY }), { recipients: [recipient] })).toString('base64');
    for (const file of [foreign, csv({ '0000a001': KEY }), 'x']) {
      const { status, body, text } = await send({ file, dry_run: true });
      expect([status, body.errors[0].at]).toEqual([400, 'file']);
      expect(text).not.toContain(KEY);
    }
    // Refused by what the header says of it.
    const headers = { 'content-type': 'application/json', 'content-length': String(MAX_IMPORT_BODY + 1) };
    expect((await api.request('/v1/imports', { method: 'POST', headers, body: '{' })).status).toBe(413);
    for (const body of [{ file: 'x' }, { file: 'x', dry_run: true, expect: 'y' }]) expect((await send(body)).status).toBe(400);
    // A large body is for this resource only.
    expect((await api.change('POST', '/v1/resets', { ids: ['x'.repeat(70_000)] })).status).toBe(413);
  });

  it('is in a browser for who gave the password lately, and with a token never', async () => {
    const browser = await BrowserApi.start();
    await browser.signedIn('kay', 'key-officer');
    browser.clock.aheadMs = -400_000;
    const session = await browser.signIn('kay');
    const body = { ...TERMS, file: 'x', dry_run: true };
    expect((await session.post('/v1/imports', body)).body.type).toBe('urn:latchkey:problem:step-up-required');
    // A slow line learns that before it sends the file, and has not sent it when five minutes are over.
    const headers = { ...FROM_PAGE, ...session.headers, 'content-type': 'application/json', 'content-length': '300000' };
    const early = await browser.send('/v1/imports', { method: 'POST', headers, body: '{' });
    expect(early.body.type).toBe('urn:latchkey:problem:step-up-required');
    const { text } = await createToken(fixture.registry.folder, { scopes: ['read', 'nodes', 'orders', 'controllers'] });
    for (const [method, path] of [
      ['POST', '/v1/imports'],
      ['GET', '/v1/imports/recipient'],
      ['POST', '/v1/node-exports'],
    ] as const)
      expect([path, (await api.remote(path, text, {}, { method })).status]).toEqual([path, 403]);
  });

  it('is refused to a token, which would bring keys in that its thief knows', async () => {
    await fixture.order({ 1: newSecret() });
    const file = await sealed(csv({ '00000001': KEY }));
    const { recipient } = await generateRecipient();
    const { text } = await createToken(fixture.registry.folder, { scopes: ['keys', 'controllers'], recipients: [recipient] });
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ ...TERMS, file, dry_run: true });
    const answer = await api.remote('/v1/imports', text, headers, { method: 'POST', body });
    expect([answer.status, answer.body.detail]).toEqual([403, 'A token brings no keys in.']);
    expect((await api.remote('/v1/imports/recipient', text)).status).toBe(403);
  });
});

describe('an export', () => {
  it('has pages of nodes without keys, under the filters of a list', async () => {
    await fixture.order({ 1: newSecret(), 2: newSecret() }, { site: 'north' });
    const key = newSecret();
    await fixture.order({ 3: key });
    await fixture.join(3, key);
    const first = await api.get('/v1/node-exports?limit=2');
    expect(first.body).toMatchObject({ total: 3, items: [{ id: '00000001', site: 'north', seen_by: [] }, { id: '00000002' }] });
    const last = await api.get(`/v1/node-exports?limit=2&after=${first.body.next}`);
    expect(last.body).toMatchObject({
      next: null,
      items: [{ id: '00000003', initial_key: key.fingerprint, seen_by: [formatId(C1)] }],
    });
    expect((await api.get('/v1/node-exports?state=joined')).body.total).toBe(1);
    expect((await api.get(`/v1/nodes?limit=2&after=${first.body.next}`)).status).toBe(400);
  });

  it('hands nodes over with their keys, to recipients, and is in the audit log before that', async () => {
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    await fixture.order({ 3: newSecret() });
    const head = fixture.headSeq;
    const { recipient, identity } = await generateRecipient();
    const begun = await api.change(
      'POST',
      '/v1/node-exports',
      { filter: { order: 1 }, recipients: [recipient] },
      { 'idempotency-key': 'export-1' },
    );
    expect(await jobOf(begun)).toMatchObject({ state: 'done', result: { count: 2 }, file: { name: 'nodes.jsonl.age' } });
    const { octets } = await api.change('POST', `${String(begun.headers.location)}/file`);
    const text = Buffer.from(await decryptManifest(octets, 'file', { identities: [identity] })).toString();
    const nodes = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: string; secret_key: string });
    expect(nodes.map(({ id }) => id)).toEqual(['00000001', '00000002']);
    for (const { id, secret_key: hex } of nodes) {
      const node = await fixture.registry.node(parseId(id) ?? 0);
      expect([id, node?.key.equals(Secret.fromHex(hex))]).toEqual([id, true]);
      node?.key.wipe();
    }
    expect(fixture.entriesAfter(head)).toMatchObject([
      { what: 'nodes exported', count: 2, note: 'with keys' },
      { what: 'keys fetched', note: expect.stringContaining('nodes.jsonl.age') },
    ]);
    const none = { filter: { order: 77 }, recipients: [recipient] };
    expect((await api.change('POST', '/v1/node-exports', none, { 'idempotency-key': 'export-2' })).status).toBe(404);
  });

  it('refuses nodes that come while it is written, beyond those that a file has', async () => {
    await fixture.order({ 1: newSecret(), 2: newSecret(), 3: newSecret() });
    const written = async (most: number): Promise<number> => {
      let count = 0;
      const write = async (pages: AsyncIterable<readonly ExportedLine[]>): Promise<void> => {
        count = (await linesOf(pages, most)).length;
      };
      const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
      await call(nodesExport, { registry: fixture.registry, clock, actor: 'user ada', write }, {});
      return count;
    };
    expect(await written(3)).toBe(3);
    const refused: unknown = await written(2).catch((error: unknown) => error);
    const detail = 'More than 2 nodes pass the filters, and a file has 2 at most.';
    expect((refused as Problem).toJSON()).toMatchObject({ type: 'urn:latchkey:problem:refused', detail });
  });
});
