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
  const [isEmpty, setEmpty] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const search = readSearch(text);
    setEmpty(search.kind === 'empty');
    if (search.kind === 'empty') return;
    setText('');
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
            setEmpty(false);
          }}
          aria-invalid={isEmpty}
          aria-describedby={isEmpty ? 'why-box-error' : undefined}
          aria-keyshortcuts="/"
        />
        <kbd aria-hidden="true">/</kbd>
        <button type="submit">{say('why.submit')}</button>
      </span>
      {isEmpty && (
        <p id="why-box-error" class="field-error" role="alert">
          {say('why.empty')}
        </p>
      )}
    </form>
  );
}
