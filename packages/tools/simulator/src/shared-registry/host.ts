/**
 * A machine with PostgreSQL: the primary of a cluster, or a standby. Modelled as far as an engine
 * can see of it: transactions and their snapshots, the lock of all writes, a log that standbys
 * receive, commits that wait for one of them, what a crash leaves, and limits of time.
 */

import { DatabaseFailure, type SqlResult, type SqlRow, type Statement } from '@latchkey/registry/postgres/simulation';
import type { Simulation } from '../simulation.js';
import { execute, type StatementContext } from './statements.js';
import { type Change, Tables } from './tables.js';

/** As sessions of the engine set them, in ms. */
const IDLE_IN_TRANSACTION_MS = 2_000;
const LOCK_TIMEOUT_MS = 4_000;

/** One commit, as standbys receive it. */
export interface LogRecord {
  readonly changes: readonly Change[];
}

/** A commit that is in the log and not visible yet. */
interface WaitingCommit {
  readonly lsn: number;
  readonly record: LogRecord;
  readonly backend: Backend;
  readonly done: (cancelled: boolean) => void;
}

export interface HostPlan {
  readonly name: string;
  /** Other machines of the cluster, as `synchronous_standby_names` has them. */
  readonly others: readonly string[];
  /** The time that its clock shows, ms since the epoch. */
  readonly wall: () => number;
  /** Something was written to its log. */
  readonly onLog: (record: LogRecord) => void;
  /** Rows that others see from now on. */
  readonly onVisible: (changes: readonly Change[]) => void;
}

const SYSTEM = '7000000000000000001';

export class SimulatedHost {
  readonly plan: HostPlan;
  readonly simulation: Simulation;
  /** `down`: no program runs there. */
  state: 'primary' | 'standby' | 'down' = 'standby';
  /** Of one that is down: the machine is off, or cut off. */
  isOff = false;
  timeline = 1;
  starts = 0;
  /** How far its clock is from the others', in ms. */
  clockError = 0;
  /** Commits that are on its disk. */
  log: LogRecord[] = [];
  /** Of a primary: what others see. */
  tables: Tables = new Tables();
  /** An operator has emptied `synchronous_standby_names`. */
  hasNames = true;
  /** Of a standby: from whom it receives, and that nothing gets through. */
  upstream: SimulatedHost | undefined;
  isDetached = false;
  readonly backends: Set<Backend> = new Set<Backend>();
  readonly locks: Readonly<Record<LockName, Lock>> = { writes: new Lock(), activity: new Lock() };
  #waiting: WaitingCommit[] = [];

  constructor(simulation: Simulation, plan: HostPlan) {
    this.simulation = simulation;
    this.plan = plan;
  }

  get name(): string {
    return this.plan.name;
  }

  get standbyNames(): string {
    return this.hasNames ? `ANY 1 (${this.plan.others.join(', ')})` : '';
  }

