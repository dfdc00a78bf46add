/**
 * The database that a process works with: finds the host that takes writes, and checks that it is
 * the registry that was seen before, with all of its entries.
 */

import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { Log } from '@latchkey/runtime/daemon';
import { formatHead, headOf } from '../audit-chain.js';
import { Unavailable } from '../storage.js';
import type { PostgresConfig, PostgresHost } from './config.js';
import { describeWarning, formatHost, type SqlResult, type Statement } from './connection.js';
import { DatabaseClock } from './database-clock.js';
import { DatabaseMetrics } from './database-metrics.js';
import { type DatabaseConnection, type Environment, MACHINE } from './environment.js';
import type { LastSeen } from './last-seen.js';
import { describeLoss, fetchSeenEntry, lost, refuseOtherCluster, refuseOtherRegistry } from './loss.js';
import type { Metadata } from './row-caches.js';
import { checkSchema, READ_TIMEOUT_MS, readsSchema, Session, STANDBY_NAMES } from './session.js';
import { fetching, KeySet, type Rows } from './snapshot.js';

/** In a separate transaction it makes the commit wait for the standby. It also reads the clock. */
export const BARRIER: Statement = {
  name: 'barrier',
  text: `SELECT pg_logical_emit_message(true, 'latchkey', '') IS NOT NULL AS emitted,
    (extract(epoch FROM clock_timestamp()) * 1000)::double precision AS now`,
};
export const BEGIN_READ: Statement = { name: 'begin read', text: 'BEGIN ISOLATION LEVEL REPEATABLE READ' };
export const COMMIT: Statement = { name: 'commit', text: 'COMMIT' };

const MARK_LOST = 'UPDATE latchkey.registry SET lost = $1 WHERE lost IS NULL';

export class Engine {
  readonly config: PostgresConfig;
  readonly log: Log;
  readonly clock: DatabaseClock;
  readonly patience: number;
  readonly lastSeen: LastSeen;
  readonly environment: Environment;
  readonly metrics: DatabaseMetrics = new DatabaseMetrics();
  /** The last good one first. */
  #hosts: readonly PostgresHost[];
  #session: Session | undefined;
  #connecting: Promise<Session> | undefined;
  /** What ends all work of this process. */
  #fault: string | undefined;
  #epoch: number | undefined;
  /** As they were last read or written, whatever the connection. */
  metadata: Metadata = { number: 0, values: new Map() };
  #isClosed = false;

  constructor(config: PostgresConfig, lastSeen: LastSeen, log: Log, environment: Environment = MACHINE) {
    this.config = config;
    this.patience = config.patience ?? 1;
    this.clock = new DatabaseClock(this.patience, environment);
    this.environment = environment;
    this.log = log;
    this.lastSeen = lastSeen;
    this.#hosts = config.hosts;
  }

