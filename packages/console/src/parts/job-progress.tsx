import type { JSX } from 'preact';
import { formatNumber } from '../format.js';
import type { Job } from '../jobs.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';

/** How far a job is, or how it ended. */
export function JobProgress({ job: { state, done, total } }: { readonly job: Job }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const text = say('job.done-of', { done: formatNumber(done, locale), total: formatNumber(total, locale) });
  return (
    <p class="progress" role="status">
      <progress value={done} max={Math.max(total, 1)} aria-label={say('job.progress')} />
      <span>{text}</span>
      {state !== 'running' && <span>{say(`job.state-${state}`)}</span>}
    </p>
  );
}
