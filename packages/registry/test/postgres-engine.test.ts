// Proves what the engine on PostgreSQL does beyond every engine's promises: which databases it
// refuses, what becomes of a write whose connection breaks, whom it stops after a loss, and whose
// clock servers go by.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AuthServer } from '@latchkey/auth-server';
import { KEY_KIND } from '@latchkey/keyring';
import type { ClockHistory, Secret } from '@latchkey/protocol';
import { ClockStepDetector, monotonicNow } from '@latchkey/runtime/daemon';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { controller, copyOf, Exchange, ID_C, MASTER, newSecret, TERMS, WALL } from '@latchkey/test-support/registry-fixtures';
import { PostgresCluster } from '../../tools/testbed/src/postgres-cluster.js';
import { giveToPostgres, runPostgresProgram } from '../../tools/testbed/src/postgres-server.js';
import { type Fate, type ProxyMessage, PostgresProxy } from '../../tools/testbed/src/postgres-proxy.js';
import {
  addController,
  enrol,
  NodeBatch,
  removeNodes,
  resetNode,
  setController,
  setDisabled,
  setOrderState,
  stageControllerKey,
} from '@latchkey/operations';
import { initialKeyId } from '../src/initial-key-id.js';
import { allOf } from '../src/listing.js';
import {
  acceptLoss,
  createPostgresSchema,
  openPostgresStorage,
  type PostgresConfig,
  type PostgresOptions,
  type PostgresStorage,
  upgradePostgresSchema,
} from '../src/postgres/index.js';
import type { PostgresHost } from '../src/postgres/config.js';
import { Connection, readCredentials } from '../src/postgres/connection.js';
import { COMMIT } from '../src/postgres/engine.js';
import { MIGRATIONS } from '../src/postgres/migrations.js';
import { BEGIN, commit, withPrimary } from '../src/postgres/schema.js';
import { Registry } from '../src/registry.js';
import type { NodeRow, OrderRow } from '../src/model/rows.js';
import { InDoubt, Unavailable } from '../src/storage.js';
import { keyFeedContract } from './contract/key-feed-contract.js';
import { event, nodeRow, nodesOf, orderRow, problemsOf, putNode } from './contract/storage-contract.js';

process.umask(0o077);

const SERVER = { name: 'here', version: '0.1.0' };

