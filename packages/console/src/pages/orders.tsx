/** Orders and imports, with how many of their nodes have joined. */

import type { OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { patchNow, request } from '../api.js';
import { Drawer } from '../drawer.js';
import { formatDuration } from '../format.js';
import { type ListData, pageRequest, useListPage } from '../list-page.js';
import { useLocation } from '../navigation.js';
import { type Column, ListTable } from '../parts/list-table.js';
import { OrderBadge } from '../parts/badges.js';
import { ChangeButton } from '../parts/change-button.js';
import { type Row, Rows } from '../parts/fact-list.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { ProgressBar } from '../parts/progress-bar.js';
import { rowProps } from '../parts/rows.js';
import { ThingLink } from '../parts/thing-link.js';
import { Time } from '../parts/time.js';
import { TypedConfirmation } from '../parts/typed-confirmation.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useResource } from '../resource.js';
import { useMay } from '../session.js';
import { FirstOrder } from './overview.js';

export type OrderList = ListData<OrderView>;

export function OrdersPage(): JSX.Element {
  const say = useSay();
  const list = useListPage<OrderList>(pageRequest('/v1/orders', useLocation().query.get('after')));
  const { data, problem } = list;
  const mayOrder = useMay('keys');
  return (
    <>
      <PageHead
        title={say('page.orders')}
        about={data !== undefined && data.total !== null && say('orders.count', {}, data.total)}
        resource={list}
      />
      {problem !== undefined && <ProblemNote problem={problem} retry={list.reload} />}
      {mayOrder && (
        <p>
          <a class="button" href="/orders/new">
            {say('page.new-order')}
          </a>
        </p>
      )}
      {data?.items.length === 0 && (
        <section class="empty">
          <h2>{say('orders.empty')}</h2>
          {!mayOrder && <FirstOrder />}
        </section>
      )}
      {data !== undefined && data.items.length > 0 && (
        <>
          <OrderTable orders={data.items} isBusy={list.isLoading} />
          <Pager page={list} />
        </>
      )}
    </>
  );
}

const COLUMNS: readonly Column[] = [
  { name: 'nodes.order' },
  { name: 'nodes.state' },
  { name: 'orders.installer' },
  { name: 'orders.progress', class: 'wide' },
  { name: 'nodes.controller', class: 'wider' },
  { name: 'orders.until', class: 'wider' },
  { name: 'orders.created', class: 'widest' },
];

function OrderTable({ orders, isBusy }: { readonly orders: readonly OrderView[]; readonly isBusy: boolean }): JSX.Element {
  const say = useSay();
  const open = useLocation().query.get('open');
  return (
    <ListTable caption="orders.caption" columns={COLUMNS} isBusy={isBusy}>
      {orders.map((order) => (
        <tr key={order.order} {...rowProps(String(order.order) === open)}>
          <th scope="row">
            <ThingLink kind="order" id={String(order.order)} />
          </th>
          <td>
            <OrderBadge state={order.state} />
          </td>
          <td class="text">
            {order.installer} {order.kind === 'import' && <span class="quiet">{say('orders.import')}</span>}
          </td>
          <td class="wide">
            <ProgressBar nodes={order.nodes} joined={order.joined} />
          </td>
          <td class="wider">{order.controller === null ? <None /> : <code>{order.controller}</code>}</td>
          <td class="wider">{order.join_until === null ? <None /> : <Time at={order.join_until} />}</td>
          <td class="widest">
            <Time at={order.created_at} />
          </td>
        </tr>
      ))}
    </ListTable>
  );
}

export function OrderDrawer({ id }: { readonly id: string }): JSX.Element {
  const say = useSay();
  const order = useResource<OrderView>(`/v1/orders/${id}`);
  const { data, problem } = order;
  return (
    <Drawer
      opened={{ kind: 'order', id }}
      title={say('nodes.order')}
      badge={data !== undefined && <OrderBadge state={data.state} />}
      isBusy={order.isLoading}
    >
      {problem !== undefined && <ProblemNote problem={problem} retry={order.reload} />}
      {data === undefined && problem === undefined && <p class="quiet">{say('common.loading')}</p>}
      {data !== undefined && (
        <>
          <OrderNodes order={data} />
          <a href={`/orders/${id}`}>{say('orders.own-page')}</a>
          <OrderActions order={data} tag={order.tag} />
          <section aria-labelledby="details-title">
            <h3 id="details-title">{say('node.details')}</h3>
            <OrderRows order={data} />
          </section>
        </>
      )}
    </Drawer>
  );
}

interface OrderNodesProps {
  readonly order: OrderView;
  readonly heading?: 'h2' | 'h3';
}

/** How many of its nodes have joined, with links to them. */
export function OrderNodes({ order, heading: Heading = 'h3' }: OrderNodesProps): JSX.Element {
  const say = useSay();
  const { order: number, nodes, joined } = order;
  return (
    <section aria-labelledby="progress-title">
      <Heading id="progress-title">{say('orders.progress')}</Heading>
      <ProgressBar nodes={order.nodes} joined={order.joined} />
      {joined < nodes && (
        <a href={`/nodes?order=${number}&never_joined=true`}>
          <Phrase of="orders.not-joined" count={nodes - joined} />
        </a>
      )}
      <a href={`/nodes?order=${number}`}>{say('orders.all-nodes')}</a>
    </section>
  );
}

/** Suspending is undone by resuming. Closing is for good. */
export function OrderActions({ order, tag = '' }: { readonly order: OrderView; readonly tag: string | undefined }): JSX.Element {
  const say = useSay();
  const path = `/v1/orders/${order.order}`;
  const number = String(order.order);
  const change = (state: 'open' | 'suspended' | 'closed') => (): Promise<unknown> =>
    request(path, { method: 'PATCH', body: { state }, ifMatch: tag });
  if (!useMay('orders') || order.state === 'closed') return <></>;
  return (
    <section class="actions" aria-label={say('orders.actions')}>
      {order.state === 'suspended' ? (
        <ChangeButton
          label={say('orders.resume')}
          done={say('orders.resumed', { order: number })}
          change={change('open')}
          undo={() => patchNow(path, { state: 'suspended' })}
          isPrimary
        />
      ) : (
        <ChangeButton
          label={say('orders.suspend')}
          done={say('orders.suspended', { order: number })}
          change={change('suspended')}
          undo={() => patchNow(path, { state: 'open' })}
        />
      )}
      <TypedConfirmation
        label={say('orders.close')}
        title={say('orders.close-title', { order: number })}
        about={say('orders.close-about', {}, order.nodes - order.joined)}
        expected={number}
        done={say('orders.closed', { order: number })}
        change={change('closed')}
      />
    </section>
  );
}

export function OrderRows({ order }: { readonly order: OrderView }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { controller, join_from: from, join_until: until, lifetime_seconds: lifetime, grace_seconds: grace } = order;
  const rows: Row[] = [['orders.installer', <span class="text">{order.installer}</span>]];
  if (order.contact !== null) rows.push(['nodes.contact', <span class="text">{order.contact}</span>]);
  if (order.site !== null) rows.push(['nodes.site', <span class="text">{order.site}</span>]);
  if (order.manufacturer !== null) rows.push(['orders.manufacturer', <span class="text">{order.manufacturer}</span>]);
  if (controller !== null) rows.push(['nodes.controller', <ThingLink kind="controller" id={controller} />]);
  rows.push([
    'orders.initial-keys',
    <>
      {say(order.shared_key ? 'orders.shared-key' : 'orders.own-keys')} {order.split && <>({say('node.split')})</>}
    </>,
  ]);
  if (from !== null) rows.push(['orders.from', <Time at={from} as="both" />]);
  if (until !== null) rows.push(['orders.until', <Time at={until} as="both" />]);
  rows.push(
    ['node.lifetime', lifetime === 0 ? say('node.no-limit') : formatDuration(lifetime, locale)],
    ['node.grace', grace === 0 ? say('node.no-grace') : formatDuration(grace, locale)],
    ['orders.created', <Time at={order.created_at} as="both" />],
  );
  return <Rows rows={rows} />;
}
