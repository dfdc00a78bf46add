/**
 * Fair rate limiter. Under overload every source must wait the same time between two accepted
 * requests. That time is adjusted until all sources together reach the configured rate. A source
 * below its share is always accepted, and a single source may use the whole rate. Unused capacity
 * of at most one second is saved, so nodes that all begin at once, some of them behind one address,
 * are no flood.
 *
 * Tables of fixed size have the time at which a source was last accepted, in two slots that depend
 * on a secret. A source that shares one slot with a busy source still has the other.
 */

import { randomInt } from 'node:crypto';

const TABLE_SIZE = 2 ** 17;
/** How often the wait is fitted to what is asked, in ms. */
const WINDOW_MS = 50;
/**
 * How much of what is missing or too much it makes up for in one step; all of it at once would
 * overshoot.
 */
const ADJUSTMENT_EXPONENT = 0.25;
/** Where far too many are served it doubles: up from the least to seconds takes less than one. */
const OVERLOAD_FACTOR = 3;
/**
 * A sudden flood is faster than the steps: more than so many times what is meant, and what was
 * saved, are not served in one window.
 */
const BURST_FACTOR = 4;
const MAX_WAIT_MS = 10_000;

export class FairRateLimiter {
  readonly #perSecond: number;
  readonly #perWindow: number;
  readonly #minWait: number;
  readonly #tables: readonly Table[] = [new Table(), new Table()];
  #windowEndsAt = 0;
  /** How many more than so many a second may be served, since fewer were before. */
  #credit = 0;
  /** In this window: how many asked, and how many of them had waited long enough. */
  #arrivals = 0;
  #eligible = 0;
  /** Between two requests of one source, in ms; 0 while there is enough for all. */
  #wait = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#perWindow = (perSecond * WINDOW_MS) / 1_000;
    this.#minWait = 1_000 / perSecond;
  }

  /** Whether a request of `source` at `monotonicMs` is served. */
  allow(source: string, monotonicMs: number): boolean {
    if (monotonicMs >= this.#windowEndsAt) this.#beginWindow(monotonicMs);
    this.#arrivals += 1;
    // Not quite the same for all, so that they do not come in step.
    const wait = this.#wait * (0.5 + Math.random());
    if (!this.#tables.some((table) => monotonicMs - table.lastAllowed(source) >= wait)) return false;
    this.#eligible += 1;
    if (this.#eligible > BURST_FACTOR * this.#perWindow + this.#credit) return false;
    for (const table of this.#tables) table.record(source, monotonicMs);
    return true;
  }

  #beginWindow(monotonicMs: number): void {
    const windows = 1 + Math.floor((monotonicMs - this.#windowEndsAt) / WINDOW_MS);
    this.#credit = Math.min(this.#perSecond, this.#credit + windows * this.#perWindow - this.#arrivals);
    if (this.#credit >= 0) this.#wait = 0;
    else {
      const overload = Math.max(this.#eligible, 1) / this.#perWindow;
      const factor = overload > OVERLOAD_FACTOR ? 2 : overload ** ADJUSTMENT_EXPONENT;
      this.#wait = Math.min(MAX_WAIT_MS, Math.max(this.#minWait, this.#wait * factor));
    }
    this.#credit = Math.max(0, this.#credit);
    this.#windowEndsAt = monotonicMs + WINDOW_MS;
    this.#arrivals = 0;
    this.#eligible = 0;
  }
}

class Table {
  readonly #salt = randomInt(2 ** 32);
  readonly #allowedAt = new Float64Array(TABLE_SIZE).fill(-Infinity);

  lastAllowed(source: string): number {
    return this.#allowedAt[this.#slotOf(source)] ?? 0;
  }

  record(source: string, monotonicMs: number): void {
    this.#allowedAt[this.#slotOf(source)] = monotonicMs;
  }

  /**
   * FNV-1a over the text, from a secret start. Who can forge sources need not find two that
   * collide.
   */
  #slotOf(source: string): number {
    let value = this.#salt;
    for (let i = 0; i < source.length; i++) value = Math.imul(value ^ source.charCodeAt(i), 0x01000193);
    value ^= value >>> 15;
    return (value ^ (value >>> 7)) & (TABLE_SIZE - 1);
  }
}
