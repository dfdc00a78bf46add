/** One node: its diagnosis, its record in the registry, and its history. */

import type { AuditEntryView, Diagnosis, NodeView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { patchNow, request } from './api.js';
import { Drawer } from './drawer.js';
import { formatDuration } from './format.js';
import { EntryList } from './parts/audit-entries.js';
import { StateBadge } from './parts/badges.js';
import { DescriptionEditor } from './parts/description-form.js';
import { ChangeButton } from './parts/change-button.js';
import { DiagnosisPanel } from './parts/diagnosis-panel.js';
import { type Row, Rows } from './parts/fact-list.js';
import { ProblemNote } from './parts/problem-note.js';
import { ThingLink } from './parts/thing-link.js';
import { Time } from './parts/time.js';
import { useSay } from './phrase.js';
import { localeOf, usePreferences } from './preferences.js';
import { type Resource, useResource } from './resource.js';
import { useMay } from './session.js';
import type { StringKey } from './strings/index.js';
import { urlOf } from './url-state.js';

/** Without fingerprints for a caller that sees some orders only. */
type NodeDetails = NodeView & { readonly initial_key: string | null };

interface LifeData {
  readonly items: readonly AuditEntryView[];
}

const FINGERPRINT = /^[0-9a-f]{4}$/;

export function NodeDrawer({ id }: { readonly id: string }): JSX.Element {
  const say = useSay();
  const [compared, setCompared] = useState({ id, holds: '' });
  /** What was compared is of the device of one node. */
  const holds = compared.id === id ? compared.holds : '';
  const node = useResource<NodeDetails>(`/v1/nodes/${id}`);
  const diagnosis = useResource<Diagnosis>(`/v1/diagnoses/${id}${holds === '' ? '' : `?holds=${holds}`}`);
  const life = useResource<LifeData>(`/v1/nodes/${id}/life`);
  // The diagnosis says that the registry does not have it.
  const isUnknown = node.problem?.name === 'not-found';
  return (
    <Drawer
      opened={{ kind: 'node', id }}
      title={say('entry.node')}
      badge={
        node.data !== undefined && (
          <>
            <StateBadge state={node.data.state} />
            {node.data.name !== null && <span class="text">{node.data.name}</span>}
          </>
        )
      }
      isBusy={diagnosis.isLoading}
    >
      {diagnosis.problem !== undefined && <ProblemNote problem={diagnosis.problem} retry={diagnosis.reload} />}
      {diagnosis.data === undefined ? (
        diagnosis.problem === undefined && <p class="quiet">{say('common.loading')}</p>
      ) : (
        <DiagnosisPanel diagnosis={diagnosis.data} />
      )}
      {(diagnosis.data === undefined ? holds !== '' : diagnosis.data.cause !== 'unknown') && (
        <HeldKey key={id} onCompare={(fingerprint) => setCompared({ id, holds: fingerprint })} />
      )}
      {node.problem !== undefined && !isUnknown && <ProblemNote problem={node.problem} retry={node.reload} />}
      {node.data !== undefined && (
        <>
          <NodeActions node={node.data} tag={node.tag} />
          <Details key={node.data.id} node={node.data} tag={node.tag} />
        </>
      )}
      {!isUnknown && life.problem?.name !== 'forbidden' && <Life life={life} />}
    </Drawer>
  );
}

function NodeActions({ node: { id, state }, tag }: { readonly node: NodeView; readonly tag: string | undefined }): JSX.Element {
  const say = useSay();
  const isDisabled = state === 'disabled';
  if (!useMay('nodes')) return <></>;
  const path = `/v1/nodes/${id}`;
  return (
    <section class="actions" aria-label={say('orders.actions')}>
      <ChangeButton
        label={say(isDisabled ? 'node.enable' : 'node.disable')}
        done={say(isDisabled ? 'node.enabled' : 'node.disabled', { id })}
        change={() => request(path, { method: 'PATCH', body: { disabled: !isDisabled }, ifMatch: tag ?? '' })}
        undo={() => patchNow(path, { disabled: isDisabled })}
      />
    </section>
  );
}

/** Asks for the fingerprint of the key in the device: with it the diagnosis says more. */
function HeldKey({ onCompare }: { readonly onCompare: (fingerprint: string) => void }): JSX.Element {
  const say = useSay();
  const [text, setText] = useState('');
  const [isInvalid, setInvalid] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const fingerprint = text.trim().toLowerCase();
    const isValid = fingerprint === '' || FINGERPRINT.test(fingerprint);
    setInvalid(!isValid);
    if (isValid) onCompare(fingerprint);
  };
  return (
    <form class="held-key" onSubmit={submit} noValidate>
      <label for="held-key">{say('node.holds')}</label>
      <input
        id="held-key"
        class="id"
        size={5}
        maxLength={8}
        autoComplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        aria-invalid={isInvalid}
        aria-describedby="held-key-about"
      />
      <button type="submit">{say('node.holds-submit')}</button>
      <span id="held-key-about" class="quiet">
        {isInvalid ? say('node.holds-invalid') : say('node.holds-about')}
      </span>
    </form>
  );
}

