/**
 * Files with keys, encrypted to their recipients, until their owner has them: in memory only, for
 * an hour at most.
 */

import { isoTime } from '@latchkey/runtime/iso-time';
import type { Principal } from '../access.js';
import { Problem } from '../problem.js';
import { type Rate, RateLimiter } from '../rate-limiter.js';

const LIFETIME_MS = 3_600_000;
/**
 * Files of one caller and of all, including those that pending jobs will write. At the bound a
 * request is rejected before keys are generated.
 */
const MAX_FILES_PER_CALLER = 4;
const MAX_FILES = 16;
const RETRY_AFTER_S = 60;
/** Refused recipients of one caller that the audit log gets: further ones change nothing. */
const RECORDED_REFUSALS: Rate = { perSecond: 1 / 60, burst: 5 };

export interface KeyFile {
  /** `manifest.csv.age` say. */
  readonly name: string;
  /** In the age format. */
  readonly octets: Uint8Array;
  /** What it is encrypted to. */
  readonly recipients: readonly string[];
  readonly order?: number | undefined;
  /** ID_c */
  readonly controller?: number | undefined;
}

/** Kept for one file. */
export interface KeyFilePlace {
  /** Keeps the file of the job, in this place. */
  readonly put: (job: string, file: KeyFile) => void;
  /** Gives the place up, unless the file is there. */
  readonly release: () => void;
}

interface KeptFile {
  readonly owner: string;
  readonly file: KeyFile;
  readonly expiresAt: number;
  readonly timer: NodeJS.Timeout;
}

export interface KeyFileView {
  readonly name: string;
  readonly octets: number;
  readonly until: string;
}

export class KeyFiles {
  /** By job. */
  readonly #files = new Map<string, KeptFile>();
  /** Owners of files that jobs are to make. */
  readonly #reserved = new Map<symbol, string>();
  readonly #refusals = new RateLimiter(undefined, RECORDED_REFUSALS);

  /**
   * Keeps a place for the file of a job that is to begin.
   *
   * @throws Problem if the caller has too many, or all together
   */
  reserve({ id: owner }: Principal): KeyFilePlace {
    const owners = [...this.#reserved.values(), ...[...this.#files.values()].map((kept) => kept.owner)];
    if (owners.length >= MAX_FILES || owners.filter((one) => one === owner).length >= MAX_FILES_PER_CALLER)
      throw new Problem('busy', {
        detail: 'Too many files with keys are being made, or wait to be fetched.',
        advice: 'Fetch them, and DELETE each once you have it.',
        retryAfter: RETRY_AFTER_S,
      });
    const place = Symbol(owner);
    this.#reserved.set(place, owner);
    return {
      put: (job, file) => {
        if (!this.#reserved.delete(place)) throw new RangeError('the place of a file is not kept any more');
        this.#put(owner, job, file);
      },
      release: () => void this.#reserved.delete(place),
    };
  }

  #put(owner: string, job: string, file: KeyFile): void {
    const timer = setTimeout(() => this.#files.delete(job), LIFETIME_MS).unref();
    this.#files.set(job, { owner, file, expiresAt: Date.now() + LIFETIME_MS, timer });
  }

  /** Whether the audit log gets that a recipient of this caller was refused. */
  isRefusalRecorded({ id }: Principal): boolean {
    return this.#refusals.take(id) === undefined;
  }

  /** Returns `undefined` for a job of another caller, as for one without a file. */
  view(principal: Principal, job: string): KeyFileView | undefined {
    const kept = this.#find(principal, job);
    return kept && { name: kept.file.name, octets: kept.file.octets.length, until: isoTime(kept.expiresAt) };
  }

  /** @throws Problem if there is none for this caller */
  get(principal: Principal, job: string): KeyFile {
    const kept = this.#find(principal, job);
    if (kept !== undefined) return kept.file;
    throw new Problem('not-found', {
      detail: 'No job of yours with this ID has a file.',
      advice: 'A file is kept for an hour, and until you DELETE it or the API ends. Hand the keys over again.',
    });
  }

  #find({ id }: Principal, job: string): KeptFile | undefined {
    const kept = this.#files.get(job);
    return kept?.owner === id ? kept : undefined;
  }

  /** Its owner has it. */
  remove(principal: Principal, job: string): void {
    this.get(principal, job);
    clearTimeout(this.#files.get(job)?.timer);
    this.#files.delete(job);
  }

  close(): void {
    for (const { timer } of this.#files.values()) clearTimeout(timer);
    this.#files.clear();
  }
}
