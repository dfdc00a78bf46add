import type { NodeStatus, OrderStatus } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useSay } from '../phrase.js';

/** Colour, shape and word: none of them is needed to understand the others. */
export function StateBadge({ state }: { readonly state: NodeStatus }): JSX.Element {
  const say = useSay();
  return <span class={`badge state-${state}`}>{say(`state.${state}`)}</span>;
}

export function OrderBadge({ state }: { readonly state: OrderStatus }): JSX.Element {
  const say = useSay();
  return <span class={`badge order-${state}`}>{say(`order-state.${state}`)}</span>;
}
