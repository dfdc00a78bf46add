/** The tables of the pages: a name for screen readers, the heads of the columns, and rows. */

import type { ComponentChildren, JSX } from 'preact';
import { useSay } from '../phrase.js';
import type { StringKey } from '../strings/index.js';

export interface Column {
  readonly name: StringKey;
  /** `number`; and from which width on it is shown: `wide`, `wider`, `widest`. */
  readonly class?: string;
}

/** The last column of a table whose rows have buttons. */
export const ACTIONS: Column = { name: 'orders.actions' };

interface ListTableProps {
  readonly caption: StringKey;
  readonly columns: readonly Column[];
  readonly isBusy?: boolean;
  /** Rows. */
  readonly children: ComponentChildren;
}

export function ListTable({ caption, columns, isBusy, children }: ListTableProps): JSX.Element {
  const say = useSay();
  return (
    <table class="list" aria-busy={isBusy}>
      <caption class="hidden">{say(caption)}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            <th key={column.name} scope="col" class={column.class}>
              {column === ACTIONS ? <span class="hidden">{say(column.name)}</span> : say(column.name)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}
