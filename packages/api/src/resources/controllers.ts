/** Controllers: their addresses, and the activity that a server last recorded. */

import { call, controllersList, controllersRemove, controllersSet, controllersShow } from '@latchkey/operations';
import { controllerSchema as contractSchema, controllerTextFields, endpointSchema } from '@latchkey/operations/contract';
import { z } from 'zod';
import { requireScope } from '../access.js';
import { operationContext } from '../operation-context.js';
import { pageOf } from '../pages.js';
import { type Route, defineRoute } from '../route.js';
import { cursorSchema, idSchema, limitSchema, pageSchema } from '../schemas.js';
import { controllerVersion } from '../versions.js';

/** Auth-servers of one controller. */
const MAX_SERVERS = 16;

const list = defineRoute({
  name: controllersList.name,
  summary: 'List controllers',
  description: 'In ascending order of ID.',
  scope: controllersList.scope,
  path: '/v1/controllers',
  input: z.strictObject({ limit: limitSchema, after: cursorSchema }),
  output: pageSchema(contractSchema.meta({ id: 'Controller' }), 'Controllers'),
  async run(context, page) {
    const { items } = await call(controllersList, operationContext(context), {});
    return pageOf(context, controllersList.name, items, ({ id }) => id, page);
  },
});

const show = defineRoute({
  name: controllersShow.name,
  summary: 'Show one controller, with the count of its nodes',
  scope: controllersShow.scope,
  path: '/v1/controllers/:id',
  input: z.strictObject({ id: idSchema }),
  version: controllerVersion,
  output: controllersShow.output.meta({ id: 'ControllerDetails' }),
  run: (context, input) => call(controllersShow, operationContext(context), input),
});

const change = defineRoute({
  method: 'PATCH',
  name: controllersSet.name,
  summary: 'Change where a controller is, which servers it asks, whether it is pass-through, and what it is called',
  description: 'Answers with the state before the change, and with the orders whose manifests have the address before.',
  scope: controllersSet.scope,
  path: '/v1/controllers/:id',
  input: z
    .strictObject({
      id: idSchema,
      nid: endpointSchema.optional(),
      servers: z.array(endpointSchema).min(1).max(MAX_SERVERS).optional(),
      pass_through: z.boolean().optional(),
      ...controllerTextFields,
    })
    .refine(({ id: _, ...settings }) => Object.values(settings).some((value) => value !== undefined), {
      error: 'expected nid, servers, pass_through, name, site or contact',
    }),
  version: controllerVersion,
  output: controllersSet.output,
  run(context, input) {
    if (input.pass_through === false)
      requireScope(context.principal, 'keys', 'A controller that is not pass-through is given the keys of its nodes.');
    return call(controllersSet, operationContext(context), input);
  },
});

const remove = defineRoute({
  method: 'DELETE',
  name: controllersRemove.name,
  summary: 'Remove a controller that has no nodes',
  scope: controllersRemove.scope,
  path: '/v1/controllers/:id',
  input: z.strictObject({ id: idSchema }),
  version: controllerVersion,
  output: controllersRemove.output,
  run: (context, input) => call(controllersRemove, operationContext(context), input),
});

export const controllerRoutes: readonly Route[] = [list, show, change, remove];
