/** Asks for the password again, over the page, for the request that needs it. */

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf, request } from './api.js';
import { ProblemNote } from './parts/problem-note.js';
import { passwordPrompt, type PasswordPrompt } from './password-prompt.js';
import { useSay } from './phrase.js';
import type { User } from './session.js';
import { useStore } from './store.js';

export function PasswordDialog({ user }: { readonly user: User | undefined }): JSX.Element {
  const prompt = useStore(passwordPrompt);
  return prompt === undefined ? <></> : <OpenDialog key={prompt} prompt={prompt} user={user} />;
}

interface OpenDialogProps {
  readonly prompt: PasswordPrompt;
  readonly user: User | undefined;
}

function OpenDialog({ prompt, user }: OpenDialogProps): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  const [password, setPassword] = useState('');
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      // The page was left, or somebody signed out: no request may wait for ever.
      prompt.answer(false);
    };
  }, []);
  const submit = async (): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    try {
      await request('/v1/step-up', { method: 'POST', body: { password } });
      prompt.answer(true);
    } catch (error) {
      setProblem(problemOf(error));
    }
    setPassword('');
    setBusy(false);
  };
  return (
    <dialog
      ref={dialog}
      class="modal"
      aria-labelledby="password-title"
      onCancel={(event) => {
        event.preventDefault();
        prompt.answer(false);
      }}
    >
      <h2 id="password-title">{say('password.title')}</h2>
      <p>{say('password.about')}</p>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!isBusy) void submit();
        }}
      >
        <input type="text" name="user" autoComplete="username" value={user?.user ?? ''} readOnly hidden />
        <label>
          <span>{say('sign-in.password')}</span>
          <input
            name="password"
            type="password"
            autoComplete="current-password"
            required
            maxLength={1024}
            autoFocus
            value={password}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
        </label>
        {problem !== undefined &&
          (problem.name === 'step-up-refused' ? (
            <p class="note bad" role="alert">
              {say('password.refused')}
            </p>
          ) : (
            <ProblemNote problem={problem} />
          ))}
        <div class="buttons">
          <button type="button" onClick={() => prompt.answer(false)}>
            {say('common.cancel')}
          </button>
          <button type="submit" class="primary" disabled={isBusy}>
            {say('password.submit')}
          </button>
        </div>
      </form>
    </dialog>
  );
}
