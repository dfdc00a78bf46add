/**
 * Durable state of long-running and repeatable changes: jobs, and answers by Idempotency-Key. The
 * store is next to the registry, so it survives a restart of the API. A restore of the registry
 * voids the answers.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Database } from 'lmdb';
import type { OrderLimits, ProblemDocument } from '@latchkey/operations/contract';
import { ensurePrivateFolder } from '@latchkey/runtime/files';
import type { Scope } from '../access.js';
import { OwnStore } from '../own-store.js';

/** In the time of one day, of one caller and of all. At the bound a request is refused. */
const MAX_ANSWERS_PER_CALLER = 1_024;
const MAX_ANSWERS = 4_096;
const ANSWER_LIFETIME_MS = 24 * 3_600_000;
/** Jobs that are remembered, of one caller and of all; at the bound the oldest go. */
const MAX_JOBS_PER_CALLER = 32;
const MAX_JOBS = 512;

/** `interrupted`: the API ended, or was killed, while it ran. */
type JobState = 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted';

/** A job; times are ms since the epoch. Holds no key. */
export interface JobRecord {
  readonly id: string;
  /** ID of the caller that began it. */
  readonly owner: string;
  /** The rights that it needs: scopes, and the same limits as at its beginning (`null`: none). */
  readonly scopes: readonly Scope[];
  readonly limits: OrderLimits | null;
  /** The operation. */
  readonly kind: string;
  readonly state: JobState;
  readonly done: number;
  readonly total: number;
  readonly createdAt: number;
  readonly finishedAt: number | null;
  /** Of a job that is done. */
  readonly result: unknown;
  /** Of a job that failed. */
  readonly problem: ProblemDocument | null;
  /** Who began it, as the audit log has it. */
  readonly actor: string;
  /** What the file of the job is about. */
  readonly order?: number | undefined;
  /** ID_c */
  readonly controller?: number | undefined;
  /** Of a job whose change has an entry in the audit log: the last entry before it began. */
  readonly auditHead?: number | undefined;
  /** The first entry that may be of it; `null`: there is none; `undefined`: not known yet. */
  readonly auditFrom?: number | null | undefined;
}

/** An answer that is given again to the same request. */
export interface StoredAnswer {
  readonly status: number;
  readonly location: string | null;
  readonly body: string;
}

export interface AnswerRecord {
  /** Hash of the request. */
  readonly request: Uint8Array;
  readonly at: number;
  /** When the registry was restored, `null` if never. */
  readonly registryRestoredAt: number | null;
  /** `null` until the request was answered. */
  readonly answer: StoredAnswer | null;
}

interface RequestTables {
  /** Jobs that a command on the machine has cancelled. */
  readonly cancellations: Database<true, string>;
  readonly jobs: Database<JobRecord, string>;
  readonly answers: Database<AnswerRecord, string>;
}

const STORE_FOLDER = 'api-requests';

/** Returns the folder of the store; makes it if it is not there. */
export async function ensureRequestFolder(folder: string): Promise<string> {
  const path = join(folder, STORE_FOLDER);
  await ensurePrivateFolder(path);
  return path;
}

export class RequestStore {
  readonly #store: OwnStore;
  readonly #jobs: Database<JobRecord, string>;
  readonly #answers: Database<AnswerRecord, string>;
  readonly #cancellations: Database<true, string>;

  private constructor(store: OwnStore, { jobs, answers, cancellations }: RequestTables) {
    this.#store = store;
    this.#cancellations = cancellations;
    this.#jobs = jobs;
    this.#answers = answers;
  }

  /**
   * For the API, of which one runs: it holds the lock on the folder of the store.
   *
   * @param folder of the registry
   */
  static async open(folder: string): Promise<RequestStore> {
    const requests = await RequestStore.openBeside(folder);
    try {
      await requests.#interruptJobs();
    } catch (error) {
      await requests.close();
      throw error;
    }
    return requests;
  }

  /** Opens the store for a command, while the API may have it open. */
  static async openBeside(folder: string): Promise<RequestStore> {
    const { store, tables } = await OwnStore.open(folder, {
      name: STORE_FOLDER,
      schema: 1,
      tables: (open): RequestTables => ({
        jobs: open('jobs'),
        answers: open('answers'),
        cancellations: open('cancellations'),
      }),
      thenMake: 'start the API again',
    });
    return new RequestStore(store, tables);
  }

