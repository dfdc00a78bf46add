// The whole audit log in one answer.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { setDisabled } from '@latchkey/operations';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { expect, it, onTestFinished } from 'vitest';
import { type Principal, scopesOf } from '../src/access.js';
import { AuditExports } from '../src/audit-exports.js';
import { openTokenStore } from '../src/tokens/token-store.js';
import { createToken, LocalApi } from './local-api.js';

/** More entries than what the socket and the HTTP layer hold for a caller that does not read. */
const MANY = 6_000;
const PATH = '/v1/audit/export';

/** A registry whose log has an order and so many changes of its nodes. */
async function logOf(changes: number): Promise<AdminFixture> {
  const fixture = await AdminFixture.open();
  const nodes = Array.from({ length: changes }, (_, i) => i + 1);
  await fixture.order(Object.fromEntries(nodes.map((id) => [id, newSecret()])));
  await setDisabled(fixture.registry, nodes, true);
  return fixture;
}

/** Asks, and reads nothing of the answer yet. */
async function begin(socketPath: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const sent = request({ socketPath, path: PATH, headers, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

/** Reads to the end. Returns what came, and whether that is all. */
async function finish(response: IncomingMessage): Promise<{ readonly text: string; readonly isComplete: boolean }> {
  const parts: Buffer[] = [];
  response.on('data', (part: Buffer) => parts.push(part));
  response.on('error', () => undefined);
  await new Promise<void>((resolve) => (response.closed ? resolve() : response.once('close', resolve)));
  return { text: Buffer.concat(parts).toString(), isComplete: response.complete };
}

it('an export has the octets of each entry, whose hashes lead to the head', async () => {
  const fixture = await logOf(600);
  const api = await LocalApi.start(fixture.registry.folder);
  const { status, headers, text } = await api.get(PATH);
  expect([status, headers['content-type']]).toEqual([200, 'application/jsonl']);
  let [hash, count] = [Buffer.alloc(32), 0];
  for (const line of text.trimEnd().split('\n')) {
    hash = createHash('sha256').update(hash).update(line).digest();
    count += 1;
  }
  expect((await api.get('/v1/audit/head')).body).toEqual({ head: `${count}:${hash.toString('hex')}`, seq: count });
});

it('an export is of the entries that were asked for', async () => {
  const fixture = await logOf(600);
  const api = await LocalApi.start(fixture.registry.folder);
  const seqs = async (query: string): Promise<number[]> =>
    (await api.get(`${PATH}?${query}`)).text
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { seq: number }).seq);
  expect(await seqs('from=599&up_to=601')).toEqual([599, 600, 601]);
  expect(await seqs('up_to=2')).toEqual([1, 2]);
  expect(await seqs('from=9000')).toEqual([]);
  expect((await seqs('from=300')).at(-1)).toBe(fixture.headSeq);
  expect((await api.get(`${PATH}?node=00000001`)).status).toBe(400);
});

it('an export does not have what was written after it began, and is one of its caller at a time', async () => {
  const fixture = await logOf(MANY);
  const last = fixture.headSeq;
  const api = await LocalApi.start(fixture.registry.folder);
  const response = await begin(api.socket);
  await setDisabled(fixture.registry, [1], false);
  const other = await api.get(PATH);
  expect([other.status, other.body.detail]).toEqual([503, 'Other exports are being sent.']);
  const { text, isComplete } = await finish(response);
  expect([text.trimEnd().split('\n').length, isComplete]).toEqual([last, true]);
  expect((await api.get(`${PATH}?from=${last + 1}`)).text).toContain('node enabled');
});

it('an export is left incomplete once its token is revoked', async () => {
  const fixture = await logOf(MANY);
  const { folder } = fixture.registry;
  const api = await LocalApi.start(folder);
  const { id, text: token } = await createToken(folder, { scopes: ['audit'] });
  const response = await begin(api.remoteSocket, { authorization: `Bearer ${token}` });
  const tokens = await openTokenStore(folder);
  await tokens.remove(id);
  await tokens.close();
  const { text, isComplete } = await finish(response);
  expect(isComplete).toBe(false);
  expect(text).toContain('order created');
});

it('an export ends for a caller that does not read, and leaves its place', async () => {
  const fixture = await logOf(MANY);
  const exports = new AuditExports(50);
  const caller: Principal = { id: 'uid 7', scopes: scopesOf('operator') };
  const exported: unknown[] = [];
  const server = createServer((_, response) => {
    const { start } = exports.begin(caller, fixture.registry.audit, { from: 1, upTo: Infinity });
    exported.push(start(response));
  });
  const socket = join(await tempFolder(), 'export.sock');
  server.listen(socket);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const response = await begin(socket);
  expect(() => exports.begin(caller, fixture.registry.audit, { from: 1, upTo: 1 })).toThrow('Too much is under way');
  await Promise.all(exported);
  expect((await finish(response)).isComplete).toBe(false);
  expect(exports.begin(caller, fixture.registry.audit, { from: 1, upTo: 1 }).headers).toBeDefined();
});
