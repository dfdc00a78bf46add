/** SBI at work: joins, renews before expiry, tries again with the profile's back-off. */

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
import { adviceInOneLine, Failure, formatEndpoint, type Log, monotonicNow } from '@latchkey/runtime';
import { attempt, type AttemptResult } from './attempt.js';
import { NodeCounts } from './counts.js';
import { explain } from './explain.js';
import { runHook } from './hook.js';
import type { NodeFile, RecordChange } from './node-file.js';
import { PoweredClock } from './powered-clock.js';
import type { Thrift } from './thrift.js';

/** Longest sleep before the clocks are looked at again, in ms: a wall clock may be set meanwhile. */
const LOOK_EVERY_MS = 60_000;
/** At a stop powered time is saved unless it was saved less than this before, in ms. */
const SAVED_AT_STOP_MS = 1_000;
/** `ageCandidates` waits so long at most, and saves powered time so often, in ms. */
const AGING = { limit: 120_000, save: 5_000 } as const;

/** More than a node has controllers and addresses. */
const TURNS = 2 ** 16;

export interface NodeAgentOptions {
  readonly file: NodeFile;
  readonly folder: string;
  readonly onKeyChange: string | undefined;
  readonly log: Log;
  /** Of whoever has the process to itself. */
  readonly thrift?: Thrift;
}

type Joined = Extract<AttemptResult, { kind: 'joined' }>;

interface Failed {
  readonly kind: 'failed';
  readonly failure: Failure;
  /** The network's wish, in seconds. */
  readonly maxAge: number;
  /** After which another attempt can come to more: it is not put off for longer, in ms. */
  readonly waitMs: number;
}

export class NodeAgent {
  readonly counts: NodeCounts = new NodeCounts();
  readonly #file: NodeFile;
  readonly #folder: string;
  readonly #onKeyChange: string | undefined;
  readonly #log: Log;
  readonly #thrift: Thrift | undefined;
  readonly #powered: PoweredClock;
  readonly #stopping = new AbortController();
  /** Attempts take the controllers in turn, and the addresses of each. */
  #turn: number;
  /** The hook that runs, and those that wait for it. */
  #telling: Promise<void> = Promise.resolve();
  /** The last try to save powered time, in ms of powered time. */
  #saveTriedAt = -Infinity;

  constructor({ file, folder, onKeyChange, log, thrift }: NodeAgentOptions) {
    this.#file = file;
    this.#folder = resolve(folder);
    this.#onKeyChange = onKeyChange;
    this.#log = log;
    this.#thrift = thrift;
    this.#powered = new PoweredClock(file.record.powered);
    // `join` makes one attempt: after one that failed, the next process must not try the same address again each time.
    const { lastAttempt } = file.record;
    this.#turn = lastAttempt === undefined || lastAttempt.outcome === 'joined' ? 0 : randomInt(0, TURNS);
  }

  /** One attempt. Throws a Failure that explains why there is no new key. */
  async join(): Promise<Joined> {
    const result = await this.#attempt();
    if (result.kind === 'joined') return result;
    throw result.failure;
  }

  /** Joins and renews until `stop`. */
  async run(): Promise<void> {
    // A hook that hangs must not keep a device that is soon switched off again from its attempt.
    void this.tell();
    await this.#keepJoined();
    await this.#telling;
    const { state, membership } = this.#file.record;
    const counts = membership?.renewal !== undefined || state.candidates.length > 0;
    if (counts && this.#powered.now() - this.#savedAt >= SAVED_AT_STOP_MS) await this.#saveTime();
  }

  async #keepJoined(): Promise<void> {
    let rested = false;
    for (let failures = 0; !this.#isStopped();) {
      const wait = failures === 0 ? this.#untilDue() : 0;
      if (wait > 0) {
        await this.saveTime();
        if (!rested) this.#thrift?.rest();
        rested = true;
        await this.#sleep(Math.min(wait, LOOK_EVERY_MS, this.#untilSave()));
        continue;
      }
      rested = false;
      const result = await this.#attempt();
      if (result.kind === 'joined') {
        failures = 0;
        continue;
      }
      if (this.#isStopped()) return;
      failures += 1;
      const delay = Math.min(backOff(failures, randomInt(0, 2 ** 32) / 2 ** 32, result.maxAge), result.waitMs);
      this.#log.warn(
        { advice: adviceInOneLine(result.failure), failures, nextInSeconds: Math.round(delay / 1000) },
        result.failure.message,
      );
      this.#thrift?.rest();
      await this.#sleep(delay);
    }
  }

  stop(): void {
    this.#stopping.abort();
  }

  #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Whether an attempt is due: not joined, a candidate is open, or it is time to renew. */
  get isDue(): boolean {
    return this.#untilDue() === 0;
  }

  clocks(): NodeClocks {
    return this.#powered.clocks();
  }

