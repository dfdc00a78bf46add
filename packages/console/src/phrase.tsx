/** Texts in the reader's language, with values or elements in their places. */

import type { ComponentChildren, JSX } from 'preact';
import { formatNumber } from './format.js';
import { localeOf, usePreferences } from './preferences.js';
import { fill, type StringKey, templateOf, textOf } from './strings/index.js';

export type Say = (key: StringKey, values?: Readonly<Record<string, string>>, count?: number) => string;

/** Returns the function that looks up texts. `{count}` is written as the language has it. */
export function useSay(): Say {
  const preferences = usePreferences();
  return (key, values = {}, count) => {
    const counted = count === undefined ? values : { count: formatNumber(count, localeOf(preferences)), ...values };
    return fill(textOf(preferences.language, key, count), counted);
  };
}

interface PhraseProps {
  readonly of: StringKey;
  readonly values?: Readonly<Record<string, ComponentChildren>>;
  readonly count?: number;
}

/** A text with elements in its places, such as links and times. */
export function Phrase({ of: key, values = {}, count }: PhraseProps): JSX.Element {
  const preferences = usePreferences();
  const parts = templateOf(textOf(preferences.language, key, count));
  return (
    <>
      {parts.map((part) => {
        if (typeof part === 'string') return part;
        if (part.place === 'count' && count !== undefined) return formatNumber(count, localeOf(preferences));
        return values[part.place];
      })}
    </>
  );
}
