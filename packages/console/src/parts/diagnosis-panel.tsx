import type { Action, Diagnosis } from '@latchkey/operations/contract';
import type { ComponentChildren, JSX } from 'preact';
import { type Step, stepsFor } from '../action-steps.js';
import { formatAbsolute } from '../format.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { Command, CopyButton } from './copy.js';
import { FactList } from './fact-list.js';

/** Causes that need nobody. */
const WELL: ReadonlySet<Diagnosis['cause']> = new Set(['joined', 'joining']);
/** Causes that only time, or one command, stands between. */
const MILD: ReadonlySet<Diagnosis['cause']> = new Set(['held-off', 'was-refused', 'expiring', 'outside-join-window', 'disabled']);

/** Why a node has not joined: the cause, what to do, and what the cause was found from. */
export function DiagnosisPanel({ diagnosis }: { readonly diagnosis: Diagnosis }): JSX.Element {
  const say = useSay();
  const { cause, action, instead, facts, sentence } = diagnosis;
  const tone = WELL.has(cause) ? 'good' : MILD.has(cause) ? 'mild' : 'bad';
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
          <Steps action={action} />
          {instead !== null && (
            <>
              <h4>{say('node.instead')}</h4>
              <Steps action={instead} />
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

function Steps({ action }: { readonly action: Action }): JSX.Element {
  const say = useSay();
  return (
    <ol class="steps">
      {stepsFor(action).map((step) => (
        <li key={step.text}>
          <span class="place">{say(`node.on-${step.on}`)}</span>
          <p>
            <StepText step={step} />
          </p>
          {step.command !== undefined && <Command words={step.command} />}
        </li>
      ))}
    </ol>
  );
}

/** Times in the reader's zone, IDs as links. */
function StepText({ step: { text, values } }: { readonly step: Step }): JSX.Element {
  const locale = localeOf(usePreferences());
  const shown: Record<string, ComponentChildren> = {};
  for (const [name, value] of Object.entries(values)) {
    if (name === 'until') shown[name] = <time dateTime={value}>{formatAbsolute(Date.parse(value), locale)}</time>;
    else if (name === 'controller') shown[name] = <a href={`/nodes?controller=${value}`}>{value}</a>;
    else shown[name] = <code>{value}</code>;
  }
  return <Phrase of={text} values={shown} />;
}