  /** Jobs of an earlier process do not go on. */
  async #interruptJobs(): Promise<void> {
    await this.#store.write(() => {
      const running = [...this.#jobs.getRange()].map(({ value }) => value).filter(({ state }) => state === 'running');
      for (const job of running) this.#jobs.putSync(job.id, { ...job, state: 'interrupted', finishedAt: Date.now() });
      const cancelled = [...this.#cancellations.getKeys()];
      for (const id of cancelled) this.#cancellations.removeSync(id);
    });
  }

  putJob(job: JobRecord): Promise<void> {
    return this.#store.write(() => {
      const isNew = !this.#jobs.doesExist(job.id);
      this.#jobs.putSync(job.id, job);
      if (isNew) this.#dropOldJobs(job.owner);
    });
  }

  #dropOldJobs(owner: string): void {
    const all = [...this.#jobs.getRange()].map(({ value }) => value).toSorted((a, b) => a.createdAt - b.createdAt);
    const own = all.filter((job) => job.owner === owner);
    const tooMany = [...own.slice(0, -MAX_JOBS_PER_CALLER), ...all.slice(0, -MAX_JOBS)];
    for (const { id, state } of tooMany) if (state !== 'running') this.#jobs.removeSync(id);
  }

  /** Asks the API to cancel a job. */
  async requestCancellation(id: string): Promise<void> {
    await this.#store.write(() => this.#cancellations.putSync(id, true));
  }

  /** Returns the jobs to cancel, and clears the list. */
  async takeCancellations(): Promise<readonly string[]> {
    const requested = (): string[] => [...this.#cancellations.getKeys()];
    if (this.#store.read(requested).length === 0) return [];
    return this.#store.write(() => {
      const ids = requested();
      for (const id of ids) this.#cancellations.removeSync(id);
      return ids;
    });
  }

  job(id: string): JobRecord | undefined {
    return this.#store.read(() => this.#jobs.get(id));
  }

  /** Latest first; without an owner, those of all. */
  jobsOf(owner?: string): readonly JobRecord[] {
    const all = this.#store.read(() => [...this.#jobs.getRange()].map(({ value }) => value));
    return all
      .filter((job) => owner === undefined || job.owner === owner)
      .toSorted((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
  }

  async removeJob(id: string): Promise<void> {
    await this.#store.write(() => this.#jobs.removeSync(id));
  }

  /**
   * Records a pending request, unless its key was used within the last day. Returns the record of
   * that use.
   *
   * @returns `full` if no further key can be stored
   */
  beginAnswer(caller: string, key: string, record: AnswerRecord): Promise<AnswerRecord | 'full' | undefined> {
    const name = nameOf(caller, key);
    return this.#store.write(() => {
      const before = this.#answers.get(name);
      if (before !== undefined && isValid(before, record)) return before;
      if (this.#isFull(caller)) this.#dropOldAnswers(record);
      if (this.#isFull(caller)) return 'full';
      this.#answers.putSync(name, record);
      return undefined;
    });
  }

  #isFull(caller: string): boolean {
    const [start, end] = [prefixOf(caller), `${prefixOf(caller)}~`];
    if (this.#answers.getKeysCount({ start, end }) >= MAX_ANSWERS_PER_CALLER) return true;
    return this.#answers.getKeysCount() >= MAX_ANSWERS;
  }

  #dropOldAnswers(now: AnswerRecord): void {
    const old = [...this.#answers.getRange()].filter(({ value }) => !isValid(value, now));
    for (const { key } of old) this.#answers.removeSync(key);
  }

  async finishAnswer(caller: string, key: string, record: AnswerRecord): Promise<void> {
    await this.#store.write(() => this.#answers.putSync(nameOf(caller, key), record));
  }

  /** The request did nothing: the key may be used for another one. */
  async forgetAnswer(caller: string, key: string): Promise<void> {
    await this.#store.write(() => this.#answers.removeSync(nameOf(caller, key)));
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

function isValid({ at, registryRestoredAt }: AnswerRecord, now: AnswerRecord): boolean {
  return Math.abs(now.at - at) < ANSWER_LIFETIME_MS && registryRestoredAt === now.registryRestoredAt;
}

/** Of equal length: no caller's keys are among those of another one. */
function prefixOf(caller: string): string {
  return `${createHash('sha256').update(caller).digest('hex')} `;
}

function nameOf(caller: string, key: string): string {
  return `${prefixOf(caller)}${createHash('sha256').update(key).digest('hex')}`;
}
