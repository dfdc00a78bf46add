import type { ComponentChildren, JSX } from 'preact';
import { Time } from './time.js';
import { Phrase, useSay } from '../phrase.js';
import type { Resource } from '../resource.js';

interface PageHeadProps {
  readonly title: string;
  readonly about?: ComponentChildren;
  /** What the page shows, for its age and for loading it again. */
  readonly resource: Resource<unknown>;
}

/**
 * Title of a page, the age of its data, and a button that reloads them. No busy button is ever
 * disabled, because the browser would move the focus away from it.
 */
export function PageHead({ title, about, resource: { at, isLoading, reload } }: PageHeadProps): JSX.Element {
  const say = useSay();
  return (
    <header class="page-head">
      <h1 tabIndex={-1}>{title}</h1>
      {about !== undefined && <span class="about">{about}</span>}
      <span class="age quiet">
        {/* A screen reader says that it loads, and not how old the data are every few seconds. */}
        <span role="status">{isLoading && say('common.loading')}</span>
        {!isLoading && at !== undefined && (
          <Phrase of="common.loaded" values={{ time: <Time at={new Date(at).toISOString()} /> }} />
        )}
      </span>
      <button type="button" onClick={() => !isLoading && reload()} aria-disabled={isLoading}>
        {say('common.reload')}
      </button>
    </header>
  );
}
