/** How many nodes and orders are in each state. */

import { isoTime } from '@latchkey/runtime/iso-time';
import { isVisible, nodeState } from '@latchkey/operations';
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
  async run({ registry, visibleOrders, walks, now, signal }) {
    const nodes = { total: 0, never_joined: 0, by_state: zeroes<NodeStatus>(NODE_STATES) };
    const orders = { total: 0, by_state: zeroes<OrderStatus>(ORDER_STATES) };
    for (const order of await registry.orders()) {
      const state = orderStatus(order, now);
      if (state === undefined || !isVisible(visibleOrders, order.number)) continue;
      orders.total += 1;
      orders.by_state[state] += 1;
    }
    /** Of visible nodes. */
    const controllersSeen = new Set<number>();
    await walks.run(async () => {
      for await (const page of registry.until(signal).nodePages())
        for (const node of page) {
          if (!isVisible(visibleOrders, node.order)) continue;
          nodes.total += 1;
          if (visibleOrders !== undefined) controllersSeen.add(node.controller);
          if (node.initial) nodes.never_joined += 1;
          nodes.by_state[nodeState(node, now)] += 1;
        }
    }, signal);
    const controllers = visibleOrders === undefined ? (await registry.controllers()).length : controllersSeen.size;
    return { at: isoTime(now), nodes, orders, controllers: { total: controllers } };
  },
});

function zeroes<S extends string>(states: readonly S[]): Record<S, number> {
  return Object.fromEntries(states.map((state) => [state, 0])) as Record<S, number>;
}

export const summaryRoutes: readonly Route[] = [show];
