import type { Diagnosis } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { stepsFor } from '../action-steps.js';
import { useSay } from '../phrase.js';
import { CopyButton } from './copy.js';
import { FactList } from './fact-list.js';
import { StepButton } from './step-button.js';
import { StepList } from './steps.js';

/** Causes that need nobody. */
const WELL: ReadonlySet<Diagnosis['cause']> = new Set(['joined', 'joining']);
/** Causes that only time, or one command, stands between. */
const MILD: ReadonlySet<Diagnosis['cause']> = new Set(['held-off', 'was-refused', 'expiring', 'outside-join-window', 'disabled']);

export function toneOf(cause: Diagnosis['cause']): 'good' | 'mild' | 'bad' {
  return WELL.has(cause) ? 'good' : MILD.has(cause) ? 'mild' : 'bad';
}

/** Diagnosis of a node: the cause, the action, and the facts behind the cause. */
export function DiagnosisPanel({ diagnosis }: { readonly diagnosis: Diagnosis }): JSX.Element {
  const say = useSay();
  const { cause, action, instead, facts, sentence } = diagnosis;
  const tone = toneOf(cause);
  const title = WELL.has(cause) && action.kind === 'none' ? 'node.why-joined' : 'node.why';
  return (
    <>
      <section class={`cause ${tone}`} aria-labelledby="cause-title">
        <h3 id="cause-title">{say(title)}</h3>
        <p class="headline" data-cause={cause}>
          {say(`cause.${cause}`)}
        </p>
      </section>
      {action.kind !== 'none' && (
        <section aria-labelledby="to-do-title">
          <h3 id="to-do-title">{say('node.to-do')}</h3>
          <StepList steps={stepsFor(action)} button={<StepButton action={action} />} />
          {instead !== null && (
            <>
              <h4>{say('node.instead')}</h4>
              <StepList steps={stepsFor(instead)} button={<StepButton action={instead} />} />
            </>
          )}
        </section>
      )}
      <section aria-labelledby="facts-title">
        <h3 id="facts-title">{say('node.facts')}</h3>
        <FactList facts={facts} />
        <CopyButton text={`${sentence}\n${globalThis.location.href}`}>{say('node.copy-ticket')}</CopyButton>
      </section>
    </>
  );
}
