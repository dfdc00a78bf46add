/**
 * Connections of a process to the database: three, all to one postmaster. If one breaks, or an
 * answer times out, all are closed, and the cached rows are dropped.
 */

import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { Unavailable } from '../storage.js';
import type { PostgresConfig, PostgresHost } from './config.js';
import { ConnectionFailure, type Credentials, DatabaseFailure, formatHost, NO_POOLER, type Statement } from './connection.js';
import type { DatabaseConnection, Environment } from './environment.js';
import { NEWEST_SCHEMA, OLDEST_SCHEMA } from './migrations.js';
import { RowCaches } from './row-caches.js';
import { standbyNamesFault } from './standby-names.js';
import type { SqlRow } from './tables.js';

/** A barrier must come back within this, in ms: it shows that a standby is there. */
export const READ_TIMEOUT_MS = 3_000;
/** From when a write is sent until it is acknowledged, in ms. */
export const WRITE_TIMEOUT_MS = 8_000;
/** Everything else, in ms. */
export const GENERAL_TIMEOUT_MS = 30_000;

/** Uses of the third connection that wait for theirs; at the bound they are refused. */
const MAX_WAITING = 4_096;

const OLDEST_SERVER = 140_000;

/** SQLSTATEs after which a connection is useless: the server shuts down, or takes no writes. */
const DEAD: RegExp = /^(?:57P0[0-9]|25006|08...|53...|58...|XX...)$/;

/** What the settings of a role or a database must not change. */
export const SETTINGS: Readonly<Record<string, string>> = {
  client_min_messages: 'warning',
  array_nulls: 'on',
  search_path: 'pg_catalog',
  jit: 'off',
};
/** Limits of the database's own, in seconds. */
interface Limits {
  readonly idleInTransaction: number;
  readonly statement: number;
}

const READER: Limits = { idleInTransaction: 2, statement: 0 };
const WRITER: Limits = { idleInTransaction: 2, statement: 5 };
const GENERAL: Limits = { idleInTransaction: 10, statement: 20 };
const LONG_READ: Limits = { idleInTransaction: 60, statement: 0 };
/** Until a statement has the lock that it waits for, in s. */
export const LOCK_TIMEOUT_S = 4;

function settingsOf(
  { idleInTransaction, statement }: Limits,
  { patience = 1 }: PostgresConfig,
): Readonly<Record<string, string>> {
  const ms = (seconds: number): string => String(Math.round(seconds * patience * 1_000));
  return {
    ...SETTINGS,
    idle_in_transaction_session_timeout: ms(idleInTransaction),
    statement_timeout: ms(statement),
    lock_timeout: ms(LOCK_TIMEOUT_S),
  };
}

export const STANDBY_NAMES: Statement = {
  name: 'standby names',
  text: "SELECT current_setting('synchronous_standby_names') AS names",
};

/** What a host says of itself, for `hostFault`. */
export const CHECKS = `SELECT pg_is_in_recovery() AS recovering, current_setting('transaction_read_only') AS read_only,
  current_setting('synchronous_standby_names') AS names, current_setting('synchronous_commit') AS synchronous,
  current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
  current_setting('server_version_num')::integer AS server, pg_postmaster_start_time()::text AS started,
  (SELECT system_identifier FROM pg_control_system())::text AS system, to_regclass('latchkey.registry') IS NOT NULL AS made,
  (SELECT json_agg(nspname ORDER BY nspname) FROM pg_namespace WHERE nspname ~ '^latchkey_(copied|before)_[0-9]+$') AS aside,
  CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline`;

/** Which database answers. */
export interface Place {
  readonly host: PostgresHost;
  readonly system: string;
  readonly timeline: number;
  readonly started: string;
}

export class Session {
  readonly place: Place;
  readonly config: PostgresConfig;
  readonly credentials: Credentials;
  readonly environment: Environment;
  readonly reader: DatabaseConnection;
  readonly writer: DatabaseConnection;
  readonly caches: RowCaches = new RowCaches();
  readonly #general: DatabaseConnection;
  #generalIsFree: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** When this process last held the row that all writes lock, ms of `Environment.now`. */
  lockHeldAt: number = -Infinity;
  /** What the database's clock showed then, ms since the epoch. */
  lockHeldWallMs: number = -Infinity;
  #brokenBy: string | undefined;

  private constructor(
    place: Place,
    config: PostgresConfig,
    credentials: Credentials,
    environment: Environment,
    [reader, writer, general]: readonly [DatabaseConnection, DatabaseConnection, DatabaseConnection],
  ) {
    this.place = place;
    this.config = config;
    this.credentials = credentials;
    this.environment = environment;
    this.reader = reader;
    this.writer = writer;
    this.#general = general;
  }

