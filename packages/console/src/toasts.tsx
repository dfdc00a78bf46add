/** Notices about completed actions, until the user has read them, with an undo if possible. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { problemOf } from './api.js';
import { ProblemNote } from './parts/problem-note.js';
import { useSay } from './phrase.js';
import { reloadAll } from './session.js';
import { Store, useStore } from './store.js';

interface Toast {
  readonly text: string;
  /** Does the inverse. Without it there is none. */
  readonly undo?: () => Promise<void>;
}

/** Maximum of notices: older ones have been read, or the user is away. */
const MAX_TOASTS = 3;
const toasts = new Store<readonly Toast[]>([]);

export function showToast(toast: Toast): void {
  toasts.set([...toasts.value, toast].slice(-MAX_TOASTS));
}

function removeToast(toast: Toast): void {
  toasts.set(toasts.value.filter((one) => one !== toast));
}

/** For the next person: what was done is not theirs to undo. */
export function clearToasts(): void {
  toasts.set([]);
}

/** A dialog that fills the screen blocks everything outside of it, so it contains the notices. */
export const areToastsInDrawer: Store<boolean> = new Store(false);

export function ToastsOutside(): JSX.Element {
  return useStore(areToastsInDrawer) ? <></> : <Toasts />;
}

export function Toasts(): JSX.Element {
  const shown = useStore(toasts);
  return (
    <div class="toasts" role="status">
      {shown.map((toast) => (
        <ToastView key={toast} toast={toast} />
      ))}
    </div>
  );
}

function ToastView({ toast }: { readonly toast: Toast }): JSX.Element {
  const say = useSay();
  const [error, setError] = useState<unknown>();
  const [isBusy, setBusy] = useState(false);
  const undo = async (): Promise<void> => {
    if (isBusy) return;
    setBusy(true);
    try {
      await toast.undo?.();
      removeToast(toast);
      reloadAll();
    } catch (thrown) {
      setError(thrown);
      // Another user was faster: show the current version.
      if (problemOf(thrown).name === 'changed-meanwhile') reloadAll();
    }
    setBusy(false);
  };
  return (
    <div class="toast">
      <span>{toast.text}</span>
      {toast.undo !== undefined && error === undefined && (
        <button type="button" aria-disabled={isBusy} onClick={() => void undo()}>
          {say('common.undo')}
        </button>
      )}
      <button type="button" class="plain" aria-label={say('common.close')} onClick={() => removeToast(toast)}>
        ✕
      </button>
      {error !== undefined && <ProblemNote problem={problemOf(error)} />}
    </div>
  );
}
