/**
 * Cache of decoded rows. An entry is valid while the store has the same octets for the row. Another
 * process may change a row at any time, so each read compares the octets.
 */

import { rawValueEquals, readRawValue } from '@latchkey/lmdb';
import { BoxedMap } from '@latchkey/runtime/daemon';
import type { Database } from 'lmdb';
import type { Versioned } from '../storage.js';

interface CachedRow<R> extends Versioned<R> {
  readonly version: Buffer;
}

export class RowCache<R> {
  readonly #table: Database<R, number>;
  readonly #maxEntries: number;
  readonly #entries = new BoxedMap<number, CachedRow<R>>();

  /** @param maxEntries at the bound the oldest is evicted */
  constructor(table: Database<R, number>, maxEntries: number) {
    this.#table = table;
    this.#maxEntries = maxEntries;
  }

  /**
   * The row as it is now, the same object as before if it has not changed. Its version is its
   * octets.
   */
  get(key: number): Versioned<R> | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      if (rawValueEquals(this.#table, key, entry.version)) return entry;
      this.#entries.delete(key);
    }
    const read = readVersioned(this.#table, key);
    if (read === undefined) return undefined;
    if (this.#entries.size >= this.#maxEntries) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(key, read);
    return read;
  }

  /** Evicts a row that has changed, because its entry would only occupy memory. */
  delete(key: number): void {
    this.#entries.delete(key);
  }
}

/** Reads a row without caching it, because it will not be requested again soon. */
export function readVersioned<R>(table: Database<R, number>, key: number): CachedRow<R> | undefined {
  const version = readRawValue(table, key);
  const row = version && table.get(key);
  return version === undefined || row === undefined ? undefined : { row, version };
}
