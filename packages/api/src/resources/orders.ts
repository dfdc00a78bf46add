/** Orders and imports, with the count of their nodes. */

import { call, ordersList, ordersShow } from '@latchkey/operations';
import { orderSchema as contractSchema } from '@latchkey/operations/contract';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { pageOf } from '../pages.js';
import { type Route, defineRoute } from '../route.js';
import { cursorSchema, limitSchema, orderNumberSchema, pageSchema } from '../schemas.js';

const orderSchema = contractSchema.meta({ id: 'Order' });

const list = defineRoute({
  name: ordersList.name,
  summary: 'List orders and imports',
  description: 'In ascending order of number.',
  scope: ordersList.scope,
  path: '/v1/orders',
  input: z.strictObject({ limit: limitSchema, after: cursorSchema }),
  output: pageSchema(orderSchema, 'Orders and imports'),
  async run(context, page) {
    const { items } = await call(ordersList, operationContext(context), {});
    return pageOf(context, ordersList.name, items, ({ order }) => order, page);
  },
});

const show = defineRoute({
  name: ordersShow.name,
  summary: 'Show one order or import',
  scope: ordersShow.scope,
  path: '/v1/orders/:order',
  input: z.strictObject({ order: orderNumberSchema }),
  output: orderSchema,
  run: (context, input) => call(ordersShow, operationContext(context), input),
});

export const orderRoutes: readonly Route[] = [list, show];
