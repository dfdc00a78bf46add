/** One node: why it has not joined, what the registry has of it, and what happened to it. */

import type { AuditEntryView, Diagnosis, NodeView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { formatDuration } from './format.js';
import { setParameters } from './navigation.js';
import { EntryList } from './parts/audit-entries.js';
import { StateBadge } from './parts/badges.js';
import { DiagnosisPanel } from './parts/diagnosis-panel.js';
import { type Row, Rows } from './parts/fact-list.js';
import { ProblemNote } from './parts/problem-note.js';
import { Time } from './parts/time.js';
import { useSay } from './phrase.js';
import { localeOf, usePreferences } from './preferences.js';
import { useResource } from './resource.js';

type NodeDetails = NodeView & { readonly initial_key: string };

/** Beside the page where there is room, over it where there is none. */
const BESIDE = '(min-width: 64rem)';
const FINGERPRINT = /^[0-9a-f]{4}$/;

/** Closes the drawer, and gives the focus back to the link that opened it. */
export function closeDrawer(id: string): void {
  setParameters({ node: null });
  // Once the drawer is gone.
  requestAnimationFrame(() => {
    const opener =
      document.querySelector<HTMLElement>(`main [data-node="${id}"]`) ?? document.querySelector<HTMLElement>('main h1');
    opener?.focus();
  });
}

export function NodeDrawer({ id }: { readonly id: string }): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const [holds, setHolds] = useState('');
  const node = useResource<NodeDetails>(`/v1/nodes/${id}`);
  const diagnosis = useResource<Diagnosis>(`/v1/diagnoses/${id}${holds === '' ? '' : `?holds=${holds}`}`);
  const life = useResource<{ readonly items: readonly AuditEntryView[] }>(`/v1/nodes/${id}/life`);
  useEffect(() => {
    const element = dialog.current;
    if (matchMedia(BESIDE).matches) element?.show();
    else element?.showModal();
    return () => element?.close();
  }, []);
  useEffect(() => {
    setHolds('');
    dialog.current?.scrollTo(0, 0);
    title.current?.focus();
  }, [id]);
  // The diagnosis says that the registry does not have it.
  const isUnknown = node.problem?.name === 'not-found';
  return (
    <dialog
      ref={dialog}
      class="drawer"
      aria-labelledby="drawer-title"
      onCancel={(event) => {
        event.preventDefault();
        closeDrawer(id);
      }}
    >
      <div class="head-bar">
        <h2 id="drawer-title" ref={title} tabIndex={-1}>
          {say('node.title', { id: '' })}
          <code>{id}</code>
        </h2>
        {node.data !== undefined && <StateBadge state={node.data.state} />}
        <button type="button" class="plain" aria-label={say('common.close')} onClick={() => closeDrawer(id)}>
          ✕
        </button>
      </div>
      <div class="content" aria-busy={diagnosis.isLoading}>
        {diagnosis.problem !== undefined && <ProblemNote problem={diagnosis.problem} retry={diagnosis.reload} />}
        {diagnosis.data === undefined ? (
          diagnosis.problem === undefined && <p class="quiet">{say('common.loading')}</p>
        ) : (
          <DiagnosisPanel diagnosis={diagnosis.data} />
        )}
        {diagnosis.data !== undefined && diagnosis.data.cause !== 'unknown' && <HeldKey key={id} onCompare={setHolds} />}
        {node.problem !== undefined && !isUnknown && <ProblemNote problem={node.problem} retry={node.reload} />}
        {node.data !== undefined && <Details node={node.data} />}
        {!isUnknown && <Life life={life.data?.items} />}
      </div>
    </dialog>
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

function Details({ node }: { readonly node: NodeDetails }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { address, expires_at: expiresAt, joined_at: joinedAt, renewed_at: renewedAt } = node;
  const rows: Row[] = [
    ['nodes.order', <a href={`/nodes?order=${node.order}`}>{node.order}</a>],
    [
      'nodes.controller',
      <a class="id" href={`/nodes?controller=${node.controller}`}>
        {node.controller}
      </a>,
    ],
    [
      'nodes.key',
      <>
        <code>{node.key}</code> {node.key_is_initial && say('nodes.key-initial')}
      </>,
    ],
  ];
  if (!node.key_is_initial || node.split)
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
      <Rows rows={rows} />
    </section>
  );
}

function Life({ life }: { readonly life: readonly AuditEntryView[] | undefined }): JSX.Element {
  const say = useSay();
  return (
    <section aria-labelledby="life-title">
      <h3 id="life-title">{say('node.life')}</h3>
      {life === undefined && <p class="quiet">{say('common.loading')}</p>}
      {life?.length === 0 && <p class="quiet">{say('node.life-empty')}</p>}
      {life !== undefined && <EntryList entries={life.toReversed()} node={false} />}
    </section>
  );
}
