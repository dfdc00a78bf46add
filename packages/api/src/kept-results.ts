/**
 * Results of walks through the whole registry, kept for a while with the time of the walk. Requests
 * for the same result share one walk, if it did not begin too long ago for one of them.
 */

import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import type { Registry } from '@latchkey/registry';

/** Cached results; at the bound the least recently used one is evicted. */
const MAX_RESULTS = 16;
/** Octets of all that is kept: two million lines have less. A larger result is used once. */
const MAX_OCTETS = 64 * 1024 * 1024;
/** Items that are compressed together: as many as a page has. */
const PART = 1_000;
/** The fastest: lines differ in little. */
const LEVEL = 1;

const deflate = promisify<string, { readonly level: number }, Buffer>(deflateRaw);
const inflate = promisify<Uint8Array, Buffer>(inflateRaw);

/** Items, compressed: of a million, the objects would take hundreds of MiB. */
export class KeptResult<T> {
  /** When the walk began, ms since the epoch. */
  readonly at: number;
  readonly length: number;
  readonly #parts: readonly Buffer[];

  private constructor(at: number, length: number, parts: readonly Buffer[]) {
    this.at = at;
    this.length = length;
    this.#parts = parts;
  }

  /** @param items that JSON can say */
  static async of<T>(at: number, items: readonly T[]): Promise<KeptResult<T>> {
    const parts: Buffer[] = [];
    for (let from = 0; from < items.length; from += PART)
      parts.push(await deflate(JSON.stringify(items.slice(from, from + PART)), { level: LEVEL }));
    return new KeptResult(at, items.length, parts);
  }

  get octets(): number {
    return this.#parts.reduce((sum, { length }) => sum + length, 0);
  }

  /** The items from one place up to another, as far as there are any. */
  async slice(from: number, to: number): Promise<T[]> {
    const items: T[] = [];
    for (let place = Math.floor(from / PART); place < Math.ceil(Math.min(to, this.length) / PART); place++) {
      const octets = await inflate(this.#parts[place] ?? Buffer.alloc(0));
      const part = JSON.parse(octets.toString('utf8')) as T[];
      items.push(...part.slice(Math.max(0, from - place * PART), to - place * PART));
    }
    return items;
  }
}

export class KeptResults<T> {
  /** Of one registry: after a restore another one is open. */
  #registry: Registry | undefined;
  readonly #closed = new AbortController();
  readonly #results = new Map<string, KeptResult<T>>();
  /** The latest pending walk of each name. */
  readonly #walks = new Map<string, { readonly at: number; readonly result: Promise<KeptResult<T>> }>();

  /**
   * Returns the cached result of that name if it is no older than `maxAgeMs`. Otherwise walks.
   *
   * @param now ms since the epoch
   * @param walk continues if its first caller leaves, because others may wait for it
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
    const result = await KeptResult.of(at, await walk(this.#closed.signal));
    const isLatest = (this.#results.get(name)?.at ?? -Infinity) <= at;
    if (this.#registry === registry && isLatest && result.octets <= MAX_OCTETS) this.#put(name, result);
    return result;
  }

  /** Cancels pending walks. */
  close(): void {
    this.#closed.abort();
  }

  #put(name: string, result: KeptResult<T>): void {
    this.#results.delete(name);
    this.#results.set(name, result);
    let octets = 0;
    for (const kept of this.#results.values()) octets += kept.octets;
    for (const [oldest, kept] of this.#results) {
      if (this.#results.size <= MAX_RESULTS && octets <= MAX_OCTETS) return;
      this.#results.delete(oldest);
      octets -= kept.octets;
    }
  }
}
