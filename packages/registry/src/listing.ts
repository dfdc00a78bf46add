/** Rows of an engine, synchronous or asynchronous, and pages of them. */

import { setImmediate as yieldToOthers } from 'node:timers/promises';

export type Listed<T> = Iterable<T> | AsyncIterable<T>;

/** Yields to other work. Throws the reason of `signal` if it is aborted. */
export async function betweenPages(signal?: AbortSignal): Promise<void> {
  await yieldToOthers();
  signal?.throwIfAborted();
}

/** Gathers rows into pages, so that their reader waits once a page and not once a row. */
export async function* inPages<T>(rows: Listed<T>, limit: number, signal?: AbortSignal): AsyncGenerator<readonly T[]> {
  let page: T[] = [];
  if (Symbol.iterator in rows)
    for (const row of rows) {
      page.push(row);
      if (page.length < limit) continue;
      yield page;
      page = [];
      await betweenPages(signal);
    }
  else
    for await (const row of rows) {
      page.push(row);
      if (page.length < limit) continue;
      yield page;
      page = [];
      signal?.throwIfAborted();
    }
  if (page.length > 0) yield page;
}

/** Collects available values into arrays of `size` at most. */
export function* chunksOf<T>(values: Iterable<T>, size: number): Generator<readonly T[]> {
  let chunk: T[] = [];
  for (const value of values) {
    chunk.push(value);
    if (chunk.length < size) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

/** All rows of all pages: of a table that is small. */
export async function allOf<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const rows: T[] = [];
  for await (const page of pages) for (const row of page) rows.push(row);
  return rows;
}
