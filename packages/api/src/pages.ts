/** Pages of a list that an operation returns whole. */

import { z } from 'zod';
import { Problem } from './problem.js';
import type { RouteContext } from './route.js';

export interface PageInput {
  readonly limit: number;
  readonly after?: string | undefined;
}

/** Where a page begins: after the item with this key. */
type PageKey = number | string;
const cursorSchema: z.ZodType<PageKey> = z.union([z.int(), z.string()]);

export interface Page<T> {
  readonly items: T[];
  readonly next: string | null;
  readonly total: number;
}

/**
 * The page of `items` that the cursor asks for.
 *
 * @param list names the list and its filters
 * @param items in ascending order of key
 * @throws Problem for a cursor of another list
 */
export function pageOf<T>(
  { opaque, principal }: RouteContext,
  list: string,
  items: readonly T[],
  keyOf: (item: T, index: number) => PageKey,
  { limit, after }: PageInput,
): Page<T> {
  const last = after === undefined ? undefined : cursorSchema.safeParse(opaque.openCursor(principal, list, after));
  if (last?.success === false) throw new Problem('cursor-invalid');
  const start = last === undefined ? 0 : items.findIndex((item, index) => keyOf(item, index) > last.data);
  const page = start < 0 ? [] : items.slice(start, start + limit);
  const final = page.at(-1);
  const hasMore = final !== undefined && start + page.length < items.length;
  return {
    items: page,
    next: hasMore ? opaque.sealCursor(principal, list, keyOf(final, start + page.length - 1)) : null,
    total: items.length,
  };
}
