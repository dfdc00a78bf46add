/** Handles requests for the routes: parses their input, runs them, and sends the result. */

import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type VisibleOrders, visibleOrdersOf } from '@latchkey/operations';
import type { Registry } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import { actorOf, type Principal } from './access.js';
import type { BodyTimeouts } from './body-timeouts.js';
import { Accepted, type RawAnswer } from './answers.js';
import type { StoredAnswer } from './jobs/request-store.js';
import { Problem } from './problem.js';
import type { RegistryAccess } from './registry-access.js';
import { parseQuery, type PathValues, readBody, readInput } from './request-input.js';
import type { Method, Route, RouteServices } from './route.js';
import { SECURITY_HEADERS } from './security-headers.js';
import { sendJson } from './send.js';
import { preconditionOf, type VersionCheck, versionCheckOf, versionTag } from './versions.js';

const METHODS = ['DELETE', 'OPTIONS', 'PATCH', 'POST', 'PUT'] as const;
const JSON_TYPE = 'application/json';

export interface RouteEnvironment {
  readonly registry: RegistryAccess;
  readonly services: RouteServices;
  readonly bodyTimeouts: BodyTimeouts;
}

export function addRoutes(server: FastifyInstance, routes: readonly Route[], environment: RouteEnvironment): void {
  const methods = new Map<string, Method[]>();
  for (const route of routes) {
    addRoute(server, route, environment);
    methods.set(route.path, [...(methods.get(route.path) ?? []), route.method ?? 'GET']);
  }
  for (const [path, served] of methods) addMethodNotAllowed(server, path, served);
}

function addRoute(server: FastifyInstance, route: Route, environment: RouteEnvironment): void {
  const { registry, services } = environment;
  const { method = 'GET', scope, isLimitable, takesKeys, path, maxBody } = route;
  server.route({
    method,
    url: path,
    config: { scope, isLimitable: isLimitable === true, takesKeys: takesKeys === true },
    exposeHeadRoute: route.mediaType === undefined,
    ...(maxBody === undefined ? {} : { bodyLimit: maxBody, onRequest: takeTurn(route, environment) }),
    async handler(request, reply) {
      const { principal } = request;
      if (principal === null) throw new Problem('not-authenticated');
      const input = inputOf(route, request);
      const signal = abortedWithConnection(reply.raw);
      return registry.use(async (opened) => {
        const visibleOrders = await visibleOrdersOf(opened, principal.limits);
        const opaque = services.opaque.of(opened.restored?.at);
        const call = { route, request, principal, visibleOrders, input, services: { ...services, opaque }, signal };
        if (route.mediaType !== undefined)
          return sendRaw(reply, (await run(call, opened.actingAs(actorOf(principal)))) as RawAnswer);
        if (method === 'GET') return sendRead(reply, call, opened);
        return sendChange(
          reply,
          route.isIdempotent?.(input as never) === true ? await runOnce(call, opened) : await change(call, opened),
        );
      });
    },
  });
}

/** Runs once the caller is known, and before the body is read. */
function takeTurn(
  { checkCaller }: Route,
  { services: { largeBodies }, bodyTimeouts }: RouteEnvironment,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async ({ principal, raw }, reply) => {
    if (principal === null) throw new Problem('not-authenticated');
    checkCaller?.(principal);
    reply.raw.once('close', largeBodies.take(principal));
    bodyTimeouts.admit(raw);
  };
}

/** One request of a route. */
interface RouteCall {
  readonly route: Route;
  readonly request: FastifyRequest;
  readonly principal: Principal;
  readonly visibleOrders: VisibleOrders;
  readonly input: object;
  readonly services: RouteServices;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
}

