/** What people know of a node, to be changed. Nothing that was typed is lost. */

import type { AuditEntryView, NodeView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { type Problem, problemOf, request, requestTagged } from '../api.js';
import { changeFrom, DESCRIPTION_FIELDS, type Difference, differences, draftOf } from '../description-draft.js';
import { Phrase, useSay } from '../phrase.js';
import { reloadAll } from '../session.js';
import { showToast } from '../toasts.js';
import { errorAt, FormField } from './form-field.js';
import { ProblemNote } from './problem-note.js';
import { Time } from './time.js';

interface DescriptionFormProps {
  readonly node: NodeView;
  /** Entity tag of the node. */
  readonly tag: string;
  readonly onClose: () => void;
}

/** What somebody else changed while the form was open. */
interface Conflict {
  readonly differences: readonly Difference[];
  readonly entry: AuditEntryView | undefined;
}

const LIMITS = { name: 64, site: 64, location: 128, tags: 600, note: 1_000 } as const;

export function DescriptionForm({ node, tag, onClose }: DescriptionFormProps): JSX.Element {
  const say = useSay();
  // The page loads the node again while somebody types: the form stays with what it began with.
  const [before] = useState(node);
  const [seen, setSeen] = useState(tag);
  const [draft, setDraft] = useState(() => draftOf(node));
  const [problem, setProblem] = useState<Problem>();
  const [conflict, setConflict] = useState<Conflict>();
  const [isBusy, setBusy] = useState(false);
  const path = `/v1/nodes/${node.id}`;
  const showConflict = async (): Promise<void> => {
    const now = await requestTagged<NodeView>(path);
    const life = await request<{ readonly items: readonly AuditEntryView[] }>(`${path}/life`);
    setConflict({ differences: differences(draftOf(before), draftOf(now.data)), entry: life.items.at(-1) });
    setSeen(now.tag ?? '');
  };
  const save = async (): Promise<void> => {
    setBusy(true);
    setProblem(undefined);
    try {
      const change = changeFrom(draft, before);
      if (Object.keys(change).length > 0) {
        await request(path, { method: 'PATCH', body: change, ifMatch: seen });
        showToast({ text: say('describe.saved', { id: node.id }) });
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
  return (
    <form
      class="stack"
      aria-label={say('describe.title', { id: node.id })}
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) void save();
      }}
    >
      {DESCRIPTION_FIELDS.map((field) => (
        <FormField
          key={field}
          label={`nodes.${field}`}
          hint={field === 'tags' ? say('describe.tags-hint') : undefined}
          error={errorAt(problem?.errors, field)}
        >
          {(control) => (
            <input
              {...control}
              autoFocus={field === 'name'}
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
