/** Form for the description of a node or a controller. */

import type { JSX } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { patchBack } from '../api.js';
import { changeFrom, type Described, DESCRIPTION_FIELDS, type DescriptionField, draftOf } from '../description-draft.js';
import { type DescribedThing, pathOf, useDescriptionEdit } from '../description-edit.js';
import { hasDraft } from '../kept-drafts.js';
import { useSay } from '../phrase.js';
import { useMay } from '../session.js';
import { showToast } from '../toasts.js';
import { ConflictNote } from './conflict-note.js';
import { errorAt, FormField } from './form-field.js';
import { ProblemNote } from './problem-note.js';

interface DescriptionFormProps extends DescribedThing {
  readonly kind: 'node' | 'controller';
  readonly onClose: () => void;
}

type DescriptionEditorProps = Pick<DescriptionFormProps, 'kind' | 'thing'> & { readonly tag: string | undefined };

/** Who may change the texts. */
const SCOPES = { node: 'describe', controller: 'controllers' } as const;

/** A button, and the form that it opens; nothing for a role that may not change the texts. */
export function DescriptionEditor({ kind, thing, tag }: DescriptionEditorProps): JSX.Element {
  const say = useSay();
  const may = useMay(SCOPES[kind]);
  // What somebody typed before the drawer was closed is there again.
  const [isEditing, setEditing] = useState(() => hasDraft(pathOf(kind, thing.id)));
  const place = useRef<HTMLDivElement>(null);
  const wasEditing = useRef(isEditing);
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

const HINTS = { tags: 'describe.tags-hint', contact: 'describe.contact-hint' } as const;

const labelOf = (field: DescriptionField) => `nodes.${field as Exclude<DescriptionField, 'recipients'>}` as const;

function DescriptionForm({ onClose, ...described }: DescriptionFormProps): JSX.Element {
  const say = useSay();
  const { kind, thing } = described;
  const { id } = thing;
  const edit = useDescriptionEdit(described, onClose);
  const { before, draft, setField, isOverOthers, isBusy, problem, conflict, save, close } = edit;
  /** The inverse. A node without a site of its own is shown with that of its order. */
  const undoOf = (change: Described): { undo?: () => Promise<void> } => {
    // After a conflict, an undo would not restore the other user's text.
    if (isOverOthers || (kind === 'node' && 'site' in change)) return {};
    const isAsSaved = (now: unknown): boolean =>
      Object.keys(changeFrom(draft, draftOf(kind, now as Described))).every((field) => !(field in change));
    return { undo: () => patchBack(pathOf(kind, id), isAsSaved, changeFrom(draft, before)) };
  };
  return (
    <form
      class="stack"
      aria-label={say(`describe.title-${kind}`, { id })}
      onSubmit={(event) => {
        event.preventDefault();
        save((change) => showToast({ text: say(`describe.saved-${kind}`, { id }), ...undoOf(change) }));
      }}
    >
      {DESCRIPTION_FIELDS[kind].map((field) => (
        <FormField
          key={field}
          label={labelOf(field)}
          hint={field === 'tags' || field === 'contact' ? say(HINTS[field]) : undefined}
          error={errorAt(problem?.errors, field)}
        >
          {(control) => (
            <input
              {...control}
              autoComplete="off"
              value={draft[field]}
              onInput={({ currentTarget: { value } }) => setField(field, value)}
            />
          )}
        </FormField>
      ))}
      {conflict !== undefined && <ConflictNote conflict={conflict} labelOf={labelOf} />}
      {problem !== undefined && <ProblemNote problem={problem} />}
      <div class="buttons">
        <button type="button" onClick={close}>
          {say('common.cancel')}
        </button>
        <button type="submit" class="primary" aria-disabled={isBusy}>
          {say(isOverOthers ? 'describe.save-anyway' : 'describe.save')}
        </button>
      </div>
    </form>
  );
}
