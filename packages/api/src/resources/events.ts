/** Changes of the registry as they happen. */

import { z } from 'zod';
import { type Route, defineRoute } from '../route.js';
import { idSchema, orderNumberSchema } from '../schemas.js';

const follow = defineRoute({
  name: 'events.follow',
  summary: 'Follow what happens, as server-sent events',
  description:
    'An event for each entry of the audit log, in the order of the log. Beyond 20 a second an event `rate` says how many there were of each kind. `Last-Event-ID` goes on after that event. An event `resync` says that events were left out: read again what you show. A comment comes at least every 15 s or so.',
  scope: 'read',
  isLimitable: true,
  path: '/v1/events',
  input: z.strictObject({
    what: z
      .array(z.string().min(1).max(64))
      .max(32)
      .optional()
      .describe('Kind of entry, e.g. `node joined`; repeat it for several'),
    node: idSchema.optional(),
    controller: idSchema.optional(),
    order: orderNumberSchema.optional().describe('Entries about the order itself'),
  }),
  mediaType: 'text/event-stream',
  output: z.string().describe('`data:` is JSON: `at`, `what`, and `node`, `controller`, `order` or `count`'),
  run({ events, principal, registry, headers }, filter) {
    const { 'last-event-id': lastEventId } = headers;
    return events.open(principal, registry, filter, typeof lastEventId === 'string' ? lastEventId : undefined);
  },
});

export const eventRoutes: readonly Route[] = [follow];
