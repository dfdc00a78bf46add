// Proves what comes over a key socket: to whom, in which order, and what happens at each limit.
// Sockets and processes are real ones.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { Child, IS_ROOT, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ConnectionLimits } from '../src/access.js';
import { ChangeLog } from '../src/change-log.js';
import type { KeyServer } from '../src/key-server.js';
import { Client, HOUR, ID, idOf, type Line, startServer } from './fixtures.js';

const HAS_PYTHON = spawnSync('python3', ['--version']).status === 0;
const SUBSCRIBE = { subscribe: ['mqtt-psk'] };
const GET = { get: idOf(ID), label: 'mqtt-psk' };

describe('a look-up', () => {
  it('gives the current key by ID, and each generation in use by ID@KID', async () => {
    const { source, path } = await startServer();
    source.join(ID, { expiresAt: Date.now() + HOUR });
    source.join(ID);
    const [current, former] = [source.expected(ID, 'mqtt-psk'), source.expected(ID, 'mqtt-psk', 1)];
    const client = await Client.open(path);
    expect(await client.ask(GET)).toEqual({ get: idOf(ID), id: idOf(ID), not_after: null, ...current });
    const byKid = { get: `${idOf(ID)}@${former.kid}`, label: 'mqtt-psk' };
    expect(await client.ask(byKid)).toMatchObject({ ...former, not_after: expect.any(String) as unknown });
    expect(await client.ask({ ...byKid, get: `${idOf(ID)}@${current.kid}` })).toMatchObject(current);
    expect(await client.ask({ ...byKid, get: `${idOf(ID)}@00000000` })).toEqual({
      get: `${idOf(ID)}@00000000`,
      error: 'unknown-kid',
    });
    expect(source.leaked).toBe(0);
  });

  it('gives a key of the length that is asked for', async () => {
    const { source, path } = await startServer();
    source.join(ID);
    const client = await Client.open(path);
    expect(await client.ask({ ...GET, octets: 32 })).toMatchObject({ key: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown });
  });

  it('gives no key of a node that has none now, and says why', async () => {
    let now = Date.now();
    const { source, path } = await startServer({ now: () => now });
    const client = await Client.open(path);
    expect(await client.ask(GET)).toEqual({ get: idOf(ID), error: 'unknown' });
    for (const state of ['initial', 'disabled', 'removed', 'moved', 'expired', 'withdrawn'] as const) {
      source.join(ID);
      source.set(ID, state);
      expect(await client.ask(GET)).toEqual({ get: idOf(ID), error: state });
    }
    source.join(ID, { expiresAt: now + HOUR });
    expect(await client.ask(GET)).toHaveProperty('key');
    now += HOUR + 1;
    expect(await client.ask(GET)).toEqual({ get: idOf(ID), error: 'expired' });
  });

  it('gives no former generation whose overlap is over', async () => {
    let now = Date.now();
    const { source, path } = await startServer({ now: () => now });
    source.join(ID);
    source.join(ID, { overlap: HOUR });
    const client = await Client.open(path);
    const request = { get: `${idOf(ID)}@${source.expected(ID, 'mqtt-psk', 1).kid}`, label: 'mqtt-psk' };
    expect(await client.ask(request)).toHaveProperty('key');
    now += HOUR + 60_000;
    expect(await client.ask(request)).toEqual({ get: request.get, error: 'unknown-kid' });
  });

  it('gives several labels from one generation, with the former ones', async () => {
    const { source, path } = await startServer();
    source.join(ID);
    source.join(ID);
    const client = await Client.open(path);
    const answer = await client.ask({ get: idOf(ID), labels: ['mqtt-psk', 'eap-psk'] });
    const keys = (generation: number): Line => ({
      'mqtt-psk': source.expected(ID, 'mqtt-psk', generation).key,
      'eap-psk': source.expected(ID, 'eap-psk', generation).key,
    });
    expect(answer).toMatchObject({ kid: source.expected(ID, 'mqtt-psk').kid, keys: keys(0), verified: true });
    expect(answer?.['previous']).toMatchObject([{ kid: source.expected(ID, 'mqtt-psk', 1).kid, keys: keys(1) }]);
  });

  it('is limited to the labels of the socket', async () => {
    const { source, path } = await startServer();
    source.join(ID);
    const client = await Client.open(path);
    expect(await client.ask({ ...GET, label: 'tls-psk' })).toEqual({ get: idOf(ID), error: 'label-refused' });
    expect(await client.ask({ get: idOf(ID), labels: ['mqtt-psk', 'tls-psk'] })).toEqual({
      get: idOf(ID),
      error: 'label-refused',
    });
    expect(await client.ask(GET)).toHaveProperty('key');
  });
});

