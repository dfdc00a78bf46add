/** Signing in: with a password, or with the one-time link of an administrator. */

import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, problemOf, request } from './api.js';
import { navigate } from './navigation.js';
import { Command } from './parts/copy.js';
import { ProblemNote } from './parts/problem-note.js';
import { ProviderLink } from './parts/provider-link.js';
import { useSay } from './phrase.js';
import { type AnswerState, handOverAnswer, type StartedSignIn } from './provider-tab.js';
import { beginSession, keepProviderSecret, signOut, takeProviderPage, takeProviderSecret, type User } from './session.js';
import { useSubmit } from './submit.js';
import type { StringKey } from './strings/index.js';

interface SignedIn extends User {
  readonly secret: string;
}

/**
 * Timeout of a page that hands over an answer: after it, the page says that no other page took it.
 */
const ANSWER_TAKEN_MS = 5_000;

/** The whole page, while nobody is signed in. */
export function SignInPage(): JSX.Element {
  const say = useSay();
  return (
    <main class="sign-in-page">
      <SignInTitle of="sign-in.title" />
      <SignInForm />
      <ProviderButton />
      <details>
        <summary>{say('sign-in.first')}</summary>
        <Command words={['latchkey-auth-server', 'user', 'add', 'NAME', '--role', 'admin']} />
      </details>
    </main>
  );
}

/** Over the page, which stays as it is until its session goes on. */
export function SignInAgain({ user }: { readonly user: User | undefined }): JSX.Element {
  const say = useSay();
  const dialog = useRef<HTMLDialogElement>(null);
  const isThere = useRef(true);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => {
      isThere.current = false;
      element?.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class="modal"
      aria-labelledby="sign-in-again-title"
      // Nothing behind it works without a session. Chromium lets a page prevent one Escape only.
      onCancel={(event) => event.preventDefault()}
      onClose={() => isThere.current && dialog.current?.showModal()}
    >
      <h2 id="sign-in-again-title">{say('sign-in.title')}</h2>
      <p>{say('sign-in.ended')}</p>
      {user?.sign_in === 'oidc' ? (
        <ProviderSignInAgain user={user} />
      ) : (
        <SignInForm {...(user === undefined ? {} : { user: user.user })} />
      )}
      {/* It leaves the page, where nobody has typed anything yet. */}
      {user === undefined && <ProviderButton />}
      <button type="button" class="plain" onClick={signOut}>
        {say('sign-in.other-user')}
      </button>
    </dialog>
  );
}

function SignInTitle({ of: key }: { readonly of: StringKey }): JSX.Element {
  const say = useSay();
  return (
    <>
      <p class="brand">
        <img src="/assets/icon.svg" alt="" width={24} height={24} /> {say('app.name')}
      </p>
      <h1>{say(key)}</h1>
    </>
  );
}

function SignInForm({ user: known }: { readonly user?: string }): JSX.Element {
  const say = useSay();
  const [user, setUser] = useState(known ?? '');
  const [password, setPassword] = useState('');
  const { problem, isBusy, submit } = useSignIn(
    '/v1/login',
    () => ({ user: user.trim(), password }),
    () => setPassword(''),
  );
  return (
    <form class="stack" onSubmit={submit} noValidate>
      <Field label="sign-in.user">
        <input
          name="user"
          autoComplete="username"
          autoCapitalize="off"
          spellcheck={false}
          required
          maxLength={32}
          readOnly={known !== undefined}
          autoFocus={known === undefined}
          value={user}
          onInput={(event) => setUser(event.currentTarget.value)}
        />
      </Field>
      <Field label="sign-in.password">
        <input
          name="password"
          type="password"
          autoComplete="current-password"
          required
          maxLength={1024}
          autoFocus={known !== undefined}
          value={password}
          onInput={(event) => setPassword(event.currentTarget.value)}
        />
      </Field>
      {problem !== undefined && <SignInProblem problem={problem} refused="sign-in.refused" />}
      <button type="submit" class="primary" aria-disabled={isBusy}>
        {say('sign-in.submit')}
      </button>
    </form>
  );
}

