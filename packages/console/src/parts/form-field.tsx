import type { ComponentChildren, JSX } from 'preact';
import { useId } from 'preact/hooks';
import type { Problem } from '../api.js';
import { useSay } from '../phrase.js';
import type { StringKey } from '../strings/index.js';

/** What connects a control with its name, its hint, and what is wrong with it. */
export interface ControlProps {
  readonly id: string;
  readonly 'aria-describedby': string | undefined;
  readonly 'aria-invalid': boolean;
}

interface FormFieldProps {
  readonly label: StringKey;
  readonly isOptional?: boolean;
  readonly hint?: ComponentChildren;
  /** What is wrong with the value. */
  readonly error: string | undefined;
  /** Whether the page says so, in the reader's language. The API says it in English. */
  readonly isOfPage?: boolean;
  readonly children: (props: ControlProps) => JSX.Element;
}

/**
 * A control with its name above it; below it a hint, and what the API says is wrong. A text control
 * has no `maxLength`: a browser cuts a longer text that is pasted, and says nothing.
 */
export function FormField({ label, isOptional = false, hint, error, isOfPage = false, children }: FormFieldProps): JSX.Element {
  const say = useSay();
  const id = useId();
  const [hintId, errorId] = [`${id}-hint`, `${id}-error`];
  const described = [hint === undefined ? '' : hintId, error === undefined ? '' : errorId].filter((one) => one !== '').join(' ');
  return (
    <div class="field">
      <label for={id}>
        {say(label)} {isOptional && <span class="quiet">({say('common.optional')})</span>}
      </label>
      {children({ id, 'aria-describedby': described === '' ? undefined : described, 'aria-invalid': error !== undefined })}
      {hint !== undefined && (
        <span id={hintId} class="quiet">
          {hint}
        </span>
      )}
      {error !== undefined && (
        <span id={errorId} class="field-error" lang={isOfPage ? undefined : 'en'}>
          {error}
        </span>
      )}
    </div>
  );
}

/** What the API says of a field, or of a part of it. */
export function errorAt(errors: Problem['errors'], field: string): string | undefined {
  return errors?.find(({ at }) => at === field || at.startsWith(`${field}.`))?.is;
}
