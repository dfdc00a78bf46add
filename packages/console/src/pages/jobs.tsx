/** Jobs of the user, with what became of them. */

import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { cancelJob, changedBy, type Job, removeJob } from '../jobs.js';
import { ACTIONS, type Column, ListTable } from '../parts/list-table.js';
import { ChangeButton } from '../parts/change-button.js';
import { JobProgress } from '../parts/job-progress.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { Time } from '../parts/time.js';
import { Phrase, useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { isStringKey, type StringKey } from '../strings/index.js';

/** While one runs, in ms. */
const POLL_MS = 1_500;

export function JobsPage(): JSX.Element {
  const say = useSay();
  const list = useResource<{ readonly items: readonly Job[] }>('/v1/jobs');
  const { data, problem, reload, refresh } = list;
  const isRunning = data?.items.some(({ state }) => state === 'running') === true;
  useEffect(() => {
    if (!isRunning) return undefined;
    const timer = setTimeout(refresh, POLL_MS);
    return () => clearTimeout(timer);
  }, [data, problem]);
  return (
    <>
      <PageHead title={say('page.jobs')} resource={list} />
      <p class="quiet">{say('jobs.about')}</p>
      {problem !== undefined && <ProblemNote problem={problem} retry={reload} />}
      {data?.items.length === 0 && (
        <section class="empty">
          <h2>{say('jobs.empty')}</h2>
          <p>
            <a href="/nodes">{say('jobs.empty-advice')}</a>
          </p>
        </section>
      )}
      {data !== undefined && data.items.length > 0 && <JobTable jobs={data.items} />}
    </>
  );
}

const COLUMNS: readonly Column[] = [
  { name: 'jobs.what' },
  { name: 'jobs.started' },
  { name: 'jobs.ended', class: 'wide' },
  { name: 'job.progress' },
  { name: 'jobs.result', class: 'wide' },
  ACTIONS,
];

function JobTable({ jobs }: { readonly jobs: readonly Job[] }): JSX.Element {
  const say = useSay();
  return (
    <ListTable caption="jobs.caption" columns={COLUMNS}>
      {jobs.map((job) => (
        <tr key={job.id}>
          <th scope="row">{kindOf(job.kind) === undefined ? job.kind : say(kindOf(job.kind) as StringKey)}</th>
          <td>
            <Time at={job.created_at} />
          </td>
          <td class="wide">{job.finished_at === null ? <None /> : <Time at={job.finished_at} />}</td>
          <td>
            <JobProgress job={job} />
          </td>
          <td class="wide">
            <Result job={job} />
          </td>
          <td>
            <ChangeButton
              label={say(job.state === 'running' ? 'job.cancel' : 'jobs.remove')}
              done={say(job.state === 'running' ? 'jobs.cancelled' : 'jobs.removed')}
              change={() => (job.state === 'running' ? cancelJob(job.id) : removeJob(job.id))}
            />
          </td>
        </tr>
      ))}
    </ListTable>
  );
}

/** The API may have kinds that this page does not know. */
function kindOf(kind: string): StringKey | undefined {
  const key = `jobs.kind-${kind}`;
  return isStringKey(key) ? key : undefined;
}

function Result({ job }: { readonly job: Job }): JSX.Element {
  const say = useSay();
  const { problem, file } = job;
  const change = changedBy(job);
  if (problem !== null)
    return (
      <span lang="en">
        {problem.detail ?? problem.title}
        {problem.advice !== undefined && <span class="lines">{problem.advice}</span>}
      </span>
    );
  if (file !== undefined)
    return <Phrase of="jobs.file" values={{ name: <code>{file.name}</code>, time: <Time at={file.until} as="absolute" /> }} />;
  if (change === undefined) return <None />;
  return (
    <>
      {say('jobs.changed', {}, change.changed)}
      {change.unchanged > 0 && `; ${say('jobs.unchanged', {}, change.unchanged)}`}
    </>
  );
}
