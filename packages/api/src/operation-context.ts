/** What an operation is given when a route calls it. */

import type { Context } from '@latchkey/operations';
import { readClock } from '@latchkey/runtime/daemon';
import { actorOf } from './access.js';
import type { RouteContext } from './route.js';

export function operationContext({ registry, principal, visibleOrders, walks, signal }: RouteContext): Context {
  const runSteps: Context['runSteps'] = (steps) => walks.run(steps, signal);
  return { registry, clock: readClock, actor: actorOf(principal), visibleOrders, runSteps };
}
