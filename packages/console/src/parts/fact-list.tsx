/** Facts behind a diagnosis, one per row. Unknown facts are omitted. */

import type { Facts, OrderStatus } from '@latchkey/operations/contract';
import type { ComponentChildren, JSX } from 'preact';
import { formatNumber } from '../format.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useUser } from '../session.js';
import type { StringKey } from '../strings/index.js';
import { OrderBadge } from './badges.js';
import { ThingLink } from './thing-link.js';
import { Time } from './time.js';

export type Row = readonly [StringKey, ComponentChildren];

/** A list of names and values. */
export function Rows({ rows }: { readonly rows: readonly Row[] }): JSX.Element {
  const say = useSay();
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{say(name)}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function FactList({ facts }: { readonly facts: Facts }): JSX.Element {
  const { asked, refused, controller, nodes, server, disabled, removed, restored, device_key: deviceKey, order } = facts;
  const say = useSay();
  const locale = localeOf(usePreferences());
  const rows: Row[] = [];
  const addTime = (name: StringKey, at: string | null): void => {
    if (at !== null) rows.push([name, <Time at={at} as="both" />]);
  };
  if (disabled !== null) rows.push(['fact.disabled', <By at={disabled.since} actor={disabled.by} />]);
  if (removed !== null) rows.push(['fact.removed', <By at={removed.at} actor={removed.by} />]);
  // A join clears what the server saw of the node's requests.
  if (asked !== null) rows.push(['fact.asked', <Times run={asked} />]);
  else if (facts.joined_at === null) rows.push(['fact.asked', say('fact.not-asked')]);
  if (refused !== null)
    rows.push([
      'fact.refused',
      <>
        {say(`refusal.${refused.refusal}` as StringKey)} <Times run={refused} />
      </>,
    ]);
  if (controller !== null) rows.push(['fact.controller', <ControllerFact controller={controller} />]);
  if (nodes !== null)
    rows.push([
      nodes.of === 'controller' ? 'fact.neighbours' : 'fact.neighbours-registry',
      <Phrase of="fact.late" values={{ joined: formatNumber(nodes.joined, locale), late: formatNumber(nodes.late, locale) }} />,
    ]);
  if (order !== null)
    rows.push([
      'fact.order',
      <>
        <ThingLink kind="order" id={String(order)} />{' '}
        {facts.order_state !== null && <OrderBadge state={facts.order_state as OrderStatus} />}
      </>,
    ]);
  rows.push(['fact.server', <ServerFact server={server} />]);
  if (deviceKey !== null)
    rows.push([
      'fact.device-key',
      <>
        <code>{deviceKey.fingerprint}</code> {say(`fact.device-key-${deviceKey.is}`)}
        {deviceKey.until !== null && (
          <>
            , <Phrase of="fact.until" values={{ time: <Time at={deviceKey.until} /> }} />
          </>
        )}
      </>,
    ]);
  addTime('fact.joined', facts.joined_at);
  if (facts.renewed_at !== facts.joined_at) addTime('fact.renewed', facts.renewed_at);
  addTime('fact.renewal-due', facts.renewal_due_at);
  addTime('fact.expires', facts.expires_at);
  addTime('fact.grace-ends', facts.grace_ends_at);
  if (restored !== null)
    rows.push([
      'fact.restored',
      <Phrase
        of="fact.restored-from"
        values={{ at: <Time at={restored.at} />, backup: <Time at={restored.backup_at} as="absolute" /> }}
      />,
    ]);
  return <Rows rows={rows} />;
}

function By({ at, actor }: { readonly at: string; readonly actor: string }): JSX.Element {
  return <Phrase of="fact.by" values={{ time: <Time at={at} as="both" />, actor }} />;
}

function Times({ run }: { readonly run: NonNullable<Facts['asked']> }): JSX.Element {
  const values = {
    since: <Time at={run.since} />,
    at: <Time at={run.at} />,
    controller: <ThingLink kind="controller" id={run.controller} />,
  };
  return (
    <span class="quiet">
      <Phrase of="fact.times" values={values} count={run.count} />
    </span>
  );
}

function ControllerFact({ controller }: { readonly controller: NonNullable<Facts['controller']> }): JSX.Element {
  const locale = localeOf(usePreferences());
  // The API does not tell an installer, who sees some orders only.
  const isInstaller = useUser()?.role === 'installer';
  const { id, address, heard_at: heardAt, unopened_since: unopened, clock_skew_ms: skew } = controller;
  return (
    <>
      <ThingLink kind="controller" id={id} /> <code>{address}</code>
      {(heardAt !== null || !isInstaller) && (
        <span class="lines">
          {heardAt === null ? (
            <Phrase of="fact.never-heard" />
          ) : (
            <Phrase of="fact.heard" values={{ time: <Time at={heardAt} /> }} />
          )}
        </span>
      )}
      {unopened !== null && (
        <span class="lines">
          <Phrase of="fact.unopened" values={{ time: <Time at={unopened} /> }} />
        </span>
      )}
      {skew !== null && skew !== 0 && (
        <span class="lines">
          <Phrase
            of={skew < 0 ? 'fact.skew-behind' : 'fact.skew-ahead'}
            values={{ seconds: formatNumber(Math.round(Math.abs(skew) / 1000), locale) }}
          />
        </span>
      )}
    </>
  );
}

function ServerFact({ server: { runs, seen_at: seenAt } }: { readonly server: Facts['server'] }): JSX.Element {
  const say = useSay();
  return (
    <>
      {say(runs ? 'fact.server-runs' : 'fact.server-silent')}
      {!runs && seenAt !== null && (
        <>
          , <Phrase of="fact.server-seen" values={{ time: <Time at={seenAt} as="both" /> }} />
        </>
      )}
    </>
  );
}
