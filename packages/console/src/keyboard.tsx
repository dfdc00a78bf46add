/** Keys that work on every page, and the table that shows them. */

import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { currentLocation, navigate } from './navigation.js';
import { closeDrawer, openerOf } from './drawer.js';
import { useSay } from './phrase.js';
import { currentPreferences } from './preferences.js';
import { reloadAll, type User } from './session.js';
import { type MenuPage, type Opened, openedOf, type Page } from './url-state.js';
import { WHY_BOX } from './why-box.js';

/** After `g`, the letter of a page; for so long, in ms. */
const SEQUENCE_MS = 1_500;

export const PAGES: readonly { readonly page: Page; readonly path: string; readonly key: string }[] = [
  { page: 'overview', path: '/', key: 'o' },
  { page: 'nodes', path: '/nodes', key: 'n' },
  { page: 'orders', path: '/orders', key: 'r' },
  { page: 'controllers', path: '/controllers', key: 'c' },
  { page: 'waiting', path: '/waiting', key: 'w' },
  { page: 'audit', path: '/audit', key: 'a' },
  { page: 'install', path: '/install', key: 'i' },
];

/** What an installer sees: the own orders and their nodes. */
const INSTALLERS_PAGES: ReadonlySet<Page> = new Set(['nodes', 'orders', 'install']);

export function pagesOf(user: User | undefined): typeof PAGES {
  return PAGES.filter(({ page }) => user?.role !== 'installer' || INSTALLERS_PAGES.has(page));
}

/** Of the user's menu. `scope`: who may see them. */
export const MENU_PAGES: readonly {
  readonly page: MenuPage;
  readonly path: string;
  readonly key: string;
  readonly scope: string;
}[] = [
  { page: 'jobs', path: '/jobs', key: 'j', scope: 'nodes' },
  { page: 'calendar', path: '/calendar', key: 'k', scope: 'read' },
  { page: 'exposure', path: '/exposure', key: 'e', scope: 'read' },
  { page: 'installers', path: '/installers', key: 'l', scope: 'orders' },
  { page: 'users', path: '/users', key: 'u', scope: 'admin' },
  { page: 'tokens', path: '/tokens', key: 't', scope: 'read' },
  { page: 'account', path: '/account', key: 's', scope: 'read' },
];

/** An installer sees the own orders only: no page about all of them. */
export function menuPagesOf(user: User | undefined): typeof MENU_PAGES {
  return MENU_PAGES.filter(
    ({ page, scope }) => user?.scopes.includes(scope) === true && (user.role !== 'installer' || page === 'account'),
  );
}

/** Handles the keys of the console; `onHelp` shows the table of them. */
export function useKeyboard(onHelp: () => void): void {
  useEffect(() => {
    let sequenceUntil = 0;
    const listen = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (event.key === 'Escape') return handleEscape(event);
      if (isTyping(event.target) || document.querySelector('dialog:modal:not(.drawer)') !== null) return;
      if (!currentPreferences().shortcuts) return;
      const inSequence = event.timeStamp < sequenceUntil;
      sequenceUntil = 0;
      if (inSequence) {
        const target = [...PAGES, ...MENU_PAGES].find(({ key }) => key === event.key);
        if (target !== undefined) handle(event, () => navigate(target.path));
        return;
      }
      if (event.key === 'g') sequenceUntil = event.timeStamp + SEQUENCE_MS;
      else if (event.key === '/') handle(event, () => document.getElementById(WHY_BOX)?.focus());
      else if (event.key === '?') handle(event, onHelp);
      else if (event.key === 'r') handle(event, reloadAll);
      else if (event.key === 'j' || event.key === 'k') handle(event, () => moveInList(event.key === 'j' ? 1 : -1));
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  }, [onHelp]);
}

function handle(event: KeyboardEvent, action: () => void): void {
  event.preventDefault();
  action();
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input:not([type=checkbox]), select, textarea');
}

/** A modal dialog closes by itself. The drawer closes after the field that has the focus. */
function handleEscape(event: KeyboardEvent): void {
  if (document.querySelector('dialog:modal') !== null) return;
  if (isTyping(event.target) && event.target instanceof HTMLElement) {
    event.target.blur();
    return;
  }
  const opened = currentlyOpened();
  if (opened !== undefined) handle(event, () => closeDrawer(opened));
}

function currentlyOpened(): Opened | undefined {
  const { path, query } = currentLocation();
  return openedOf(path, query);
}

/** Opens the row before or after the open one, or moves the focus along the list. */
function moveInList(step: number): void {
  const links = [...document.querySelectorAll<HTMLAnchorElement>('main tbody th a[data-opens]')];
  const open = currentlyOpened();
  const current = links.findIndex((link) =>
    open === undefined ? link === document.activeElement : link.dataset['opens'] === openerOf(open),
  );
  const next = links[current === -1 ? 0 : current + step];
  if (next === undefined) return;
  if (open === undefined) next.focus();
  else next.click();
  next.scrollIntoView({ block: 'nearest' });
}

interface KeyHelpProps {
  /** The table has the pages that the user may see. */
  readonly user: User | undefined;
  readonly onClose: () => void;
}

export function KeyHelp({ user, onClose }: KeyHelpProps): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const rows: readonly (readonly [readonly string[], string])[] = [
    [['/'], say('keys.search')],
    ...[...pagesOf(user), ...menuPagesOf(user)].map(
      ({ page, key }) => [['g', key], say('keys.go', { page: say(`page.${page}`) })] as const,
    ),
    [['j', 'k'], say('keys.rows')],
    [['r'], say('keys.reload')],
    [['?'], say('keys.help')],
    [['Esc'], say('keys.close')],
  ];
  return (
    <dialog ref={dialog} class="modal" aria-labelledby="keys-title" onClose={onClose}>
      <h2 id="keys-title">{say('keys.title')}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">{say('keys.key')}</th>
            <th scope="col">{say('keys.does')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([keys, does]) => (
            <tr key={does}>
              <td>
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </td>
              <td>{does}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <form method="dialog">
        <button type="submit">{say('common.close')}</button>
      </form>
    </dialog>
  );
}
