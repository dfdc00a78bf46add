/** How many keys expire on which day or in which week, each a link to their nodes. */

import type { JSX } from 'preact';
import { formatDay, formatNumber } from '../format.js';
import { navigate, useLocation } from '../navigation.js';
import { type Column, ListTable } from '../parts/list-table.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useResource } from '../resource.js';
import {
  calendarRequest,
  type ExpiryRange,
  hasFilters,
  type NodeFilters,
  readNodeFilters,
  urlOf,
  withParameters,
  writeNodeFilters,
} from '../url-state.js';

interface Interval {
  readonly from: string;
  readonly before: string;
  readonly nodes: number;
}

interface Calendar {
  readonly overdue: number;
  readonly items: readonly Interval[];
  readonly later: number;
}

export function CalendarPage(): JSX.Element {
  const say = useSay();
  const { query } = useLocation();
  const locale = localeOf(usePreferences());
  const filters = readNodeFilters(query);
  const by = query.get('by') === 'week' ? 'week' : 'day';
  const zone = locale.timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  const resource = useResource<Calendar>(calendarRequest(filters, by, zone), { keepsPrevious: true });
  const { data, problem } = resource;
  return (
    <>
      <PageHead title={say('page.calendar')} resource={resource} />
      <p class="quiet">{say('calendar.about')}</p>
      <form class="filters" aria-label={say('nodes.filters')} onSubmit={(event) => event.preventDefault()}>
        <label>
          <span>{say('calendar.by')}</span>
          <select
            value={by}
            onChange={({ currentTarget: { value } }) =>
              navigate(urlOf('/calendar', withParameters(query, { by: value === 'week' ? value : null })))
            }
          >
            <option value="day">{say('calendar.by-day')}</option>
            <option value="week" selected={by === 'week'}>
              {say('calendar.by-week')}
            </option>
          </select>
        </label>
        <Place label={say('nodes.order')} values={filters.order} />
        <Place label={say('nodes.controller')} values={filters.controller} />
        <Place label={say('nodes.site')} values={filters.site} />
        <Place label={say('nodes.tag')} values={filters.tag} />
        {hasFilters(filters) && (
          <a href={urlOf('/calendar', new URLSearchParams(by === 'week' ? { by } : {}))}>{say('nodes.clear')}</a>
        )}
      </form>
      {problem !== undefined && <ProblemNote problem={problem} retry={resource.reload} />}
      {data !== undefined && <Intervals calendar={data} filters={filters} isBusy={resource.isLoading} />}
    </>
  );
}

/** A filter that came with the URL. */
function Place({ label, values }: { readonly label: string; readonly values: readonly string[] }): JSX.Element {
  return values.length === 0 ? (
    <></>
  ) : (
    <span class="text">
      {label} <strong>{values.join(', ')}</strong>
    </span>
  );
}

const COLUMNS: readonly Column[] = [{ name: 'calendar.when' }, { name: 'controllers.nodes' }];

/** Longer than any day, also where the clocks go back. */
const TWO_DAYS_MS = 48 * 3_600_000;

interface IntervalsProps {
  readonly calendar: Calendar;
  readonly filters: NodeFilters;
  readonly isBusy: boolean;
}

/**
 * Days without a key are left out: of 120 most have none. An interval says itself whether it is a
 * day or a week: what is shown while weeks are loaded are still days.
 */
function Intervals({ calendar: { overdue, items, later }, filters, isBusy }: IntervalsProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const nameOf = (from: string, before: string): string => {
    const start = Date.parse(from);
    const day = formatDay(start, locale);
    return Date.parse(before) - start >= TWO_DAYS_MS ? say('calendar.week-of', { day }) : day;
  };
  const rows = [
    { name: say('calendar.overdue'), range: { from: null, before: items[0]?.from ?? null }, nodes: overdue },
    ...items.map(({ from, before, nodes }) => ({ name: nameOf(from, before), range: { from, before }, nodes })),
    { name: say('calendar.later'), range: { from: items.at(-1)?.before ?? null, before: null }, nodes: later },
  ].filter(({ nodes }) => nodes > 0);
  if (rows.length === 0)
    return (
      <section class="empty">
        <h2>{say('calendar.none')}</h2>
        <p>{say('calendar.none-advice')}</p>
      </section>
    );
  const most = Math.max(...rows.map(({ nodes }) => nodes));
  return (
    <ListTable caption="calendar.caption" columns={COLUMNS} isBusy={isBusy}>
      {rows.map(({ name, range, nodes }) => (
        <tr key={name}>
          <th scope="row">
            <a href={nodesUrl(filters, range)}>{name}</a>
          </th>
          <td>
            <span class="progress">
              <progress value={nodes} max={most} aria-hidden="true" /> {formatNumber(nodes, locale)}
            </span>
          </td>
        </tr>
      ))}
    </ListTable>
  );
}

function nodesUrl(filters: NodeFilters, expires: ExpiryRange): string {
  return urlOf('/nodes', writeNodeFilters({ ...filters, expiresInDays: undefined, expires }));
}
