/**
 * The API over HTTP. Each request passes, in this order: the start of the API, the rule of its
 * socket, authentication, rate limit, scope, schema. A route without a scope is refused to
 * everybody, unless it says that it is public or about the caller's own things.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { Failure } from '@latchkey/runtime/failure';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { readVersion } from '@latchkey/runtime/telemetry';
import { z } from 'zod';
import { actorOf, type Principal, type Scope } from './access.js';
import { BodyTimeouts, LONGEST_REQUEST_MS, REQUEST_TIMEOUT_S } from './body-timeouts.js';
import { answerClientError, answerLate } from './client-errors.js';
import type { Route, RouteServices } from './route.js';
import { Problem, PROBLEM_TYPE, problemOfStatus } from './problem.js';
import { problemAtWork } from './problem-at-work.js';
import { RateLimiter } from './rate-limiter.js';
import type { RegistryAccess } from './registry-access.js';
import { addRoutes } from './route-handler.js';
import { SECURITY_HEADERS } from './security-headers.js';
import { VERSION_HEADER } from './version-header.js';
import { sendJson } from './send.js';
import { CONNECTION_TIMEOUT_MS } from './timeouts.js';

const MAX_BODY = 65_536;
const MAX_HEADER_SIZE = 16_384;
const MAX_PATH_PARAMETER = 64;
export const MAX_CONNECTIONS = 256;
/** For a header to arrive in full, and for an idle connection, in ms. */
const HEADER_TIMEOUT_MS = 1000 * REQUEST_TIMEOUT_S;
const IDLE_TIMEOUT_MS = 60_000;
/** A connection is closed after so many requests: credentials are those of its start. */
const MAX_REQUESTS_PER_CONNECTION = 10_000;
/** Seconds after which a client may ask again that met a registry it could not have. */
const RETRY_AFTER_S = 5;

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal | null;
  }
  interface FastifyContextConfig {
    /**
     * `public`: without authentication. `own`: for every caller, about the caller's own objects.
     */
    scope?: Scope | 'own' | 'public';
    /** It shows only what its caller sees. Without it callers with limits are refused. */
    isLimitable?: boolean;
    /** It takes initial keys, and none from a token. */
    takesKeys?: boolean;
  }
}

export interface ServerOptions {
  readonly routes: readonly Route[];
  readonly registry: RegistryAccess;
  readonly services: RouteServices;
  /** Requests wait for it. It rejects with a Problem if the API cannot start. */
  readonly opened: Promise<void>;
  /** Throws a Problem for a request that this socket does not take. */
  readonly checkRequest: (request: FastifyRequest) => void;
  /** Returns `undefined` for a caller that is not known. */
  readonly authenticate: (request: FastifyRequest) => Principal | undefined | Promise<Principal | undefined>;
  /** How a caller that is not known may authenticate, as WWW-Authenticate has it. */
  readonly challenge?: string;
  /** Adds routes that this socket has and others do not. */
  readonly extend?: (server: FastifyInstance) => void;
  readonly log: Log;
  readonly monotonicMs?: (() => number) | undefined;
}

/** A server that listens nowhere yet. */
export function buildServer(options: ServerOptions): FastifyInstance {
  const { routes, log, opened, checkRequest, authenticate, challenge } = options;
  const rateLimiter = new RateLimiter(options.monotonicMs);
  const limitedLog = new RateLimitedLog(log);
  const { version } = readVersion();
  const server = fastify({
    bodyLimit: MAX_BODY,
    requestTimeout: LONGEST_REQUEST_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    maxRequestsPerSocket: MAX_REQUESTS_PER_CONNECTION,
    forceCloseConnections: 'idle',
    http: { maxHeaderSize: MAX_HEADER_SIZE, headersTimeout: HEADER_TIMEOUT_MS, connectionsCheckingInterval: 1_000 },
    routerOptions: {
      maxParamLength: MAX_PATH_PARAMETER,
      querystringParser: (text) => ({ text }),
    },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => void sendProblem(reply, toProblem(error, request, limitedLog)),
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  const bodyTimeouts = new BodyTimeouts();
  // Before fastify, which answers some requests without its hooks.
  server.server.prependListener('request', (incoming: IncomingMessage, outgoing: ServerResponse) =>
    bodyTimeouts.start(incoming, outgoing, () => answerLate(incoming, outgoing)),
  );
  server.decorateRequest('principal', null);
  server.removeContentTypeParser('text/plain');

  server.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS);
    await opened;
    checkRequest(request);
    const { scope, isLimitable, takesKeys } = request.routeOptions.config;
    if (scope === 'public') return;
    const principal = await authenticate(request);
    if (principal === undefined) {
      if (challenge !== undefined) reply.header('www-authenticate', challenge);
      throw new Problem('not-authenticated');
    }
    request.principal = principal;
    reply.header(VERSION_HEADER, version);
    rateLimiter.takeOrThrow(principal.id);
    if (request.is404) return;
    if (scope === undefined || (scope !== 'own' && !principal.scopes.has(scope))) throw new Problem('forbidden');
    if (principal.limits !== undefined && scope !== 'own' && isLimitable !== true) throw new Problem('forbidden');
    // A thief of the token would learn the keys that it fetches, and could use them for any node.
    if (principal.keyRecipients !== undefined && takesKeys === true)
      throw new Problem('forbidden', {
        detail: 'A token brings no keys in.',
        advice: 'Import the file on the machine of the registry, with --data or over the unix socket.',
      });
  });
  server.addHook('onResponse', async (request, reply) => {
    const { principal, method, routeOptions } = request;
    const caller = principal === null ? undefined : actorOf(principal);
    log.debug({ caller, method, route: routeOptions.url, status: reply.statusCode }, 'answered');
    if (reply.statusCode === 401 || reply.statusCode === 403)
      limitedLog.warn('refused', { caller, method, route: routeOptions.url, status: reply.statusCode }, 'refused');
  });
  server.setErrorHandler(async (error, request, reply) => sendProblem(reply, toProblem(error, request, limitedLog)));
  server.setNotFoundHandler(async (_, reply) => sendProblem(reply, new Problem('not-found')));

  addRoutes(server, routes, { ...options, bodyTimeouts });
  options.extend?.(server);
  return server;
}

function toProblem(error: unknown, request: FastifyRequest, log: RateLimitedLog): Problem {
  if (error instanceof Problem) return error;
  const route = request.routeOptions.url;
  if (error instanceof Failure) {
    log.error('failure', { route, advice: error.advice }, error.message);
    return problemAtWork(error, request.principal?.limits, RETRY_AFTER_S);
  }
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
  if (status >= 400 && status < 500) return new Problem(problemOfStatus(status));
  // The caller has gone, and the work for it was given up.
  if (error instanceof Error && error.name === 'AbortError') return new Problem('request-timeout');
  log.error('internal error', { route }, `internal error: ${describeError(error)}`);
  return new Problem('internal-error');
}

/** An output that is not of its schema is named by its fields: its values may be anything. */
function describeError(error: unknown): string {
  if (error instanceof z.ZodError)
    return `the output is not of its schema: ${error.issues.map(({ path }) => path.join('.')).join(', ')}`;
  return error instanceof Error ? error.message : String(error);
}

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  const { retryAfter } = problem.details;
  reply.headers(SECURITY_HEADERS);
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter));
  return sendJson(reply.code(problem.status), PROBLEM_TYPE, Buffer.from(JSON.stringify(problem)));
}
