/** What the API says of itself: its OpenAPI document. */

import { z } from 'zod';
import { openApiOf } from '../openapi.js';
import { type Route, defineRoute } from '../route.js';

/** @param routes all others */
export function descriptionRoute(routes: readonly Route[]): Route {
  const route: Route = defineRoute({
    name: 'api.describe',
    summary: 'Describe the API as an OpenAPI document',
    scope: 'read',
    isLimitable: true,
    path: '/v1/openapi.json',
    input: z.strictObject({}),
    output: z.record(z.string(), z.unknown()),
    run: () => openApiOf([...routes, route]),
  });
  return route;
}
