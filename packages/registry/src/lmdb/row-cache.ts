/**
 * Rows that hardly ever change, read for every request: as long as the store has the same octets
 * for one, the object made of them serves. Another process may change them at any time, so they are
 * looked at each time; they are decoded once.
 */

import { rawValueEquals, readRawValue } from '@latchkey/lmdb';
import type { Database } from 'lmdb';

/** At the bound the oldest goes. */
const MAX_ENTRIES = 256;

export class RowCache<R> {
  readonly #table: Database<R, number>;
  readonly #entries = new Map<number, { readonly octets: Buffer; readonly row: R }>();

  constructor(table: Database<R, number>) {
    this.#table = table;
  }

  /** The row as it is now, the same object as before if it has not changed; not to be changed. */
  get(key: number): R | undefined {
    const entry = this.#entries.get(key);
    if (entry !== undefined && rawValueEquals(this.#table, key, entry.octets)) return entry.row;
    this.#entries.delete(key);
    const octets = readRawValue(this.#table, key);
    const row = octets && this.#table.get(key);
    if (octets === undefined || row === undefined) return undefined;
    if (this.#entries.size >= MAX_ENTRIES) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(key, { octets, row });
    return row;
  }
}
