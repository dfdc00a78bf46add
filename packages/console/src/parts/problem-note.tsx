import type { JSX } from 'preact';
import type { Problem } from '../api.js';
import { CommandText } from './copy.js';
import { useSay } from '../phrase.js';
import { isStringKey, type StringKey } from '../strings/index.js';

/** A failed request: what happened, the API's advice, and a retry button. */
export function ProblemNote({ problem, retry }: { readonly problem: Problem; readonly retry?: () => void }): JSX.Element {
  const say = useSay();
  const { detail, advice, run, errors, retryAfter } = problem;
  return (
    <div class="note bad" role="alert">
      <strong>{say(titleOf(problem.name))}</strong>
      {problem.name === 'unreachable' && <p>{say('problem.unreachable-advice')}</p>}
      {detail !== undefined && <p lang="en">{detail}</p>}
      {advice !== undefined && <p lang="en">{advice}</p>}
      {run?.map((command) => (
        <CommandText key={command} text={command} />
      ))}
      {errors !== undefined && (
        <ul lang="en">
          {errors.map(({ at, is }) => (
            <li key={`${at} ${is}`}>
              <code>{at}</code>: {is}
            </li>
          ))}
        </ul>
      )}
      {retryAfter !== undefined && <p>{say('problem.in-seconds', {}, retryAfter)}</p>}
      {retry !== undefined && (
        <button type="button" onClick={retry}>
          {say('problem.retry')}
        </button>
      )}
    </div>
  );
}

function titleOf(name: string): StringKey {
  const key = `problem.${name}`;
  return isStringKey(key) ? key : 'problem.other';
}
