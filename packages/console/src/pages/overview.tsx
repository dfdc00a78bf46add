/** Overview for the person on call: number of nodes in each state, and latest changes. */

import type { AuditEntryView, ControllerView, NodeStatus, OrderStatus } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Health, healthOf, HEALTHS } from '../controller-health.js';
import { formatNumber, formatShare } from '../format.js';
import { useLive } from '../live.js';
import { EntryList } from '../parts/audit-entries.js';
import { HealthBadge, OrderBadge, StateBadge } from '../parts/badges.js';
import { Command } from '../parts/copy.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { ThingLink } from '../parts/thing-link.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { type Resource, useResource } from '../resource.js';
import { useMay, useUser } from '../session.js';
import { NODE_STATES } from '../url-state.js';
import type { ControllerList } from './controllers.js';

interface Summary {
  readonly nodes: {
    readonly total: number;
    readonly never_joined: number;
    readonly by_state: Readonly<Record<NodeStatus, number>>;
  };
  readonly orders: { readonly total: number; readonly by_state: Readonly<Record<OrderStatus, number>> };
  readonly controllers: { readonly total: number };
}

const LATEST = 12;
/** Controllers that are looked at, and those that are shown one by one. */
const MAX_CONTROLLERS = 1_000;
const MAX_SHOWN = 5;
/** Counts and controllers are looked up again so often, in ms: this page stays open. */
const REFRESH_MS = 30_000;

export function OverviewPage(): JSX.Element {
  const say = useSay();
  const summary = useResource<Summary>('/v1/summary');
  const controllers = useResource<ControllerList>(`/v1/controllers?limit=${MAX_CONTROLLERS}`);
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState !== 'visible') return;
      summary.refresh();
      controllers.refresh();
    }, REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <>
      <PageHead
        title={say('page.overview')}
        about={summary.data && say('overview.total-nodes', {}, summary.data.nodes.total)}
        resource={summary}
      />
      {summary.problem !== undefined && <ProblemNote problem={summary.problem} retry={summary.reload} />}
      {summary.data !== undefined && <NodesAtAGlance nodes={summary.data.nodes} />}
      <div class="columns">
        <ControllersAtAGlance controllers={controllers} />
        {summary.data !== undefined && <OrdersAtAGlance orders={summary.data.orders} />}
      </div>
      <LatestChanges />
    </>
  );
}

function NodesAtAGlance({ nodes }: Pick<Summary, 'nodes'>): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  if (nodes.total === 0)
    return (
      <section class="empty">
        <h2>{say('overview.empty')}</h2>
        <FirstOrder />
      </section>
    );
  return (
    <>
      <Attention states={nodes.by_state} />
      <section aria-labelledby="nodes-title">
        <h2 id="nodes-title" class="hidden">
          {say('overview.nodes')}
        </h2>
        <ul class="tiles">
          {NODE_STATES.map((state) => (
            <li key={state}>
              <a class={`tile state-${state}`} href={`/nodes?state=${state}`}>
                <StateBadge state={state} />
                <strong>{formatNumber(nodes.by_state[state], locale)}</strong>
                <Share part={nodes.by_state[state]} total={nodes.total} />
              </a>
            </li>
          ))}
        </ul>
        <div class="composition" aria-hidden="true">
          {NODE_STATES.map((state) => (
            <span key={state} class={`state-${state}`} style={{ flexGrow: nodes.by_state[state] }} />
          ))}
        </div>
      </section>
    </>
  );
}

function OrdersAtAGlance({ orders }: Pick<Summary, 'orders'>): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  if (orders.total === 0) return <></>;
  return (
    <section aria-labelledby="orders-title">
      <h2 id="orders-title">
        <a href="/orders">{say('page.orders')}</a>
      </h2>
      <ul class="inline">
        {(Object.keys(orders.by_state) as OrderStatus[])
          .filter((state) => orders.by_state[state] > 0)
          .map((state) => (
            <li key={state}>
              <OrderBadge state={state} /> <strong>{formatNumber(orders.by_state[state], locale)}</strong>
            </li>
          ))}
      </ul>
    </section>
  );
}

/** What to do while there is no node: on the page of a new order, or on the server. */
export function FirstOrder(): JSX.Element {
  const say = useSay();
  const isInstaller = useUser()?.role === 'installer';
  const mayOrder = useMay('keys');
  // An installer has what was ordered from it.
  if (isInstaller) return <></>;
  if (mayOrder)
    return (
      <p>
        <a class="button" href="/orders/new">
          {say('page.new-order')}
        </a>
      </p>
    );
  return (
    <>
      <p>{say('overview.empty-advice')}</p>
      <Command words={FIRST_ORDER} />
    </>
  );
}

