/** Dialog over the page that asks for the password again, for a request that needs a step-up. */

import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { request } from './api.js';
import { ProblemNote } from './parts/problem-note.js';
import { ProviderLink } from './parts/provider-link.js';
import { useSay } from './phrase.js';
import type { User } from './session.js';
import { useSubmit } from './submit.js';
import { openStepUp, type StepUp } from './step-up.js';
import { useStore } from './store.js';

export function StepUpDialog({ user }: { readonly user: User | undefined }): JSX.Element {
  const stepUp = useStore(openStepUp);
  return stepUp === undefined ? <></> : <OpenDialog key={stepUp} stepUp={stepUp} user={user} />;
}

interface OpenDialogProps {
  readonly stepUp: StepUp;
  readonly user: User | undefined;
}

function OpenDialog({ stepUp, user }: OpenDialogProps): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      // The page was left, or somebody signed out: no request may wait for ever.
      stepUp.answer(false);
    };
  }, []);
  const isAtProvider = user?.sign_in === 'oidc';
  return (
    <dialog
      ref={dialog}
      class="modal"
      aria-labelledby="step-up-title"
      onCancel={(event) => {
        event.preventDefault();
        stepUp.answer(false);
      }}
    >
      <h2 id="step-up-title">{say(isAtProvider ? 'step-up.title' : 'password.title')}</h2>
      <p>{say(isAtProvider ? 'step-up.about' : 'password.about')}</p>
      {isAtProvider ? <ProviderStepUp stepUp={stepUp} /> : <PasswordStepUp stepUp={stepUp} user={user} />}
    </dialog>
  );
}

function PasswordStepUp({ stepUp, user }: OpenDialogProps): JSX.Element {
  const say = useSay();
  const [password, setPassword] = useState('');
  const { isBusy, problem, submit } = useSubmit();
  const check = async (): Promise<void> => {
    // A password is typed anew each time.
    setPassword('');
    await request('/v1/step-up', { method: 'POST', body: { password } });
    stepUp.answer(true);
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(check);
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
        <button type="button" onClick={() => stepUp.answer(false)}>
          {say('common.cancel')}
        </button>
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say('password.submit')}
        </button>
      </div>
    </form>
  );
}

function ProviderStepUp({ stepUp }: { readonly stepUp: StepUp }): JSX.Element {
  const say = useSay();
  return (
    <div class="stack">
      <ProviderLink
        begin={() => request('/v1/step-up/oidc', { method: 'POST', body: {} })}
        finish={async (body) => {
          await request('/v1/step-up/oidc/callback', { method: 'POST', body });
          stepUp.answer(true);
        }}
      />
      <div class="buttons">
        <button type="button" onClick={() => stepUp.answer(false)}>
          {say('common.cancel')}
        </button>
      </div>
    </div>
  );
}
