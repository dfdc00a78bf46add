/** Signs in a command on another machine, by the code that it shows. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { type Problem, request } from '../api.js';
import { formatDuration } from '../format.js';
import { Rows } from '../parts/fact-list.js';
import { errorAt, FormField } from '../parts/form-field.js';
import { None } from '../parts/none.js';
import { ProblemNote } from '../parts/problem-note.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';
import { useSubmit } from '../submit.js';
import { TOKEN_SCOPES, type TokenScope } from '../token-request.js';

/** What a command says of itself, and where it is. */
interface LoginView {
  readonly code: string;
  readonly machine: string;
  readonly context: string;
  readonly address: string | null;
  readonly asked_at: string;
  readonly lifetime_seconds: number;
  readonly scopes: readonly TokenScope[];
}

type Shown =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'found'; readonly login: LoginView }
  | { readonly kind: 'confirmed' | 'refused'; readonly machine: string };

export function CodePage(): JSX.Element {
  const say = useSay();
  const [shown, setShown] = useState<Shown>({ kind: 'nothing' });
  return (
    <>
      <h1 tabIndex={-1}>{say('page.code')}</h1>
      <p class="quiet">{say('code.about')}</p>
      <p role="status">
        {(shown.kind === 'confirmed' || shown.kind === 'refused') && say(`code.${shown.kind}`, { machine: shown.machine })}
      </p>
      {shown.kind === 'found' ? (
        <Decision
          key={shown.login.code}
          login={shown.login}
          onDecided={(kind) => setShown({ kind, machine: shown.login.machine })}
        />
      ) : (
        <CodeForm onFound={(login) => setShown({ kind: 'found', login })} />
      )}
    </>
  );
}

function CodeForm({ onFound }: { readonly onFound: (login: LoginView) => void }): JSX.Element {
  const say = useSay();
  const [code, setCode] = useState('');
  const { isBusy, problem, submit } = useSubmit();
  const find = async (): Promise<void> =>
    onFound(await request<LoginView>('/v1/login/command/find', { method: 'POST', body: { code } }));
  return (
    <form
      class="stack narrow"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(find);
      }}
    >
      <FormField label="code.code" error={errorAt(problem?.errors, 'code')}>
        {(control) => (
          <input
            {...control}
            required
            maxLength={32}
            placeholder="BCDF-GHJK"
            autoComplete="off"
            autoCapitalize="characters"
            spellcheck={false}
            value={code}
            onInput={(event) => setCode(event.currentTarget.value)}
          />
        )}
      </FormField>
      <CodeProblem problem={problem} />
      <div class="buttons">
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say('code.find')}
        </button>
      </div>
    </form>
  );
}

function CodeProblem({ problem }: { readonly problem: Problem | undefined }): JSX.Element {
  const say = useSay();
  if (problem === undefined) return <></>;
  if (problem.name !== 'not-found') return <ProblemNote problem={problem} />;
  return (
    <p class="note bad" role="alert">
      {say('code.unknown')}
    </p>
  );
}

interface DecisionProps {
  readonly login: LoginView;
  readonly onDecided: (kind: 'confirmed' | 'refused') => void;
}

function Decision({ login, onDecided }: DecisionProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const { code, machine, context, address, asked_at: askedAt, lifetime_seconds: lifetime } = login;
  const [scopes, setScopes] = useState(login.scopes);
  const { isBusy, problem, submit } = useSubmit();
  const confirm = async (): Promise<void> => {
    await request('/v1/login/command/confirm', { method: 'POST', body: { code, scopes } });
    onDecided('confirmed');
  };
  const refuse = async (): Promise<void> => {
    await request('/v1/login/command/refuse', { method: 'POST', body: { code } });
    onDecided('refused');
  };
  return (
    <form
      class="stack narrow"
      onSubmit={(event) => {
        event.preventDefault();
        void submit(confirm);
      }}
    >
      <p class="note mild">{say('code.warning')}</p>
      <Rows
        rows={[
          ['code.code', <code>{code}</code>],
          ['code.address', address === null ? <None /> : <code>{address}</code>],
          ['code.machine', <code>{machine}</code>],
          ['code.context', <code>{context}</code>],
          ['code.asked', <Time at={askedAt} as="both" />],
          ['code.lifetime', formatDuration(lifetime, locale)],
        ]}
      />
      <fieldset>
        <legend>{say('code.rights')}</legend>
        {login.scopes.length === 0 && <p>{say('code.none-allowed')}</p>}
        {login.scopes.map((scope) => (
          <label key={scope} class="check">
            <input
              type="checkbox"
              checked={scopes.includes(scope)}
              onChange={(event) => {
                const { checked } = event.currentTarget;
                setScopes(TOKEN_SCOPES.filter((one) => (one === scope ? checked : scopes.includes(one))));
              }}
            />{' '}
            {say(`tokens.scope-${scope}`)}
          </label>
        ))}
      </fieldset>
      <CodeProblem problem={problem} />
      <div class="buttons">
        <button type="button" onClick={() => void submit(refuse)}>
          {say('code.refuse')}
        </button>
        <button type="submit" class="primary" disabled={scopes.length === 0} aria-disabled={isBusy}>
          {say('code.confirm')}
        </button>
      </div>
    </form>
  );
}
