import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { navigate } from '../navigation.js';
import { useSay } from '../phrase.js';
import { MAX_SAVED, MAX_SAVED_NAME, removeSavedFilters, saveFilters, useSavedFilters } from '../saved-filters.js';
import { hasFilters, type NodeFilters, writeNodeFilters } from '../url-state.js';

/** Goes to filters that have a name, and gives one to those of the page. */
export function SavedFiltersMenu({ filters }: { readonly filters: NodeFilters }): JSX.Element {
  const say = useSay();
  const saved = useSavedFilters();
  const query = writeNodeFilters(filters).toString();
  const current = saved.find((one) => one.query === query);
  const [name, setName] = useState('');
  useEffect(() => setName(''), [query]);
  if (saved.length === 0 && !hasFilters(filters)) return <></>;
  const save = (event: Event): void => {
    event.preventDefault();
    const text = name.trim();
    if (text !== '' && saveFilters(text, query)) setName('');
  };
  return (
    <form class="saved" aria-label={say('saved.label')} onSubmit={save}>
      {saved.length > 0 && (
        <select
          aria-label={say('saved.label')}
          value={current?.name ?? ''}
          onChange={({ currentTarget: { value } }) => {
            const chosen = saved.find((one) => one.name === value);
            if (chosen !== undefined) navigate(`/nodes?${chosen.query}`);
          }}
        >
          <option value="">{say('saved.choose')}</option>
          {saved.map((one) => (
            <option key={one.name} value={one.name}>
              {one.name}
            </option>
          ))}
        </select>
      )}
      {current !== undefined ? (
        <button type="button" onClick={() => removeSavedFilters(current.name)}>
          {say('saved.remove', { name: current.name })}
        </button>
      ) : (
        hasFilters(filters) &&
        (saved.length >= MAX_SAVED ? (
          <span class="quiet">{say('saved.full', {}, MAX_SAVED)}</span>
        ) : (
          <>
            <input
              aria-label={say('saved.name')}
              placeholder={say('saved.name')}
              size={18}
              maxLength={MAX_SAVED_NAME}
              value={name}
              onInput={(event) => setName(event.currentTarget.value)}
            />
            <button type="submit">{say('saved.save')}</button>
          </>
        ))
      )}
    </form>
  );
}
