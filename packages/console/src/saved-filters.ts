/** Filters of nodes that somebody gave a name. The server has them. */

import { request } from './api.js';
import { readNodeFilters, writeNodeFilters } from './url-state.js';

export const FILTERS_PATH = '/v1/filters';

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
