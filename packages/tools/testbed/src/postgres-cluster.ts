/**
 * One PostgreSQL server, or three of which two are synchronous standbys (`ANY 1`), on loopback and
 * in a folder of their own.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freeTcpPort } from './network.js';
import { pollUntil } from './poll-until.js';
import {
  copyServerFolder,
  giveToPostgres,
  HAS_POSTGRES,
  initialize,
  PostgresServer,
  runPostgresProgram,
} from './postgres-server.js';

export const DATABASE = 'latchkey';
/** The role that owns the database, and its password. */
const ROLE = 'latchkey';
const PASSWORD = 'of a test on loopback';

/** How far a standby is: it has everything before `lsn` of `timeline`. */
interface Position {
  readonly server: PostgresServer;
  readonly timeline: number;
  readonly lsn: bigint;
}

export class PostgresCluster {
  static readonly AVAILABLE: boolean = HAS_POSTGRES;

  readonly folder: string;
  /** All of them, in a fixed order. */
  readonly servers: readonly PostgresServer[];
  #primary: PostgresServer;

  private constructor(folder: string, servers: readonly PostgresServer[], primary: PostgresServer) {
    this.folder = folder;
    this.servers = servers;
    this.#primary = primary;
  }

  /** An empty database on one machine or three, which answer. */
  static async start(size: 1 | 3 = 1): Promise<PostgresCluster> {
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-postgres-'));
    await giveToPostgres(folder);
    const servers: PostgresServer[] = [];
    for (let i = 1; i <= size; i++) servers.push(new PostgresServer(`db${i}`, join(folder, `db${i}`), await freeTcpPort()));
    const [primary, ...standbys] = servers as [PostgresServer, ...PostgresServer[]];
    const cluster = new PostgresCluster(folder, servers, primary);
    try {
      await writeFile(cluster.passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
      await initialize(primary.folder);
      // Nothing runs on it yet: a copy of its files is a base backup.
      for (const standby of standbys) await copyServerFolder(primary.folder, standby.folder);
      for (const server of servers) await server.nameStandbys(servers.filter((other) => other !== server));
      for (const standby of standbys) await standby.becomeStandby(primary);
      await Promise.all(servers.map((server) => server.start()));
      await primary.sql(`CREATE ROLE ${ROLE} LOGIN PASSWORD '${PASSWORD}'`);
      await primary.sql(`CREATE DATABASE ${DATABASE} OWNER ${ROLE}`);
    } catch (error) {
      await cluster.remove();
      throw error;
    }
    return cluster;
  }

  /** Where writes go: the first server, or the one that was promoted last. */
  get primary(): PostgresServer {
    return this.#primary;
  }

  get standbys(): readonly PostgresServer[] {
    return this.servers.filter((server) => server !== this.#primary);
  }

  /** As `--data` has it. `addresses`: HOST:PORT of each that is to be tried. */
  url(addresses: readonly string[] = this.servers.map(({ address }) => address)): string {
    return `postgres://${ROLE}@${addresses.join(',')}/${DATABASE}`;
  }

  /** Has the password of the role that owns the database. */
  get passwordFile(): string {
    return join(this.folder, 'password');
  }

  /** SQL on the primary, in the registry's database. */
  sql(statement: string): Promise<string[]> {
    return this.#primary.sql(statement, DATABASE);
  }

  /**
   * What Patroni does, or an operator by hand. All standbys stop receiving, which ends what an old
   * primary could still acknowledge; the one that has received most is promoted, and the others
   * follow it. The old primary is left as it is.
   */
  async promote(): Promise<PostgresServer> {
    const { standbys } = this;
    const positions: Position[] = [];
    for (const standby of standbys) await standby.follow(undefined);
    for (const standby of standbys) positions.push(await positionOf(standby));
    const [latest] = positions.toSorted((a, b) => b.timeline - a.timeline || (b.lsn > a.lsn ? 1 : b.lsn < a.lsn ? -1 : 0));
    if (latest === undefined) throw new Error('there is no standby to promote');
    const { server } = latest;
    const formerPrimary = this.#primary;
    await this.promoteOnly(server);
    for (const standby of this.standbys) if (standby !== formerPrimary) await standby.follow(server);
    return server;
  }

  /** Promotes a standby, whatever it has received. Nobody follows it. */
  async promoteOnly(server: PostgresServer): Promise<void> {
    const [isPromoted] = await server.sql('SELECT pg_promote(true, 180)');
    if (isPromoted !== 't') throw new Error(`${server.name} was not promoted:\n${server.lines.join('\n')}`);
    this.#primary = server;
  }

  /** Makes of a server that is down a standby of the primary, from a base backup. */
  async rejoin(server: PostgresServer): Promise<void> {
    await server.remove();
    const connection = `host=127.0.0.1 port=${this.#primary.port} user=postgres`;
    await runPostgresProgram('pg_basebackup', [
      `--dbname=${connection}`,
      `--pgdata=${server.folder}`,
      '--checkpoint=fast',
      '--wal-method=stream',
      '--no-sync',
    ]);
    await server.nameStandbys(this.servers.filter((other) => other !== server));
    await server.becomeStandby(this.#primary);
    await server.start();
  }

  /** Waits until so many standbys receive from the primary. */
  async untilStreaming(count: number = this.standbys.length): Promise<void> {
    await pollUntil(
      async () => Number((await this.#primary.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))[0]),
      (streaming) => streaming >= count,
    );
  }

  /** Ends all servers, also those that hang, and removes the folder. */
  async remove(): Promise<void> {
    await Promise.allSettled(this.servers.map((server) => server.remove()));
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Waits until it receives nothing more, and has replayed what it received. */
async function positionOf(standby: PostgresServer): Promise<Position> {
  const bytes = (lsn: string): string => `coalesce(pg_wal_lsn_diff(${lsn}, '0/0'), 0)`;
  // The position that was received is NULL after a restart. The last record may be there by half,
  // and is never replayed: replay has ended once it waits for more.
  const statement = `SELECT (SELECT count(*) FROM pg_stat_wal_receiver) = 0 AND EXISTS (SELECT FROM pg_stat_activity
        WHERE backend_type = 'startup' AND wait_event IN ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream')),
      greatest(${bytes('pg_last_wal_receive_lsn()')}, ${bytes('pg_last_wal_replay_lsn()')}),
      greatest((SELECT timeline_id FROM pg_control_checkpoint()), (SELECT min_recovery_end_timeline FROM pg_control_recovery()))`;
  const [, lsn = '0', timeline] = await pollUntil(
    async () => (await standby.sql(statement))[0]?.split('|') ?? [],
    ([hasEnded]) => hasEnded === 't',
  );
  return { server: standby, timeline: Number(timeline), lsn: BigInt(lsn) };
}