function inputOf({ method = 'GET', input }: Route, { params, query, body }: FastifyRequest): object {
  const path = params as PathValues;
  const values = parseQuery((query as { readonly text?: string }).text ?? '');
  if (method === 'GET') return readInput(input, path, values);
  if (values.size > 0) throw new Problem('bad-request', { errors: [{ at: 'query', is: 'expected no parameters' }] });
  // A DELETE says all in its path.
  if (method === 'PATCH' || (method === 'POST' && body !== undefined)) return readBody(input, path, body);
  if (body !== undefined) throw new Problem('bad-request', { errors: [{ at: 'body', is: 'expected no body' }] });
  return readBody(input, path, {});
}

/** What an operation says of its caller's mistake is answered, not logged. */
async function run(call: RouteCall, registry: Registry, requireVersion: VersionCheck = anyVersion): Promise<unknown> {
  const { route, request, principal, visibleOrders, input, services, signal } = call;
  try {
    return await route.run(
      {
        ...services,
        registry,
        principal,
        visibleOrders,
        headers: request.headers,
        now: registry.clock().wallMs,
        signal,
        requireVersion,
      },
      input as never,
    );
  } catch (error) {
    throw (error instanceof Failure ? Problem.ofFailure(error) : undefined) ?? error;
  }
}

function anyVersion(): void {
  // A read, or a change that needs no If-Match.
}

async function sendRaw(reply: FastifyReply, { headers, start }: RawAnswer): Promise<FastifyReply> {
  reply.hijack();
  reply.raw.writeHead(200, { ...SECURITY_HEADERS, ...headers });
  await start(reply.raw);
  return reply;
}

async function sendRead(reply: FastifyReply, call: RouteCall, registry: Registry): Promise<FastifyReply> {
  const { route, request, principal, input, services } = call;
  const { opaque } = services;
  // Read first: a change in between makes the tag too old, never too new.
  const thing = route.version?.(input as never);
  const version = thing && (await versionTag(thing, registry, services, principal));
  const body = toBody(route, await run(call, registry));
  // If-Match compares the version, If-None-Match all of it.
  const etag = `"${version === undefined ? '' : `${version}.`}${opaque.tag(principal, body)}"`;
  reply.header('etag', etag);
  const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? [];
  if (known.includes(etag) || known.includes('*')) return reply.code(304).send();
  return sendJson(reply, JSON_TYPE, body);
}

function toBody({ output }: Route, value: unknown): Buffer {
  return Buffer.from(JSON.stringify(output.parse(value)));
}

/** Makes a change in the caller's name, and only to the version that the caller has read. */
async function change(call: RouteCall, registry: Registry): Promise<StoredAnswer> {
  const { route, request, principal, input, services } = call;
  const { 'if-match': ifMatch } = request.headers;
  const thing = route.version?.(input as never);
  const check = thing && versionCheckOf(ifMatch, services.opaque, principal);
  const precondition = thing !== undefined && 'keys' in thing && check !== undefined ? preconditionOf(thing, check) : undefined;
  const result = await run(call, registry.actingAs(actorOf(principal), precondition), check);
  const isAccepted = result instanceof Accepted;
  return {
    status: isAccepted ? 202 : 200,
    location: isAccepted ? result.location : null,
    body: toBody(route, isAccepted ? result.body : result).toString(),
  };
}

/** As `change`, once for each Idempotency-Key. */
function runOnce(call: RouteCall, registry: Registry): Promise<StoredAnswer> {
  const { request, principal, services } = call;
  const parts = [request.method, request.url, JSON.stringify(request.body)];
  const registryRestoredAt = registry.restored?.at ?? null;
  const key = request.headers['idempotency-key'];
  return services.idempotentRequests.run({ principal, key, parts, now: Date.now(), registryRestoredAt }, () =>
    change(call, registry),
  );
}

function sendChange(reply: FastifyReply, { status, location, body }: StoredAnswer): FastifyReply {
  if (location !== null) reply.header('location', location);
  return sendJson(reply.code(status), JSON_TYPE, Buffer.from(body));
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
    config: { scope: 'read', isLimitable: true },
    // Refused before the body is read.
    onRequest: async (_, reply) => {
      reply.header('allow', allow);
      throw new Problem('method-not-allowed');
    },
    handler: async () => undefined,
  });
}
