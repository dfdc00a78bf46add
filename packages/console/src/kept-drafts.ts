/**
 * What a person typed and has not saved, while its form is not on the page: another page or another
 * node was opened. The form has it again when it comes back. No password and no key is in here.
 */

import { useState } from 'preact/hooks';

/** Forms at once. Beyond that the one that was typed into longest ago is forgotten. */
const MAX_DRAFTS = 64;

const kept = new Map<string, unknown>();

export function keepDraft(form: string, draft: unknown): void {
  kept.delete(form);
  kept.set(form, draft);
  const [oldest] = kept.keys();
  if (kept.size > MAX_DRAFTS && oldest !== undefined) kept.delete(oldest);
}

/** For the next person: what was typed is not theirs. */
export function forgetDrafts(): void {
  kept.clear();
}

export function hasDraft(form: string): boolean {
  return kept.has(form);
}

export function forgetDraft(form: string): void {
  kept.delete(form);
}

/**
 * State of a form that is kept until `forgetDraft`.
 *
 * @param form its name
 * @param initial makes what the form begins with, if nothing is kept
 */
export function useKeptDraft<T>(form: string, initial: () => T): readonly [T, (update: (before: T) => T) => void] {
  const [draft, setDraft] = useState(() => (kept.has(form) ? (kept.get(form) as T) : initial()));
  const change = (update: (before: T) => T): void =>
    setDraft((before) => {
      const changed = update(before);
      keepDraft(form, changed);
      return changed;
    });
  return [draft, change];
}
