/** IDs that controllers asked for and that are not in the registry. */

import { call, waitingDismiss, waitingList } from '@latchkey/operations';
import { waitingNodeSchema } from '@latchkey/operations/contract';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { Problem } from '../problem.js';
import { type Route, defineRoute } from '../route.js';
import { cursorSchema, idSchema, limitSchema, pageSchema } from '../schemas.js';

const LIST_NAME = 'waiting';

const list = defineRoute({
  name: waitingList.name,
  summary: 'List IDs that controllers asked for and that are not in the registry',
  description: 'In ascending order of ID. `similar` has nodes whose ID is one typing error away. At 1,024 IDs all of them go.',
  scope: waitingList.scope,
  path: '/v1/waiting',
  input: z.strictObject({ limit: limitSchema, after: cursorSchema }),
  output: pageSchema(waitingNodeSchema.meta({ id: 'WaitingNode' }), 'IDs that wait'),
  async run(context, { limit, after }) {
    const { opaque, principal } = context;
    const cursor = after === undefined ? undefined : idSchema.safeParse(opaque.openCursor(principal, LIST_NAME, after));
    if (cursor?.success === false) throw new Problem('cursor-invalid');
    const { items, next, total } = await call(waitingList, operationContext(context), { after: cursor?.data, limit });
    return { items: [...items], next: next === null ? null : opaque.sealCursor(principal, LIST_NAME, next), total };
  },
});

const dismiss = defineRoute({
  method: 'DELETE',
  name: waitingDismiss.name,
  summary: 'Take an ID off the list of those that wait',
  description: 'It is on the list again once a controller asks for it again.',
  scope: waitingDismiss.scope,
  path: '/v1/waiting/:id',
  input: z.strictObject({ id: idSchema }),
  output: waitingDismiss.output,
  run: (context, { id }) => call(waitingDismiss, operationContext(context), { ids: [id] }),
});

export const waitingRoutes: readonly Route[] = [list, dismiss];
