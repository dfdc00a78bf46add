/**
 * Filters of nodes that somebody gave a name. The server has them; those that this browser has from
 * before can be moved there.
 */

import { problemOf, request } from './api.js';
import { Store, useStore } from './store.js';
import { readNodeFilters, writeNodeFilters } from './url-state.js';

export const FILTERS_PATH = '/v1/filters';
export const MAX_SAVED_NAME = 64;
/** Of a name that another filter has, with other numbers. */
const MAX_TRIES = 100;

export interface FilterTerms {
  readonly name: string;
  /** As the URL of the page has it. */
  readonly query: string;
  readonly is_shared: boolean;
}

export interface SavedFilter extends FilterTerms {
  readonly id: string;
  readonly is_own: boolean;
  /** Whose it is. */
  readonly user: string;
}

export interface SavedFilterList {
  readonly items: readonly SavedFilter[];
  readonly max_own: number;
}

export type BrowserFilter = Pick<FilterTerms, 'name' | 'query'>;

export function addFilter(terms: FilterTerms): Promise<SavedFilter> {
  return request(FILTERS_PATH, { method: 'POST', body: terms });
}

export async function changeFilter(id: string, changes: Partial<FilterTerms>): Promise<void> {
  await request(`${FILTERS_PATH}/${id}`, { method: 'PATCH', body: changes });
}

export async function removeFilter(id: string): Promise<void> {
  await request(`${FILTERS_PATH}/${id}`, { method: 'DELETE' });
}

/** As the page writes it: another person, or another version of the page, may have written it. */
export function normalQuery(query: string): string {
  return writeNodeFilters(readNodeFilters(new URLSearchParams(query))).toString();
}

const KEY = 'latchkey.filters';
const inBrowser = new Store<readonly BrowserFilter[]>(readBrowser());

function readBrowser(): readonly BrowserFilter[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(stored) ? stored.filter(isBrowserFilter) : [];
  } catch {
    return [];
  }
}

function isBrowserFilter(value: unknown): value is BrowserFilter {
  const { name, query } = (value ?? {}) as Partial<Record<keyof BrowserFilter, unknown>>;
  return typeof name === 'string' && typeof query === 'string' && normalQuery(query) !== '';
}

// Another tab may have moved some.
addEventListener('storage', ({ key }) => {
  if (key === KEY) inBrowser.set(readBrowser());
});

export function useBrowserFilters(): readonly BrowserFilter[] {
  return useStore(inBrowser);
}

/** Replaces all that this browser has. */
export function keepInBrowser(filters: readonly BrowserFilter[]): void {
  try {
    if (filters.length === 0) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, JSON.stringify(filters));
  } catch {
    // A browser that stores nothing has none after the next load either.
  }
  inBrowser.set(filters);
}

/**
 * Moves the filters of this browser to the server, one by one: what is not there yet stays here.
 *
 * @throws ApiError of the first that the server does not take; the others were tried
 */
export async function moveFromBrowser(): Promise<void> {
  const failures: Error[] = [];
  for (const filter of readBrowser()) {
    try {
      await moveOne({ name: filter.name, query: normalQuery(filter.query), is_shared: false });
      keepInBrowser(readBrowser().filter(({ name, query }) => name !== filter.name || query !== filter.query));
    } catch (error) {
      failures.push(error as Error);
    }
  }
  const [first] = failures;
  if (first !== undefined) throw first;
}

async function moveOne(terms: FilterTerms): Promise<void> {
  for (let count = 0; count < MAX_TRIES; count++) {
    const { items } = await request<SavedFilterList>(FILTERS_PATH);
    const own = items.filter((one) => one.is_own);
    const name = freeName(terms, own);
    // Another tab, or another browser, had the same.
    if (name === undefined) return;
    try {
      await addFilter({ ...terms, name });
      return;
    } catch (error) {
      // Another tab took the name since.
      if (problemOf(error).name !== 'already-exists') throw error;
    }
  }
}

/**
 * Returns the name, with a number if another filter has it, or `undefined` if the same filter is
 * there already.
 */
function freeName({ name, query }: BrowserFilter, own: readonly BrowserFilter[]): string | undefined {
  const queryOf = new Map(own.map((one) => [one.name, normalQuery(one.query)]));
  for (let number = 1; ; number++) {
    const suffix = number === 1 ? '' : ` (${number})`;
    const candidate = `${Array.from(name)
      .slice(0, MAX_SAVED_NAME - suffix.length)
      .join('')}${suffix}`;
    const taken = queryOf.get(candidate);
    if (taken === undefined) return candidate;
    if (taken === query) return undefined;
  }
}
