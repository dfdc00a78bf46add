import type { JSX } from 'preact';
import { useId, useRef, useState } from 'preact/hooks';
import { useSay } from '../phrase.js';
import { reloadAll } from '../session.js';
import { useSubmit } from '../submit.js';
import { showToast } from '../toasts.js';
import { ProblemNote } from './problem-note.js';

interface TypedConfirmationProps {
  readonly label: string;
  readonly title: string;
  readonly about: string;
  /** Text that the user must type. A mere click never does what cannot be undone. */
  readonly expected: string;
  readonly done: string;
  readonly change: () => Promise<unknown>;
}

/** A name may have blanks and accents that no keyboard has. */
function asTyped(text: string): string {
  return text.normalize('NFKC').replaceAll(/\s+/g, ' ').trim();
}

/** A button for a change without an inverse. */
export function TypedConfirmation({ label, title, about, expected, done, change }: TypedConfirmationProps): JSX.Element {
  const say = useSay();
  const titleId = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const { isBusy, problem, submit, clearProblem } = useSubmit();
  const run = async (): Promise<void> => {
    await change();
    dialog.current?.close();
    showToast({ text: done });
    reloadAll();
  };
  const forget = (): void => {
    setText('');
    clearProblem();
  };
  return (
    <>
      <button type="button" onClick={() => dialog.current?.showModal()}>
        {label}
      </button>
      <dialog ref={dialog} class="modal" aria-labelledby={titleId} onClose={forget}>
        <h2 id={titleId}>{title}</h2>
        <p>{about}</p>
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void submit(run);
          }}
        >
          <label>
            <span>{say('common.type-to-confirm', { expected })}</span>
            <input
              class="id"
              autoComplete="off"
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          {problem !== undefined && <ProblemNote problem={problem} />}
          <div class="buttons">
            <button type="button" onClick={() => dialog.current?.close()}>
              {say('common.cancel')}
            </button>
            <button type="submit" class="danger" disabled={asTyped(text) !== asTyped(expected)} aria-disabled={isBusy}>
              {label}
            </button>
          </div>
        </form>
      </dialog>
    </>
  );
}
