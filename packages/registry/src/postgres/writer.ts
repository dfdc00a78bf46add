/**
 * Writes in batches: all that wait share one transaction of two halves. The first half locks the
 * row that all writes lock, and reads the rows that the writes name. Each write is then decided
 * here. The second half writes and commits. If the second half is late, the database has already
 * ended the transaction.
 */

import { Failure } from '@latchkey/runtime/failure';
import { InDoubt, type Keys } from '../storage.js';
import { Changes } from './changes.js';
import { DatabaseFailure, describeWarning, type SqlResult, type Statement } from './connection.js';
import { COMMIT, type Engine, unavailable } from './engine.js';
import { asUnavailable } from './reader.js';
import { type Session, STANDBY_NAMES, WRITE_TIMEOUT_MS } from './session.js';
import { fetching, KeySet, NotFetched, type Rows } from './snapshot.js';

/**
 * Writes in one transaction, keys in it, and writes that wait; at the last bound they are refused.
 */
const MAX_BATCH = 256;
const MAX_KEYS = 16_384;
const MAX_WAITING = 4_096;
/** Attempts of a write that accesses keys which it did not name. */
const MAX_ATTEMPTS = 4;

// The level is named: by another default the entry before would be an old one.
const BEGIN = { name: 'begin write', text: 'BEGIN ISOLATION LEVEL READ COMMITTED' };
const LOCK = { name: 'lock', text: 'SELECT one FROM latchkey.registry FOR UPDATE' };
const ROLLBACK = { text: 'ROLLBACK' };

/** What one write does, once all writes before it are seen. */
export interface Work<T> {
  readonly keys: Keys;
  /** Further statements of this write in the first half. */
  readonly asks?: readonly Statement[];
  /** Adds to the changes of the batch. What it throws fails this write only. */
  decide(
    rows: Rows,
    answers: readonly SqlResult[],
    changes: Changes,
  ): { readonly result: T; readonly statements?: readonly Statement[] };
}

interface Request {
  work: Work<unknown>;
  attempts: number;
  readonly since: number;
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

export class Writer {
  readonly #engine: Engine;
  readonly #now: () => number;
  #waiting: Request[] = [];
  #isRunning = false;
  /** Versions of the orders that this process has left pending. */
  readonly pendingOrders: Map<number, number> = new Map<number, number>();

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#now = engine.environment.now;
  }

  write<T>(work: Work<T>): Promise<T> {
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(unavailable(`${MAX_WAITING} writes wait already`));
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, attempts: 0, since: this.#now(), resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  /**
   * Holds the lock of all writes for a moment.
   *
   * @throws Unavailable also where writes of the same transaction are in doubt: it changes nothing
   */
  async holdLock(): Promise<void> {
    try {
      await this.write({ keys: {}, decide: () => ({ result: undefined }) });
    } catch (error) {
      throw error instanceof InDoubt ? unavailable(error.message) : error;
    }
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      try {
        const session = await this.#engine.session();
        const batch = this.#take();
        const late = batch.filter(({ since }) => this.#now() - since > WRITE_TIMEOUT_MS * this.#engine.patience);
        for (const { reject } of late) reject(unavailable('a write waited for more than 8 s'));
        await this.#batch(
          session,
          batch.filter((request) => !late.includes(request)),
        );
      } catch (error) {
        for (const { reject } of this.#waiting.splice(0)) reject(asUnavailable(error));
      }
    }
    this.#isRunning = false;
  }

  #take(): Request[] {
    let keys = 0;
    let count = 0;
    for (const { work } of this.#waiting) {
      for (const named of Object.values(work.keys)) keys += (named as readonly unknown[]).length;
      if (count > 0 && keys > MAX_KEYS) break;
      count += 1;
      if (count === MAX_BATCH) break;
    }
    return this.#waiting.splice(0, count);
  }