describe('a subscription', () => {
  it('is synced only once the source has all nodes, those that came meanwhile included', async () => {
    let complete = (): void => undefined;
    const completed = new Promise<void>((resolve) => {
      complete = resolve;
    });
    const { source, path } = await startServer({}, completed);
    const client = await Client.open(path);
    client.send(SUBSCRIBE);
    source.join(2);
    expect(await client.line()).toMatchObject({ event: 'key', id: idOf(2) });
    source.join(1);
    expect(await client.line()).toMatchObject({ event: 'key', id: idOf(1) });
    source.join(3);
    complete();
    expect((await client.until('synced')).map(({ event, id }) => [event, id])).toEqual([
      ['key', idOf(3)],
      ['synced', undefined],
    ]);
    source.join(4);
    expect(await client.line()).toMatchObject({ event: 'key', id: idOf(4) });
  });

  it('begins with all keys, says when it has them, and then gives each change', async () => {
    const { source, path } = await startServer();
    const ids = [3, 1, 2];
    for (const idI of ids) source.join(idI);
    source.set(4, 'initial');
    source.set(5, 'removed');
    const client = await Client.open(path);
    client.send(SUBSCRIBE);
    const snapshot = await client.until('synced');
    expect(snapshot.map(({ event, id }) => [event, id])).toEqual([
      ...[1, 2, 3].map((idI) => ['key', idOf(idI)]),
      ['removed', idOf(5)],
      ['synced', undefined],
    ]);
    const [first] = snapshot;
    expect(first).toMatchObject({ seq: 0, keys: { 'mqtt-psk': source.expected(1, 'mqtt-psk').key }, previous: [] });
    source.join(1);
    const change = await client.line();
    expect(change).toMatchObject({ event: 'key', id: idOf(1), kid: source.expected(1, 'mqtt-psk').kid });
    expect(change?.['previous']).toMatchObject([{ kid: source.expected(1, 'mqtt-psk', 1).kid }]);
    expect(change?.['seq']).toBe(Number(snapshot.at(-1)?.['seq']) + 1);
    for (const [state, event] of [
      ['disabled', 'disabled'],
      ['initial', 'reset'],
      ['moved', 'moved'],
      ['removed', 'removed'],
      ['expired', 'expired'],
      ['withdrawn', 'withdrawn'],
    ] as const) {
      source.set(2, state);
      expect(await client.line()).toMatchObject({ event, id: idOf(2) });
    }
    source.nodes.delete(3);
    source.set(9, 'initial');
    expect(await client.line()).toMatchObject({ event: 'reset', id: idOf(9) });
    expect(source.leaked).toBe(0);
  });

  it('gives an empty snapshot where there are no nodes', async () => {
    const { path } = await startServer();
    const client = await Client.open(path);
    expect(await client.ask(SUBSCRIBE)).toMatchObject({ event: 'synced' });
  });

  it('tells of a key again that was expired by a clock that was ahead', async () => {
    let now = Date.now() + 2 * HOUR;
    const { source, server, path } = await startServer({ now: () => now });
    source.join(ID, { expiresAt: now + HOUR });
    source.join(ID + 1, { expiresAt: now - HOUR });
    source.join(ID + 2);
    const client = await Client.open(path);
    client.send(SUBSCRIBE);
    expect((await client.until('synced')).map(({ event }) => event)).toEqual(['key', 'expired', 'key', 'synced']);
    now += 2 * HOUR;
    server.expire();
    expect(await client.line()).toMatchObject({ event: 'expired', id: idOf(ID) });
    now -= 4 * HOUR;
    server.expire();
    const again = [await client.line(), await client.line()];
    for (const id of [idOf(ID), idOf(ID + 1)]) expect(again).toContainEqual(expect.objectContaining({ event: 'key', id }));
    // Each once, whatever else happens.
    server.expire();
    source.set(ID + 2, 'disabled');
    expect(await client.line()).toMatchObject({ event: 'disabled', id: idOf(ID + 2) });
    now += 2 * HOUR;
    server.expire();
    expect(await client.line()).toMatchObject({ event: 'expired', id: idOf(ID + 1) });
  });

  it('tells of a key that expires, with nothing else happening', async () => {
    let now = Date.now();
    const { source, server, path } = await startServer({ now: () => now });
    source.join(ID, { expiresAt: now + HOUR });
    const client = await Client.open(path);
    client.send(SUBSCRIBE);
    await client.until('synced');
    server.expire();
    now += HOUR + 1;
    server.expire();
    expect(await client.line()).toMatchObject({ event: 'expired', id: idOf(ID) });
  });

  it('continues after the last number that it had, each node once, in its newest state', async () => {
    const { source, path } = await startServer();
    for (const idI of [1, 2, 3]) source.join(idI);
    const first = await Client.open(path);
    first.send(SUBSCRIBE);
    const { seq } = (await first.until('synced')).at(-1)!;
    source.join(1);
    const { seq: had } = (await first.line())!;
    first.send({ ack: had });
    expect(await first.ask(GET)).toEqual({ get: idOf(ID), error: 'unknown' });
    first.socket.destroy();
    for (let i = 0; i < 3; i++) source.join(2);
    source.set(3, 'disabled');

    const second = await Client.open(path);
    second.send({ ...SUBSCRIBE, from: had });
    const missed = await second.until('synced');
    expect(missed.map(({ event, id }) => [event, id])).toEqual([
      ['key', idOf(2)],
      ['disabled', idOf(3)],
      ['synced', undefined],
    ]);
    expect(missed[0]).toMatchObject({ kid: source.expected(2, 'mqtt-psk').kid });
    expect(missed.at(-1)?.['seq']).toBe(Number(seq) + 5);
  });

  it.each([
    ['that an earlier run of the daemon gave', () => 7],
    ['of which the changes since are gone', (last: number) => last - 9],
    ['that is ahead of all changes', (last: number) => last + 1],
  ])('is told to forget all, and gets all, if it continues after a number %s', async (_, from) => {
    const changes = new ChangeLog(8);
    const { source, path } = await startServer({ changes });
    for (let i = 0; i < 20; i++) source.join(i);
    const client = await Client.open(path);
    client.send({ ...SUBSCRIBE, from: from(changes.last) });
    const lines = await client.until('synced');
    expect(lines[0]).toEqual({ event: 'resync' });
    expect(lines.filter(({ event }) => event === 'key')).toHaveLength(20);
  });

  it('that does not read is resynced once it is too far behind, and then has all as it is', async () => {
    const { source, path } = await startServer({ changes: new ChangeLog(64) });
    const client = await Client.open(path);
    client.send(SUBSCRIBE);
    await client.until('synced');
    client.socket.pause();
    // More than the buffers of both ends of the socket take, and then more than the log holds.
    for (let i = 0; i < 8_000; i++) {
      source.join(i);
      if (i % 32 === 31) await new Promise((resolve) => void setImmediate(resolve));
    }
    source.set(1, 'removed');
    client.socket.resume();
    const lines = await client.until('resync');
    expect(lines.length).toBeLessThan(8_000);
    const snapshot = await client.until('synced');
    expect(snapshot.filter(({ event }) => event === 'key')).toHaveLength(7_999);
    expect(snapshot.filter(({ event }) => event === 'removed')).toMatchObject([{ id: idOf(1) }]);
    source.join(ID);
    expect(await client.line()).toMatchObject({ event: 'key', id: idOf(ID) });
    expect(source.leaked).toBe(0);
  });

  it('is limited to the labels of the socket, and never gets a reserved one', async () => {
    const { path } = await startServer();
    for (const label of ['tls-psk', 'latchkey application root']) {
      const client = await Client.open(path);
      expect(await client.ask({ subscribe: ['mqtt-psk', label] })).toHaveProperty('error');
      expect(await client.line()).toBeUndefined();
    }
  });
});

