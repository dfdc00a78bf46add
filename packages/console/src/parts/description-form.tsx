/** Form for the description of a node or a controller. Typed text is never lost. */

import type { AuditEntryView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { patchBack, type Problem, problemOf, request, requestTagged } from '../api.js';
import {
  changeFrom,
  type Described,
  type DescribedKind,
  DESCRIPTION_FIELDS,
  type Difference,
  differences,
  draftOf,
} from '../description-draft.js';
import { Phrase, useSay } from '../phrase.js';
import { reloadAll, useMay } from '../session.js';
import { showToast } from '../toasts.js';
import { errorAt, FormField } from './form-field.js';
import { ProblemNote } from './problem-note.js';
import { Time } from './time.js';

interface DescriptionEditorProps {
  readonly kind: DescribedKind;
  readonly thing: Described & { readonly id: string };
  /** Entity tag of the thing. */
  readonly tag: string | undefined;
}

/** Who may change the texts. */
const SCOPES = { node: 'describe', controller: 'controllers' } as const;

/** A button, and the form that it opens; nothing for a role that may not change the texts. */
export function DescriptionEditor({ kind, thing, tag }: DescriptionEditorProps): JSX.Element {
  const say = useSay();
  const may = useMay(SCOPES[kind]);
  const [isEditing, setEditing] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const wasEditing = useRef(false);
  // A browser gives the focus to `autofocus` once a page, and in a dialog that opens.
  useLayoutEffect(() => {
    if (wasEditing.current !== isEditing) place.current?.querySelector<HTMLElement>('input, button')?.focus();
    wasEditing.current = isEditing;
  }, [isEditing]);
  return (
    <div ref={place}>
      {isEditing && tag !== undefined && <DescriptionForm {...{ kind, thing, tag }} onClose={() => setEditing(false)} />}
      {may && !isEditing && (
        <button type="button" onClick={() => setEditing(true)}>
          {say('describe.edit')}
        </button>
      )}
    </div>
  );
}

interface DescriptionFormProps extends DescriptionEditorProps {
  readonly tag: string;
  readonly onClose: () => void;
}

/** A change by another user while the form was open. */
interface Conflict {
  readonly differences: readonly Difference[];
  readonly entry: AuditEntryView | undefined;
}

const LIMITS = { name: 64, site: 64, location: 128, contact: 128, tags: 600, note: 1_000 } as const;
const HINTS = { tags: 'describe.tags-hint', contact: 'describe.contact-hint' } as const;

interface Entries {
  readonly items: readonly AuditEntryView[];
}

/** Entries that change what a controller's entity tag stands for. */
const CONTROLLER_CHANGES = ['controller changed', 'controller key staged', 'controller key activated'];

/** The latest entry of the audit log that changed the thing. */
async function latestEntry(kind: DescribedKind, id: string): Promise<AuditEntryView | undefined> {
  if (kind === 'node') return (await request<Entries>(`/v1/nodes/${id}/life`)).items.at(-1);
  const query = new URLSearchParams([['controller', id], ['limit', '1'], ...CONTROLLER_CHANGES.map((what) => ['what', what])]);
  return (await request<Entries>(`/v1/audit?${query.toString()}`)).items[0];
}

function DescriptionForm({ kind, thing, tag, onClose }: DescriptionFormProps): JSX.Element {
  const say = useSay();
  // The page reloads the resource while the user types. The form keeps its initial version.
  const [before] = useState(() => draftOf(kind, thing));
  const [seen, setSeen] = useState(tag);
  const [draft, setDraft] = useState(before);
  const [problem, setProblem] = useState<Problem>();
  const [conflict, setConflict] = useState<Conflict>();
  const [isBusy, setBusy] = useState(false);
  const { id } = thing;
  const path = `/v1/${kind}s/${id}`;
  const showConflict = async (): Promise<void> => {
    const now = await requestTagged<Described>(path);
    // Not everybody may read the log. Who was faster is no reason to lose what was typed.
    const entry = await latestEntry(kind, id).catch(() => undefined);
    setConflict({ differences: differences(before, draftOf(kind, now.data)), entry });
    setSeen(now.tag ?? '');
  };
  const save = async (): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    try {
      const change = changeFrom(before, draft);
      if (Object.keys(change).length > 0) {
        await request(path, { method: 'PATCH', body: change, ifMatch: seen });
        // After a conflict, an undo would not restore the other user's text.
        showToast({ text: say(`describe.saved-${kind}`, { id }), ...(conflict === undefined ? undoOf(change) : {}) });
        reloadAll();
      }
      onClose();
    } catch (error) {
      const found = problemOf(error);
      if (found.name === 'changed-meanwhile') await showConflict().catch((failed: unknown) => setProblem(problemOf(failed)));
      else setProblem(found);
    }
    setBusy(false);
  };
  /** The inverse. A node without a site of its own is shown with that of its order. */
  const undoOf = (change: Described): { undo?: () => Promise<void> } => {
    if (kind === 'node' && 'site' in change) return {};
    const isAsSaved = (now: unknown): boolean =>
      Object.keys(changeFrom(draft, draftOf(kind, now as Described))).every((field) => !(field in change));
    return { undo: () => patchBack(path, isAsSaved, changeFrom(draft, before)) };
  };
  return (
    <form
      class="stack"
      aria-label={say(`describe.title-${kind}`, { id })}
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) void save();
      }}
    >
      {DESCRIPTION_FIELDS[kind].map((field) => (
        <FormField
          key={field}
          label={`nodes.${field}`}
          hint={field === 'tags' || field === 'contact' ? say(HINTS[field]) : undefined}
          error={errorAt(problem?.errors, field)}
        >
          {(control) => (
            <input
              {...control}
              autoComplete="off"
              maxLength={LIMITS[field]}
              value={draft[field]}
              onInput={({ currentTarget: { value } }) => setDraft({ ...draft, [field]: value })}
            />
          )}
        </FormField>
      ))}
      {conflict !== undefined && <ConflictNote conflict={conflict} />}
      {problem !== undefined && <ProblemNote problem={problem} />}
      <div class="buttons">
        <button type="button" onClick={onClose}>
          {say('common.cancel')}
        </button>
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say(conflict === undefined ? 'describe.save' : 'describe.save-anyway')}
        </button>
      </div>
    </form>
  );
}

/** Who was faster, and what it is now. */
function ConflictNote({ conflict: { differences: changes, entry } }: { readonly conflict: Conflict }): JSX.Element {
  const say = useSay();
  return (
    <div class="note mild" role="alert">
      <strong>{say('describe.conflict')}</strong>
      {entry !== undefined && (
        <p>
          <Phrase of="fact.by" values={{ time: <Time at={entry.at} />, actor: entry.actor }} />:{' '}
          <span lang="en">{entry.what}</span>
        </p>
      )}
      {changes.length > 0 && (
        <ul>
          {changes.map(({ field, before, now }) => (
            <li key={field} class="text">
              {say(`nodes.${field}`)}: “{before}” → “{now}”
            </li>
          ))}
        </ul>
      )}
      <p>{say('describe.conflict-advice')}</p>
    </div>
  );
}
