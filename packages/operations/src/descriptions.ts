/** Descriptions of nodes and controllers for people: changes and views. */

import type { ControllerDescription, NodeDescription } from '@latchkey/registry';
import type { ManifestTexts } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { ControllerDescriptionChange, ControllerDescriptionView } from './contract/controllers.js';
import { type DescriptionChange, descriptionChangeSchema, type DescriptionView, MAX_TAGS } from './contract/descriptions.js';

/** Separates tags in one text. */
const TAG_SEPARATOR = ';';

const TEXTS = ['name', 'site', 'location', 'note'] as const;

/** A description without the number of its entry. */
export type DescriptionTexts = Omit<NodeDescription, 'entry'>;

/**
 * Returns the description after a change, and the names of the fields that differ. Returns
 * `undefined` if nothing differs.
 */
export function changedDescription(
  before: NodeDescription | undefined,
  change: DescriptionChange,
): { readonly after: DescriptionTexts; readonly fields: readonly string[] } | undefined {
  const { entry: _, ...after }: NodeDescription = { entry: 0, ...before };
  const fields: string[] = changeTexts(after, change, TEXTS);
  const tags = changedTags(after.tags ?? [], change);
  if (tags.join('\n') !== (after.tags ?? []).join('\n')) {
    fields.push('tags');
    if (tags.length === 0) delete after.tags;
    else after.tags = tags;
  }
  return fields.length === 0 ? undefined : { after, fields };
}

/** As `changedDescription`, of a controller. */
export function changedControllerDescription(
  before: ControllerDescription | undefined,
  change: ControllerDescriptionChange,
): { readonly after: ControllerDescription; readonly fields: readonly string[] } | undefined {
  const after = { ...before };
  const fields = changeTexts(after, change, ['name', 'site', 'contact']);
  return fields.length === 0 ? undefined : { after, fields };
}

/** Changes texts in place, and names those that were others. */
export function changeTexts<F extends string>(
  texts: { [K in NoInfer<F>]?: string },
  change: { readonly [K in NoInfer<F>]?: string | null | undefined },
  fields: readonly F[],
): F[] {
  return fields.filter((field) => {
    const text: string | null | undefined = change[field];
    if (text === undefined || (text ?? undefined) === texts[field]) return false;
    if (text === null) delete texts[field];
    else texts[field] = text;
    return true;
  });
}

export function viewControllerDescription(description: ControllerDescription = {}): ControllerDescriptionView {
  const { name = null, site = null, contact = null } = description;
  return { name, site, contact };
}

/**
 * Reads the description of a node from a row of a file. Tags are one text, separated by semicolons,
 * or an array.
 *
 * @returns a message about the first error, if any
 */
export function descriptionFromTexts({ tags, ...texts }: ManifestTexts): DescriptionTexts | string {
  const list = typeof tags === 'string' ? tags.split(TAG_SEPARATOR).filter((tag) => tag.trim() !== '') : tags;
  const given = tags === undefined ? texts : { ...texts, tags: list };
  const { success, data, error } = descriptionChangeSchema.safeParse(given);
  if (success) return changedDescription(undefined, data)?.after ?? {};
  const [issue] = error.issues;
  return `${issue?.path[0]?.toString() ?? 'texts'}: ${issue?.message ?? 'not expected'}`;
}

/** In ascending order, none twice. */
function sortedTags(tags: Iterable<string>): string[] {
  return [...new Set(tags)].toSorted();
}

function changedTags(
  before: readonly string[],
  { tags = before, add_tags: added = [], remove_tags: removed = [] }: DescriptionChange,
): string[] {
  const after = sortedTags([...tags, ...added]).filter((tag) => !removed.includes(tag));
  if (after.length > MAX_TAGS && after.length > before.length)
    throw new UsageFailure(`a node has ${MAX_TAGS} tags at most, and one would have ${after.length}`, {
      advice: 'Nothing was changed. Remove tags of it first.',
    });
  return after;
}

/** @param orderSite that of the node's order */
export function viewDescription(description: NodeDescription | undefined, orderSite: string | undefined): DescriptionView {
  const { name, site = orderSite, location, tags = [], note } = description ?? {};
  return { name: name ?? null, site: site ?? null, location: location ?? null, tags, note: note ?? null };
}

/** Which descriptions. What is left out excludes none. */
export interface DescriptionQuery {
  /** One of these. */
  readonly sites?: readonly string[] | undefined;
  /** It has one of these. */
  readonly tags?: readonly string[] | undefined;
  /** Stands somewhere in it, or in the ID; capitals and small letters are alike. */
  readonly search?: string | undefined;
}
