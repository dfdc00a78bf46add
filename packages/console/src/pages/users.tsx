/** Persons who sign in, and what they may do. For administrators. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request } from '../api.js';
import { type InstallerList, INSTALLERS } from '../installer-draft.js';
import { ACTIONS, type Column, ListTable } from '../parts/list-table.js';
import { ChangeButton } from '../parts/change-button.js';
import { errorAt, FormField } from '../parts/form-field.js';
import { None } from '../parts/none.js';
import { InstallerNameInput, useInstallerNames } from '../parts/installer-names.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { SecretDialog } from '../parts/secret-dialog.js';
import { Time } from '../parts/time.js';
import { TypedConfirmation } from '../parts/typed-confirmation.js';
import { Phrase, useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { reloadAll, useUser } from '../session.js';
import { useSubmit } from '../submit.js';

const ROLES = ['viewer', 'installer', 'operator', 'key-officer', 'admin'] as const;
type Role = (typeof ROLES)[number];

interface UserView {
  readonly user: string;
  readonly role: Role;
  readonly installer: string | null;
  readonly orders: readonly number[] | null;
  readonly sites: readonly string[] | null;
  /** The issuer of a person whose role and sign-in are matters of the sign-in provider. */
  readonly provider: string | null;
  readonly has_password: boolean;
  readonly created_by: string;
  readonly created_at: string;
  readonly link_expires_at: string | null;
}

/** Sets a password, once. The API shows it once. */
interface OneTimeLink {
  readonly user: string;
  readonly link: string;
  readonly link_expires_at: string;
}

export function UsersPage(): JSX.Element {
  const say = useSay();
  const list = useResource<{ readonly items: readonly UserView[] }>('/v1/users');
  const { data, problem } = list;
  const [link, setLink] = useState<OneTimeLink>();
  return (
    <>
      <PageHead title={say('page.users')} resource={list} />
      {problem?.name === 'forbidden' ? (
        <p class="note mild">{say('users.forbidden')}</p>
      ) : (
        problem !== undefined && <ProblemNote problem={problem} retry={list.reload} />
      )}
      {data !== undefined && (
        <>
          <UserTable users={data.items} onLink={setLink} />
          <AddUser onLink={setLink} />
        </>
      )}
      {link !== undefined && (
        <SecretDialog
          title={say('users.link-title', { user: link.user })}
          about={<Phrase of="users.link-about" values={{ time: <Time at={link.link_expires_at} as="absolute" /> }} />}
          secret={link.link}
          onClose={() => setLink(undefined)}
        />
      )}
    </>
  );
}

interface LinkProps {
  readonly onLink: (link: OneTimeLink) => void;
}

const COLUMNS: readonly Column[] = [
  { name: 'users.name' },
  { name: 'users.role' },
  { name: 'users.password', class: 'wide' },
  { name: 'users.added', class: 'wider' },
  ACTIONS,
];

function UserTable({ users, onLink }: LinkProps & { readonly users: readonly UserView[] }): JSX.Element {
  const say = useSay();
  const me = useUser()?.user;
  return (
    <ListTable caption="users.caption" columns={COLUMNS}>
      {users.map((one) => (
        <tr key={one.user}>
          <th scope="row">
            {one.user} {one.user === me && <span class="quiet">({say('users.you')})</span>}
          </th>
          <td>{one.user === me || one.provider !== null ? <RoleAsIs user={one} /> : <RoleForm key={one.role} user={one} />}</td>
          <td class="wide">
            {one.provider !== null
              ? say('users.at-provider')
              : say(one.has_password ? 'users.password-set' : 'users.password-unset')}
            {one.link_expires_at !== null && (
              <span class="lines">
                <Phrase of="users.link-until" values={{ time: <Time at={one.link_expires_at} /> }} />
              </span>
            )}
          </td>
          <td class="wider">
            <Time at={one.created_at} /> <span class="quiet">{one.created_by}</span>
          </td>
          <td>{one.user === me ? <None /> : <UserActions user={one.user} hasLinks={one.provider === null} onLink={onLink} />}</td>
        </tr>
      ))}
    </ListTable>
  );
}

interface RoleProps {
  readonly user: UserView;
}

/** The role, and of which orders an installer sees nodes. */
function RoleAsIs({ user: { role, installer, orders, sites } }: RoleProps): JSX.Element {
  const say = useSay();
  const limits = [
    ...(orders ?? []).map((order) => say('tokens.order', { order: String(order) })),
    ...(installer === null ? [] : [installer]),
    ...(sites ?? []),
  ];
  return (
    <>
      {role} {limits.length > 0 && <span class="quiet text">{limits.join(', ')}</span>}
    </>
  );
}

