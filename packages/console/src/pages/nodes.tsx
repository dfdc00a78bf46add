/** Nodes under filters, in pages. The filters are the page's URL. */

import type { NodeView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';
import { formatMinute } from '../format.js';
import { type ListData, PAGE_LENGTH, useListPage } from '../list-page.js';
import { navigate, useLocation } from '../navigation.js';
import { StateBadge } from '../parts/badges.js';
import { BulkBar, type Choice, chosenWith, NO_CHOICE } from '../parts/bulk-bar.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { useTypedFilters } from '../parts/typed-filters.js';
import { rowProps } from '../parts/rows.js';
import { SavedFiltersMenu } from '../parts/saved-filters-menu.js';
import { ThingLink } from '../parts/thing-link.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useMay } from '../session.js';
import { FirstOrder } from './overview.js';
import {
  type ExpiryRange,
  hasFilters,
  NODE_STATES,
  type NodeFilters,
  nodesRequest,
  openedOf,
  readNodeFilters,
  urlOf,
  writeNodeFilters,
} from '../url-state.js';

/** Of the choice between two times. */
const RANGE = 'range';
const EXPIRES_WITHIN_DAYS = [1, 7, 30, 90] as const;

export function NodesPage(): JSX.Element {
  const say = useSay();
  const { query } = useLocation();
  const filters = readNodeFilters(query);
  const after = query.get('after');
  // The same filters are the same request until they change: a relative time would move on.
  const key = urlOf('', writeNodeFilters(filters));
  const resource = useMemo(() => nodesRequest(filters, after, PAGE_LENGTH, Date.now()), [key, after]);
  const page = useListPage<ListData<NodeView>>(resource);
  const { data, problem } = page;
  /** Filters of the nodes that are shown. */
  const shown = readNodeFilters(page.query);
  const isOfFilters = urlOf('', writeNodeFilters(shown)) === key;
  const mayChange = useMay('nodes');
  const [choice, setChoice] = useState<Choice>(NO_CHOICE);
  useEffect(() => setChoice(NO_CHOICE), [key]);
  const show = (changed: NodeFilters): void => navigate(urlOf('/nodes', writeNodeFilters(changed)));
  return (
    <>
      <PageHead
        title={say('page.nodes')}
        about={data !== undefined && data.total !== null && say('nodes.count', {}, data.total)}
        resource={page}
      />
      <Filters filters={filters} onChange={show} />
      <SavedFiltersMenu filters={filters} />
      {problem !== undefined && <ProblemNote problem={problem} retry={page.reload} />}
      {data !== undefined && data.items.length === 0 && (
        <section class="empty">
          <h2>{say(hasFilters(shown) ? 'nodes.none-match' : 'overview.empty')}</h2>
          {hasFilters(shown) ? (
            <p>
              {say('nodes.none-match-advice')} <a href="/nodes">{say('nodes.clear')}</a>
            </p>
          ) : (
            <FirstOrder />
          )}
          {shown.starts !== '' && (
            <p>
              <a href={urlOf('/nodes', new URLSearchParams({ q: shown.starts }))}>
                {say('nodes.starts-as-text', { text: shown.starts })}
              </a>
            </p>
          )}
        </section>
      )}
      {data !== undefined && data.items.length > 0 && (
        <>
          {mayChange && isOfFilters && <BulkBar choice={choice} filters={filters} total={data.total} onChoose={setChoice} />}
          <NodeTable
            nodes={data.items}
            isBusy={page.isLoading}
            choice={choice}
            isOfFilters={isOfFilters}
            {...(mayChange ? { onChoose: setChoice } : {})}
          />
          <Pager page={page} />
        </>
      )}
    </>
  );
}

interface FiltersProps {
  readonly filters: NodeFilters;
  readonly onChange: (filters: NodeFilters) => void;
}

function Filters({ filters, onChange }: FiltersProps): JSX.Element {
  const say = useSay();
  const { read, field } = useTypedFilters(filters);
  const change = (changes: Partial<NodeFilters>): void => {
    const typed = read();
    if (typed !== undefined) onChange({ ...filters, ...typed, ...changes });
  };
  const toggle = (state: (typeof NODE_STATES)[number]): void => {
    const states = filters.state.includes(state) ? filters.state.filter((one) => one !== state) : [...filters.state, state];
    change({ state: states });
  };
  return (
    <form
      class="filters"
      aria-label={say('nodes.filters')}
      onSubmit={(event) => {
        event.preventDefault();
        change({});
      }}
    >
      <fieldset class="states">
        <legend class="hidden">{say('nodes.state')}</legend>
        {NODE_STATES.map((state) => (
          <label key={state}>
            <input type="checkbox" checked={filters.state.includes(state)} onChange={() => toggle(state)} />
            <StateBadge state={state} />
          </label>
        ))}
      </fieldset>
      {field('q', 14)}
      {field('site', 10)}
      {field('tag', 8)}
      {field('order', 4)}
      {field('controller', 8)}
      {field('starts', 8)}
      <label>
        <span>{say('nodes.expires')}</span>
        <select
          value={filters.expires === undefined ? String(filters.expiresInDays ?? '') : RANGE}
          onChange={({ currentTarget: { value } }) => {
            if (value !== RANGE) change({ expires: undefined, expiresInDays: value === '' ? undefined : Number(value) });
          }}
        >
          <option value="">{say('nodes.expires-any')}</option>
          {filters.expires !== undefined && <RangeOption range={filters.expires} />}
          {daysWith(filters.expiresInDays).map((days) => (
            <option key={days} value={String(days)}>
              {say('nodes.expires-in', {}, days)}
            </option>
          ))}
        </select>
      </label>
      <button type="submit">{say('nodes.apply')}</button>
      {hasFilters(filters) && <a href="/nodes">{say('nodes.clear')}</a>}
    </form>
  );
}

/** Of the calendar: another choice takes it away. */
function RangeOption({ range: { from, before } }: { readonly range: ExpiryRange }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const text = (time: string | null): string => (time === null ? '…' : formatMinute(Date.parse(time), locale));
  return (
    <option value={RANGE} selected>
      {say('nodes.expires-between', { from: text(from), before: text(before) })}
    </option>
  );
}

/** A URL may have a number of days that is not offered. */
function daysWith(chosen: number | undefined): readonly number[] {
  const offered: readonly number[] = EXPIRES_WITHIN_DAYS;
  return chosen === undefined || offered.includes(chosen) ? offered : [...offered, chosen].toSorted((a, b) => a - b);
}

/** More rows than fit on the screen: the rest is rendered afterwards. */
const FIRST_ROWS = 40;

interface NodeTableProps {
  readonly nodes: readonly NodeView[];
  readonly isBusy: boolean;
  readonly choice: Choice;
  /** Nodes of other filters than those of the page are on their way out: none is chosen. */
  readonly isOfFilters: boolean;
  /** Without it nothing can be chosen. */
  readonly onChoose?: (choice: Choice) => void;
}

function NodeTable({ nodes, isBusy, choice, isOfFilters, onChoose }: NodeTableProps): JSX.Element {
  const isChosen = ({ id }: NodeView): boolean => choice.isAll || choice.nodes.has(id);
  const chosen = nodes.filter(isChosen).length;
  const say = useSay();
  const { path, query } = useLocation();
  const open = openedOf(path, query)?.id;
  const [isDrawn, setDrawn] = useState(false);
  useEffect(() => setDrawn(true), []);
  return (
    <table class="list" aria-busy={isBusy}>
      <caption class="hidden">{say('nodes.caption')}</caption>
      <thead>
        <tr>
          {onChoose !== undefined && (
            <td class="choose">
              <Checkbox
                label={say('bulk.choose-page')}
                isChecked={chosen === nodes.length}
                isMixed={chosen > 0 && chosen < nodes.length}
                isDisabled={!isOfFilters}
                onChange={(isChecked) => onChoose(chosenWith(choice, nodes, isChecked))}
              />
            </td>
          )}
          <th scope="col">{say('nodes.id')}</th>
          <th scope="col" class="wide">
            {say('nodes.name')}
          </th>
          <th scope="col">{say('nodes.state')}</th>
          <th scope="col" class="wider">
            {say('nodes.site')}
          </th>
          <th scope="col" class="wide">
            {say('nodes.order')}
          </th>
          <th scope="col" class="wide">
            {say('nodes.controller')}
          </th>
          <th scope="col" class="wider">
            {say('nodes.joined')}
          </th>
          <th scope="col">{say('nodes.expires')}</th>
          <th scope="col" class="widest">
            {say('nodes.key')}
          </th>
          <th scope="col" class="widest">
            {say('nodes.address')}
          </th>
        </tr>
      </thead>
      <tbody>
        {(isDrawn ? nodes : nodes.slice(0, FIRST_ROWS)).map((node) => (
          <tr key={node.id} {...rowProps(node.id === open)}>
            {onChoose !== undefined && (
              <td class="choose">
                <Checkbox
                  label={say('bulk.choose-node', { id: node.id })}
                  isChecked={isChosen(node)}
                  isDisabled={!isOfFilters}
                  onChange={(isChecked) =>
                    // Of all nodes that are chosen, one that is left out leaves those of this page.
                    onChoose(chosenWith(choice.isAll ? chosenWith(NO_CHOICE, nodes, true) : choice, [node], isChecked))
                  }
                />
              </td>
            )}
            <th scope="row">
              <ThingLink kind="node" id={node.id} />
            </th>
            <td class="wide text">{node.name ?? <None />}</td>
            <td>
              <StateBadge state={node.state} />
            </td>
            <td class="wider text">{node.site ?? <None />}</td>
            <td class="wide">{node.order}</td>
            <td class="wide">
              <code>{node.controller}</code>
            </td>
            <td class="wider">{node.joined_at === null ? <None /> : <Time at={node.joined_at} />}</td>
            <td>{node.expires_at === null ? <None /> : <Time at={node.expires_at} />}</td>
            <td class="widest">
              <code>{node.key}</code> {node.key_is_initial && <span class="quiet">{say('nodes.key-initial')}</span>}
            </td>
            <td class="widest">{node.address === null ? <None /> : <code>{node.address}</code>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface CheckboxProps {
  readonly label: string;
  readonly isChecked: boolean;
  readonly isMixed?: boolean;
  readonly isDisabled: boolean;
  readonly onChange: (isChecked: boolean) => void;
}

/** The label is a target of its own size around the box. */
function Checkbox({ label, isChecked, isMixed = false, isDisabled, onChange }: CheckboxProps): JSX.Element {
  return (
    <label class="box">
      <input
        type="checkbox"
        aria-label={label}
        checked={isChecked}
        indeterminate={isMixed}
        disabled={isDisabled}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    </label>
  );
}
