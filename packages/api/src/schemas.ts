/** Schemas that several resources share. */

import { z } from 'zod';

const ID = /^[0-9a-f]{8}$/;

/** ID of a node or a controller. */
export const idSchema: z.ZodString = z
  .string()
  .regex(ID, { error: 'expected 8 hex digits in lower case, e.g. 0000a1b2' })
  .meta({ example: '0000a1b2' });

export const orderNumberSchema: z.ZodInt = z.int().min(1).max(0xffff_ffff).meta({ example: 3 });

/** ISO 8601 in UTC. */
export const timeSchema: z.ZodISODateTime = z.iso.datetime().meta({ example: '2026-12-01T08:00:00.000Z' });

export const limitSchema: z.ZodDefault<z.ZodInt> = z.int().min(1).max(1_000).default(100).describe('Items of a page');

/** A base64url text: a cursor has no more characters. */
export const cursorSchema: z.ZodOptional<z.ZodString> = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,700}$/, { error: 'expected `next` of the page before' })
  .optional()
  .describe('`next` of the page before');

/** @param total describes the counted items */
export function pageSchema<T extends z.ZodType>(
  item: T,
  total: string,
): z.ZodObject<{ items: z.ZodArray<T>; next: z.ZodNullable<z.ZodString>; total: z.ZodNullable<z.ZodInt> }> {
  return z.object({
    items: z.array(item),
    next: z.string().nullable().describe('Give it as `after` for the next page; null on the last page'),
    total: z.int().nullable().describe(total),
  });
}
