/** How many nodes and orders are in each state. */

import { isoTime } from '@latchkey/runtime/iso-time';
import { nodeState } from '@latchkey/operations';
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
  path: '/v1/summary',
  input: z.strictObject({}),
  output: z
    .object({
      at: timeSchema,
      nodes: z.object({ total: z.int(), never_joined: z.int(), by_state: countsSchema(NODE_STATES) }),
      orders: z.object({ total: z.int(), by_state: countsSchema(ORDER_STATES) }),
      controllers: z.object({ total: z.int() }),
    })
    .meta({ id: 'Summary' }),
  async run({ registry, walks, now, signal }) {
    const nodes = { total: 0, never_joined: 0, by_state: zeroes<NodeStatus>(NODE_STATES) };
    const orders = { total: 0, by_state: zeroes<OrderStatus>(ORDER_STATES) };
    for (const order of registry.orders()) {
      const state = orderStatus(order, now);
      if (state === undefined) continue;
      orders.total += 1;
      orders.by_state[state] += 1;
    }
    const controllers = { total: [...registry.controllers()].length };
    await walks.nodes(
      registry,
      0,
      (node) => {
        nodes.total += 1;
        if (node.initial) nodes.never_joined += 1;
        nodes.by_state[nodeState(node, now)] += 1;
        return true;
      },
      signal,
    );
    return { at: isoTime(now), nodes, orders, controllers };
  },
});

function zeroes<S extends string>(states: readonly S[]): Record<S, number> {
  return Object.fromEntries(states.map((state) => [state, 0])) as Record<S, number>;
}

export const summaryRoutes: readonly Route[] = [show];
