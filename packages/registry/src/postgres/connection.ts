/** One connection to PostgreSQL: statements are sent together, and nothing is ever cancelled. */

import { X509Certificate } from 'node:crypto';
import { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { readPlainFile, readPrivateFile } from '@latchkey/runtime/files';
import { formatEndpoint } from '@latchkey/runtime/net';
import { Client, DatabaseError } from 'pg';
import type { PostgresConfig, PostgresHost } from './config.js';
import { PreparedQuery, type Statement, type StatementColumns, types } from './prepared-query.js';
import type { SqlRow } from './tables.js';

export type { Statement };

/** Until a host has taken a connection, in ms. */
const CONNECT_TIMEOUT_MS = 2_000;
/** Until a host has ended a connection that is closed, in ms. */
const CLOSE_TIMEOUT_MS = 2_000;
/** Of a statement in a message, in characters. */
const SHOWN_LENGTH = 60;
/**
 * Functions of the server that warn, with each transaction ID that they give, that IDs run out.
 * Such a warning is about no commit, and transactions go on.
 */
const GIVE_IDS: ReadonlySet<string | undefined> = new Set(['GetNewTransactionId', 'GetNewMultiXactId']);
/**
 * After 30 s the database drops a connection whose machine is gone, with the locks that it holds.
 * Linux by itself would do so after two hours.
 */
const KEEPALIVE: Readonly<Record<string, string>> = {
  tcp_keepalives_idle: '15',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
};

export interface SqlResult {
  /** `COMMIT`, or `ROLLBACK` where a COMMIT came too late for that. */
  readonly command: string;
  readonly rows: readonly SqlRow[];
  /** When it was here, ms of `Environment.now`. */
  readonly at: number;
}

/**
 * The connection could not be opened, or broke. The request did not take effect, or its outcome is
 * unknown.
 */
export class ConnectionFailure extends Failure {
  override readonly name = 'ConnectionFailure';

  constructor(reason: string) {
    super(`the connection to the database broke: ${reason}`);
  }
}

const NAME_PASSWORD = 'Write it to a file of mode 0600, and name that file with password_file.';
const WRONG_AUTHORITY =
  'Compare tls.ca (ca= in a URL), the certificate of who signs those of the hosts, with the one that signed this host’s.';
export const NO_POOLER = 'Nothing was changed. Name the hosts of PostgreSQL itself: PgBouncer and its like cannot be between.';
const WRONG_ROLE = 'Compare the role and the password file with the role in the database, and with its pg_hba.conf.';
/** What helps, by SQLSTATE or by Node.js's code, where trying again does not. */
const ADVICE: ReadonlyMap<string | undefined, string> = new Map([
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'Name the host as its certificate does, or issue one that has this name.'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', WRONG_AUTHORITY],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', WRONG_AUTHORITY],
  ['SELF_SIGNED_CERT_IN_CHAIN', WRONG_AUTHORITY],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', WRONG_AUTHORITY],
  ['CERT_HAS_EXPIRED', 'Renew the certificate of the host, and look at the clock of this machine.'],
  ['53100', 'Make room on the disk of the database, and try again.'],
  ['28000', WRONG_ROLE],
  ['28P01', WRONG_ROLE],
  ['3D000', 'Check the name of the database, or create it with the role as its owner.'],
  ['42501', 'The role must own the database, or schema `latchkey` and all that is in it.'],
  [
    '53300',
    'Raise max_connections of the database or the limit of the role, or end other clients: each process of Latchkey has three connections, and a fourth at times.',
  ],
]);

/**
 * An error of the PostgreSQL server, by its SQLSTATE. The details about rows are left out, because
 * rows contain keys.
 */
export class DatabaseFailure extends Failure {
  override readonly name = 'DatabaseFailure';
  readonly code: string;

  constructor(message: string, code: string) {
    const advice = ADVICE.get(code);
    super(`the database says: ${message} (${code})`, advice === undefined ? {} : { advice: `Nothing was changed. ${advice}` });
    this.code = code;
  }
}

export function formatHost(host: PostgresHost): string {
  return 'socketFolder' in host ? `${host.socketFolder}:${host.port}` : formatEndpoint(host);
}

/** What a commit with a warning means: it may be on no standby. */
export function describeWarning({ warning }: Pick<Connection, 'warning'>): string {
  return `a commit came with a warning: ${warning}`;
}

