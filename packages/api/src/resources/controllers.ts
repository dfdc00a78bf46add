/** Controllers: where they are, and what a server last saw of them. */

import { call, controllersList, controllersShow } from '@latchkey/operations';
import { controllerSchema as contractSchema } from '@latchkey/operations/contract';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { pageOf } from '../pages.js';
import { type Route, defineRoute } from '../route.js';
import { cursorSchema, idSchema, limitSchema, pageSchema } from '../schemas.js';

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
  output: controllersShow.output.meta({ id: 'ControllerDetails' }),
  run: (context, input) => call(controllersShow, operationContext(context), input),
});

export const controllerRoutes: readonly Route[] = [list, show];
