/** Controllers: for each its last request, its clock, and its key. */

import type { ControllerDetails, ControllerView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { type Step, stepsFor, stepsForStagedKey } from '../action-steps.js';
import { type Health, healthOf } from '../controller-health.js';
import { keyUseOf } from '../controller-key.js';
import { Drawer } from '../drawer.js';
import { formatNumber } from '../format.js';
import { type ListData, pageRequest, useListPage } from '../list-page.js';
import { useLocation } from '../navigation.js';
import { HealthBadge } from '../parts/badges.js';
import { Command } from '../parts/copy.js';
import { DescriptionEditor } from '../parts/description-form.js';
import { type Row, Rows } from '../parts/fact-list.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { Pager } from '../parts/pager.js';
import { ProblemNote } from '../parts/problem-note.js';
import { rowProps } from '../parts/rows.js';
import { StepList } from '../parts/steps.js';
import { ThingLink } from '../parts/thing-link.js';
import { Time } from '../parts/time.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import type { StringKey } from '../strings/index.js';
import { useResource } from '../resource.js';

export type ControllerList = ListData<ControllerView>;

export function ControllersPage(): JSX.Element {
  const say = useSay();
  const list = useListPage<ControllerList>(pageRequest('/v1/controllers', useLocation().query.get('after')));
  const { data, problem } = list;
  return (
    <>
      <PageHead
        title={say('page.controllers')}
        about={data !== undefined && data.total !== null && say('controllers.count', {}, data.total)}
        resource={list}
      />
      {problem !== undefined && <ProblemNote problem={problem} retry={list.reload} />}
      {data?.items.length === 0 && (
        <section class="empty">
          <h2>{say('controllers.empty')}</h2>
          <p>{say('controllers.empty-advice')}</p>
          <Command words={FIRST_CONTROLLER} />
        </section>
      )}
      {data !== undefined && data.items.length > 0 && (
        <>
          <ControllerTable controllers={data.items} isBusy={list.isLoading} now={list.serverAt ?? Date.now()} />
          <Pager page={list} />
        </>
      )}
    </>
  );
}

export const FIRST_CONTROLLER: readonly string[] = [
  'latchkey-auth-server',
  'controller',
  'add',
  '00000001',
  '--nid',
  '192.0.2.1:5683',
  '--server',
  '192.0.2.9:5693',
  '--out',
  'controller-1.json',
];

interface TableProps {
  readonly controllers: readonly ControllerView[];
  readonly isBusy: boolean;
  /** When the server said so. */
  readonly now: number;
}

function ControllerTable({ controllers, isBusy, now }: TableProps): JSX.Element {
  const say = useSay();
  const open = useLocation().query.get('open');
  return (
    <table class="list" aria-busy={isBusy}>
      <caption class="hidden">{say('controllers.caption')}</caption>
      <thead>
        <tr>
          <th scope="col">{say('nodes.id')}</th>
          <th scope="col" class="wide">
            {say('nodes.name')}
          </th>
          <th scope="col">{say('controllers.health')}</th>
          <th scope="col">{say('controllers.heard')}</th>
          <th scope="col" class="wide">
            {say('controllers.clock')}
          </th>
          <th scope="col" class="wide">
            {say('nodes.address')}
          </th>
          <th scope="col" class="wider">
            SK_cs
          </th>
          <th scope="col" class="wider">
            {say('controllers.key-used')}
          </th>
          <th scope="col" class="widest">
            {say('controllers.mode')}
          </th>
        </tr>
      </thead>
      <tbody>
        {controllers.map((controller) => (
          <tr key={controller.id} {...rowProps(controller.id === open)}>
            <th scope="row">
              <ThingLink kind="controller" id={controller.id} />
            </th>
            <td class="wide text">{controller.name ?? <None />}</td>
            <td>
              <HealthBadge health={healthOf(controller, now)} />
            </td>
            <td>{controller.last_seen_at === null ? <None /> : <Time at={controller.last_seen_at} />}</td>
            <td class="wide">
              <Clock skew={controller.clock_skew_ms} />
            </td>
            <td class="wide">
              <code>{controller.nid}</code>
            </td>
            <td class="wider">
              <Key controller={controller} />
            </td>
            <td class="wider">
              <KeyUse controller={controller} />
            </td>
            <td class="widest">{say(controller.pass_through ? 'controllers.pass-through' : 'controllers.with-keys')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Clock({ skew }: { readonly skew: number | null }): JSX.Element {
  const locale = localeOf(usePreferences());
  if (skew === null) return <None />;
  const seconds = formatNumber(Math.round(Math.abs(skew) / 1000), locale);
  return <Phrase of={skew < 0 ? 'controllers.behind' : 'controllers.ahead'} values={{ seconds }} />;
}

function Key({ controller: { key, staged_key: staged } }: { readonly controller: ControllerView }): JSX.Element {
  const say = useSay();
  return (
    <>
      <code>{key}</code>
      {staged !== null && (
        <span title={say('controllers.staged-about')}>
          {' '}
          → <code>{staged}</code>
        </span>
      )}
    </>
  );
}

/** In words; the latest request that opened is the latest use of the key. */
function KeyUse({ controller }: { readonly controller: ControllerView }): JSX.Element {
  const say = useSay();
  const { used_key: used, last_seen_at: at, used_key_ratio: ratio } = controller;
  const percent = Math.floor((ratio ?? 0) * 100);
  return (
    <>
      {say(`key-use.${keyUseOf(controller)}`)}
      {percent > 0 && `, ${percent} %`}
      {used !== null && at !== null && (
        <span class="quiet">
          {' '}
          <Phrase of="key-use.last" values={{ key: <code>{used}</code>, time: <Time at={at} /> }} />
        </span>
      )}
    </>
  );
}

export function ControllerDrawer({ id }: { readonly id: string }): JSX.Element {
  const say = useSay();
  const controller = useResource<ControllerDetails>(`/v1/controllers/${id}`);
  const { data, problem, serverAt } = controller;
  const health = data && healthOf(data, serverAt ?? Date.now());
  return (
    <Drawer
      opened={{ kind: 'controller', id }}
      title={say('nodes.controller')}
      badge={health !== undefined && <HealthBadge health={health} />}
      isBusy={controller.isLoading}
    >
      {problem !== undefined && <ProblemNote problem={problem} retry={controller.reload} />}
      {data === undefined && problem === undefined && <p class="quiet">{say('common.loading')}</p>}
      {data !== undefined && health !== undefined && (
        <>
          <HealthReport controller={data} health={health} />
          <section aria-labelledby="details-title">
            <h3 id="details-title">{say('node.details')}</h3>
            <DescriptionEditor key={id} kind="controller" thing={data} tag={controller.tag} />
            <ControllerRows controller={data} />
            <p>
              <a href={`/nodes?controller=${id}`}>{say('controllers.its-nodes')}</a>
            </p>
          </section>
        </>
      )}
    </Drawer>
  );
}

function HealthReport({ controller, health }: { readonly controller: ControllerDetails; readonly health: Health }): JSX.Element {
  const say = useSay();
  const steps = stepsTo(controller, health);
  const tone = health === 'well' ? 'good' : health === 'unheard' ? 'mild' : 'bad';
  return (
    <>
      <section class={`cause ${tone}`} aria-labelledby="cause-title">
        <h3 id="cause-title">{say('controllers.health')}</h3>
        <p class="headline" data-health={health}>
          {say(`health-report.${health}`)}
        </p>
        {health === 'clock' && <p>{say('controllers.clock-refused', {}, controller.clock_skewed_requests ?? 0)}</p>}
      </section>
      {steps.length > 0 && (
        <section aria-labelledby="to-do-title">
          <h3 id="to-do-title">{say('node.to-do')}</h3>
          <StepList steps={steps} />
        </section>
      )}
    </>
  );
}

/** From this part of what its key may seal the controller itself asks for another one. */
const ROTATE_FROM = 0.5;

/** Steps that repair the controller, then steps that complete a pending rotation of its key. */
function stepsTo(controller: ControllerDetails, health: Health): readonly Step[] {
  const { id, nid, servers, staged_key: staged } = controller;
  // Another credential is the cure already.
  if (health === 'key') return stepsFor({ kind: 'rotate-controller', controller: id });
  const first =
    health === 'well'
      ? []
      : stepsFor(
          health === 'clock'
            ? { kind: 'set-clocks', controller: id }
            : { kind: 'check-controller', controller: id, address: nid, servers },
        );
  if (staged !== null) return [...first, ...stepsForStagedKey(id, staged)];
  return (controller.used_key_ratio ?? 0) < ROTATE_FROM
    ? first
    : [...first, ...stepsFor({ kind: 'rotate-controller', controller: id })];
}

function ControllerRows({ controller }: { readonly controller: ControllerDetails }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { last_seen_at: seen, authentication_failing_since: failing, clock_skewed_since: skewed, servers } = controller;
  const texts: readonly (readonly [StringKey, string | null])[] = [
    ['nodes.name', controller.name],
    ['nodes.site', controller.site],
    ['nodes.contact', controller.contact],
  ];
  const rows: Row[] = [
    ...texts.flatMap(([name, text]): readonly Row[] => (text === null ? [] : [[name, <span class="text">{text}</span>]])),
    ['controllers.heard', seen === null ? <None /> : <Time at={seen} as="both" />],
    [
      'controllers.nodes',
      say('controllers.nodes-joined', {
        nodes: formatNumber(controller.nodes, locale),
        joined: formatNumber(controller.joined, locale),
      }),
    ],
    ['nodes.address', <code>{controller.nid}</code>],
  ];
  if (servers.length > 0) rows.push(['controllers.servers', <code>{servers.join(', ')}</code>]);
  rows.push(
    ['controllers.key', <Key controller={controller} />],
    ['controllers.key-used', <KeyUse controller={controller} />],
    ['controllers.mode', say(controller.pass_through ? 'controllers.pass-through' : 'controllers.with-keys')],
  );
  const { used_key_since: since, used_key_requests: requests } = controller;
  const percent = Math.floor((controller.used_key_ratio ?? 0) * 100);
  if (since !== null && requests !== null)
    rows.push([
      'controllers.key-requests',
      <>
        <Phrase of="key-use.requests" values={{ time: <Time at={since} as="both" /> }} count={requests} />
        {percent > 0 && <span class="lines">{say('key-use.part', { percent: formatNumber(percent, locale) })}</span>}
      </>,
    ]);
  if (failing !== null) rows.push(['controllers.failing-since', <Time at={failing} as="both" />]);
  if (skewed !== null)
    rows.push([
      'controllers.clock',
      <>
        <Clock skew={controller.clock_skew_ms} />,{' '}
        <Phrase of="controllers.noticed" values={{ time: <Time at={skewed} as="both" /> }} />
      </>,
    ]);
  rows.push(['node.added', <Time at={controller.added_at} as="both" />]);
  return <Rows rows={rows} />;
}
