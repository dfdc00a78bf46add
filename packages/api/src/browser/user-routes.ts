/** Users and their roles, for an administrator in the console. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { requireFreshSignIn, ROLES } from '../access.js';
import { Problem } from '../problem.js';
import { sendObject } from '../send.js';
import {
  addUser,
  createLink,
  isUserName,
  removeUser,
  setRole,
  type SignInLink,
  USER_NAME_RULE,
  type UserAdministration,
} from '../users/administration.js';
import { bodyOf } from './body.js';

const roleSchema = z.enum(ROLES);
const addSchema = z.strictObject({
  user: z.string().refine(isUserName, { error: USER_NAME_RULE }),
  role: roleSchema,
});
const setSchema = z.strictObject({ role: roleSchema });
const nothingSchema = z.strictObject({});

interface OfUser {
  readonly Params: { readonly name: string };
}

/** @param administrationOf of a request that was authenticated */
export function addUserRoutes(
  server: FastifyInstance,
  administrationOf: (request: FastifyRequest) => Promise<UserAdministration>,
): void {
  const options = { config: { scope: 'admin' } } as const;

  server.get('/v1/users', options, async (request, reply) => {
    const { users, registryRestoredAt } = await administrationOf(request);
    const now = Date.now();
    const items = users.list().map(({ name, role, hasPassword, createdBy, createdAt, link }) => ({
      user: name,
      role,
      has_password: hasPassword,
      created_by: createdBy,
      created_at: isoTime(createdAt),
      link_expires_at:
        link !== undefined && link.expiresAt > now && link.registryRestoredAt === registryRestoredAt
          ? isoTime(link.expiresAt)
          : null,
    }));
    return sendObject(reply, { items });
  });

  server.post('/v1/users', options, async (request, reply) => {
    const { user, role } = bodyOf(addSchema, request);
    const administration = await administrationToChange(request);
    if (administration.users.find(user) !== undefined) throw new Problem('already-exists');
    const link = await addUser(administration, user, role);
    return sendObject(reply.code(201), { user, role, ...describeLink(link) });
  });

  server.patch<OfUser>('/v1/users/:name', options, async (request, reply) => {
    const { role } = bodyOf(setSchema, request);
    const { name } = request.params;
    if (!(await setRole(await administrationToChange(request), name, role))) throw new Problem('not-found');
    return sendObject(reply, { user: name, role });
  });

  server.post<OfUser>('/v1/users/:name/link', options, async (request, reply) => {
    bodyOf(nothingSchema, request);
    const link = await createLink(await administrationToChange(request), request.params.name);
    if (link === undefined) throw new Problem('not-found');
    return sendObject(reply.code(201), describeLink(link));
  });

  server.delete<OfUser>('/v1/users/:name', options, async (request, reply) => {
    if (!(await removeUser(await administrationToChange(request), request.params.name))) throw new Problem('not-found');
    return reply.code(204).send();
  });

  async function administrationToChange(request: FastifyRequest): Promise<UserAdministration> {
    if (request.principal === null) throw new Problem('not-authenticated');
    requireFreshSignIn(request.principal, Date.now());
    return administrationOf(request);
  }
}

function describeLink({ url, expiresAt }: SignInLink): object {
  return { link: url, link_expires_at: isoTime(expiresAt) };
}
