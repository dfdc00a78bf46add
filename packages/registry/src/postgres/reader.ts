/**
 * Reads that prove themselves. Each batch also writes to the log of the database, and its commit
 * waits for the standby: so all that it saw is on the standby too, and no failover takes it back. A
 * plain read can show a key that is lost a moment later.
 */

import type { Keys } from '../storage.js';
import { ConnectionFailure, DatabaseFailure, describeWarning, resultsOf } from './connection.js';
import { BARRIER, BEGIN_READ, COMMIT, type Engine, unavailable } from './engine.js';
import { READ_TIMEOUT_MS, type Session, STANDBY_NAMES } from './session.js';
import { fetching, KeySet, type Rows } from './snapshot.js';

/** Reads in one batch, and reads that wait; at the bound they are refused. */
const MAX_BATCH = 256;
const MAX_WAITING = 4_096;
/**
 * Nothing is answered unless this process has held the row that all writes lock within this, in
 * ms: a write of before that was on its way for longer holds it until it takes effect.
 */
const LOCK_VALID_MS = 5_000;
/** From here on the lock is taken before a read, in ms. */
const LOCK_AGAIN_MS = 4_000;

interface Request {
  readonly keys: Keys;
  readonly resolve: (found: Rows) => void;
  readonly reject: (error: unknown) => void;
}

export class Reader {
  readonly #engine: Engine;
  readonly #now: () => number;
  /** Takes the lock of all writes, and gives it back. */
  readonly #holdLock: () => Promise<void>;
  #waiting: Request[] = [];
  #isRunning = false;

  constructor(engine: Engine, holdLock: () => Promise<void>) {
    this.#engine = engine;
    this.#now = engine.environment.now;
    this.#holdLock = holdLock;
  }

  read(keys: Keys): Promise<Rows> {
    if (this.#waiting.length >= MAX_WAITING) return Promise.reject(unavailable(`${MAX_WAITING} reads wait already`));
    const since = this.#now();
    const { after } = this.#engine.environment;
    return new Promise((resolve, reject) => {
      const request: { -readonly [K in keyof Request]: Request[K] } = { keys, resolve, reject };
      this.#waiting.push(request);
      // What was judged by the time of before is not answered later than that.
      const cancel = after(READ_TIMEOUT_MS * this.#engine.patience, () => {
        this.#waiting = this.#waiting.filter((one) => one !== request);
        reject(unavailable('a read took more than 3 s'));
      });
      request.resolve = (found) => {
        cancel();
        this.#engine.metrics.reads.observe(this.#now() - since);
        resolve(found);
      };
      request.reject = (error) => {
        cancel();
        reject(error);
      };
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Reads that are requested in the same turn go into one batch.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      let batch: Request[] = [];
      try {
        let session = await this.#engine.session();
        if (this.#now() - session.lockHeldAt > LOCK_AGAIN_MS * this.#engine.patience) {
          await this.#holdLock();
          session = await this.#engine.session();
        }
        batch = this.#waiting.splice(0, MAX_BATCH);
        const rows = await this.#batch(session, batch);
        for (const { resolve } of batch) resolve(rows);
      } catch (error) {
        if (batch.length === 0) batch = this.#waiting.splice(0);
        const failure = asUnavailable(error);
        for (const { reject } of batch) reject(failure);
      }
    }
    this.#isRunning = false;
  }

  async #batch(session: Session, batch: readonly Request[]): Promise<Rows> {
    const keys = new KeySet();
    for (const request of batch) keys.add(request.keys);
    const { statements, take } = fetching(keys, session.caches);
    const sentAt = this.#now();
    const { notices } = session.reader;
    const { lockHeldWallMs } = session;
    const settled = await session.within(
      READ_TIMEOUT_MS,
      'a read',
      session.reader.send([BEGIN_READ, BARRIER, ...statements, COMMIT, STANDBY_NAMES]),
    );
    if (session.brokenBy !== undefined) throw unavailable(session.brokenBy);
    const results = resultsOf(settled);
    const [commit, names] = results.slice(-2);
    // With a warning it may have been committed without a standby.
    const fault =
      session.reader.notices === notices
        ? commit?.command === 'COMMIT'
          ? session.standbyFault(names?.rows[0]?.['names'])
          : 'it rolled a read back'
        : describeWarning(session.reader);
    if (fault !== undefined) {
      session.destroy(fault);
      throw unavailable(fault);
    }
    this.#engine.observeClock(sentAt, results[1]);
    const rows = take(results.slice(2, -2));
    this.#engine.accept(rows);
    if (!this.#engine.clock.isValid) throw unavailable('the clock of the database was not read for 5 s');
    const { patience } = this.#engine;
    // The clock of this machine stops while it sleeps; that of the database tells.
    if (rows.wallMs - lockHeldWallMs > (LOCK_VALID_MS + READ_TIMEOUT_MS) * patience) session.lockHeldAt = -Infinity;
    if (this.#now() - session.lockHeldAt > LOCK_VALID_MS * patience)
      throw unavailable('a write that was sent more than 5 s ago may be on its way');
    this.#engine.keep(session, rows);
    return rows;
  }
}

/** Converts the failure of a statement for the caller of the registry: nothing was changed. */
export function asUnavailable(error: unknown): unknown {
  return error instanceof ConnectionFailure || error instanceof DatabaseFailure
    ? unavailable(error.message, error.advice)
    : error;
}
