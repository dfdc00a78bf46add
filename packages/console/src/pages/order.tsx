/** Page of one order: its progress with causes, and the reissue of its keys. */

import type { OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { OrderBadge } from '../parts/badges.js';
import {
  HandedOverView,
  HandOverProblem,
  PAGE_READS,
  ReaderFields,
  type Readers,
  useHandOver,
  useStoredInstaller,
} from '../parts/hand-over.js';
import { OrderCauses, OrderSites } from '../parts/order-progress.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { useMay } from '../session.js';
import { OrderActions, OrderNodes, OrderRows } from './orders.js';

export function OrderPage({ id }: { readonly id: string }): JSX.Element {
  const say = useSay();
  const order = useResource<OrderView>(`/v1/orders/${id}`);
  const { data, problem } = order;
  return (
    <>
      <PageHead
        title={`${say('page.order')} ${id}`}
        about={
          data !== undefined && (
            <>
              <span class="text">{data.installer}</span> <OrderBadge state={data.state} />
            </>
          )
        }
        resource={order}
      />
      {problem !== undefined && <ProblemNote problem={problem} retry={order.reload} />}
      {data !== undefined && (
        <>
          <OrderNodes order={data} heading="h2" />
          <OrderActions order={data} tag={order.tag} />
          <OrderCauses key={`causes ${id}`} order={data} />
          <OrderSites order={data} />
          <HandOverAgain key={id} order={data} />
          <section class="narrow" aria-labelledby="order-details-title">
            <h2 id="order-details-title">{say('node.details')}</h2>
            <OrderRows order={data} />
          </section>
        </>
      )}
    </>
  );
}

/** Keys of the nodes that have not joined, to an installer who lost them or never had them. */
function HandOverAgain({ order }: { readonly order: OrderView }): JSX.Element {
  const say = useSay();
  const [isOpen, setOpen] = useState(false);
  const [readers, setReaders] = useState<Readers>(PAGE_READS);
  const handOver = useHandOver({ isRepeatable: true });
  const { isBusy, problem, done, start } = handOver;
  const mayHandOver = useMay('keys');
  const stored = useStoredInstaller(isOpen && mayHandOver ? order.installer : undefined);
  if (done !== undefined)
    return <HandedOverView done={done} order={order.order} installer={order.installer} site={order.site} isSplit={order.split} />;
  if (!mayHandOver || order.state === 'closed' || order.joined >= order.nodes) return <></>;
  if (!isOpen)
    return (
      <p class="actions">
        <button type="button" onClick={() => setOpen(true)}>
          {say('hand-over.again')}
        </button>
      </p>
    );
  return (
    <form
      class="order-form"
      aria-busy={isBusy}
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) void start(`/v1/orders/${order.order}/manifests`, {}, readers);
      }}
    >
      <ReaderFields stored={stored} readers={readers} onChange={setReaders} errors={problem?.errors} />
      <HandOverProblem of={handOver} />
      <div class="actions">
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say('hand-over.again-submit')}
        </button>
        <button type="button" onClick={() => setOpen(false)}>
          {say('common.cancel')}
        </button>
      </div>
    </form>
  );
}
