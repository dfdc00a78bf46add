/**
 * TLS in front of the API: a separate process, under its own user, without the registry and its
 * keys. Each request to the API is built from scratch, with the few headers that are allowed. So
 * gateway and API never parse the same client input in two ways.
 */

import { Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type Daemon, type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure, listenFailure, systemCode, UsageFailure } from '@latchkey/runtime/failure';
import { type Endpoint, formatEndpoint, unmapIPv4 } from '@latchkey/runtime/net';
import { BodyTimeouts, LONGEST_REQUEST_MS, REQUEST_TIMEOUT_S } from './body-timeouts.js';
import { answerClientError, answerLate } from './client-errors.js';
import { BEGIN_PATH, CANCEL_PATH, FETCH_PATH } from './command-login/contract.js';
import { MAX_AT_ONCE } from './concurrency-limit.js';
import type { GatewayConfig } from './config.js';
import { certificateRefusal, isClientCertificate, readSecureContext } from './gateway-tls.js';
import { IMPORTS_PATH, MAX_IMPORT_BODY } from './large-bodies.js';
import { Problem, PROBLEM_TYPE, type ProblemName } from './problem.js';
import { SECURITY_HEADERS } from './security-headers.js';
import { ANSWER_TIMEOUT_MS } from './timeouts.js';
import { VERSION_HEADER } from './version-header.js';

const MAX_CONNECTIONS = 256;
const MAX_HEADER_SIZE = 16_384;
/** For a handshake, for a header to arrive in full, and for an idle connection, in ms. */
const HEADER_TIMEOUT_MS = 1000 * REQUEST_TIMEOUT_S;
const IDLE_TIMEOUT_MS = 60_000;
const METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE'];
/** Octets of a body, which is read before the API is asked. The API takes no more either. */
const MAX_BODY = 65_536;
/**
 * Larger bodies are passed on as they come: the API knows the caller before it reads them. There is
 * room for more than the API admits, so that the API answers the others.
 */
const MAX_LARGE_BODIES = 2 * MAX_AT_ONCE;
const MAX_API_CONNECTIONS = 64;
const RETRY_AFTER_S = 5;
/** For answers under way once the gateway is to stop, in ms. A daemon has 10 s. */
const STOP_GRACE_MS = 4_000;
const EVENT_STREAM = 'text/event-stream';

const REQUEST_HEADERS = [
  'accept',
  'authorization',
  'content-type',
  'idempotency-key',
  'if-match',
  'if-none-match',
  'last-event-id',
] as const;
const RESPONSE_HEADERS = [
  'allow',
  'content-length',
  'content-type',
  'etag',
  VERSION_HEADER,
  'location',
  'retry-after',
  'www-authenticate',
] as const;
/** Without a token, and no browser's. */
const COMMAND_LOGIN_PATHS: ReadonlySet<string> = new Set([BEGIN_PATH, FETCH_PATH, CANCEL_PATH]);
const BROWSER = /^(?:cookie|origin|sec-fetch-.*)$/;
/** Additional headers of a browser. The API compares the host with its origin. */
const BROWSER_REQUEST_HEADERS = [
  'accept-encoding',
  'cookie',
  'host',
  'origin',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'x-latchkey-session',
] as const;
const BROWSER_RESPONSE_HEADERS = [
  'cache-control',
  'content-encoding',
  'content-security-policy',
  'cross-origin-opener-policy',
  'permissions-policy',
  'set-cookie',
  'vary',
] as const;
const HSTS = 'max-age=31536000';

export interface GatewayOptions {
  readonly config: GatewayConfig;
  /** `remote.socket` of the API. */
  readonly apiSocket: string;
  /** `browser:` of the API, if it serves browsers on a socket. */
  readonly browser?: { readonly socket: string; readonly origin: string } | undefined;
  readonly log: Log;
}

