/** API tokens: the own ones, and to an administrator those of all. */

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { request } from '../api.js';
import { errorAt, FormField } from '../parts/form-field.js';
import { forgetDraft, useKeptDraft } from '../kept-drafts.js';
import { ACTIONS, type Column, ListTable } from '../parts/list-table.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { SecretDialog } from '../parts/secret-dialog.js';
import { Time } from '../parts/time.js';
import { TypedConfirmation } from '../parts/typed-confirmation.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { reloadAll, useUser } from '../session.js';
import { useSubmit } from '../submit.js';
import type { StringKey } from '../strings/index.js';
import { EMPTY_TOKEN, isLimited, TOKEN_SCOPES, type TokenInput, tokenRequest, type TokenScope } from '../token-request.js';

/** As which the draft is kept. */
const FORM = 'new token';

interface TokenView {
  readonly id: string;
  readonly name: string;
  readonly state: 'valid' | 'expired' | 'void';
  readonly scopes: readonly TokenScope[];
  readonly limits: {
    readonly orders?: readonly number[];
    readonly installer?: string;
    readonly sites?: readonly string[];
  } | null;
  readonly created_by: string;
  readonly created_at: string;
  readonly expires_at: string;
  readonly last_used_at: string | null;
  readonly last_used_from: string | null;
  readonly is_own: boolean;
}

/** The API shows the token itself once. */
interface NewToken extends TokenView {
  readonly token: string;
}

export function TokensPage(): JSX.Element {
  const say = useSay();
  const list = useResource<{ readonly items: readonly TokenView[]; readonly takes_tokens: boolean }>('/v1/tokens');
  const { data, problem } = list;
  const [made, setMade] = useState<NewToken>();
  return (
    <>
      <PageHead title={say('page.tokens')} resource={list} />
      <p class="quiet">{say('tokens.about')}</p>
      <p>
        <a href="/code">{say('code.link')}</a>
      </p>
      {problem !== undefined && <ProblemNote problem={problem} retry={list.reload} />}
      {data !== undefined && (
        <>
          {!data.takes_tokens && <p class="note mild">{say('tokens.not-taken')}</p>}
          {data.items.length === 0 ? (
            <section class="empty">
              <h2>{say('tokens.empty')}</h2>
            </section>
          ) : (
            <TokenTable tokens={data.items} />
          )}
          <AddToken onMade={setMade} />
        </>
      )}
      {made !== undefined && (
        <SecretDialog
          title={say('tokens.shown-title', { name: made.name })}
          about={say('tokens.shown-about')}
          secret={made.token}
          onClose={() => setMade(undefined)}
        />
      )}
    </>
  );
}

const COLUMNS: readonly Column[] = [
  { name: 'tokens.name' },
  { name: 'tokens.scopes' },
  { name: 'tokens.limits', class: 'widest' },
  { name: 'tokens.ends' },
  { name: 'tokens.used', class: 'wide' },
  { name: 'tokens.made', class: 'wider' },
  ACTIONS,
];

function TokenTable({ tokens }: { readonly tokens: readonly TokenView[] }): JSX.Element {
  const say = useSay();
  return (
    <ListTable caption="tokens.caption" columns={COLUMNS}>
      {tokens.map((token) => (
        <tr key={token.id}>
          <th scope="row">
            <span class="text">{token.name}</span> <code class="quiet">{token.id}</code>
          </th>
          <td lang="en">{token.scopes.join(', ')}</td>
          <td class="widest text">
            <Limits limits={token.limits} />
          </td>
          <td>
            {token.state !== 'valid' && <strong>{say(`tokens.state-${token.state}`)} </strong>}
            <Time at={token.expires_at} />
          </td>
          <td class="wide">
            {token.last_used_at === null ? <None /> : <Time at={token.last_used_at} />}{' '}
            {token.last_used_from !== null && <code>{token.last_used_from}</code>}
          </td>
          <td class="wider">
            {token.created_by} <Time at={token.created_at} />
          </td>
          <td>
            <TypedConfirmation
              label={say('tokens.revoke')}
              title={say('tokens.revoke-title', { name: token.name })}
              about={say('tokens.revoke-about')}
              expected={token.id}
              done={say('tokens.revoked', { name: token.name })}
              change={() => request(`/v1/tokens/${token.id}`, { method: 'DELETE' })}
            />
          </td>
        </tr>
      ))}
    </ListTable>
  );
}

function Limits({ limits }: Pick<TokenView, 'limits'>): JSX.Element {
  const say = useSay();
  if (limits === null) return <None />;
  const { orders = [], installer, sites = [] } = limits;
  const parts = [
    ...orders.map((order) => say('tokens.order', { order: String(order) })),
    ...(installer === undefined ? [] : [installer]),
    ...sites,
  ];
  return <>{parts.join(', ')}</>;
}

