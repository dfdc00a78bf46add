/** Details of one resource: next to the page if the screen is wide enough, otherwise over it. */

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { setParameters } from './navigation.js';
import { useSay } from './phrase.js';
import { useStore } from './store.js';
import { areToastsInDrawer, Toasts } from './toasts.js';
import type { Opened } from './url-state.js';

const BESIDE = '(min-width: 64rem)';

/** What a link to a thing has, so that the focus finds the way back to it. */
export function openerOf({ kind, id }: Opened): string {
  return `${kind} ${id}`;
}

/** Closes the drawer, and gives the focus back to the link that opened it. */
export function closeDrawer(opened: Opened): void {
  setParameters({ node: null, open: null });
  // Once the drawer is gone.
  requestAnimationFrame(() => {
    const opener = document.querySelector<HTMLElement>(`main [data-opens="${openerOf(opened)}"]`);
    (opener ?? document.querySelector<HTMLElement>('main h1'))?.focus();
  });
}

interface DrawerProps {
  readonly opened: Opened;
  readonly title: string;
  readonly badge: ComponentChildren;
  readonly isBusy: boolean;
  readonly children: ComponentChildren;
}

export function Drawer({ opened, title, badge, isBusy, children }: DrawerProps): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const hasToasts = useStore(areToastsInDrawer);
  const close = (): void => closeDrawer(opened);
  useEffect(() => {
    const element = dialog.current;
    const isBeside = matchMedia(BESIDE).matches;
    if (isBeside) element?.show();
    else element?.showModal();
    areToastsInDrawer.set(!isBeside);
    return () => {
      element?.close();
      areToastsInDrawer.set(false);
    };
  }, []);
  useEffect(() => {
    dialog.current?.scrollTo(0, 0);
    heading.current?.focus();
  }, [opened.kind, opened.id]);
  return (
    <dialog
      ref={dialog}
      class="drawer"
      aria-labelledby="drawer-title"
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
    >
      <div class="head-bar">
        <h2 id="drawer-title" ref={heading} tabIndex={-1}>
          {title} <code>{opened.id}</code>
        </h2>
        {badge}
        <button type="button" class="plain" aria-label={say('common.close')} onClick={close}>
          ✕
        </button>
      </div>
      <div class="content" aria-busy={isBusy}>
        {children}
      </div>
      {hasToasts && <Toasts />}
    </dialog>
  );
}
