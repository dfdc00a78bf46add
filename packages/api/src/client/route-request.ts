/** Builds the request of a route from its input. The reverse of `request-input`. */

import { randomUUID } from 'node:crypto';
import type { Route } from '../route.js';
import type { ApiRequest } from './connection.js';
import { ifUnfinished } from './unfinished.js';

export type RouteInput = Readonly<Record<string, unknown>>;

/** A change overwrites the current version, like a command on the machine. */
const ANY_VERSION = '*';

/** @param input of the route's schema; fields that are `undefined` are left out */
export function requestOf(route: Route, input: RouteInput): ApiRequest {
  const { method = 'GET', version, isIdempotent, beginsJob } = route;
  const rest = new Map(Object.entries(input).filter(([, value]) => value !== undefined));
  const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) => {
    const value = rest.get(name);
    rest.delete(name);
    return encodeURIComponent(String(value));
  });
  const headers: Record<string, string> = {};
  if (method !== 'GET' && version !== undefined) headers['if-match'] = ANY_VERSION;
  if (isIdempotent?.(input as never) === true) headers['idempotency-key'] = randomUUID();
  if (method === 'GET') return { method, path: `${path}${queryOf(rest)}`, headers, isRepeatable: true };
  const hasBody = method === 'PATCH' || (method === 'POST' && rest.size > 0);
  const body = hasBody ? JSON.stringify(Object.fromEntries(rest)) : undefined;
  return {
    method,
    path,
    headers,
    body,
    isRepeatable: beginsJob === true || headers['idempotency-key'] !== undefined,
    ifUnanswered: beginsJob === true ? undefined : ifUnfinished(route),
  };
}

/** Values of a list are repeated. */
function queryOf(fields: ReadonlyMap<string, unknown>): string {
  const query = new URLSearchParams();
  for (const [name, value] of fields) for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
  return query.size === 0 ? '' : `?${query.toString()}`;
}
