/** The node (SBI): joins, renews before expiry, and retries with the profile's back-off. */

import { randomInt } from 'node:crypto';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  backOff,
  CANDIDATE_MIN_AGE_MS,
  formatId,
  MAX_CANDIDATES,
  type NodeClocks,
  saveIntervalMs,
  msUntilRenewal,
} from '@latchkey/protocol';
import { adviceInOneLine } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { formatEndpoint } from '@latchkey/runtime/net';
import { type Log, monotonicNow } from '@latchkey/runtime/daemon';
import type { AttemptResult } from './attempt-result.js';
import { attemptJoin } from './join-attempt.js';
import { NodeMetrics } from './metrics.js';
import { endOf } from './key-lease.js';
import type { NodeFile, RecordChange } from './node-file.js';
import { CumulativeUptime } from './cumulative-uptime.js';
import type { MemorySaver } from './memory-saver.js';
import type { NodeTargets } from './targets.js';

/** The longest sleep, in ms: the wall clock may be set during it, and is then read again. */
const POLL_INTERVAL_MS = 60_000;
/** On a stop, powered time is saved if the last save was longer ago than this, in ms. */
const STOP_SAVE_AFTER_MS = 1_000;
/** How long `ageCandidates` waits at most, and how often it saves powered time, in ms. */
const AGING = { limitMs: 120_000, saveIntervalMs: 5_000 } as const;

/** More than the number of a node's controllers times their addresses. */
const TURNS = 2 ** 16;

export interface NodeAgentOptions {
  readonly file: NodeFile;
  readonly folder: string;
  readonly onKeyChange: string | undefined;
  readonly targets?: Pick<NodeTargets, 'update'> | undefined;
  readonly log: Log;
  /** Only for an agent that has the process to itself. */
  readonly memorySaver?: MemorySaver;
}

type JoinedResult = Extract<AttemptResult, { kind: 'joined' }>;

interface Failed {
  readonly kind: 'failed';
  readonly failure: Failure;
  /** Max-Age of the refusal, in seconds. */
  readonly maxAge: number;
  /** The longest delay before the next attempt, in ms: by then it may succeed. */
  readonly maxDelayMs: number;
}

export class NodeAgent {
  readonly metrics: NodeMetrics = new NodeMetrics();
  readonly #file: NodeFile;
  readonly #folder: string;
  readonly #onKeyChange: string | undefined;
  readonly #targets: Pick<NodeTargets, 'update'> | undefined;
  readonly #log: Log;
  readonly #memorySaver: MemorySaver | undefined;
  readonly #uptime: CumulativeUptime;
  readonly #stopping = new AbortController();
  /** Ends the current sleep. */
  #wake = new AbortController();
  #isAsked = false;
  /** Counts attempts: each takes the next controller, and the next address of it. */
  #nextController: number;
  /** Settles when the running hook, and those queued after it, have ended. */
  #hookRun: Promise<void> = Promise.resolve();
  /** When powered time was last saved, or failed to be, in ms of powered time. */
  #saveAttemptedAt = -Infinity;

  constructor({ file, folder, onKeyChange, targets, log, memorySaver }: NodeAgentOptions) {
    this.#file = file;
    this.#folder = resolve(folder);
    this.#onKeyChange = onKeyChange;
    this.#targets = targets;
    this.#log = log;
    this.#memorySaver = memorySaver;
    this.#uptime = new CumulativeUptime(file.record.powered);
    // `join` makes one attempt per process. After a failure the next process starts at a random
    // address, so that not every attempt uses the first.
    const { lastAttempt } = file.record;
    this.#nextController = lastAttempt === undefined || lastAttempt.outcome === 'joined' ? 0 : randomInt(0, TURNS);
  }

  /** Makes one attempt. Throws a Failure that explains why the node got no key. */
  async join(): Promise<JoinedResult> {
    const result = await this.#attempt();
    if (result.kind === 'joined') return result;
    throw result.failure;
  }