  get started(): string {
    return `${this.name} start ${this.starts}`;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Starts, or is promoted: all that its disk has is visible. */
  serve(timeline: number): void {
    if (this.state === 'down') this.starts += 1;
    this.state = 'primary';
    this.upstream = undefined;
    this.timeline = timeline;
    this.isDetached = false;
    this.tables = this.log.reduce((tables, { changes }) => tables.with(changes), new Tables());
  }

  /** Starts as a standby of `primary`: what it has beyond it is gone. */
  follow(primary: SimulatedHost): void {
    this.crash('it becomes a standby');
    this.starts += 1;
    this.state = 'standby';
    this.upstream = primary;
    this.timeline = primary.timeline;
    this.isDetached = false;
    this.hasNames = true;
    this.log = primary.log.slice();
  }

  /** `why`: the reason that clients get; `undefined` if they get none. */
  crash(why: string | undefined): void {
    this.state = 'down';
    this.isOff = why === undefined;
    this.#waiting = [];
    for (const lock of Object.values(this.locks)) lock.clear();
    for (const backend of this.backends) {
      backend.isGone = true;
      if (why !== undefined) backend.onBroken(why);
    }
    this.backends.clear();
  }

  /** Writes a commit. `done` is told once it is visible. */
  commit(backend: Backend, record: LogRecord, isSynchronous: boolean, done: (cancelled: boolean) => void): void {
    this.log.push(record);
    if (!isSynchronous) {
      this.#show(record);
      done(false);
      this.plan.onLog(record);
      return;
    }
    this.#waiting.push({ lsn: this.log.length, record, backend, done });
    this.plan.onLog(record);
    if (!this.hasNames) this.release(Infinity);
  }

  /** A standby has the log up to there. */
  release(lsn: number): void {
    while (this.#waiting[0] !== undefined && this.#waiting[0].lsn <= lsn) this.#end(this.#waiting[0], false);
  }

  /** `pg_cancel_backend`, or `pg_terminate_backend`, of all that wait for a standby. */
  cancelWaits(terminated: boolean): void {
    for (const commit of this.#waiting) {
      if (terminated) this.terminate(commit.backend, 'terminating connection due to administrator command');
      this.#end(commit, true);
    }
  }

  /** Ends a backend's connection; its transaction is rolled back. */
  terminate(backend: Backend, why: string): void {
    if (backend.isGone) return;
    backend.drop();
    backend.onBroken(why);
  }

  #end(commit: WaitingCommit, cancelled: boolean): void {
    this.#waiting = this.#waiting.filter((one) => one !== commit);
    this.#show(commit.record);
    commit.done(cancelled);
  }

  #show({ changes }: LogRecord): void {
    if (changes.length === 0) return;
    this.tables = this.tables.with(changes);
    this.plan.onVisible(changes);
  }
}

type LockName = 'writes' | 'activity';

/** Held by one backend at a time; the others wait in their order. */
class Lock {
  #holder: Backend | undefined;
  #queue: { readonly backend: Backend; readonly granted: () => void }[] = [];

  get isFree(): boolean {
    return this.#holder === undefined;
  }

  take(backend: Backend, granted: () => void): void {
    if (this.#holder === undefined || this.#holder === backend) {
      this.#holder = backend;
      granted();
    } else this.#queue.push({ backend, granted });
  }

  isWaiting(backend: Backend): boolean {
    return this.#queue.some((one) => one.backend === backend);
  }

  leave(backend: Backend): void {
    this.#queue = this.#queue.filter((one) => one.backend !== backend);
    if (this.#holder !== backend) return;
    const next = this.#queue.shift();
    this.#holder = next?.backend;
    next?.granted();
  }

  clear(): void {
    this.#holder = undefined;
    this.#queue = [];
  }
}

/** An answer to a statement. */
export type Answer = { readonly result: Omit<SqlResult, 'at'> } | { readonly failure: DatabaseFailure };

/** Statements that came together. */
export interface Batch {
  readonly statements: readonly Statement[];
  /** Between two of them, in ms. */
  readonly gapMs: number;
  /** `notices`: warnings among the answers. */
  readonly answered: (answers: readonly Answer[], notices: number) => void;
}

interface Transaction {
  readonly isSnapshot: boolean;
  snapshot: Tables | undefined;
  readonly changes: Change[];
  emits: boolean;
  isSynchronous: boolean;
  isFailed: boolean;
}

/** What serves one connection. */
export class Backend {
  readonly #host: SimulatedHost;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #batches: Batch[] = [];
  #isBusy = false;
  #transaction: Transaction | undefined;
  /** Counts what ends a wait for the client. */
  #turn = 0;
  /** Part of a message has come: it waits for the rest, and no limit of time runs. */
  isReading = false;
  /** The client has disconnected, which the host notices only when its work is done. */
  #isAbandoned = false;
  isGone = false;
  onBroken: (why: string) => void = () => undefined;

  constructor(host: SimulatedHost, settings: Readonly<Record<string, string>>) {
    this.#host = host;
    this.#settings = settings;
    host.backends.add(this);
  }

