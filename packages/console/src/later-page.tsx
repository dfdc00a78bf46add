/** A page that is no part of the first one. It is loaded when somebody opens such a page. */

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type * as LaterPages from './pages/later-pages.js';
import { ProblemNote } from './parts/problem-note.js';
import { useSay } from './phrase.js';
import type { LaterPage } from './url-state.js';

let loaded: typeof LaterPages | undefined;

/**
 * Whether the server answers. It then has other files than when this page was loaded: it was
 * upgraded since.
 */
async function isServed(): Promise<boolean> {
  try {
    return (await fetch('/', { cache: 'no-store' })).ok;
  } catch {
    return false;
  }
}

export function LaterPageContent({ page }: { readonly page: LaterPage }): JSX.Element {
  const say = useSay();
  const [pages, setPages] = useState(loaded);
  const [failed, setFailed] = useState<'unreachable' | 'outdated'>();
  const load = async (): Promise<void> => {
    setFailed(undefined);
    try {
      loaded = await import('./pages/later-pages.js');
      const hadFocus = document.activeElement?.matches('main h1') === true;
      setPages(loaded);
      // The title of the page takes the place of the one that had the focus.
      if (hadFocus) requestAnimationFrame(() => document.querySelector<HTMLElement>('main h1')?.focus());
    } catch {
      setFailed((await isServed()) ? 'outdated' : 'unreachable');
    }
  };
  useEffect(() => {
    if (pages === undefined) void load();
  }, []);
  if (pages === undefined)
    return (
      <>
        <h1 tabIndex={-1}>{say(`page.${page}`)}</h1>
        {failed !== undefined && (
          <ProblemNote
            problem={{ name: failed, status: 0 }}
            retry={() => (failed === 'outdated' ? location.reload() : void load())}
          />
        )}
      </>
    );
  const Content = pages.LATER_PAGES[page];
  return <Content key={page} />;
}