  /** Why this process answers nothing. Returns `undefined` if no fault is known. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** From here on nothing is answered. */
  fail(fault: string): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    this.log.error({ advice: 'docs/OPERATIONS.md, "Several auth-servers".' }, fault);
    this.#session?.destroy(fault);
  }

  /** The session that is open, or a new one. */
  session(): Promise<Session> {
    if (this.#fault !== undefined) return Promise.reject(unavailable(this.#fault));
    if (this.#isClosed) return Promise.reject(unavailable('the registry was closed'));
    if (this.#session !== undefined && this.#session.brokenBy === undefined) return Promise.resolve(this.#session);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  /** Opens a separate connection to the server that this process works with. */
  async separateConnection(): Promise<DatabaseConnection> {
    const session = await this.session();
    try {
      return await session.another();
    } catch (error) {
      if (error instanceof UsageFailure || !(error instanceof Failure)) throw error;
      throw unavailable(error.message, error.advice);
    }
  }

  /** The place that this process works with, if it is connected. */
  get connected(): Session | undefined {
    return this.#session?.brokenBy === undefined ? this.#session : undefined;
  }

  /**
   * Validates the registry row of a read or a write.
   *
   * @throws Unavailable if no answer may be given from it
   */
  accept(rows: Rows): void {
    const { registry } = rows;
    this.clock.catchUp(rows.arrivedAt, rows.wallMs);
    const { seen } = this.lastSeen;
    if (seen !== undefined && registry.id !== seen.registry) this.fail('the database holds another registry than before');
    // `upgrade` does not wait for a server that it has not heard of for 10 s.
    if (!readsSchema(registry.schema)) {
      this.fail(`the database has schema ${registry.schema} now, which this version does not read: start the later version`);
    }
    this.#epoch ??= registry.epoch;
    if (registry.epoch !== this.#epoch) {
      this.fail('somebody has let the registry go on without entries that it lost: this process has to start anew');
    }
    if (this.#fault !== undefined) throw unavailable(this.#fault);
    if (registry.lost !== undefined) throw lost(registry.lost);
  }

  /**
   * Stores rows that were read behind a barrier, or written and acknowledged. No failover undoes
   * them.
   */
  keep(session: Session, rows: Rows): void {
    if (rows.metadataNumber > session.caches.metadata.number) {
      session.caches.metadata = rows.metadataNow;
      this.metadata = rows.metadataNow;
    }
    this.lastSeen.note({
      registry: rows.registry.id,
      system: session.place.system,
      epoch: rows.registry.epoch,
      head: headOf(rows.head),
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#connecting?.catch(() => undefined);
    await this.#session?.close();
    this.#session = undefined;
  }

  async #connect(): Promise<Session> {
    if (this.#session?.brokenBy !== undefined)
      this.log.warn({ host: formatHost(this.#session.place.host) }, `the database is gone: ${this.#session.brokenBy}`);
    this.#session = undefined;
    const reasons: string[] = [];
    let advised: Failure | undefined;
    for (const host of this.#hosts) {
      let session: Session | undefined;
      try {
        session = await Session.open(host, this.config, this.environment);
        await this.#check(session);
        this.#hosts = [host, ...this.#hosts.filter((other) => other !== host)];
        this.#session = session;
        const { timeline } = session.place;
        const { head } = this.lastSeen.seen ?? {};
        this.log.info({ host: formatHost(host), timeline, head: head && formatHead(head) }, 'connected to the database');
        return session;
      } catch (error) {
        session?.destroy('it was refused');
        // The next one is tried first.
        this.#hosts = [...this.#hosts.filter((other) => other !== host), host];
        if (error instanceof UsageFailure || !(error instanceof Failure)) throw error;
        if (this.#fault !== undefined) throw unavailable(this.#fault);
        reasons.push(`${formatHost(host)}: ${error.message}`);
        // For example a host that lost entries.
        if (error.advice !== undefined) advised ??= error;
      }
    }
    const advice =
      advised?.advice ??
      'Nothing was changed. Check the hosts, and what each says of itself. Requests are answered again as soon as one serves.';
    throw new Unavailable(`no host of the database serves: ${reasons.join('; ')}`, { advice, run: advised?.run ?? [] });
  }

  /** Whether it is the registry that was seen before, and a standby is there. */
  async #check(session: Session): Promise<void> {
    const { seen } = this.lastSeen;
    const { place } = session;
    refuseOtherCluster(seen, place.system, formatHost(place.host));
    const { statements, take } = fetching(new KeySet(), session.caches);
    const sentAt = this.environment.now();
    const work = session.reader.run(BEGIN_READ, BARRIER, fetchSeenEntry(seen), ...statements, COMMIT, STANDBY_NAMES);
    const answers = await session.within(READ_TIMEOUT_MS, 'a commit that waits for a standby', work);
    const [, barrier, hash, ...results] = answers;
    if (session.reader.notices > 0) throw new Failure(describeWarning(session.reader));
    // The names may have been emptied since the session began, which ends the wait without a
    // standby.
    const fault = session.standbyFault(answers.at(-1)?.rows[0]?.['names']);
    if (fault !== undefined) throw new Failure(fault);
    const rows = take(results);
    const { registry } = rows;
    checkSchema(registry.schema, this.config.database);
    refuseOtherRegistry(this.lastSeen, registry.id, this.config.database);
    if (registry.lost !== undefined) throw lost(registry.lost);
    const missing = describeLoss(seen, rows, hash?.rows[0]?.['hash']);
    if (missing !== undefined) {
      await session.within(READ_TIMEOUT_MS, 'a write', session.writer.run({ text: MARK_LOST, values: [missing] }));
      throw lost(missing);
    }
    this.observeClock(sentAt, barrier);
    this.accept(rows);
    this.keep(session, rows);
  }

  observeClock(sentAt: number, barrier: SqlResult | undefined): void {
    if (barrier !== undefined) this.clock.observe(sentAt, barrier.at, barrier.rows[0]?.['now'] as number);
  }
}

export function unavailable(why: string, advice: string = 'Nothing was changed. Try again.'): Unavailable {
  return new Unavailable(`the registry cannot be asked: ${why}`, { advice });
}