export interface ConnectionOptions {
  /** Called once, unless the connection was closed here. */
  readonly onBroken?: (reason: string) => void;
  /**
   * The connection breaks if statements that are sent together are not answered within this, in ms.
   */
  readonly answerTimeoutMs?: number;
}

/** What is read from files for each connection: they may be replaced while a server runs. */
export interface Credentials {
  readonly password: string;
  readonly ssl: { readonly ca: string; readonly cert?: string; readonly key?: string } | false;
}

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|::1)$/;

export async function readCredentials({ passwordFile, tls, hosts }: PostgresConfig): Promise<Credentials> {
  if (tls === undefined) {
    const far = hosts.find((host) => !('socketFolder' in host) && !LOOPBACK.test(host.host));
    if (far !== undefined) {
      throw new UsageFailure(`the database on ${formatHost(far)} would be reached without TLS`, {
        advice:
          'Name the certificate of who signs those of the database’s hosts: tls.ca. Only loopback and Unix sockets go without.',
      });
    }
  }
  const password = passwordFile === undefined ? '' : ((await readPrivateFile(passwordFile)).split('\n')[0] ?? '').trimEnd();
  if (passwordFile !== undefined && password === '')
    throw new UsageFailure(`${passwordFile} has no password on its first line`, { advice: 'Write the password there.' });
  if (tls === undefined) return { password, ssl: false };
  return { password, ssl: await readCertificates(tls) };
}

/** Node.js would ignore an authority that it cannot read, and tell of others without their file. */
async function readCertificates({
  ca,
  cert,
  key,
}: NonNullable<PostgresConfig['tls']>): Promise<Exclude<Credentials['ssl'], false>> {
  const authority = await readPlainFile(ca);
  try {
    createSecureContext({ ca: new X509Certificate(authority).toString() });
  } catch (error) {
    throw new UsageFailure(`${ca}: expected certificates in PEM`, {
      cause: error,
      advice: 'Write the certificate of who signs those of the database’s hosts there.',
    });
  }
  if (cert === undefined || key === undefined) return { ca: authority };
  const pair = { cert: await readPlainFile(cert), key: await readPrivateFile(key) };
  try {
    createSecureContext(pair);
  } catch (error) {
    throw new UsageFailure(`${cert} and ${key} are not a certificate and its key in PEM`, {
      cause: error,
      advice: 'Write the certificate of the role to the one, and its key without a passphrase to the other.',
    });
  }
  return { ca: authority, ...pair };
}

export class Connection {
  readonly #client: Client;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #columns: StatementColumns = new Map();
  #isOpen = false;
  #notices = 0;
  #warning = '';
  #isClosed = false;
  /** Why it was given up here. */
  #brokenBy: string | undefined;
  /** What was sent and has no answer yet, in the order of the answers. */
  readonly #unanswered: Statement[] = [];

