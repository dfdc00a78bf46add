/**
 * Changes that take long. A job belongs to the caller that began it, has that one's rights of now
 * after each part, and ends with the process.
 */

import { randomBytes } from 'node:crypto';
import { type Context, visibleOrdersOf } from '@latchkey/operations';
import { type Log, RateLimitedLog, readClock } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { actorOf, type Principal, type Scope } from '../access.js';
import { Problem } from '../problem.js';
import type { RegistryAccess } from '../registry-access.js';
import type { RegistryWalks } from '../registry-walks.js';
import type { JobRecord, RequestStore } from './request-store.js';

/** Jobs at once, of one caller and of all. At the bound a request is answered 503. */
const MAX_RUNNING_PER_CALLER = 2;
const MAX_RUNNING = 8;
const RETRY_AFTER_S = 10;
const ID_OCTETS = 12;

export interface JobView {
  readonly id: string;
  readonly kind: string;
  readonly state: JobRecord['state'];
  readonly done: number;
  readonly total: number;
  readonly created_at: string;
  readonly finished_at: string | null;
  readonly result: unknown;
  readonly problem: JobRecord['problem'];
}

/** What the work of a job is given. */
export interface JobControl {
  readonly context: Context;
  /**
   * Begins the job, and returns its ID: the caller is answered with it. What fails before is the
   * answer to the request.
   */
  readonly begin: (total: number) => Promise<string>;
  /** Throws if the job was cancelled, or its owner may no longer do this. */
  readonly afterPart: (done: number) => Promise<void>;
}

export interface JobOptions {
  readonly principal: Principal;
  /** The operation. */
  readonly kind: string;
  /** What its owner must be allowed to do, after each part. */
  readonly scopes: readonly Scope[];
}

class Cancelled extends Error {}

interface RunningJob {
  readonly owner: string;
  readonly abort: AbortController;
  /** Once it has begun. */
  id?: string;
  /** Never rejects. */
  ended: Promise<void>;
}

export class Jobs {
  readonly #registry: RegistryAccess;
  readonly #walks: RegistryWalks;
  readonly #store: RequestStore;
  readonly #log: RateLimitedLog;
  readonly #running = new Set<RunningJob>();
  #isClosed = false;

  constructor(registry: RegistryAccess, walks: RegistryWalks, store: RequestStore, log: Log) {
    this.#registry = registry;
    this.#walks = walks;
    this.#store = store;
    this.#log = new RateLimitedLog(log);
  }

