/** Unknown nodes: IDs that controllers asked for and that the registry does not have. */

import type { WaitingNode } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { request } from '../api.js';
import { formatNumber } from '../format.js';
import { type ListData, pageRequest, useListPage } from '../list-page.js';
import { useLocation } from '../navigation.js';
import { ACTIONS, type Column, ListTable } from '../parts/list-table.js';
import { ChangeButton } from '../parts/change-button.js';
import { Command } from '../parts/copy.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { rowProps } from '../parts/rows.js';
import { ThingLink } from '../parts/thing-link.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useMay } from '../session.js';
import { openedOf } from '../url-state.js';

export function WaitingPage(): JSX.Element {
  const say = useSay();
  const page = useListPage<ListData<WaitingNode>>(pageRequest('/v1/waiting', useLocation().query.get('after')));
  const { data, problem } = page;
  return (
    <>
      <PageHead
        title={say('page.waiting')}
        about={data !== undefined && data.total !== null && say('waiting.count', {}, data.total)}
        resource={page}
      />
      <p class="quiet">{say('waiting.about')}</p>
      {problem !== undefined && <ProblemNote problem={problem} retry={page.reload} />}
      {data?.items.length === 0 && (
        <section class="empty">
          <h2>{say('waiting.empty')}</h2>
          <p>{say('waiting.empty-advice')}</p>
        </section>
      )}
      {data !== undefined && data.items.length > 0 && (
        <>
          <WaitingTable nodes={data.items} isBusy={page.isLoading} />
          <Pager page={page} />
          <section>
            <p>{say('waiting.import')}</p>
            <Command words={['latchkey-auth-server', 'import', 'manifest.csv']} />
          </section>
        </>
      )}
    </>
  );
}

const COLUMNS: readonly Column[] = [
  { name: 'nodes.id' },
  { name: 'waiting.similar' },
  { name: 'nodes.controller', class: 'wide' },
  { name: 'waiting.times', class: 'number wide' },
  { name: 'waiting.since', class: 'wider' },
  { name: 'waiting.last', class: 'wide' },
];

function WaitingTable({ nodes, isBusy }: { readonly nodes: readonly WaitingNode[]; readonly isBusy: boolean }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { path, query } = useLocation();
  const open = openedOf(path, query)?.id;
  const mayDismiss = useMay('nodes');
  return (
    <ListTable caption="waiting.caption" columns={mayDismiss ? [...COLUMNS, ACTIONS] : COLUMNS} isBusy={isBusy}>
      {nodes.map(({ id, similar, controller, count, since, last_seen_at: lastSeenAt }) => (
        <tr key={id} {...rowProps(id === open)}>
          <th scope="row">
            <ThingLink kind="node" id={id} />
          </th>
          <td>
            {similar.length === 0 && <None />}
            {similar.map((one) => (
              <>
                <ThingLink key={one} kind="node" id={one} />{' '}
              </>
            ))}
          </td>
          <td class="wide">
            <ThingLink kind="controller" id={controller} />
          </td>
          <td class="number wide">{formatNumber(count, locale)}</td>
          <td class="wider">
            <Time at={since} />
          </td>
          <td class="wide">
            <Time at={lastSeenAt} />
          </td>
          {mayDismiss && (
            <td>
              <ChangeButton
                label={say('waiting.dismiss')}
                done={say('waiting.dismissed', { id })}
                change={() => request(`/v1/waiting/${id}`, { method: 'DELETE' })}
              />
            </td>
          )}
        </tr>
      ))}
    </ListTable>
  );
}
