/**
 * What a table has under a key, as octets: a row that is looked at again and again need be decoded
 * only if they have changed. LMDB puts them where the next look puts its own; `getBinary` would
 * make an array of its own of them each time, which costs as much as the look.
 */

import type { Database, Key } from 'lmdb';

/** Whether these very octets are there. */
export function rawValueEquals<V, K extends Key>(table: Database<V, K>, key: K, octets: Buffer): boolean {
  const stored = table.getBinaryFast(key);
  // With its end named: the buffer is longer than its `length`.
  return stored !== undefined && stored.length === octets.length && octets.compare(stored, 0, octets.length) === 0;
}

/** A copy of them; `undefined`: there is nothing. */
export function readRawValue<V, K extends Key>(table: Database<V, K>, key: K): Buffer | undefined {
  const stored = table.getBinaryFast(key);
  return stored && Buffer.from(stored.subarray(0, stored.length));
}
