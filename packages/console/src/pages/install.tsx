/** For whoever installs nodes, on a phone: scan a label, see whether the node joins, name it. */

import type { Diagnosis, NodeView, OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { stepsFor } from '../action-steps.js';
import { request } from '../api.js';
import { CameraProblem, scanLabel, whyNotScan } from '../code-scanner.js';
import { forgetDraft, useKeptDraft } from '../kept-drafts.js';
import { navigate, useLocation } from '../navigation.js';
import { StateBadge } from '../parts/badges.js';
import { CopyButton } from '../parts/copy.js';
import { toneOf } from '../parts/diagnosis-panel.js';
import { errorAt, FormField } from '../parts/form-field.js';
import { ProblemNote } from '../parts/problem-note.js';
import { ProgressBar } from '../parts/progress-bar.js';
import { StepList } from '../parts/steps.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { reloadAll, useMay } from '../session.js';
import { useSubmit } from '../submit.js';
import type { StringKey } from '../strings/index.js';
import { readInstalledNode, readSearch } from '../url-state.js';

const POLL_MS = 4_000;

export function InstallPage(): JSX.Element {
  const say = useSay();
  const id = readInstalledNode(useLocation().query);
  const open = (node: string): void => navigate(`/install?id=${node}`);
  return (
    <div class="install">
      <h1 tabIndex={-1}>{say('page.install')}</h1>
      {id === undefined ? (
        <FindNode onFound={open} />
      ) : (
        <>
          <NodeCheck key={id} id={id} />
          <a class="button" href="/install">
            {say('install.next')}
          </a>
        </>
      )}
    </div>
  );
}

/** The camera and the field are next to each other: one of them always works. */
function FindNode({ onFound }: { readonly onFound: (id: string) => void }): JSX.Element {
  const say = useSay();
  const [text, setText] = useState('');
  const [isInvalid, setInvalid] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const search = readSearch(text);
    setInvalid(search.kind !== 'node');
    // What may hold a key does not stay on the screen. A mistyped ID is mended where it stands.
    if (search.kind === 'node' || search.kind === 'key') setText('');
    if (search.kind === 'node') onFound(search.id);
  };
  return (
    <>
      <Camera onFound={onFound} />
      <form class="stack" onSubmit={submit} noValidate>
        <label>
          <span>{say('install.id')}</span>
          <input
            class="id"
            autoComplete="off"
            autoCapitalize="off"
            spellcheck={false}
            enterkeyhint="go"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            aria-invalid={isInvalid}
            aria-describedby="install-id-about"
          />
        </label>
        <span id="install-id-about" class={isInvalid ? 'field-error' : 'quiet'}>
          {say(isInvalid ? 'install.id-invalid' : 'install.key-stays')}
        </span>
        <button type="submit" class="primary">
          {say('install.check')}
        </button>
      </form>
    </>
  );
}

function Camera({ onFound }: { readonly onFound: (id: string) => void }): JSX.Element {
  const say = useSay();
  const video = useRef<HTMLVideoElement>(null);
  const [isOn, setOn] = useState(false);
  const [problem, setProblem] = useState<StringKey | undefined>(whyNotScan);
  useEffect(() => {
    if (!isOn || video.current === null) return undefined;
    const abort = new AbortController();
    const scan = async (element: HTMLVideoElement): Promise<void> => {
      try {
        onFound(await scanLabel(element, abort.signal));
      } catch (error) {
        if (!abort.signal.aborted) setProblem(error instanceof CameraProblem ? error.text : 'install.no-camera');
      }
      if (!abort.signal.aborted) setOn(false);
    };
    void scan(video.current);
    return () => abort.abort();
  }, [isOn]);
  if (problem !== undefined) return <p class="note mild">{say(problem)}</p>;
  return (
    <section class="camera" aria-label={say('install.scan')}>
      {isOn && (
        <>
          <video ref={video} muted playsInline aria-label={say('install.point')} />
          <p class="quiet">{say('install.point')}</p>
        </>
      )}
      <button type="button" class={isOn ? '' : 'primary'} onClick={() => setOn(!isOn)}>
        {say(isOn ? 'install.stop' : 'install.scan')}
      </button>
    </section>
  );
}