describe('a connection', () => {
  it('is closed with a word if what it sends is no request', async () => {
    const { path } = await startServer();
    for (const line of ['GET / HTTP/1.1', '{"subscribe":["mqtt-psk"],"x":1}', '{"ack":1}', 'x'.repeat(9_000)]) {
      const client = await Client.open(path);
      expect(await client.ask(line), line.slice(0, 40)).toHaveProperty('error');
      expect(await client.line()).toBeUndefined();
    }
  });

  it('is closed if its line never ends', async () => {
    const { path } = await startServer();
    const client = await Client.open(path);
    client.socket.write('x'.repeat(9_000));
    expect(await client.line()).toEqual({ error: 'a line has 8192 octets at most', code: 'bad-request' });
    expect(await client.line()).toBeUndefined();
  });

  it('has its many requests answered in order, however slowly it reads', async () => {
    const { source, path } = await startServer();
    source.join(ID);
    const client = await Client.open(path);
    client.socket.pause();
    const count = 10_000;
    client.socket.write(`${JSON.stringify(GET)}\n`.repeat(count - 1));
    client.send({ get: 'ffffffff', label: 'mqtt-psk' });
    await new Promise((resolve) => void setImmediate(resolve));
    client.socket.resume();
    for (let i = 1; i < count; i++) expect(await client.line()).toHaveProperty('key');
    expect(await client.line()).toEqual({ get: 'ffffffff', error: 'unknown' });
  });

  it('is refused beyond the limit of its user, until another is over', async () => {
    const { log, path } = await startServer({ limits: new ConnectionLimits(2, 256) });
    const [first] = [await Client.open(path), await Client.open(path)];
    expect(await (await Client.open(path)).line()).toEqual({ error: 'too many connections', code: 'too-many' });
    expect(log.withMessage('a connection to a key socket was refused')).toMatchObject([{ reason: 'too-many' }]);
    first.socket.end();
    await vi.waitFor(
      async () => {
        const client = await Client.open(path);
        expect(await client.ask(GET)).toEqual({ get: idOf(ID), error: 'unknown' });
      },
      { timeout: 60_000 },
    );
  });

  it('is closed if the keys cannot be read, and the log says why', async () => {
    const { source, log, path } = await startServer();
    source.join(ID);
    const subscriber = await Client.open(path);
    subscriber.send(SUBSCRIBE);
    await subscriber.until('synced');
    source.fails = true;
    source.set(ID, 'disabled');
    const asking = await Client.open(path);
    for (const line of [await subscriber.line(), await asking.ask(GET), await (await Client.open(path)).ask(SUBSCRIBE)])
      expect(line).toEqual({ error: 'the keys cannot be read now', code: 'unavailable' });
    expect(await subscriber.line()).toBeUndefined();
    expect(log.text).toContain('the disk is gone');
    source.fails = false;
    expect(await (await Client.open(path)).ask(GET)).toEqual({ get: idOf(ID), error: 'disabled' });
  });

  it('does not end the daemon when it is killed in the middle of a snapshot', async () => {
    const { source, path } = await startServer();
    for (let i = 0; i < 5_000; i++) source.join(i);
    const script = `
      import { connect } from 'node:net';
      const socket = connect(process.argv[1], () => socket.write('{"subscribe":["mqtt-psk"]}\\n'));
      socket.once('data', () => { console.log('reading'); socket.pause(); });
      setInterval(() => undefined, 1000);`;
    const child = new Child(script, [path]);
    expect(await child.line()).toBe('reading');
    await child.kill('SIGKILL');
    const client = await Client.open(path);
    expect(await client.ask({ get: idOf(7), label: 'mqtt-psk' })).toHaveProperty('key');
  });
});

