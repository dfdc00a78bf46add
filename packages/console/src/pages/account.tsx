/** What a person does with the own sessions and password. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request } from '../api.js';
import { ACTIONS, type Column, ListTable } from '../parts/list-table.js';
import { ChangeButton } from '../parts/change-button.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { Time } from '../parts/time.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { reloadAll, useUser } from '../session.js';
import { useSubmit } from '../submit.js';
import type { StringKey } from '../strings/index.js';
import { showToast } from '../toasts.js';

interface SessionView {
  readonly id: string;
  readonly created_at: string;
  readonly last_used_at: string;
  readonly address: string | null;
  readonly is_current: boolean;
}

export function AccountPage(): JSX.Element {
  const say = useSay();
  const list = useResource<{ readonly items: readonly SessionView[] }>('/v1/sessions');
  const { data, problem } = list;
  const user = useUser();
  return (
    <>
      <PageHead title={say('page.account')} resource={list} />
      {problem !== undefined && <ProblemNote problem={problem} retry={list.reload} />}
      {data !== undefined && (
        <section aria-labelledby="sessions-title">
          <h2 id="sessions-title">{say('account.sessions')}</h2>
          <SessionTable sessions={data.items} />
        </section>
      )}
      {user?.sign_in === 'password' && <PasswordForm />}
    </>
  );
}

const COLUMNS: readonly Column[] = [
  { name: 'account.begun' },
  { name: 'account.used' },
  { name: 'account.from', class: 'wide' },
  ACTIONS,
];

function SessionTable({ sessions }: { readonly sessions: readonly SessionView[] }): JSX.Element {
  const say = useSay();
  return (
    <ListTable caption="account.caption" columns={COLUMNS}>
      {sessions.map(({ id, created_at: createdAt, last_used_at: usedAt, address, is_current: isCurrent }) => (
        <tr key={id}>
          <td>
            <Time at={createdAt} />
          </td>
          <td>
            <Time at={usedAt} />
          </td>
          <td class="wide">{address === null ? <None /> : <code>{address}</code>}</td>
          <td>
            {isCurrent ? (
              say('account.this-one')
            ) : (
              <ChangeButton
                label={say('account.end')}
                done={say('account.ended')}
                change={() => request(`/v1/sessions/${id}`, { method: 'DELETE' })}
              />
            )}
          </td>
        </tr>
      ))}
    </ListTable>
  );
}

function PasswordForm(): JSX.Element {
  const say = useSay();
  const [password, setPassword] = useState('');
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const { isBusy, problem, submit } = useSubmit();
  const differ = again !== '' && again !== next;
  const change = async (): Promise<void> => {
    await request('/v1/password', { method: 'POST', body: { password, new_password: next } });
    showToast({ text: say('account.changed') });
    reloadAll();
    setPassword('');
    setNext('');
    setAgain('');
  };
  return (
    <section aria-labelledby="password-form-title">
      <h2 id="password-form-title">{say('account.password')}</h2>
      <form
        class="stack narrow"
        onSubmit={(event) => {
          event.preventDefault();
          if (!differ) void submit(change);
        }}
      >
        <PasswordField label="account.old-password" autoComplete="current-password" value={password} onInput={setPassword} />
        <PasswordField label="link.new-password" autoComplete="new-password" value={next} onInput={setNext} />
        <PasswordField label="link.again" autoComplete="new-password" value={again} onInput={setAgain} />
        {differ && (
          <p class="field-error" role="alert">
            {say('link.differ')}
          </p>
        )}
        {problem?.name === 'step-up-refused' ? (
          <p class="note bad" role="alert">
            {say('account.wrong')}
          </p>
        ) : (
          problem !== undefined && <ProblemNote problem={problem} />
        )}
        <div class="buttons">
          <button type="submit" class="primary" disabled={differ || again === ''} aria-disabled={isBusy}>
            {say('account.change')}
          </button>
        </div>
      </form>
    </section>
  );
}

interface PasswordFieldProps {
  readonly label: StringKey;
  readonly autoComplete: 'current-password' | 'new-password';
  readonly value: string;
  readonly onInput: (value: string) => void;
}

function PasswordField({ label, autoComplete, value, onInput }: PasswordFieldProps): JSX.Element {
  const say = useSay();
  return (
    <label>
      <span>{say(label)}</span>
      <input
        type="password"
        autoComplete={autoComplete}
        required
        maxLength={1024}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  );
}
