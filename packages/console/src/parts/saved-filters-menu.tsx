import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { navigate } from '../navigation.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import {
  addFilter,
  changeFilter,
  FILTERS_PATH,
  normalQuery,
  removeFilter,
  type SavedFilter,
  type SavedFilterList,
} from '../saved-filters.js';
import { useMay, useUser } from '../session.js';
import { useSubmit } from '../submit.js';
import { showToast } from '../toasts.js';
import { hasFilters, type NodeFilters, writeNodeFilters } from '../url-state.js';
import { ChangeButton } from './change-button.js';
import { ProblemNote } from './problem-note.js';
import { TypedConfirmation } from './typed-confirmation.js';

/** Goes to filters that have a name, and gives one to those of the page. */
export function SavedFiltersMenu({ filters }: { readonly filters: NodeFilters }): JSX.Element {
  const say = useSay();
  const { data, problem, reload } = useResource<SavedFilterList>(FILTERS_PATH);
  const query = writeNodeFilters(filters).toString();
  const saved = data?.items ?? [];
  const own = saved.filter((one) => one.is_own);
  const others = saved.filter((one) => !one.is_own);
  const current = saved.find((one) => normalQuery(one.query) === query);
  if (data === undefined) return problem === undefined ? <></> : <ProblemNote problem={problem} retry={reload} />;
  return (
    <>
      {(saved.length > 0 || hasFilters(filters)) && (
        <div class="saved">
          {saved.length > 0 && (
            <select
              aria-label={say('saved.label')}
              value={current?.id ?? ''}
              onChange={({ currentTarget: { value } }) => {
                const chosen = saved.find((one) => one.id === value);
                if (chosen !== undefined) navigate(`/nodes?${normalQuery(chosen.query)}`);
              }}
            >
              <option value="">{say('saved.choose')}</option>
              {others.length === 0 ? <Options filters={own} /> : <OptionGroup label={say('saved.own')} filters={own} />}
              <OptionGroup label={say('saved.shared')} filters={others} />
            </select>
          )}
          {current !== undefined && <FilterActions key={current.id} filter={current} />}
          {current?.is_own !== true && hasFilters(filters) && (
            <SaveForm key={query} query={query} own={own} maxOwn={data.max_own} onSaved={reload} />
          )}
        </div>
      )}
      {problem !== undefined && <ProblemNote problem={problem} retry={reload} />}
    </>
  );
}

function OptionGroup({ label, filters }: { readonly label: string; readonly filters: readonly SavedFilter[] }): JSX.Element {
  if (filters.length === 0) return <></>;
  return (
    <optgroup label={label}>
      <Options filters={filters} />
    </optgroup>
  );
}

function Options({ filters }: { readonly filters: readonly SavedFilter[] }): JSX.Element {
  const say = useSay();
  return (
    <>
      {filters.map(({ id, name, user, is_own: isOwn, is_shared: isShared }) => (
        <option key={id} value={id}>
          {isOwn ? (isShared ? say('saved.is-shared', { name }) : name) : say('saved.of-user', { name, user })}
        </option>
      ))}
    </>
  );
}

/** What may be done with filters that have a name. */
function FilterActions({ filter }: { readonly filter: SavedFilter }): JSX.Element {
  const say = useSay();
  const sharesNone = useUser()?.role === 'installer';
  const isAdmin = useMay('admin');
  const { id, name, query, user, is_own: isOwn, is_shared: isShared } = filter;
  if (!isOwn)
    return isAdmin ? (
      <TypedConfirmation
        label={say('saved.remove', { name })}
        title={say('saved.remove-shared-title', { name, user })}
        about={say('saved.remove-shared-about')}
        expected={name}
        done={say('saved.removed', { name })}
        change={() => removeFilter(id)}
      />
    ) : (
      <></>
    );
  return (
    <>
      {!sharesNone && (
        <ChangeButton
          label={say(isShared ? 'saved.unshare' : 'saved.share', { name })}
          done={say(isShared ? 'saved.unshare-done' : 'saved.share-done', { name })}
          change={() => changeFilter(id, { is_shared: !isShared })}
          undo={() => changeFilter(id, { is_shared: isShared })}
        />
      )}
      <ChangeButton
        label={say('saved.remove', { name })}
        done={say('saved.removed', { name })}
        change={() => removeFilter(id)}
        undo={async () => void (await addFilter({ name, query, is_shared: isShared }))}
      />
    </>
  );
}

interface SaveFormProps {
  /** Of the page. */
  readonly query: string;
  readonly own: readonly SavedFilter[];
  readonly maxOwn: number;
  readonly onSaved: () => void;
}

/** Gives a name to the filters of the page. A name that the person has is given to these. */
function SaveForm({ query, own, maxOwn, onSaved }: SaveFormProps): JSX.Element {
  const say = useSay();
  const [typed, setTyped] = useState('');
  const { isBusy, problem, submit } = useSubmit();
  const name = typed.trim().normalize();
  const before = own.find((one) => one.name === name);
  const save = async (): Promise<void> => {
    if (before === undefined) await addFilter({ name, query, is_shared: false });
    else {
      await changeFilter(before.id, { query });
      showToast({ text: say('saved.replaced', { name }), undo: () => changeFilter(before.id, { query: before.query }) });
    }
  };
  if (own.length >= maxOwn) return <span class="quiet">{say('saved.full', {}, maxOwn)}</span>;
  return (
    <form
      class="inline-form"
      onSubmit={(event) => {
        event.preventDefault();
        // Another tab may have taken the name.
        if (name !== '') void submit(save).then(onSaved);
      }}
    >
      <input
        aria-label={say('saved.name')}
        placeholder={say('saved.name')}
        size={18}
        value={typed}
        onInput={(event) => setTyped(event.currentTarget.value)}
      />
      <button type="submit" aria-disabled={isBusy}>
        {say('saved.save')}
      </button>
      {problem !== undefined && <ProblemNote problem={problem} />}
    </form>
  );
}
