/**
 * The state of an order in one word: whether its nodes may join for the first time. It follows from
 * the order's stored state, and from its window at the current time.
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
