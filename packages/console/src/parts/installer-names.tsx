/** Names of installers, as orders have them: to choose one, and to notice one that is mistyped. */

import type { OrderView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import type { InstallerList } from '../installer-draft.js';
import type { ListData } from '../list-page.js';
import { useResource } from '../resource.js';
import type { ControlProps } from './form-field.js';

/** Orders whose installers are offered. */
const MAX_OFFERED = 1_000;
/** ID of the list of the input. */
const INSTALLER_NAMES = 'installer-names';

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

interface InstallerNameInputProps {
  readonly control: ControlProps;
  readonly names: ReadonlySet<string>;
  readonly value: string;
  readonly onInput: (name: string) => void;
}

export function InstallerNameInput({ control, names, value, onInput }: InstallerNameInputProps): JSX.Element {
  return (
    <>
      <input
        {...control}
        required
        list={INSTALLER_NAMES}
        autoComplete="off"
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <datalist id={INSTALLER_NAMES}>
        {[...names].map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </>
  );
}
