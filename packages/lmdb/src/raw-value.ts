/**
 * Reads the octets of a row, so that a row which is read often is decoded only if it changed. LMDB
 * reuses the buffer for the next read. `getBinary` would allocate an array each time, which costs
 * as much as the read.
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
