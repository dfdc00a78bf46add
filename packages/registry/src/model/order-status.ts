/**
 * Whether the nodes of an order may join for the first time, in a word: what was decided about it,
 * and its window at the time one asks.
 */

import type { OrderRecord } from './rows.js';

/** `scheduled`, `ended`: it was left open, and its window is not. */
export const ORDER_STATES = ['open', 'scheduled', 'ended', 'suspended', 'closed'] as const;
export type OrderStatus = (typeof ORDER_STATES)[number];

/** `undefined`: the order is not finished, and not there for anybody. */
export function orderStatus({ state, joinFrom, joinUntil }: OrderRecord, now: number): OrderStatus | undefined {
  if (state === 'pending') return undefined;
  if (state !== 'open') return state;
  if (joinFrom !== undefined && now < joinFrom) return 'scheduled';
  return joinUntil !== undefined && now > joinUntil ? 'ended' : 'open';
}