  /** @throws Failure if this host does not answer, or is not one to write to */
  static async open(host: PostgresHost, config: PostgresConfig, environment: Environment): Promise<Session> {
    const credentials = await environment.readCredentials(config);
    let session: Session | undefined;
    let brokenBy: string | undefined;
    const onBroken = (reason: string): void => {
      brokenBy ??= reason;
      session?.destroy(reason);
    };
    const connections: DatabaseConnection[] = [];
    try {
      const places: Place[] = [];
      for (const limits of [READER, WRITER, GENERAL]) {
        const settings = settingsOf(limits, config);
        const connection = await environment.connect(host, config, credentials, settings, { onBroken });
        connections.push(connection);
        const limitMs = READ_TIMEOUT_MS * (config.patience ?? 1);
        const work = connection.run(IN_FORCE, { text: CHECKS });
        const [set, checked] = await within(environment, limitMs, connection, () => unanswered(limitMs), work);
        checkSettings(set?.rows[0], settings);
        places.push(checkedPlace(host, config, checked?.rows[0] ?? {}));
      }
      const [place] = places;
      const [reader, writer, general] = connections;
      if (place === undefined || reader === undefined || writer === undefined || general === undefined || brokenBy !== undefined)
        throw new Failure(brokenBy ?? 'the connection ended');
      if (places.some(({ system, started }) => system !== place.system || started !== place.started))
        throw new Failure('its connections lead to different servers');
      session = new Session(place, config, credentials, environment, [reader, writer, general]);
      return session;
    } catch (error) {
      for (const connection of connections) connection.destroy();
      throw error;
    }
  }

  /** Why it is of no use any more; `undefined`: it is. */
  get brokenBy(): string | undefined {
    return this.#brokenBy;
  }