  receive(batch: Batch): void {
    if (this.isGone) return;
    this.isReading = false;
    this.#turn += 1;
    this.#batches.push(batch);
    if (!this.#isBusy) this.#next();
  }

  /** The client has closed the connection, after all that it had sent. */
  abandon(): void {
    this.#isAbandoned = true;
    if (!this.#isBusy && !this.isReading) this.drop();
  }

  /** Ends it here. A commit that waits for a standby goes on. */
  drop(): void {
    this.isGone = true;
    this.#host.backends.delete(this);
    if (!this.#isBusy || this.#isWaitingForLock()) this.#end();
  }

  #isWaitingForLock(): boolean {
    return Object.values(this.#host.locks).some((lock) => lock.isWaiting(this));
  }

  #next(): void {
    const batch = this.#batches.shift();
    if (batch === undefined) {
      this.#isBusy = false;
      if (this.#isAbandoned && !this.isReading) this.drop();
      else if (this.#transaction !== undefined) this.#watchIdle();
      return;
    }
    this.#isBusy = true;
    const answers: Answer[] = [];
    let notices = 0;
    const step = (at: number): void => {
      const statement = batch.statements[at];
      if (this.isGone) return this.#end();
      if (statement === undefined) {
        batch.answered(answers, notices);
        return this.#next();
      }
      this.#run(statement, (answer, notice) => {
        answers.push(answer);
        if (notice) notices += 1;
        if (batch.gapMs > 0) this.#host.simulation.events.schedule(batch.gapMs, () => step(at + 1));
        else step(at + 1);
      });
    };
    step(0);
  }

  #watchIdle(): void {
    const turn = this.#turn;
    this.#host.simulation.events.schedule(IDLE_IN_TRANSACTION_MS, () => {
      if (this.#turn === turn && !this.isReading && !this.isGone && !this.#isBusy)
        this.#host.terminate(this, 'terminating connection due to idle-in-transaction timeout');
    });
  }

  #run(statement: Statement, done: (answer: Answer, notice: boolean) => void): void {
    const host = this.#host;
    const transaction = this.#transaction;
    const ok = (command: string, rows: readonly SqlRow[] = []): void => done({ result: { command, rows } }, false);
    const kind = kindOf(statement.text);
    if (kind === 'commit') return this.#commit(done);
    if (kind === 'rollback') {
      this.#end();
      return ok('ROLLBACK');
    }
    if (transaction?.isFailed === true) return done(failed('current transaction is aborted', '25P02'), false);
    if (kind === 'begin' || kind === 'begin snapshot') {
      this.#transaction ??= newTransaction(kind === 'begin snapshot');
      return ok('BEGIN');
    }
    if (kind === 'names' || kind === 'settings' || kind === 'checks' || kind === 'place')
      return ok('SELECT', [this.#describe(kind)]);
    if (host.state !== 'primary') return done(failed('cannot execute it in a read-only transaction', '25006'), false);
    if (kind === 'statement') {
      if (transaction !== undefined) return done(this.#execute(statement, transaction), false);
      // By itself it is a transaction of its own.
      const own = newTransaction(false);
      const answer = this.#execute(statement, own);
      if ('failure' in answer || own.changes.length === 0) return done(answer, false);
      return host.commit(this, { changes: own.changes }, true, (cancelled) => done(answer, cancelled));
    }
    this.#lock(kind, (granted) => {
      if (transaction === undefined) throw new Error('a lock outside of a transaction');
      transaction.emits = true;
      if (!granted) transaction.isFailed = true;
      if (!granted) return done(failed('canceling statement due to lock timeout', '55P03'), false);
      if (kind === 'activity') return done(this.#execute(statement, transaction), false);
      ok('SELECT');
    });
  }

  #execute(statement: Statement, transaction: Transaction): Answer {
    try {
      return { result: { command: 'SELECT', rows: execute(this.#context(transaction), statement) } };
    } catch (error) {
      if (!(error instanceof DatabaseFailure)) throw error;
      transaction.isFailed = true;
      return { failure: error };
    }
  }

  #context(transaction: Transaction): StatementContext {
    const host = this.#host;
    const base = transaction.isSnapshot ? (transaction.snapshot ??= host.tables) : host.tables;
    return {
      tables: base.with(transaction.changes),
      now: host.plan.wall(),
      change: (changes) => transaction.changes.push(...changes),
      emit: () => (transaction.emits = true),
      relax: () => (transaction.isSynchronous = false),
    };
  }

  #lock(name: LockName, done: (granted: boolean) => void): void {
    const lock = this.#host.locks[name];
    const wait = { isOver: false };
    lock.take(this, () => {
      if (wait.isOver) return lock.leave(this);
      wait.isOver = true;
      done(true);
    });
    this.#host.simulation.events.schedule(LOCK_TIMEOUT_MS, () => {
      if (wait.isOver || this.isGone) return;
      wait.isOver = true;
      lock.leave(this);
      done(false);
    });
  }

