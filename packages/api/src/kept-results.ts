/**
 * Results of walks through the whole registry, kept for a while with the time of the walk. Requests
 * for the same result share one walk, if it did not begin too long ago for one of them.
 */

import type { Registry } from '@latchkey/registry';

/** Results that are kept; at the bound the least recent goes. */
const MAX_RESULTS = 16;
/** Items of all results that are kept. A larger result is used once. */
const MAX_ITEMS = 100_000;

export interface KeptResult<T> {
  /** When the walk began, ms since the epoch. */
  readonly at: number;
  readonly items: readonly T[];
}

export class KeptResults<T> {
  /** Of one registry: after a restore another one is open. */
  #registry: Registry | undefined;
  readonly #closed = new AbortController();
  readonly #results = new Map<string, KeptResult<T>>();
  /** The latest of each name that is under way. */
  readonly #walks = new Map<string, { readonly at: number; readonly result: Promise<KeptResult<T>> }>();

  /**
   * Returns the result of that name if it is no older than `maxAgeMs`. Otherwise walks.
   *
   * @param now ms since the epoch
   * @param walk goes on without the caller that it was begun for: others may wait for it
   */
  async get(
    registry: Registry,
    name: string,
    { now, maxAgeMs }: { readonly now: number; readonly maxAgeMs: number },
    walk: (signal: AbortSignal) => Promise<readonly T[]>,
  ): Promise<KeptResult<T>> {
    if (this.#registry !== registry) {
      this.#registry = registry;
      this.#results.clear();
      this.#walks.clear();
    }
    // A clock that was set back makes a result look newer than it is.
    const isRecent = ({ at }: { readonly at: number }): boolean => Math.abs(now - at) <= maxAgeMs;
    const kept = this.#results.get(name);
    if (kept !== undefined && isRecent(kept)) {
      this.#put(name, kept);
      return kept;
    }
    const underWay = this.#walks.get(name);
    if (underWay !== undefined && isRecent(underWay)) return underWay.result;
    const result = this.#walk(registry, name, now, walk).finally(() => {
      if (this.#walks.get(name) === started) this.#walks.delete(name);
    });
    const started = { at: now, result };
    this.#walks.set(name, started);
    return result;
  }

  async #walk(
    registry: Registry,
    name: string,
    at: number,
    walk: (signal: AbortSignal) => Promise<readonly T[]>,
  ): Promise<KeptResult<T>> {
    const result = { at, items: await walk(this.#closed.signal) };
    const isLatest = (this.#results.get(name)?.at ?? -Infinity) <= at;
    if (this.#registry === registry && isLatest && result.items.length <= MAX_ITEMS) this.#put(name, result);
    return result;
  }

  /** Gives up the walks that are under way. */
  close(): void {
    this.#closed.abort();
  }

  #put(name: string, result: KeptResult<T>): void {
    this.#results.delete(name);
    this.#results.set(name, result);
    let items = 0;
    for (const kept of this.#results.values()) items += kept.items.length;
    for (const [oldest, kept] of this.#results) {
      if (this.#results.size <= MAX_RESULTS && items <= MAX_ITEMS) return;
      this.#results.delete(oldest);
      items -= kept.items.length;
    }
  }
}
