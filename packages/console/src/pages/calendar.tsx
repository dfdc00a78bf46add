/** How many keys expire on which day or in which week, and of which orders. */

import { Fragment, type JSX } from 'preact';
import { browserZone, formatDay, formatNumber } from '../format.js';
import type { ListData } from '../list-page.js';
import { navigate, useLocation } from '../navigation.js';
import { type Column, ListTable } from '../parts/list-table.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { useTypedFilters } from '../parts/typed-filters.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useAskedWith, useResource } from '../resource.js';
import {
  calendarFilters,
  calendarOrdersRequest,
  calendarRequest,
  type ExpiryRange,
  hasFilters,
  type NodeFilters,
  readNodeFilters,
  urlOf,
  withParameters,
  writeNodeFilters,
} from '../url-state.js';
import type { OrderList } from './orders.js';

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

/** Orders that are offered to choose from. */
const MAX_OFFERED = 1_000;
const ORDERS = 'calendar-orders';

export function CalendarPage(): JSX.Element {
  const say = useSay();
  const { query } = useLocation();
  const locale = localeOf(usePreferences());
  const filters = calendarFilters(readNodeFilters(query));
  const by = query.get('by') === 'week' ? 'week' : 'day';
  const zone = locale.timeZone ?? browserZone();
  const resource = useResource<Calendar>(calendarRequest(filters, by, zone), { keepsPrevious: true });
  const { data, problem } = resource;
  /** Filters of the keys that are shown. */
  const shown = useAskedWith(resource, filters);
  return (
    <>
      <PageHead title={say('page.calendar')} resource={resource} />
      <p class="quiet">{say('calendar.about')}</p>
      <Filters filters={filters} by={by} />
      {problem !== undefined && <ProblemNote problem={problem} retry={resource.reload} />}
      {data !== undefined && <Intervals calendar={data} filters={shown} isBusy={resource.isLoading} />}
    </>
  );
}

interface FiltersProps {
  readonly filters: NodeFilters;
  readonly by: 'day' | 'week';
}

function Filters({ filters, by }: FiltersProps): JSX.Element {
  const say = useSay();
  const orders = useResource<OrderList>(`/v1/orders?limit=${MAX_OFFERED}`);
  const { read, field } = useTypedFilters(filters);
  const show = (interval: string): void => {
    const typed = read();
    if (typed === undefined) return;
    const query = writeNodeFilters({ ...filters, ...typed });
    navigate(urlOf('/calendar', withParameters(query, { by: interval === 'week' ? interval : null })));
  };
  return (
    <form
      class="filters"
      aria-label={say('nodes.filters')}
      onSubmit={(event) => {
        event.preventDefault();
        show(by);
      }}
    >
      <label>
        <span>{say('calendar.by')}</span>
        <select value={by} onChange={({ currentTarget: { value } }) => show(value)}>
          <option value="day">{say('calendar.by-day')}</option>
          <option value="week" selected={by === 'week'}>
            {say('calendar.by-week')}
          </option>
        </select>
      </label>
      {field('order', 6, ORDERS)}
      {field('controller', 8)}
      {field('site', 10)}
      {field('tag', 8)}
      <datalist id={ORDERS}>
        {orders.data?.items.map(({ order, installer }) => (
          <option key={order} value={String(order)}>
            {installer}
          </option>
        ))}
      </datalist>
      <button type="submit">{say('nodes.apply')}</button>
      {hasFilters(filters) && (
        <a href={urlOf('/calendar', new URLSearchParams(by === 'week' ? { by } : {}))}>{say('nodes.clear')}</a>
      )}
    </form>
  );
}

const COLUMNS: readonly Column[] = [{ name: 'calendar.when' }, { name: 'controllers.nodes' }, { name: 'calendar.orders' }];

/** Longer than any day, also where the clocks go back. */
const TWO_DAYS_MS = 48 * 3_600_000;

interface IntervalsProps {
  readonly calendar: Calendar;
  readonly filters: NodeFilters;
  readonly isBusy: boolean;
}

/**
 * Omits days without an expiring key: most of 120 days have none. Each interval says whether it is
 * a day or a week, because days are still shown while weeks are loaded.
 */
function Intervals({ calendar: { overdue, items, later }, filters, isBusy }: IntervalsProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { query } = useLocation();
  const chosen = readNodeFilters(query).expires;
  const choose = (range: ExpiryRange | undefined): void =>
    navigate(
      urlOf('/calendar', withParameters(query, { expires_from: range?.from ?? null, expires_before: range?.before ?? null })),
    );
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
      {rows.map(({ name, range, nodes }) => {
        const isChosen = chosen !== undefined && isSameRange(chosen, range);
        return (
          <Fragment key={name}>
            <tr>
              <th scope="row">
                <a href={nodesUrl(filters, range)}>{name}</a>
              </th>
              <td>
                <span class="progress">
                  <progress value={nodes} max={most} aria-hidden="true" /> {formatNumber(nodes, locale)}
                </span>
              </td>
              <td>
                <button
                  type="button"
                  aria-expanded={isChosen}
                  aria-label={say('calendar.orders-of', { when: name })}
                  onClick={() => choose(isChosen ? undefined : range)}
                >
                  {say('calendar.orders')}
                </button>
              </td>
            </tr>
            {isChosen && (
              <tr>
                <td colSpan={COLUMNS.length}>
                  <OrdersOf filters={filters} range={range} name={name} />
                </td>
              </tr>
            )}
          </Fragment>
        );
      })}
    </ListTable>
  );
}

function isSameRange(one: ExpiryRange, other: ExpiryRange): boolean {
  return one.from === other.from && one.before === other.before;
}

interface OrdersOfProps {
  readonly filters: NodeFilters;
  readonly range: ExpiryRange;
  /** Of the day or the week. */
  readonly name: string;
}

type OrderCounts = ListData<{ readonly order: number; readonly installer: string; readonly nodes: number }>;

/** The orders of a day or a week, most keys first; each is a link to its nodes. */
function OrdersOf({ filters, range, name }: OrdersOfProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { data, problem, reload } = useResource<OrderCounts>(calendarOrdersRequest(filters, range));
  if (problem !== undefined) return <ProblemNote problem={problem} retry={reload} />;
  if (data === undefined) return <p class="quiet">{say('common.loading')}</p>;
  const more = (data.total ?? 0) - data.items.length;
  return (
    <>
      <ul class="sites" aria-label={say('calendar.orders-of', { when: name })}>
        {data.items.map(({ order, installer, nodes }) => (
          <li key={order}>
            <a class="text" href={nodesUrl({ ...filters, order: [String(order)] }, range)}>
              {say('calendar.order', { order: String(order), installer })}
            </a>
            {formatNumber(nodes, locale)}
          </li>
        ))}
      </ul>
      {more > 0 && <p class="quiet">{say('calendar.more-orders', {}, more)}</p>}
    </>
  );
}

function nodesUrl(filters: NodeFilters, expires: ExpiryRange): string {
  return urlOf('/nodes', writeNodeFilters({ ...filters, expiresInDays: undefined, expires }));
}
