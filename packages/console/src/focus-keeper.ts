/**
 * Keeps the focus on the page. When the focused element is removed, for example a dismissed row, a
 * browser moves the focus to the document. A keyboard user would then have to pass the navigation
 * again.
 */

export function keepFocus(): void {
  let last: Element | undefined;
  /** The dialog around it, if there is one. */
  let dialog: HTMLDialogElement | null = null;
  document.addEventListener('focusin', ({ target }) => {
    if (!(target instanceof Element)) return;
    last = target;
    dialog = target.closest('dialog');
  });
  const give = (): void => {
    if (last?.isConnected !== false || document.activeElement !== document.body) return;
    last = undefined;
    const within = [document.querySelector('dialog:modal'), dialog].find((one) => one?.matches('[open]') && one.isConnected);
    const heading = (within ?? document).querySelector<HTMLElement>(within === undefined ? 'main h1' : 'h2');
    if (heading === null) return;
    heading.tabIndex = -1;
    heading.focus();
  };
  // Where the focus is moved on purpose, that happens before the next picture.
  const observer = new MutationObserver(() => {
    if (last?.isConnected === false) requestAnimationFrame(() => requestAnimationFrame(give));
  });
  observer.observe(document.body, { childList: true, subtree: true });
}
