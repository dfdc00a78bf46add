import type { JSX } from 'preact';
import { reloadAll } from '../session.js';
import { useSubmit } from '../submit.js';
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
  const { isBusy, problem, submit } = useSubmit();
  const run = async (): Promise<void> => {
    await change();
    showToast({ text: done, ...(undo === undefined ? {} : { undo }) });
    reloadAll();
  };
  return (
    <>
      <button type="button" class={isPrimary ? 'primary' : undefined} aria-disabled={isBusy} onClick={() => void submit(run)}>
        {label}
      </button>
      {problem !== undefined && <ProblemNote problem={problem} />}
    </>
  );
}
