/** Installers as they are typed, and as the API takes them. */

import type { InstallerView } from '@latchkey/operations/contract';
import { readRecipients } from './new-order-request.js';

export interface InstallerList {
  readonly items: readonly InstallerView[];
}

/** All of them: the API stores no more than one page has. */
export const INSTALLERS = '/v1/installers?limit=1000';

/** As typed. */
export interface InstallerDraft {
  readonly contact: string;
  readonly site: string;
  readonly note: string;
  /** One a line. */
  readonly recipients: string;
}

export const EMPTY_INSTALLER: InstallerDraft = { contact: '', site: '', note: '', recipients: '' };

export function draftOfInstaller({ contact, site, note, recipients }: InstallerView): InstallerDraft {
  return { contact: contact ?? '', site: site ?? '', note: note ?? '', recipients: recipients.join('\n') };
}

/** The body of POST /v1/installers. */
export function installerFrom(name: string, draft: InstallerDraft): object {
  return { name: name.trim(), ...changeOfInstaller(EMPTY_INSTALLER, draft) };
}

/**
 * The fields that differ, as PATCH takes them. Recipients that stay are not in it: a change of
 * texts needs no password.
 */
export function changeOfInstaller(before: InstallerDraft, after: InstallerDraft): object {
  const texts = (['contact', 'site', 'note'] as const).flatMap((field) => {
    const text = after[field].trim();
    return text === before[field] ? [] : [[field, text === '' ? null : text] as const];
  });
  const [stored, recipients] = [readRecipients(before.recipients), readRecipients(after.recipients)];
  return {
    ...Object.fromEntries(texts),
    ...(recipients.join('\n') === stored.join('\n') ? {} : { recipients }),
  };
}

/** Returns the installer of that name, as orders have it. */
export function installerNamed(list: InstallerList | undefined, name: string): InstallerView | undefined {
  const wanted = name.normalize('NFC').trim();
  return list?.items.find((one) => one.name === wanted);
}