describe.skipIf(!PostgresCluster.AVAILABLE)('an engine on PostgreSQL (needs postgresql)', () => {
  let cluster: PostgresCluster;

  beforeAll(async () => {
    cluster = await PostgresCluster.start(1);
  });
  afterAll(() => cluster.remove());

  beforeEach(async () => {
    await cluster.sql('DROP SCHEMA IF EXISTS latchkey CASCADE');
    await createPostgresSchema(config());
  });

  function config(more: Partial<PostgresConfig> = {}, port: number = cluster.primary.port): PostgresConfig {
    return {
      hosts: [{ host: '127.0.0.1', port }],
      database: 'latchkey',
      user: 'latchkey',
      passwordFile: cluster.passwordFile,
      durability: 'storage',
      patience: 10,
      ...more,
    };
  }

  async function open(options: Partial<PostgresOptions> = {}, of: PostgresConfig = config()): Promise<PostgresStorage> {
    const { log } = new CapturedLog();
    const storage = await openPostgresStorage(of, { folder: await tempFolder(), log, ...options });
    onTestFinished(() => storage.close());
    return storage;
  }

  /** Changes a setting of the server, or of the role, for this test. */
  async function set(name: string, value: string): Promise<void> {
    await cluster.primary.set({ [name]: value });
    onTestFinished(() => cluster.primary.set({ [name]: undefined }));
  }

  /** Storage over a proxy, and what may be done to its next messages. */
  async function proxied(patience: number = 10): Promise<{ storage: PostgresStorage; proxy: PostgresProxy }> {
    const proxy = await PostgresProxy.start(cluster.primary.port);
    onTestFinished(() => proxy.close());
    const port = Number(proxy.address.split(':')[1]);
    return { storage: await open({}, config({ patience }, port)), proxy };
  }

  describe('serves though the database warns of what is no commit', () => {
    it('of another version of its collation, as after an upgrade of the system', async () => {
      const recorded = (version: string): Promise<string[]> =>
        cluster.primary.sql(`UPDATE pg_database SET datcollversion = ${version} WHERE datname = 'latchkey'`);
      await recorded("'1'");
      onTestFinished(() => recorded('NULL').then(() => undefined));
      const storage = await open();
      await putNode(storage, 1);
      expect([await nodesOf(storage), await problemsOf(storage)]).toEqual([[1], []]);
    });

    it('of transaction IDs that run out, with each of them', async () => {
      const worn = await PostgresCluster.start(1);
      onTestFinished(() => worn.remove());
      const { primary } = worn;
      // What is prepared keeps the database from making room.
      await primary.sql('ALTER SYSTEM SET max_prepared_transactions = 1');
      await primary.stop();
      await primary.start();
      await primary.sql("BEGIN; CREATE TABLE held (); PREPARE TRANSACTION 'held'");
      await primary.stop();
      const segment = 0x7da;
      const file = join(primary.folder, 'pg_xact', '07DA');
      await writeFile(file, Buffer.alloc(256 * 1_024));
      await giveToPostgres(file);
      await runPostgresProgram('pg_resetwal', ['--force', `--next-transaction-id=${segment * 2 ** 20}`, primary.folder]);
      await primary.start();
      const of = config({ passwordFile: worn.passwordFile }, primary.port);
      await createPostgresSchema(of);
      expect(primary.lines.filter((line) => line.includes('must be vacuumed within'))).not.toEqual([]);
      const storage = await open({ serve: SERVER }, of);
      await putNode(storage, 1);
      expect(await nodesOf(storage)).toEqual([1]);
    });
  });

  describe('refuses in words', () => {
    it('a database without a registry, and one that has another', async () => {
      const folder = await tempFolder();
      await (await open({ folder, serve: SERVER })).close();
      await cluster.sql('UPDATE latchkey.registry SET id = gen_random_uuid()');
      await expect(open({ folder })).rejects.toMatchObject({
        exitCode: 2,
        message: 'database latchkey holds another registry than the one that this server saw before',
      });
      await cluster.sql('DROP SCHEMA latchkey CASCADE');
      await expect(open()).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('holds no registry') as string,
      });
    });

    it('a database whose registry was put aside: it says under which name', async () => {
      await cluster.sql('ALTER SCHEMA latchkey RENAME TO latchkey_copied_20261201012334241');
      onTestFinished(() => cluster.sql('DROP SCHEMA latchkey_copied_20261201012334241 CASCADE').then(() => undefined));
      const refusal = {
        exitCode: 2,
        message: expect.stringMatching(/holds no registry, but schema latchkey_copied_20261201012334241$/) as string,
        advice: expect.stringContaining('ALTER SCHEMA latchkey_copied_20261201012334241 RENAME TO latchkey') as string,
        // Not `init`: a second registry would be made beside the one that goes on elsewhere.
        run: [],
      };
      await expect(open()).rejects.toMatchObject(refusal);
      await expect(acceptLoss(config(), { folder: await tempFolder() }, 'user ada')).rejects.toMatchObject(refusal);
      await expect(upgradePostgresSchema(config())).rejects.toMatchObject(refusal);
    });

    it('a database whose encoding lacks letters that people use', async () => {
      const database = 'latin';
      await cluster.sql(`CREATE DATABASE ${database} OWNER latchkey ENCODING 'LATIN1' TEMPLATE template0`);
      await expect(createPostgresSchema(config({ database }))).rejects.toMatchObject({
        exitCode: 2,
        message: 'database latin has the encoding LATIN1, and UTF8 is needed',
        advice: expect.stringContaining("ENCODING 'UTF8' TEMPLATE template0") as string,
      });
    });

    it('a role whose password is not named', async () => {
      const { hosts, database, user } = config();
      await expect(open({}, { hosts, database, user, durability: 'storage', patience: 10 })).rejects.toMatchObject({
        message: expect.stringContaining('it asks for a password, and none is named') as string,
        advice: expect.stringContaining('password_file') as string,
      });
    });

    it('a schema that a later version made', async () => {
      await cluster.sql('UPDATE latchkey.registry SET schema = 99');
      await expect(open()).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining('has schema 99') as string });
    });

    it.each([
      ['', 'synchronous_standby_names is empty'],
      ['*', 'any program that receives the log would count as a standby'],
      ['ANY 1 (a, b, c)', 'of 4 machines 2 have a commit, and two halves of them could both go on'],
    ])('standbys that are named %j', async (names, message) => {
      if (names !== '') await set('synchronous_standby_names', names);
      const of = config({ durability: 'standby' });
      await expect(open({}, of)).rejects.toMatchObject({
        name: 'Unavailable',
        message: expect.stringContaining(message) as string,
      });
    });

    it.each([
      ['fsync', 'off', 'fsync is off: a power failure would destroy the registry'],
      ['default_transaction_read_only', 'on', 'it takes no writes'],
    ])('%s = %s', async (name, value, message) => {
      await set(name, value);
      await expect(open()).rejects.toMatchObject({ name: 'Unavailable', message: expect.stringContaining(message) as string });
    });

    it('a standby that is named and not there: a commit waits for it', async () => {
      await set('synchronous_standby_names', 'ANY 1 (a, b)');
      const of = config({ durability: 'standby', patience: 3 });
      await expect(open({}, of)).rejects.toThrow('a commit that waits for a standby took more than 3 s');
    });

    it.each([
      ['a role without rights', { user: 'weak' }, /permission denied .*42501/, 'The role must own the database'],
      ['a wrong password', { user: 'nobody' }, /password authentication failed/, 'Compare the role and the password file'],
      ['a database that is not there', { database: 'none' }, /does not exist/, 'Check the name of the database'],
    ] as const)('%s, with what helps, a command and a creation alike', async (_, more, message, helps) => {
      await cluster.sql("CREATE ROLE weak LOGIN PASSWORD 'of a test on loopback'");
      onTestFinished(async () => void (await cluster.sql('DROP ROLE weak')));
      const advice = expect.stringMatching(new RegExp(`^Nothing was changed\\. ${helps}`)) as string;
      const refused = { exitCode: 1, message: expect.stringMatching(message) as string, advice };
      await expect(open({}, config(more))).rejects.toMatchObject(refused);
      await cluster.sql('DROP SCHEMA latchkey CASCADE');
      await expect(createPostgresSchema(config(more))).rejects.toMatchObject(refused);
    });

    it('to reach a database elsewhere without TLS', async () => {
      const of = config({ hosts: [{ host: 'db1.example.org', port: 5432 }] });
      await expect(open({}, of)).rejects.toMatchObject({
        exitCode: 2,
        message: expect.stringContaining('without TLS') as string,
      });
    });

    it('to make a registry where commits may be lost, before it makes anything', async () => {
      await cluster.sql('DROP SCHEMA latchkey CASCADE');
      await expect(createPostgresSchema(config({ durability: 'standby' }))).rejects.toMatchObject({
        exitCode: 1,
        message: expect.stringContaining('no host of the database serves: 127.0.0.1') as string,
        advice: expect.stringContaining('Nothing was changed.') as string,
      });
      expect(await cluster.sql("SELECT to_regclass('latchkey.registry') IS NULL")).toEqual(['t']);
    });

    it('a second registry in the database, and makes the first where its creation was interrupted', async () => {
      // The schema is there, and no registry is in it.
      await createPostgresSchema(config());
      const created = (): Promise<Registry> =>
        open().then((storage) => Registry.createOn(storage, 'database', () => Promise.resolve(copyOf(MASTER)), 'test'));
      expect(await problemsOf((await created()).storage)).toEqual([]);
      await expect(createPostgresSchema(config())).rejects.toMatchObject({ exitCode: 2 });
      expect(await upgradePostgresSchema(config())).toEqual({ from: 1, to: 1 });
    });
  });

  it('answers nothing more once the schema is one that this version does not read', async () => {
    const storage = await open({ serve: SERVER });
    await putNode(storage, 1);
    await cluster.sql('UPDATE latchkey.registry SET schema = schema + 1');
    await expect(storage.read({})).rejects.toBeInstanceOf(Unavailable);
    expect(storage.fault()).toBe('the database has schema 2 now, which this version does not read: start the later version');
    await expect(open()).rejects.toMatchObject({ exitCode: 2 });
  });

  it('is upgraded while a read holds one of two tables that a step alters, and waits for the other', async () => {
    const of = config();
    const reader = await Connection.open(of.hosts[0] as PostgresHost, of, await readCredentials(of), {});
    onTestFinished(() => reader.destroy());
    const [, , self] = await reader.run(
      { text: 'BEGIN' },
      { text: 'SELECT count(*) FROM latchkey.audit' },
      { text: 'SELECT pg_backend_pid() AS pid' },
    );
    const step = 'ALTER TABLE latchkey.nodes ADD COLUMN later text; ALTER TABLE latchkey.audit ADD COLUMN later text';
    const upgrade = upgradePostgresSchema(of, [...MIGRATIONS, step]);
    const held = `SELECT count(*) FROM pg_locks WHERE NOT granted AND ${String(self?.rows[0]?.['pid'])} = ANY(pg_blocking_pids(pid))`;
    await expect.poll(() => cluster.sql(held), { interval: 20 }).toEqual(['1']);
    await reader.send([{ text: 'SELECT count(*) FROM latchkey.nodes' }, { text: 'ROLLBACK' }]);
    expect(await upgrade).toEqual({ from: 1, to: 2 });
  });

  it('overrules what the settings of its role would change', async () => {
    const hostile = {
      client_min_messages: 'error',
      array_nulls: 'off',
      synchronous_commit: 'off',
      default_transaction_isolation: 'repeatable read',
      search_path: 'latchkey',
      statement_timeout: '1',
      lock_timeout: '1',
    };
    for (const [name, value] of Object.entries(hostile)) {
      await cluster.sql(`ALTER ROLE latchkey SET ${name} = '${value}'`);
      onTestFinished(async () => void (await cluster.sql(`ALTER ROLE latchkey RESET ${name}`)));
    }
    const [one, other] = [await open(), await open()];
    await Promise.all([1, 2, 3, 4, 5, 6].map((idI) => putNode(idI % 2 === 0 ? one : other, idI)));
    expect(await problemsOf(one)).toEqual([]);
    expect((await one.read({ nodes: [1] })).node(1)?.row).not.toHaveProperty('joinedAt');
  });

  /** What a machine that has slept for so long, its own clock too, sees of the database's clock. */
  function seenAfterSleep(ms: number): (message: ProxyMessage) => Fate {
    return ({ direction, type, octets }) => {
      if (direction !== 'to client' || type !== 'D') return 'forward';
      for (const { 0: digits, index } of octets.toString('latin1').matchAll(/\d{13}/g))
        if (Math.abs(Number(digits) - Date.now()) < 3_600_000) octets.write(String(Number(digits) + ms), index, 'latin1');
      return 'forward';
    };
  }

  it('has no read answered by a machine that has slept since it held the lock of all writes', async () => {
    const { storage, proxy } = await proxied();
    await putNode(storage, 1);
    proxy.decide = seenAfterSleep(600_000);
    await expect(storage.read({ nodes: [1] })).rejects.toThrow('a write that was sent more than 5 s ago may be on its way');
    expect((await storage.read({ nodes: [1] })).node(1)).toBeDefined();
  });

  it('fails by itself a write that cannot be encoded, and leaves no transaction open', async () => {
    const storage = await open();
    await putNode(storage, 1);
    const bad = storage.write({}, () => ({ result: undefined, put: { metadata: [['restored', { at: 1n }]] } }));
    // It comes to a node that it did not name: it is done again.
    const again = storage.write({}, (found) => ({ result: found.node(1)?.row.controller }));
    const outcomes = await Promise.allSettled([bad, again, putNode(storage, 2)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(await nodesOf(storage)).toEqual([1, 2]);
    const UNFINISHED = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'latchkey' AND state LIKE 'idle in transaction%'";
    expect(await cluster.sql(UNFINISHED)).toEqual(['0']);
  });

  it('refuses statements beside reads and writes once too many wait', async () => {
    const { storage, proxy } = await proxied();
    // The third connection is for them.
    proxy.decide = ({ direction, connection }) =>
      direction === 'to server' && connection === 3 ? { kind: 'hold', after: 0 } : 'forward';
    const counts = Array.from({ length: 4_100 }, () => storage.nodeCount().catch((error: unknown) => error));
    expect(String(await counts.at(-1))).toBe('Unavailable: the registry cannot be asked: 4096 statements wait already');
    proxy.decide = () => 'forward';
    proxy.release();
    expect(await counts[0]).toBe(0);
  });

  describe('a connection that breaks', () => {
    function metric(storage: PostgresStorage, name: string): unknown {
      const found = storage.metrics.find((one) => one.name === name);
      return found?.type === 'histogram' ? undefined : found?.read();
    }

    /** Counts messages, and cuts the connection in the middle of number `n`. */
    function cutAt(n: number): { decide: (message: ProxyMessage) => Fate; seen: () => number } {
      let seen = 0;
      return {
        seen: () => seen,
        decide: ({ octets }) => (++seen === n ? { kind: 'cut', after: Math.floor(octets.length / 2) } : 'forward'),
      };
    }

    it('at any message of a write leaves it whole or undone, and says which as far as it is known', async () => {
      const { storage, proxy } = await proxied();
      const outcomes = new Set<string>();
      let [idI, inDoubt] = [0, 0];
      for (let n = 1; ; n += 7) {
        idI += 1;
        await putNode(storage, idI);
        const { decide, seen } = cutAt(n);
        proxy.decide = decide;
        idI += 1;
        const outcome = await putNode(storage, idI).then(
          () => 'done',
          (error: unknown) => (error as Error).name,
        );
        proxy.decide = () => 'forward';
        outcomes.add(outcome);
        if (outcome === 'InDoubt') inDoubt += 1;
        const isThere = (await storage.read({ nodes: [idI] })).node(idI) !== undefined;
        expect(isThere ? ['done', 'InDoubt'] : ['Unavailable', 'InDoubt']).toContain(outcome);
        if (seen() < n) break;
      }
      expect(outcomes).toEqual(new Set(['Unavailable', 'InDoubt', 'done']));
      expect(metric(storage, 'latchkey_database_writes_in_doubt_total')).toBe(inDoubt);
      expect(await problemsOf(storage)).toEqual([]);
    });

    it.each([
      ['before the commit, which never happens', 'to server', 'B', 'commit'],
      ['after the commit, which happened', 'to client', 'C', 'COMMIT'],
    ])('%s: an administrator’s change is made once, and told as made', async (_, direction, type, text) => {
      const { storage, proxy } = await proxied();
      const registry = await Registry.createOn(storage, 'database', () => Promise.resolve(copyOf(MASTER)), 'test');
      let writing: number | undefined;
      let cuts = 0;
      proxy.decide = (message) => {
        if (message.type === 'B' && message.octets.includes('put entries')) writing = message.connection;
        const isIt = message.connection === writing && message.direction === direction && message.type === type;
        if (cuts > 0 || !isIt || !message.octets.includes(text)) return 'forward';
        cuts += 1;
        return { kind: 'cut', after: 0 };
      };
      const made = await registry.write({}, ({ head }) => ({
        result: head.seq + 1,
        events: [
          { what: 'node described', note: 'first' },
          { what: 'node described', note: 'second' },
        ],
      }));
      expect(cuts).toBe(1);
      expect(metric(storage, 'latchkey_database_writes_in_doubt_total')).toBe(1);
      const entries = (await allOf(registry.audit.entryPages())).filter(({ what }) => what === 'node described');
      expect(entries.map(({ seq, note }) => [seq, note])).toEqual([
        [made, 'first'],
        [made + 1, 'second'],
      ]);
      expect(entries.map(({ operation = '' }) => operation)).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/), '']);
    });

    it('leaves the writes of a transaction in doubt, and no read that only took the lock in it', async () => {
      const { storage, proxy } = await proxied();
      proxy.decide = ({ type, octets }) =>
        type === 'B' && octets.includes('put latchkey.nodes') ? { kind: 'cut', after: 0 } : 'forward';
      // The first read over a connection takes the lock of all writes.
      const failures = [storage.read({}), putNode(storage, 1)].map((one) => one.catch((error: unknown) => error));
      expect(await failures[0]).toBeInstanceOf(Unavailable);
      expect(await failures[1]).toBeInstanceOf(InDoubt);
    });

    it('fails what was sent over it if that is not answered in time', async () => {
      const { proxy } = await proxied();
      const of = config();
      const port = Number(proxy.address.split(':')[1]);
      const connection = await Connection.open(
        { host: '127.0.0.1', port },
        of,
        await readCredentials(of),
        {},
        { answerTimeoutMs: 1_000 },
      );
      proxy.decide = () => ({ kind: 'hold', after: 0 });
      await expect(connection.run({ text: 'SELECT 1' })).rejects.toThrow('it did not answer for 1 s');
    });

    it('is given nothing of statements one of which cannot be encoded, and takes others', async () => {
      const of = config();
      const connection = await Connection.open(of.hosts[0] as PostgresHost, of, await readCredentials(of), {});
      onTestFinished(() => connection.close());
      const begin = { text: 'BEGIN' };
      await expect(connection.run(begin, { text: 'SELECT $1', values: [{ number: 1n }] })).rejects.toThrow('BigInt');
      const [result] = await connection.run({ text: 'SELECT now() = statement_timestamp() AS "isAlone", 1 AS one' });
      expect(result?.rows).toEqual([{ isAlone: true, one: 1 }]);
    });

    it('at any message of a read costs that read only', async () => {
      const { storage, proxy } = await proxied();
      await putNode(storage, 1);
      for (let n = 1; ; n += 9) {
        const { decide, seen } = cutAt(n);
        proxy.decide = decide;
        const outcome = await storage.read({ nodes: [1] }).then(
          () => 'read',
          (error: unknown) => (error as Error).name,
        );
        proxy.decide = () => 'forward';
        if (seen() < n) break;
        expect(['read', 'Unavailable']).toContain(outcome);
        expect((await storage.read({ nodes: [1] })).node(1)).toBeDefined();
      }
    });

    it('between the halves of a write holds up others until the database ends that, and the second half comes to nothing', async () => {
      const { storage, proxy } = await proxied(1);
      const other = await open();
      await putNode(storage, 1);
      proxy.decide = ({ direction, type, octets }) =>
        direction === 'to server' && type === 'B' && octets.includes('put entries') ? { kind: 'hold', after: 0 } : 'forward';
      const write = putNode(storage, 2).catch((error: unknown) => error);
      await expect.poll(() => proxy.heldCount, { interval: 5 }).toBeGreaterThan(0);
      await putNode(other, 3);
      proxy.release();
      expect(await write).toBeInstanceOf(Error);
      expect([await nodesOf(other), await problemsOf(other)]).toEqual([[1, 3], []]);
    });

    it('and delivers a commit late has no read answered before that', async () => {
      const { storage, proxy } = await proxied(3);
      await putNode(storage, 1);
      // From the Bind of COMMIT on: in the middle of messages the database ends no idle
      // transaction.
      proxy.decide = ({ type, octets }) =>
        type === 'B' && octets.includes('commit') ? { kind: 'hold', after: octets.length } : 'forward';
      const write = putNode(storage, 2).catch((error: unknown) => error);
      await expect.poll(() => proxy.heldCount, { interval: 5 }).toBe(1);
      // The connection for reads breaks, the first one: all of them go.
      proxy.decide = ({ connection }) => (connection === 1 ? { kind: 'cut', after: 0 } : 'forward');
      await expect(storage.read({})).rejects.toBeInstanceOf(Unavailable);
      proxy.decide = () => 'forward';
      expect(await write).toBeInstanceOf(InDoubt);
      const early = await storage.read({ nodes: [2] }).then(
        (found) => found.node(2) !== undefined,
        (error: unknown) => (error as Error).name,
      );
      proxy.release();
      // What comes late has come, or the database has ended it.
      const tryRead = async (): Promise<unknown> => storage.read({}).catch(() => undefined);
      await expect.poll(tryRead).toBeDefined();
      const isThere = (await storage.read({ nodes: [2] })).node(2) !== undefined;
      expect(['Unavailable', isThere]).toContain(early);
      expect(await problemsOf(storage)).toEqual([]);
    });
  });

  it('reads a node and its order as of one moment, whatever is committed between the two statements', async () => {
    const { storage, proxy } = await proxied();
    const other = await open();
    const put = (node: Partial<NodeRow>, state: OrderRow['state']): Promise<void> =>
      other.write({ nodes: [1], orders: [1] }, ({ head }) => ({
        result: undefined,
        events: [event('node enabled', { node: 1 })],
        put: { nodes: [[1, nodeRow({ ...node, entry: head.seq + 1 })]], orders: [[1, orderRow(state)]] },
      }));
    await put({}, 'open');
    // All statements are prepared then.
    await storage.read({ nodes: [1], orders: [1] });
    proxy.decide = ({ direction, type, octets }) =>
      direction === 'to server' && type === 'B' && octets.includes('\0orders\0') ? { kind: 'hold', after: 0 } : 'forward';
    const reading = storage.read({ nodes: [1], orders: [1] });
    const idle =
      "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%latchkey.controllers%'";
    await expect.poll(() => cluster.sql(idle), { interval: 20 }).toEqual(['1']);
    await put({ disabled: true }, 'suspended');
    proxy.decide = () => 'forward';
    proxy.release();
    const found = await reading;
    expect([found.node(1)?.row.disabled, found.order(1)?.row.state]).toEqual([undefined, 'open']);
    const now = await storage.read({ nodes: [1], orders: [1] });
    expect([now.node(1)?.row.disabled, now.order(1)?.row.state]).toEqual([true, 'suspended']);
  });

  describe('kept caches', () => {
    const versionOf = async (idI: number): Promise<string> =>
      (await cluster.sql(`SELECT version FROM latchkey.nodes WHERE id = ${idI}`))[0] ?? '';

    it('end with the connections: a database that lost a write may show another row of that version', async () => {
      const storage = await open();
      await putNode(storage, 1);
      const controller = async (): Promise<number | undefined> =>
        (await storage.read({ nodes: [1] }).catch(() => undefined))?.node(1)?.row.controller;
      expect(await controller()).toBe(1);
      await cluster.sql('UPDATE latchkey.nodes SET controller = 2 WHERE id = 1');
      // Its version is that of before: the row is not decoded again.
      expect(await controller()).toBe(1);
      await cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'latchkey'");
      await expect.poll(controller).toBe(2);
    });

    it('meet no version twice: each is drawn, and does not count on from the one before', async () => {
      const storage = await open();
      const versions: bigint[] = [];
      for (let i = 0; i < 4; i++) {
        await putNode(storage, 1, { disabled: true });
        versions.push(BigInt(await versionOf(1)));
        await storage.write({}, () => ({
          result: undefined,
          events: [event('node removed', { node: 1 })],
          remove: { nodes: [1] },
        }));
      }
      const steps = versions.slice(1).map((version, i) => version - versions[i]!);
      expect(new Set(versions).size).toBe(versions.length);
      expect(new Set(steps).size).toBe(steps.length);
    });
  });

  describe('a wait for the standby', () => {
    it('that is cancelled or terminated leaves a write in doubt, and a read without an answer', async () => {
      const storage = await open();
      await putNode(storage, 1);
      await set('synchronous_standby_names', 'ANY 1 (a, b)');
      /** Ends what waits for a standby. */
      const end = async (how: 'cancel' | 'terminate'): Promise<number> => {
        const [count] = await cluster.sql(
          `SELECT count(pg_${how}_backend(pid)) FROM pg_stat_activity WHERE usename = 'latchkey' AND wait_event = 'SyncRep'`,
        );
        return Number(count);
      };
      const write = putNode(storage, 2).catch((error: unknown) => error);
      await expect.poll(() => end('cancel'), { interval: 20 }).toBeGreaterThan(0);
      expect(await write).toBeInstanceOf(InDoubt);
      const read = storage.read({ nodes: [2] }).catch((error: unknown) => error);
      await expect.poll(() => end('cancel'), { interval: 20 }).toBeGreaterThan(0);
      expect(await read).toBeInstanceOf(Unavailable);
      for (const how of ['cancel', 'terminate'] as const) {
        const upgrade = upgradePostgresSchema(config()).catch((error: unknown) => error);
        await expect.poll(() => end(how), { interval: 20 }).toBeGreaterThan(0);
        expect(await upgrade).toBeInstanceOf(InDoubt);
      }
    });
  });

  describe('a command', () => {
    const impatient = (): PostgresConfig => config({ patience: 1 });
    /** Ends what a test leaves in the database. */
    const end = (what: string): Promise<string[]> =>
      cluster.sql(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'latchkey' AND ${what}`);
    const nothing = expect.stringMatching(/^Nothing was changed\. /) as string;
    const refused = {
      name: 'Failure',
      message: expect.stringMatching(/^another command or server is writing, .*55P03/) as string,
      advice: nothing,
    };

    it('behind the commit of another one, which waits for a standby, is refused in words', async () => {
      await cluster.sql('DROP SCHEMA latchkey CASCADE');
      await set('synchronous_standby_names', 'ANY 1 (a, b)');
      const first = createPostgresSchema(config()).catch((error: unknown) => error);
      const count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'latchkey' AND wait_event = 'SyncRep'";
      await expect.poll(() => cluster.sql(count), { interval: 20, timeout: 20_000 }).toEqual(['1']);
      await expect(createPostgresSchema(impatient())).rejects.toMatchObject(refused);
      expect(await end("wait_event = 'SyncRep'")).toEqual(['1']);
      expect(await first).toBeInstanceOf(InDoubt);
    });

    it('behind the lock of all writes is refused in words', async () => {
      const of = config();
      const writer = await Connection.open(of.hosts[0] as PostgresHost, of, await readCredentials(of), {});
      onTestFinished(() => writer.destroy());
      await writer.run(BEGIN, { text: 'SELECT one FROM latchkey.registry FOR UPDATE' });
      const accepting = acceptLoss(impatient(), { folder: await tempFolder() }, 'user ada');
      await expect(accepting).rejects.toMatchObject(refused);
      await writer.run(COMMIT);
    });

    it('that meets its limit says which, and what it waited for', async () => {
      const sleeping = withPrimary(impatient(), (connection) => connection.run({ text: 'SELECT pg_sleep(600)' }), 1_000);
      onTestFinished(async () => void (await end("wait_event IN ('PgSleep', 'SyncRep')")));
      await expect(sleeping).rejects.toMatchObject({
        message: expect.stringContaining(
          'the work took more than 1 s, its limit, and waited for: SELECT pg_sleep(600)',
        ) as string,
        advice: nothing,
      });
      await set('synchronous_standby_names', 'ANY 1 (a, b)');
      const committing = withPrimary(
        impatient(),
        async (connection) => {
          await connection.run(BEGIN, { text: 'UPDATE latchkey.registry SET epoch = epoch' });
          await commit(connection, impatient());
        },
        1_000,
      );
      await expect(committing).rejects.toMatchObject({
        name: 'InDoubt',
        message: expect.stringContaining('the work took more than 1 s, its limit, and waited for: COMMIT') as string,
      });
    });
  });

  describe('a database that lost entries', () => {
    /** As after a failover to a standby that had not everything. */
    const lose = (last: number): Promise<unknown> =>
      cluster.sql(`DELETE FROM latchkey.audit WHERE seq > ${last}; DELETE FROM latchkey.nodes WHERE entry > ${last}`);

    it('is refused by all servers until the loss is accepted, and then by those that ran on', async () => {
      const folder = await tempFolder();
      const server = await open({ folder, serve: SERVER });
      const other = await open({ serve: SERVER });
      for (const idI of [1, 2, 3]) await putNode(server, idI);
      await server.close();
      await lose(2);

      await expect(open({ folder })).rejects.toThrow('the database has lost entries that were acknowledged: it ends at entry 2');
      await expect(open()).rejects.toMatchObject({
        message: expect.stringMatching(/whose hash begins with [0-9a-f]{16}$/) as string,
        run: [['latchkey-auth-server', 'registry', 'accept']],
      });
      await expect(other.read({ nodes: [1] })).rejects.toThrow('the database has lost entries that were acknowledged');
      await expect(putNode(other, 9)).rejects.toBeInstanceOf(Unavailable);

      const { seen, found } = await acceptLoss(config(), { folder }, 'user ada');
      expect([seen?.seq, found?.seq]).toEqual([3, 2]);
      const again = await open({ folder });
      expect([await nodesOf(again), await problemsOf(again)]).toEqual([[1, 2], []]);
      expect((again.metadata.metadata('clock history') as ClockHistory).previous).toEqual([]);
      expect(again.metadata.metadata('restored')).toMatchObject({ entry: 3 });
      await expect(other.read({})).rejects.toThrow('this process has to start anew');
      expect(other.fault()).toContain('this process has to start anew');
    });

    it('is refused too if it lost that one was accepted', async () => {
      const folder = await tempFolder();
      const epoch = (number: number): Promise<unknown> => cluster.sql(`UPDATE latchkey.registry SET epoch = ${number}`);
      await epoch(3);
      await (await open({ folder, serve: SERVER })).close();
      await epoch(2);
      const found = 'lost entries that were acknowledged: it is in epoch 2, and a server has seen epoch 3';
      await expect(open({ folder })).rejects.toThrow(found);
      await acceptLoss(config(), { folder }, 'user ada');
      expect(await cluster.sql('SELECT epoch FROM latchkey.registry')).toEqual(['4']);
      await open({ folder });
    });

    it('is not one whose entries were pruned', async () => {
      const folder = await tempFolder();
      const server = await open({ folder, serve: SERVER });
      for (const idI of [1, 2, 3]) await putNode(server, idI);
      await server.close();
      const pruner = await open();
      expect(await pruner.pruneAudit(3, 100, { what: 'log pruned', upTo: 3, actor: 'user ada', at: 5 })).toBe(3);
      expect(await nodesOf(await open({ folder }))).toEqual([1, 2, 3]);
    });
  });

  describe('an order that is being written', () => {
    const written = (registry: Registry, idI: number, progress?: () => Promise<void>): Promise<number | undefined> => {
      const batch = new NodeBatch();
      batch.add(idI, ID_C, newSecret().expose(), 0);
      return enrol(registry, { terms: TERMS, batch, ...(progress && { progress }) });
    };

    async function twoRegistries(one: PostgresStorage, other: PostgresStorage): Promise<[Registry, Registry]> {
      const first = await Registry.createOn(one, 'one', () => Promise.resolve(copyOf(MASTER)), 'test');
      const second = await Registry.openOn(other, 'other', copyOf(MASTER), 'test');
      await addController(first, controller());
      return [first, second];
    }

    /** As if the process that holds it had ended. */
    const loseLock = (): Promise<unknown> =>
      cluster.sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory'");
    const nodesIn = async (registry: Registry): Promise<number[]> => (await allOf(registry.nodePages())).map(({ idI }) => idI);

    it('keeps others out on every machine, until it ends or its process does', async () => {
      const [first, second] = await twoRegistries(await open(), await open());
      const busy = 'another order or import is under way on this registry';
      await written(first, 1, async () => {
        await expect(written(second, 2)).rejects.toThrow(busy);
      });
      expect(await written(second, 2)).toBe(2);

      const left = written(first, 3, async () => {
        await loseLock();
        expect(await written(second, 4)).toBe(3);
      });
      await expect(left).rejects.toThrow('has cleared away order 3 before it was finished');
      expect(await nodesIn(second)).toEqual([1, 2, 4]);
    });

    it('is not published once another process has cleared away a part of it', async () => {
      const { storage, proxy } = await proxied();
      const [first, second] = await twoRegistries(await open(), storage);
      const left = written(first, 3, async () => {
        // More nodes than are removed in one transaction.
        await cluster.sql(`INSERT INTO latchkey.nodes SELECT (jsonb_populate_record(n, jsonb_build_object('id', 100 + i))).*
          FROM latchkey.nodes n, generate_series(1, 4100) i`);
        await loseLock();
        let parts = 0;
        proxy.decide = ({ type, octets }) =>
          type === 'P' && octets.includes('DELETE FROM latchkey.nodes') && ++parts === 2 ? { kind: 'cut', after: 0 } : 'forward';
        await expect(written(second, 4)).rejects.toBeInstanceOf(Unavailable);
        expect(parts).toBe(2);
      });
      await expect(left).rejects.toThrow('has cleared away order 1 before it was finished');
      expect(await written(second, 4)).toBe(1);
      expect(await nodesIn(second)).toEqual([4]);
    });

    it('keeps its nodes if another process starts to clear them away while it is published', async () => {
      const { storage, proxy } = await proxied(60);
      const [first, second] = await twoRegistries(storage, await open());
      const published = written(first, 3, async () => {
        await loseLock();
        // After what is there was compared.
        proxy.decide = ({ direction, type, octets }) =>
          direction === 'to server' && type === 'B' && octets.includes('put latchkey.orders')
            ? { kind: 'hold', after: 0 }
            : 'forward';
      });
      await expect.poll(() => proxy.heldCount, { interval: 5, timeout: 60_000 }).toBe(1);
      const other = written(second, 4);
      const waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'latchkey' AND wait_event_type = 'Lock'";
      await expect.poll(() => cluster.sql(waiting), { interval: 20, timeout: 60_000 }).toEqual(['1']);
      proxy.release();
      expect([await published, await other]).toEqual([1, 2]);
      expect(await nodesIn(second)).toEqual([3, 4]);
    });
  });

  it('goes on to unload its own order only, not one that has the number meanwhile', async () => {
    const { storage, proxy } = await proxied();
    const other = await open();
    const order = { result: undefined, put: { orders: [[1, orderRow('pending')]] } } as const;
    await storage.write({}, () => order);
    // More nodes than are removed in one transaction.
    const rows = Array.from({ length: 4_100 }, (_, i) => [i, nodeRow()] as const);
    await storage.load(1, {}, () => rows);
    let parts = 0;
    proxy.decide = ({ direction, type, octets }) => {
      if (direction === 'to client' || type !== 'P') return 'forward';
      if (octets.includes('DELETE FROM latchkey.nodes')) parts += 1;
      return parts === 1 && octets.includes('FOR UPDATE') ? { kind: 'hold', after: 0 } : 'forward';
    };
    const unloading = storage.unload(1);
    await expect.poll(() => proxy.heldCount, { interval: 5, timeout: 60_000 }).toBe(1);
    await other.unload(1);
    await other.write({}, () => order);
    await other.load(1, {}, () => [[7, nodeRow()]]);
    proxy.decide = () => 'forward';
    proxy.release();
    await unloading;
    expect([await nodesOf(other), (await other.orderPage(0, 9)).map(([number]) => number)]).toEqual([[7], [1]]);
  });

  describe('the lock of orders', () => {
    it('is not left to a machine that is gone, whose connections the database drops after 30 s', async () => {
      const of = config();
      const [host] = of.hosts;
      if (host === undefined) throw new Error('no host');
      const connection = await Connection.open(host, of, await readCredentials(of), {});
      onTestFinished(() => connection.close());
      const names = ['tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count'];
      const found = await connection.run(...names.map((name) => ({ text: `SELECT current_setting('${name}') AS value` })));
      expect(found.map(({ rows }) => rows[0]?.['value'])).toEqual(['15', '5', '3']);
    });

    it('is released though the database does not answer', async () => {
      const { storage, proxy } = await proxied();
      const lock = await storage.lockEnrolment();
      proxy.decide = ({ direction }) => (direction === 'to server' ? { kind: 'hold', after: 0 } : 'forward');
      await lock.release();
      expect(proxy.heldCount).toBe(1);
    });

    it('leaves no connection behind if it cannot be asked for', async () => {
      const storage = await open();
      const may = 'EXECUTE ON FUNCTION pg_try_advisory_lock(bigint)';
      await cluster.sql(`REVOKE ${may} FROM PUBLIC`);
      onTestFinished(async () => void (await cluster.sql(`GRANT ${may} TO PUBLIC`)));
      const COUNT =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'latchkey' AND query LIKE '%pg_try_advisory%'";
      await expect(storage.lockEnrolment()).rejects.toThrow('permission denied for function pg_try_advisory_lock');
      await expect.poll(() => cluster.sql(COUNT), { timeout: 60_000 }).toEqual(['0']);
    });
  });

  describe('the audit log', () => {
    it('has its length without a count of all entries', async () => {
      const { storage, proxy } = await proxied();
      for (const idI of [1, 2, 3]) await putNode(storage, idI);
      await storage.pruneAudit(1, 100);
      const counts: string[] = [];
      proxy.decide = ({ octets }) => {
        if (octets.includes('count(')) counts.push(octets.toString('latin1'));
        return 'forward';
      };
      expect([await storage.audit.length, counts]).toEqual([2, []]);
    });
  });

  describe('the heartbeat', () => {
    it('goes on while other hosts take connections and do not answer', async () => {
      const sockets: Socket[] = [];
      const silent = [1, 2].map(() => createServer((socket) => void sockets.push(socket)));
      for (const server of silent) await once(server.listen(0, '127.0.0.1'), 'listening');
      const end = (): void => {
        for (const one of silent) one.close();
        for (const socket of sockets) socket.destroy();
      };
      onTestFinished(end);
      const others = silent.map((server) => ({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }));
      // With that patience they are not given up.
      const opening = open({ serve: SERVER }, config({ hosts: [...config().hosts, ...others], patience: 1_000 }));
      const beat = async (): Promise<number> => Number((await cluster.sql('SELECT max(beat) FROM latchkey.servers'))[0]);
      await expect.poll(beat, { timeout: 60_000 }).toBeGreaterThan(2);
      expect(sockets).toHaveLength(2);
      end();
      await opening;
    });
  });

  describe('the clock', () => {
    const breaks = (storage: PostgresStorage, savedAt: ClockHistory['savedAt']): number =>
      new ClockStepDetector(storage.clock(), { savedAt }).discontinuities;

    it('is that of the database, and goes on among servers without a break', async () => {
      const folder = await tempFolder();
      const first = await open({ folder, serve: SERVER });
      const savedAt = first.clock();
      const [now] = await cluster.sql('SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint');
      expect(Math.abs(first.clock().wallMs - Number(now))).toBeLessThan(60_000);
      // Another one starts while it runs; and a command asks beside them.
      const second = await open({ serve: { ...SERVER, name: 'there' } });
      expect([breaks(second, savedAt), breaks(await open(), savedAt)]).toEqual([0, 0]);
      await expect.poll(async () => (await open()).isServed(), { timeout: 60_000 }).toBe(true);
      await first.close();
      await second.close();
      expect(await (await open()).isServed()).toBe(false);
      // By itself it goes on as its machine knows. Another machine knows nothing.
      expect([breaks(await open({ folder }), savedAt), breaks(await open(), savedAt)]).toEqual([0, 1]);
    });

    /** Folder of a machine that has the servers' monotonic clock so far ahead of its own. */
    async function folderWithClock(aheadMs: number): Promise<string> {
      const folder = await tempFolder();
      await (await open({ folder, serve: SERVER })).close();
      const file = join(folder, 'postgres.json');
      const kept = JSON.parse(await readFile(file, 'utf8')) as { readonly clock: object };
      await writeFile(file, JSON.stringify({ ...kept, clock: { ...kept.clock, ahead: aheadMs } }));
      return folder;
    }

    const offset = (storage: PostgresStorage): number => storage.clock().wallMs - storage.clock().monotonicMs;

    it('is one among servers that start together, whatever each knows', async () => {
      const folders = [await folderWithClock(5e9), await folderWithClock(9e9), await folderWithClock(13e9)];
      const storages = await Promise.all(folders.map((folder, i) => open({ folder, serve: { ...SERVER, name: `server ${i}` } })));
      const [first = 0, ...others] = storages.map(offset);
      for (const other of others) expect(Math.abs(other - first)).toBeLessThan(60_000);
    });

    it('is not taken from a server that was heard of, and is not again', async () => {
      const folder = await folderWithClock(5e9);
      await cluster.sql(`INSERT INTO latchkey.servers
        SELECT gen_random_uuid(), 'gone', '0.1.0', 1, 1, now_ms, now_ms, 7, 9e9, true FROM (SELECT extract(epoch FROM now()) * 1000 AS now_ms) t`);
      const storage = await open({ folder, serve: SERVER }, config({ patience: 1 }));
      expect(Math.abs(storage.clock().monotonicMs - monotonicNow() - 5e9)).toBeLessThan(60_000);
    });
  });

  keyFeedContract(async () => {
    const [storage, other] = [await open(), await open()];
    const registry = await Registry.createOn(storage, 'registry', () => Promise.resolve(copyOf(MASTER)), 'test');
    return { registry, other: await Registry.openOn(other, 'registry', copyOf(MASTER), 'test') };
  });

  it('tells a controller the TID of a node that is reset while it is read', async () => {
    const { storage, proxy } = await proxied();
    const registry = await Registry.createOn(storage, 'database', () => Promise.resolve(copyOf(MASTER)), 'test');
    const other = await open();
    const committed = { idC: 1, tid: 'ab', ts: WALL, nidI: new Uint8Array(18), lifetime: 0, at: WALL };
    const put = (more: Partial<NodeRow>): Promise<void> =>
      other.write({ nodes: [1] }, ({ head }) => {
        const key = registry.keyring.seal({ kind: KEY_KIND.node, id: 1 }, copyOf(MASTER));
        const row = nodeRow({ key, ...more, controller: 1, entry: head.seq + 1 });
        const put = { nodes: [[1, row] as const], orders: [[row.order, orderRow()] as const] };
        return { result: undefined, events: [event('node enabled', { node: 1 })], put };
      });
    await put({ initial: false, committed });
    const feed = registry.keyFeed();
    let cursor = 0n;
    for (let tid = 1n; ; tid++) {
      const answer = await feed.answer({ idC: 1, tid, cursor, wallMs: WALL });
      if (answer === 'behind') throw new Error('behind');
      ({ cursor } = answer);
      if (!answer.more) break;
    }
    await put({ initial: false, committed, disabled: true });
    // The read of the nodes that the entries name is held back, and nothing else.
    let areNodesNext = false;
    proxy.decide = ({ direction, type, octets }) => {
      if (direction === 'to server' && octets.includes('feed entries')) areNodesNext = true;
      const isHeld = areNodesNext && direction === 'to server' && type === 'B' && octets.includes('\0begin read\0');
      return isHeld ? { kind: 'hold', after: 0 } : 'forward';
    };
    const answering = feed.answer({ idC: 1, tid: 100n, cursor, wallMs: WALL });
    await expect.poll(() => proxy.heldCount, { interval: 20, timeout: 60_000 }).toBe(1);
    // What is asked beside it has its answer before this.
    await storage.nodeCount();
    await put({});
    proxy.decide = () => 'forward';
    proxy.release();
    expect(await answering).toMatchObject({ entries: [{ idI: 1, state: 'initial', tid: 0xabn }] });
  });

  describe('an auth-server on it', () => {
    const ID_I = 0x0a0b_0c0d;

    interface Joining {
      readonly registry: Registry;
      readonly server: AuthServer;
      readonly skCs: Secret;
      readonly exchange: Exchange;
    }

    /** A server on a registry with one node, which has its M3. */
    async function joining(
      storage: PostgresStorage,
      clock: PostgresStorage['clock'] = () => ({ wallMs: WALL, monotonicMs: WALL }),
    ): Promise<Joining> {
      const registry = await Registry.createOn(storage, 'database', () => Promise.resolve(copyOf(MASTER)), 'test', clock);
      const [skCs, key] = [newSecret(), newSecret()];
      const { keyring } = registry;
      const nid = { host: '192.0.2.1', port: 5683 };
      await registry.write({ nodes: [ID_I] }, ({ head }) => ({
        result: undefined,
        events: [{ what: 'order created', order: 1, at: WALL }],
        put: {
          controllers: [
            [ID_C, { skCs: keyring.seal({ kind: KEY_KIND.controller, id: ID_C }, skCs), nid, servers: [], addedAt: WALL }],
          ],
          orders: [[1, { ...orderRow(), ...TERMS, createdEntry: head.seq + 1, entry: head.seq + 1 }]],
          nodes: [
            [
              ID_I,
              nodeRow({
                key: keyring.seal({ kind: KEY_KIND.node, id: ID_I }, key),
                ik: initialKeyId(registry.initialKeyIdKey(), key),
                controller: ID_C,
              }),
            ],
          ],
        },
      }));
      const server = new AuthServer({ registry, clock, randomBytes, log: new CapturedLog().log });
      onTestFinished(() => server.close());
      await server.persistClock();
      const exchange = new Exchange({ idI: ID_I, key, skCs, ts: clock().wallMs });
      expect(exchange.openM3((await server.answer(exchange.m2)).payload)?.key).toBe(key.toHex());
      return { registry, server, skCs, exchange };
    }

    it('joins nodes, and answers an M7 whose commit was in doubt by what the registry has', async () => {
      const { storage, proxy } = await proxied();
      const { registry, server, exchange } = await joining(storage);
      // The answer to the commit is lost, on the second connection, which is for writes.
      let isCut = false;
      proxy.decide = ({ direction, type, octets, connection }) => {
        if (isCut || connection !== 2 || direction !== 'to client' || type !== 'C' || !octets.includes('INSERT'))
          return 'forward';
        isCut = true;
        return { kind: 'cut', after: 1 };
      };
      expect(exchange.openM8((await server.answer(exchange.m7)).payload)).toBeDefined();
      expect(isCut).toBe(true);
      expect((await registry.readNode(ID_I))?.key.toHex()).toBe(exchange.psk.toHex());
      const joins = (await storage.audit.chain()).entries;
      let joined = 0;
      for await (const [, octets] of joins) if (octets.includes('node joined')) joined += 1;
      expect(joined).toBe(1);
      expect(await problemsOf(storage)).toEqual([]);
    });

    it('commits the key of an M7 as its M2 found the node, without another read', async () => {
      const storage = await open();
      const { registry, server, exchange } = await joining(storage);
      // What was seen of the node is written beside it, with a read of its own.
      const read = vi.spyOn(registry, 'readNode');
      expect(exchange.openM8((await server.answer(exchange.m7)).payload)).toBeDefined();
      expect(read).not.toHaveBeenCalled();
      // A copy of the M7 is answered by what the registry has.
      expect(exchange.openM8((await server.answer(exchange.m7)).payload)).toBeDefined();
      expect(read).toHaveBeenCalled();
    });

    it('refuses an M7 whose time is over, though its machine has slept since it read the clock', async () => {
      const { storage, proxy } = await proxied();
      const { registry, server, exchange } = await joining(storage, storage.clock);
      proxy.decide = seenAfterSleep(100_000);
      expect(exchange.openM9((await server.answer(exchange.m7)).payload, 'm7')?.reason).toBe(6);
      expect((await registry.readNode(ID_I))?.initial).toBe(true);
    });

    it('judges an M2 by the time that it reads with the node, though its machine has slept before', async () => {
      const { storage, proxy } = await proxied();
      const { server, skCs } = await joining(storage, storage.clock);
      const late = new Exchange({ idI: ID_I, key: newSecret(), skCs, ts: storage.clock().wallMs });
      proxy.decide = seenAfterSleep(60_000);
      expect(late.openM9((await server.answer(late.m2)).payload, 'm2')?.reason).toBe(6);
    });

    it('refuses an M7 by what it reads then', async () => {
      const storage = await open();
      const { registry, server, skCs } = await joining(storage);
      const read = vi.spyOn(registry, 'readNode');
      const wrong = new Exchange({ idI: ID_I, key: newSecret(), skCs });
      expect(wrong.openM9((await server.answer(wrong.m7)).payload, 'm7')).toBeDefined();
      expect(read).toHaveBeenCalledTimes(1);
    });

    /** What another process does between an M2 and its M7. */
    const CHANGES: Readonly<Record<string, (other: Registry) => Promise<unknown>>> = {
      'the node is disabled': (other) => setDisabled(other, [ID_I], true),
      'the node is removed': (other) => removeNodes(other, [ID_I]),
      'the node has another initial key': (other) => resetNode(other, ID_I, newSecret()),
      'its order is suspended': (other) => setOrderState(other, 1, 'suspended'),
      'its controller is pass-through': (other) => setController(other, ID_C, { passThrough: true }),
      'its controller has another SK_cs': async (other) => {
        const staged = newSecret();
        await stageControllerKey(other, ID_C, copyOf(staged));
        expect(await other.activateStagedKey(ID_C, staged)).toBe(true);
      },
    };

    it.each(Object.entries(CHANGES))('judges an M7 anew if meanwhile %s', async (_, change) => {
      const { registry, server, exchange } = await joining(await open());
      const other = await Registry.openOn(await open(), 'database', copyOf(MASTER), 'another');
      await change(other);
      expect(exchange.openM8((await server.answer(exchange.m7)).payload)).toBeUndefined();
      expect((await registry.readNode(ID_I))?.key.toHex()).not.toBe(exchange.psk.toHex());
    });
  });
});