/** Serves until it is stopped. A reload reads certificate, key and client authorities again. */
export async function startGateway({ config, apiSocket, browser, log }: GatewayOptions): Promise<Daemon> {
  const hosts = new Set(config.hosts);
  if (browser !== undefined && !hosts.has(new URL(browser.origin).host))
    throw new UsageFailure(`api.gateway.hosts: the origin ${browser.origin} of \`browser:\` is not among the hosts`, {
      advice: `Add ${new URL(browser.origin).host} to \`hosts:\`.`,
    });
  // One connection per request: the API may close an idle connection while it is being reused.
  const agent = new Agent({ keepAlive: false, maxSockets: MAX_API_CONNECTIONS });
  const largeAgent = new Agent({ keepAlive: false, maxSockets: MAX_LARGE_BODIES });
  const limitedLog = new RateLimitedLog(log);
  const bodyTimeouts = new BodyTimeouts();
  const secureContext = await readSecureContext(config, log);
  const servers: Server[] = [];
  const streams = new Set<() => void>();
  const connections = new Connections();
  const stop = async (): Promise<void> => {
    const closed = servers.map((server) => {
      server.closeIdleConnections();
      return new Promise<void>((resolve) => void server.close(() => resolve()));
    });
    // Streams of events have no end of their own.
    for (const end of streams) end();
    const cut = setTimeout(() => {
      for (const server of servers) server.closeAllConnections();
    }, STOP_GRACE_MS);
    await Promise.all(closed);
    clearTimeout(cut);
    agent.destroy();
    largeAgent.destroy();
  };
  try {
    for (const endpoint of config.listen) {
      const server = createServer(
        {
          ...secureContext,
          requestCert: config.client_ca !== undefined,
          rejectUnauthorized: true,
          handshakeTimeout: HEADER_TIMEOUT_MS,
          maxHeaderSize: MAX_HEADER_SIZE,
          requestTimeout: LONGEST_REQUEST_MS,
          headersTimeout: HEADER_TIMEOUT_MS,
          keepAliveTimeout: IDLE_TIMEOUT_MS,
          connectionsCheckingInterval: 1_000,
        },
        (incoming, outgoing) =>
          void forward(incoming, outgoing, {
            hosts,
            agent,
            largeAgent,
            apiSocket,
            browserSocket: browser?.socket,
            bodyTimeouts,
            streams,
            connections,
            log: limitedLog,
          }),
      );
      server.maxConnections = MAX_CONNECTIONS;
      server.on('clientError', answerClientError);
      // Before the listener that reads requests.
      server.prependListener('secureConnection', (socket: TLSSocket) => {
        connections.add(socket);
        if (config.client_ca === undefined || isClientCertificate(socket)) return;
        logRefusal(limitedLog, socket, 'the certificate is not for clients');
        socket.destroy();
      });
      server.on('tlsClientError', (error, socket) => {
        const reason = certificateRefusal(error, socket);
        if (reason !== undefined) logRefusal(limitedLog, socket, reason);
      });
      await listen(server, endpoint);
      server.on('error', (error) =>
        limitedLog.warn('accept', { error: systemCode(error) ?? error.message }, 'a connection could not be taken'),
      );
      servers.push(server);
      log.info({ address: addressOf(server, endpoint), api: `unix:${apiSocket}` }, 'serving the API over TLS');
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    telemetry: { isServing: () => servers.every(({ listening }) => listening), checks: [], metrics: [] },
    stop,
    async reload() {
      const renewed = await readSecureContext(config, log);
      for (const server of servers) server.setSecureContext(renewed);
      // Clients of an authority that is no longer one connect no more.
      if (config.client_ca !== undefined) {
        connections.outdate();
        for (const end of streams) end();
        for (const server of servers) server.closeIdleConnections();
      }
      log.info({ cert: config.cert }, 'certificate and key were read again');
    },
  };
}

/** Open connections. Those from before a reload of the client authorities end with their answer. */
class Connections {
  readonly #open = new Set<Socket>();
  readonly #outdated = new WeakSet<Socket>();

  add(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => void this.#open.delete(socket));
  }

  outdate(): void {
    for (const socket of this.#open) this.#outdated.add(socket);
  }

  isOutdated(socket: Socket): boolean {
    return this.#outdated.has(socket);
  }
}

function logRefusal(log: RateLimitedLog, { remoteAddress }: Socket, reason: string): void {
  log.warn('client certificate', { address: remoteAddress, reason }, 'a client was refused by its certificate');
}

async function listen(server: Server, endpoint: Endpoint): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(gatewayFailure(`cannot serve the API on ${formatEndpoint(endpoint)}`, endpoint.port, error));
    server.once('error', fail);
    server.listen(endpoint.port, endpoint.host, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

function gatewayFailure(action: string, port: number, error: unknown): Failure {
  const { message, advice = 'Choose another address.', cause } = listenFailure(action, 'listen', port, error);
  return new Failure(message, {
    cause,
    advice: advice.replace(/ with --listen.*$/, ' with `listen:` below `gateway:` of the configuration.'),
  });
}

function addressOf(server: Server, endpoint: Endpoint): string {
  const bound = server.address();
  return formatEndpoint({ host: endpoint.host, port: bound !== null && typeof bound === 'object' ? bound.port : endpoint.port });
}

interface ForwardOptions {
  readonly hosts: ReadonlySet<string>;
  readonly agent: Agent;
  readonly largeAgent: Agent;
  readonly apiSocket: string;
  readonly browserSocket: string | undefined;
  readonly bodyTimeouts: BodyTimeouts;
  /** Each ends a stream of events that is under way. */
  readonly streams: Set<() => void>;
  readonly connections: Connections;
  readonly log: RateLimitedLog;
}

async function forward(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { hosts, agent, largeAgent, apiSocket, browserSocket, bodyTimeouts, streams, connections, log }: ForwardOptions,
): Promise<void> {
  if (connections.isOutdated(incoming.socket)) return void incoming.socket.destroy();
  bodyTimeouts.start(incoming, outgoing, () => answerLate(incoming, outgoing));
  // A request with a token is no browser's, and a browser's has a session instead. A command that
  // asks to be signed in has neither.
  const isCommands = incoming.headers.authorization !== undefined || COMMAND_LOGIN_PATHS.has(incoming.url ?? '');
  const isBrowsers = browserSocket !== undefined && !isCommands;
  const problem = whyRefused(incoming, hosts, isBrowsers);
  if (problem !== undefined) {
    // What follows the header is not read.
    outgoing.setHeader('connection', 'close');
    sendProblem(outgoing, new Problem(problem));
    return;
  }
  // A caller that has gone is no error.
  outgoing.on('error', () => undefined);
  const { method = 'GET', url: path = '/', headers, socket } = incoming;
  outgoing.once('finish', () => connections.isOutdated(socket) && void socket.end());
  const length = Number(headers['content-length'] ?? 0);
  const isLarge = length > MAX_BODY;
  if (isLarge) bodyTimeouts.admit(incoming);
  const body = isLarge ? undefined : await readBody(incoming);
  if (body === undefined && !isLarge) return;
  const sent: Record<string, string> = { host: 'api', 'x-forwarded-for': unmapIPv4(socket.remoteAddress ?? '') };
  for (const name of isBrowsers ? [...REQUEST_HEADERS, ...BROWSER_REQUEST_HEADERS] : REQUEST_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string') sent[name] = value;
  }
  if (length > 0) sent['content-length'] = String(length);
  // The API may answer before it has read the body: it must not close the connection then.
  if (isLarge) sent['connection'] = 'keep-alive';
  const upstream = request({
    socketPath: isBrowsers ? browserSocket : apiSocket,
    agent: isLarge ? largeAgent : agent,
    path,
    method,
    headers: sent,
    timeout: ANSWER_TIMEOUT_MS,
  });
  upstream.on('response', (answer) => {
    const headers = headersOf(answer, isBrowsers);
    if (isLarge && !incoming.readableEnded && Number(answer.headers['content-length']) <= MAX_BODY)
      return void answerAfterBody({ incoming, outgoing, upstream, answer, headers, bodyTimeouts });
    outgoing.writeHead(answer.statusCode ?? 502, headers);
    answer.on('error', () => outgoing.destroy());
    answer.pipe(outgoing);
    if (answer.headers['content-type']?.startsWith(EVENT_STREAM) !== true) return;
    const end = (): void => {
      answer.unpipe(outgoing);
      outgoing.end(() => void socket.end());
    };
    streams.add(end);
    outgoing.once('close', () => void streams.delete(end));
  });
  upstream.on('timeout', () => upstream.destroy(new Error('no answer in time')));
  upstream.on('error', (error) => {
    if (outgoing.destroyed) return;
    log.warn('upstream', { error: systemCode(error) ?? error.message }, 'the API does not answer');
    if (outgoing.headersSent) outgoing.destroy();
    else sendProblem(outgoing, new Problem('unavailable', { retryAfter: RETRY_AFTER_S }));
  });
  endWithCaller(outgoing, upstream);
  if (body !== undefined) return void upstream.end(body);
  // The API refuses a caller before it has anything of the body.
  upstream.flushHeaders();
  incoming.pipe(upstream);
}

/**
 * Reads a body, which has at most `MAX_BODY` octets. Returns `undefined` if its sender has gone.
 */
async function readBody(incoming: IncomingMessage): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  try {
    for await (const part of incoming) parts.push(part as Buffer);
    return Buffer.concat(parts);
  } catch {
    return undefined;
  }
}

/** The API gives up the work of a request whose caller has gone, or has its answer. */
function endWithCaller(outgoing: ServerResponse, upstream: ClientRequest): void {
  outgoing.once('close', () => void upstream.destroy());
}

function whyRefused(
  { method, url = '', headers, rawHeaders }: IncomingMessage,
  hosts: ReadonlySet<string>,
  isBrowsers: boolean,
): ProblemName | undefined {
  const names = rawHeaders.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase());
  const isOnce = (name: string): boolean => names.indexOf(name) === names.lastIndexOf(name);
  const once = isBrowsers ? BROWSER_REQUEST_HEADERS : ['host', 'authorization'];
  if (!once.every(isOnce) || !url.startsWith('/')) return 'bad-request';
  if (!hosts.has((headers.host ?? '').toLowerCase())) return 'misdirected-request';
  if (!isBrowsers && names.some((name) => BROWSER.test(name))) return 'forwarded-request';
  if (method === undefined || !METHODS.includes(method)) return 'method-not-allowed';
  if (headers['transfer-encoding'] !== undefined) return 'body-too-large';
  return Number(headers['content-length'] ?? 0) > maxBodyOf(method, url) ? 'body-too-large' : undefined;
}

function maxBodyOf(method: string, path: string): number {
  if (method === 'POST' && path === IMPORTS_PATH) return MAX_IMPORT_BODY;
  return method === 'POST' || method === 'PATCH' ? MAX_BODY : 0;
}

interface EarlyAnswer {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  readonly upstream: ClientRequest;
  readonly answer: IncomingMessage;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly bodyTimeouts: BodyTimeouts;
}

/**
 * The API has refused the caller. A client may read no answer before it has sent everything. The
 * gateway keeps the answer until then, or until the fixed time of a body is over, and frees the
 * connection to the API for others.
 */
async function answerAfterBody({ incoming, outgoing, upstream, answer, headers, bodyTimeouts }: EarlyAnswer): Promise<void> {
  incoming.unpipe(upstream);
  incoming.resume();
  const body = await readBody(answer);
  upstream.destroy();
  const send = (): void => {
    if (body === undefined) return sendProblem(outgoing, new Problem('unavailable', { retryAfter: RETRY_AFTER_S }));
    outgoing.writeHead(answer.statusCode ?? 502, headers);
    outgoing.end(body);
  };
  if (incoming.readableEnded) return send();
  incoming.once('end', send);
  bodyTimeouts.refuse(incoming, () => {
    outgoing.setHeader('connection', 'close');
    send();
  });
}

function headersOf(answer: IncomingMessage, isBrowsers: boolean): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = { ...SECURITY_HEADERS, 'strict-transport-security': HSTS };
  for (const name of isBrowsers ? [...RESPONSE_HEADERS, ...BROWSER_RESPONSE_HEADERS] : RESPONSE_HEADERS) {
    const value = answer.headers[name];
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

function sendProblem(outgoing: ServerResponse, problem: Problem): void {
  const body = Buffer.from(JSON.stringify(problem));
  const headers: Record<string, string> = {
    ...SECURITY_HEADERS,
    'strict-transport-security': HSTS,
    'content-type': PROBLEM_TYPE,
  };
  headers['content-length'] = String(body.length);
  if (problem.kind === 'method-not-allowed') headers['allow'] = METHODS.join(', ');
  if (problem.details.retryAfter !== undefined) headers['retry-after'] = String(problem.details.retryAfter);
  outgoing.writeHead(problem.status, headers);
  outgoing.end(body);
}
