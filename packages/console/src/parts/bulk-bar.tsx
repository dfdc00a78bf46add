/** How many nodes are chosen, and what can be done with them. */

import type { NodeView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { type BulkKind, MAX_NAMED, selectionOf } from '../bulk-change.js';
import { useSay } from '../phrase.js';
import { useMay } from '../session.js';
import type { NodeFilters } from '../url-state.js';
import { BulkDialog } from './bulk-dialog.js';

/** Nodes one by one, or all that pass the filters. */
export interface Choice {
  readonly nodes: ReadonlyMap<string, NodeView>;
  readonly isAll: boolean;
}

export const NO_CHOICE: Choice = { nodes: new Map(), isAll: false };

/** Adds the nodes to what is chosen, or takes them out, up to the bound. */
export function chosenWith(choice: Choice, nodes: readonly NodeView[], isChosen: boolean): Choice {
  const changed = new Map(choice.isAll ? [] : choice.nodes);
  for (const node of nodes) {
    if (!isChosen) changed.delete(node.id);
    else if (changed.size < MAX_NAMED) changed.set(node.id, node);
  }
  return { nodes: changed, isAll: false };
}

interface BulkBarProps {
  readonly choice: Choice;
  readonly filters: NodeFilters;
  /** Nodes under the filters. */
  readonly total: number | null;
  readonly onChoose: (choice: Choice) => void;
}

export function BulkBar({ choice, filters, total, onChoose }: BulkBarProps): JSX.Element {
  const say = useSay();
  const [opened, setOpened] = useState<BulkKind>();
  const mayMove = [useMay('controllers'), useMay('keys')].every(Boolean);
  const count = choice.isAll ? (total ?? 0) : choice.nodes.size;
  if (count === 0) return <p class="quiet">{say('bulk.hint')}</p>;
  const mayChooseAll = total !== null && (total <= MAX_NAMED || selectionOf(filters, Date.now()) !== undefined);
  const kinds: readonly BulkKind[] = [
    'disable',
    'enable',
    ...(mayMove ? (['move'] as const) : []),
    'set',
    'tag',
    'site',
    'remove',
  ];
  return (
    <section class="bulk" aria-label={say('bulk.title')}>
      <strong role="status">{say('bulk.chosen', {}, count)}</strong>
      {!choice.isAll &&
        total !== null &&
        total > count &&
        (mayChooseAll ? (
          <button type="button" onClick={() => onChoose({ nodes: new Map(), isAll: true })}>
            {say('bulk.choose-all', {}, total)}
          </button>
        ) : (
          <span class="quiet">{say('bulk.too-many', {}, MAX_NAMED)}</span>
        ))}
      <button type="button" class="plain" onClick={() => onChoose(NO_CHOICE)}>
        {say('bulk.clear')}
      </button>
      <span class="kinds">
        {kinds.map((kind) => (
          <button key={kind} type="button" onClick={() => setOpened(kind)}>
            {say(`bulk.${kind}`)}
          </button>
        ))}
      </span>
      {opened !== undefined && (
        <BulkDialog
          kind={opened}
          choice={choice}
          filters={filters}
          onClose={(hasBegun) => {
            setOpened(undefined);
            if (hasBegun) onChoose(NO_CHOICE);
          }}
        />
      )}
    </section>
  );
}
