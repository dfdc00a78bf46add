/**
 * The search box of every page: the ID of a node leads to its diagnosis, its first digits, a name
 * or another text to a list.
 */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { currentLocation, navigate } from './navigation.js';
import { useSay } from './phrase.js';
import { openUrl, readSearch, urlOf } from './url-state.js';

export const WHY_BOX = 'why-box';

export function WhyBox(): JSX.Element {
  const say = useSay();
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState<'empty' | 'key'>();
  const submit = (event: Event): void => {
    event.preventDefault();
    const search = readSearch(text);
    setWrong(search.kind === 'empty' || search.kind === 'key' ? search.kind : undefined);
    if (search.kind === 'empty') return;
    setText('');
    if (search.kind === 'key') return;
    if (search.kind === 'text') return navigate(urlOf('/nodes', new URLSearchParams({ q: search.text })));
    if (search.kind === 'prefix') return navigate(`/nodes?starts=${search.starts}`);
    const { path, query } = currentLocation();
    navigate(openUrl(path, query, { kind: 'node', id: search.id }));
  };
  return (
    <form class="why-box" role="search" onSubmit={submit} noValidate>
      <label for={WHY_BOX}>{say('why.label')}</label>
      <span class="field">
        <input
          id={WHY_BOX}
          type="search"
          enterkeyhint="search"
          autoComplete="off"
          autoCapitalize="off"
          spellcheck={false}
          maxLength={128}
          placeholder={say('why.placeholder')}
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setWrong(undefined);
          }}
          aria-invalid={wrong !== undefined}
          aria-describedby={wrong === undefined ? undefined : 'why-box-error'}
          aria-keyshortcuts="/"
        />
        <kbd aria-hidden="true">/</kbd>
        <button type="submit">{say('why.submit')}</button>
      </span>
      {wrong !== undefined && (
        <p id="why-box-error" class="field-error" role="alert">
          {say(`why.${wrong}`)}
        </p>
      )}
    </form>
  );
}
