/** Answers requests for the routes: reads their input, runs them, and sends what they return. */

import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Registry } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import { actorOf, type Principal } from './access.js';
import type { OpaqueValues } from './opaque.js';
import { Problem } from './problem.js';
import type { RegistryAccess } from './registry-access.js';
import { parseQuery, type PathValues, readBody, readInput } from './request-input.js';
import type { Method, Route, RouteServices } from './route.js';
import { sendJson } from './send.js';
import { preconditionOf, versionTag } from './versions.js';

const METHODS = ['DELETE', 'OPTIONS', 'PATCH', 'POST', 'PUT'] as const;

export interface RouteEnvironment {
  readonly registry: RegistryAccess;
  readonly services: RouteServices;
}

export function addRoutes(server: FastifyInstance, routes: readonly Route[], environment: RouteEnvironment): void {
  const methods = new Map<string, Method[]>();
  for (const route of routes) {
    addRoute(server, route, environment);
    methods.set(route.path, [...(methods.get(route.path) ?? []), route.method ?? 'GET']);
  }
  for (const [path, served] of methods) addMethodNotAllowed(server, path, served);
}

function addRoute(server: FastifyInstance, route: Route, { registry, services }: RouteEnvironment): void {
  const { method = 'GET', scope, path, output, version } = route;
  server.route({
    method,
    url: path,
    config: { scope },
    async handler(request, reply) {
      const { principal } = request;
      if (principal === null) throw new Problem('not-authenticated');
      const input = inputOf(route, request);
      const signal = abortedWithConnection(reply.raw);
      const now = Date.now();
      return registry.use(async (opened) => {
        const isRead = method === 'GET';
        const acting = isRead ? opened : registryFor(opened, route, { request, principal, input, services });
        // Read first: a change in between makes the tag too old, never too new.
        const thing = isRead ? version?.(input as never) : undefined;
        const tag = thing && (await versionTag(thing, opened, services.opaque, principal));
        const run = (): unknown => route.run({ ...services, registry: acting, principal, now, signal }, input as never);
        const body = Buffer.from(JSON.stringify(output.parse(await withProblems(run))));
        if (isRead) return sendTagged(request, reply, body, etagOf(services.opaque, principal, body, tag));
        return sendJson(reply, 'application/json', body);
      });
    },
  });
}

function inputOf({ method = 'GET', input }: Route, { params, query, body }: FastifyRequest): object {
  const path = params as PathValues;
  const values = parseQuery((query as { readonly text?: string }).text ?? '');
  if (method === 'GET') return readInput(input, path, values);
  if (values.size > 0) throw new Problem('bad-request', { errors: [{ at: 'query', is: 'expected no parameters' }] });
  // A DELETE says all in its path.
  if (method !== 'DELETE') return readBody(input, path, body);
  if (body !== undefined) throw new Problem('bad-request', { errors: [{ at: 'body', is: 'expected no body' }] });
  return readBody(input, path, {});
}

interface Change {
  readonly request: FastifyRequest;
  readonly principal: Principal;
  readonly input: object;
  readonly services: RouteServices;
}

/** The registry as the caller changes it: in the caller's name, and only what it has seen. */
function registryFor(opened: Registry, { version }: Route, { request, principal, input, services }: Change): Registry {
  const actor = actorOf(principal);
  if (version === undefined) return opened.actingAs(actor);
  const { 'if-match': ifMatch } = request.headers;
  return opened.actingAs(actor, preconditionOf(version(input as never), ifMatch, services.opaque, principal));
}

/** What an operation says of its caller's mistake is answered, not logged. */
async function withProblems<T>(action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw (error instanceof Failure ? Problem.ofFailure(error) : undefined) ?? error;
  }
}

/** A strong entity tag: of the version, which If-Match compares, and of the body. */
function etagOf(opaque: OpaqueValues, principal: Principal, body: Uint8Array, version: string | undefined): string {
  const tag = opaque.tag(principal, body);
  return version === undefined ? `"${tag}"` : `"${version}.${tag}"`;
}

/** Sends no body to a client that has it already. */
function sendTagged(request: FastifyRequest, reply: FastifyReply, body: Buffer, etag: string): FastifyReply {
  reply.header('etag', etag);
  const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? [];
  if (known.includes(etag) || known.includes('*')) return reply.code(304).send();
  return sendJson(reply, 'application/json', body);
}

function abortedWithConnection(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => controller.abort());
  return controller.signal;
}

function addMethodNotAllowed(server: FastifyInstance, path: string, served: readonly Method[]): void {
  const allow = served.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
  server.route({
    method: METHODS.filter((method) => !served.some((one) => one === method)),
    url: path,
    config: { scope: 'read' },
    // Refused before the body is read.
    onRequest: async (_, reply) => {
      reply.header('allow', allow);
      throw new Problem('method-not-allowed');
    },
    handler: async () => undefined,
  });
}
