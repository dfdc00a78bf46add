import type { JSX } from 'preact';
import { formatNumber } from '../format.js';
import type { ListData, ListPage } from '../list-page.js';
import { useLocation } from '../navigation.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { urlOf, withParameters } from '../url-state.js';

/**
 * First and next page of a list. A cursor leads forward only; the browser's Back leads back. While
 * another page is loaded, it says where the items are that are shown.
 */
export function Pager({ page: { data, query } }: { readonly page: ListPage<ListData<unknown>> }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { path } = useLocation();
  const { items, next = null, total = null } = data ?? { items: [] };
  const from = positionOf(query);
  const to = from + items.length - 1;
  const range = { from: formatNumber(from, locale), to: formatNumber(to, locale) };
  const text =
    total === null ? say('common.range-open', range) : say('common.range', { ...range, total: formatNumber(total, locale) });
  return (
    <nav class="pager" aria-label={say('common.pages')}>
      <span class="quiet">{items.length === 0 ? '' : text}</span>
      {from > 1 && (
        <a class="button" href={urlOf(path, withParameters(query, { after: null, from: null, node: null, open: null }))}>
          {say('common.first-page')}
        </a>
      )}
      {next !== null && (
        <a
          class="button"
          rel="next"
          href={urlOf(path, withParameters(query, { after: next, from: String(to + 1), node: null, open: null }))}
        >
          {say('common.next-page')}
        </a>
      )}
    </nav>
  );
}

/** The position of the first item, as the link to this page counted it. */
function positionOf(query: URLSearchParams): number {
  const from = Number(query.get('from'));
  return query.has('after') && Number.isSafeInteger(from) && from > 0 ? from : 1;
}