  private constructor(client: Client, socket: Socket, options: ConnectionOptions) {
    this.#client = client;
    this.#socket = socket;
    this.#options = options;
    // Without a listener an idle connection that breaks would end the process.
    client.on('error', (error) => this.#broke(describe(error)));
    client.on('end', () => this.#broke('the connection ended'));
    client.on('notice', ({ message, routine }) => {
      // At its start the database may warn of its collation, for example.
      if (!this.#isOpen || GIVE_IDS.has(routine)) return;
      this.#notices += 1;
      this.#warning = message ?? '';
    });
  }

  /**
   * @param settings of the session, from its very start: those of a role could make the first
   *   statement fail
   */
  static async open(
    host: PostgresHost,
    { database, user, patience = 1 }: PostgresConfig,
    { password, ssl }: Credentials,
    settings: Readonly<Record<string, string>>,
    options: ConnectionOptions = {},
  ): Promise<Connection> {
    const socket = new Socket();
    const client = new Client({
      host: 'socketFolder' in host ? host.socketFolder : host.host,
      port: host.port,
      database,
      user,
      // A function, or an empty password would be taken from the environment.
      password: () => password,
      ssl,
      stream: () => socket,
      pipeline: true,
      types,
      client_encoding: 'UTF8',
      application_name: 'latchkey',
      options: Object.entries({ ...('socketFolder' in host ? {} : KEEPALIVE), ...settings })
        .map(([name, value]) => `-c ${name}=${value}`)
        .join(' '),
      connectionTimeoutMillis: patience * CONNECT_TIMEOUT_MS,
      keepAlive: true,
    });
    const connection = new Connection(client, socket, options);
    try {
      await client.connect();
    } catch (error) {
      connection.destroy();
      throw toConnectFailure(error, password);
    }
    connection.#isOpen = true;
    return connection;
  }

  /** Warnings and notices so far that may be about a commit. */
  get notices(): number {
    return this.#notices;
  }

  /** The text of the latest of them. */
  get warning(): string {
    return this.#warning;
  }

  /** The beginning of the statement that has no answer yet. Returns `undefined` if all have one. */
  get waitsFor(): string | undefined {
    return this.#unanswered[0]?.text.trim().replaceAll(/\s+/g, ' ').slice(0, SHOWN_LENGTH);
  }

  /**
   * Sends all statements together. Settles when each has its answer. A failed statement may fail
   * the later ones.
   */
  async send(statements: readonly Statement[]): Promise<PromiseSettledResult<SqlResult>[]> {
    const { answerTimeoutMs } = this.#options;
    if (answerTimeoutMs === undefined) return this.#send(statements);
    const timer = setTimeout(
      () => this.#broke(`it did not answer for ${Math.round(answerTimeoutMs / 1_000)} s`),
      answerTimeoutMs,
    );
    try {
      return await this.#send(statements);
    } finally {
      clearTimeout(timer);
    }
  }

  #send(statements: readonly Statement[]): Promise<PromiseSettledResult<SqlResult>[]> {
    const { stream } = this.#client.connection;
    return new Promise((resolve) => {
      const answers: PromiseSettledResult<SqlResult>[] = [];
      let left = statements.length;
      if (left === 0) resolve(answers);
      // All of them before any is sent: a parameter that cannot be encoded stops all.
      const queries = statements.map(
        (statement, i) =>
          new PreparedQuery(statement, this.#columns, (error, command, rows) => {
            this.#unanswered.shift();
            answers[i] =
              error === undefined
                ? { status: 'fulfilled', value: { command, rows, at: performance.now() } }
                : { status: 'rejected', reason: toFailure(error, this.#brokenBy) };
            left -= 1;
            if (left === 0) resolve(answers);
          }),
      );
      // Sends them in one system call: `pg` by itself makes one for each.
      stream.cork();
      this.#unanswered.push(...statements);
      for (const query of queries) this.#client.query(query);
      stream.uncork();
    });
  }

  /** As `send`; fails with the first that failed. */
  async run(...statements: readonly Statement[]): Promise<SqlResult[]> {
    return resultsOf(await this.send(statements));
  }

  /** Says goodbye. Does not wait for long for a host that does not answer. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS);
    await this.#client.end().catch(() => undefined);
    clearTimeout(timer);
    this.#socket.destroy();
  }

  /** Fails all pending requests at once, with this reason, and sends nothing more. */
  destroy(reason?: string): void {
    this.#isClosed = true;
    this.#brokenBy ??= reason;
    this.#socket.destroy();
  }

  #broke(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#brokenBy = reason;
    this.#socket.destroy();
    if (this.#isOpen) this.#options.onBroken?.(reason);
  }
}

export function resultsOf(settled: readonly PromiseSettledResult<SqlResult>[]): SqlResult[] {
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

function toFailure(error: unknown, brokenBy: string | undefined): Failure {
  const { code, message } = error as DatabaseError;
  if (error instanceof DatabaseError && code !== undefined) return new DatabaseFailure(message, code);
  return new ConnectionFailure(brokenBy ?? describe(error));
}

function toConnectFailure(error: unknown, password: string): Failure {
  const { code, message } = error as DatabaseError;
  // The library speaks of a message of the protocol.
  if (password === '' && message.startsWith('SASL: '))
    return new Failure('it asks for a password, and none is named', { advice: `Nothing was changed. ${NAME_PASSWORD}` });
  if (code === '08P01') return new Failure(message, { advice: NO_POOLER });
  const advice = ADVICE.get(code);
  return new Failure(describe(error), advice === undefined ? {} : { advice: `Nothing was changed. ${advice}` });
}

function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join('; ');
  const { message, code } = error as NodeJS.ErrnoException;
  return message === '' ? (code ?? 'no reason was given') : message;
}