  #commit(done: (answer: Answer, cancelled: boolean) => void): void {
    const transaction = this.#transaction;
    const committed: Answer = { result: { command: 'COMMIT', rows: [] } };
    if (transaction === undefined || transaction.isFailed) {
      this.#end();
      return done(transaction === undefined ? committed : { result: { command: 'ROLLBACK', rows: [] } }, false);
    }
    const { changes, emits, isSynchronous } = transaction;
    if (changes.length === 0 && !emits) {
      this.#end();
      return done(committed, false);
    }
    this.#host.commit(this, { changes }, isSynchronous, (cancelled) => {
      this.#end();
      done(committed, cancelled);
    });
  }

  #end(): void {
    this.#transaction = undefined;
    for (const lock of Object.values(this.#host.locks)) lock.leave(this);
  }

  /** What a host says of itself. */
  #describe(kind: 'names' | 'settings' | 'checks' | 'place'): SqlRow {
    const host = this.#host;
    const recovering = host.state === 'standby';
    const names = host.standbyNames;
    if (kind === 'names') return { names };
    if (kind === 'settings') return { settings: this.#settings };
    const place = { recovering, system: SYSTEM, started: host.started };
    if (kind === 'place') return { ...place, timeline: host.timeline };
    const timeline = recovering ? '' : host.timeline.toString(16).padStart(8, '0');
    const settings = { read_only: 'off', synchronous: 'on', fsync: 'on', full_page_writes: 'on', server: 150_018 };
    return { ...place, ...settings, names, made: true, timeline };
  }
}

/** What a backend does by itself; any other `statement` is for tables. */
type Kind =
  | 'commit'
  | 'rollback'
  | 'begin'
  | 'begin snapshot'
  | 'names'
  | 'settings'
  | 'checks'
  | 'place'
  | LockName
  | 'statement';

const KINDS: readonly (readonly [start: string, kind: Kind])[] = [
  ['COMMIT', 'commit'],
  ['ROLLBACK', 'rollback'],
  ['BEGIN ISOLATION LEVEL REPEATABLE READ', 'begin snapshot'],
  ['BEGIN ISOLATION LEVEL READ COMMITTED', 'begin'],
  ["SELECT current_setting('synchronous_standby_names')", 'names'],
  ['SELECT (SELECT json_object_agg(name, setting)', 'settings'],
  ["SELECT pg_is_in_recovery() AS recovering, current_setting('transaction_read_only')", 'checks'],
  ['SELECT pg_is_in_recovery() AS recovering, (SELECT system_identifier', 'place'],
  ['SELECT one FROM latchkey.registry FOR UPDATE', 'writes'],
  ["SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock", 'activity'],
];
const kinds = new Map<string, Kind>();

function kindOf(text: string): Kind {
  const known = kinds.get(text);
  if (known !== undefined) return known;
  const kind = KINDS.find(([start]) => text.startsWith(start))?.[1] ?? 'statement';
  kinds.set(text, kind);
  return kind;
}

function newTransaction(isSnapshot: boolean): Transaction {
  return { isSnapshot, snapshot: undefined, changes: [], emits: false, isSynchronous: true, isFailed: false };
}

function failed(message: string, code: string): Answer {
  return { failure: new DatabaseFailure(message, code) };
}
