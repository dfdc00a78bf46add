/**
 * Synchronises the store with the registry. Asks the auth-server what changed, at an interval and
 * on request, and writes the answers in order with the joins. `KeyFeedClient` decides what an
 * answer means.
 */

import {
  formatId,
  type JoinResult,
  KeyFeedClient,
  type KeyFeedClientOptions,
  type KeyFeedDecision,
  type KeyFeedPage,
  MAX_FEED_ENTRIES,
  type Secret,
} from '@latchkey/protocol';
import type { ApplicationRootStore, FeedProgress } from '@latchkey/key-delivery/store';
import { type Clock, type Log, PROCESS_TIME, type ProcessTime, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { LabelledCounter, type Metric, samples } from '@latchkey/runtime/telemetry';
import type { AuthServerClient } from './auth-server-client.js';

export const DEFAULT_FEED_INTERVAL_MS = 10_000;
/**
 * Rate limit of M12, in ms: an auth-server answers 100 new TIDs a second. The window is longer than
 * a second, because network delays differ.
 */
const M12_WINDOW = { count: 100, ms: 1_050 } as const;
/**
 * Limit for the next poll, which detects a restored registry, and the walk through all nodes after
 * it, in ms. The spare part is for round trips and the disk (docs/decisions/0049).
 */
const RIGHT_AGAIN = { ms: 15_000, spareMs: 2_000 } as const;
/** Shortest default interval, for any number of nodes, in ms. */
const MIN_DEFAULT_INTERVAL_MS = 4_000;
/** Pages that may wait for the disk. At the bound the next M12 waits. */
const MAX_UNWRITTEN_PAGES = 256;
/** Pause after reason 8, in ms, and the most such pauses in a row. */
const OVERLOADED_PAUSE_MS = 1_000;
const MAX_OVERLOADED = 5;
/** Interval at which the time of the latest confirmation is written if nothing changes, in ms. */
const CONFIRMATION_WRITE_MS = 60_000;
/**
 * The feed reports a fault after this time without a complete answer, in ms, or after
 * `ALARM_INTERVALS` intervals if that is longer.
 */
const MIN_ALARM_MS = 60_000;
const ALARM_INTERVALS = 6;

/**
 * Interval at which the unverified time is written, in ms. A kill loses at most that much of it.
 */
const UNVERIFIED_WRITE_MS = 60_000;

/** What the key feed needs of the store of application roots. */
export type KeyFeedStore = Pick<
  ApplicationRootStore,
  | 'nodeCount'
  | 'feedProgress'
  | 'saveFeedProgress'
  | 'applyPage'
  | 'forgetOld'
  | 'loadDue'
  | 'announceAll'
  | 'onLateJoin'
  | 'isVerified'
  | 'isWithdrawn'
>;

const EMPTY: Uint8Array = new Uint8Array(0);

export interface KeyFeedOptions {
  readonly idC: number;
  /** The feed wipes it. */
  readonly skCs: Secret;
  readonly nextTid: () => bigint | undefined;
  readonly randomBytes: (n: number) => Uint8Array;
  readonly authServer: Pick<AuthServerClient, 'request'>;
  readonly store: KeyFeedStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Default: 10 s, or less if a walk through all nodes takes long. */
  readonly intervalMs?: number | undefined;
  /**
   * No key is given out after this time without confirmation by the registry, in ms. 0 means no
   * limit. Time in which the controller does not run does not count.
   */
  readonly maxUnverifiedMs: number;
  /** Default: the client of the profile. */
  readonly newClient?: (options: KeyFeedClientOptions) => KeyFeedClient;
  /** Default: the time of this process. */
  readonly time?: ProcessTime;
}

export class KeyFeed {
  readonly #client: KeyFeedClient;
  readonly #authServer: Pick<AuthServerClient, 'request'>;
  readonly #store: KeyFeedStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rateLimitedLog: RateLimitedLog;
  readonly #pause: ProcessTime['pause'];
  readonly #intervalMs: number;
  readonly #isIntervalSet: boolean;
  /** Times of the latest M12 by the monotonic clock, one window of them at most. */
  readonly #sentAt: number[] = [];
  readonly #polls = new LabelledCounter<'complete' | 'missed'>(['complete', 'missed']);
  readonly #closed = new AbortController();
  /** Callers that wait for the answer to a request that is not sent yet. */
  #waiting: ((isComplete: boolean) => void)[] = [];
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  readonly #maxUnverifiedMs: number;
  readonly #startedAt: number;
  /** Time without confirmation before this start, in ms. */
  readonly #unverifiedBeforeMs: number;
  /** By the monotonic clock. */
  #unverifiedWrittenAt: number;
  #isWithdrawn: boolean;
  /** By the wall clock, as the store has it or will have it. */
  #confirmedAt: number | undefined;
  /** By the monotonic clock. */
  #confirmationWrittenAt = -Infinity;
  #isAlarmed = false;
  /** Why a page could not be written. */
  #writeFailure: Failure | undefined;

  constructor(options: KeyFeedOptions) {
    const { idC, skCs, nextTid, randomBytes, authServer, store, clock, log, intervalMs, maxUnverifiedMs } = options;
    const { newClient = (link): KeyFeedClient => new KeyFeedClient(link), time = PROCESS_TIME } = options;
    this.#client = newClient({ idC, skCs, nextTid, randomBytes, cursor: store.feedProgress.cursor });
    this.#authServer = authServer;
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#rateLimitedLog = new RateLimitedLog(log, time);
    this.#pause = time.pause;
    this.#intervalMs = intervalMs ?? DEFAULT_FEED_INTERVAL_MS;
    this.#isIntervalSet = intervalMs !== undefined;
    this.#maxUnverifiedMs = maxUnverifiedMs;
    this.#startedAt = clock().monotonicMs;
    this.#unverifiedWrittenAt = this.#startedAt;
    this.#unverifiedBeforeMs = store.feedProgress.unverifiedMs ?? 0;
    this.#isWithdrawn = this.#isOverdue();
    store.isVerified = () => this.#client.isVerified(clock().monotonicMs);
    store.isWithdrawn = () => this.#isWithdrawn;
    store.onLateJoin = () => void this.askNow();
    store.loadDue();
  }

  /** Sends a request at once, and from then on at the interval. */
  start(): void {
    this.#running ??= this.#run();
  }

  /**
   * Sends a request when the current one has ended. Resolves with whether a complete answer came.
   */
  askNow(): Promise<boolean> {
    if (this.#closed.signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#wake.abort();
    });
  }

  /**
   * Records an M8 or M11. Returns false if its key must not be stored, because the feed will
   * deliver it.
   */
  joined({ idI, tid }: JoinResult): boolean {
    const counts = this.#client.joined(idI, tid);
    if (!counts) {
      this.#log.info({ node: formatId(idI) }, 'the join began before the registry was read; its key is asked for');
      void this.askNow();
    }
    return counts;
  }

  /** Replaces SK_cs. The feed wipes it. */
  rekey(skCs: Secret): void {
    this.#client.rekey(skCs);
  }

  /**
   * Returns why the keys are not confirmed, or `undefined` if they are, or if the alarm time is not
   * over.
   */
  fault(): string | undefined {
    if (this.#isWithdrawn) {
      const seconds = Math.round(this.#unverifiedMs() / 1000);
      return `the auth-server has not confirmed the keys of the nodes for ${seconds} s of running, longer than max_unverified; none is given out`;
    }
    const ageMs = this.#ageMs();
    return ageMs <= Math.max(MIN_ALARM_MS, ALARM_INTERVALS * this.#intervalMs)
      ? undefined
      : `the auth-server has not confirmed the keys of the nodes for ${Math.round(ageMs / 1000)} s; they are given out as unverified`;
  }

  metrics(): Metric[] {
    return [
      {
        type: 'counter',
        name: 'latchkey_key_feed_polls_total',
        help: 'Questions to the auth-server about what changed, by outcome',
        labels: ['outcome'],
        read: () => samples('outcome', this.#polls),
      },
      {
        type: 'gauge',
        name: 'latchkey_key_feed_age_seconds',
        help: 'Since the registry last confirmed all keys, or since the start',
        read: () => this.#ageMs() / 1000,
      },
      {
        type: 'gauge',
        name: 'latchkey_key_feed_withdrawn',
        help: '1 if no key is given out, as the registry has not confirmed them for max_unverified',
        read: () => Number(this.#isWithdrawn),
      },
    ];
  }

  async stop(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#wake.abort();
    for (const resolve of this.#waiting.splice(0)) resolve(false);
    await this.#running;
    await this.#keepUnverified(0);
    this.#client.wipe();
  }

  #hasWriteFailed(): boolean {
    return this.#writeFailure !== undefined;
  }

  #ageMs(): number {
    return this.#clock().monotonicMs - (this.#client.completeAsOf ?? this.#startedAt);
  }

  /** Returns the running time since the registry last confirmed all keys, in ms. */
  #unverifiedMs(): number {
    return this.#ageMs() + (this.#client.completeAsOf === undefined ? this.#unverifiedBeforeMs : 0);
  }

  #isOverdue(): boolean {
    return this.#maxUnverifiedMs > 0 && this.#unverifiedMs() > this.#maxUnverifiedMs;
  }

  async #run(): Promise<void> {
    await this.#tellFailure(() => this.#saveProgress({ confirmedAt: undefined }));
    while (!this.#closed.signal.aborted) {
      this.#wake = new AbortController();
      const askedAt = this.#clock().monotonicMs;
      const waiting = this.#waiting.splice(0);
      const isComplete = await this.#follow();
      this.#note(isComplete);
      await this.#withdrawOrRestore();
      await this.#keepUnverified(UNVERIFIED_WRITE_MS);
      for (const resolve of waiting) resolve(isComplete);
      await this.#tellFailure(() => this.#store.forgetOld());
      // From one question to the next: one that nobody answers takes longer than the interval.
      const left = askedAt + this.#pollIntervalMs() - this.#clock().monotonicMs;
      if (this.#waiting.length === 0) await this.#sleep(left, this.#wake.signal);
    }
  }

  /** Returns the time between two polls, at which `RIGHT_AGAIN` also holds with many nodes. */
  #pollIntervalMs(): number {
    if (this.#isIntervalSet) return this.#intervalMs;
    const pages = Math.ceil(this.#store.nodeCount / MAX_FEED_ENTRIES);
    const left = RIGHT_AGAIN.ms - RIGHT_AGAIN.spareMs - (pages * M12_WINDOW.ms) / M12_WINDOW.count;
    return Math.min(Math.max(left, MIN_DEFAULT_INTERVAL_MS), this.#intervalMs);
  }

  /** Sends requests until an answer is complete. Returns false if none was. */
  async #follow(): Promise<boolean> {
    const unwritten = new Set<Promise<void>>();
    let overloaded = 0;
    this.#writeFailure = undefined;
    while (await this.#mayAsk()) {
      const now = this.#clock();
      const request = this.#client.begin(now);
      if (request === undefined) {
        const wait = this.#client.notBefore - now.monotonicMs;
        if (!(wait > 0 && wait <= this.#intervalMs)) break;
        await this.#sleep(wait, this.#closed.signal);
        continue;
      }
      this.#sentAt.push(now.monotonicMs);
      const decision = await this.#ask(request);
      if (decision?.kind === 'start-over') continue;
      if (decision?.kind === 'refuse' && decision.refusal === 'overloaded' && overloaded < MAX_OVERLOADED) {
        overloaded += 1;
        await this.#sleep(OVERLOADED_PAUSE_MS, this.#closed.signal);
        continue;
      }
      if (decision?.kind !== 'page') {
        this.#client.abandon();
        break;
      }
      const { page } = decision;
      // An earlier page failed while this one was requested. The cursor of this page would skip it.
      if (this.#hasWriteFailed()) {
        for (const { applicationRoot } of page.entries) applicationRoot?.wipe();
        break;
      }
      const written = this.#write(page, now.wallMs)
        .catch((error: unknown) => {
          if (!(error instanceof Failure)) throw error;
          this.#writeFailure ??= error;
        })
        .finally(() => unwritten.delete(written));
      unwritten.add(written);
      if (!page.more) await Promise.all(unwritten);
      else if (unwritten.size >= MAX_UNWRITTEN_PAGES) await Promise.race(unwritten);
      if (this.#hasWriteFailed()) break;
      this.#client.commit(page);
      if (!page.more) return true;
      overloaded = 0;
    }
    await Promise.all(unwritten);
    this.#resume();
    return false;
  }

  /** Waits until the rate limit allows another M12. Returns false if none may be sent. */
  async #mayAsk(): Promise<boolean> {
    if (this.#sentAt.length === M12_WINDOW.count) {
      const first = this.#sentAt.shift() ?? 0;
      await this.#sleep(first + M12_WINDOW.ms - this.#clock().monotonicMs, this.#closed.signal);
    }
    return !this.#closed.signal.aborted && !this.#hasWriteFailed();
  }

  async #ask(request: Uint8Array): Promise<KeyFeedDecision | undefined> {
    let decision: KeyFeedDecision | undefined;
    await this.#authServer.request(request, (octets) => {
      const judged = this.#client.receive(octets, this.#clock().monotonicMs);
      if (judged.kind === 'ignored') return judged;
      decision = judged;
      return judged.kind === 'refuse' ? judged : { kind: 'answer', octets: EMPTY };
    });
    if (decision?.kind === 'start-over') this.#log.info('the auth-server tells of all nodes again');
    return decision;
  }

  /**
   * Writes a page. If nothing changed, writes only the confirmation, and only after its interval.
   */
  #write(page: KeyFeedPage, wallMs: number): Promise<void> {
    const { entries, retains, resumeCursor, more } = page;
    const now = this.#clock().monotonicMs;
    const isDue = !more && now - this.#confirmationWrittenAt >= CONFIRMATION_WRITE_MS;
    if (!more) this.#confirmedAt = wallMs;
    if (entries.length === 0 && retains === undefined && !isDue) return Promise.resolve();
    if (!more) this.#confirmationWrittenAt = now;
    const { unverifiedMs = 0, isWithdrawn = false } = more ? this.#store.feedProgress : {};
    return this.#store.applyPage(page, { cursor: resumeCursor, confirmedAt: this.#confirmedAt, unverifiedMs, isWithdrawn });
  }

  /** After a failed write, continues from the progress that is on the disk. */
  #resume(): void {
    const failure = this.#writeFailure;
    if (failure === undefined) return;
    this.#rateLimitedLog.warn('store', { advice: failure.advice }, failure.message);
    this.#confirmationWrittenAt = -Infinity;
    this.#client.rewind(this.#store.feedProgress.cursor);
  }

  #saveProgress(changed: Partial<FeedProgress>): Promise<void> {
    const isWithdrawn = this.#isWithdrawn;
    return this.#store.saveFeedProgress({ ...this.#store.feedProgress, isWithdrawn, ...changed });
  }

  /**
   * Writes the unverified time if a limit is set and `everyMs` have passed since the last write.
   */
  async #keepUnverified(everyMs: number): Promise<void> {
    const { monotonicMs } = this.#clock();
    const unverifiedMs = this.#unverifiedMs();
    if (this.#maxUnverifiedMs === 0 || unverifiedMs < this.#intervalMs || monotonicMs - this.#unverifiedWrittenAt < everyMs)
      return;
    this.#unverifiedWrittenAt = monotonicMs;
    // Makes the next complete answer write its confirmation, which ends the unverified time.
    this.#confirmationWrittenAt = -Infinity;
    await this.#tellFailure(() => this.#saveProgress({ unverifiedMs }));
  }

  /** Withdraws all keys, or gives them out again. */
  async #withdrawOrRestore(): Promise<void> {
    const isOverdue = this.#isOverdue();
    if (isOverdue === this.#isWithdrawn) return;
    this.#isWithdrawn = isOverdue;
    if (isOverdue) this.#log.error({ advice: 'Check the way to the auth-server, and its log.' }, this.fault() ?? '');
    else this.#log.info('the auth-server has confirmed the keys of the nodes; they are given out again');
    this.#store.announceAll();
    if (isOverdue) await this.#keepUnverified(0);
  }

  #note(isComplete: boolean): void {
    if (this.#closed.signal.aborted) return;
    this.#polls.increment(isComplete ? 'complete' : 'missed');
    const fault = this.fault();
    if (fault !== undefined && !this.#isAlarmed) {
      this.#isAlarmed = true;
      this.#log.warn({ advice: 'Check the way to the auth-server, and its log.' }, fault);
    } else if (isComplete && this.#isAlarmed) {
      this.#isAlarmed = false;
      this.#log.info('the auth-server has confirmed the keys of the nodes again');
    }
  }

  async #tellFailure(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#rateLimitedLog.warn('store', { advice: error.advice }, error.message);
    }
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (ms > 0) await this.#pause(ms, signal);
  }
}
