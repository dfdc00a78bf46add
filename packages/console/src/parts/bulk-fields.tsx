/** What a change of many nodes needs to be told. */

import type { JSX } from 'preact';
import { type BulkInput, type BulkKind, wrongFields } from '../bulk-change.js';
import { useSay } from '../phrase.js';
import type { StringKey } from '../strings/index.js';
import { FormField } from './form-field.js';

interface BulkFieldsProps {
  readonly kind: BulkKind;
  readonly input: BulkInput;
  readonly onInput: (input: BulkInput) => void;
}

export function BulkFields({ kind, input, onInput }: BulkFieldsProps): JSX.Element {
  const say = useSay();
  const wrong = wrongFields(input);
  const daysError = (field: 'lifetime' | 'grace'): string | undefined =>
    wrong.includes(field) ? say('bulk.days-invalid') : undefined;
  switch (kind) {
    case 'move':
      return (
        <>
          <p>{say('bulk.move-about')}</p>
          <Field
            label="bulk.to"
            value={input.controller}
            error={wrong.includes('controller') ? say('bulk.controller-invalid') : undefined}
            onInput={(controller) => onInput({ ...input, controller })}
            isId
          />
        </>
      );
    case 'set':
      return (
        <>
          <p>{say('bulk.set-about')}</p>
          <Field
            label="bulk.lifetime"
            value={input.lifetime}
            error={daysError('lifetime')}
            onInput={(lifetime) => onInput({ ...input, lifetime })}
          />
          <Field
            label="bulk.grace"
            value={input.grace}
            error={daysError('grace')}
            onInput={(grace) => onInput({ ...input, grace })}
          />
        </>
      );
    case 'site':
      return (
        <>
          <p>{say('bulk.site-about')}</p>
          {!input.takesSiteAway && (
            <Field label="nodes.site" value={input.site} onInput={(site) => onInput({ ...input, site })} />
          )}
          <Check
            label="bulk.take-site-away"
            isChecked={input.takesSiteAway}
            onChange={(takesSiteAway) => onInput({ ...input, takesSiteAway })}
          />
        </>
      );
    default:
      return (
        <>
          <Field label="nodes.tag" value={input.tag} onInput={(tag) => onInput({ ...input, tag })} />
          <Check
            label="bulk.take-tag-away"
            isChecked={input.takesTagAway}
            onChange={(takesTagAway) => onInput({ ...input, takesTagAway })}
          />
        </>
      );
  }
}

interface CheckProps {
  readonly label: StringKey;
  readonly isChecked: boolean;
  readonly onChange: (isChecked: boolean) => void;
}

function Check({ label, isChecked, onChange }: CheckProps): JSX.Element {
  const say = useSay();
  return (
    <label class="check">
      <input type="checkbox" checked={isChecked} onChange={(event) => onChange(event.currentTarget.checked)} /> {say(label)}
    </label>
  );
}

interface FieldProps {
  readonly label: StringKey;
  readonly value: string;
  /** Why there is no preview yet. */
  readonly error?: string | undefined;
  readonly onInput: (value: string) => void;
  readonly isId?: boolean;
}

function Field({ label, value, error, onInput, isId = false }: FieldProps): JSX.Element {
  return (
    <FormField label={label} error={error} isOfPage>
      {(control) => (
        <input
          {...control}
          class={isId ? 'id' : undefined}
          autoComplete="off"
          autoCapitalize="off"
          spellcheck={false}
          value={value}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    </FormField>
  );
}
