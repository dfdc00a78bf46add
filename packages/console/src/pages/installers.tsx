/** Installers: how they are reached, and whom their keys are encrypted to. For key officers. */

import type { InstallerView } from '@latchkey/operations/contract';
import type { ComponentChildren, JSX } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Problem, request, requestTagged } from '../api.js';
import { type DescriptionDraft, type DescriptionField, draftOf } from '../description-draft.js';
import { type DescribedThing, pathOf, useDescriptionEdit } from '../description-edit.js';
import { type InstallerList, INSTALLERS, installerFrom } from '../installer-draft.js';
import { forgetDraft, useKeptDraft } from '../kept-drafts.js';
import { ConflictNote } from '../parts/conflict-note.js';
import { errorAt, FormField } from '../parts/form-field.js';
import { ACTIONS, type Column, ListTable } from '../parts/list-table.js';
import { None } from '../parts/none.js';
import { PageHead } from '../parts/page-head.js';
import { ProblemNote } from '../parts/problem-note.js';
import { Time } from '../parts/time.js';
import { TypedConfirmation } from '../parts/typed-confirmation.js';
import { useSay } from '../phrase.js';
import { useResource } from '../resource.js';
import { reloadAll } from '../session.js';
import { useSubmit } from '../submit.js';
import { showToast } from '../toasts.js';

const TEXTS = ['contact', 'site', 'note'] as const;
type InstallerField = (typeof TEXTS)[number] | 'recipients';

interface NewInstaller {
  readonly name: string;
  readonly draft: DescriptionDraft;
}

/** As which the draft is kept. */
const FORM = 'new installer';
const NEW_INSTALLER: NewInstaller = { name: '', draft: draftOf('installer', {}) };

export function InstallersPage(): JSX.Element {
  const say = useSay();
  const list = useResource<InstallerList>(INSTALLERS);
  const { data, problem } = list;
  const [edited, setEdited] = useState<string>();
  const opener = useRef<HTMLElement | null>(null);
  const edit = (id: string, button: HTMLElement): void => {
    opener.current = button;
    setEdited(id);
  };
  const close = (): void => {
    setEdited(undefined);
    opener.current?.focus();
  };
  return (
    <>
      <PageHead title={say('page.installers')} resource={list} />
      <p class="quiet">{say('installers.about')}</p>
      {problem !== undefined && <ProblemNote problem={problem} retry={list.reload} />}
      {data !== undefined && (
        <>
          {data.items.length === 0 ? (
            <section class="empty">
              <h2>{say('installers.empty')}</h2>
            </section>
          ) : (
            <InstallerTable installers={data.items} isEditing={edited !== undefined} onEdit={edit} />
          )}
          {edited === undefined ? <AddInstaller /> : <EditInstaller id={edited} onClose={close} />}
        </>
      )}
    </>
  );
}

const COLUMNS: readonly Column[] = [
  { name: 'orders.installer' },
  { name: 'installers.contact', class: 'wide' },
  { name: 'installers.recipients' },
  { name: 'installers.changed', class: 'wider' },
  ACTIONS,
];

interface InstallerTableProps {
  readonly installers: readonly InstallerView[];
  /** What was typed in the form of one installer is not lost to another one. */
  readonly isEditing: boolean;
  readonly onEdit: (id: string, button: HTMLElement) => void;
}

function InstallerTable({ installers, isEditing, onEdit }: InstallerTableProps): JSX.Element {
  const say = useSay();
  return (
    <ListTable caption="installers.caption" columns={COLUMNS}>
      {installers.map(({ id, name, contact, site, recipients, recipients_changed_at: at, recipients_changed_by: by }) => (
        <tr key={id}>
          <th scope="row">
            <span class="text">{name}</span> {site !== null && <span class="quiet text">{site}</span>}
          </th>
          <td class="wide text">{contact ?? <None />}</td>
          <td>{recipients.length === 0 ? <None /> : recipients.map((one) => <Recipient key={one} recipient={one} />)}</td>
          <td class="wider">
            {at === null ? <None /> : <Time at={at} />} {by !== null && <span class="quiet">{by}</span>}
          </td>
          <td>
            <span class="inline-form">
              <button
                type="button"
                aria-label={say('installers.edit-of', { name })}
                aria-disabled={isEditing}
                onClick={(event) => !isEditing && onEdit(id, event.currentTarget)}
              >
                {say('installers.edit')}
              </button>
              <TypedConfirmation
                label={say('installers.remove')}
                title={say('installers.remove-title', { name })}
                about={say('installers.remove-about')}
                expected={name}
                done={say('installers.removed', { name })}
                change={() => removeInstaller(id)}
              />
            </span>
          </td>
        </tr>
      ))}
    </ListTable>
  );
}

/** Its beginning, which the audit log has too. */
function Recipient({ recipient }: { readonly recipient: string }): JSX.Element {
  return (
    <span class="lines">
      <code title={recipient}>{recipient.slice(0, 16)}…</code>
    </span>
  );
}

/** The one of now: its name has just been typed. */
async function removeInstaller(id: string): Promise<void> {
  const path = `/v1/installers/${id}`;
  const { tag = '' } = await requestTagged(path);
  await request(path, { method: 'DELETE', ifMatch: tag });
}

interface EditInstallerProps {
  readonly id: string;
  readonly onClose: () => void;
}