function AddToken({ onMade }: { readonly onMade: (token: NewToken) => void }): JSX.Element {
  const say = useSay();
  const user = useUser();
  const [input, setInput] = useKeptDraft<TokenInput>(FORM, () => EMPTY_TOKEN);
  const { isBusy, problem, submit } = useSubmit();
  const isOfProvider = user?.sign_in === 'oidc';
  const change = (changes: Partial<TokenInput>): void => setInput((typed) => ({ ...typed, ...changes }));
  const add = async (): Promise<void> => {
    const body = tokenRequest(input, isOfProvider);
    onMade(await request<NewToken>('/v1/tokens', { method: 'POST', body }));
    setInput(() => EMPTY_TOKEN);
    forgetDraft(FORM);
    reloadAll();
  };
  return (
    <section aria-labelledby="add-token-title">
      <h2 id="add-token-title">{say('tokens.add-title')}</h2>
      <form
        class="stack narrow"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(add);
        }}
      >
        <Text
          label="tokens.name"
          hint="tokens.name-hint"
          value={input.name}
          onInput={(name) => change({ name })}
          error={errorAt(problem?.errors, 'name')}
          isRequired
        />
        <fieldset>
          <legend>{say('tokens.scopes')}</legend>
          {TOKEN_SCOPES.filter((scope) => user?.scopes.includes(scope)).map((scope) => (
            <label key={scope} class="check">
              <input
                type="checkbox"
                checked={input.scopes.includes(scope)}
                onChange={(event) =>
                  change({
                    scopes: TOKEN_SCOPES.filter((one) =>
                      one === scope ? event.currentTarget.checked : input.scopes.includes(one),
                    ),
                  })
                }
              />{' '}
              {say(`tokens.scope-${scope}`)}
            </label>
          ))}
          {errorAt(problem?.errors, 'scopes') !== undefined && (
            <span class="field-error" lang="en">
              {errorAt(problem?.errors, 'scopes')}
            </span>
          )}
        </fieldset>
        {isOfProvider ? (
          <p class="quiet">{say('tokens.twelve-hours')}</p>
        ) : (
          <FormField label="tokens.days" error={errorAt(problem?.errors, 'lifetime_seconds')}>
            {(control) => (
              <input
                {...control}
                type="number"
                required
                min={1}
                max={366}
                value={input.days}
                onInput={(event) => change({ days: event.currentTarget.value })}
              />
            )}
          </FormField>
        )}
        <Lines
          label="tokens.networks"
          hint="tokens.networks-hint"
          value={input.networks}
          onInput={(networks) => change({ networks })}
          error={errorAt(problem?.errors, 'networks')}
        />
        <details open={isLimited(input)}>
          <summary>{say('tokens.limit')}</summary>
          <div class="stack">
            <Text
              label="tokens.orders"
              hint="tokens.orders-hint"
              value={input.orders}
              onInput={(orders) => change({ orders })}
              error={errorAt(problem?.errors, 'orders')}
            />
            <Text
              label="users.installer"
              value={input.installer}
              onInput={(installer) => change({ installer })}
              error={errorAt(problem?.errors, 'installer')}
            />
            <Lines
              label="tokens.sites"
              hint="tokens.sites-hint"
              value={input.sites}
              onInput={(sites) => change({ sites })}
              error={errorAt(problem?.errors, 'sites')}
            />
          </div>
        </details>
        {problem !== undefined && <ProblemNote problem={problem} />}
        <div class="buttons">
          <button type="submit" class="primary" disabled={input.scopes.length === 0} aria-disabled={isBusy}>
            {say('tokens.add')}
          </button>
        </div>
      </form>
    </section>
  );
}

interface TextProps {
  readonly label: StringKey;
  readonly hint?: StringKey;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly error: string | undefined;
}

function Text({
  label,
  hint,
  value,
  onInput,
  error,
  isRequired = false,
}: TextProps & { readonly isRequired?: boolean }): JSX.Element {
  const say = useSay();
  return (
    <FormField label={label} isOptional={!isRequired} error={error} {...(hint === undefined ? {} : { hint: say(hint) })}>
      {(control) => (
        <input
          {...control}
          required={isRequired}
          autoComplete="off"
          spellcheck={false}
          value={value}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    </FormField>
  );
}

function Lines({ label, hint, value, onInput, error }: TextProps & { readonly hint: StringKey }): JSX.Element {
  const say = useSay();
  return (
    <FormField label={label} isOptional hint={say(hint)} error={error}>
      {(control) => (
        <textarea
          {...control}
          rows={2}
          spellcheck={false}
          value={value}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    </FormField>
  );
}
