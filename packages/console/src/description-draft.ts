/** What somebody types about a node, and what others have changed in the meantime. */

import type { DescriptionChange, DescriptionView } from '@latchkey/operations/contract';

/** As text fields have it. */
export interface DescriptionDraft {
  readonly name: string;
  readonly site: string;
  readonly location: string;
  /** With commas between them. */
  readonly tags: string;
  readonly note: string;
}

export const DESCRIPTION_FIELDS: readonly (keyof DescriptionDraft)[] = ['name', 'site', 'location', 'tags', 'note'];

export function draftOf({ name, site, location, tags, note }: DescriptionView): DescriptionDraft {
  return { name: name ?? '', site: site ?? '', location: location ?? '', tags: tags.join(', '), note: note ?? '' };
}

/** Returns what was typed, and nothing else: other fields stay as they are by now. */
export function changeFrom(draft: DescriptionDraft, before: DescriptionView): DescriptionChange {
  const typed = new Set(differences(draftOf(before), draft).map(({ field }) => field));
  const textOf = (field: 'name' | 'site' | 'location' | 'note'): DescriptionChange =>
    typed.has(field) ? { [field]: draft[field].trim() === '' ? null : draft[field].trim() } : {};
  return {
    ...textOf('name'),
    ...textOf('site'),
    ...textOf('location'),
    ...textOf('note'),
    ...(typed.has('tags') ? { tags: tagsIn(draft.tags) } : {}),
  };
}

function tagsIn(text: string): readonly string[] {
  const tags = text
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  return [...new Set(tags)];
}

export interface Difference {
  readonly field: keyof DescriptionDraft;
  readonly before: string;
  readonly now: string;
}

export function differences(before: DescriptionDraft, now: DescriptionDraft): readonly Difference[] {
  return DESCRIPTION_FIELDS.filter((field) => before[field].trim() !== now[field].trim()).map((field) => ({
    field,
    before: before[field],
    now: now[field],
  }));
}
