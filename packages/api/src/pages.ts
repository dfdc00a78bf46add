/** Pages of a list that is there whole. */

import { z } from 'zod';
import { Problem } from './problem.js';
import type { RouteContext } from './route.js';

export interface PageInput {
  readonly limit: number;
  readonly after?: string | undefined;
}

/** A page begins after the item with this key. */
type PageKey = number | string;
const cursorSchema: z.ZodType<PageKey> = z.union([z.int(), z.string()]);
const placeSchema: z.ZodType<number> = z.int().min(0);

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
  keyOf: (item: T) => PageKey,
  { limit, after }: PageInput,
): Page<T> {
  const last = after === undefined ? undefined : cursorSchema.safeParse(opaque.openCursor(principal, list, after));
  if (last?.success === false) throw new Problem('cursor-invalid');
  const start = last === undefined ? 0 : items.findIndex((item) => keyOf(item) > last.data);
  const page = start < 0 ? [] : items.slice(start, start + limit);
  const final = page.at(-1);
  const hasMore = final !== undefined && start + page.length < items.length;
  return {
    items: page,
    next: hasMore ? opaque.sealCursor(principal, list, keyOf(final)) : null,
    total: items.length,
  };
}

/** A list whose items are read by their places. */
interface PlacedItems<T> {
  readonly length: number;
  readonly slice: (from: number, to: number) => Promise<T[]>;
}

/**
 * As `pageOf`, of a list that stays as it is between two pages.
 *
 * @throws Problem for a cursor of another list
 */
export async function pageByPlace<T>(
  { opaque, principal }: RouteContext,
  list: string,
  items: PlacedItems<T>,
  { limit, after }: PageInput,
): Promise<Page<T>> {
  const cursor = after === undefined ? undefined : placeSchema.safeParse(opaque.openCursor(principal, list, after));
  if (cursor?.success === false) throw new Problem('cursor-invalid');
  const start = cursor?.data ?? 0;
  const next = start + limit;
  return {
    items: await items.slice(start, next),
    next: next < items.length ? opaque.sealCursor(principal, list, next) : null,
    total: items.length,
  };
}