/** Asks for a key as another user would, and prints the first line that comes, or why none does. */
const STRANGER = `
  import { connect } from 'node:net';
  const socket = connect(process.argv[1]);
  let text = '';
  socket.on('error', (error) => console.log(error.code));
  socket.on('connect', () => socket.write('{"get":"0000a1b2","label":"mqtt-psk"}\\n'));
  socket.setEncoding('utf8').on('data', (part) => {
    text += part;
    if (text.includes('\\n')) console.log(text.trim());
  });`;

describe.skipIf(!IS_ROOT)('another user (needs root)', () => {
  const GROUP = 54_321;
  const REFUSED = '{"error":"this user may not have keys from this socket","code":"not-allowed"}';

  async function startForGroup(): Promise<{ path: string; server: KeyServer }> {
    const { source, server, folder } = await startServer();
    source.join(ID);
    chmodSync(folder, 0o755);
    const path = join(folder, 'group.sock');
    await server.listen({ socket: path, mode: 0o660, group: GROUP, labels: ['mqtt-psk'] });
    return { path, server };
  }

  it('gets keys in the group of the socket, and the kernel keeps the others out', async () => {
    const { path } = await startForGroup();
    expect(statSync(path)).toMatchObject({ mode: 0o140660, gid: GROUP });
    expect(await new Child(STRANGER, [path], { uid: 12_345, gid: GROUP }).line()).toContain('"key"');
    expect(await new Child(STRANGER, [path], { uid: 12_345, gid: 12_345 }).line()).toBe('EACCES');
  });

  it('gets keys through any of its further groups, however many it has', async () => {
    const { path } = await startForGroup();
    const become = (groups: readonly number[]): string =>
      `process.setgroups(${JSON.stringify(groups)}); process.setgid(12345); process.setuid(12345);${STRANGER}`;
    const many = Array.from({ length: 200 }, (_, index) => 20_000 + index);
    expect(await new Child(become([7, GROUP]), [path]).line()).toContain('"key"');
    expect(await new Child(become([...many, GROUP]), [path]).line()).toContain('"key"');
    chmodSync(path, 0o666);
    expect(await new Child(become(many), [path]).line()).toBe(REFUSED);
  });

  it('gets nothing outside the group where the file would let it in, nor as 65534', async () => {
    const { path } = await startForGroup();
    chmodSync(path, 0o666);
    expect(await new Child(STRANGER, [path], { uid: 12_345, gid: 12_345 }).line()).toBe(REFUSED);
    expect(await new Child(STRANGER, [path], { uid: 65_534, gid: GROUP }).line()).toBe(REFUSED);
  });

  it('gets nothing from the socket for the owner, which root and the owner do', async () => {
    const { source, server, folder } = await startServer();
    source.join(ID);
    chmodSync(folder, 0o755);
    const path = join(folder, 'owner.sock');
    await server.listenForOwner(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    chmodSync(path, 0o666);
    expect(await new Child(STRANGER, [path], { uid: 12_345, gid: 0 }).line()).toBe(REFUSED);
    expect(await new Child(STRANGER, [path]).line()).toContain('"key"');
  });

  it('does not use up the connections of others', async () => {
    const { path } = await startForGroup();
    const script = `
      import { connect } from 'node:net';
      let refused = 0;
      for (let i = 0; i < 20; i++) connect(process.argv[1]).on('data', () => { if (++refused === 4) console.log('refused'); }).on('error', () => undefined);`;
    const child = new Child(script, [path], { uid: 12_345, gid: GROUP });
    expect(await child.line()).toBe('refused');
    const client = await Client.open(path);
    expect(await client.ask(GET)).toHaveProperty('key');
    await child.kill('SIGKILL');
  });
});

describe('the socket for the owner', () => {
  it('has every label but the reserved ones, and an expired key for who asks for it', async () => {
    let now = Date.now();
    const { source, server, folder, path } = await startServer({ now: () => now });
    source.join(ID, { expiresAt: now + HOUR });
    now += HOUR + 1;
    const own = join(folder, 'owner.sock');
    await server.listenForOwner(own);
    const request = { get: formatId(ID), labels: ['mqtt-psk'], allow_expired: true };
    const client = await Client.open(own);
    expect(await client.ask({ ...request, labels: ['any'] })).toMatchObject({ keys: { any: source.expected(ID, 'any').key } });
    expect(await client.ask({ get: formatId(ID), labels: ['any'] })).toEqual({ get: formatId(ID), error: 'expired' });
    expect(await (await Client.open(path)).ask(request)).toEqual({ get: formatId(ID), error: 'expired' });
    expect(await client.ask({ ...request, labels: ['latchkey x'] })).toHaveProperty('error');
  });
});

describe('a socket', () => {
  it('takes the place of one that a killed daemon left, and of nothing else', async () => {
    const { server, folder } = await startServer();
    const path = join(folder, 'left.sock');
    const settings = { socket: path, mode: 0o600, labels: ['mqtt-psk'] };
    const script = `
      import { createServer } from 'node:net';
      createServer().listen(process.argv[1], () => console.log('listening'));`;
    const child = new Child(script, [path]);
    expect(await child.line()).toBe('listening');
    await expect(server.listen(settings)).rejects.toThrow(`cannot serve keys on ${path}: another process listens there`);
    await child.kill('SIGKILL');
    await server.listen(settings);
    expect(await (await Client.open(path)).ask(GET)).toEqual({ get: idOf(ID), error: 'unknown' });

    const file = join(folder, 'file');
    writeFileSync(file, 'mine');
    await expect(server.listen({ ...settings, socket: file })).rejects.toThrow('is there already, and is no socket');
    await expect(server.listen({ ...settings, socket: join(folder, 'none/keys.sock') })).rejects.toThrow('is not there');
    await expect(server.listen({ ...settings, socket: join(folder, 'x.sock'), group: 'no-such-group' })).rejects.toThrow(
      'this machine has no group no-such-group',
    );
  });

  it('is in no folder where anybody could put another one in its place', async () => {
    const { server, folder } = await startServer();
    const open = join(folder, 'open');
    mkdirSync(open);
    const settings = { socket: join(open, 'keys.sock'), mode: 0o600, labels: ['mqtt-psk'] };
    chmodSync(open, 0o777);
    await expect(server.listen(settings)).rejects.toMatchObject({
      message: `cannot listen on ${settings.socket}: every user of this machine may write to the folder ${open}`,
      advice: expect.stringContaining(`chmod o-w ${open}`),
      exitCode: 2,
    });
    chmodSync(open, 0o1777);
    await server.listen(settings);
  });

  it.skipIf(!HAS_PYTHON)('is left to a process that takes datagrams there, or no connection now (needs python3)', async () => {
    const { server, folder } = await startServer();
    const [datagrams, full] = [join(folder, 'datagrams'), join(folder, 'full')];
    const script = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])
t = socket.socket(socket.AF_UNIX); t.bind(sys.argv[2]); t.listen(0)
c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[2])
print('there', flush=True); sys.stdin.read()`;
    const holder = spawn('python3', ['-c', script, datagrams, full]);
    onTestFinished(() => void holder.kill());
    await once(holder.stdout, 'data');
    for (const socket of [datagrams, full])
      await expect(server.listen({ socket, mode: 0o600, labels: ['mqtt-psk'] })).rejects.toThrow('another process listens there');
  });

  it('is gone once the server is closed, with its connections', async () => {
    const { server, path } = await startServer();
    const client = await Client.open(path);
    expect(server.isOpen).toBe(true);
    await server.close();
    expect(await client.line()).toBeUndefined();
    await expect(Client.open(path)).rejects.toThrow('ENOENT');
  });

  it('writes no key to the log', async () => {
    const { source, log, path } = await startServer();
    source.join(ID);
    const client = await Client.open(path);
    expect(await client.ask(GET)).toHaveProperty('key');
    await client.ask({ get: idOf(ID), label: 'tls-psk' });
    expect(log.text).not.toContain(source.expected(ID, 'mqtt-psk').key);
  });
});

it('a stale path in the way of nobody is used by one server only', async () => {
  const folder = await tempFolder();
  const other = createServer().listen(join(folder, 'other.sock'));
  onTestFinished(() => void other.close());
  const { server } = await startServer();
  await expect(server.listenForOwner(join(folder, 'other.sock'))).rejects.toThrow('another process listens there');
});
