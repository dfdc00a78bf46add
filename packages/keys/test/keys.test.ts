// Proves that a program with @latchkey/keys has the keys that the daemon's key socket serves,
// through renewals, revocations and restarts of the daemon, and that the README's examples do what
// it says. The server, the sockets, TLS and the processes are real ones.

import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect as connectTcp, createServer as createUnixServer } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, createServer, type SecureVersion, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { KeyServer, type KeySource } from '@latchkey/key-delivery';
import { deriveApplicationKey, deriveKeyId, formatId, Secret } from '@latchkey/protocol';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  type KeyEvent,
  type KeysError,
  lookup,
  pskCallback,
  type PskCallbackOptions,
  subscribe,
  type Subscription,
} from '../src/index.js';

const ID = 0xa1b2;
const LABEL = 'tls-psk';
const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
/** A key that a daemon tells of. */
const KEY_LINE = {
  seq: 1,
  event: 'key',
  id: '0000a1b2',
  kid: '11223344',
  keys: { [LABEL]: '00'.repeat(16) },
  joined: '2026-01-01T00:00:00.000Z',
  not_after: null,
  previous: [],
};
const CIPHERS = 'TLS_AES_128_GCM_SHA256:ECDHE-PSK-AES128-CBC-SHA256:PSK-AES128-GCM-SHA256';

type State = 'current' | 'disabled';

/** Nodes whose newest generation's number is all that is kept of them. */
class Nodes implements KeySource {
  readonly #nodes = new Map<number, { state: State; generation: number }>();
  readonly #listeners = new Set<(idI: number) => void>();

  get(idI: number): ReturnType<KeySource['get']> {
    const node = this.#nodes.get(idI);
    if (node === undefined) return undefined;
    const isCurrent = node.state === 'current';
    const generation = (number: number) => ({
      keyId: keyIdOf(idI, number),
      applicationRoot: rootOf(number),
      joinedAt: Date.now(),
      expiresAt: undefined,
    });
    return {
      idI,
      state: node.state,
      current: isCurrent ? generation(node.generation) : undefined,
      former: isCurrent && node.generation > 1 ? [{ ...generation(node.generation - 1), until: Date.now() + 3_600_000 }] : [],
      verified: true,
    };
  }

