/** The draft of a description, and changes by other users in the meantime. */

import { readRecipients } from './recipients.js';

export type DescribedKind = 'node' | 'controller' | 'installer';
export type DescriptionField = 'name' | 'site' | 'location' | 'contact' | 'tags' | 'note' | 'recipients';

/** The texts of each kind of thing, in the order of a form. */
export const DESCRIPTION_FIELDS: { readonly [K in DescribedKind]: readonly DescriptionField[] } = {
  node: ['name', 'site', 'location', 'tags', 'note'],
  controller: ['name', 'site', 'contact'],
  installer: ['contact', 'site', 'note', 'recipients'],
};

/** Fields with several parts in any order: how they are typed, and what is shown between them. */
const LISTS: {
  readonly [F in DescriptionField]?: { readonly read: (text: string) => readonly string[]; readonly joint: string };
} = {
  tags: { read: (text) => text.split(','), joint: ', ' },
  recipients: { read: readRecipients, joint: '\n' },
};

/** What the API says of a thing. */
export type Described = { readonly [F in DescriptionField]?: string | null | readonly string[] };

/** As text fields have it. */
export type DescriptionDraft = { readonly [F in DescriptionField]?: string };

export function draftOf(kind: DescribedKind, described: Described): DescriptionDraft {
  return Object.fromEntries(DESCRIPTION_FIELDS[kind].map((field) => [field, textOf(field, described[field])]));
}

function textOf(field: DescriptionField, value: Described[DescriptionField]): string {
  return typeof value === 'string' ? value : (value?.join(LISTS[field]?.joint) ?? '');
}

/** Returns the edited fields only, so that other fields keep their current values. */
export function changeFrom(before: DescriptionDraft, draft: DescriptionDraft): Described {
  return Object.fromEntries(
    differences(before, draft).map(({ field, now }) => {
      const text = now.trim();
      return [field, partsOf(field, text) ?? (text === '' ? null : text)];
    }),
  );
}

/** The parts of a list as it was typed, each once; `undefined` of other fields. */
function partsOf(field: DescriptionField, text: string): readonly string[] | undefined {
  const list = LISTS[field];
  if (list === undefined) return undefined;
  const parts = list
    .read(text)
    .map((part) => part.trim())
    .filter((part) => part !== '');
  return [...new Set(parts)];
}

export interface Difference {
  readonly field: DescriptionField;
  readonly before: string;
  readonly now: string;
}

/** In the order of the fields of `before`. */
export function differences(before: DescriptionDraft, now: DescriptionDraft): readonly Difference[] {
  return (Object.keys(before) as DescriptionField[])
    .map((field) => ({ field, before: before[field] ?? '', now: now[field] ?? '' }))
    .filter(({ field, before: one, now: other }) => stored(field, one) !== stored(field, other));
}

/** As the API stores a text: lists have no order. */
function stored(field: DescriptionField, text: string): string {
  return (partsOf(field, text)?.toSorted().join('\n') ?? text.trim()).normalize();
}

/**
 * Returns the draft with what others have saved since it was begun. A text that was typed stays. Of
 * a list only the parts that were added or taken away: a recipient that another user has withdrawn
 * does not come back.
 */
export function draftOnTop(before: DescriptionDraft, draft: DescriptionDraft, now: DescriptionDraft): DescriptionDraft {
  const typed = differences(before, draft).map(({ field, before: from, now: to }) => {
    const [had, has] = [partsOf(field, from), partsOf(field, to)];
    if (had === undefined || has === undefined) return [field, to];
    const others = partsOf(field, now[field] ?? '') ?? [];
    const kept = others.filter((part) => has.includes(part) || !had.includes(part));
    const added = has.filter((part) => !had.includes(part) && !others.includes(part));
    return [field, textOf(field, [...kept, ...added])];
  });
  return { ...now, ...(Object.fromEntries(typed) as DescriptionDraft) };
}
