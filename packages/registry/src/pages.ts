/** Going through a table page by page: no read stays open between two of them. */

import { betweenPages } from './listing.js';
import { type Page } from './storage.js';

/** Of a table: an ID, or the number of an order. */
const MAX_KEY = 0xffff_ffff;

/**
 * Iterates over pages, each read when it is reached. Yields to other work between two pages, even
 * if the engine answers synchronously.
 *
 * @param signal ends the walk between two pages
 */
export async function* allPages<R>(
  limit: number,
  read: (from: number, limit: number) => Page<R> | Promise<Page<R>>,
  from: number = 0,
  signal?: AbortSignal,
): AsyncGenerator<Page<R>> {
  for (let start: number | undefined = from; start !== undefined;) {
    const page: Page<R> = await read(start, limit);
    yield page;
    start = nextStart(page, limit);
    if (start !== undefined) await betweenPages(signal);
  }
}

function nextStart<R>(page: Page<R>, limit: number): number | undefined {
  const last = page.at(-1);
  return last === undefined || page.length < limit || last[0] >= MAX_KEY ? undefined : last[0] + 1;
}
