// Webhooks from a real API to a real receiver, which fails first.

import { createHash, createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { setDisabled } from '@latchkey/operations';
import type { Daemon } from '@latchkey/runtime/daemon';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished } from 'vitest';
import { apiConfigSchema } from '../src/config.js';
import { isPublic } from '../src/webhooks/delivery.js';
import { startWebhooks } from '../src/webhooks/index.js';
import { createToken, LocalApi } from './local-api.js';

const KEY = randomBytes(32);

interface Received {
  readonly id: string;
  readonly events: { readonly seq: number; readonly what: string; readonly node?: string }[];
  readonly isSigned: boolean;
  readonly text: string;
}

/** Answers with the statuses that it is given, then as it is told. */
class Receiver {
  readonly taken: Received[] = [];
  readonly refused: Received[] = [];
  readonly statuses: number[] = [];
  status = 204;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Receiver> {
    const server = createServer();
    const receiver = new Receiver(server);
    server.on('request', (request, response) => {
      void receiver.#answer(request, response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return receiver;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/hook`;
  }

  get events(): Received['events'] {
    return this.taken.flatMap(({ events }) => events);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const received = await this.#read(request);
    const status = this.statuses.shift() ?? this.status;
    (status === 204 ? this.taken : this.refused).push(received);
    // A redirect leads to where everything is taken.
    response.writeHead(status, { location: '/elsewhere', connection: 'close' }).end('an answer that nobody reads');
  }

  async #read(request: IncomingMessage): Promise<Received> {
    const text = Buffer.concat((await request.toArray()) as Buffer[]).toString('utf8');
    const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature } = request.headers;
    const wanted = createHmac('sha256', KEY)
      .update(`${String(id)}.${String(time)}.${text}`)
      .digest('base64');
    const isNow = Math.abs(Date.now() / 1_000 - Number(time)) < 300;
    const { events } = JSON.parse(text) as Pick<Received, 'events'>;
    return { id: String(id), events, isSigned: isNow && signature === `v1,${wanted}` && request.url === '/hook', text };
  }
}

interface Plant {
  readonly fixture: AdminFixture;
  readonly receiver: Receiver;
  readonly log: CapturedLog;
  readonly state: string;
  readonly start: () => Promise<Daemon>;
}

async function plant(what?: readonly string[]): Promise<Plant> {
  const fixture = await AdminFixture.open();
  await fixture.order({ 1: newSecret(), 2: newSecret(), 3: newSecret() });
  const { folder } = fixture.registry;
  const api = await LocalApi.start(folder);
  const receiver = await Receiver.start();
  const files = await tempFolder();
  const [secretFile, tokenFile, state] = [join(files, 'secret'), join(files, 'token'), join(files, 'state')];
  await writeFile(secretFile, `whsec_${KEY.toString('base64')}\n`, { mode: 0o600 });
  await writeFile(tokenFile, `${(await createToken(folder, { scopes: ['audit'] })).text}\n`, { mode: 0o600 });
  const log = new CapturedLog();
  const config = {
    state,
    token_file: tokenFile,
    to: { ops: { url: receiver.url, secret_file: secretFile, what, private: false } },
  };
  const start = async (): Promise<Daemon> => {
    const daemon = await startWebhooks({ config, apiSocket: api.remoteSocket, log: log.log, intervalMs: 100, firstRetryMs: 5 });
    onTestFinished(() => daemon.stop());
    return daemon;
  };
  return { fixture, receiver, log, state, start };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + 120_000; performance.now() < deadline; await pause(20)) if (await condition()) return;
  throw new Error('it did not come to that');
}

/** Whether it is as far as the log. */
async function isUpToDate({ fixture, state }: Plant): Promise<boolean> {
  const text = await readFile(join(state, 'ops.json'), 'utf8').catch(() => '{}');
  return (JSON.parse(text) as { seq?: number }).seq === fixture.headSeq;
}

