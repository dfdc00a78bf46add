/**
 * One PostgreSQL server of Debian's package on loopback, with a data folder of its own. It ends
 * with this process, however this process ends.
 */

import { type ChildProcessByStdio, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, chown, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { pollUntil } from './poll-until.js';

const run = promisify(execFile);

const VERSIONS = '/usr/lib/postgresql';
/** PostgreSQL refuses to run as root; Debian's package makes this user. */
const USER = 'postgres';
/** For whatever a server is waited for, in ms. */
const DEADLINE_MS = 180_000;

/** No autovacuum, statistics or checkpoints beside what a test does. */
const CONFIGURATION = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 8MB
dynamic_shared_memory_type = mmap
wal_keep_size = 64MB
min_wal_size = 16MB
wal_retrieve_retry_interval = 100ms
checkpoint_timeout = 1h
autovacuum = off
jit = off
lc_messages = C
hot_standby_feedback = off
include_if_exists = 'standbys.conf'
include_if_exists = 'replication.conf'
`;

/** The superuser is trusted; everybody else proves a password. */
const ACCESS = `
host all ${USER} 127.0.0.1/32 trust
host replication ${USER} 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
`;

/** The programs of the newest version that is installed. */
function findBinaries(): string | undefined {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).toSorted((a, b) => Number(b) - Number(a)) : [];
  return versions.map((version) => join(VERSIONS, version, 'bin')).find((folder) => existsSync(join(folder, 'initdb')));
}

const BINARIES = findBinaries();
const ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC' };
const IS_ROOT = process.getuid?.() === 0;
const OWNER = IS_ROOT ? userIds() : undefined;

/** Whether PostgreSQL is installed here, and can be run by this user. */
export const HAS_POSTGRES: boolean =
  BINARIES !== undefined && (!IS_ROOT || OWNER !== undefined) && spawnSync('setpriv', ['--version']).status === 0;

function userIds(): { readonly uid: number; readonly gid: number } | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, USER], { encoding: 'utf8' }));
  if (uid?.status !== 0 || gid?.status !== 0) return undefined;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

/**
 * Runs one of PostgreSQL's programs to its end as the user it runs as, and gives what it printed.
 */
export function runPostgresProgram(name: string, args: readonly string[]): Promise<string> {
  return runAsOwner(join(BINARIES ?? '', name), args);
}

async function runAsOwner(path: string, args: readonly string[]): Promise<string> {
  const { stdout } = await run(path, args, { ...OWNER, cwd: '/', env: { PATH: process.env['PATH'], ...ENVIRONMENT } });
  return stdout;
}

/** Copies the folder of a server that is down. */
export async function copyServerFolder(from: string, to: string): Promise<void> {
  await runAsOwner('cp', ['-a', from, to]);
}

/** Gives a file or folder to the user that PostgreSQL runs as. */
export async function giveToPostgres(path: string): Promise<void> {
  if (OWNER !== undefined) await chown(path, OWNER.uid, OWNER.gid);
}

/** Makes a new data folder, with a superuser who needs no password. */
export async function initialize(folder: string): Promise<void> {
  const settings = ['--username', USER, '--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C', '--wal-segsize', '1'];
  // What is made here is synced by nobody: a test that cuts the power makes its own folder.
  await runPostgresProgram('initdb', ['--pgdata', folder, '--no-sync', '--no-instructions', ...settings]);
  await appendFile(join(folder, 'postgresql.conf'), CONFIGURATION);
  await writeFile(join(folder, 'pg_hba.conf'), ACCESS);
}

/** Runs SQL as the superuser, and gives the rows, each with `|` between its columns. */
export async function runSql(address: string, statement: string, database: string): Promise<string[]> {
  const [host, port] = address.split(':');
  const printed = await runPostgresProgram('psql', [
    '--no-psqlrc',
    '--quiet',
    '--no-align',
    '--tuples-only',
    '--set=ON_ERROR_STOP=1',
    `--dbname=host=${host} port=${port} user=${USER} dbname=${database} sslmode=disable gssencmode=disable connect_timeout=60`,
    `--command=${statement}`,
  ]);
  return printed.split('\n').filter((line) => line !== '');
}

export class PostgresServer {
  /** As in `synchronous_standby_names`. */
  readonly name: string;
  readonly folder: string;
  readonly port: number;
  /** Everything it has logged. */
  readonly lines: string[] = [];
  #process: ChildProcessByStdio<null, null, Readable> | undefined;
  /** Processes that `pause` stopped. */
  #paused: readonly number[] = [];

  constructor(name: string, folder: string, port: number) {
    this.name = name;
    this.folder = folder;
    this.port = port;
  }

  /** HOST:PORT */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Starts it as whatever its folder says, and waits until it answers, be it to reads only. */
  async start(): Promise<void> {
    const user = OWNER === undefined ? [] : ['--reuid', String(OWNER.uid), '--regid', String(OWNER.gid), '--clear-groups'];
    const server = [join(BINARIES ?? '', 'postgres'), '-D', this.folder, '-p', String(this.port)];
    const child = spawn('setpriv', [...user, '--pdeathsig', 'KILL', '--', ...server], {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: '/',
      env: ENVIRONMENT,
    });
    this.#process = child;
    child.once('exit', () => {
      if (this.#process === child) this.#process = undefined;
    });
    const from = this.lines.length;
    createInterface({ input: child.stderr }).on('line', (line) => this.lines.push(line));
    const isReady = (): boolean =>
      this.lines.slice(from).some((line) => / ready to accept (?:read-only )?connections/.test(line));
    await pollUntil(
      () => isReady() || child.exitCode !== null || child.signalCode !== null,
      (done) => done,
      DEADLINE_MS,
    );
    if (!isReady()) throw new Error(`PostgreSQL ${this.name} did not start:\n${this.lines.slice(from).join('\n')}`);
  }

  /** The machine loses its power: every process at once, and nothing is cleared up. */
  async kill(): Promise<void> {
    const [server, ...others] = this.#freeze();
    if (server === undefined) return;
    const ended = this.#ended();
    for (const pid of [...others, server]) sendSignal(pid, 'SIGKILL');
    this.#paused = [];
    await ended;
    // A new server refuses a folder that a process of the old one still uses.
    await pollUntil(
      () => others.filter((pid) => existsSync(`/proc/${pid}/fd/0`)),
      (left) => left.length === 0,
      DEADLINE_MS,
    );
  }

  /** The machine hangs: connections stay open, and nothing is answered. */
  pause(): void {
    this.#paused = this.#freeze();
  }

  resume(): void {
    for (const pid of this.#paused.toReversed()) sendSignal(pid, 'SIGCONT');
    this.#paused = [];
  }

  /** An orderly end, without waiting for clients. */
  async stop(): Promise<void> {
    if (this.#process === undefined) return;
    this.resume();
    const ended = this.#ended();
    this.#process.kill('SIGINT');
    await ended;
  }

  /** Ends it by the shortest way that leaves no shared memory behind, and removes its folder. */
  async remove(): Promise<void> {
    if (this.#process !== undefined) {
      this.resume();
      const ended = this.#ended();
      this.#process.kill('SIGQUIT');
      await ended;
    }
    this.#removeSharedMemory();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** As `runSql`. */
  sql(statement: string, database: string = USER): Promise<string[]> {
    return runSql(this.address, statement, database);
  }

  /**
   * Changes settings that need no restart, and waits until they are in force; `undefined`: the
   * default.
   */
  async set(settings: Readonly<Record<string, string | undefined>>): Promise<void> {
    const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
    for (const [name, value] of Object.entries(settings))
      await this.sql(value === undefined ? `ALTER SYSTEM RESET ${name}` : `ALTER SYSTEM SET ${name} = ${literal(value)}`);
    this.#reload();
    for (const [name, value] of Object.entries(settings))
      if (value !== undefined)
        await pollUntil(
          () => this.sql(`SELECT current_setting(${literal(name)}) = ${literal(value)}`),
          ([isInForce]) => isInForce === 't',
          DEADLINE_MS,
        );
  }

  /**
   * Receives from `primary` from now on, or once it is started, as a standby; `undefined`: from
   * nobody. Of a server that runs as a primary it changes nothing but what is in its folder.
   */
  async follow(primary: PostgresServer | undefined): Promise<void> {
    const connection = `host=127.0.0.1 port=${primary?.port} user=${USER} application_name=${this.name} connect_timeout=5`;
    await this.#write('replication.conf', primary === undefined ? '' : `primary_conninfo = '${connection}'\n`);
    this.#reload();
  }

  /**
   * Names those of whom one is to have each commit before it is acknowledged, where this is the
   * primary.
   */
  async nameStandbys(standbys: readonly PostgresServer[]): Promise<void> {
    const names = standbys.length === 0 ? '' : `ANY 1 (${standbys.map(({ name }) => name).join(', ')})`;
    await this.#write('standbys.conf', `synchronous_standby_names = '${names}'\n`);
  }

  /** Makes its folder, which holds a copy of a primary's, that of a standby. */
  async becomeStandby(primary: PostgresServer): Promise<void> {
    await this.#write('standby.signal', '');
    await this.follow(primary);
  }

  async #write(name: string, text: string): Promise<void> {
    const path = join(this.folder, name);
    await writeFile(path, text);
    await giveToPostgres(path);
  }

  /** A signal has no answer: who needs the effect waits for it. */
  #reload(): void {
    this.#process?.kill('SIGHUP');
  }

  /**
   * Stops all of its processes, so that none can start another meanwhile. The server comes first.
   */
  #freeze(): readonly number[] {
    if (this.#process?.pid === undefined) return [];
    const { pid } = this.#process;
    sendSignal(pid, 'SIGSTOP');
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    for (const child of children) sendSignal(child, 'SIGSTOP');
    return [pid, ...children];
  }

  async #ended(): Promise<void> {
    if (this.#process !== undefined) await once(this.#process, 'exit', { signal: AbortSignal.timeout(DEADLINE_MS) });
  }

  /** A server that was killed leaves a segment of System V, which its next start would remove. */
  #removeSharedMemory(): void {
    const path = join(this.folder, 'postmaster.pid');
    if (!existsSync(path)) return;
    const id = readFileSync(path, 'utf8').split('\n')[6]?.trim().split(/\s+/)[1];
    if (id !== undefined) spawnSync('ipcrm', ['--shmem-id', id]);
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
