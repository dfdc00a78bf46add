/** Creates and migrates the schema of a registry in a database, and accepts the loss of entries. */

import { setTimeout as pause } from 'node:timers/promises';
import { EMPTY_HISTORY, afterDiscontinuity, type ClockHistory } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { Actor, Head } from '../audit-chain.js';
import { headOf } from '../audit-chain.js';
import type { PostgresConfig, PostgresOptions } from './config.js';
import { Changes } from './changes.js';
import { Connection, ConnectionFailure, DatabaseFailure, describeWarning, formatHost, readCredentials } from './connection.js';
import { BARRIER, BEGIN_READ, COMMIT } from './engine.js';
import { MACHINE } from './environment.js';
import { LastSeen } from './last-seen.js';
import { refuseOtherRegistry } from './loss.js';
import { MIGRATIONS, NEWEST_SCHEMA } from './migrations.js';
import {
  CHECKS,
  checkSchema,
  GENERAL_TIMEOUT_MS,
  holdsNoRegistry,
  hostFault,
  LOCK_TIMEOUT_S,
  READ_TIMEOUT_MS,
  SETTINGS,
  STANDBY_NAMES,
  unanswered,
  within,
} from './session.js';
import { fetching, KeySet } from './snapshot.js';
import { RowCaches } from './row-caches.js';
import { standbyNamesFault } from './standby-names.js';
import type { SqlRow } from './tables.js';
import { InDoubt } from '../storage.js';

const LOCK_TIMED_OUT = '55P03';
/**
 * A migration step that alters several tables can deadlock with reads, which hold the second table
 * and wait for the first. Requests of nodes wait for the tables in that time.
 */
const COLLIDED: ReadonlySet<string> = new Set(['40P01', LOCK_TIMED_OUT]);
const MAX_UPGRADE_ATTEMPTS = 10;
const UPGRADE_AGAIN_MS = 500;
const TABLE_LOCK_TIMEOUT_S = 2;

export const BEGIN = { text: 'BEGIN ISOLATION LEVEL READ COMMITTED' };

/**
 * Makes schema `latchkey`, in a database that has none. A schema without a registry is what a
 * creation left that was killed: it stays as it is.
 */
export async function createPostgresSchema(config: PostgresConfig): Promise<void> {
  await withPrimary(config, async (connection, { made }) => {
    if (made === true) {
      const [created] = await connection.run({ text: "SELECT FROM latchkey.metadata WHERE name = 'schema'" });
      if (created?.rows.length === 0) return;
      throw new UsageFailure(`database ${config.database} holds a registry already`, {
        advice: 'Nothing was changed. Choose another database for a new one.',
      });
    }
    await connection.run(BEGIN);
    await makeSchema(connection, config);
    await commit(connection, config);
  });
}