  /** Joins and renews until `stop`. */
  async run(): Promise<void> {
    this.#targets?.update();
    // Do not wait for the hook: a device may be switched off before a slow hook ends.
    void this.runPendingHook();
    await this.#joinAndRenew();
    await this.#hookRun;
    const { state, keyLease } = this.#file.record;
    const savesUptime = keyLease?.renewal !== undefined || state.candidates.length > 0;
    if (savesUptime && this.#uptime.now() - this.#savedAt >= STOP_SAVE_AFTER_MS) await this.#saveUptime();
  }

  async #joinAndRenew(): Promise<void> {
    let footprintReduced = false;
    for (let failures = 0; !this.#isStopped();) {
      const wait = failures === 0 && !this.#isAsked ? this.#msUntilDue() : 0;
      if (wait > 0) {
        await this.saveUptime();
        await this.forgetFormerKey();
        if (!footprintReduced) this.#memorySaver?.collectGarbage();
        footprintReduced = true;
        await this.#sleep(Math.min(wait, POLL_INTERVAL_MS, this.#msUntilSave()));
        continue;
      }
      footprintReduced = false;
      this.#isAsked = false;
      const result = await this.#attempt();
      if (result.kind === 'joined') {
        failures = 0;
        continue;
      }
      if (this.#isStopped()) return;
      failures += 1;
      const delay = Math.min(backOff(failures, randomInt(0, 2 ** 32) / 2 ** 32, result.maxAge), result.maxDelayMs);
      this.#log.warn(
        { advice: adviceInOneLine(result.failure), failures, nextInSeconds: Math.round(delay / 1000) },
        result.failure.message,
      );
      this.#memorySaver?.collectGarbage();
      await this.#sleep(delay);
    }
  }

  stop(): void {
    this.#stopping.abort();
    this.#wake.abort();
  }

  /** Makes the next attempt immediately. */
  joinNow(): void {
    this.#isAsked = true;
    this.#wake.abort();
  }

  #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Whether an attempt is due: the node has not joined, has an open candidate, or must renew. */
  get isDue(): boolean {
    return this.#msUntilDue() === 0;
  }

  clocks(): NodeClocks {
    return this.#uptime.clocks();
  }