/** An installer has limits: such a role is given when the user is added. */
function RoleForm({ user: one }: RoleProps): JSX.Element {
  const { user, role } = one;
  const say = useSay();
  const [chosen, setChosen] = useState<Role>(role);
  if (role === 'installer') return <RoleAsIs user={one} />;
  return (
    <span class="inline-form">
      <RoleSelect label={say('users.set-role-of', { user })} value={chosen} onChange={setChosen} isShort />
      {chosen !== role && (
        <ChangeButton
          label={say('users.set-role')}
          done={say('users.role-set', { user, role: chosen })}
          change={() => request(`/v1/users/${user}`, { method: 'PATCH', body: { role: chosen } })}
          undo={() => request(`/v1/users/${user}`, { method: 'PATCH', body: { role } })}
          isPrimary
        />
      )}
    </span>
  );
}

interface RoleSelectProps {
  readonly label?: string;
  readonly id?: string;
  readonly value: Role;
  readonly onChange: (role: Role) => void;
  /** Names only, without the installer's role. */
  readonly isShort?: boolean;
}

function RoleSelect({ label, id, value, onChange, isShort = false }: RoleSelectProps): JSX.Element {
  const say = useSay();
  return (
    <select
      id={id}
      aria-label={label}
      value={value}
      onChange={(event) => {
        const role = ROLES.find((one) => one === event.currentTarget.value);
        if (role !== undefined) onChange(role);
      }}
    >
      {ROLES.filter((role) => !isShort || role !== 'installer').map((role) => (
        <option key={role} value={role} selected={role === value}>
          {isShort ? role : say(`users.role-${role}`)}
        </option>
      ))}
    </select>
  );
}

interface UserActionsProps extends LinkProps {
  readonly user: string;
  /** Whether the user signs in with a password. */
  readonly hasLinks: boolean;
}

function UserActions({ user, hasLinks, onLink }: UserActionsProps): JSX.Element {
  const say = useSay();
  const { isBusy, problem, submit } = useSubmit();
  const makeLink = async (): Promise<void> => {
    const made = await request<Omit<OneTimeLink, 'user'>>(`/v1/users/${user}/link`, { method: 'POST', body: {} });
    onLink({ user, ...made });
    reloadAll();
  };
  return (
    <span class="inline-form">
      {hasLinks && (
        <button type="button" aria-disabled={isBusy} onClick={() => void submit(makeLink)}>
          {say('users.new-link')}
        </button>
      )}
      <TypedConfirmation
        label={say('users.remove')}
        title={say('users.remove-title', { user })}
        about={say('users.remove-about')}
        expected={user}
        done={say('users.removed', { user })}
        change={() => request(`/v1/users/${user}`, { method: 'DELETE' })}
      />
      {problem !== undefined && <ProblemNote problem={problem} />}
    </span>
  );
}

function AddUser({ onLink }: LinkProps): JSX.Element {
  const say = useSay();
  const [user, setUser] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const [installer, setInstaller] = useState('');
  const { isBusy, problem, submit } = useSubmit();
  const add = async (): Promise<void> => {
    const body = { user: user.trim(), role, ...(role === 'installer' ? { installer: installer.trim() } : {}) };
    onLink(await request<OneTimeLink>('/v1/users', { method: 'POST', body }));
    setUser('');
    setInstaller('');
    reloadAll();
  };
  return (
    <section aria-labelledby="add-user-title">
      <h2 id="add-user-title">{say('users.add-title')}</h2>
      <form
        class="stack narrow"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(add);
        }}
      >
        <FormField label="users.name" hint={say('users.name-hint')} error={errorAt(problem?.errors, 'user')}>
          {(control) => (
            <input
              {...control}
              required
              autoComplete="off"
              autoCapitalize="off"
              spellcheck={false}
              value={user}
              onInput={(event) => setUser(event.currentTarget.value)}
            />
          )}
        </FormField>
        <FormField label="users.role" error={errorAt(problem?.errors, 'role')}>
          {({ id }) => <RoleSelect id={id} value={role} onChange={setRole} />}
        </FormField>
        {role === 'installer' && (
          <InstallerField value={installer} onInput={setInstaller} error={errorAt(problem?.errors, 'installer')} />
        )}
        {problem !== undefined && <ProblemNote problem={problem} />}
        <div class="buttons">
          <button type="submit" class="primary" aria-disabled={isBusy}>
            {say('users.add')}
          </button>
        </div>
      </form>
    </section>
  );
}

interface InstallerFieldProps {
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly error: string | undefined;
}

/** Under another name than orders have, the person would see none of them. */
function InstallerField({ value, onInput, error }: InstallerFieldProps): JSX.Element {
  const say = useSay();
  const { names, isComplete } = useInstallerNames(useResource<InstallerList>(INSTALLERS).data);
  const isUnknown = isComplete && value.trim() !== '' && !names.has(value.normalize().trim());
  return (
    <FormField label="users.installer" hint={isUnknown ? say('users.installer-unknown') : undefined} error={error}>
      {(control) => <InstallerNameInput control={control} names={names} value={value} onInput={onInput} />}
    </FormField>
  );
}