/** The database's clock, which is the one of all servers: ms since the epoch. */
export async function readDatabaseTime(connection: Connection): Promise<number> {
  const [result] = await connection.run({ text: 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now' });
  return result?.rows[0]?.['now'] as number;
}

/**
 * Inside a transaction.
 *
 * @throws UsageFailure if the database cannot hold every text: one that people give a node, say
 */
export async function makeSchema(connection: Connection, { database }: PostgresConfig): Promise<void> {
  const [found] = await connection.run({ text: "SELECT current_setting('server_encoding') AS encoding" });
  const encoding = String(found?.rows[0]?.['encoding']);
  // SQL_ASCII keeps the octets as they are.
  if (!['UTF8', 'SQL_ASCII'].includes(encoding)) {
    throw new UsageFailure(`database ${database} has the encoding ${encoding}, and UTF8 is needed`, {
      advice: "Nothing was changed. Make another database: CREATE DATABASE ... OWNER ... ENCODING 'UTF8' TEMPLATE template0",
    });
  }
  await connection.run({ text: 'CREATE SCHEMA latchkey' });
  for (const text of MIGRATIONS) await connection.run({ text });
  await connection.run({ text: 'UPDATE latchkey.registry SET schema = $1', values: [NEWEST_SCHEMA] });
}

/**
 * Migrates the schema to the version of this program, while servers run. Returns the schema numbers
 * before and after.
 *
 * @param migrations steps up to that version, from the first one on
 */
export async function upgradePostgresSchema(
  config: PostgresConfig,
  migrations: readonly string[] = MIGRATIONS,
): Promise<{ readonly from: number; readonly to: number }> {
  return withPrimary(config, async (connection, state) => {
    if (state['made'] !== true) throw holdsNoRegistry(`database ${config.database}`, state);
    for (let attempt = 1; ; attempt++) {
      try {
        return await upgradeOnce(connection, config, migrations);
      } catch (error) {
        if (!(error instanceof DatabaseFailure && COLLIDED.has(error.code))) throw error;
        await connection.run({ text: 'ROLLBACK' });
        if (attempt === MAX_UPGRADE_ATTEMPTS) {
          throw new Failure(`servers use the tables all the time: ${error.message}`, {
            advice: 'Nothing was changed. Try again.',
          });
        }
        await pause(UPGRADE_AGAIN_MS);
      }
    }
  });
}

async function upgradeOnce(
  connection: Connection,
  config: PostgresConfig,
  migrations: readonly string[],
): Promise<{ readonly from: number; readonly to: number }> {
  const [, , row] = await connection.run(
    BEGIN,
    { text: `SET LOCAL lock_timeout = '${TABLE_LOCK_TIMEOUT_S}s'` },
    { text: 'SELECT schema FROM latchkey.registry FOR UPDATE' },
  );
  const from = row?.rows[0]?.['schema'] as number;
  const to = migrations.length;
  if (from > to) checkSchema(from, config.database);
  if (from < to) await refuseOldServers(connection, to);
  for (const text of migrations.slice(from)) await connection.run({ text });
  await connection.run({ text: 'UPDATE latchkey.registry SET schema = $1', values: [to] });
  await commit(connection, config);
  return { from, to };
}

/** What `acceptLoss` found. */
export interface AcceptedLoss {
  /** What this server had seen. */
  readonly seen: Head | undefined;
  /** The latest entry of the database before the one that records the acceptance. */
  readonly found: Head | undefined;
}

/**
 * Lets the registry continue without entries that it lost: a new epoch, a discontinuity of the
 * clock, and a new TK. Nodes may have used keys and transactions that the registry lost. Also used
 * when the same registry was moved to another cluster of PostgreSQL.
 */
export async function acceptLoss(
  config: PostgresConfig,
  { folder }: Pick<PostgresOptions, 'folder'>,
  actor: Actor,
): Promise<AcceptedLoss> {
  const lastSeen = await LastSeen.read(folder);
  const { seen } = lastSeen;
  return withPrimary(config, async (connection, state) => {
    const { system } = state;
    if (state['made'] !== true) throw holdsNoRegistry(`database ${config.database}`, state);
    const { statements, take } = fetching(new KeySet(), new RowCaches());
    const now = { text: 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now' };
    const [, , at, ...results] = await connection.run(
      BEGIN,
      { text: 'SELECT one FROM latchkey.registry FOR UPDATE' },
      now,
      ...statements,
    );
    const rows = take(results);
    const { registry } = rows;
    checkSchema(registry.schema, config.database);
    refuseOtherRegistry(lastSeen, registry.id, config.database);
    const found = headOf(rows.head);
    // Greater than any that a server has seen, even if the latest one was lost.
    const epoch = Math.max(registry.epoch, seen?.epoch ?? 0) + 1;
    const wallMs = at?.rows[0]?.['now'] as number;
    const history = (rows.metadata('clock history') as ClockHistory | undefined) ?? EMPTY_HISTORY;
    const changes = new Changes(rows);
    changes.add({
      result: undefined,
      events: [{ what: 'registry restored', actor, at: wallMs, note: describe(seen?.head, found) }],
      put: {
        metadata: [
          ['restored', { at: wallMs, backupAt: rows.head.at, entry: rows.head.seq + 1 }],
          ['clock history', afterDiscontinuity(history, { wallMs, monotonicMs: 0 }, 0)],
        ],
      },
    });
    await connection.run(
      ...changes.statements,
      { text: "DELETE FROM latchkey.metadata WHERE name = 'transaction key'" },
      { text: 'DELETE FROM latchkey.key_feed_walks' },
      {
        text: 'UPDATE latchkey.registry SET epoch = $1, lost = NULL, key_feed_incarnation = latchkey.draw_incarnation()',
        values: [epoch],
      },
    );
    await commit(connection, config);
    await lastSeen.replace({ registry: registry.id, system: String(system), epoch, head: headOf(rows.head) });
    return { seen: seen?.head, found };
  });
}

function describe(seen: Head | undefined, found: Head | undefined): string {
  const last = `the database ended at entry ${found?.seq ?? 0}`;
  return seen === undefined ? last : `${last}; a server had seen entry ${seen.seq}`;
}

/** A server that cannot read the schema to come must be ended first. */
async function refuseOldServers(connection: Connection, schema: number): Promise<void> {
  const [result] = await connection.run({
    text: `SELECT name, version FROM latchkey.servers WHERE schema_to < $1 AND seen_at > extract(epoch FROM now()) * 1000 - 10000`,
    values: [schema],
  });
  const [first] = (result?.rows ?? []) as readonly { readonly name: string; readonly version: string }[];
  if (first === undefined) return;
  throw new Failure(`server ${first.name} runs version ${first.version}, which does not read schema ${schema}`, {
    advice: 'Nothing was changed. Install this version on every server first, and start them anew.',
  });
}

/**
 * @param advice what to check if the commit may have happened
 * @throws InDoubt if the commit may have happened, or a standby may lack it
 */
export async function commit(
  connection: Connection,
  { durability, hosts }: PostgresConfig,
  advice: string = 'It may have happened. Look whether it did before you try again.',
): Promise<void> {
  const { notices } = connection;
  // As for writes: a COMMIT that fails, with whatever error, may have taken effect before that.
  const [result, names] = await connection.run(COMMIT, STANDBY_NAMES).catch((error: Failure) => {
    throw new InDoubt(`it is not known whether the database took it: ${error.message}`, { advice });
  });
  if (result?.command !== 'COMMIT')
    throw new Failure('the database rolled it back', { advice: 'Nothing was changed. Try again.' });
  const fault =
    connection.notices > notices
      ? describeWarning(connection)
      : durability === 'storage'
        ? undefined
        : standbyNamesFault(String(names?.rows[0]?.['names']), hosts.length);
  if (fault !== undefined) throw new InDoubt(`the database took it, and a standby may lack it: ${fault}`, { advice });
}

/**
 * Works on the first host that takes writes, once a standby has answered a commit there.
 *
 * @param timeoutMs of the work
 * @throws Failure if none does, or its commits may be lost; nothing was done then
 */
export async function withPrimary<T>(
  config: PostgresConfig,
  work: (connection: Connection, state: SqlRow) => Promise<T>,
  timeoutMs: number = GENERAL_TIMEOUT_MS,
): Promise<T> {
  const { patience = 1 } = config;
  const credentials = await readCredentials(config);
  const reasons: string[] = [];
  let advised: string | undefined;
  for (const host of config.hosts) {
    let connection: Connection | undefined;
    try {
      let row: SqlRow;
      try {
        connection = await Connection.open(host, config, credentials, {
          ...SETTINGS,
          idle_in_transaction_session_timeout: '60s',
          lock_timeout: String(LOCK_TIMEOUT_S * patience * 1_000),
          statement_timeout: '0',
          synchronous_commit: 'on',
        });
        row = await checkPrimary(connection, config);
      } catch (error) {
        reasons.push(`${formatHost(host)}: ${(error as Error).message}`);
        if (error instanceof Failure) advised ??= error.advice;
        continue;
      }
      const limited = connection;
      const late = (): Failure => workTooLong(limited, timeoutMs * patience);
      return await within(MACHINE, timeoutMs * patience, limited, late, work(limited, row));
    } catch (error) {
      throw explain(error);
    } finally {
      await connection?.close();
    }
  }
  throw new Failure(`no host of the database serves: ${reasons.join('; ')}`, {
    advice: advised ?? 'Nothing was changed. Check the hosts, and what each says of itself.',
  });
}

/**
 * Returns what the host says of itself. What is found before the work is no commit in doubt after
 * it.
 *
 * @throws Failure if the host takes no writes, or a commit that changes nothing has no standby
 */
async function checkPrimary(connection: Connection, config: PostgresConfig): Promise<SqlRow> {
  const { durability, hosts, patience = 1 } = config;
  const limitMs = READ_TIMEOUT_MS * patience;
  const checks = connection.run({ text: CHECKS });
  const [checked] = await within(MACHINE, limitMs, connection, () => unanswered(limitMs), checks);
  const [row = {}] = checked?.rows ?? [];
  const fault = hostFault(config, row);
  if (fault !== undefined) throw new Failure(fault);
  if (durability === 'storage') return row;
  const { notices } = connection;
  const barrier = connection.run(BEGIN_READ, BARRIER, COMMIT, STANDBY_NAMES);
  const answers = await within(MACHINE, limitMs, connection, () => noStandby(limitMs), barrier);
  if (connection.notices > notices) throw new Failure(describeWarning(connection));
  const namesFault = standbyNamesFault(String(answers.at(-1)?.rows[0]?.['names']), hosts.length);
  if (namesFault !== undefined) throw new Failure(namesFault);
  return row;
}

function noStandby(limitMs: number): Failure {
  const waited = `a commit that changes nothing waited ${Math.round(limitMs / 1_000)} s for one`;
  return new Failure(`no synchronous standby answers: ${waited}`, {
    advice:
      'Nothing was changed. See on the primary which standbys are connected: SELECT application_name, state, sync_state FROM pg_stat_replication. Start those that synchronous_standby_names lists, and try again.',
  });
}

function workTooLong({ waitsFor }: Connection, limitMs: number): Failure {
  const waited = waitsFor === undefined ? '' : `, and waited for: ${waitsFor}`;
  return new Failure(`the work took more than ${Math.round(limitMs / 1_000)} s, its limit${waited}`, {
    advice: 'Nothing was changed. Look at the host of the database, and try again.',
  });
}

/** Says what to do where the work ended before its COMMIT. After that it is `InDoubt`. */
function explain(error: unknown): unknown {
  if (error instanceof ConnectionFailure)
    return new Failure(error.message, { advice: 'Nothing was changed. Look at the host of the database, and try again.' });
  if (!(error instanceof DatabaseFailure && error.code === LOCK_TIMED_OUT)) return error;
  return new Failure(`another command or server is writing, or its commit waits for a standby: ${error.message}`, {
    advice:
      'Nothing was changed. Try again. If that fails too, see who waits on the primary: SELECT pid, state, wait_event, query FROM pg_stat_activity.',
  });
}