  /** Returns ms until the next attempt. */
  #msUntilDue(): number {
    const { state, keyLease } = this.#file.record;
    if (state.initial || state.candidates.length > 0 || keyLease === undefined) return 0;
    return Math.max(0, msUntilRenewal(keyLease, this.clocks()));
  }

  /**
   * Saves powered time if the key's renewal depends on it and the save interval has passed: a power
   * cut loses at most one interval. The first call in each boot saves at once.
   */
  async saveUptime(): Promise<void> {
    if (this.#msUntilSave() === 0) await this.#saveUptime();
  }

  /** Erases the former key once no peer uses it. */
  async forgetFormerKey(): Promise<void> {
    const { formerKey } = this.#file.record;
    const now = this.clocks();
    if (formerKey === undefined || endOf(formerKey, now) > now.wallMs) return;
    await this.#write({ formerKey: undefined });
    if (this.#file.record.formerKey === undefined) formerKey.applicationRoot.wipe();
  }

  /**
   * Waits, for two minutes at most, until the oldest of four candidates may be replaced by a fifth.
   * Saves powered time during the wait. Otherwise, on a device where a timer starts one attempt per
   * boot, powered time would grow by only a second with each boot.
   */
  async ageCandidates(): Promise<void> {
    const deadlineAt = monotonicNow() + AGING.limitMs;
    while (this.#isOldestCandidateTooYoung() && monotonicNow() < deadlineAt) {
      await this.#sleep(AGING.saveIntervalMs);
      await this.#saveUptime();
    }
  }

  #isOldestCandidateTooYoung(): boolean {
    const { candidates } = this.#file.record.state;
    const [oldest] = candidates;
    return candidates.length === MAX_CANDIDATES && this.#uptime.now() - (oldest?.storedAt ?? 0) < CANDIDATE_MIN_AGE_MS;
  }

  async #saveUptime(): Promise<void> {
    // After a failed write, too, wait for the whole interval.
    this.#saveAttemptedAt = this.#uptime.now();
    await this.#write({ powered: this.#uptime.save() });
  }

  #msUntilSave(): number {
    const { keyLease } = this.#file.record;
    if (keyLease?.renewal === undefined) return Infinity;
    return Math.max(0, this.#savedAt + saveIntervalMs(keyLease.renewal) - this.#uptime.now());
  }

  /** When powered time was last saved in this boot, in ms of powered time; -Infinity if never. */
  get #savedAt(): number {
    const { powered } = this.#file.record;
    return Math.max(this.#saveAttemptedAt, powered?.boots === this.#uptime.boots ? powered.ms : -Infinity);
  }

  async #attempt(): Promise<JoinedResult | Failed> {
    await this.forgetFormerKey();
    const { state, endpoints } = this.#file.record;
    const controller = endpoints[this.#nextController % endpoints.length];
    if (controller === undefined) throw new Failure('the node has no controller');
    const turn = Math.floor(this.#nextController / endpoints.length);
    this.#nextController += 1;
    const node = formatId(state.idI);
    this.#log.debug({ node, controller: formatEndpoint(controller) }, 'attempt');
    try {
      const result = await attemptJoin({
        file: this.#file,
        controller,
        turn,
        uptime: this.#uptime,
        log: this.#log,
        signal: this.#stopping.signal,
        metrics: this.metrics,
        onSent: () => this.#memorySaver?.reduceFootprint(),
      });
      this.metrics.recordResult(result);
      if (result.kind === 'joined') {
        const { keyBefore, key, lifetime } = result;
        this.#log.info({ node, keyBefore, key, lifetimeSeconds: lifetime }, 'joined');
        this.#targets?.update();
        await this.runPendingHook();
        return result;
      }
      const maxAge = result.kind === 'failed' && result.reason.kind === 'refused' ? (result.reason.maxAge ?? 0) : 0;
      // Most of it is text, which an agent that joins does not need.
      const { describeFailure } = await import('./failure-advice.js');
      return await this.#failed(
        describeFailure(result, { state, folder: this.#folder, controller }),
        maxAge,
        result.kind === 'wait' ? result.forMs : Infinity,
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.metrics.recordResult(undefined);
      return this.#failed(error, 0, Infinity);
    }
  }

  async #failed(failure: Failure, maxAge: number, maxDelayMs: number): Promise<Failed> {
    await this.#recordAttempt(failure.message);
    this.#targets?.update();
    await this.runPendingHook();
    return { kind: 'failed', failure, maxAge, maxDelayMs };
  }

  /**
   * Records the outcome, and saves powered time, so that candidates also age on a device that is
   * switched off after each attempt.
   */
  async #recordAttempt(outcome: string): Promise<void> {
    await this.#write({ powered: this.#uptime.save(), lastAttempt: { at: Date.now(), outcome } });
  }

  /** Writes data that no key depends on: a failure to write it is only logged. */
  async #write(change: RecordChange): Promise<void> {
    try {
      await this.#file.write(change);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#log.error({ advice: error.advice }, error.message);
    }
  }

  /**
   * Runs the hook if it has not run since the confirmed key changed, or expired. Hooks run one at a
   * time. If the process crashes first, the hook runs after the next start.
   */
  runPendingHook(): Promise<void> {
    this.#hookRun = this.#hookRun.then(() => this.#runPendingHook());
    return this.#hookRun;
  }

  async #runPendingHook(): Promise<void> {
    if (this.#onKeyChange === undefined) return;
    const { runDueHook } = await import('./hook.js');
    await runDueHook({
      command: this.#onKeyChange,
      file: this.#file,
      now: this.clocks(),
      stateFolder: this.#folder,
      log: this.#log,
      signal: this.#stopping.signal,
      write: (change) => this.#write(change),
    });
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#isAsked || this.#isStopped()) return;
    // `stop` aborts this one too: a signal made from `#stopping` would be kept by it, one a sleep.
    this.#wake = new AbortController();
    await pause(ms, undefined, { signal: this.#wake.signal }).catch(() => undefined);
  }
}
