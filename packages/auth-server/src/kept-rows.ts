/**
 * Rows that hardly ever change, read for every request: as long as the store has the same octets for one, the object made of them
 * serves. Another process may change them at any time, so they are looked at each time; they are decoded once.
 */

import type { Database } from 'lmdb';

/** At the bound the oldest goes. */
const MAX_KEPT = 256;

export class KeptRows<R> {
  readonly #table: Database<R, number>;
  readonly #kept = new Map<number, { readonly octets: Buffer; readonly row: R }>();

  constructor(table: Database<R, number>) {
    this.#table = table;
  }

  /** The row as it is now, the same object as before if it has not changed; not to be changed. */
  get(key: number): R | undefined {
    const octets = this.#table.getBinary(key);
    const kept = this.#kept.get(key);
    if (octets === undefined) {
      this.#kept.delete(key);
      return undefined;
    }
    if (kept !== undefined && kept.octets.equals(octets)) return kept.row;
    const row = this.#table.get(key);
    if (row === undefined) return undefined;
    this.#kept.delete(key);
    if (this.#kept.size >= MAX_KEPT) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.#kept.delete(oldest);
    }
    this.#kept.set(key, { octets, row });
    return row;
  }
}
