/**
 * Who could know initial keys. The API caches the result, because it needs a walk through the
 * registry.
 */

import type { ExposureView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { givenTo, lineOf } from '../exposure-line.js';
import { formatNumber } from '../format.js';
import { type ListData, pageRequest, useListPage } from '../list-page.js';
import { navigate, useLocation } from '../navigation.js';
import { type Column, ListTable } from '../parts/list-table.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { ThingLink } from '../parts/thing-link.js';
import { Time } from '../parts/time.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useMay } from '../session.js';
import { ResetHolders } from './reset-holders.js';

interface ExposureData extends ListData<ExposureView> {
  readonly at: string;
}

export function ExposurePage(): JSX.Element {
  const say = useSay();
  const { query } = useLocation();
  const after = query.get('after');
  const reset = readReset(query);
  /** Number of requests for a fresh result. */
  const [asked, setAsked] = useState(0);
  const isFresh = asked > 0 && after === null;
  const page = useListPage<ExposureData>(`${pageRequest('/v1/exposure', after)}${isFresh ? '&max_age_seconds=0' : ''}`);
  const { data, problem } = page;
  const readNow = (): void => {
    if (page.isLoading) return;
    if (isFresh) page.reload();
    else if (after !== null) navigate('/exposure');
    setAsked((count) => count + 1);
  };
  return (
    <>
      <PageHead title={say('page.exposure')} resource={page} />
      <p class="quiet">{say('exposure.about')}</p>
      {reset !== undefined && (
        <ResetHolders key={`${reset.order} ${reset.initialKey}`} {...reset} onDone={() => setAsked((count) => count + 1)} />
      )}
      {reset === undefined && data !== undefined && (
        <p class="inline">
          <span>
            <Phrase of="exposure.at" values={{ time: <Time at={data.at} /> }} />
          </span>
          <button type="button" aria-disabled={page.isLoading} onClick={readNow}>
            {say('exposure.now')}
          </button>
        </p>
      )}
      {problem !== undefined && <ProblemNote problem={problem} retry={page.reload} />}
      {data?.items.length === 0 && (
        <section class="empty">
          <h2>{say('exposure.empty')}</h2>
        </section>
      )}
      {reset === undefined && data !== undefined && data.items.length > 0 && (
        <>
          <ExposureTable lines={data.items} isBusy={page.isLoading} />
          <Pager page={page} />
        </>
      )}
    </>
  );
}

/** Returns `undefined` unless the URL names an order and the fingerprint of an initial key. */
function readReset(query: URLSearchParams): { readonly order: string; readonly initialKey: string } | undefined {
  const [order, initialKey] = [query.get('order') ?? '', query.get('holding') ?? ''];
  return /^[1-9]\d{0,9}$/.test(order) && /^[0-9a-f]{4}$/.test(initialKey) ? { order, initialKey } : undefined;
}

const COLUMNS: readonly Column[] = [
  { name: 'nodes.order' },
  { name: 'exposure.keys', class: 'number' },
  { name: 'exposure.given', class: 'wide' },
  { name: 'exposure.held', class: 'number' },
  { name: 'exposure.traded', class: 'number wide' },
  { name: 'exposure.seen-by', class: 'wider' },
  { name: 'exposure.retired', class: 'wider' },
];

function ExposureTable({ lines, isBusy }: { readonly lines: readonly ExposureView[]; readonly isBusy: boolean }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  return (
    <ListTable caption="exposure.caption" columns={COLUMNS} isBusy={isBusy}>
      {lines.map((line) => {
        const { keys, order, key } = lineOf(line);
        return (
          <tr key={`${line.keys} ${order}`}>
            <th scope="row">
              {order !== undefined && <ThingLink kind="order" id={String(order)} />} {key !== undefined && <code>{key}</code>}
            </th>
            <td class="number">
              {formatNumber(keys, locale)}{' '}
              {keys < line.nodes && <span class="quiet">{say('exposure.shared', {}, line.nodes)}</span>}
              {keys < line.nodes && line.held > 0 && key !== undefined && !line.split && (
                <ResetLinks orders={line.issued.map((one) => one.order)} initialKey={key} />
              )}
            </td>
            <td class="wide text">
              <Given line={line} />
            </td>
            <td class="number">
              {line.held === 0 ? (
                <None />
              ) : order === undefined ? (
                formatNumber(line.held, locale)
              ) : (
                <a href={`/nodes?order=${order}&never_joined=true`}>{formatNumber(line.held, locale)}</a>
              )}
            </td>
            <td class="number wide">{formatNumber(line.joined, locale)}</td>
            <td class="wider">
              {line.key_holders.length === 0 && !line.other_key_holders && <None />}
              {line.key_holders.map((id) => (
                <>
                  <ThingLink key={id} kind="controller" id={id} />{' '}
                </>
              ))}
              {line.other_key_holders && <span class="quiet">{say('exposure.others')}</span>}
            </td>
            <td class="wider">{line.retired_at === null ? <None /> : <Time at={line.retired_at} />}</td>
          </tr>
        );
      })}
    </ListTable>
  );
}

/** An order each: whoever installs its nodes gets their new keys. */
function ResetLinks({ orders, initialKey }: { readonly orders: readonly number[]; readonly initialKey: string }): JSX.Element {
  const say = useSay();
  if (!useMay('keys')) return <></>;
  return (
    <>
      {[...new Set(orders)].map((order) => (
        <a key={order} class="lines-of" href={`/exposure?order=${order}&holding=${initialKey}`}>
          {say('exposure.reset', { order: String(order) })}
        </a>
      ))}
    </>
  );
}

function Given({ line: { issued, split, device_keys: deviceKeys } }: { readonly line: ExposureView }): JSX.Element {
  return (
    <>
      {givenTo(issued).map(({ order, installer, first, last }) => (
        <span class="lines-of" key={order}>
          {installer}, <Time at={first} />
          {last !== first && (
            <>
              {' – '}
              <Time at={last} />
            </>
          )}
        </span>
      ))}
      {split && (
        <span class="lines">
          <Phrase of="exposure.halves" values={{ who: deviceKeys.map(({ manufacturer }) => manufacturer).join(', ') }} />
        </span>
      )}
    </>
  );
}
