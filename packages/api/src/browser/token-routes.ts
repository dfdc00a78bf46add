/** API tokens of persons: a person makes and revokes the own ones, an administrator revokes any. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { orderLimitFields } from '@latchkey/operations/contract';
import { z } from 'zod';
import { LIMITABLE_SCOPES, PERSON_SCOPES, requireFreshSignIn, scopesOf } from '../access.js';
import { limitsFrom } from '../order-limits.js';
import { Problem, refusable } from '../problem.js';
import { sendObject } from '../send.js';
import {
  addToken,
  MAX_LIFETIME_S,
  maxLifetimeOf,
  mayMakeTokens,
  readTokenName,
  revokeToken,
  TOKEN_NAME_RULE,
  type TokenAdministration,
  viewToken,
} from '../tokens/administration.js';
import { isNetwork } from '../tokens/networks.js';
import { generateToken } from '../tokens/token.js';
import type { TokenRecord } from '../tokens/token-store.js';
import type { Sessions } from '../users/sessions.js';
import type { UserRecord, UserStore } from '../users/user-store.js';
import { bodyOf } from './body.js';

const DEFAULT_LIFETIME_S = 90 * 86_400;
const MAX_NETWORKS = 32;

const createSchema = z.strictObject({
  name: z.string().refine((text) => readTokenName(text) !== undefined, { error: TOKEN_NAME_RULE }),
  scopes: z.array(z.enum(PERSON_SCOPES)).min(1).max(PERSON_SCOPES.length),
  lifetime_seconds: z.int().min(60).max(MAX_LIFETIME_S).optional(),
  networks: z
    .array(z.string().refine(isNetwork, { error: 'expected an address, or a network such as 192.0.2.0/24 or 2001:db8::/32' }))
    .max(MAX_NETWORKS)
    .default([]),
  ...orderLimitFields,
});

export interface TokenRoutesOptions {
  readonly sessions: Sessions;
  /** Of a request that was authenticated. */
  readonly administrationOf: (request: FastifyRequest) => Promise<TokenAdministration & { readonly users: UserStore }>;
  readonly takesTokens: boolean;
}

export function addTokenRoutes(server: FastifyInstance, { sessions, administrationOf, takesTokens }: TokenRoutesOptions): void {
  const own = { config: { scope: 'own' } } as const;

  server.get('/v1/tokens', own, async (request, reply) => {
    const { user } = sessions.of(request);
    const { tokens, users, registryRestoredAt } = await administrationOf(request);
    const context = { users, registryRestoredAt, now: Date.now() };
    const items = (await tokens.list())
      .filter((token) => maySee(user, token))
      .map((token) => Object.assign(viewToken(token, context), { is_own: isOwn(user, token) }));
    return sendObject(reply, { items, takes_tokens: takesTokens });
  });

  server.post('/v1/tokens', own, async (request, reply) => {
    const { user } = sessions.of(request);
    const maxLifetime = maxLifetimeOf(user);
    const {
      name,
      scopes,
      lifetime_seconds: lifetimeSeconds = Math.min(DEFAULT_LIFETIME_S, maxLifetime),
      networks,
      ...given
    } = bodyOf(createSchema, request);
    if (lifetimeSeconds > maxLifetime)
      throw new Problem('bad-request', {
        errors: [{ at: 'lifetime_seconds', is: `expected ${maxLifetime} at most, for a person of the sign-in provider` }],
      });
    const allowed = scopesOf(user.role);
    if (!mayMakeTokens(user) || !scopes.every((scope) => allowed.has(scope)))
      throw new Problem('forbidden', { detail: 'A token may do no more than the person who makes it; an installer makes none.' });
    const limits = limitsFrom(given);
    if (limits !== undefined && !scopes.every((scope) => LIMITABLE_SCOPES.includes(scope)))
      throw new Problem('bad-request', {
        errors: [
          {
            at: 'scopes',
            is: `not one of ${LIMITABLE_SCOPES.filter((scope) => PERSON_SCOPES.includes(scope)).join(', ')}, so orders, installer and sites do not limit it`,
          },
        ],
      });
    if (request.principal !== null) requireFreshSignIn(request.principal);
    const administration = await administrationOf(request);
    const token = generateToken();
    const terms = {
      name: readTokenName(name) ?? name,
      scopes: [...new Set(scopes)],
      limits,
      networks,
      lifetimeSeconds,
      owner: { name: user.name, createdAt: user.createdAt },
    };
    const record = await refusable(addToken(administration, token, terms));
    const view = viewToken({ ...record, lastUse: undefined }, { ...administration, now: record.createdAt });
    return sendObject(reply.code(201), { ...view, is_own: true, token: token.text });
  });

  server.delete<{ Params: { readonly id: string } }>('/v1/tokens/:id', own, async (request, reply) => {
    const { user } = sessions.of(request);
    const administration = await administrationOf(request);
    const token = await administration.tokens.find(request.params.id);
    if (token === undefined || !maySee(user, token) || !(await revokeToken(administration, token.id)))
      throw new Problem('not-found');
    return reply.code(204).send();
  });
}

function isOwn({ name, createdAt }: UserRecord, { owner }: TokenRecord): boolean {
  return owner?.name === name && owner.createdAt === createdAt;
}

function maySee(user: UserRecord, token: TokenRecord): boolean {
  return isOwn(user, token) || scopesOf(user.role).has('admin');
}