  *all(): Iterable<NonNullable<ReturnType<KeySource['get']>>> {
    for (const idI of [...this.#nodes.keys()].toSorted((a, b) => a - b)) yield this.get(idI)!;
  }

  onChange(listener: (idI: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  join(idI: number = ID): void {
    this.#set(idI, { state: 'current', generation: (this.#nodes.get(idI)?.generation ?? 0) + 1 });
  }

  disable(idI: number = ID): void {
    this.#set(idI, { generation: this.#nodes.get(idI)?.generation ?? 0, state: 'disabled' });
  }

  forget(idI: number): void {
    this.#nodes.delete(idI);
  }

  #set(idI: number, node: { state: State; generation: number }): void {
    this.#nodes.set(idI, node);
    for (const listener of this.#listeners) listener(idI);
  }
}

function rootOf(generation: number): Secret {
  return Secret.from(new Uint8Array(16).fill(generation));
}

function keyIdOf(idI: number, generation: number): string {
  return deriveKeyId(rootOf(generation), idI);
}

function keyOf(idI: number, generation: number, label: string = LABEL): Buffer {
  return Buffer.from(deriveApplicationKey(rootOf(generation), label, idI));
}

interface Daemon {
  readonly nodes: Nodes;
  readonly socket: string;
  server: KeyServer;
  /** Ends the server and starts another, as a restarted daemon does. */
  restart(whileDown?: () => void): Promise<void>;
}

async function startDaemon(labels: readonly string[] = [LABEL, 'mqtt-psk']): Promise<Daemon> {
  const nodes = new Nodes();
  const socket = join(await tempFolder(), 'keys.sock');
  const start = async (): Promise<KeyServer> => {
    const server = new KeyServer({ source: nodes, log: new CapturedLog().log });
    await server.listen({ socket, mode: 0o660, labels });
    return server;
  };
  const daemon: Daemon = {
    nodes,
    socket,
    server: await start(),
    async restart(whileDown) {
      await daemon.server.close();
      whileDown?.();
      daemon.server = await start();
    },
  };
  onTestFinished(() => daemon.server.close());
  return daemon;
}

/** A daemon that sends these lines to each subscriber. Returns its socket. */
async function startLineServer(...lines: readonly object[]): Promise<string> {
  const socket = join(await tempFolder(), 'keys.sock');
  const server = createUnixServer((client) => {
    client.on('error', () => undefined);
    client.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  });
  await new Promise<void>((resolve) => void server.listen(socket, resolve));
  onTestFinished(() => void server.close());
  return socket;
}

/** Events of a subscription one by one, closed with the test. */
class Events {
  readonly #iterator: AsyncIterator<KeyEvent>;

  constructor(subscription: Subscription) {
    this.#iterator = subscription[Symbol.asyncIterator]();
    onTestFinished(() => subscription.close());
  }

  async next(): Promise<KeyEvent> {
    const { value, done } = await this.#iterator.next();
    if (done === true) throw new Error('the subscription has ended');
    return value;
  }

  /** All up to the first `synced`, as `type id`. */
  async untilSynced(): Promise<string[]> {
    const seen: string[] = [];
    for (;;) {
      const event = await this.next();
      seen.push('id' in event ? `${event.type} ${Number.parseInt(event.id, 16)}` : event.type);
      if (event.type === 'synced') return seen;
    }
  }
}

describe('lookup', () => {
  it('gives a key of one generation, or says why there is none', async () => {
    const { nodes, socket } = await startDaemon();
    nodes.join();
    nodes.join();
    const [id, kid, formerKid] = [formatId(ID), keyIdOf(ID, 2), keyIdOf(ID, 1)];
    expect(await lookup(id, LABEL, { socket })).toEqual({ id, kid, key: keyOf(ID, 2), notAfter: undefined });
    expect(await lookup(`${id}@${formerKid}`, LABEL, { socket })).toMatchObject({ kid: formerKid, key: keyOf(ID, 1) });
    const many = await Promise.all(Array.from({ length: 100 }, () => lookup(id, 'mqtt-psk', { socket })));
    expect(new Set(many.map(({ key }) => key.toString('hex')))).toEqual(new Set([keyOf(ID, 2, 'mqtt-psk').toString('hex')]));
    const codeOf = (identity: string, label: string): Promise<unknown> =>
      lookup(identity, label, { socket }).catch((error: unknown) => (error as KeysError).code);
    expect(await codeOf(id, 'eap-psk')).toBe('label-refused');
    expect(await codeOf(`${id}@00000000`, LABEL)).toBe('unknown-kid');
    expect(await codeOf('00000001', LABEL)).toBe('unknown');
    nodes.disable();
    expect(await codeOf(id, LABEL)).toBe('disabled');
    expect(await codeOf('not an ID', LABEL)).toBe('bad-request');
    expect(await codeOf(id, LABEL)).toBe('disabled');
  });

  it('works after a restart of the daemon, and says that it is down', async () => {
    const daemon = await startDaemon();
    const { nodes, socket } = daemon;
    nodes.join();
    expect((await lookup(formatId(ID), LABEL, { socket })).kid).toBe(keyIdOf(ID, 1));
    await daemon.restart(() => nodes.join());
    expect((await lookup(formatId(ID), LABEL, { socket })).kid).toBe(keyIdOf(ID, 2));
    await daemon.server.close();
    await expect(lookup(formatId(ID), LABEL, { socket })).rejects.toThrow(`cannot reach the daemon at ${socket}: ENOENT`);
  });
});

describe('lookup from a daemon that is broken', () => {
  /** Answers two look-ups of one connection, and takes no other connection. */
  async function brokenDaemon(answers: string): Promise<string> {
    const socket = join(await tempFolder(), 'keys.sock');
    let requests = '';
    const server = createUnixServer((connection) => {
      if (requests !== '') return void connection.destroy();
      connection.on('error', () => undefined);
      connection.on('data', (part) => {
        requests += String(part);
        if (requests.split('\n').length === 3) connection.write(answers);
      });
    }).listen(socket);
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    return socket;
  }
  const answer = (get: string): string =>
    `${JSON.stringify({ get, id: get, kid: '00000001', key: '00'.repeat(16), not_after: null })}\n`;

  it.each([
    ['after a line that is none', `no line of ours\n${answer('00000002')}`],
    ['in another order', answer('00000002') + answer('00000001')],
  ])('gives no key of another node: %s', async (_, answers) => {
    const socket = await brokenDaemon(answers);
    const outcomes = await Promise.allSettled(['00000001', '00000002'].map((id) => lookup(id, LABEL, { socket })));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'disconnected' } });
  });
});

describe('subscribe', () => {
  it('gives a snapshot, then renewals and revocations', async () => {
    const { nodes, socket } = await startDaemon();
    nodes.join(1);
    nodes.join(2);
    const events = new Events(subscribe({ socket, labels: [LABEL, 'mqtt-psk'] }));
    expect(await events.untilSynced()).toEqual(['key 1', 'key 2', 'synced']);
    nodes.join(2);
    expect(await events.next()).toMatchObject({
      type: 'key',
      id: formatId(2),
      kid: keyIdOf(2, 2),
      keys: { [LABEL]: keyOf(2, 2), 'mqtt-psk': keyOf(2, 2, 'mqtt-psk') },
      previous: [{ kid: keyIdOf(2, 1), keys: { [LABEL]: keyOf(2, 1) } }],
      verified: true,
    });
    nodes.disable(1);
    expect(await events.next()).toMatchObject({ type: 'disabled', id: formatId(1) });
  });

  it('gets all anew from a daemon that was restarted, and so learns who is gone', async () => {
    const daemon = await startDaemon();
    const { nodes, socket } = daemon;
    for (const idI of [1, 2, 3]) nodes.join(idI);
    const events = new Events(subscribe({ socket, labels: [LABEL] }));
    expect(await events.untilSynced()).toHaveLength(4);
    const next = events.untilSynced();
    await daemon.restart(() => {
      nodes.forget(1);
      nodes.disable(2);
    });
    expect(await next).toEqual(['resync', 'disabled 2', 'key 3', 'synced']);
  });

  it('gets again what was not dealt with, and nothing that was', async () => {
    const { nodes, socket } = await startDaemon();
    const subscription = subscribe({ socket, labels: [LABEL], ack: 'manual' });
    const events = new Events(subscription);
    const synced = await events.next();
    expect(synced.type).toBe('synced');
    nodes.join(1);
    nodes.disable(2);
    const [dealtWith, missed] = [await events.next(), await events.next()];
    subscription.ack(dealtWith.seq);
    subscription.close();
    const later = new Events(subscribe({ socket, labels: [LABEL], from: dealtWith.seq }));
    expect(await later.next()).toEqual(missed);
    expect(await later.untilSynced()).toEqual(['synced']);
  });

  it.each([
    ['no former keys', { previous: undefined }],
    ['a key that is not hexadecimal', { keys: { [LABEL]: 'secret' } }],
    ['an empty key', { keys: { [LABEL]: '' } }],
    ['a key that is cut short', { keys: { [LABEL]: '00'.repeat(15) } }],
    ['no key for the label', { keys: { other: '00'.repeat(16) } }],
    ['no keys', { keys: null }],
    ['an ID that names a path', { id: '../a1b2f' }],
    ['a key identifier that is none', { kid: '1122334' }],
    ['no time', { joined: 'soon' }],
  ])('gives no event of a line with %s, and says that the connection is over', async (_, fields) => {
    const socket = await startLineServer({ ...KEY_LINE, ...fields });
    const error = await new Promise<KeysError>((resolve) => {
      const subscription = subscribe({ socket, labels: [LABEL], onDisconnect: resolve });
      onTestFinished(() => subscription.close());
    });
    expect(error).toMatchObject({ code: 'disconnected', message: expect.stringContaining('another form') as unknown });
    expect(error.message).not.toContain('secret');
  });

  it('ends with an error if the label is not for it', async () => {
    const { socket } = await startDaemon();
    const events = new Events(subscribe({ socket, labels: ['eap-psk'] }));
    await expect(events.next()).rejects.toMatchObject({ code: 'bad-request' });
  });

  it('waits for a daemon that is not there yet, and tells', async () => {
    const socket = join(await tempFolder(), 'keys.sock');
    let told: (error: KeysError) => void = () => undefined;
    const disconnected = new Promise<KeysError>((resolve) => (told = resolve));
    const events = new Events(subscribe({ socket, labels: [LABEL], onDisconnect: (error) => told(error) }));
    const synced = events.untilSynced();
    expect((await disconnected).code).toBe('disconnected');
    const server = new KeyServer({ source: new Nodes(), log: new CapturedLog().log });
    onTestFinished(() => server.close());
    await server.listen({ socket, mode: 0o600, labels: [LABEL] });
    expect(await synced).toEqual(['synced']);
  });
});

/** One handshake: what the server said first, or the code of the error. */
async function handshake(
  port: number,
  identity: string,
  psk: Buffer,
  more: { readonly version?: SecureVersion; readonly session?: Buffer } = {},
): Promise<{ said: string; connection: TLSSocket }> {
  const { version = 'TLSv1.3', session } = more;
  const connection = connect({
    socket: connectTcp(port, '127.0.0.1'),
    pskCallback: () => ({ psk, identity }),
    ciphers: CIPHERS,
    minVersion: version,
    maxVersion: version,
    checkServerIdentity: () => undefined,
    ...(session === undefined ? {} : { session }),
  });
  onTestFinished(() => void connection.destroy());
  const said = await new Promise<string>((resolve) => {
    connection.once('data', (octets) => resolve(octets.toString()));
    connection.once('error', () => resolve('refused'));
    connection.once('close', () => resolve('refused'));
  });
  return { said, connection };
}

async function tlsServer(options: PskCallbackOptions): Promise<number> {
  const callback = await pskCallback(options);
  const server = createServer({ pskCallback: callback, ciphers: CIPHERS, secureOptions: constants.SSL_OP_NO_TICKET });
  server.on('tlsClientError', () => undefined);
  server.on('secureConnection', (connection) => {
    connection.on('error', () => undefined);
    connection.write(connection.getProtocol() ?? '');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    callback.close();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

describe('pskCallback', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('serves current and former keys of nodes over %s, and no others', async (version) => {
    const { nodes, socket } = await startDaemon();
    nodes.join();
    nodes.join();
    const port = await tlsServer({ socket, label: LABEL });
    const [id, kid, formerKid] = [formatId(ID), keyIdOf(ID, 2), keyIdOf(ID, 1)];
    const said = async (identity: string, key: Buffer): Promise<string> =>
      (await handshake(port, identity, key, { version })).said;
    expect(await said(id, keyOf(ID, 2))).toBe(version);
    expect(await said(`${id}@${kid}`, keyOf(ID, 2))).toBe(version);
    expect(await said(`${id}@${formerKid}`, keyOf(ID, 1))).toBe(version);
    expect(await said(id, keyOf(ID, 1))).toBe('refused');
    expect(await said(`${id}@00000000`, keyOf(ID, 2))).toBe('refused');
    expect(await said('00000001', keyOf(1, 1))).toBe('refused');
    expect(await said(`${id} `, keyOf(ID, 2))).toBe('refused');
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'refuses a revoked node over %s: new, resumed, and on the connection it has',
    async (version) => {
      const { nodes, socket } = await startDaemon();
      nodes.join();
      nodes.join(7);
      let revoked: (reason: string) => void = () => undefined;
      const reason = new Promise<string>((resolve) => (revoked = resolve));
      const port = await tlsServer({ socket, label: LABEL, onRevoke: (id, why) => revoked(`${id} ${why}`) });
      const id = formatId(ID);
      const { said, connection } = await handshake(port, id, keyOf(ID, 1), { version });
      expect(said).toBe(version);
      const other = await handshake(port, formatId(7), keyOf(7, 1), { version });
      const session = connection.getSession();
      const closed = once(connection, 'close');
      nodes.disable();
      expect(await reason).toBe(`${id} disabled`);
      await closed;
      expect((await handshake(port, id, keyOf(ID, 1), { version })).said).toBe('refused');
      expect((await handshake(port, id, keyOf(ID, 1), session === undefined ? { version } : { version, session })).said).toBe(
        'refused',
      );
      expect(other.connection.destroyed).toBe(false);
    },
  );

  it('has a snapshot replace what it had, without a moment between', async () => {
    const daemon = await startDaemon();
    const { nodes, socket } = daemon;
    nodes.join(1);
    nodes.join(2);
    const revoked: string[] = [];
    const callback = await pskCallback({ socket, label: LABEL, onRevoke: (id, reason) => revoked.push(`${id} ${reason}`) });
    onTestFinished(() => callback.close());
    const connection = { destroy: () => undefined, once: () => undefined };
    await daemon.server.close();
    expect(callback(connection, formatId(1))).toEqual(keyOf(1, 1));
    nodes.forget(1);
    await daemon.restart();
    await expect.poll(() => callback(connection, formatId(1)), { timeout: 60_000 }).toBeNull();
    expect(callback(connection, formatId(2))).toEqual(keyOf(2, 1));
    expect(revoked).toEqual([`${formatId(1)} removed`]);
  });

  it('serves a former key no longer than until its own expiry, though its overlap lasts longer', async () => {
    const now = Date.now();
    const at = (ms: number): string => new Date(now + ms).toISOString();
    const former = { kid: '55667788', keys: { [LABEL]: '11'.repeat(16) }, not_after: at(60_000), until: at(900_000) };
    const synced = { seq: 2, event: 'synced' };
    const socket = await startLineServer({ ...KEY_LINE, previous: [former] }, synced);
    const callback = await pskCallback({ socket, label: LABEL });
    onTestFinished(() => callback.close());
    const clock = vi.spyOn(Date, 'now').mockReturnValue(now + 60_000);
    onTestFinished(() => clock.mockRestore());
    const connection = { destroy: () => undefined, once: () => undefined };
    expect(callback(connection, `${KEY_LINE.id}@55667788`)).toEqual(Buffer.alloc(16, 0x11));
    clock.mockReturnValue(now + 60_001);
    expect(callback(connection, `${KEY_LINE.id}@55667788`)).toBeNull();
    expect(callback(connection, KEY_LINE.id)).toEqual(Buffer.alloc(16));
  });

  it('fails at once if the daemon refuses', async () => {
    const { socket } = await startDaemon();
    await expect(pskCallback({ socket, label: 'eap-psk' })).rejects.toMatchObject({ code: 'bad-request' });
  });
});

describe('the README', () => {
  /** The examples as they stand, but for the path of the socket and the port. */
  async function example(containing: string, socket: string): Promise<ChildProcess & { next(): Promise<string> }> {
    const readme = await readFile(join(PACKAGE, 'README.md'), 'utf8');
    const code = [...readme.matchAll(/^```js\n(.*?)^```/gms)]
      .map((match) => match[1] ?? '')
      .find((text) => text.includes(containing));
    const path = join(dirname(socket), `example-${containing}.mjs`);
    const link = join(dirname(socket), 'node_modules/@latchkey/keys');
    await mkdir(dirname(link), { recursive: true });
    await symlink(PACKAGE, link);
    const text = (code ?? '')
      .replace('/run/latchkey/controller/keys.sock', socket)
      .replace(
        `server.listen(8883, () => console.log('listening'))`,
        `server.listen(0, '127.0.0.1', () => console.log(server.address().port))`,
      );
    await writeFile(path, text);
    const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return Object.assign(child, {
      async next(): Promise<string> {
        const { value, done } = await lines.next();
        return done === true ? 'ended' : value;
      },
    });
  }

  it('has a TLS server that serves a node, and refuses it once it is disabled', async () => {
    const { nodes, socket } = await startDaemon();
    nodes.join();
    const child = await example('createServer', socket);
    const port = Number(await child.next());
    expect((await handshake(port, formatId(ID), keyOf(ID, 1))).said).toBe('welcome over TLSv1.3\n');
    nodes.disable();
    expect(await child.next()).toBe(`node ${formatId(ID)}: disabled`);
    expect((await handshake(port, formatId(ID), keyOf(ID, 1))).said).toBe('refused');
    expect(await child.next()).toContain('handshake refused');
  });

  it('has a look-up that ends by itself', async () => {
    const { nodes, socket } = await startDaemon();
    nodes.join();
    const child = await example('await lookup', socket);
    expect(await child.next()).toBe(`${keyIdOf(ID, 1)} 16 never expires`);
    expect(await child.next()).toBe('ended');
  });

  it('has a subscription that keeps a table of nodes', async () => {
    const { nodes, socket } = await startDaemon();
    nodes.join(1);
    const child = await example('of subscribe', socket);
    expect(await child.next()).toBe(`key ${formatId(1)} 1`);
    expect(await child.next()).toBe('synced  1');
    nodes.disable(1);
    expect(await child.next()).toBe(`disabled ${formatId(1)} 0`);
  });
});
