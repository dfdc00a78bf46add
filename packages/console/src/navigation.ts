/** The URL of the page, and how it changes without loading the page again. */

import { Store, useStore } from './store.js';
import { urlOf, withParameters } from './url-state.js';

export interface Location {
  readonly path: string;
  readonly query: URLSearchParams;
}

const location = new Store<Location>(readLocation());

function readLocation(): Location {
  const { pathname, search } = globalThis.location;
  return { path: pathname, query: new URLSearchParams(search) };
}

export function useLocation(): Location {
  return useStore(location);
}

export function currentLocation(): Location {
  return location.value;
}

export function navigate(url: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  const { pathname, search } = globalThis.location;
  // The same page twice would need Back twice.
  if (replace || url === pathname + search) history.replaceState(null, '', url);
  else history.pushState(null, '', url);
  location.set(readLocation());
}

/** Changes parameters of the page's URL. */
export function setParameters(changes: Readonly<Record<string, string | null>>): void {
  const { path, query } = location.value;
  navigate(urlOf(path, withParameters(query, changes)));
}

/** Follows Back and Forward, and takes over clicks on links to pages of the console. */
export function startNavigation(): void {
  addEventListener('popstate', () => location.set(readLocation()));
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (link === null || link.target !== '' || link.origin !== globalThis.location.origin || link.hash !== '') return;
    event.preventDefault();
    navigate(link.pathname + link.search);
    if (link.dataset['opens'] === undefined) scrollTo(0, 0);
  });
}
