/** The draft of a description, and changes by other users in the meantime. */

export type DescribedKind = 'node' | 'controller';
export type DescriptionField = 'name' | 'site' | 'location' | 'contact' | 'tags' | 'note';

/** The texts of each kind of thing, in the order of a form. */
export const DESCRIPTION_FIELDS: { readonly [K in DescribedKind]: readonly DescriptionField[] } = {
  node: ['name', 'site', 'location', 'tags', 'note'],
  controller: ['name', 'site', 'contact'],
};

/** What the API says of a thing. */
export type Described = { readonly [F in DescriptionField]?: string | null | readonly string[] };

/** As text fields have it, with commas between tags. */
export type DescriptionDraft = { readonly [F in DescriptionField]?: string };

export function draftOf(kind: DescribedKind, described: Described): DescriptionDraft {
  return Object.fromEntries(DESCRIPTION_FIELDS[kind].map((field) => [field, textOf(described[field])]));
}

function textOf(value: Described[DescriptionField]): string {
  return typeof value === 'string' ? value : (value?.join(', ') ?? '');
}

/** Returns the edited fields only, so that other fields keep their current values. */
export function changeFrom(before: DescriptionDraft, draft: DescriptionDraft): Described {
  return Object.fromEntries(
    differences(before, draft).map(({ field, now }) => {
      const text = now.trim();
      return [field, field === 'tags' ? tagsIn(text) : text === '' ? null : text];
    }),
  );
}

function tagsIn(text: string): readonly string[] {
  const tags = text
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
  return [...new Set(tags)];
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

/** As the API stores a text: tags have no order. */
function stored(field: DescriptionField, text: string): string {
  return (field === 'tags' ? tagsIn(text).toSorted().join() : text.trim()).normalize();
}
