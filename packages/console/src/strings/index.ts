/**
 * The texts of the console: English, then German. `{name}` is a place for a value. A text with
 * `|` has a singular and a plural, chosen by the value `count`.
 */

import type { ADMINISTRATION_STRINGS } from './administration.js';
import { BULK_STRINGS } from './bulk.js';
import { DIAGNOSIS_STRINGS } from './diagnosis.js';
import type { INSTALL_STRINGS } from './install.js';
import { ORDERING_STRINGS } from './ordering.js';
import { PAGE_STRINGS } from './pages.js';
import { SHELL_STRINGS } from './shell.js';

export type Pair = readonly [english: string, german: string];

export const LANGUAGES = ['en', 'de'] as const;
export type Language = (typeof LANGUAGES)[number];

export type StringKey =
  | keyof typeof SHELL_STRINGS
  | keyof typeof PAGE_STRINGS
  | keyof typeof DIAGNOSIS_STRINGS
  | keyof typeof ORDERING_STRINGS
  | keyof typeof INSTALL_STRINGS
  | keyof typeof BULK_STRINGS
  | keyof typeof ADMINISTRATION_STRINGS;

/** Texts that are there: those of the first page, and of pages that were loaded since. */
const STRINGS: Record<string, Pair> = {
  ...SHELL_STRINGS,
  ...PAGE_STRINGS,
  ...DIAGNOSIS_STRINGS,
  ...ORDERING_STRINGS,
  ...BULK_STRINGS,
};

/** Adds the texts of a page that is loaded on demand. */
export function addStrings(texts: Readonly<Record<string, Pair>>): void {
  Object.assign(STRINGS, texts);
}

export function isStringKey(key: string): key is StringKey {
  return Object.hasOwn(STRINGS, key);
}

/** Parts of a text, and between them the names of its places. */
export type Template = readonly (string | { readonly place: string })[];

/** Returns the text in a language; `count` chooses between singular and plural. */
export function textOf(language: Language, key: StringKey, count?: number): string {
  const [english, german] = STRINGS[key] ?? [key, key];
  const text = language === 'de' ? german : english;
  if (count === undefined || !text.includes('|')) return text;
  // Both languages use the singular for exactly one.
  const [one = text, other = one] = text.split('|');
  return count === 1 ? one : other;
}

export function templateOf(text: string): Template {
  return text
    .split(/(\{\w+\})/)
    .filter((part) => part !== '')
    .map((part) => (/^\{\w+\}$/.test(part) ? { place: part.slice(1, -1) } : part));
}

/** Returns the text with its places filled in. A place without a value stays as it is. */
export function fill(text: string, values: Readonly<Record<string, string>>): string {
  return templateOf(text)
    .map((part) => (typeof part === 'string' ? part : (values[part.place] ?? `{${part.place}}`)))
    .join('');
}
