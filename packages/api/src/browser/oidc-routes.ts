/**
 * Sign-in with an OpenID provider. The provider redirects the browser to a page of the console,
 * which passes the result on in a request of its own origin. No cookie therefore has to survive a
 * redirect.
 */

import type { FastifyInstance } from 'fastify';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import type { OidcSignIn } from '../oidc/oidc-sign-in.js';
import { sendObject } from '../send.js';
import { cookieOf, type Sessions } from '../users/sessions.js';
import { bodyOf } from './body.js';
import { sendNewSession } from './session-routes.js';

const COOKIE = '__Host-latchkey-oidc';
const COOKIE_ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Strict';
const COOKIE_AGE_S = 600;
/** Characters: codes of providers may be long. */
const MAX_QUERY = 8_192;
const MAX_SECRET = 256;

const nothingSchema = z.strictObject({});
const startSchema = z.strictObject({ fresh: z.boolean().default(false) });
/** A page that has none brings an empty text. */
const finishSchema = z.strictObject({ secret: z.string().max(MAX_SECRET), query: z.string().min(1).max(MAX_QUERY) });

export function addOidcRoutes(server: FastifyInstance, sessions: Sessions, oidc: OidcSignIn): void {
  const open = { config: { scope: 'public' } } as const;
  const own = { config: { scope: 'own' } } as const;

  server.post('/v1/login/oidc', open, async (request, reply) => {
    const { fresh } = bodyOf(startSchema, request);
    sessions.takeSignIn(request);
    const { url, handle, secret } = await oidc.begin(fresh);
    reply.header('set-cookie', `${COOKIE}=${handle}; Max-Age=${COOKIE_AGE_S}; ${COOKIE_ATTRIBUTES}`);
    return sendObject(reply, { location: url, secret });
  });

  server.post('/v1/login/oidc/callback', open, async (request, reply) => {
    const { secret, query } = bodyOf(finishSchema, request);
    sessions.takeSignIn(request);
    const person = await oidc.finish(cookieOf(request, COOKIE), secret, query);
    const session = await sessions.beginForPerson(request, person);
    reply.header('set-cookie', `${COOKIE}=; Max-Age=0; ${COOKIE_ATTRIBUTES}`);
    return sendNewSession(reply, sessions, session);
  });

  // The session of the page continues, so no new cookie is needed.
  server.post('/v1/step-up/oidc', own, async (request, reply) => {
    bodyOf(nothingSchema, request);
    sessions.takeStepUp(request);
    const { url, secret } = await oidc.beginStepUp(sessions.of(request).record.id);
    return sendObject(reply, { location: url, secret });
  });

  server.post('/v1/step-up/oidc/callback', own, async (request, reply) => {
    const { secret, query } = bodyOf(finishSchema, request);
    const person = await oidc.finishStepUp(sessions.of(request).record.id, secret, query);
    return sendObject(reply, { signed_in_at: isoTime(await sessions.stepUpPerson(request, person)) });
  });
}
