/** The frame of every page: navigation, the why box, the drawer, and who is signed in. */

import type { JSX } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { forgetDrafts } from './kept-drafts.js';
import { KeyHelp, pagesOf, useKeyboard } from './keyboard.js';
import { Menu } from './menu.js';
import { LaterPageContent } from './later-page.js';
import { navigate, useLocation } from './navigation.js';
import { NodeDrawer } from './node-drawer.js';
import { ControllerDrawer, ControllersPage } from './pages/controllers.js';
import { NodesPage } from './pages/nodes.js';
import { OrderPage } from './pages/order.js';
import { OrderDrawer, OrdersPage } from './pages/orders.js';
import { OverviewPage } from './pages/overview.js';
import { StepUpDialog } from './step-up-dialog.js';
import { useSay } from './phrase.js';
import { useResource } from './resource.js';
import { setUser, useSession, type User } from './session.js';
import { LinkPage, ProviderPage, SignInAgain, SignInPage } from './sign-in.js';
import { clearToasts, ToastsOutside } from './toasts.js';
import { openedOf, orderOf, type Page, pageOf, sectionOf, SIGN_IN_PATH } from './url-state.js';
import { WhyBox } from './why-box.js';

interface AppProps {
  /** Of the one-time link that opened this page. */
  readonly linkToken: string | undefined;
  /** With which a sign-in provider opened this page. */
  readonly providerAnswer: string | undefined;
}

export function App({ linkToken, providerAnswer }: AppProps): JSX.Element {
  const session = useSession();
  const { path } = useLocation();
  if (linkToken !== undefined && path === SIGN_IN_PATH) return <LinkPage token={linkToken} />;
  if (providerAnswer !== undefined && path === SIGN_IN_PATH) return <ProviderPage answer={providerAnswer} />;
  if (session.state === 'signed-out') return <SignInPage />;
  return (
    <>
      <Shell user={session.user} />
      {session.state === 'ended' && <SignInAgain user={session.user} />}
    </>
  );
}

function Shell({ user }: { readonly user: User | undefined }): JSX.Element {
  const say = useSay();
  const { path, query } = useLocation();
  const page = pageOf(path === SIGN_IN_PATH ? '/' : path);
  const opened = openedOf(path, query);
  const [showsHelp, setShowsHelp] = useState(false);
  const main = useRef<HTMLElement>(null);
  useKeyboard(useCallback(() => setShowsHelp(true), []));
  // What one person did is not for the next to undo, and what one typed is not for the next.
  useEffect(
    () => () => {
      clearToasts();
      forgetDrafts();
    },
    [user?.user],
  );
  const isInstaller = user?.role === 'installer';
  useEffect(() => {
    if (isInstaller && path === '/') navigate('/install', { replace: true });
  }, [isInstaller, path]);
  const title = page === undefined ? say('app.not-found') : say(`page.${page}`);
  useEffect(() => {
    const parts = [...(opened === undefined ? [] : [opened.id]), title, say('app.name')];
    document.title = parts.join(' · ');
  });
  const isFirst = useRef(true);
  useEffect(() => {
    // A screen reader then says the new page's title.
    if (!isFirst.current) main.current?.querySelector<HTMLElement>('h1')?.focus();
    isFirst.current = false;
  }, [path]);
  // It follows the user, the language and the like by itself.
  const content = useMemo(() => <PageContent page={page} path={path} />, [page, path]);
  return (
    <>
      <UserUpdate />
      <a class="skip" href="#main" onClick={(event) => focusMain(event, main.current)}>
        {say('app.skip')}
      </a>
      <header class="top">
        <a class="brand" href="/">
          <img src="/assets/icon.svg" alt="" width={24} height={24} /> {say('app.name')}
        </a>
        <nav aria-label={say('app.navigation')}>
          {pagesOf(user).map(({ page: one, path: target, key }) => (
            <a key={one} href={target} aria-current={one === sectionOf(page) ? 'page' : undefined} aria-keyshortcuts={`g ${key}`}>
              {say(`page.${one}`)}
            </a>
          ))}
        </nav>
        <WhyBox />
        <Menu user={user} onHelp={() => setShowsHelp(true)} />
      </header>
      <div class={opened === undefined ? 'body' : 'body with-drawer'}>
        <main id="main" ref={main} tabIndex={-1}>
          {content}
        </main>
        {opened?.kind === 'node' && <NodeDrawer id={opened.id} />}
        {opened?.kind === 'order' && <OrderDrawer id={opened.id} />}
        {opened?.kind === 'controller' && <ControllerDrawer id={opened.id} />}
      </div>
      <ToastsOutside />
      <StepUpDialog user={user} />
      {showsHelp && <KeyHelp user={user} onClose={() => setShowsHelp(false)} />}
    </>
  );
}

/**
 * Loads the session's user before the page loads its data. The content of the page depends on the
 * user, so it would be rendered twice.
 */
function UserUpdate(): null {
  const { data } = useResource<User>('/v1/me');
  useLayoutEffect(() => {
    if (data !== undefined) setUser(data);
  }, [data]);
  return null;
}

function focusMain(event: Event, main: HTMLElement | null): void {
  event.preventDefault();
  main?.focus();
}

interface PageContentProps {
  readonly page: Page | undefined;
  readonly path: string;
}

function PageContent({ page, path }: PageContentProps): JSX.Element {
  const say = useSay();
  switch (page) {
    case 'overview':
      return <OverviewPage />;
    case 'nodes':
      return <NodesPage />;
    case 'orders':
      return <OrdersPage />;
    case 'controllers':
      return <ControllersPage />;
    case 'order':
      return <OrderPage id={orderOf(path) ?? ''} />;
    case undefined:
      return (
        <>
          <h1 tabIndex={-1}>{say('app.not-found')}</h1>
          <p>
            <a href="/">{say('app.not-found-advice')}</a>
          </p>
        </>
      );
    default:
      return <LaterPageContent page={page} />;
  }
}
