import type { JSX } from 'preact';
import { useId } from 'preact/hooks';
import { useSay } from '../phrase.js';
import type { StringKey } from '../strings/index.js';

interface TextFilterProps {
  readonly label: StringKey;
  readonly size: number;
  readonly value: string;
  /** What is wrong with the value. */
  readonly wrong?: string | undefined;
  readonly onChange: (value: string) => void;
  /** ID of a list to choose from. */
  readonly list?: string;
}

/** A filter that is typed. */
export function TextFilter({ label, size, value, wrong, onChange, list }: TextFilterProps): JSX.Element {
  const say = useSay();
  const errorId = useId();
  return (
    <label>
      <span>{say(label)}</span>
      <input
        size={size}
        aria-label={say(label)}
        spellcheck={false}
        autoCapitalize="off"
        autoComplete="off"
        list={list}
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
        aria-invalid={wrong !== undefined}
        aria-describedby={wrong === undefined ? undefined : errorId}
      />
      {wrong !== undefined && (
        <span id={errorId} class="field-error" role="alert">
          {wrong}
        </span>
      )}
    </label>
  );
}