  /** ms until the next attempt. */
  #untilDue(): number {
    const { state, membership } = this.#file.record;
    if (state.initial || state.candidates.length > 0 || membership === undefined) return 0;
    return Math.max(0, msUntilRenewal(membership, this.clocks()));
  }

  /**
   * Saves powered time if the key's renewal depends on it and the last write of it is as old as a
   * boot may lose. The first call in each boot saves it at once.
   */
  async saveTime(): Promise<void> {
    if (this.#untilSave() === 0) await this.#saveTime();
  }

  /**
   * Waits while the oldest of four candidates is too young to make room for a fifth, two minutes at
   * most, and saves powered time as it passes. A device on which a timer starts one attempt a boot
   * would otherwise get a second older with each boot.
   */
  async ageCandidates(): Promise<void> {
    const end = monotonicNow() + AGING.limit;
    while (this.#isTooYoung() && monotonicNow() < end) {
      await this.#sleep(AGING.save);
      await this.#saveTime();
    }
  }

  #isTooYoung(): boolean {
    const { candidates } = this.#file.record.state;
    const [oldest] = candidates;
    return candidates.length === MAX_CANDIDATES && this.#powered.now() - (oldest?.storedAt ?? 0) < CANDIDATE_MIN_AGE_MS;
  }

  async #saveTime(): Promise<void> {
    // If the disk takes nothing, the next try is as far off as after a write.
    this.#saveTriedAt = this.#powered.now();
    await this.#write({ powered: this.#powered.save() });
  }

  #untilSave(): number {
    const { membership } = this.#file.record;
    if (membership?.renewal === undefined) return Infinity;
    return Math.max(0, this.#savedAt + saveIntervalMs(membership.renewal) - this.#powered.now());
  }

  /** When powered time was last saved in this boot, in ms of powered time. */
  get #savedAt(): number {
    const { powered } = this.#file.record;
    return Math.max(this.#saveTriedAt, powered?.boots === this.#powered.boots ? powered.ms : -Infinity);
  }

  async #attempt(): Promise<Joined | Failed> {
    const { state, endpoints } = this.#file.record;
    const controller = endpoints[this.#turn % endpoints.length];
    if (controller === undefined) throw new Failure('the node has no controller');
    const turn = Math.floor(this.#turn / endpoints.length);
    this.#turn += 1;
    const node = formatId(state.idI);
    this.#log.debug({ node, controller: formatEndpoint(controller) }, 'attempt');
    try {
      const result = await attempt({
        file: this.#file,
        controller,
        turn,
        powered: this.#powered,
        log: this.#log,
        signal: this.#stopping.signal,
        counts: this.counts,
        onSent: () => this.#thrift?.spare(),
      });
      this.counts.ended(result);
      if (result.kind === 'joined') {
        const { keyBefore, key, lifetime } = result;
        this.#log.info({ node, keyBefore, key, lifetimeSeconds: lifetime }, 'joined');
        await this.tell();
        return result;
      }
      const maxAge = result.kind === 'failed' && result.why.kind === 'refused' ? (result.why.maxAge ?? 0) : 0;
      return await this.#failed(
        explain(result, { state, folder: this.#folder, controller }),
        maxAge,
        result.kind === 'wait' ? result.forMs : Infinity,
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.counts.ended(undefined);
      return this.#failed(error, 0, Infinity);
    }
  }

  async #failed(failure: Failure, maxAge: number, waitMs: number): Promise<Failed> {
    await this.#remember(failure.message);
    await this.tell();
    return { kind: 'failed', failure, maxAge, waitMs };
  }

  /**
   * Powered time is saved with each attempt, too: a candidate grows old also on a device that is
   * switched off and on.
   */
  async #remember(outcome: string): Promise<void> {
    await this.#write({ powered: this.#powered.save(), lastAttempt: { at: Date.now(), outcome } });
  }

  /** Writes what may be lost: no key depends on it, so that a disk that takes nothing is logged and no more. */
  async #write(change: RecordChange): Promise<void> {
    try {
      await this.#file.write(change);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#log.error({ advice: error.advice }, error.message);
    }
  }

  /**
   * Runs the hook if the confirmed key is news, one at a time; what crashes in between is told at
   * the next start.
   */
  tell(): Promise<void> {
    this.#telling = this.#telling.then(() => this.#tell());
    return this.#telling;
  }

  async #tell(): Promise<void> {
    if (!this.#file.record.hookDue || this.#onKeyChange === undefined) return;
    const { idI, confirmed } = this.#file.record.state;
    const done = await runHook({
      command: this.#onKeyChange,
      idI,
      stateFolder: this.#folder,
      log: this.#log,
      signal: this.#stopping.signal,
    });
    // By now there may be another key, which it does not know of.
    if (done) await this.#write(({ state, hookDue }) => ({ hookDue: hookDue && state.confirmed !== confirmed }));
  }

  async #sleep(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
