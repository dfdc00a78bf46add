import type { NodeStatus, OrderStatus } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import type { Health } from '../controller-health.js';
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

export function HealthBadge({ health }: { readonly health: Health }): JSX.Element {
  const say = useSay();
  return <span class={`badge health-${health}`}>{say(`health.${health}`)}</span>;
}
