import type { ComponentChildren, JSX } from 'preact';
import type { Step } from '../action-steps.js';
import { formatAbsolute } from '../format.js';
import { Phrase, useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { Command } from './copy.js';
import { ThingLink } from './thing-link.js';

interface StepListProps {
  readonly steps: readonly Step[];
  /** Does the first step here. */
  readonly button?: ComponentChildren;
}

/** What to do, where, and with which command. */
export function StepList({ steps, button }: StepListProps): JSX.Element {
  const say = useSay();
  return (
    <ol class="steps">
      {steps.map((step, index) => (
        <li key={step.text}>
          <span class="place">{say(`node.on-${step.on}`)}</span>
          <p>
            <StepText step={step} />
          </p>
          {index === 0 && button}
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
    else if (name === 'controller') shown[name] = <ThingLink kind="controller" id={value} />;
    else shown[name] = <code>{value}</code>;
  }
  return <Phrase of={text} values={shown} />;
}
