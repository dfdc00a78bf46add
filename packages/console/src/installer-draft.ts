/** Installers as they are typed, and as the API takes them. */

import type { InstallerView } from '@latchkey/operations/contract';
import { changeFrom, type DescriptionDraft, draftOf } from './description-draft.js';

export interface InstallerList {
  readonly items: readonly InstallerView[];
}

/** All of them: the API stores no more than one page has. */
export const INSTALLERS = '/v1/installers?limit=1000';

/** The body of POST /v1/installers. */
export function installerFrom(name: string, draft: DescriptionDraft): object {
  return { name: name.trim(), ...changeFrom(draftOf('installer', {}), draft) };
}

/** Returns the installer of that name, as orders have it. */
export function installerNamed(list: InstallerList | undefined, name: string): InstallerView | undefined {
  const wanted = name.normalize('NFC').trim();
  return list?.items.find((one) => one.name === wanted);
}
