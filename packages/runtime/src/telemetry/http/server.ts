/**
 * `/healthz`, `/readyz` and `/metrics` of a daemon. Nothing of it is loaded where nobody asks for
 * it: a node-agent stays small.
 *
 *   /healthz   200 while the process serves: its event loop turns, its sockets are open
 *   /readyz    200 while all it depends on works, else 503; a JSON object either way, with what is not well
 *   /metrics   Prometheus' text format
 */

import type { FastifyInstance } from 'fastify';
import { listenFailure, systemCode } from '../../failure.js';
import { RateLimitedLog, type Log } from '../../daemon/log.js';
import type { Telemetry } from '../telemetry.js';
import { type DaemonInfo, expose } from './exposition.js';
import { formatListenAddress, type ListenAddress } from '../../net/listen-address.js';
import type { Readiness } from './readiness.js';
import { removeStaleSocket, allowGroup } from '../../net/unix-socket.js';

/** One scraper, a health check or two, a person: beyond that connections are closed unheard. */
const MAX_CONNECTIONS = 32;
/** Timeout for a complete request, and of an idle connection, in ms. */
const REQUEST_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 30_000;
const MAX_HEADER_SIZE = 8_192;
/** Nothing here takes a body. */
const MAX_BODY = 1;

export interface HttpOptions {
  readonly address: ListenAddress;
  readonly info: DaemonInfo;
  readonly telemetry: Telemetry;
  readonly readiness: Readiness;
  readonly log: Log;
}

export interface HttpServer {
  /** With the port that the system chose. */
  readonly address: ListenAddress;
  /** Ends it, with the requests in work. */
  close(): Promise<void>;
}

export async function serveHttp({ address, info, telemetry, readiness, log }: HttpOptions): Promise<HttpServer> {
  const { fastify } = await import('fastify');
  const server = fastify({
    bodyLimit: MAX_BODY,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: IDLE_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
    forceCloseConnections: true,
    http: { maxHeaderSize: MAX_HEADER_SIZE },
  });
  server.server.maxConnections = MAX_CONNECTIONS;
  const metrics = await expose(info, telemetry.metrics, readiness);

  server.addHook('onSend', async (_, reply) => void reply.header('cache-control', 'no-store'));
  server.setErrorHandler(async (error, _, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    if (status >= 500) log.error({ error: error instanceof Error ? error.message : String(error) }, 'a request over HTTP failed');
    return reply.code(status).send({ status: 'failed' });
  });
  server.setNotFoundHandler(async (_, reply) => reply.code(404).send({ status: 'nothing here' }));
  server.get('/healthz', async (_, reply) => {
    const serves = telemetry.isServing();
    return reply.code(serves ? 200 : 503).send({ status: serves ? 'serves' : 'does not serve' });
  });
  server.get('/readyz', async (_, reply) => {
    const results = await readiness.check();
    const ready = telemetry.isServing() && results.every(({ fault }) => fault === undefined);
    const checks = Object.fromEntries(results.map(({ name, fault }) => [name, fault ?? 'ok']));
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', checks });
  });
  server.get('/metrics', async (_, reply) => reply.type(metrics.contentType).send(await metrics.read()));

  await listen(server, address);
  // For example no file descriptor for a connection: the client must retry.
  const faults = new RateLimitedLog(log);
  server.server.on('error', (error) => {
    faults.warn('accept', { error: systemCode(error) ?? error.message }, 'a connection over HTTP could not be taken');
  });
  const actualAddress = addressOf(server, address);
  log.info({ http: formatListenAddress(actualAddress) }, 'serving health and metrics');
  return {
    address: actualAddress,
    async close() {
      metrics.close();
      await server.close();
    },
  };
}

async function listen(server: FastifyInstance, address: ListenAddress): Promise<void> {
  try {
    if (address.kind === 'tcp') {
      await server.listen(address.endpoint);
      return;
    }
    await removeStaleSocket(address.path, (error) => listenFailure(`cannot listen on ${address.path}`, 'http', undefined, error));
    await server.listen({ path: address.path });
    await allowGroup(address.path);
  } catch (error) {
    await server.close();
    const port = address.kind === 'tcp' ? address.endpoint.port : undefined;
    throw listenFailure(`cannot serve health and metrics on ${formatListenAddress(address)}`, 'http', port, error);
  }
}

function addressOf(server: FastifyInstance, address: ListenAddress): ListenAddress {
  const bound = server.server.address();
  if (address.kind === 'unix' || bound === null || typeof bound === 'string') return address;
  return { kind: 'tcp', endpoint: { host: address.endpoint.host, port: bound.port } };
}
