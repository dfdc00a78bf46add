/** A page of the user's menu. It is loaded when somebody opens one for the first time. */

import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type * as MenuPages from './pages/menu-pages.js';
import { ProblemNote } from './parts/problem-note.js';
import { useSay } from './phrase.js';
import type { MenuPage } from './url-state.js';

let loaded: typeof MenuPages | undefined;

export function MenuPageContent({ page }: { readonly page: MenuPage }): JSX.Element {
  const say = useSay();
  const [pages, setPages] = useState(loaded);
  const [hasFailed, setFailed] = useState(false);
  const load = async (): Promise<void> => {
    setFailed(false);
    try {
      loaded = await import('./pages/menu-pages.js');
      const hadFocus = document.activeElement?.matches('main h1') === true;
      setPages(loaded);
      // The title of the page takes the place of the one that had the focus.
      if (hadFocus) requestAnimationFrame(() => document.querySelector<HTMLElement>('main h1')?.focus());
    } catch {
      setFailed(true);
    }
  };
  useEffect(() => {
    if (pages === undefined) void load();
  }, []);
  if (pages === undefined)
    return (
      <>
        <h1 tabIndex={-1}>{say(`page.${page}`)}</h1>
        {hasFailed && <ProblemNote problem={{ name: 'unreachable', status: 0 }} retry={() => void load()} />}
      </>
    );
  const { AccountPage, ExposurePage, JobsPage, UsersPage } = pages;
  switch (page) {
    case 'account':
      return <AccountPage />;
    case 'exposure':
      return <ExposurePage />;
    case 'jobs':
      return <JobsPage />;
    case 'users':
      return <UsersPage />;
  }
}