function Details({ node, tag }: { readonly node: NodeDetails; readonly tag: string | undefined }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { address, expires_at: expiresAt, joined_at: joinedAt, renewed_at: renewedAt } = node;
  const rows: Row[] = [];
  const addText = (name: StringKey, text: string | null): void => {
    if (text !== null) rows.push([name, <span class="text">{text}</span>]);
  };
  addText('nodes.name', node.name);
  addText('nodes.site', node.site);
  addText('nodes.location', node.location);
  if (node.tags.length > 0)
    rows.push([
      'nodes.tags',
      <span class="tags">
        {node.tags.map((tag) => (
          <a key={tag} class="tag" href={urlOf('/nodes', new URLSearchParams({ tag }))}>
            {tag}
          </a>
        ))}
      </span>,
    ]);
  addText('nodes.note', node.note);
  rows.push(
    ['nodes.order', <ThingLink kind="order" id={String(node.order)} />],
    ['nodes.controller', <ThingLink kind="controller" id={node.controller} />],
  );
  if (node.key !== null)
    rows.push([
      'nodes.key',
      <>
        <code>{node.key}</code> {node.key_is_initial && say('nodes.key-initial')}
      </>,
    ]);
  if (node.initial_key !== null && (!node.key_is_initial || node.split))
    rows.push([
      'node.initial-key',
      <>
        <code>{node.initial_key}</code> {node.split && say('node.split')}
      </>,
    ]);
  rows.push(['node.added', <Time at={node.added_at} as="both" />]);
  if (joinedAt !== null) rows.push(['nodes.joined', <Time at={joinedAt} as="both" />]);
  if (renewedAt !== null && renewedAt !== joinedAt) rows.push(['nodes.renewed', <Time at={renewedAt} as="both" />]);
  if (expiresAt !== null) rows.push(['nodes.expires', <Time at={expiresAt} as="both" />]);
  rows.push(
    ['node.lifetime', node.lifetime_seconds === 0 ? say('node.no-limit') : formatDuration(node.lifetime_seconds, locale)],
    ['node.grace', node.grace_seconds === 0 ? say('node.no-grace') : formatDuration(node.grace_seconds, locale)],
  );
  if (address !== null) rows.push(['nodes.address', <code>{address}</code>]);
  return (
    <section aria-labelledby="details-title">
      <h3 id="details-title">{say('node.details')}</h3>
      <DescriptionEditor kind="node" thing={node} tag={tag} />
      <Rows rows={rows} />
    </section>
  );
}

function Life({ life: { data, problem, reload } }: { readonly life: Resource<LifeData> }): JSX.Element {
  const say = useSay();
  return (
    <section aria-labelledby="life-title">
      <h3 id="life-title">{say('node.life')}</h3>
      {problem !== undefined && <ProblemNote problem={problem} retry={reload} />}
      {data === undefined && problem === undefined && <p class="quiet">{say('common.loading')}</p>}
      {data?.items.length === 0 && <p class="quiet">{say('node.life-empty')}</p>}
      {data !== undefined && <EntryList entries={data.items.toReversed()} node={false} />}
    </section>
  );
}
