import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { type Problem, problemOf } from '../api.js';
import { reloadAll } from '../session.js';
import { showToast } from '../toasts.js';
import { ProblemNote } from './problem-note.js';

interface ChangeButtonProps {
  readonly label: string;
  /** What the toast says afterwards. */
  readonly done: string;
  readonly change: () => Promise<unknown>;
  /** The inverse, if there is one. */
  readonly undo?: (() => Promise<void>) | undefined;
  readonly isPrimary?: boolean;
}

/**
 * Makes a change at once, which the user can undo. Changes without undo need a confirmation first.
 */
export function ChangeButton({ label, done, change, undo, isPrimary = false }: ChangeButtonProps): JSX.Element {
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setBusy] = useState(false);
  const run = async (): Promise<void> => {
    if (isBusy) return;
    setBusy(true);
    setProblem(undefined);
    try {
      await change();
      showToast({ text: done, ...(undo === undefined ? {} : { undo }) });
      reloadAll();
    } catch (error) {
      const found = problemOf(error);
      setProblem(found);
      // Another user was faster: show the current version.
      if (found.name === 'changed-meanwhile') reloadAll();
    }
    setBusy(false);
  };
  return (
    <>
      <button type="button" class={isPrimary ? 'primary' : undefined} aria-disabled={isBusy} onClick={() => void run()}>
        {label}
      </button>
      {problem !== undefined && <ProblemNote problem={problem} />}
    </>
  );
}
