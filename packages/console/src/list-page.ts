/** A page of a list: the cursor is in the URL, with the position of its first item. */

import { useEffect } from 'preact/hooks';
import { navigate, useLocation } from './navigation.js';
import { type Resource, useAskedWith, useResource } from './resource.js';
import { urlOf, withParameters } from './url-state.js';

export const PAGE_LENGTH = 100;

export interface ListData<T> {
  readonly items: readonly T[];
  readonly next: string | null;
  readonly total: number | null;
}

export interface ListPage<D> extends Resource<D> {
  /** The query of the URL that the items were asked for with. */
  readonly query: URLSearchParams;
}

/** Loads a page. If the API was restarted since its cursor was made, the list begins again. */
export function useListPage<D extends ListData<unknown>>(request: string): ListPage<D> {
  const { path, query } = useLocation();
  const page = useResource<D>(request, { keepsPrevious: true });
  const { problem } = page;
  useEffect(() => {
    if (problem?.name === 'cursor-invalid')
      navigate(urlOf(path, withParameters(query, { after: null, from: null })), { replace: true });
  }, [problem]);
  return { ...page, query: useAskedWith(page, query) };
}

/** The request for a page of a list without filters. */
export function pageRequest(path: string, after: string | null): string {
  return `${path}?limit=${PAGE_LENGTH}${after === null ? '' : `&after=${encodeURIComponent(after)}`}`;
}