function EditInstaller({ id, onClose }: EditInstallerProps): JSX.Element {
  const say = useSay();
  const { data, tag, problem, reload } = useResource<InstallerView>(pathOf('installer', id));
  // The form is of what was loaded first: what is typed in it outlives a load that fails.
  const first = useRef<Omit<DescribedThing, 'kind'> | undefined>(undefined);
  if (data !== undefined && tag !== undefined) first.current ??= { thing: data, tag };
  const opened = first.current;
  return (
    <>
      {problem !== undefined && <ProblemNote problem={problem} retry={reload} />}
      {opened !== undefined && <EditForm kind="installer" {...opened} onClose={onClose} />}
      {opened === undefined && problem === undefined && <p>{say('common.loading')}</p>}
      {opened === undefined && problem !== undefined && (
        <button type="button" onClick={onClose}>
          {say('common.close')}
        </button>
      )}
    </>
  );
}

const labelOf = (field: DescriptionField) => `installers.${field as InstallerField}` as const;

function EditForm({ onClose, ...described }: DescribedThing & Pick<EditInstallerProps, 'onClose'>): JSX.Element {
  const say = useSay();
  const name = String(described.thing.name);
  const { draft, setField, isOverOthers, isBusy, problem, conflict, save, close } = useDescriptionEdit(described, onClose);
  return (
    <InstallerForm
      title={say('installers.edit-of', { name })}
      isBusy={isBusy}
      problem={problem}
      onSubmit={() => save(() => showToast({ text: say('installers.changed-toast', { name }) }))}
      takesFocus
    >
      <InstallerFields draft={draft} onInput={setField} errors={problem?.errors} />
      {conflict !== undefined && <ConflictNote conflict={conflict} labelOf={labelOf} />}
      <div class="buttons">
        <button type="button" onClick={close}>
          {say('common.cancel')}
        </button>
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say(isOverOthers ? 'describe.save-anyway' : 'describe.save')}
        </button>
      </div>
    </InstallerForm>
  );
}

function AddInstaller(): JSX.Element {
  const say = useSay();
  const [{ name, draft }, change] = useKeptDraft(FORM, () => NEW_INSTALLER);
  const { isBusy, problem, submit } = useSubmit();
  const changeName = (text: string): void => change((typed) => ({ ...typed, name: text }));
  const add = async (): Promise<void> => {
    const added = await request<InstallerView>('/v1/installers', { method: 'POST', body: installerFrom(name, draft) });
    showToast({ text: say('installers.added', { name: added.name }) });
    change(() => NEW_INSTALLER);
    forgetDraft(FORM);
    reloadAll();
  };
  return (
    <InstallerForm title={say('installers.add-title')} isBusy={isBusy} problem={problem} onSubmit={() => void submit(add)}>
      <FormField label="orders.installer" hint={say('installers.name-hint')} error={errorAt(problem?.errors, 'name')}>
        {(control) => (
          <input
            {...control}
            required
            autoComplete="off"
            value={name}
            onInput={(event) => changeName(event.currentTarget.value)}
          />
        )}
      </FormField>
      <InstallerFields
        draft={draft}
        onInput={(field, text) => change((typed) => ({ ...typed, draft: { ...typed.draft, [field]: text } }))}
        errors={problem?.errors}
      />
      <div class="buttons">
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say('installers.add')}
        </button>
      </div>
    </InstallerForm>
  );
}

interface InstallerFormProps {
  readonly title: string;
  readonly isBusy: boolean;
  readonly problem: Problem | undefined;
  readonly onSubmit: () => void;
  /** Of a form that somebody has opened. */
  readonly takesFocus?: boolean;
  readonly children: ComponentChildren;
}

function InstallerForm({ title, isBusy, problem, onSubmit, takesFocus = false, children }: InstallerFormProps): JSX.Element {
  const titleId = useId();
  const form = useRef<HTMLFormElement>(null);
  useLayoutEffect(() => {
    if (takesFocus) form.current?.querySelector<HTMLElement>('input')?.focus();
  }, []);
  return (
    <section aria-labelledby={titleId}>
      <h2 id={titleId}>{title}</h2>
      <form
        ref={form}
        class="stack narrow"
        aria-busy={isBusy}
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit();
        }}
      >
        {children}
        {problem !== undefined && <ProblemNote problem={problem} />}
      </form>
    </section>
  );
}

interface InstallerFieldsProps {
  readonly draft: DescriptionDraft;
  readonly onInput: (field: InstallerField, text: string) => void;
  readonly errors: Problem['errors'];
}

function InstallerFields({ draft, onInput, errors }: InstallerFieldsProps): JSX.Element {
  const say = useSay();
  return (
    <>
      {TEXTS.map((field) => (
        <FormField key={field} label={`installers.${field}`} isOptional error={errorAt(errors, field)}>
          {(control) => (
            <input
              {...control}
              autoComplete="off"
              value={draft[field]}
              onInput={(event) => onInput(field, event.currentTarget.value)}
            />
          )}
        </FormField>
      ))}
      <FormField
        label="installers.recipients"
        isOptional
        hint={say('installers.recipients-hint')}
        error={errorAt(errors, 'recipients')}
      >
        {(control) => (
          <textarea
            {...control}
            class="id"
            rows={3}
            spellcheck={false}
            value={draft.recipients}
            onInput={(event) => onInput('recipients', event.currentTarget.value)}
          />
        )}
      </FormField>
    </>
  );
}
