/** Reads a table page by page, for a consumer that may be slow. */

import type { Database } from 'lmdb';

/** Rows of one page. */
const PAGE_SIZE = 256;

/**
 * Iterates over the rows of a table in ascending order of key, starting at `from`, page by page. No
 * read transaction stays open between two pages. LMDB cannot reuse a page that an open read may
 * still need, so the file would grow with every write in that time.
 *
 * Each page shows the store at the moment of its read. A row that is added, changed or removed
 * during the iteration appears as it is at that moment, and each key at most once.
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
