/** Dialog for a change of many nodes: the choice, the preview, the progress. */

import type { ManyNodesChange, NodeView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { jobError, type Problem, problemOf, request } from '../api.js';
import { type BulkInput, type BulkKind, changeOf, EMPTY_INPUT, inverseOf, MAX_NAMED, selectionOf } from '../bulk-change.js';
import { formatNumber } from '../format.js';
import {
  beginChange,
  cancelJob,
  changedBy,
  changeNow,
  followJob,
  type Job,
  type NodesChange,
  type Preview,
  previewChange,
} from '../jobs.js';
import { type Say, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { reloadAll } from '../session.js';
import { showToast } from '../toasts.js';
import { type NodeFilters, nodesRequest } from '../url-state.js';
import type { Choice } from './bulk-bar.js';
import { BulkFields, PlannedChange } from './bulk-fields.js';
import { JobProgress } from './job-progress.js';
import { ProblemNote } from './problem-note.js';

interface BulkDialogProps {
  readonly kind: BulkKind;
  readonly choice: Choice;
  readonly filters: NodeFilters;
  readonly onClose: (hasBegun: boolean) => void;
}

/** What was previewed. */
interface Plan extends Preview {
  readonly change: NodesChange;
  /** The nodes, unless they are too many. */
  readonly nodes: readonly NodeView[] | undefined;
}

export function BulkDialog({ kind, choice, filters, onClose }: BulkDialogProps): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  const [input, setInput] = useState<BulkInput>(EMPTY_INPUT);
  const [plan, setPlan] = useState<Plan>();
  const [job, setJob] = useState<Job>();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setBusy] = useState(false);
  const change = changeOf(kind, input);
  const hasFields = kind === 'move' || kind === 'set' || kind === 'tag' || kind === 'site';
  const run = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    try {
      await work();
    } catch (error) {
      setProblem(problemOf(error));
    }
    setBusy(false);
  };
  const preview = (of: ManyNodesChange): Promise<void> =>
    run(async () => {
      const chosen = await resolveChoice(choice, filters);
      const planned = { select: chosen.select, change: of };
      setPlan({ ...(await previewChange(planned)), change: planned, nodes: chosen.nodes });
    });
  const follow = async (begun: Job, { change: planned, nodes }: Plan): Promise<void> => {
    const ended = await followJob(begun, setJob);
    reloadAll();
    if (ended.state === 'cancelled') return;
    if (ended.state !== 'done') throw jobError(ended.problem);
    dialog.current?.close();
    announce(say, kind, ended, planned.change, nodes);
  };
  const confirm = (confirmed: Plan): Promise<void> =>
    run(async () => {
      const { change: planned, expect, nodes } = confirmed;
      try {
        await follow(await beginChange(planned, expect), confirmed);
      } catch (error) {
        const { name, preview: now } = problemOf(error);
        // Another user was faster: show the new preview.
        if (name === 'selection-changed') setPlan({ ...(now as Preview), change: planned, nodes });
        throw error;
      }
    });
  useEffect(() => {
    dialog.current?.showModal();
    if (!hasFields && change !== undefined) void preview(change);
  }, []);
  return (
    <dialog ref={dialog} class="modal" aria-labelledby="bulk-title" onClose={() => onClose(job !== undefined)}>
      <h2 id="bulk-title">{say(`bulk.title-${kind}`)}</h2>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (isBusy || change === undefined) return;
          void (plan === undefined ? preview(change) : confirm(plan));
        }}
      >
        {hasFields && plan === undefined && <BulkFields kind={kind} input={input} onInput={setInput} />}
        {plan !== undefined && job === undefined && <PlanText kind={kind} plan={plan} input={input} onInput={setInput} />}
        {plan === undefined && isBusy && <p class="quiet">{say('common.loading')}</p>}
        {job !== undefined && <JobProgress job={job} />}
        {problem !== undefined && (
          <ProblemNote
            problem={problem}
            // The job goes on: an answer about it was lost, or the session has ended since.
            {...(job?.state === 'running' && plan !== undefined && !isBusy
              ? { retry: () => void run(() => follow(job, plan)) }
              : {})}
          />
        )}
        <div class="buttons">
          {job?.state === 'running' && (
            <button type="button" onClick={() => void run(async () => setJob(await cancelJob(job.id)))}>
              {say('job.cancel')}
            </button>
          )}
          {plan !== undefined && hasFields && job === undefined && (
            <button type="button" onClick={() => setPlan(undefined)}>
              {say('bulk.back')}
            </button>
          )}
          <button type="button" onClick={() => dialog.current?.close()}>
            {say(job === undefined ? 'common.cancel' : 'common.close')}
          </button>
          {job === undefined && (
            <ConfirmButton kind={kind} plan={plan} isReady={change !== undefined} isBusy={isBusy} typed={input.typed} />
          )}
        </div>
      </form>
    </dialog>
  );
}

