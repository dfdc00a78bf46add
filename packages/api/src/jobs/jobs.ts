/**
 * Long-running changes. A job belongs to the caller that began it, runs while that caller has the
 * rights for it, and ends with the process.
 */

import { randomBytes } from 'node:crypto';
import { type Context, jobNotFound, requireRunning, visibleOrdersOf } from '@latchkey/operations';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { Registry } from '@latchkey/registry';
import type { JobView } from '@latchkey/operations/contract';
import { actorOf, type Principal, recheckPrincipal, type Scope } from '../access.js';
import { textOfLimits } from '../order-limits.js';
import { Problem } from '../problem.js';
import { problemAtWork } from '../problem-at-work.js';
import type { RegistryAccess } from '../registry-access.js';
import type { RegistryWalks } from '../registry-walks.js';
import { firstEntryOf, hasEntry } from './job-entries.js';
import { viewJob } from './job-view.js';
import type { JobRecord, RequestStore } from './request-store.js';

/** Concurrent jobs, of one caller and of all. At the bound a request is answered 503. */
const MAX_RUNNING_PER_CALLER = 2;
const MAX_RUNNING = 8;
const RETRY_AFTER_S = 10;
const ID_OCTETS = 12;
/** Poll interval for cancellations by commands on the machine, in ms. */
const LOOK_MS = 500;

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
  /** What its keys are of, if that is known. */
  readonly about?: { readonly order?: number | undefined; readonly controller?: number | undefined } | undefined;
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
  /** While jobs run. */
  #looking: NodeJS.Timeout | undefined;

  constructor(registry: RegistryAccess, walks: RegistryWalks, store: RequestStore, log: Log) {
    this.#registry = registry;
    this.#walks = walks;
    this.#store = store;
    this.#log = new RateLimitedLog(log);
  }

  /**
   * Resolves once the work has begun. The work continues in the background.
   *
   * @throws what the work threw before it began; Problem if too many jobs run
   */
  async start(options: JobOptions, work: (control: JobControl) => Promise<unknown>): Promise<JobView> {
    const { id: owner } = options.principal;
    const own = [...this.#running].filter((job) => job.owner === owner).length;
    if (this.#isClosed) throw stopping();
    if (own >= MAX_RUNNING_PER_CALLER || this.#running.size >= MAX_RUNNING)
      throw new Problem('busy', {
        detail: 'Too many jobs are running.',
        advice: 'Wait until one has ended, or cancel one of yours:',
        run: ['latchkey-auth-server job list'],
        retryAfter: RETRY_AFTER_S,
      });
    return new Promise((resolve, reject) => {
      const job: RunningJob = { owner, abort: new AbortController(), ended: Promise.resolve() };
      this.#running.add(job);
      this.#looking ??= setInterval(() => void this.#cancelRequested(), LOOK_MS).unref();
      const onBegun = (record: JobRecord): void => {
        job.id = record.id;
        resolve(viewJob(record));
      };
      job.ended = this.#run(options, work, job.abort, onBegun)
        .catch((error: unknown) => {
          if (job.id === undefined) reject(error);
          else this.#logFailure(options.kind, error);
        })
        .finally(() => {
          this.#running.delete(job);
          if (this.#running.size === 0) this.#stopLooking();
        });
    });
  }

  #stopLooking(): void {
    clearInterval(this.#looking);
    this.#looking = undefined;
  }

  /** A command on the machine of the API says so in the store. */
  async #cancelRequested(): Promise<void> {
    try {
      const requested = new Set(await this.#store.takeCancellations());
      for (const { id, abort } of this.#running) if (id !== undefined && requested.has(id)) abort.abort(new Cancelled());
    } catch (error) {
      this.#logFailure('jobs.cancel', error);
    }
  }

  /** Looks up what became of jobs that ended with an earlier process. */
  async lookUpInterrupted(): Promise<void> {
    for (const record of this.#store.jobsOf()) {
      const { state, kind, auditHead, auditFrom } = record;
      if (state !== 'interrupted' || !hasEntry(kind) || auditHead === undefined || auditFrom !== undefined) continue;
      await this.#registry.use(async (opened) => {
        await this.#store.putJob({ ...record, auditFrom: await this.#auditFromOf(opened, record) });
      });
    }
  }

  /** `undefined` where the log cannot be read. */
  async #auditFromOf(opened: Registry, record: JobRecord): Promise<number | null | undefined> {
    if (!hasEntry(record.kind)) return undefined;
    try {
      await opened.refresh();
      return await firstEntryOf(opened, record);
    } catch (error) {
      this.#logFailure(record.kind, error);
      return undefined;
    }
  }

  #logFailure(kind: string, error: unknown): void {
    this.#log.error('job', { kind }, `a job failed: ${error instanceof Error ? error.message : String(error)}`);
  }

  async #run(
    { principal, kind, scopes, about }: JobOptions,
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
        const auditHead = hasEntry(kind) ? ((await opened.audit.readHead())?.seq ?? 0) : undefined;
        record = { ...newRecord(principal, { kind, scopes, total, actor }), ...about, auditHead };
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
        if (record === undefined) throw error instanceof Cancelled ? stopping() : error;
        const auditFrom = await this.#auditFromOf(opened, record);
        await save({ ...this.#endOf(error, record), auditFrom, finishedAt: Date.now() });
      }
    });
  }

  #endOf(error: unknown, { kind, limits }: JobRecord): Pick<JobRecord, 'state' | 'problem'> {
    if (error instanceof Cancelled) return { state: this.#isClosed ? 'interrupted' : 'cancelled', problem: null };
    const known = error instanceof Problem ? error : error instanceof Failure ? Problem.ofFailure(error) : undefined;
    if (known === undefined) this.#logFailure(kind, error);
    return { state: 'failed', problem: (known ?? problemAtWork(error, limits ?? undefined)).toJSON() };
  }

  /** Latest first. */
  list(principal: Principal): readonly JobView[] {
    const own = this.#store.jobsOf(principal.id);
    return own.filter((record) => hasRights(principal, record)).map(viewJob);
  }

  /**
   * @throws NotFound for a job that does not exist, belongs to another caller, or exceeds the
   *   caller's current rights
   */
  show(principal: Principal, id: string): JobView {
    return viewJob(this.#find(principal, id));
  }

  /**
   * Cancels a job after its current part. The job may end before that.
   *
   * @throws NotFound as `show` does; UsageFailure if it has ended already
   */
  async cancel(principal: Principal, id: string): Promise<JobView> {
    const view = this.show(principal, id);
    requireRunning(view);
    const running = [...this.#running].find((job) => job.id === id);
    running?.abort.abort(new Cancelled());
    await running?.ended;
    return this.show(principal, id);
  }

  /**
   * Forgets a job that has ended.
   *
   * @throws NotFound as `show` does; UsageFailure if it still runs
   */
  async remove(principal: Principal, id: string): Promise<JobView> {
    const view = this.show(principal, id);
    if (view.state === 'running')
      throw new UsageFailure(`job ${id} is still running`, {
        advice: 'Cancel it first:',
        run: [['latchkey-auth-server', 'job', 'cancel', id]],
      });
    await this.#store.removeJob(id);
    return view;
  }

  #find(principal: Principal, id: string): JobRecord {
    const record = this.#store.job(id);
    if (record === undefined || record.owner !== principal.id || !hasRights(principal, record)) throw jobNotFound(id);
    return record;
  }

  /** Interrupts running jobs after their current parts. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopLooking();
    for (const { abort } of this.#running) abort.abort(new Cancelled());
    await Promise.all([...this.#running].map(({ ended }) => ended));
  }
}

function stopping(): Problem {
  return new Problem('busy', { detail: 'The API is stopping.', retryAfter: RETRY_AFTER_S });
}

/** The rights that a job began with. */
type JobRights = Pick<JobRecord, 'scopes' | 'limits'>;

function newRecord({ id: owner, limits }: Principal, job: Pick<JobRecord, 'kind' | 'scopes' | 'total' | 'actor'>): JobRecord {
  // At its beginning a dash would make it an option of a command.
  const id = randomBytes(ID_OCTETS).toString('base64url').replace(/^-/, '_');
  const unfinished = { state: 'running', done: 0, finishedAt: null, result: null, problem: null } as const;
  return { id, owner, limits: limits ?? null, ...job, createdAt: Date.now(), ...unfinished };
}

/** @throws Problem if the owner of a job may do it no longer, or sees other orders by now */
async function requireRightsOfNow(principal: Principal, scopes: readonly Scope[], detail?: string): Promise<void> {
  const now = await recheckPrincipal(principal);
  if (now === undefined || !hasRights(now, { scopes, limits: principal.limits ?? null }))
    throw new Problem('forbidden', { detail });
}

function hasRights(principal: Principal, { scopes, limits }: JobRights): boolean {
  return scopes.every((scope) => principal.scopes.has(scope)) && textOfLimits(principal.limits) === textOfLimits(limits);
}
