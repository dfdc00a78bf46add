/** What an operation is given when a route calls it. */

import type { Context } from '@latchkey/operations';
import { actorOf } from './access.js';
import type { RouteContext } from './route.js';

export function operationContext({ registry, principal, visibleOrders, walks, signal }: RouteContext): Context {
  return {
    registry: registry.until(signal),
    clock: registry.clock,
    actor: actorOf(principal),
    visibleOrders,
    inTurn: (walk) => walks.run(walk, signal, principal.id),
  };
}