interface ConfirmButtonProps {
  readonly kind: BulkKind;
  readonly plan: Plan | undefined;
  readonly isReady: boolean;
  readonly isBusy: boolean;
  readonly typed: string;
}

/** Has the number of nodes that it changes. */
function ConfirmButton({ kind, plan, isReady, isBusy, typed }: ConfirmButtonProps): JSX.Element {
  const say = useSay();
  if (plan === undefined)
    return (
      <button type="submit" class="primary" disabled={!isReady} aria-disabled={isBusy}>
        {say('bulk.preview')}
      </button>
    );
  const changes = plan.count - plan.already_so;
  const isConfirmed = kind !== 'remove' || typed.trim() === String(changes);
  return (
    <button
      type="submit"
      class={kind === 'remove' ? 'danger' : 'primary'}
      disabled={!isReady || !isConfirmed || changes === 0}
      aria-disabled={isBusy}
    >
      {say(`bulk.confirm-${kind}`, {}, changes)}
    </button>
  );
}

interface PlanTextProps {
  readonly kind: BulkKind;
  readonly plan: Plan;
  readonly input: BulkInput;
  readonly onInput: (input: BulkInput) => void;
}

function PlanText({ kind, plan, input, onInput }: PlanTextProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { count, already_so: alreadySo, examples, nodes } = plan;
  const changes = count - alreadySo;
  return (
    <>
      <p role="status">
        {say('bulk.selected', {}, count)} {alreadySo > 0 && say('bulk.already-so', {}, alreadySo)}
      </p>
      <PlannedChange change={plan.change.change} />
      <p class="examples">
        {examples.slice(0, 8).map((id) => (
          <>
            <code key={id}>{id}</code>{' '}
          </>
        ))}
        {count > 8 && '…'}
      </p>
      {kind === 'remove' ? (
        <>
          <p class="note bad">{say('bulk.remove-about')}</p>
          <label>
            <span>{say('common.type-to-confirm', { expected: String(changes) })}</span>
            <input
              class="id"
              inputMode="numeric"
              autoComplete="off"
              autoFocus
              value={input.typed}
              onInput={(event) => onInput({ ...input, typed: event.currentTarget.value })}
            />
          </label>
        </>
      ) : (
        <>
          {kind === 'site' && <p class="note mild">{say('bulk.site-no-undo')}</p>}
          {kind !== 'site' && nodes === undefined && (
            <p class="note mild">{say('bulk.no-undo', { limit: formatNumber(MAX_NAMED, locale) })}</p>
          )}
        </>
      )}
    </>
  );
}

/** Names the nodes while they are few: their change can then be undone. */
async function resolveChoice(
  { nodes, isAll }: Choice,
  filters: NodeFilters,
): Promise<Pick<NodesChange, 'select'> & Pick<Plan, 'nodes'>> {
  if (!isAll) return { select: { ids: [...nodes.keys()] }, nodes: [...nodes.values()] };
  const now = Date.now();
  const page = await request<{ readonly items: readonly NodeView[]; readonly next: string | null }>(
    nodesRequest(filters, null, MAX_NAMED, now),
  );
  const select = page.next === null ? { ids: page.items.map(({ id }) => id) } : selectionOf(filters, now);
  // The bar offers no other choice, unless nodes were added since.
  if (select === undefined) throw new Error('the API takes no such filters');
  return { select, nodes: page.next === null ? page.items : undefined };
}

function announce(say: Say, kind: BulkKind, job: Job, change: ManyNodesChange, nodes: readonly NodeView[] | undefined): void {
  const changed = changedBy(job)?.changed ?? 0;
  const inverse = nodes === undefined ? undefined : inverseOf(change, nodes);
  // If others changed some of them since they were on the page, the inverse is not exact.
  const isExact = inverse?.ids.length === changed;
  showToast({
    text: say(`bulk.done-${kind}`, {}, changed),
    ...(inverse === undefined || !isExact
      ? {}
      : { undo: () => changeNow({ select: { ids: inverse.ids }, change: inverse.change }) }),
  });
}
