/** Progress of an order: causes why nodes have not joined, next steps, and its sites. */

import type { DiagnosisGroup, DiagnosisGroups, NodeView, OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { stepsFor } from '../action-steps.js';
import { type Problem, problemOf } from '../api.js';
import { runQuery } from '../job-run.js';
import { joinTimes, progressBySite } from '../order-sites.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { useGeneration } from '../session.js';
import { urlOf } from '../url-state.js';
import { toneOf } from './diagnosis-panel.js';
import { Rows } from './fact-list.js';
import { ProblemNote } from './problem-note.js';
import { ProgressBar } from './progress-bar.js';
import { StepButton } from './step-button.js';
import { StepList } from './steps.js';
import { ThingLink } from './thing-link.js';
import { Time } from './time.js';

/** Nodes that are diagnosed without being asked to: some seconds of the server. */
const MAX_UNASKED = 2_000;
/** Nodes of an order that is broken down by site: one page of the API. */
const MAX_BY_SITE = 1_000;

/** Why its nodes have not joined, and what to do next. */
export function OrderCauses({ order: { order, nodes, joined } }: { readonly order: OrderView }): JSX.Element {
  const say = useSay();
  const generation = useGeneration();
  const waiting = nodes - joined;
  const [isWanted, setWanted] = useState(waiting <= MAX_UNASKED);
  const [found, setFound] = useState<DiagnosisGroups>();
  const [problem, setProblem] = useState<Problem>();
  useEffect(() => {
    if (!isWanted || waiting === 0) return undefined;
    const abort = new AbortController();
    const filter = { order, never_joined: true };
    const diagnose = async (): Promise<void> => {
      try {
        const groups = await runQuery<DiagnosisGroups>('/v1/diagnoses', { filter }, abort.signal);
        if (abort.signal.aborted) return;
        setFound(groups);
        setProblem(undefined);
      } catch (error) {
        if (!abort.signal.aborted) setProblem(problemOf(error));
      }
    };
    void diagnose();
    return () => abort.abort();
  }, [order, waiting, isWanted, generation]);
  if (waiting === 0) return <p class="note good">{say('order.all-joined')}</p>;
  return (
    <section aria-labelledby="causes-title">
      <h2 id="causes-title">{say('order.causes')}</h2>
      {problem !== undefined && <ProblemNote problem={problem} />}
      {!isWanted && (
        <button type="button" onClick={() => setWanted(true)}>
          {say('order.diagnose', {}, waiting)}
        </button>
      )}
      {isWanted && found === undefined && problem === undefined && <p class="quiet">{say('order.diagnosing')}</p>}
      {found !== undefined && (
        <ul class="attention">
          {found.groups.map((group) => (
            <li key={`${group.cause} ${group.examples[0] ?? ''}`} class={`note ${toneOf(group.cause)}`}>
              <Cause group={group} />
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** Nodes for which the same is to be done. */
function Cause({ group: { cause, nodes, examples, action } }: { readonly group: DiagnosisGroup }): JSX.Element {
  const say = useSay();
  const steps = stepsFor(action);
  const more = nodes - examples.length;
  return (
    <>
      <h3 data-cause={cause}>
        {say(`cause.${cause}`)} · {say('order.nodes-of-cause', {}, nodes)}
      </h3>
      <p class="examples">
        {examples.map((id) => (
          <ThingLink key={id} kind="node" id={id} />
        ))}{' '}
        {more > 0 && say('order.and-more', {}, more)}
      </p>
      {steps.length > 0 && (
        <details>
          <summary>{say('node.to-do')}</summary>
          <StepList steps={steps} button={<StepButton action={action} />} />
        </details>
      )}
    </>
  );
}

interface NodePage {
  readonly items: readonly NodeView[];
  readonly next: string | null;
}

/** Nothing for an order of more nodes than one page has: its list has filters. */
export function OrderSites({ order: { order, nodes } }: { readonly order: OrderView }): JSX.Element {
  const say = useSay();
  const isShown = nodes > 0 && nodes <= MAX_BY_SITE;
  const { data, problem, reload } = useResource<NodePage>(isShown ? `/v1/nodes?order=${order}&limit=${MAX_BY_SITE}` : undefined);
  if (problem !== undefined) return <ProblemNote problem={problem} retry={reload} />;
  if (data === undefined) return <></>;
  const times = joinTimes(data.items);
  return (
    <section class="narrow" aria-labelledby="sites-title">
      <h2 id="sites-title">{say('order.sites')}</h2>
      <ul class="sites">
        {progressBySite(data.items).map(({ site, nodes: count, joined }) => (
          <li key={site}>
            {site === null ? (
              <span class="quiet">{say('order.no-site')}</span>
            ) : (
              <a class="text" href={urlOf('/nodes', new URLSearchParams({ order: String(order), site }))}>
                {site}
              </a>
            )}
            <ProgressBar nodes={count} joined={joined} />
          </li>
        ))}
      </ul>
      {times !== undefined && (
        <Rows
          rows={[
            ['order.first-join', <Time at={times.first} as="both" />],
            ['order.latest-join', <Time at={times.latest} as="both" />],
          ]}
        />
      )}
    </section>
  );
}
