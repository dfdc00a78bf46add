/** Users and their roles, for an administrator in the console. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { orderLimitFields } from '@latchkey/operations/contract';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { requireFreshSignIn, ROLES } from '../access.js';
import { limitsFrom } from '../order-limits.js';
import { Problem, refusable } from '../problem.js';
import { sendObject } from '../send.js';
import {
  addUser,
  createLink,
  isUserName,
  linkExpiry,
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
  ...orderLimitFields,
});
const setSchema = z.strictObject({ role: roleSchema, ...orderLimitFields });
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
    const items = users.list().map(({ name, role, limits, identity, hasPassword, createdBy, createdAt, link }) => ({
      user: name,
      role,
      installer: limits?.installer ?? null,
      orders: limits?.orders ?? null,
      sites: limits?.sites ?? null,
      provider: identity?.issuer ?? null,
      has_password: hasPassword,
      created_by: createdBy,
      created_at: isoTime(createdAt),
      link_expires_at: linkExpiry(link, now, registryRestoredAt),
    }));
    return sendObject(reply, { items });
  });

  server.post('/v1/users', options, async (request, reply) => {
    const { user, role, ...given } = bodyOf(addSchema, request);
    const limits = limitsFrom(given);
    const administration = await administrationToChange(request);
    if (administration.users.find(user) !== undefined) throw new Problem('already-exists');
    const link = await refusable(addUser(administration, user, role, limits));
    return sendObject(reply.code(201), { user, role, ...limits, ...describeLink(link) });
  });

  server.patch<OfUser>('/v1/users/:name', options, async (request, reply) => {
    const { role, ...given } = bodyOf(setSchema, request);
    const limits = limitsFrom(given);
    const { name } = request.params;
    const administration = await administrationToChange(request);
    if (!(await refusable(setRole(administration, name, role, limits)))) throw new Problem('not-found');
    return sendObject(reply, { user: name, role, ...limits });
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
    requireFreshSignIn(request.principal);
    return administrationOf(request);
  }
}

function describeLink({ url, expiresAt }: SignInLink): object {
  return { link: url, link_expires_at: isoTime(expiresAt) };
}
