/** Orders and imports, with the count of their nodes. */

import {
  call,
  type Context,
  ordersClose,
  ordersList,
  ordersOpen,
  ordersResume,
  ordersSet,
  ordersShow,
  ordersSuspend,
} from '@latchkey/operations';
import { ORDER_STATES, orderSchema as contractSchema, orderTextFields } from '@latchkey/operations/contract';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { pageOf } from '../pages.js';
import { type Route, defineRoute } from '../route.js';
import { cursorSchema, limitSchema, orderNumberSchema, pageSchema, timeSchema } from '../schemas.js';
import { orderVersion } from '../versions.js';

const orderSchema = contractSchema.meta({ id: 'Order' });

const list = defineRoute({
  name: ordersList.name,
  summary: 'List orders and imports',
  description: 'In ascending order of number.',
  scope: ordersList.scope,
  isLimitable: true,
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
  isLimitable: true,
  path: '/v1/orders/:order',
  input: z.strictObject({ order: orderNumberSchema }),
  version: orderVersion,
  output: orderSchema,
  run: (context, input) => call(ordersShow, operationContext(context), input),
});

/** `null` for a window that does not begin, or does not end. */
const boundSchema = timeSchema.nullable().optional();

const changeSchema = z
  .strictObject({
    order: orderNumberSchema,
    state: z.enum(['open', 'suspended', 'closed']).optional().describe('`closed` is for good'),
    join_from: boundSchema.describe('With `join_until` it replaces the window; null: at once'),
    join_until: boundSchema.describe('null: without an end'),
    ...orderTextFields,
  })
  .refine(
    ({ state, join_from: from, join_until: until, contact, site }) =>
      [state, from, until].every((value) => value === undefined) !== [contact, site].every((value) => value === undefined),
    { error: 'expected state, join_from or join_until, or contact or site' },
  )
  .refine(({ state = 'open', join_from: from, join_until: until }) => state === 'open' || (from ?? until) === undefined, {
    error: 'expected a join window with state open only',
  });

const changedSchema = z.object({
  order: orderNumberSchema,
  state: z.enum(ORDER_STATES),
  changed: z.boolean().optional().describe('Of contact and site: whether they were others before'),
  contact: z.string().nullable().optional(),
  site: z.string().nullable().optional(),
});

const change = defineRoute({
  method: 'PATCH',
  name: 'orders.change',
  summary: 'Open an order for a join window, suspend, resume, close or describe it',
  description:
    'State `open` resumes the order within its window. `join_from` or `join_until` opens it for a new window, which has no bound that is left out.',
  scope: ordersOpen.scope,
  isLimitable: true,
  path: '/v1/orders/:order',
  input: changeSchema,
  version: orderVersion,
  output: changedSchema,
  run: (context, input) => changeOrder(operationContext(context), input),
});

async function changeOrder(
  context: Context,
  { order, state, join_from: from, join_until: until, ...texts }: z.output<typeof changeSchema>,
): Promise<z.input<typeof changedSchema>> {
  if (texts.contact !== undefined || texts.site !== undefined) {
    const set = await call(ordersSet, context, { order, ...texts });
    const { state: now } = await call(ordersShow, context, { order });
    return { ...set, state: now };
  }
  if (state === 'suspended') return call(ordersSuspend, context, { order });
  if (state === 'closed') return call(ordersClose, context, { order });
  if (from === undefined && until === undefined) return call(ordersResume, context, { order });
  return call(ordersOpen, context, { order, join_from: from ?? undefined, join_until: until ?? undefined });
}

export const orderRoutes: readonly Route[] = [list, show, change];
