/**
 * Routes of a command that wants to be signed in, on the socket for callers with tokens, and of the
 * person who decides, on the listeners for browsers.
 */

import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { PERSON_SCOPES, requireFreshSignIn } from '../access.js';
import { bodyOf } from '../browser/body.js';
import { Problem } from '../problem.js';
import { sendObject } from '../send.js';
import { forwardedAddress } from '../tokens/networks.js';
import type { Sessions } from '../users/sessions.js';
import type { CommandLogins } from './command-logins.js';
import { BEGIN_PATH, CANCEL_PATH, FETCH_PATH, MAX_LIFETIME_S, MAX_MACHINE, MIN_LIFETIME_S } from './contract.js';

/** Octets of a body: these routes read those of callers without credentials. */
const MAX_BODY = 2_048;

const MAX_CONTEXT = 64;

const nameSchema = (max: number): z.ZodString =>
  z
    .string()
    .max(max)
    .regex(/^[\w.-]+$/, { error: 'expected letters, digits, `.`, `_` and `-`' });
const scopesSchema = z.array(z.enum(PERSON_SCOPES)).min(1).max(PERSON_SCOPES.length);
const beginSchema = z.strictObject({
  // A name says nothing to a person that would make them confirm.
  machine: nameSchema(MAX_MACHINE),
  context: nameSchema(MAX_CONTEXT),
  scopes: scopesSchema.optional(),
  lifetime_seconds: z.int().min(MIN_LIFETIME_S).max(MAX_LIFETIME_S).default(MAX_LIFETIME_S),
});
/** Of a command that fetches its token, or gives up. */
const secretSchema = z.strictObject({ secret: z.string().max(64) });
const codeSchema = z.string().min(1).max(32);
const findSchema = z.strictObject({ code: codeSchema });
const confirmSchema = z.strictObject({ code: codeSchema, scopes: scopesSchema });

/** For callers without credentials, each with its own limit of rate. */
export function addCommandLoginRoutes(server: FastifyInstance, logins: CommandLogins): void {
  const open = { bodyLimit: MAX_BODY, config: { scope: 'public' } } as const;

  server.post(BEGIN_PATH, open, async (request, reply) => {
    const { machine, context, scopes, lifetime_seconds: lifetimeSeconds } = bodyOf(beginSchema, request);
    const begun = logins.begin({ machine, context, scopes, lifetimeSeconds }, forwardedAddress(request.headers));
    return sendObject(reply.code(201), begun);
  });

  server.post(FETCH_PATH, open, async (request, reply) => {
    const { secret } = bodyOf(secretSchema, request);
    return sendObject(reply, await logins.fetch(secret, forwardedAddress(request.headers)));
  });

  server.post(CANCEL_PATH, open, async (request, reply) => {
    const { secret } = bodyOf(secretSchema, request);
    logins.cancel(secret, forwardedAddress(request.headers));
    return reply.code(204).send();
  });
}

/** For persons. The code is in the body: URLs are in histories and logs. */
export function addLoginDecisionRoutes(server: FastifyInstance, sessions: Sessions, logins: CommandLogins): void {
  const own = { config: { scope: 'own' } } as const;

  server.post(`${BEGIN_PATH}/find`, own, async (request, reply) => {
    const { code } = bodyOf(findSchema, request);
    return sendObject(reply, logins.find(sessions.of(request).user, code));
  });

  server.post(`${BEGIN_PATH}/confirm`, own, async (request, reply) => {
    const { code, scopes } = bodyOf(confirmSchema, request);
    const { principal } = request;
    if (principal === null) throw new Problem('not-authenticated');
    requireFreshSignIn(principal);
    await logins.confirm(sessions.of(request).user, code, scopes);
    return reply.code(204).send();
  });

  server.post(`${BEGIN_PATH}/refuse`, own, async (request, reply) => {
    const { code } = bodyOf(findSchema, request);
    await logins.refuse(sessions.of(request).user, code);
    return reply.code(204).send();
  });
}
