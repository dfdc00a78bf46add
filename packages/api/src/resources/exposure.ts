/** Who could know initial keys. Needs a walk through all nodes, so the result is kept. */

import { call, ordersExposure } from '@latchkey/operations';
import { exposureSchema, type ExposureInput, type ExposureView } from '@latchkey/operations/contract';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { type Page, type PageInput, pageOf } from '../pages.js';
import { type Route, type RouteContext, defineRoute } from '../route.js';
import { cursorSchema, limitSchema, orderNumberSchema, pageSchema, timeSchema } from '../schemas.js';

const inputFields = {
  max_age_seconds: z.int().min(0).max(86_400).default(300).describe('How old the result may be; 0 for the state of now'),
  limit: limitSchema,
  after: cursorSchema,
};

const outputSchema = pageSchema(exposureSchema.meta({ id: 'Exposure' }), 'Lines of the result').extend({
  at: timeSchema.describe('When the registry was read'),
});

/** A walk that was begun for one caller goes on for others who wait for it. */
const NEVER = new AbortController().signal;

/** Input of both routes without the order. */
type ResultInput = PageInput & { readonly max_age_seconds: number };

async function pageAt(
  context: RouteContext,
  input: ExposureInput,
  { max_age_seconds: maxAge, ...page }: ResultInput,
): Promise<Page<ExposureView> & { readonly at: string }> {
  const { registry, exposures, now } = context;
  const name = input.order === undefined ? 'all' : String(input.order);
  const { at, items } = await exposures.get(registry, name, { now, maxAgeMs: 1000 * maxAge }, async () => {
    const found = await call(ordersExposure, operationContext({ ...context, signal: NEVER }), input);
    return found.items;
  });
  return { at: isoTime(at), ...pageOf(context, `exposure ${name}`, items, (_, index) => index, page) };
}

const list = defineRoute({
  name: 'exposure.list',
  summary: 'Say who could know the initial keys of each order',
  description: 'A line for each order. The result is kept: `at` says when the registry was read.',
  scope: ordersExposure.scope,
  path: '/v1/exposure',
  input: z.strictObject(inputFields),
  output: outputSchema,
  run: (context, input) => pageAt(context, {}, input),
});

const show = defineRoute({
  name: ordersExposure.name,
  summary: 'Say who could know the initial keys of one order',
  description: 'A line for each key. The result is kept: `at` says when the registry was read.',
  scope: ordersExposure.scope,
  path: '/v1/orders/:order/exposure',
  input: z.strictObject({ order: orderNumberSchema, ...inputFields }),
  output: outputSchema,
  run: (context, { order, ...input }) => pageAt(context, { order }, input),
});

export const exposureRoutes: readonly Route[] = [list, show];
