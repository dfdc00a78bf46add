/** What a change of many nodes needs to be told. */

import type { ManyNodesChange } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { type BulkInput, type BulkKind, wrongFields } from '../bulk-change.js';
import { formatDuration } from '../format.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import type { StringKey } from '../strings/index.js';
import { type Row, Rows } from './fact-list.js';
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

/** What is about to be changed, as the page has read it: the fields are gone by then. */
export function PlannedChange({ change }: { readonly change: ManyNodesChange }): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const rows: Row[] = [];
  const addDuration = (name: StringKey, none: StringKey, seconds: number | undefined): void => {
    if (seconds !== undefined) rows.push([name, seconds === 0 ? say(none) : formatDuration(seconds, locale)]);
  };
  const addText = (name: StringKey, text: string): number => rows.push([name, <span class="text">{text}</span>]);
  if (change.kind === 'move') rows.push(['nodes.controller', <code>{change.to}</code>]);
  if (change.kind === 'set') {
    addDuration('node.lifetime', 'node.no-limit', change.lifetime_seconds);
    addDuration('node.grace', 'node.no-grace', change.grace_seconds);
  }
  if (change.kind === 'describe') {
    const { add_tags: added = [], remove_tags: removed = [], site } = change.description;
    for (const tag of added) addText('nodes.tag', tag);
    for (const tag of removed) addText('bulk.take-tag-away', tag);
    if (typeof site === 'string') addText('nodes.site', site);
    if (site === null) rows.push(['nodes.site', say('bulk.take-site-away')]);
  }
  return rows.length === 0 ? <></> : <Rows rows={rows} />;
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
