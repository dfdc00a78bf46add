/**
 * Changes that take long. A job belongs to the caller that began it, goes on while that one has the
 * rights for it, and ends with the process.
 */

import { randomBytes } from 'node:crypto';
import { type Context, PartlyDone, visibleOrdersOf } from '@latchkey/operations';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import type { OrderLimits } from '@latchkey/operations/contract';
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
  /** Call it before a change that comes long after the job began. Throws as `afterPart` does. */
  readonly requireRights: () => Promise<void>;
}

export interface JobOptions {
  readonly principal: Principal;
  /** The operation. */
  readonly kind: string;
  /** What its owner must be allowed to do, until it is done. */
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
      const requireRights = async (): Promise<void> => {
        signal.throwIfAborted();
        await requireRightsOfNow(principal, scopes);
        signal.throwIfAborted();
      };
      const actor = actorOf(principal);
      const context = {
        registry: opened.actingAs(actor).until(signal),
        clock: opened.clock,
        actor,
        visibleOrders: await visibleOrdersOf(opened, principal.limits),
        inTurn: <T>(walk: () => Promise<T>): Promise<T> =>
          this.#walks.run(async () => {
            await requireRights();
            return walk();
          }, signal),
      };
      const begin = async (total: number): Promise<string> => {
        await requireRights();
        record = newRecord(principal, { kind, scopes, total });
        await this.#store.putJob(record);
        onBegun(record);
        return record.id;
      };
      const afterPart = async (done: number): Promise<void> => {
        await save({ done });
        if (done !== record?.total) await requireRights();
      };
      try {
        const result = await work({ context, begin, afterPart, requireRights });
        // There was nothing to do.
        if (record === undefined) await begin(0);
        await save({ done: record?.total ?? 0 });
        // A cancellation comes too late. The result may not be its owner's any more.
        await requireRightsOfNow(principal, scopes, 'All was done, but you may not see the result.');
        await save({ state: 'done', result, finishedAt: Date.now() });
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
    const [done, advice] = error instanceof PartlyDone ? [`${error.done}. `, error.advice] : ['', undefined];
    return {
      state: 'failed',
      problem: (known ?? new Problem('unavailable', { detail: `${done}The log of the API says why.`, advice })).toJSON(),
    };
  }

  /** Latest first. */
  list(principal: Principal): readonly JobView[] {
    const own = this.#store.jobsOf(principal.id);
    return own.filter((record) => hasRights(principal, record)).map(viewJob);
  }

  /**
   * @throws Problem for a job of another caller, or one that the caller has no rights for any more,
   *   as for one that does not exist
   */
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

  #find(principal: Principal, id: string): JobRecord {
    const record = this.#store.job(id);
    if (record === undefined || record.owner !== principal.id || !hasRights(principal, record))
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

/** The rights that a job began with. */
type JobRights = Pick<JobRecord, 'scopes' | 'limits'>;

function newRecord({ id: owner, limits }: Principal, job: Pick<JobRecord, 'kind' | 'scopes' | 'total'>): JobRecord {
  const id = randomBytes(ID_OCTETS).toString('base64url');
  const unfinished = { state: 'running', done: 0, finishedAt: null, result: null, problem: null } as const;
  return { id, owner, limits: limits ?? null, ...job, createdAt: Date.now(), ...unfinished };
}

/** @throws Problem if the owner of a job may do it no longer, or sees other orders by now */
async function requireRightsOfNow(principal: Principal, scopes: readonly Scope[], detail?: string): Promise<void> {
  const now = principal.recheck === undefined ? principal : await principal.recheck();
  if (now === undefined || !hasRights(now, { scopes, limits: principal.limits ?? null }))
    throw new Problem('forbidden', { detail });
}

function hasRights(principal: Principal, { scopes, limits }: JobRights): boolean {
  return scopes.every((scope) => principal.scopes.has(scope)) && textOf(principal.limits ?? null) === textOf(limits);
}

/** Alike for limits that are alike. */
function textOf(limits: OrderLimits | null): string {
  return JSON.stringify(limits && [limits.orders ?? null, limits.installer ?? null, limits.sites ?? null]);
}

function viewJob({ id, kind, state, done, total, createdAt, finishedAt, result, problem }: JobRecord): JobView {
  const times = { created_at: isoTime(createdAt), finished_at: finishedAt === null ? null : isoTime(finishedAt) };
  return { id, kind, state, done, total, ...times, result, problem };
}
