/** Filters of nodes that somebody gave a name. They stay in this browser. */

import { Store, useStore } from './store.js';

export interface SavedFilters {
  readonly name: string;
  /** As the URL of the page has them. */
  readonly query: string;
}

const KEY = 'latchkey.filters';
export const MAX_SAVED = 50;
export const MAX_SAVED_NAME = 64;

const saved = new Store<readonly SavedFilters[]>(read());

/** Drops what is not valid: another version of the page may have written it. */
function read(): readonly SavedFilters[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isSaved).slice(0, MAX_SAVED) : [];
  } catch {
    return [];
  }
}

function isSaved(value: unknown): value is SavedFilters {
  const { name, query } = (value ?? {}) as Partial<Record<keyof SavedFilters, unknown>>;
  return typeof name === 'string' && typeof query === 'string';
}

function write(filters: readonly SavedFilters[]): void {
  saved.set(filters);
  try {
    localStorage.setItem(KEY, JSON.stringify(filters));
  } catch {
    // A browser that stores nothing: they last as long as the page.
  }
}

// Another tab may have saved some.
addEventListener('storage', ({ key }) => {
  if (key === KEY) saved.set(read());
});

export function useSavedFilters(): readonly SavedFilters[] {
  return useStore(saved);
}

/** Replaces those of the same name. Returns false at the bound. */
export function saveFilters(name: string, query: string): boolean {
  const others = saved.value.filter((one) => one.name !== name);
  if (others.length >= MAX_SAVED) return false;
  write([...others, { name, query }].toSorted((a, b) => a.name.localeCompare(b.name)));
  return true;
}

export function removeSavedFilters(name: string): void {
  write(saved.value.filter((one) => one.name !== name));
}
