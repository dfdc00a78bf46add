/**
 * Runs `on_revoke` of a target, one node after another, while its files go on being written: a
 * program that hangs must not keep the key of another node in a file.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { Log } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import type { LabelledCounter } from '@latchkey/runtime/telemetry';
import type { Account } from './account.js';
import { runProgram } from './command.js';
import type { Journal } from './journal.js';
import type { TargetConfig } from './target-config.js';

/** Programs that failed run again after 1 s, then after twice as long each time, in ms. */
const RETRY = { firstMs: 1_000, maxMs: 60_000 } as const;
/**
 * The journal is written so often while programs run, in ms. It has all nodes: to write it for each
 * of thousands that are revoked together would wear out a flash disk.
 */
const NOTE_INTERVAL_MS = 1_000;

export interface RevocationHooksOptions {
  readonly target: {
    readonly config: Pick<TargetConfig, 'file' | 'on_revoke'>;
    readonly field: string;
    readonly runAs: Account | undefined;
  };
  readonly journal: Journal;
  readonly outcomes: LabelledCounter<'notified' | 'failed'>;
  readonly log: Log;
  /** Ends the program that runs. */
  readonly signal: AbortSignal;
  /** Whether a file has a key of the node, or will have it. */
  readonly isGivenOut: (id: string) => boolean;
  /** Called when nothing is left to do. */
  readonly onIdle: () => void;
}

export class RevocationHooks {
  readonly #options: RevocationHooksOptions;
  /** Reasons by ID, in the order in which the nodes are notified. No more than the journal has. */
  #due = new Map<string, string>();
  /** Those whose program failed. They wait until all others had their turn. */
  #failed = new Map<string, string>();
  #current: string | undefined;
  /** Those whose program has run, which the journal does not have yet. */
  #notified = new Set<string>();
  #notedAt = -Infinity;
  #isJournalBehind = false;
  #failures = 0;
  #fault: string | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;
  #wake = new AbortController();

  constructor(options: RevocationHooksOptions) {
    this.#options = options;
  }

  /** What fails at present, for a person. Returns `undefined` if nothing does. */
  get fault(): string | undefined {
    return this.#fault;
  }

  get isIdle(): boolean {
    return this.#running === undefined;
  }

  /**
   * Notifies of a node whose key is in no file any more.
   *
   * @param isNew it lost its key just now; otherwise the notification may be pending already
   */
  add(id: string, reason: string, isNew: boolean): void {
    if (!isNew && [this.#due, this.#failed, this.#notified].some((nodes) => nodes.has(id))) return;
    if (!isNew && this.#current === id) return;
    this.#failed.delete(id);
    this.#notified.delete(id);
    this.#due.set(id, reason);
    this.#wake.abort();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (!this.#isStopped) this.#options.onIdle();
    });
  }

  /** Waits for the program that runs. No other one is started. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const [next] = this.#due;
      const isNoteDue = next === undefined || performance.now() - this.#notedAt > NOTE_INTERVAL_MS;
      if (this.#notified.size > 0 && isNoteDue) {
        if (!(await this.#note()) && next === undefined) await this.#retryLater();
      } else if (next !== undefined) await this.#notify(...next);
      else if (this.#failed.size > 0) await this.#retryLater();
      else break;
    }
    if (this.#notified.size > 0) await this.#note();
  }

  async #notify(id: string, reason: string): Promise<void> {
    const { outcomes, log } = this.#options;
    const { file } = this.#options.target.config;
    this.#due.delete(id);
    this.#current = id;
    try {
      await this.#runProgram(id, reason);
      outcomes.increment('notified');
      log.info({ file, node: id, reason }, 'on_revoke has run');
      // It may have lost another key since.
      if (!this.#due.has(id)) this.#notified.add(id);
      this.#noteSuccess();
    } catch (error) {
      outcomes.increment('failed');
      if (!this.#due.has(id)) this.#failed.set(id, reason);
      this.#tell(error);
    } finally {
      this.#current = undefined;
    }
  }

  /** Has the journal forget those that are notified. Returns false if the disk does not take it. */
  async #note(): Promise<boolean> {
    const { journal, isGivenOut } = this.#options;
    const notified = [...this.#notified];
    try {
      // A node that has a key again stays in the journal: its file has it.
      await journal.remove(new Set(notified.filter((id) => !isGivenOut(id))));
      for (const id of notified) this.#notified.delete(id);
      this.#isJournalBehind = false;
      this.#noteSuccess();
    } catch (error) {
      this.#isJournalBehind = true;
      this.#tell(error);
    }
    this.#notedAt = performance.now();
    return !this.#isJournalBehind;
  }

  #noteSuccess(): void {
    if (this.#failed.size > 0 || this.#isJournalBehind) return;
    this.#failures = 0;
    this.#fault = undefined;
  }

  async #runProgram(id: string, reason: string): Promise<void> {
    const { target, signal } = this.#options;
    const { config, field, runAs } = target;
    const words = (config.on_revoke ?? []).map((word) => word.replaceAll('{id}', id));
    const environment = { LATCHKEY_ID: id, LATCHKEY_REASON: reason, LATCHKEY_FILE: config.file };
    await runProgram({ words, runAs, signal }, `${field}.on_revoke`, environment);
  }

  /** Gives those that failed another turn, after a wait that a new one ends. */
  async #retryLater(): Promise<void> {
    // One may have come while the journal was written, or the process may stop.
    if (this.#due.size > 0 || this.#isStopped) return;
    this.#wake = new AbortController();
    const waitMs = Math.min(RETRY.firstMs * 2 ** this.#failures, RETRY.maxMs);
    const isOver = await pause(waitMs, true, { signal: this.#wake.signal }).catch(() => false);
    if (!isOver) return;
    this.#failures += 1;
    this.#due = this.#failed;
    this.#failed = new Map();
  }

  #tell(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const isNews = message !== this.#fault;
    this.#fault = message;
    const advice = error instanceof Failure ? error.advice : undefined;
    if (isNews) this.#options.log.error({ file: this.#options.target.config.file, advice, waiting: this.#failed.size }, message);
  }
}