  /** Settles each of them, or puts it in front of those that wait. */
  async #batch(session: Session, batch: readonly Request[]): Promise<void> {
    const startedAt = this.#now();
    try {
      const { rows, answers } = await this.#firstHalf(session, batch);
      await this.#secondHalf(session, batch, rows, answers, startedAt);
    } catch (error) {
      const failure = asUnavailable(error);
      for (const { reject } of batch) reject(failure);
    }
  }

  async #firstHalf(session: Session, batch: readonly Request[]): Promise<{ rows: Rows; answers: readonly SqlResult[] }> {
    const keys = new KeySet();
    const asks: Statement[] = [];
    for (const { work } of batch) {
      keys.add(work.keys);
      if (work.asks !== undefined) asks.push(...work.asks);
    }
    const { statements, take } = fetching(keys, session.caches);
    const sentAt = this.#now();
    try {
      const work = session.writer.run(BEGIN, LOCK, ...statements, ...asks);
      const [, , ...results] = await session.within(WRITE_TIMEOUT_MS, 'a write', work);
      session.lockHeldAt = sentAt;
      const rows = take(results.slice(0, statements.length));
      session.lockHeldWallMs = rows.wallMs;
      this.#engine.accept(rows);
      return { rows, answers: results.slice(statements.length) };
    } catch (error) {
      await this.#rollBack(session);
      throw error;
    }
  }

  async #secondHalf(
    session: Session,
    batch: readonly Request[],
    rows: Rows,
    answers: readonly SqlResult[],
    startedAt: number,
  ): Promise<void> {
    const changes = new Changes(rows);
    const decided: { readonly request: Request; readonly result: unknown }[] = [];
    const others: Statement[] = [];
    const again: Request[] = [];
    let at = 0;
    for (const request of batch) {
      const mine = answers.slice(at, (at += request.work.asks?.length ?? 0));
      try {
        const { result, statements = [] } = request.work.decide(rows, mine, changes);
        others.push(...statements);
        decided.push({ request, result });
      } catch (error) {
        request.attempts += 1;
        if (error instanceof NotFetched && request.attempts < MAX_ATTEMPTS) {
          // An earlier write of the batch changed which keys this write accesses. It is repeated
          // with these keys.
          request.work = { ...request.work, keys: merge(request.work.keys, error.keys) };
          again.push(request);
        } else request.reject(error);
      }
    }
    this.#waiting.unshift(...again);
    const requests = decided.map(({ request }) => request);
    const { pendingOrders } = changes;
    const { notices } = session.writer;
    let statements: Statement[];
    let settled: PromiseSettledResult<SqlResult>[];
    try {
      statements = [...changes.statements, ...others];
      // Also where nothing changes: what was decided is answered from what the standby has too.
      const work = session.writer.send([...statements, COMMIT, STANDBY_NAMES]);
      settled = await session.within(
        Math.max(1, WRITE_TIMEOUT_MS - (this.#now() - startedAt) / this.#engine.patience),
        'a write',
        work,
      );
    } catch (error) {
      // Something in it cannot be encoded: nothing was sent, and the transaction is open still.
      await this.#rollBack(session);
      await this.#rolledBack(session, requests, error);
      return;
    }
    const [commit, names] = settled.slice(-2);

    if (commit?.status === 'fulfilled' && commit.value.command === 'ROLLBACK') {
      const cause = settled.find((one) => one.status === 'rejected')?.reason as unknown;
      await this.#rolledBack(session, requests, cause);
      return;
    }
    const fault =
      commit?.status !== 'fulfilled' || names?.status !== 'fulfilled'
        ? (session.brokenBy ?? 'it did not answer')
        : session.writer.notices === notices
          ? session.standbyFault(names.value.rows[0]?.['names'])
          : describeWarning(session.writer);
    if (fault !== undefined) {
      session.destroy(fault);
      const failure = statements.length === 0 ? unavailable(fault) : inDoubt(fault);
      if (failure instanceof InDoubt) this.#engine.metrics.inDoubt += decided.length;
      for (const { request } of decided) request.reject(failure);
      return;
    }
    this.#engine.keep(session, rows);
    this.#notePending(pendingOrders);
    for (const { request, result } of decided) {
      this.#engine.metrics.writes.observe(this.#now() - request.since);
      request.resolve(result as never);
    }
  }

  async #rollBack(session: Session): Promise<void> {
    if (session.brokenBy === undefined) await session.within(WRITE_TIMEOUT_MS, 'a rollback', session.writer.send([ROLLBACK]));
  }

  /** Nothing happened. If it was for one write's sake, the others are done without it. */
  async #rolledBack(session: Session, requests: readonly Request[], cause: unknown): Promise<void> {
    const isOfOne = cause instanceof DatabaseFailure || (cause !== undefined && !(cause instanceof Failure));
    if (requests.length > 1 && isOfOne && session.brokenBy === undefined) {
      for (const request of requests) await this.#batch(session, [request]);
      return;
    }
    const failure = cause ?? unavailable('the database rolled the write back');
    for (const { reject } of requests) reject(failure);
  }

  /** One order at a time is loaded; at the bound the oldest is evicted. */
  #notePending(orders: readonly (readonly [number, number])[]): void {
    for (const [number, version] of orders) {
      this.pendingOrders.delete(number);
      this.pendingOrders.set(number, version);
      if (this.pendingOrders.size > 64) this.pendingOrders.delete(this.pendingOrders.keys().next().value ?? 0);
    }
  }
}

function merge(keys: Keys, more: Keys): Keys {
  const merged: Record<string, readonly unknown[] | undefined> = { ...keys };
  for (const [name, named] of Object.entries(more) as [string, readonly unknown[]][])
    merged[name] = [...(merged[name] ?? []), ...named];
  return merged;
}

function inDoubt(why: string): InDoubt {
  return new InDoubt(`it is not known whether the registry took the change: ${why}`, {
    advice: 'It may have happened. Look whether it did before you try again.',
  });
}
