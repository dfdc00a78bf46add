/**
 * One webhook: follows the audit log from its cursor on, and sends what happened, in order. The log
 * is the queue: the cursor moves, on the disk, once the receiver has taken a batch. A receiver may
 * get a batch twice, and none is left out.
 */

import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { replaceFile } from '@latchkey/runtime/files';
import type { LabelledCounter } from '@latchkey/runtime/telemetry';
import { type AuditFollower, type Cursor, cursorOf, type WebhookEvent } from './audit-follower.js';
import { deliver, type Delivery, type Target } from './delivery.js';

/** Events of one POST. */
const MAX_BATCH = 100;
/** Poll interval of the log, and first retry delay of a batch, in ms. */
const INTERVAL_MS = 1_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 300_000;
/** Of the hash in an ID. */
const ID_HASH_DIGITS = 16;
/** Before the first entry of a log. */
const START: Cursor = { seq: 0, at: null };
/** It is called stuck after so many failures in a row. */
const STUCK_AFTER = 5;

export interface WebhookOptions {
  readonly name: string;
  readonly target: Target;
  /** Kinds of entries; `undefined`: all. */
  readonly what: ReadonlySet<string> | undefined;
  readonly cursorPath: string;
  /** `undefined` for a new webhook: it begins with the next entry. */
  readonly cursor: Cursor | undefined;
  readonly follower: AuditFollower;
  readonly outcomes: LabelledCounter<'delivered' | 'failed'>;
  readonly log: Log;
  readonly intervalMs?: number | undefined;
  readonly firstRetryMs?: number | undefined;
}

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #log: RateLimitedLog;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  #cursor: Cursor | undefined;
  /** In a row. */
  #failures = 0;

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#log = new RateLimitedLog(options.log);
    this.#cursor = options.cursor;
    this.#running = this.#run();
  }

  get name(): string {
    return this.#options.name;
  }

  /** Number of the last entry that is done with. */
  get seq(): number {
    return this.#cursor?.seq ?? 0;
  }

  get isStuck(): boolean {
    return this.#failures >= STUCK_AFTER;
  }

  get outcomes(): WebhookOptions['outcomes'] {
    return this.#options.outcomes;
  }

  /** Aborts the pending delivery. The receiver gets it again after the next start. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { intervalMs = INTERVAL_MS, follower } = this.#options;
    if (this.#cursor === undefined) {
      const head = await this.#withRetries(() => follower.head());
      if (head === undefined || !(await this.#keep(head))) return;
    }
    while (!this.#abort.signal.aborted) {
      const entries = await this.#withRetries(() => follower.after(this.#cursor ?? START));
      if (entries === undefined) return;
      for (let from = 0; from < entries.length; from += MAX_BATCH)
        if (!(await this.#send(entries.slice(from, from + MAX_BATCH)))) return;
      if (entries.length === 0) await this.#wait(intervalMs);
    }
  }

  /** Returns false if the webhook was stopped. */
  async #send(entries: readonly WebhookEvent[]): Promise<boolean> {
    const { what, target, outcomes } = this.#options;
    const last = entries.at(-1);
    if (last === undefined) return true;
    const events = what === undefined ? entries : entries.filter((entry) => what.has(entry.what));
    if (events.length > 0) {
      const delivery = deliveryOf(events);
      const isDone = await this.#withRetries(async () => {
        try {
          await deliver(target, delivery, this.#abort.signal);
        } catch (error) {
          outcomes.increment('failed');
          throw error;
        }
        outcomes.increment('delivered');
        return true;
      });
      if (isDone === undefined) return false;
    }
    return this.#keep(cursorOf(last));
  }

  /** Returns false if the webhook was stopped. */
  async #keep(cursor: Cursor): Promise<boolean> {
    const isKept = await this.#withRetries(async () => {
      await replaceFile(this.#options.cursorPath, `${JSON.stringify(cursor)}\n`);
      return true;
    });
    this.#cursor = cursor;
    return isKept === true;
  }

  /** Tries until it works, ever more slowly. Returns `undefined` once the webhook is stopped. */
  async #withRetries<T>(action: () => Promise<T>): Promise<T | undefined> {
    const { firstRetryMs = FIRST_RETRY_MS } = this.#options;
    for (;;) {
      try {
        const result = await action();
        this.#failures = 0;
        return result;
      } catch (error) {
        if (this.#abort.signal.aborted) return undefined;
        this.#failures += 1;
        const reason = error instanceof Error ? error.message : String(error);
        this.#log.warn(this.name, { webhook: this.name, failures: this.#failures }, `a webhook is behind: ${reason}`);
        const delay = Math.min(MAX_RETRY_MS, firstRetryMs * 2 ** (this.#failures - 1));
        // Adds jitter, so that webhooks do not all retry at the same time after the receiver was
        // down.
        if (!(await this.#wait(delay * (0.75 + Math.random() / 2)))) return undefined;
      }
    }
  }

  /** Returns false if the webhook was stopped. */
  async #wait(ms: number): Promise<boolean> {
    try {
      await pause(ms, undefined, { signal: this.#abort.signal });
      return true;
    } catch {
      return false;
    }
  }
}

/**
 * The same events have the same ID, so a receiver detects a repeated batch. After a restore, entry
 * numbers are used again for other events. The ID therefore includes a hash of the body.
 */
function deliveryOf(events: readonly WebhookEvent[]): Delivery {
  const [first, last] = [events[0]?.seq ?? 0, events.at(-1)?.seq ?? 0];
  const body = JSON.stringify({ events });
  const hash = createHash('sha256').update(body).digest('hex').slice(0, ID_HASH_DIGITS);
  return { id: `audit_${first}_${last}_${hash}`, body };
}
