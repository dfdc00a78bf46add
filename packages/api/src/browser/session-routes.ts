/** Sign-in, sign-out, and a person's own sessions and password. */

import type { FastifyInstance, FastifyReply } from 'fastify';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { SCOPES, scopesOf } from '../access.js';
import type { OidcSignIn } from '../oidc/oidc-sign-in.js';
import { Problem } from '../problem.js';
import { sendObject } from '../send.js';
import { MAX_PASSWORD, MIN_PASSWORD, passwordOctets } from '../users/password.js';
import { type NewSession, type OpenSession, SESSION_COOKIE, type Sessions } from '../users/sessions.js';
import { bodyOf } from './body.js';

const COOKIE_ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Strict';
/** Of a name or a token: no longer one is anybody's. */
const MAX_TEXT = 256;

const textSchema = z.string().min(1).max(MAX_TEXT);
const passwordSchema = z
  .string()
  .min(1)
  .refine((text) => passwordOctets(text).length <= MAX_PASSWORD, { error: `expected ${MAX_PASSWORD} octets at most` });
const newPasswordSchema = passwordSchema.refine((text) => passwordOctets(text).length >= MIN_PASSWORD, {
  error: `expected ${MIN_PASSWORD} octets at least`,
});

const loginSchema = z.strictObject({ user: textSchema, password: passwordSchema });
const linkSchema = z.strictObject({ token: textSchema, password: newPasswordSchema });
const stepUpSchema = z.strictObject({ password: passwordSchema });
const changeSchema = z.strictObject({ password: passwordSchema, new_password: newPasswordSchema });
const nothingSchema = z.strictObject({});

/** @param oidc if persons may sign in with a provider */
export function addSessionRoutes(server: FastifyInstance, sessions: Sessions, oidc: OidcSignIn | undefined): void {
  const open = { config: { scope: 'public' } } as const;
  const own = { config: { scope: 'own' } } as const;

  server.get('/v1/login', open, async (_, reply) => sendObject(reply, { oidc: oidc !== undefined }));

  server.post('/v1/login', open, async (request, reply) => {
    const { user, password } = bodyOf(loginSchema, request);
    return sendNewSession(reply, sessions, await sessions.signIn(request, user, password));
  });

  server.post('/v1/login/link', open, async (request, reply) => {
    const { token, password } = bodyOf(linkSchema, request);
    return sendNewSession(reply, sessions, await sessions.redeemLink(request, token, password));
  });

  server.post('/v1/logout', own, async (request, reply) => {
    bodyOf(nothingSchema, request);
    const { user } = sessions.of(request);
    await sessions.signOut(request);
    reply.header('set-cookie', `${SESSION_COOKIE}=; Max-Age=0; ${COOKIE_ATTRIBUTES}`);
    const location = user.identity === undefined ? undefined : await oidc?.logoutUrl();
    // The session here has ended; that of the provider ends there.
    return location === undefined ? reply.code(204).send() : sendObject(reply, { location });
  });

  server.get('/v1/me', own, async (request, reply) => sendObject(reply, describe(sessions, sessions.of(request))));

  server.post('/v1/step-up', own, async (request, reply) => {
    const { password } = bodyOf(stepUpSchema, request);
    return sendObject(reply, { signed_in_at: isoTime(await sessions.stepUp(request, password)) });
  });

  server.post('/v1/password', own, async (request, reply) => {
    const { password, new_password: next } = bodyOf(changeSchema, request);
    await sessions.changePassword(request, password, next);
    return reply.code(204).send();
  });

  server.get('/v1/sessions', own, async (request, reply) => {
    const { record: current } = sessions.of(request);
    const listed = await sessions.list(request);
    const items = listed
      .toSorted((a, b) => b.lastUsedAt - a.lastUsedAt)
      .map(({ id, user, createdAt, lastUsedAt, address }) => ({
        id,
        user,
        created_at: isoTime(createdAt),
        last_used_at: isoTime(lastUsedAt),
        address,
        is_current: id === current.id,
      }));
    return sendObject(reply, { items });
  });

  server.delete<{ Params: { readonly id: string } }>('/v1/sessions/:id', own, async (request, reply) => {
    if (!(await sessions.end(request, request.params.id))) throw new Problem('not-found');
    return reply.code(204).send();
  });
}

export function sendNewSession(reply: FastifyReply, sessions: Sessions, session: NewSession): FastifyReply {
  reply.header('set-cookie', `${SESSION_COOKIE}=${session.cookie}; ${COOKIE_ATTRIBUTES}`);
  return sendObject(reply, { ...describe(sessions, session), secret: session.secret });
}

function describe(sessions: Sessions, session: OpenSession): object {
  const { user, record } = session;
  const scopes = scopesOf(user.role);
  return {
    user: user.name,
    role: user.role,
    sign_in: user.identity === undefined ? 'password' : 'oidc',
    scopes: SCOPES.filter((scope) => scopes.has(scope)),
    session: record.id,
    signed_in_at: isoTime(record.signedInAt),
    expires_at: isoTime(sessions.expiresAt(session)),
  };
}