/** Shows whether the node has joined, polling until it has. */
function NodeCheck({ id }: { readonly id: string }): JSX.Element {
  const say = useSay();
  const node = useResource<NodeView>(`/v1/nodes/${id}`);
  const diagnosis = useResource<Diagnosis>(`/v1/diagnoses/${id}`);
  const order = useResource<OrderView>(node.data === undefined ? undefined : `/v1/orders/${node.data.order}`);
  const hasJoined = node.data?.state === 'joined';
  useEffect(() => {
    if (hasJoined) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState !== 'visible') return;
      for (const resource of [node, diagnosis, order]) resource.refresh();
    }, POLL_MS);
    return () => clearInterval(timer);
  }, [hasJoined]);
  const isUnknown = node.problem?.name === 'not-found';
  return (
    <>
      <h2>
        <code>{id}</code> {node.data !== undefined && <StateBadge state={node.data.state} />}
      </h2>
      {diagnosis.problem !== undefined && <ProblemNote problem={diagnosis.problem} retry={diagnosis.reload} />}
      {node.problem !== undefined && !isUnknown && <ProblemNote problem={node.problem} retry={node.reload} />}
      <div role="status">{diagnosis.data !== undefined && <Verdict diagnosis={diagnosis.data} />}</div>
      {!hasJoined && <p class="quiet">{say('install.watching')}</p>}
      {node.data !== undefined && <Describe node={node.data} tag={node.tag} />}
      {order.data !== undefined && <ProgressBar nodes={order.data.nodes} joined={order.data.joined} />}
    </>
  );
}

/** The cause in words, and what to do about it at the device. */
function Verdict({ diagnosis }: { readonly diagnosis: Diagnosis }): JSX.Element {
  const say = useSay();
  const { cause, facts, action, sentence } = diagnosis;
  const tone = toneOf(cause);
  const steps = stepsFor(action).filter(({ on }) => on === 'device');
  return (
    <>
      <section class={`cause ${tone}`}>
        <p class="headline" data-cause={cause}>
          {say(`cause.${cause}`)} {cause === 'joined' && facts.joined_at !== null && <Time at={facts.joined_at} />}
        </p>
      </section>
      {steps.length > 0 && <StepList steps={steps} button={<></>} />}
      {steps.length === 0 && action.kind !== 'none' && action.kind !== 'wait' && (
        <p>
          {say('install.ask')} <CopyButton text={`${sentence}\n${location.href}`}>{say('node.copy-ticket')}</CopyButton>
        </p>
      )}
    </>
  );
}

interface DescribeProps {
  readonly node: NodeView;
  readonly tag: string | undefined;
}

interface Draft {
  /** As typed; a field in which nothing was typed is not there, and is not stored. */
  readonly texts: Partial<Record<'name' | 'location', string>>;
  /** What the person saw while typing. */
  readonly seen: DescribeProps;
}

/**
 * The typed text stays while the node is reloaded, and replaces the shown text when it is stored.
 */
function Describe({ node, tag }: DescribeProps): JSX.Element {
  const say = useSay();
  const form = `install ${node.id}`;
  const [draft, setDraft] = useKeptDraft<Draft | undefined>(form, () => undefined);
  const { isBusy, problem, submit } = useSubmit();
  const [isSaved, setSaved] = useState(false);
  const seen = useRef(draft?.seen ?? { node, tag });
  const isAsSeen = node.name === seen.current.node.name && node.location === seen.current.node.location;
  if (draft === undefined || isAsSeen || problem?.name === 'changed-meanwhile') seen.current = { node, tag };
  if (!useMay('describe')) return <></>;
  const { name, location: place } = { name: node.name ?? '', location: node.location ?? '', ...draft?.texts };
  const type = (texts: Draft['texts']): void =>
    setDraft((before) => ({ texts: { ...before?.texts, ...texts }, seen: seen.current }));
  const save = async (): Promise<void> => {
    setSaved(false);
    const body = Object.entries(draft?.texts ?? {}).map(([field, text]) => [field, text.trim() === '' ? null : text]);
    await request(`/v1/nodes/${node.id}`, { method: 'PATCH', body: Object.fromEntries(body), ifMatch: seen.current.tag ?? '' });
    setDraft(() => undefined);
    forgetDraft(form);
    setSaved(true);
    reloadAll();
  };
  return (
    <form
      class="stack"
      aria-label={say('install.describe')}
      onSubmit={(event) => {
        event.preventDefault();
        if (draft !== undefined) void submit(save);
      }}
    >
      <FormField label="nodes.name" error={errorAt(problem?.errors, 'name')}>
        {(props) => (
          <input {...props} autoComplete="off" value={name} onInput={(event) => type({ name: event.currentTarget.value })} />
        )}
      </FormField>
      <FormField label="install.place" error={errorAt(problem?.errors, 'location')}>
        {(props) => (
          <input {...props} autoComplete="off" value={place} onInput={(event) => type({ location: event.currentTarget.value })} />
        )}
      </FormField>
      {problem !== undefined && <ProblemNote problem={problem} />}
      {problem?.name === 'changed-meanwhile' && (
        <p class="text">{say('install.stored', { name: node.name ?? '–', place: node.location ?? '–' })}</p>
      )}
      <button type="submit" aria-disabled={isBusy || draft === undefined}>
        {say('install.save')}
      </button>
      {/* A toast would cover the way to the next node. */}
      <p role="status">{draft !== undefined ? say('install.unsaved') : isSaved && say('install.saved', { id: node.id })}</p>
    </form>
  );
}
