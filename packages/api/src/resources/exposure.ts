/**
 * Reports who could know initial keys. The report needs a walk through all nodes, so its result is
 * cached.
 */

import { call, ordersExposure } from '@latchkey/operations';
import { exposureSchema, type ExposureInput, type ExposureView } from '@latchkey/operations/contract';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { type Page, pageByPlace, type PageInput } from '../pages.js';
import { type Route, type RouteContext, defineRoute } from '../route.js';
import { cursorSchema, limitSchema, orderNumberSchema, pageSchema, timeSchema } from '../schemas.js';

const DEFAULT_MAX_AGE_S = 300;

const inputFields = {
  max_age_seconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(DEFAULT_MAX_AGE_S)
    .describe('How old the result may be; 0 for the state of now. Later pages are of the result of the first'),
  limit: limitSchema,
  after: cursorSchema,
};

const outputSchema = pageSchema(exposureSchema.meta({ id: 'Exposure' }), 'Lines of the result').extend({
  at: timeSchema.describe('When the registry was read'),
});

/** Input of both routes without the order. */
type ResultInput = PageInput & { readonly max_age_seconds: number };

async function pageAt(
  context: RouteContext,
  input: ExposureInput,
  { max_age_seconds: maxAge, ...page }: ResultInput,
): Promise<Page<ExposureView> & { readonly at: string }> {
  const { registry, exposures, now } = context;
  const name = input.order === undefined ? 'all' : String(input.order);
  // A walk for each page would take the square of the time, and pages would not go together.
  const maxAgeMs = 1000 * (page.after === undefined ? maxAge : Math.max(maxAge, DEFAULT_MAX_AGE_S));
  const result = await exposures.get(registry, name, { now, maxAgeMs }, async (signal) => {
    const found = await call(ordersExposure, operationContext({ ...context, signal }), input);
    return found.items;
  });
  return { at: isoTime(result.at), ...(await pageByPlace(context, `exposure ${name}`, result, page)) };
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