/** Goes to the sign-in provider, where the server has one. */
function ProviderButton(): JSX.Element | null {
  const say = useSay();
  const [isThere, setIsThere] = useState(false);
  const [problem, setProblem] = useState<Problem>();
  useEffect(() => {
    // Without an answer there is the password.
    request<{ readonly oidc: boolean }>('/v1/login').then(
      ({ oidc }) => setIsThere(oidc),
      () => undefined,
    );
  }, []);
  const go = async (): Promise<void> => {
    try {
      const started = await request<StartedSignIn>('/v1/login/oidc', { method: 'POST', body: {} });
      keepProviderSecret(started.secret);
      location.assign(started.location);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  if (!isThere) return null;
  return (
    <div class="stack">
      {problem !== undefined && <ProblemNote problem={problem} />}
      <button type="button" onClick={() => void go()}>
        {say('sign-in.provider')}
      </button>
    </div>
  );
}

/** At the provider, in another tab: what was typed in this page stays. */
function ProviderSignInAgain({ user: before }: { readonly user: User }): JSX.Element {
  return (
    <div class="stack">
      <ProviderLink
        begin={() => request('/v1/login/oidc', { method: 'POST', body: {} })}
        finish={async (body) => {
          const { secret, ...user } = await request<SignedIn>('/v1/login/oidc/callback', { method: 'POST', body });
          // The page below is the former person's.
          if (user.user !== before.user) navigate('/', { replace: true });
          beginSession(secret, user);
        }}
      />
    </div>
  );
}

/** The provider has sent the browser back here. */
export function ProviderPage({ answer }: { readonly answer: string }): JSX.Element {
  const [secret] = useState(takeProviderSecret);
  return (
    <main class="sign-in-page">
      <SignInTitle of="sign-in.title" />
      {secret === '' ? <HandOverAnswer answer={answer} /> : <FinishSignIn answer={answer} secret={secret} />}
    </main>
  );
}

/** Another page has begun the sign-in, and ends it. */
function HandOverAnswer({ answer }: { readonly answer: string }): JSX.Element {
  const say = useSay();
  const [state, setState] = useState<AnswerState>();
  const [isLate, setLate] = useState(false);
  useEffect(() => handOverAnswer(answer, setState), [answer]);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), ANSWER_TAKEN_MS);
    return () => clearTimeout(timer);
  }, []);
  if (typeof state === 'object')
    return (
      <>
        <SignInProblem problem={state} refused="sign-in.provider-refused" />
        <p>{say('sign-in.tab-back')}</p>
      </>
    );
  if (state === 'accepted') return <p role="status">{say('sign-in.tab-done')}</p>;
  if (state === undefined && isLate)
    return (
      <>
        <p role="status">{say('sign-in.tab-late')}</p>
        <a href="/">{say('sign-in.title')}</a>
      </>
    );
  return <p role="status">{say('common.loading')}</p>;
}

interface FinishSignInProps {
  readonly answer: string;
  readonly secret: string;
}

function FinishSignIn({ answer, secret: providerSecret }: FinishSignInProps): JSX.Element {
  const say = useSay();
  const [problem, setProblem] = useState<Problem>();
  useEffect(() => {
    const finish = async (): Promise<void> => {
      try {
        const body = { secret: providerSecret, query: answer };
        const { secret, ...user } = await request<SignedIn>('/v1/login/oidc/callback', { method: 'POST', body });
        navigate(takeProviderPage(), { replace: true });
        beginSession(secret, user);
      } catch (error) {
        setProblem(problemOf(error));
      }
    };
    // An answer is good once.
    void finish();
  }, []);
  if (problem === undefined) return <p role="status">{say('common.loading')}</p>;
  return (
    <>
      <SignInProblem problem={problem} refused="sign-in.provider-refused" />
      <a href="/">{say('sign-in.title')}</a>
    </>
  );
}

/** Sets the first password of a user, with the token of a one-time link. */
export function LinkPage({ token }: { readonly token: string }): JSX.Element {
  const say = useSay();
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const differ = again !== '' && again !== password;
  const { problem, isBusy, submit } = useSignIn(
    '/v1/login/link',
    () => ({ token, password }),
    () => navigate('/', { replace: true }),
  );
  return (
    <main class="sign-in-page">
      <SignInTitle of="link.title" />
      <p>{say('link.about')}</p>
      <form class="stack" onSubmit={differ ? (event) => event.preventDefault() : submit} noValidate>
        <Field label="link.new-password">
          <input
            type="password"
            autoComplete="new-password"
            required
            maxLength={1024}
            autoFocus
            value={password}
            onInput={(event) => setPassword(event.currentTarget.value)}
          />
        </Field>
        <Field label="link.again">
          <input
            type="password"
            autoComplete="new-password"
            required
            maxLength={1024}
            value={again}
            onInput={(event) => setAgain(event.currentTarget.value)}
          />
        </Field>
        {differ && (
          <p class="field-error" role="alert">
            {say('link.differ')}
          </p>
        )}
        {problem !== undefined && <SignInProblem problem={problem} refused="link.refused" />}
        {problem?.name === 'not-authenticated' && <Command words={['latchkey-auth-server', 'user', 'link', 'NAME']} />}
        <button type="submit" class="primary" disabled={differ || again === ''} aria-disabled={isBusy}>
          {say('link.submit')}
        </button>
      </form>
    </main>
  );
}

function Field({ label, children }: { readonly label: StringKey; readonly children: ComponentChildren }): JSX.Element {
  const say = useSay();
  return (
    <label>
      <span>{say(label)}</span>
      {children}
    </label>
  );
}

function SignInProblem({ problem, refused }: { readonly problem: Problem; readonly refused: StringKey }): JSX.Element {
  const say = useSay();
  if (problem.name !== 'not-authenticated') return <ProblemNote problem={problem} />;
  return (
    <p class="note bad" role="alert">
      {say(refused)}
    </p>
  );
}

interface SignIn {
  readonly problem: Problem | undefined;
  readonly isBusy: boolean;
  readonly submit: (event: Event) => void;
}

function useSignIn(path: string, body: () => object, onDone: () => void): SignIn {
  const { isBusy, problem, submit } = useSubmit();
  const signIn = async (): Promise<void> => {
    const { secret, ...user } = await request<SignedIn>(path, { method: 'POST', body: body() });
    onDone();
    beginSession(secret, user);
  };
  return {
    problem,
    isBusy,
    submit(event) {
      event.preventDefault();
      void submit(signIn);
    },
  };
}