describe('a webhook', () => {
  it('sends what happens from its start on, signed, in order, until the receiver takes it', async () => {
    const all = await plant();
    const { fixture, receiver, log } = all;
    const daemon = await all.start();
    await until(() => isUpToDate(all));
    const before = fixture.headSeq;
    receiver.statuses.push(302, 429);
    receiver.status = 503;
    await setDisabled(fixture.registry, [1, 2], true);
    const check = daemon.telemetry?.checks[0];
    await until(async () => (await check?.run()) !== undefined);
    expect([check?.name, receiver.taken]).toEqual(['webhook_ops', []]);
    receiver.status = 204;
    await until(() => receiver.taken.length > 0);
    await setDisabled(fixture.registry, [1], false);
    await until(() => isUpToDate(all));
    await until(async () => (await check?.run()) === undefined);
    expect(receiver.events.map(({ seq, what, node }) => [seq, what, node])).toEqual([
      [before + 1, 'node disabled', '00000001'],
      [before + 2, 'node disabled', '00000002'],
      [before + 3, 'node enabled', '00000001'],
    ]);
    const requests = [...receiver.taken, ...receiver.refused];
    expect(requests.map(({ isSigned }) => isSigned)).toEqual(requests.map(() => true));
    expect(new Set(receiver.refused.map(({ id }) => id))).toEqual(new Set([receiver.taken[0]?.id]));
    // Neither who did it nor a fingerprint.
    expect(Object.keys(receiver.events[0] ?? {})).toEqual(['seq', 'at', 'what', 'node']);
    const valuesOf = (name: string): unknown[] => {
      const metric = daemon.telemetry?.metrics.find((one) => one.name === name);
      return [...((metric?.read() ?? []) as Iterable<unknown>)];
    };
    await until(() => JSON.stringify(valuesOf('latchkey_webhook_audit_entry')).includes(`"value":${before + 3}`));
    expect(valuesOf('latchkey_webhook_deliveries_total')).toEqual([
      { labels: { webhook: 'ops', outcome: 'delivered' }, value: receiver.taken.length },
      { labels: { webhook: 'ops', outcome: 'failed' }, value: receiver.refused.length },
    ]);
    expect(log.text).not.toContain('an answer that nobody reads');
  });

  it('loses nothing that came while it was not running, and sends what it was asked for only', async () => {
    const all = await plant(['node disabled', 'order created']);
    const { fixture, receiver } = all;
    const first = await all.start();
    await until(() => isUpToDate(all));
    await first.stop();
    await setDisabled(fixture.registry, [1, 2], true);
    await setDisabled(fixture.registry, [1], false);
    for (let i = 0; i < 3; i++) await fixture.order({ [0x100 + i]: newSecret() });
    await all.start();
    await until(() => isUpToDate(all));
    const kinds = receiver.events.map(({ what }) => what);
    expect(kinds).toEqual(['node disabled', 'node disabled', 'order created', 'order created', 'order created']);
    // What is not asked for moves the cursor on, too.
    await setDisabled(fixture.registry, [2], false);
    await until(() => isUpToDate(all));
    expect(receiver.events.length).toBe(kinds.length);
  });

  it('goes on with the restore in a log that is another one', async () => {
    const all = await plant();
    const { fixture, receiver, state } = all;
    const first = await all.start();
    await until(() => isUpToDate(all));
    await first.stop();
    await writeFile(join(state, 'ops.json'), JSON.stringify({ seq: 2, at: '2020-01-01T00:00:00.000Z' }));
    await fixture.registry.record({ what: 'registry restored' });
    const restored = fixture.headSeq;
    await setDisabled(fixture.registry, [1], true);
    await all.start();
    await until(() => isUpToDate(all));
    expect(receiver.events.map(({ seq }) => seq)).toEqual([restored, restored + 1]);
    // Numbers come again after a restore: what bears the same ID has the same events.
    for (const { id, text, events } of receiver.taken) {
      const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
      expect(id).toBe(`audit_${events[0]?.seq}_${events.at(-1)?.seq}_${hash}`);
    }
  });
});

describe('the configuration of webhooks', () => {
  const remote = { socket: '/run/remote.sock' };
  const issuesOf = (to: object, more: object = { remote }): string[] => {
    const webhooks = { state: '/var/lib/x', token_file: '/etc/token', to };
    const { error } = apiConfigSchema.safeParse({ socket: '/run/api.sock', webhooks, ...more });
    return (error?.issues ?? []).map(({ path }) => path.join('.'));
  };

  it('takes https, and http of this machine', () => {
    for (const url of ['https://hooks.example/x?y=z', 'https://192.0.2.7:8443/', 'http://127.0.0.1:8080/x', 'http://[::1]/'])
      expect([url, issuesOf({ ops: { url, secret_file: '/etc/secret' } })]).toEqual([url, []]);
    for (const url of [
      'http://hooks.example/',
      'ftp://hooks.example/',
      'https://user:pass@hooks.example/',
      'hooks.example',
      'http://127.0.0.1.example/',
    ])
      expect([url, issuesOf({ ops: { url, secret_file: '/etc/secret' } })]).toEqual([url, ['webhooks.to.ops.url']]);
    expect(issuesOf({})).toEqual(['webhooks.to']);
    expect(issuesOf({ ops: { url: 'https://hooks.example', secret_file: '/etc/secret' } }, {})).toEqual(['webhooks']);
  });

  it('knows addresses that a name on the Internet does not lead to', () => {
    for (const address of [
      '10.1.2.3',
      '127.0.0.1',
      '169.254.169.254',
      '192.168.0.1',
      '172.31.0.1',
      '100.64.0.1',
      '0.0.0.0',
      '::1',
      '::',
      'fe80::1',
      'fd00::1',
      '::ffff:10.0.0.1',
      '224.0.0.1',
      '64:ff9b::a00:1',
      '64:ff9b:1::a00:1',
      '2001::1',
      '2002:a00:1::1',
      'fec0::1',
    ])
      expect([address, isPublic(address)]).toEqual([address, false]);
    for (const address of ['192.0.2.7', '8.8.8.8', '172.32.0.1', '2001:db8::1', '::ffff:8.8.8.8'])
      expect([address, isPublic(address)]).toEqual([address, true]);
  });
});
