/** Reading a table that may be long, for whoever takes his time over it. */

import type { Database } from 'lmdb';

/** Rows that are read at once. */
const PAGE_SIZE = 256;

/**
 * The rows of a table in ascending order of key, from `from` on, a slice at a time. No read stays
 * open between two slices, nor while whoever asked waits for something: LMDB keeps each page that
 * an open read may come to, and the file of a store that is written to meanwhile grows and grows.
 *
 * So each slice is as the store is when it is read: a row that is put in, changed or removed
 * meanwhile is met as it is by then, each key at most once.
 */
export function* scanTable<V>(table: Database<V, number>, from: number): Generator<{ readonly key: number; readonly value: V }> {
  let page = Array.from(table.getRange({ start: from, limit: PAGE_SIZE }));
  for (;;) {
    yield* page;
    const lastRow = page.at(-1);
    if (lastRow === undefined || page.length < PAGE_SIZE) return;
    page = Array.from(table.getRange({ start: lastRow.key, exclusiveStart: true, limit: PAGE_SIZE }));
  }
}

/** As `scanTable`, in descending order of key; without `from`, from the last row on. */
export function* scanTableBackwards<V>(
  table: Database<V, number>,
  from?: number,
): Generator<{ readonly key: number; readonly value: V }> {
  const start = from === undefined ? {} : { start: from };
  let page = Array.from(table.getRange({ reverse: true, ...start, limit: PAGE_SIZE }));
  for (;;) {
    yield* page;
    const lastRow = page.at(-1);
    if (lastRow === undefined || page.length < PAGE_SIZE) return;
    page = Array.from(table.getRange({ reverse: true, start: lastRow.key, exclusiveStart: true, limit: PAGE_SIZE }));
  }
}
