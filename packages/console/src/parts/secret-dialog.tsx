import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useSay } from '../phrase.js';
import { CopyButton } from './copy.js';

interface SecretDialogProps {
  readonly title: string;
  readonly about: ComponentChildren;
  readonly secret: string;
  readonly onClose: () => void;
}

/** Shows what is in no other place: once the dialog is closed, another one must be made. */
export function SecretDialog({ title, about, secret, onClose }: SecretDialogProps): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="modal" aria-labelledby="secret-title" onClose={onClose}>
      <h2 id="secret-title">{title}</h2>
      <p>{about}</p>
      <p class="head">
        <code>{secret}</code>
      </p>
      <div class="buttons">
        <CopyButton text={secret}>{say('common.copy')}</CopyButton>
        <button type="button" onClick={() => dialog.current?.close()}>
          {say('common.close')}
        </button>
      </div>
    </dialog>
  );
}
