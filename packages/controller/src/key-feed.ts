/**
 * Keeps the store true to the registry: asks the auth-server what changed, every few seconds and
 * when told to, and has the answers written in their place among the joins. What an answer means is
 * decided by `KeyFeedClient`.
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
 * An auth-server answers 100 new TIDs a second. So many M12 are sent in that time, in ms, which is
 * longer than a second as some are on their way for longer than others.
 */
const M12_WINDOW = { count: 100, ms: 1_050 } as const;
/**
 * A registry that was restored is noticed with the next poll, and all nodes are walked through
 * after it. Both and the spare, for round trips and the disk, together take so long, in ms.
 */
const RIGHT_AGAIN = { ms: 15_000, spareMs: 2_000 } as const;
/** However many nodes there are, the default interval is not shorter, in ms. */
const MIN_DEFAULT_INTERVAL_MS = 4_000;
/** Pages on their way to the disk. At the bound it waits for the disk. */
const MAX_UNWRITTEN_PAGES = 256;
/** After reason 8, in ms; and how often in a row. */
const OVERLOADED_PAUSE_MS = 1_000;
const MAX_OVERLOADED = 5;
/** When the registry confirmed all keys is written again after this, in ms, if nothing changes. */
const CONFIRMATION_WRITE_MS = 60_000;
/**
 * Without a complete answer for so long it says so, in ms: a minute, or six intervals if that is
 * longer.
 */
const MIN_ALARM_MS = 60_000;
const ALARM_INTERVALS = 6;

/** How long the keys have not been confirmed is written after so long, in ms: a kill costs that. */
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
  /** The feed's own. */
  readonly skCs: Secret;
  readonly nextTid: () => bigint | undefined;
  readonly randomBytes: (n: number) => Uint8Array;
  readonly authServer: Pick<AuthServerClient, 'request'>;
  readonly store: KeyFeedStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Left out: 10 s, and less where a walk through all nodes takes long. */
  readonly intervalMs?: number | undefined;
  /**
   * No key is given out once the registry has not confirmed them for so long, in ms; 0: they always
   * are. Time in which the controller does not run does not count.
   */
  readonly maxUnverifiedMs: number;
  /** Left out: that of the profile. */
  readonly newClient?: (options: KeyFeedClientOptions) => KeyFeedClient;
  /** Left out: that of this process. */
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
  /** When the latest M12 were sent, by the monotonic clock: as many as the window has. */
  readonly #sentAt: number[] = [];
  readonly #polls = new LabelledCounter<'complete' | 'missed'>(['complete', 'missed']);
  readonly #closed = new AbortController();
  /** Who waits for an answer that is asked for from now on. */
  #waiting: ((isComplete: boolean) => void)[] = [];
  #wake = new AbortController();
  #running: Promise<void> | undefined;
  readonly #maxUnverifiedMs: number;
  readonly #startedAt: number;
  /** For how long the keys had not been confirmed when it started. */
  readonly #unverifiedBeforeMs: number;
  /** By the monotonic clock. */
  #unverifiedWrittenAt: number;
  #isWithdrawn: boolean;
  /** By the wall clock, as the store has it or will have it. */
  #confirmedAt: number | undefined;
  /** By the monotonic clock. */
  #confirmationWrittenAt = -Infinity;
  #isAlarmed = false;
  /** Why a page that the disk was given was not written. */
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

  /** Asks at once, and from then on at the interval. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Asks as soon as what is under way is over. Resolves with whether a complete answer came. */
  askNow(): Promise<boolean> {
    if (this.#closed.signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#wake.abort();
    });
  }

  /** An M8 or M11 arrived. Returns false if its key is not to be stored: the feed tells of it. */
  joined({ idI, tid }: JoinResult): boolean {
    const counts = this.#client.joined(idI, tid);
    if (!counts) {
      this.#log.info({ node: formatId(idI) }, 'the join began before the registry was read; its key is asked for');
      void this.askNow();
    }
    return counts;
  }

  /** Another SK_cs, the feed's own. */
  rekey(skCs: Secret): void {
    this.#client.rekey(skCs);
  }

  /** Why the keys are not confirmed; `undefined` if they are, or may still be soon. */
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

  /** Since the registry last confirmed all keys, as far as this controller ran, in ms. */
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

  /** From one poll to the next: `RIGHT_AGAIN` holds with many nodes, too. */
  #pollIntervalMs(): number {
    if (this.#isIntervalSet) return this.#intervalMs;
    const pages = Math.ceil(this.#store.nodeCount / MAX_FEED_ENTRIES);
    const left = RIGHT_AGAIN.ms - RIGHT_AGAIN.spareMs - (pages * M12_WINDOW.ms) / M12_WINDOW.count;
    return Math.min(Math.max(left, MIN_DEFAULT_INTERVAL_MS), this.#intervalMs);
  }

  /** Asks until an answer is complete. Returns false if none came. */
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
      // One before it failed while this one was asked for. Its cursor would skip what that one had.
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

  /** Waits until the auth-server answers another M12. Returns false if none is to be sent. */
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

  /** Nothing is written while nothing changes, but now and then that it was confirmed. */
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

  /** The disk did not take a page: what it has counts. */
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
   * Writes for how long the keys have not been confirmed, where that matters; `everyMs` at most.
   */
  async #keepUnverified(everyMs: number): Promise<void> {
    const { monotonicMs } = this.#clock();
    const unverifiedMs = this.#unverifiedMs();
    if (this.#maxUnverifiedMs === 0 || unverifiedMs < this.#intervalMs || monotonicMs - this.#unverifiedWrittenAt < everyMs)
      return;
    this.#unverifiedWrittenAt = monotonicMs;
    // The next complete answer is written: it ends what this write says.
    this.#confirmationWrittenAt = -Infinity;
    await this.#tellFailure(() => this.#saveProgress({ unverifiedMs }));
  }

  /** Gives out no key any more, or all of them again. */
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
