/** Names of installers, as orders have them: to choose one, and to notice one that is mistyped. */

import type { OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import type { InstallerList } from '../installer-draft.js';
import type { ListData } from '../list-page.js';
import { useResource } from '../resource.js';

/** Orders whose installers are offered. */
const MAX_OFFERED = 1_000;
/** Of the list that an input has as its `list`. */
export const INSTALLER_NAMES = 'installer-names';

interface InstallerNames {
  readonly names: ReadonlySet<string>;
  /** Whether there are no other names. */
  readonly isComplete: boolean;
}

/** @param stored installers that are offered beside those of orders */
export function useInstallerNames(stored: InstallerList | undefined): InstallerNames {
  const { data } = useResource<ListData<OrderView>>(`/v1/orders?limit=${MAX_OFFERED}`);
  return {
    names: new Set([...(stored?.items ?? []).map(({ name }) => name), ...(data?.items ?? []).map(({ installer }) => installer)]),
    isComplete: data?.next === null,
  };
}

export function InstallerNameList({ names }: Pick<InstallerNames, 'names'>): JSX.Element {
  return (
    <datalist id={INSTALLER_NAMES}>
      {[...names].map((name) => (
        <option key={name} value={name} />
      ))}
    </datalist>
  );
}
