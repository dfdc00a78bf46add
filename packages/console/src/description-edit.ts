/** Editing the texts of a thing that others may edit too. Typed text is never lost. */

import type { AuditEntryView } from '@latchkey/operations/contract';
import { useState } from 'preact/hooks';
import { type Problem, problemOf, request, requestTagged } from './api.js';
import {
  changeFrom,
  type Described,
  type DescribedKind,
  type DescriptionDraft,
  type DescriptionField,
  type Difference,
  differences,
  draftOf,
  draftOnTop,
} from './description-draft.js';
import { forgetDraft, useKeptDraft } from './kept-drafts.js';
import { reloadAll } from './session.js';
import { useSubmit } from './submit.js';

export interface DescribedThing {
  readonly kind: DescribedKind;
  readonly thing: Described & { readonly id: string };
  /** Entity tag of the thing. */
  readonly tag: string;
}

/** A change by another user while the form was open. */
export interface Conflict {
  readonly differences: readonly Difference[];
  /** Of the audit log, if the user may read it. */
  readonly entry: AuditEntryView | undefined;
}

/** Begun with a version of the thing. The page may reload the thing while somebody types. */
interface Edit {
  readonly before: DescriptionDraft;
  readonly tag: string;
  readonly draft: DescriptionDraft;
  /** Whether another user has changed the thing since the form was opened. */
  readonly isOverOthers: boolean;
}

interface DescriptionEdit extends Edit {
  readonly setField: (field: DescriptionField, text: string) => void;
  readonly isBusy: boolean;
  readonly problem: Problem | undefined;
  readonly conflict: Conflict | undefined;
  /** Sends the edited fields, if there are any. `onSaved` gets them. */
  readonly save: (onSaved: (change: Described) => void) => void;
  /** Drops what was typed, and closes the form. */
  readonly close: () => void;
}

export function pathOf(kind: DescribedKind, id: string): string {
  return `/v1/${kind}s/${id}`;
}

/** @param onClose what was typed is saved, or no longer wanted */
export function useDescriptionEdit({ kind, thing, tag }: DescribedThing, onClose: () => void): DescriptionEdit {
  const path = pathOf(kind, thing.id);
  const [edit, setEdit] = useKeptDraft<Edit>(path, () => {
    const before = draftOf(kind, thing);
    return { before, tag, draft: before, isOverOthers: false };
  });
  const [conflict, setConflict] = useState<Conflict>();
  const { isBusy, problem, submit } = useSubmit();
  const { before, draft } = edit;
  const close = (): void => {
    forgetDraft(path);
    onClose();
  };
  /** Returns false if another user has changed the texts: the form then has what they are now. */
  const write = async (change: Described, ifMatch: string, isAgain = false): Promise<boolean> => {
    try {
      await request(path, { method: 'PATCH', body: change, ifMatch });
      return true;
    } catch (error) {
      if (problemOf(error).name !== 'changed-meanwhile') throw error;
    }
    const { data, tag: nowTag = '' } = await requestTagged<Described>(path);
    const now = draftOf(kind, data);
    const others = differences(before, now);
    // The server was restarted, or something was changed that the form does not have.
    if (others.length === 0 && !isAgain) return write(change, nowTag, true);
    // Not everybody may read the log. Who was faster is no reason to lose what was typed.
    const entry = await latestEntry(kind, thing.id).catch(() => undefined);
    setConflict({ differences: others, entry });
    setEdit((edited) => ({
      before: now,
      tag: nowTag,
      draft: draftOnTop(before, edited.draft, now),
      isOverOthers: true,
    }));
    reloadAll();
    return false;
  };
  const save = async (onSaved: (change: Described) => void): Promise<void> => {
    const change = changeFrom(before, draft);
    if (Object.keys(change).length > 0) {
      if (!(await write(change, edit.tag))) return;
      onSaved(change);
      reloadAll();
    }
    close();
  };
  return {
    ...edit,
    setField: (field, text) => setEdit((edited) => ({ ...edited, draft: { ...edited.draft, [field]: text } })),
    isBusy,
    problem,
    conflict,
    save: (onSaved) => void submit(() => save(onSaved)),
    close,
  };
}

interface Entries {
  readonly items: readonly AuditEntryView[];
}

/** Entries that change the texts. */
const CHANGES = {
  controller: ['controller changed'],
  installer: ['installer changed', 'installer recipients changed'],
} as const;
/** Of changes of installers, which the log cannot be asked for one by one. */
const MAX_ENTRIES = 100;

/** The latest entry of the audit log that changed the texts. */
async function latestEntry(kind: DescribedKind, id: string): Promise<AuditEntryView | undefined> {
  if (kind === 'node') {
    const { items } = await request<Entries>(`/v1/nodes/${id}/life`);
    return items.findLast(({ what }) => what.includes('described'));
  }
  const isOfInstaller = kind === 'installer';
  const query = new URLSearchParams([
    ...(isOfInstaller ? [] : [['controller', id]]),
    ['limit', String(isOfInstaller ? MAX_ENTRIES : 1)],
    ...CHANGES[kind].map((what) => ['what', what]),
  ]);
  const { items } = await request<Entries>(`/v1/audit?${query.toString()}`);
  return isOfInstaller ? items.find(({ note }) => note?.startsWith(`installer ${id}`)) : items[0];
}
