/** Saved filters of nodes: a person's own, and those that others share with everybody. */

import type { FastifyInstance } from 'fastify';
import { textSchema } from '@latchkey/operations/contract';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { Problem, refusable } from '../problem.js';
import { sendObject } from '../send.js';
import { type FilterRecord, MAX_FILTERS, type SavedFilters } from '../users/saved-filters.js';
import type { Sessions } from '../users/sessions.js';
import type { UserRecord } from '../users/user-store.js';
import { bodyOf } from './body.js';

const MAX_NAME = 64;
const MAX_QUERY = 2_048;
/** What a browser writes into a query: every other character is percent-encoded. */
const QUERY = /^[\w*.+%&=~-]+$/;

const fields = {
  name: textSchema(MAX_NAME),
  query: z.string().max(MAX_QUERY, `expected ${MAX_QUERY} octets at most`).regex(QUERY, 'expected a query of the page of nodes'),
};
const addSchema = z.strictObject({ ...fields, is_shared: z.boolean().default(false) });
const changeSchema = z
  .strictObject({
    name: fields.name.optional(),
    query: fields.query.optional(),
    is_shared: z.boolean().optional(),
  })
  .refine((changes) => Object.keys(changes).length > 0, { error: 'expected name, query or is_shared' });

interface OfFilter {
  readonly Params: { readonly id: string };
}

export function addFilterRoutes(server: FastifyInstance, sessions: Sessions, filters: SavedFilters): void {
  const own = { config: { scope: 'own' } } as const;

  server.get('/v1/filters', own, async (request, reply) => {
    const { user } = sessions.of(request);
    return sendObject(reply, { items: filters.list(user).map((filter) => view(filter, user)), max_own: MAX_FILTERS });
  });

  server.post('/v1/filters', own, async (request, reply) => {
    const { user } = sessions.of(request);
    const { is_shared: isShared, ...terms } = bodyOf(addSchema, request);
    return sendObject(reply.code(201), view(await refusable(filters.add(user, { ...terms, isShared })), user));
  });

  server.patch<OfFilter>('/v1/filters/:id', own, async (request, reply) => {
    const { user } = sessions.of(request);
    const { name, query, is_shared: isShared } = bodyOf(changeSchema, request);
    const changes = {
      ...(name === undefined ? {} : { name }),
      ...(query === undefined ? {} : { query }),
      ...(isShared === undefined ? {} : { isShared }),
    };
    const filter = await refusable(filters.change(user, request.params.id, changes));
    if (filter === undefined) throw new Problem('not-found');
    return sendObject(reply, view(filter, user));
  });

  server.delete<OfFilter>('/v1/filters/:id', own, async (request, reply) => {
    const { user } = sessions.of(request);
    if (!(await filters.remove(user, request.params.id))) throw new Problem('not-found');
    return reply.code(204).send();
  });
}

function view({ id, owner, ownerName, name, query, isShared, savedAt }: FilterRecord, user: UserRecord): object {
  return {
    id,
    name,
    query,
    is_shared: isShared,
    is_own: owner === user.id,
    user: ownerName,
    saved_at: isoTime(savedAt),
  };
}
