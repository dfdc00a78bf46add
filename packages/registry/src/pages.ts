/** Going through a table page by page: no read stays open between two of them. */

import { immediate } from './listing.js';
import { type Page } from './storage.js';

/** Of a table: an ID, or the number of an order. */
const MAX_KEY = 0xffff_ffff;

type ReadPage<R> = (from: number, limit: number) => Page<R> | Promise<Page<R>>;

/** Each page as it is when it is come to. */
export async function* allPages<R>(limit: number, read: ReadPage<R>, from: number = 0): AsyncGenerator<Page<R>> {
  for (let start: number | undefined = from; start !== undefined;) {
    const page: Page<R> = await read(start, limit);
    yield page;
    start = nextStart(page, limit);
  }
}

/** As `allPages`, of an engine that answers at once. */
export function* allPagesAtOnce<R>(limit: number, read: ReadPage<R>, from: number = 0): Generator<Page<R>> {
  for (let start: number | undefined = from; start !== undefined;) {
    const page: Page<R> = immediate(read(start, limit));
    yield page;
    start = nextStart(page, limit);
  }
}

function nextStart<R>(page: Page<R>, limit: number): number | undefined {
  const last = page.at(-1);
  return last === undefined || page.length < limit || last[0] >= MAX_KEY ? undefined : last[0] + 1;
}