  destroy(reason: string): void {
    if (this.#brokenBy !== undefined) return;
    this.#brokenBy = reason;
    for (const connection of [this.reader, this.writer, this.#general]) connection.destroy();
    this.caches.clear();
  }

  async close(): Promise<void> {
    this.#brokenBy ??= 'it was closed';
    await Promise.all([this.reader, this.writer, this.#general].map((connection) => connection.close()));
    this.caches.clear();
  }

  /** Ends all connections if `work` is not done in time. */
  async within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
    const cancel = this.environment.after(ms * (this.config.patience ?? 1), () =>
      this.destroy(`${what} took more than ${Math.round(ms / 1_000)} s`),
    );
    try {
      return await work;
    } catch (error) {
      if (error instanceof DatabaseFailure && DEAD.test(error.code)) this.destroy(error.message);
      throw this.#brokenBy !== undefined && error instanceof ConnectionFailure ? new ConnectionFailure(this.#brokenBy) : error;
    } finally {
      cancel();
    }
  }

  /** The third connection, for one at a time. */
  async general<T>(what: string, work: (connection: DatabaseConnection) => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      throw new Unavailable(`the registry cannot be asked: ${MAX_WAITING} statements wait already`, {
        advice: 'Nothing was changed. Try again.',
      });
    }
    const before = this.#generalIsFree;
    this.#waiting += 1;
    const mine = (async () => {
      await before.catch(() => undefined);
      this.#waiting -= 1;
      if (this.#brokenBy !== undefined) throw new ConnectionFailure(this.#brokenBy);
      return this.within(GENERAL_TIMEOUT_MS, what, work(this.#general));
    })();
    this.#generalIsFree = mine;
    return mine;
  }

  /**
   * Opens a separate connection to the same server, for a long read in many short statements, or a
   * lock.
   */
  async another(): Promise<DatabaseConnection> {
    const { host, system, started } = this.place;
    const settings = settingsOf(LONG_READ, this.config);
    const answerTimeoutMs = GENERAL_TIMEOUT_MS * (this.config.patience ?? 1);
    const connection = await this.environment.connect(host, this.config, this.credentials, settings, { answerTimeoutMs });
    try {
      const [set, checked] = await connection.run(IN_FORCE, { text: CHECKS });
      checkSettings(set?.rows[0], settings);
      const place = checkedPlace(host, this.config, checked?.rows[0] ?? {});
      if (place.system !== system || place.started !== started) throw new Failure('another server answers there now');
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  /** Why a commit may not have a standby; `undefined`: it has. `names`: as they are set now. */
  standbyFault(names: unknown): string | undefined {
    if (this.config.durability === 'storage') return undefined;
    return standbyNamesFault(String(names), this.config.hosts.length);
  }
}

/** Reads the settings in force, and makes commits wait for the standby at least. */
const IN_FORCE: Statement = {
  text: `SELECT (SELECT json_object_agg(name, setting) FROM pg_settings) AS settings, set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false) AS synchronous_commit`,
};

function checkSettings(row: SqlRow | undefined, wanted: Readonly<Record<string, string>>): void {
  const settings = (row?.['settings'] ?? {}) as Readonly<Record<string, string>>;
  for (const [name, value] of Object.entries(wanted))
    if (settings[name] !== value)
      throw new Failure(`${name} cannot be set to ${value} for its sessions: it is ${String(settings[name])}`, {
        advice: NO_POOLER,
      });
}

/** Returns why a host must not be worked with, or `undefined` if it may be. */
export function hostFault({ durability, hosts }: PostgresConfig, row: SqlRow): string | undefined {
  if (row['recovering'] === true) return 'it is a standby';
  if (row['read_only'] !== 'off') return 'it takes no writes: default_transaction_read_only is on';
  if ((row['server'] as number) < OLDEST_SERVER)
    return `it is PostgreSQL ${Math.floor((row['server'] as number) / 10_000)}: 14 or later is needed`;
  for (const name of ['fsync', 'full_page_writes'])
    if (row[name] !== 'on') return `${name} is off: a power failure would destroy the registry`;
  if (!['on', 'remote_apply'].includes(String(row['synchronous']))) return `synchronous_commit is ${String(row['synchronous'])}`;
  return durability === 'storage' ? undefined : standbyNamesFault(String(row['names']), hosts.length);
}

/** `row`: what `CHECKS` found. */
export function holdsNoRegistry(where: string, { aside }: SqlRow): UsageFailure {
  const schemas = (aside ?? []) as readonly string[];
  const latest = schemas.at(-1);
  if (latest === undefined) {
    return new UsageFailure(`${where} holds no registry`, {
      advice: 'Check the name of the database. How a new registry is made:',
      run: [['latchkey-auth-server', 'init', '--help']],
    });
  }
  return new UsageFailure(`${where} holds no registry, but schema ${schemas.join(', ')}`, {
    advice: `Nothing was changed. \`registry copy --to folder\` moves a registry to the folder of the machine that it runs on. If no auth-server serves from there, this lets the registry go on here: ALTER SCHEMA ${latest} RENAME TO latchkey`,
  });
}

/** Returns the place of a checked database, or throws a failure that describes its fault. */
function checkedPlace(host: PostgresHost, config: PostgresConfig, row: SqlRow): Place {
  const fault = hostFault(config, row);
  if (fault !== undefined) throw new Failure(fault);
  if (row['made'] !== true) throw holdsNoRegistry(`database ${config.database} on ${formatHost(host)}`, row);
  return {
    host,
    system: String(row['system']),
    started: String(row['started']),
    timeline: Number.parseInt(String(row['timeline']), 16),
  };
}

export function readsSchema(schema: number): boolean {
  return schema >= OLDEST_SCHEMA && schema <= NEWEST_SCHEMA;
}

/** @throws UsageFailure if this version does not read the schema */
export function checkSchema(schema: number, database: string): void {
  if (readsSchema(schema)) return;
  const known = OLDEST_SCHEMA === NEWEST_SCHEMA ? `schema ${NEWEST_SCHEMA}` : `schemas ${OLDEST_SCHEMA} to ${NEWEST_SCHEMA}`;
  throw new UsageFailure(`the registry in database ${database} has schema ${schema}; this version of Latchkey reads ${known}`, {
    advice:
      schema > NEWEST_SCHEMA
        ? 'Nothing was changed. Install the version that wrote it, or a later one.'
        : 'Nothing was changed. Bring it up to date:',
    ...(schema > NEWEST_SCHEMA ? {} : { run: [['latchkey-auth-server', 'upgrade']] }),
  });
}

/** What becomes of a host that did not say in time what it is. */
export function unanswered(limitMs: number): Failure {
  return new Failure(`it did not answer for ${Math.round(limitMs / 1_000)} s`);
}

/** Breaks the connection if `work` is not done in time. `late`: how the work fails then. */
export async function within<T>(
  { after }: Environment,
  ms: number,
  connection: Pick<DatabaseConnection, 'destroy'>,
  late: () => Failure,
  work: Promise<T>,
): Promise<T> {
  let failure: Failure | undefined;
  const cancel = after(ms, () => {
    failure = late();
    connection.destroy(failure.message);
  });
  try {
    return await work;
  } catch (error) {
    throw error instanceof ConnectionFailure ? (failure ?? error) : error;
  } finally {
    cancel();
  }
}
