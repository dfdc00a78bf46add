/** Times of which no key is committed, since a clock was set back. */

import { call, clockShow } from '@latchkey/operations';
import { z } from 'zod';
import { operationContext } from '../operation-context.js';
import { type Route, defineRoute } from '../route.js';

const show = defineRoute({
  name: clockShow.name,
  summary: 'Show times of which no key is committed',
  description: 'The clock showed them before it was set back. `latchkey-auth-server clock release` ends that.',
  scope: clockShow.scope,
  path: '/v1/clock',
  input: z.strictObject({}),
  output: clockShow.output.meta({ id: 'Clock' }),
  run: (context) => call(clockShow, operationContext(context), {}),
});

export const clockRoutes: readonly Route[] = [show];
