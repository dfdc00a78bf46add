import type { JSX } from 'preact';
import { formatNumber } from '../format.js';
import { useLocation } from '../navigation.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { urlOf, withParameters } from '../url-state.js';

interface PagerProps {
  /** Items on this page. */
  readonly count: number;
  readonly next: string | null;
  readonly total: number | null;
}

/** First and next page of a list. A cursor leads forward only; the browser's Back leads back. */
export function Pager({ count, next, total }: PagerProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { path, query } = useLocation();
  const from = positionOf(query);
  const to = from + count - 1;
  const range = { from: formatNumber(from, locale), to: formatNumber(to, locale) };
  const text =
    total === null ? say('common.range-open', range) : say('common.range', { ...range, total: formatNumber(total, locale) });
  return (
    <nav class="pager" aria-label={say('common.pages')}>
      <span class="quiet">{count === 0 ? '' : text}</span>
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
