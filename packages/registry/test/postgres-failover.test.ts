// Proves on a real cluster of three that nothing is acknowledged, and nothing answered, that the
// loss of a machine takes back; and that a database is reached over TLS by its right name only.

import { execFile } from 'node:child_process';
import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { DATABASE, PostgresCluster } from '../../tools/testbed/src/postgres-cluster.js';
import { giveToPostgres, type PostgresServer } from '../../tools/testbed/src/postgres-server.js';
import {
  acceptLoss,
  createPostgresSchema,
  openPostgresStorage,
  type PostgresConfig,
  type PostgresOptions,
  type PostgresStorage,
  upgradePostgresSchema,
} from '../src/postgres/index.js';
import { MIGRATIONS } from '../src/postgres/migrations.js';
import { InDoubt, Unavailable } from '../src/storage.js';
import { nodesOf, problemsOf, putNode } from './contract/storage-contract.js';

process.umask(0o077);

const run = promisify(execFile);
const SERVER = { name: 'here', version: '0.1.0' };
const POLL = { interval: 50, timeout: 180_000 };

describe.skipIf(!PostgresCluster.AVAILABLE)('a cluster of three under the engine (needs postgresql)', () => {
  let cluster: PostgresCluster;

  beforeAll(async () => {
    cluster = await PostgresCluster.start(3);
  });
  afterAll(() => cluster.remove());

  // Whatever a test before has done to the cluster: one primary, two standbys, an empty registry.
  beforeEach(async () => {
    await cluster.primary.set({ synchronous_standby_names: undefined });
    for (const standby of cluster.standbys) if (!(await isStandby(standby))) await cluster.rejoin(standby);
    await cluster.untilStreaming();
    await cluster.sql('DROP SCHEMA IF EXISTS latchkey CASCADE');
    await createPostgresSchema(config());
  });

  function config(more: Partial<PostgresConfig> = {}): PostgresConfig {
    return {
      hosts: cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port })),
      database: DATABASE,
      user: 'latchkey',
      passwordFile: cluster.passwordFile,
      ...more,
    };
  }

  /** Time limits are those of a server: only what waits for a standby meets them. */
  async function open(
    options: Partial<PostgresOptions> = {},
    of: PostgresConfig = config({ patience: 2 }),
  ): Promise<PostgresStorage> {
    const { log } = new CapturedLog();
    const storage = await openPostgresStorage(of, { folder: await tempFolder(), log, ...options });
    onTestFinished(() => storage.close());
    return storage;
  }

  async function isStandby(server: PostgresServer): Promise<boolean> {
    server.resume();
    return server.isRunning && (await server.sql('SELECT pg_is_in_recovery()'))[0] === 't';
  }

  function pauseStandbys(): void {
    const { standbys } = cluster;
    for (const standby of standbys) standby.pause();
    onTestFinished(() => standbys.forEach((standby) => standby.resume()));
  }

  /** A write whose commit waits for a standby. */
  async function waitingWrite(storage: PostgresStorage, idI: number): Promise<{ readonly outcome: Promise<unknown> }> {
    const outcome = putNode(storage, idI).catch((error: unknown) => error);
    await expect.poll(() => waiting('count(*)'), POLL).toBeGreaterThan(0);
    return { outcome };
  }

  async function waiting(what: string): Promise<number> {
    const [count] = await cluster.sql(
      `SELECT ${what} FROM pg_stat_activity WHERE usename = 'latchkey' AND wait_event = 'SyncRep' AND query = 'COMMIT'`,
    );
    return Number(count);
  }

  const hasRow = async (idI: number): Promise<boolean> =>
    (await cluster.sql(`SELECT count(*) FROM latchkey.nodes WHERE id = ${idI}`))[0] === '1';
  /** Reads until there is an answer. */
  async function read(storage: PostgresStorage, idI: number): Promise<unknown> {
    const once = (): Promise<unknown> => storage.read({ nodes: [idI] }).catch(() => undefined);
    await expect.poll(once, POLL).toBeDefined();
    return (await storage.read({ nodes: [idI] })).node(idI);
  }

  it.each([
    ['terminated', () => waiting('count(pg_terminate_backend(pid))'), 'it is not known'],
    [
      'ended by names that are emptied',
      () => cluster.primary.set({ synchronous_standby_names: '' }),
      'synchronous_standby_names is empty',
    ],
  ])('has a write in doubt whose wait is %s, and answers no read from it', async (_, end, because) => {
    const [storage, other] = [await open(), await open()];
    await putNode(storage, 1);
    pauseStandbys();
    const { outcome } = await waitingWrite(storage, 2);
    await end();
    const failure = await outcome;
    expect(failure).toBeInstanceOf(InDoubt);
    expect((failure as InDoubt).message).toContain(because);
    // Whoever asks the database plainly sees what no standby has.
    expect(await hasRow(2)).toBe(true);
    const reads = await Promise.allSettled([storage.read({ nodes: [2] }), other.audit.head, other.audit.chain()]);
    expect(reads.map((one) => one.status === 'rejected' && one.reason instanceof Unavailable)).toEqual([true, true, true]);

    for (const standby of cluster.standbys) standby.resume();
    await cluster.primary.set({ synchronous_standby_names: undefined });
    expect(await read(storage, 2)).toBeDefined();
    expect(await problemsOf(storage)).toEqual([]);
  });

  it('is not opened on a primary whose names are emptied while it proves that a standby is there', async () => {
    pauseStandbys();
    const { port } = cluster.primary;
    const opening = open({}, config({ hosts: [{ host: '127.0.0.1', port }], patience: 20 })).catch((error: unknown) => error);
    await expect.poll(() => waiting('count(*)'), POLL).toBeGreaterThan(0);
    await cluster.primary.set({ synchronous_standby_names: '' });
    const failure = await opening;
    expect(failure).toBeInstanceOf(Unavailable);
    expect((failure as Unavailable).message).toContain('synchronous_standby_names is empty');
  });

  describe('refuses a command before its work, with nothing in doubt,', () => {
    const STEP = 'CREATE TABLE latchkey.later ()';
    const made = (name: string): Promise<string[]> => cluster.sql(`SELECT to_regclass('latchkey.${name}') IS NOT NULL`);

    it('while no standby answers', async () => {
      pauseStandbys();
      const refused = {
        name: 'Failure',
        exitCode: 1,
        message: expect.stringContaining(`127.0.0.1:${cluster.primary.port}: no synchronous standby answers`) as string,
        advice: expect.stringMatching(/^Nothing was changed\. .*pg_stat_replication/) as string,
      };
      await expect(upgradePostgresSchema(config(), [...MIGRATIONS, STEP])).rejects.toMatchObject(refused);
      await expect(acceptLoss(config(), { folder: await tempFolder() }, 'user ada')).rejects.toMatchObject(refused);
      expect([await made('later'), await cluster.sql('SELECT epoch FROM latchkey.registry')]).toEqual([['f'], ['1']]);
    });

    it('whose primary has its names emptied while it proves that a standby is there', async () => {
      await cluster.sql('DROP SCHEMA latchkey CASCADE');
      pauseStandbys();
      const { port } = cluster.primary;
      const of = config({ hosts: [{ host: '127.0.0.1', port }], patience: 20 });
      const creation = createPostgresSchema(of).catch((error: unknown) => error);
      await expect.poll(() => waiting('count(*)'), POLL).toBeGreaterThan(0);
      await cluster.primary.set({ synchronous_standby_names: '' });
      expect(await creation).toMatchObject({
        name: 'Failure',
        message: expect.stringContaining('synchronous_standby_names is empty') as string,
      });
      expect(await made('registry')).toEqual(['f']);
    });
  });

  it('answers no read from a primary that came back without its standbys', async () => {
    const storage = await open();
    await putNode(storage, 1);
    pauseStandbys();
    const { outcome } = await waitingWrite(storage, 2);
    await cluster.primary.kill();
    expect(await outcome).toBeInstanceOf(InDoubt);
    await cluster.primary.start();
    expect(await hasRow(2)).toBe(true);
    await expect(storage.read({ nodes: [2] })).rejects.toBeInstanceOf(Unavailable);
    for (const standby of cluster.standbys) standby.resume();
    expect(await read(storage, 2)).toBeDefined();
  });

  it('goes on after a failover, and stops once the former primary comes back as one', async () => {
    const storage = await open({ serve: SERVER });
    await putNode(storage, 1);
    const former = cluster.primary;
    await former.kill();
    await cluster.promote();
    expect(await read(storage, 1)).toBeDefined();
    await expect.poll(() => putNode(storage, 2).catch(() => undefined), POLL).toBeDefined();
    expect(await problemsOf(storage)).toEqual([]);

    await former.start();
    await expect.poll(() => storage.fault(), POLL).toMatch(/^both \S+ and \S+ take writes: nothing is answered until/);
    await expect(storage.read({})).rejects.toBeInstanceOf(Unavailable);
  });

  it('stops once another host is a standby of a later primary', async () => {
    const { primary, standbys } = cluster;
    const [strayed] = standbys as [PostgresServer];
    // It was promoted by somebody, and is a standby on the timeline of that by now.
    await strayed.follow(undefined);
    await strayed.sql('SELECT pg_promote(true, 180)');
    await strayed.sql('CHECKPOINT');
    await strayed.stop();
    await strayed.becomeStandby(primary);
    await strayed.start();
    onTestFinished(() => strayed.kill());
    const hosts = [primary, strayed].map(({ port }) => ({ host: '127.0.0.1', port }));
    const storage = await open({ serve: SERVER }, config({ hosts, patience: 10 }));
    await expect
      .poll(() => storage.fault(), POLL)
      .toMatch(/^\S+ follows another primary on timeline \d+, and \S+ takes writes on/);
    await expect(storage.read({})).rejects.toBeInstanceOf(Unavailable);
  });

  it('answers nothing once a standby is promoted that lacks what was acknowledged, until that is accepted', async () => {
    const folder = await tempFolder();
    const storage = await open({ folder, serve: SERVER });
    await putNode(storage, 1);
    const { primary, standbys } = cluster;
    const [late, latest] = standbys as [PostgresServer, PostgresServer];
    await late.follow(undefined);
    const receivers = (): Promise<string[]> => late.sql('SELECT count(*) FROM pg_stat_wal_receiver');
    await expect.poll(receivers, POLL).toEqual(['0']);
    await putNode(storage, 2);
    for (const server of [primary, latest]) await server.kill();
    await cluster.promoteOnly(late);
    await cluster.rejoin(latest);
    await cluster.untilStreaming(1);

    const refusal = (): Promise<string> =>
      storage.read({}).then(
        () => 'answered',
        (error: unknown) => (error as Error).message,
      );
    await expect.poll(refusal, POLL).toContain('the database has lost entries that were acknowledged: it ends at entry 1');
    await storage.close();
    expect(await acceptLoss(config(), { folder }, 'user ada')).toMatchObject({ seen: { seq: 2 }, found: { seq: 1 } });
    const again = await open({ folder });
    expect([await nodesOf(again), await problemsOf(again)]).toEqual([[1], []]);
  });

  describe('over TLS (needs openssl)', () => {
    /** A CA of its own, and the certificate for a name that it signs. */
    async function issue(subject: string): Promise<{ ca: string; cert: string; key: string }> {
      const folder = await tempFolder();
      const [ca, caKey] = [join(folder, 'ca.pem'), join(folder, 'ca.key')];
      const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
      const make = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
      await run('openssl', [...make, '-subj', '/CN=CA of a test', '-keyout', caKey, '-out', ca]);
      const signed = ['-CA', ca, '-CAkey', caKey, '-addext', `subjectAltName=${subject}`, '-addext', 'basicConstraints=CA:FALSE'];
      await run('openssl', [...make, ...signed, '-subj', '/CN=database', '-keyout', key, '-out', cert]);
      return { ca, cert, key };
    }

    async function show({ cert, key }: { readonly cert: string; readonly key: string }): Promise<void> {
      const { primary } = cluster;
      for (const [file, name] of [
        [cert, 'server.crt'],
        [key, 'server.key'],
      ] as const) {
        const path = join(primary.folder, name);
        await copyFile(file, path);
        await chmod(path, 0o600);
        await giveToPostgres(path);
      }
      await primary.set({ ssl: 'off' });
      await primary.set({ ssl: 'on' });
    }

    const over = (host: string, ca: string): PostgresConfig =>
      config({ hosts: [{ host, port: cluster.primary.port }], tls: { ca }, durability: 'storage', patience: 10 });

    it('works with the host that its certificate names, and refuses every other', async () => {
      const [byName, byAddress] = [await issue('DNS:localhost'), await issue('IP:127.0.0.1')];
      await expect(open({}, over('localhost', byName.ca))).rejects.toThrow('does not support SSL');

      await show(byName);
      const storage = await open({}, over('localhost', byName.ca));
      await putNode(storage, 1);
      expect(
        await cluster.sql(
          "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'latchkey'",
        ),
      ).toEqual(['t']);
      await expect(open({}, over('127.0.0.1', byName.ca))).rejects.toMatchObject({
        message: expect.stringContaining('127.0.0.1') as string,
        advice: expect.stringContaining('Name the host as its certificate does') as string,
      });
      await expect(open({}, over('localhost', byAddress.ca))).rejects.toMatchObject({
        message: expect.stringContaining('certificate') as string,
        advice: expect.stringContaining('Compare tls.ca') as string,
      });

      await show(byAddress);
      await putNode(await open({}, over('127.0.0.1', byAddress.ca)), 2);
      await expect(open({}, over('localhost', byAddress.ca))).rejects.toThrow("does not match certificate's altnames");
    });
  });
});
