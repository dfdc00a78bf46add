/** How many nodes and orders are in each state. */

import { isoTime } from '@latchkey/runtime/iso-time';
import { isVisible } from '@latchkey/operations';
import { NODE_STATES, type NodeStatus } from '@latchkey/operations/contract';
import { ORDER_STATES, orderStatus, type OrderStatus } from '@latchkey/registry';
import { z } from 'zod';
import { type Route, defineRoute } from '../route.js';
import { timeSchema } from '../schemas.js';

function countsSchema<S extends string>(states: readonly S[]): z.ZodObject<Record<S, z.ZodInt>> {
  return z.object(Object.fromEntries(states.map((state) => [state, z.int()])) as Record<S, z.ZodInt>);
}

const show = defineRoute({
  name: 'summary.show',
  summary: 'Count nodes and orders by state',
  scope: 'read',
  isLimitable: true,
  path: '/v1/summary',
  input: z.strictObject({}),
  output: z
    .object({
      at: timeSchema,
      nodes: z.object({ total: z.int(), never_joined: z.int(), by_state: countsSchema(NODE_STATES) }),
      orders: z.object({ total: z.int(), by_state: countsSchema(ORDER_STATES) }),
      controllers: z.object({ total: z.int() }).describe('To a caller with limits: those of its nodes'),
    })
    .meta({ id: 'Summary' }),
  async run({ registry: all, visibleOrders, now, signal }) {
    const registry = all.until(signal);
    const orders = { total: 0, by_state: zeroes<OrderStatus>(ORDER_STATES) };
    for (const order of await registry.orders()) {
      const state = orderStatus(order, now);
      if (state === undefined || !isVisible(visibleOrders, order.number)) continue;
      orders.total += 1;
      orders.by_state[state] += 1;
    }
    const filter = { orders: visibleOrders && [...visibleOrders] };
    const nodes = { total: 0, never_joined: 0, by_state: zeroes<NodeStatus>(NODE_STATES) };
    for (const [state, tally] of await registry.nodeCounts(filter, now, 'state')) {
      nodes.by_state[state] = tally.nodes;
      nodes.total += tally.nodes;
      nodes.never_joined += tally.nodes - tally.joined;
    }
    const controllers =
      visibleOrders === undefined
        ? (await registry.controllers()).length
        : (await registry.nodeCounts(filter, now, 'controller')).size;
    return { at: isoTime(now), nodes, orders, controllers: { total: controllers } };
  },
});

function zeroes<S extends string>(states: readonly S[]): Record<S, number> {
  return Object.fromEntries(states.map((state) => [state, 0])) as Record<S, number>;
}

export const summaryRoutes: readonly Route[] = [show];
