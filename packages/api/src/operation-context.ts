/** What an operation is given when a route calls it. */

import type { Context } from '@latchkey/operations';
import { readClock } from '@latchkey/runtime/daemon';
import { actorOf } from './access.js';
import type { RouteContext } from './route.js';

export function operationContext({ registry, principal, walks, signal }: RouteContext): Context {
  return { registry, clock: readClock, actor: actorOf(principal), runSteps: (steps) => walks.run(steps, signal) };
}
