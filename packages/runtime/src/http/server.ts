/**
 * `/healthz`, `/readyz` and `/metrics` of a daemon. Nothing of it is loaded where nobody asks for it: a node-agent stays small.
 *
 *   /healthz   200 while the process serves: its event loop turns, its sockets are open
 *   /readyz    200 while all it depends on works, else 503; a JSON object either way, with what is not well
 *   /metrics   Prometheus' text format
 */

import type { FastifyInstance } from 'fastify';
import { listenFailure, systemCode } from '../failure.js';
import { BoundedLog, type Log } from '../log.js';
import type { Observation } from '../observation.js';
import { type About, expose } from './exposition.js';
import { formatHttpPlace, type HttpPlace } from './place.js';
import type { Readiness } from './readiness.js';
import { makeRoomForSocket, openSocketToGroup } from './unix-socket.js';

/** One scraper, a health check or two, a person: beyond that connections are closed unheard. */
const MAX_CONNECTIONS = 32;
/** For a request to come whole, and for a connection that says nothing, in ms. */
const REQUEST_LIMIT_MS = 5_000;
const IDLE_LIMIT_MS = 30_000;
const MAX_HEADERS = 8_192;
/** Nothing here takes a body. */
const MAX_BODY = 1;

export interface HttpOptions {
  readonly place: HttpPlace;
  readonly about: About;
  readonly observation: Observation;
  readonly readiness: Readiness;
  readonly log: Log;
}

export interface HttpServer {
  /** With the port that the system chose. */
  readonly place: HttpPlace;
  /** Ends it, with the requests in work. */
  close(): Promise<void>;
}

export async function serveHttp({ place, about, observation, readiness, log }: HttpOptions): Promise<HttpServer> {
  const { fastify } = await import('fastify');
  const server = fastify({
    bodyLimit: MAX_BODY,
    requestTimeout: REQUEST_LIMIT_MS,
    connectionTimeout: IDLE_LIMIT_MS,
    keepAliveTimeout: IDLE_LIMIT_MS,
    forceCloseConnections: true,
    http: { maxHeaderSize: MAX_HEADERS },
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  const metrics = await expose(about, observation.metrics, readiness);

  server.addHook('onSend', async (_, reply) => void reply.header('cache-control', 'no-store'));
  server.setErrorHandler(async (error, _, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    if (status >= 500) log.error({ error: error instanceof Error ? error.message : String(error) }, 'a request over HTTP failed');
    return reply.code(status).send({ status: 'failed' });
  });
  server.setNotFoundHandler(async (_, reply) => reply.code(404).send({ status: 'nothing here' }));
  server.get('/healthz', async (_, reply) => {
    const serves = observation.serves();
    return reply.code(serves ? 200 : 503).send({ status: serves ? 'serves' : 'does not serve' });
  });
  server.get('/readyz', async (_, reply) => {
    const findings = await readiness.look();
    const ready = observation.serves() && findings.every(({ fault }) => fault === undefined);
    const checks = Object.fromEntries(findings.map(({ name, fault }) => [name, fault ?? 'ok']));
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', checks });
  });
  server.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.read()));

  await listen(server, place);
  // Such as no file descriptor for a connection: whoever asked comes again.
  const faults = new BoundedLog(log);
  server.server.on('error', (error) => {
    faults.warn('accept', { error: systemCode(error) ?? error.message }, 'a connection over HTTP could not be taken');
  });
  const actual = placeOf(server, place);
  log.info({ http: formatHttpPlace(actual) }, 'serving health and metrics');
  return {
    place: actual,
    async close() {
      metrics.close();
      await server.close();
    },
  };
}

async function listen(server: FastifyInstance, place: HttpPlace): Promise<void> {
  try {
    if (place.kind === 'tcp') {
      await server.listen(place.endpoint);
      return;
    }
    await makeRoomForSocket(place.path);
    await server.listen({ path: place.path });
    await openSocketToGroup(place.path);
  } catch (error) {
    await server.close();
    const port = place.kind === 'tcp' ? place.endpoint.port : undefined;
    throw listenFailure(`cannot serve health and metrics on ${formatHttpPlace(place)}`, 'http', port, error);
  }
}

function placeOf(server: FastifyInstance, place: HttpPlace): HttpPlace {
  const address = server.server.address();
  if (place.kind === 'unix' || address === null || typeof address === 'string') return place;
  return { kind: 'tcp', endpoint: { host: place.endpoint.host, port: address.port } };
}