  /**
   * Resolves once the work has begun; it goes on by itself.
   *
   * @throws what the work threw before it began; Problem if too many jobs run
   */
  async start(options: JobOptions, work: (control: JobControl) => Promise<unknown>): Promise<JobView> {
    const { id: owner } = options.principal;
    const own = [...this.#running].filter((job) => job.owner === owner).length;
    if (this.#isClosed || own >= MAX_RUNNING_PER_CALLER || this.#running.size >= MAX_RUNNING)
      throw new Problem('busy', { detail: 'Too many jobs are running.', retryAfter: RETRY_AFTER_S });
    return new Promise((resolve, reject) => {
      const job: RunningJob = { owner, abort: new AbortController(), ended: Promise.resolve() };
      this.#running.add(job);
      const onBegun = (record: JobRecord): void => {
        job.id = record.id;
        resolve(viewJob(record));
      };
      job.ended = this.#run(options, work, job.abort, onBegun)
        .catch((error: unknown) => {
          if (job.id === undefined) reject(error);
          else this.#logFailure(options.kind, error);
        })
        .finally(() => this.#running.delete(job));
    });
  }

  #logFailure(kind: string, error: unknown): void {
    this.#log.error('job', { kind }, `a job failed: ${error instanceof Error ? error.message : String(error)}`);
  }

  async #run(
    { principal, kind, scopes }: JobOptions,
    work: (control: JobControl) => Promise<unknown>,
    { signal }: AbortController,
    onBegun: (record: JobRecord) => void,
  ): Promise<void> {
    let record: JobRecord | undefined;
    const save = async (change: Partial<JobRecord>): Promise<void> => {
      if (record === undefined) return;
      record = { ...record, ...change };
      await this.#store.putJob(record);
    };
    await this.#registry.use(async (opened) => {
      const actor = actorOf(principal);
      const context = {
        registry: opened.actingAs(actor).until(signal),
        clock: readClock,
        actor,
        visibleOrders: await visibleOrdersOf(opened, principal.limits),
        inTurn: <T>(walk: () => Promise<T>): Promise<T> => this.#walks.run(walk, signal),
      };
      const begin = async (total: number): Promise<string> => {
        signal.throwIfAborted();
        record = newRecord(principal.id, kind, total);
        await this.#store.putJob(record);
        onBegun(record);
        return record.id;
      };
      const afterPart = async (done: number): Promise<void> => {
        await save({ done });
        if (done === record?.total) return;
        signal.throwIfAborted();
        const now = principal.recheck === undefined ? principal : await principal.recheck();
        if (!scopes.every((scope) => now?.scopes.has(scope) === true)) throw new Problem('forbidden');
      };
      try {
        const result = await work({ context, begin, afterPart });
        // There was nothing to do.
        if (record === undefined) await begin(0);
        await save({ state: 'done', done: record?.total ?? 0, result, finishedAt: Date.now() });
      } catch (error) {
        // Nothing was begun: the request fails.
        if (record === undefined) throw error;
        await save({ ...this.#endOf(error, kind), finishedAt: Date.now() });
      }
    });
  }

  #endOf(error: unknown, kind: string): Pick<JobRecord, 'state' | 'problem'> {
    if (error instanceof Cancelled) return { state: this.#isClosed ? 'interrupted' : 'cancelled', problem: null };
    const known = error instanceof Problem ? error : error instanceof Failure ? Problem.ofFailure(error) : undefined;
    if (known === undefined) this.#logFailure(kind, error);
    return {
      state: 'failed',
      problem: (known ?? new Problem('unavailable', { detail: 'The log of the API says why.' })).toJSON(),
    };
  }

  /** Latest first. */
  list({ id }: Principal): readonly JobView[] {
    return this.#store.jobsOf(id).map(viewJob);
  }

  /** @throws Problem for a job of another caller, as for one that does not exist */
  show(principal: Principal, id: string): JobView {
    return viewJob(this.#find(principal, id));
  }

  /** Cancels a job after the part that is under way; removes one that has ended. */
  async remove(principal: Principal, id: string): Promise<JobView> {
    const record = this.#find(principal, id);
    const running = [...this.#running].find((job) => job.id === id);
    if (running === undefined) {
      await this.#store.removeJob(id);
      return viewJob(record);
    }
    running.abort.abort(new Cancelled());
    await running.ended;
    return viewJob(this.#store.job(id) ?? record);
  }

  #find({ id: owner }: Principal, id: string): JobRecord {
    const record = this.#store.job(id);
    if (record === undefined || record.owner !== owner)
      throw new Problem('not-found', { detail: 'No job of yours has this ID.' });
    return record;
  }

  /** Interrupts what runs, after the part that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { abort } of this.#running) abort.abort(new Cancelled());
    await Promise.all([...this.#running].map(({ ended }) => ended));
  }
}

function newRecord(owner: string, kind: string, total: number): JobRecord {
  const id = randomBytes(ID_OCTETS).toString('base64url');
  const unfinished = { state: 'running', done: 0, finishedAt: null, result: null, problem: null } as const;
  return { id, owner, kind, total, createdAt: Date.now(), ...unfinished };
}

function viewJob({ id, kind, state, done, total, createdAt, finishedAt, result, problem }: JobRecord): JobView {
  const times = { created_at: isoTime(createdAt), finished_at: finishedAt === null ? null : isoTime(finishedAt) };
  return { id, kind, state, done, total, ...times, result, problem };
}