const FIRST_ORDER: readonly string[] = [
  'latchkey-auth-server',
  'order',
  'create',
  '--installer',
  'Kim & Sons',
  '--controller',
  '00000001',
  '--count',
  '40',
  '--out',
  './for-kim',
];

function Share({ part, total }: { readonly part: number; readonly total: number }): JSX.Element {
  return <span class="quiet">{formatShare(part, total, localeOf(usePreferences()))}</span>;
}

function Attention({ states }: { readonly states: Summary['nodes']['by_state'] }): JSX.Element {
  const say = useSay();
  const { expired, expiring, joined } = states;
  if (expired + expiring === 0) return joined === 0 ? <></> : <p class="note good">{say('overview.all-well')}</p>;
  return (
    <section aria-labelledby="attention-title">
      <h2 id="attention-title" class="hidden">
        {say('overview.attention')}
      </h2>
      <ul class="attention">
        {expired > 0 && (
          <li class="note bad">
            <a href="/nodes?state=expired">
              <Phrase of="overview.expired" count={expired} />
            </a>
          </li>
        )}
        {expiring > 0 && (
          <li class="note mild">
            <a href="/nodes?state=expiring">
              <Phrase of="overview.expiring" count={expiring} />
            </a>
          </li>
        )}
      </ul>
    </section>
  );
}

/** How many controllers are in which health, and a line for each that needs somebody. */
function ControllersAtAGlance({ controllers }: { readonly controllers: Resource<ControllerList> }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { data, problem, serverAt, reload } = controllers;
  if (problem !== undefined) return <ProblemNote problem={problem} retry={reload} />;
  if (data === undefined || data.items.length === 0) return <></>;
  const now = serverAt ?? Date.now();
  const inHealth = (health: Health): readonly ControllerView[] => data.items.filter((one) => healthOf(one, now) === health);
  const ill = HEALTHS.slice(0, -1).flatMap(inHealth);
  return (
    <section aria-labelledby="controllers-title">
      <h2 id="controllers-title">
        <a href="/controllers">{say('page.controllers')}</a>
      </h2>
      <ul class="inline">
        {HEALTHS.toReversed()
          .filter((health) => inHealth(health).length > 0)
          .map((health) => (
            <li key={health}>
              <HealthBadge health={health} /> <strong>{formatNumber(inHealth(health).length, locale)}</strong>
            </li>
          ))}
      </ul>
      {ill.length > 0 && (
        <ul class="attention">
          {ill.slice(0, MAX_SHOWN).map((controller) => {
            const health = healthOf(controller, now);
            return (
              <li key={controller.id} class={`note ${health === 'unheard' ? 'mild' : 'bad'}`}>
                <span>
                  <ThingLink kind="controller" id={controller.id} /> {say(`health-report.${health}`)}
                </span>
              </li>
            );
          })}
        </ul>
      )}
    </section>
  );
}

/** The latest entries of the log. New ones are added until the user starts to read. */
function LatestChanges(): JSX.Element {
  const say = useSay();
  const [isPaused, setPaused] = useState(false);
  const audit = useResource<{ readonly items: readonly AuditEntryView[] }>(`/v1/audit?limit=${LATEST}`);
  const mayRead = audit.problem?.name !== 'forbidden';
  const isLive = useLive(mayRead && !isPaused, audit.refresh);
  return (
    <section aria-labelledby="latest-title">
      <header class="section-head">
        <h2 id="latest-title">{say('overview.latest')}</h2>
        {mayRead && (
          <>
            <span class={isLive ? 'live' : 'quiet'}>
              {say(isLive ? 'overview.live' : isPaused ? 'overview.paused' : 'overview.not-live')}
            </span>
            <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
              {say('overview.pause')}
            </button>
          </>
        )}
      </header>
      {!mayRead && <p class="quiet">{say('entry.forbidden')}</p>}
      {mayRead && audit.problem !== undefined && <ProblemNote problem={audit.problem} retry={audit.reload} />}
      {audit.data !== undefined && (
        <>
          <EntryList entries={audit.data.items} />
          <a href="/audit">{say('overview.all-changes')}</a>
        </>
      )}
    </section>
  );
}
