import { z } from 'zod';
import { textSchema } from './contract.js';

/** Characters of each text, at most. */
export const TEXT_LIMITS = { name: 64, site: 64, location: 128, tag: 32, note: 1_000, contact: 128 } as const;
/** Tags of one node. */
export const MAX_TAGS = 16;

/** What people know of a node. */
export interface DescriptionView {
  readonly name: string | null;
  /** Its own, or that of its order. */
  readonly site: string | null;
  readonly location: string | null;
  readonly tags: readonly string[];
  readonly note: string | null;
}

/** Stored text is printed as it is. */
export const descriptionFields: { readonly [F in keyof DescriptionView]: z.ZodType<DescriptionView[F]> } = {
  name: z.string().nullable(),
  site: z.string().nullable(),
  location: z.string().nullable(),
  tags: z.array(z.string()),
  note: z.string().nullable(),
};

/** Change of a description. `null` removes a text. Omitted texts stay. */
export interface DescriptionChange {
  readonly name?: string | null | undefined;
  readonly site?: string | null | undefined;
  readonly location?: string | null | undefined;
  readonly note?: string | null | undefined;
  /** In place of those that are there. */
  readonly tags?: readonly string[] | undefined;
  readonly add_tags?: readonly string[] | undefined;
  readonly remove_tags?: readonly string[] | undefined;
}

const tagsSchema = z.array(textSchema(TEXT_LIMITS.tag)).max(MAX_TAGS);

type SettableFields = Omit<DescriptionChange, 'add_tags' | 'remove_tags'>;

/** Fields of a change that replace the current values. */
export const settableFields: { readonly [F in keyof SettableFields]-?: z.ZodOptional<z.ZodType<SettableFields[F]>> } = {
  name: textSchema(TEXT_LIMITS.name).nullable().optional(),
  site: textSchema(TEXT_LIMITS.site).nullable().optional(),
  location: textSchema(TEXT_LIMITS.location).nullable().optional(),
  note: textSchema(TEXT_LIMITS.note).nullable().optional(),
  tags: tagsSchema.optional(),
};

export const descriptionChangeSchema: z.ZodType<DescriptionChange> = z
  .strictObject({ ...settableFields, add_tags: tagsSchema.optional(), remove_tags: tagsSchema.optional() })
  .refine((change) => Object.values(change).some((value) => value !== undefined), { error: 'expected a text or tags' })
  .refine(({ tags, add_tags: added, remove_tags: removed }) => tags === undefined || (added ?? removed) === undefined, {
    error: 'expected tags, or tags to add and to remove',
  });
