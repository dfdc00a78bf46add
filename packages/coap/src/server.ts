/**
 * A CoAP server on its own socket. The guard checks each datagram first, so that no datagram can
 * crash the server, block it, or make it use unbounded memory.
 */

import { createServer, type IncomingMessage, type OutgoingMessage, type Server, updateTiming } from 'coap';
import type { RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import type { CoapCode } from '@latchkey/protocol';
import { type Address, type Endpoint, formatEndpoint, unmapIPv4, encodeNid, sourcePrefix } from '@latchkey/runtime/net';
import { systemCode } from '@latchkey/runtime/failure';
import { RateLimitedLog, type Log } from '@latchkey/runtime/daemon';
import { ServerMetrics } from './metrics.js';
import {
  codeOctet,
  type Datagram,
  formatDatagram,
  MESSAGE_TYPE,
  opaqueOption,
  type Option,
  OPTION,
  parseDatagram,
  uintOption,
} from './datagram.js';
import { EchoValidator } from './echo.js';
import { type DropCause, filterRequest, MAX_DATAGRAM } from './guard.js';
import { payloadOf, toPacket } from './packet.js';
import { addressesAt, listenAt, placeFailure } from './places.js';
import { ECHO, RESOURCE } from './resource.js';
import { ServerSocket } from './socket.js';
import { AdmissionControl } from './admission-control.js';
import { AdmissionQueue } from './admission-queue.js';
import type { HeldRequest } from './held-requests.js';

const WELL_KNOWN_CORE = '/.well-known/core';
/** Content-Formats (RFC 7252 section 12.3). */
const LINK_FORMAT = 40;
const OCTET_STREAM = 42;
const METHOD = { GET: 1, POST: 2 } as const;
const EMPTY = Buffer.alloc(0);

/**
 * Maximum of requests in flight; a further request is answered 5.03. Each needs some 4 KB, most of
 * it in `coap`, in addition to what its handler stores.
 */
const MAX_IN_FLIGHT = 4_096;
const OVERLOAD_MAX_AGE = 10;

/**
 * The size of `coap`'s response cache, in octets. No response fits into one octet, so none is
 * cached (`coap` throws at 0). A cached response would keep its request, and every object that the
 * request references, alive over a garbage collection. A retransmission of an answered request runs
 * the handler again, which is idempotent.
 */
const RESPONSE_CACHE_SIZE = 1;

/**
 * An answer to a source that has not proven its address is at most this many times its request (RFC
 * 9175 section 2.4).
 */
const MAX_AMPLIFICATION = 3;

/**
 * The longest time of a timer, and longer than any handler runs, so that every response is
 * piggybacked. By default `coap` sends an empty ACK after 50 ms and then a confirmable response. It
 * would retransmit that response to a source whose address has not been validated.
 */
const PIGGYBACK_ALWAYS_MS = 2 ** 31 - 1;

/**
 * Without our patch, `coap` starts a timer of MAX_RTT (RFC 7252 section 4.8.2) for each response,
 * and the timer keeps the response alive: for 2 s with this setting, for 202 s without it. A
 * request of a client may then take 47 s, which is longer than its deadline.
 */
updateTiming({ maxLatency: 0 });

/** Between two log lines about dropped datagrams, in ms. */
const DROP_REPORT_INTERVAL_MS = 60_000;

export interface PostRequest {
  readonly payload: Buffer;
  /**
   * Call once when the peer has proved legitimate. The limiter refunds the tokens of this request,
   * and those of `earlier` further requests of the peer.
   */
  readonly confirmLegitimate: (earlier: number) => void;
  readonly source: {
    readonly address: string;
    /** The address prefix by which the bound per source counts. */
    readonly prefix: string;
    readonly port: number;
    /** 18 octets. */
    readonly nid: Uint8Array;
    /** Whether the request has a valid Echo option (RFC 9175). */
    readonly addressValidated: boolean;
  };
}

type Peer = Pick<RemoteInfo, 'address' | 'port'>;

class Source {
  readonly address: string;
  readonly port: number;
  readonly addressValidated: boolean;

  constructor({ address, port }: Peer, addressValidated: boolean) {
    this.address = unmapIPv4(address);
    this.port = port;
    this.addressValidated = addressValidated;
  }

  get prefix(): string {
    return sourcePrefix(this.address);
  }

  get nid(): Uint8Array {
    return encodeNid(this.address, this.port);
  }
}

/** What the guard has parsed of a request that is passed to `coap`. */
interface RequestContext {
  readonly datagram: Datagram;
  readonly key: string;
  readonly addressValidated: boolean;
  /** True if the request took tokens of the limit for sources without address validation. */
  readonly charged: boolean;
}

/**
 * The property that carries a request's context through `coap`: on the object with the source
 * address of a datagram, which `coap` returns with the request.
 */
const REQUEST_CONTEXT: unique symbol = Symbol('request context');
type Annotated = Peer & { [REQUEST_CONTEXT]?: RequestContext };

/**
 * How a request is answered. `challenge`: 4.01 with an Echo option for the source to bring back.
 */
export type PostResponse =
  | { readonly code: CoapCode; readonly payload?: Uint8Array | undefined; readonly maxAge?: number | undefined }
  | 'challenge';

/** The response for any resource. */
type AnyResponse = 'challenge' | (Exclude<PostResponse, 'challenge'> & { readonly contentFormat?: number });

export interface CoapServerOptions {
  readonly listen: Endpoint;
  /** `rt` of the resource in /.well-known/core (RFC 6690). */
  readonly resourceType: string;
  /**
   * Requires address validation under load, for a server that anybody may send requests to. Leave
   * it out if the payload of each request authenticates its sender.
   */
  readonly validateAddresses?: true;
  /**
   * Returns true if a request without address validation belongs to one that was served before.
   * Such a request is served as well, and takes no tokens of the limit for unvalidated sources.
   */
  readonly isExpected?: (payload: Uint8Array, source: Pick<PostRequest['source'], 'nid'>) => boolean;
  /** Answers POST /k. Retransmissions of a request in progress do not reach it. */
  readonly answer: (request: PostRequest) => PostResponse | Promise<PostResponse>;
  readonly log: Log;
  /** Counters, which several servers may share. */
  readonly metrics?: ServerMetrics;
}

export class CoapServer {
  /** Maximum of requests in progress. */
  readonly capacity: number = MAX_IN_FLIGHT;
  readonly #options: CoapServerOptions;
  readonly #socket: ServerSocket;
  readonly #coap: Server;
  readonly #echo = new EchoValidator();
  readonly #strangers: Strangers | undefined;
  /** Exchange keys of the requests that their handler has not answered yet. */
  readonly #inFlight = new Set<string>();
  /** How many requests in flight are from an address that was not validated. */
  #unvalidated = 0;
  /** Dropped datagrams by cause, since the last log line about them. */
  readonly #drops = new Map<DropCause, number>();
  readonly #metrics: ServerMetrics;
  readonly #dropReport: NodeJS.Timeout;
  /** Rate-limited, since peers can cause these lines. */
  readonly #faults: RateLimitedLog;
  #stopping = false;
  #onIdle: (() => void) | undefined;

  private constructor(options: CoapServerOptions, family: 4 | 6, strangers: Strangers | undefined) {
    this.#options = options;
    this.#metrics = options.metrics ?? new ServerMetrics();
    this.#strangers = strangers;
    this.#faults = new RateLimitedLog(options.log);
    this.#socket = new ServerSocket(family, (octets, source) => this.#receive(octets, source));
    this.#coap = createServer({ cacheSize: RESPONSE_CACHE_SIZE, piggybackReplyMs: PIGGYBACK_ALWAYS_MS });
    this.#coap.on('request', (request: IncomingMessage, response: OutgoingMessage) => this.#accept(request, response));
    // `coap` emits the errors of the socket again; the listener of the socket logs them.
    this.#coap.on('error', () => undefined);
    this.#dropReport = setInterval(() => this.#reportDrops(), DROP_REPORT_INTERVAL_MS).unref();
  }

  /**
   * Opens one socket for each address, so that a response comes from the address that its request
   * was sent to. Throws a Failure if an address cannot be used.
   */
  static async listenOnAll(places: readonly Endpoint[], options: Omit<CoapServerOptions, 'listen'>): Promise<CoapServer[]> {
    const strangers = strangersOf(options);
    const servers: CoapServer[] = [];
    for (const listen of places) {
      const bind = (address: Address, port: number): Promise<CoapServer> =>
        CoapServer.#bind({ ...options, listen }, address, port, strangers);
      servers.push(...(await listenAt(listen, bind)));
    }
    for (const server of servers) server.#tellListening();
    return servers;
  }

  /** Serves on the first address of `listen`. Throws a Failure if it cannot be used. */
  static async listen(options: CoapServerOptions): Promise<CoapServer> {
    const { listen } = options;
    const [address] = await addressesAt(listen);
    const server = await CoapServer.#bind(options, address, listen.port, strangersOf(options)).catch((error: unknown) => {
      throw placeFailure(listen, error);
    });
    server.#tellListening();
    return server;
  }

  static async #bind(
    options: CoapServerOptions,
    { address, family }: Address,
    port: number,
    strangers: Strangers | undefined,
  ): Promise<CoapServer> {
    const server = new CoapServer(options, family, strangers);
    try {
      const listening = once(server.#socket, 'listening');
      server.#socket.bind(port, address);
      await listening;
    } catch (error) {
      server.#socket.close();
      clearInterval(server.#dropReport);
      throw error;
    }
    server.#socket.on('error', (error) =>
      server.#faults.warn('socket', { error: systemCode(error) ?? error.message }, 'the socket reports an error'),
    );
    server.#coap.listen(server.#socket);
    return server;
  }

  /** Logs the buffer size as granted: the kernel silently limits it to net.core.rmem_max. */
  #tellListening(): void {
    const receiveBuffer = this.#socket.getRecvBufferSize();
    this.#options.log.info({ address: formatEndpoint(this.address), receiveBuffer }, 'listening');
  }

  /** The address and port of the socket. */
  get address(): Endpoint {
    const { address, port } = this.#socket.address();
    return { host: address, port };
  }

  /** How many requests in progress are from an address that was not validated. */
  get unvalidated(): number {
    return this.#unvalidated;
  }

  /** Whether the server accepts requests. */
  get isOpen(): boolean {
    return !this.#stopping;
  }

  /** Rejects new requests, waits for those in flight, and closes the socket. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    // Node.js sends a datagram that the kernel did not accept immediately in the next turn of the
    // event loop. Node.js discards the datagram if the socket is closed by that time.
    await new Promise(setImmediate);
    clearInterval(this.#dropReport);
    this.#reportDrops();
    this.#coap.close();
    this.#socket.removeAllListeners('message');
    this.#socket.close();
    await once(this.#socket, 'close');
  }

  #receive(octets: Buffer, source: RemoteInfo): void {
    if (this.#stopping) return;
    if (!this.#admit(octets, source)) return this.#drop('rate limited');
    const verdict = filterRequest(octets, source.port);
    switch (verdict.kind) {
      case 'drop':
        return this.#drop(verdict.cause);
      case 'reply':
        return this.#reply(verdict.octets, source);
      case 'pass':
        return this.#dispatch(verdict.datagram, octets, source);
    }
  }

  /** Under load, a source above its share is admitted only with a valid Echo option. */
  #admit(octets: Buffer, source: RemoteInfo): boolean {
    const now = performance.now();
    const control = this.#strangers?.control;
    if (control === undefined || control.admitDatagram(source.address, now)) return true;
    const datagram = octets.length > MAX_DATAGRAM ? undefined : parseDatagram(octets);
    const echo = datagram && opaqueOption(datagram, OPTION.echo);
    return echo !== undefined && control.admitProofCheck(source.address, now) && this.#verifyEcho(echo, source);
  }

  #dispatch(datagram: Datagram, octets: Buffer, source: RemoteInfo): void {
    const key = exchangeKey(datagram, source);
    // The response to the first copy answers a retransmission, too.
    if (this.#inFlight.has(key) || this.#strangers?.queue.has(key) === true) {
      this.#metrics.retransmissions += 1;
      return;
    }
    const addressValidated = this.#verifyEcho(opaqueOption(datagram, OPTION.echo), source);
    const admission =
      addressValidated || this.#strangers === undefined || this.#isExpected(datagram, source)
        ? 'free'
        : this.#strangers.queue.admit(this, { octets, source, key });
    if (admission === 'held') return;
    if (admission === 'turned away') return this.#challenge(datagram, octets.length, source);
    this.#begin({ datagram, key, addressValidated, charged: admission === 'served' }, source);
  }

  /** A request that has waited, by the octets that it had. */
  serve({ octets, source, key }: HeldRequest<unknown>): void {
    if (this.#stopping) return;
    const verdict = filterRequest(octets, source.port);
    if (verdict.kind === 'pass') this.#begin({ datagram: verdict.datagram, key, addressValidated: false, charged: true }, source);
  }

  /** A request that waits no longer. */
  challenge({ octets, source }: HeldRequest<unknown>): void {
    if (this.#stopping) return;
    const verdict = filterRequest(octets, source.port);
    if (verdict.kind === 'pass') this.#challenge(verdict.datagram, octets.length, source);
  }

  #isExpected({ payload }: Datagram, source: Peer): boolean {
    const { isExpected } = this.#options;
    if (isExpected === undefined || this.#strangers === undefined) return false;
    if (!this.#strangers.control.hasRoom(this.#unvalidated, MAX_IN_FLIGHT)) return false;
    return isExpected(payload, new Source(source, false));
  }

  #begin(context: RequestContext, source: RemoteInfo): void {
    if (this.#inFlight.size < MAX_IN_FLIGHT) return this.#handOver(context, source);
    this.#metrics.answers.increment('5.03');
    this.#reply(buildReply(context.datagram, '5.03', { number: OPTION.maxAge, value: Buffer.of(OVERLOAD_MAX_AGE) }), source);
  }

  /** Gives a request to `coap`, which makes the response to it and emits both as `request`. */
  #handOver(context: RequestContext, source: RemoteInfo): void {
    (source as Annotated)[REQUEST_CONTEXT] = context;
    try {
      this.#coap._handle(toPacket(context.datagram), source);
    } catch (error) {
      this.#faults.error('request', { error: errorMessage(error) }, 'a request could not be answered');
    }
  }

  #challenge(datagram: Datagram, octets: number, source: RemoteInfo): void {
    const echo = this.#echo.issue(endpointKey(source), performance.now());
    const challenge = buildReply(datagram, '4.01', { number: OPTION.echo, value: echo });
    if (challenge.length > MAX_AMPLIFICATION * octets) return;
    this.#metrics.answers.increment('4.01');
    this.#reply(challenge, source);
  }

  #verifyEcho(echo: Buffer | undefined, source: Peer): boolean {
    return echo !== undefined && this.#echo.verify(echo, endpointKey(source), performance.now());
  }

  #drop(cause: DropCause): void {
    this.#drops.set(cause, (this.#drops.get(cause) ?? 0) + 1);
    this.#metrics.drops.increment(cause);
  }

  #reply(octets: Buffer, source: RemoteInfo): void {
    this.#socket.send(octets, 0, octets.length, source.port, source.address);
  }

  #accept({ rsinfo }: IncomingMessage, response: OutgoingMessage): void {
    const context = (rsinfo as Annotated)[REQUEST_CONTEXT];
    if (context === undefined) return;
    response.on('error', ignore);
    this.#inFlight.add(context.key);
    this.#metrics.inFlight += 1;
    if (!context.addressValidated) this.#unvalidated += 1;
    try {
      const answer = this.#answer(context, rsinfo);
      if (answer instanceof Promise) {
        answer.then(
          (later) => this.#respond(context, response, later, rsinfo),
          (error: unknown) => this.#respondWithError(context, response, error, rsinfo),
        );
      } else this.#respond(context, response, answer, rsinfo);
    } catch (error) {
      this.#respondWithError(context, response, error, rsinfo);
    }
  }

  #respondWithError(context: RequestContext, response: OutgoingMessage, error: unknown, rsinfo: Peer): void {
    this.#faults.error('request', { error: errorMessage(error) }, 'a request could not be answered');
    this.#respond(context, response, { code: '5.03', maxAge: OVERLOAD_MAX_AGE }, rsinfo);
  }

  #respond({ key, addressValidated }: RequestContext, response: OutgoingMessage, answer: AnyResponse, rsinfo: Peer): void {
    if (answer === 'challenge') {
      response.setOption(ECHO, this.#echo.issue(endpointKey(rsinfo), performance.now()));
      send(response, { code: '4.01' });
    } else send(response, answer);
    this.#inFlight.delete(key);
    this.#metrics.inFlight -= 1;
    this.#metrics.answers.increment(response.code);
    if (!addressValidated) this.#unvalidated -= 1;
    if (this.#inFlight.size === 0) this.#onIdle?.();
  }

  #answer({ datagram, addressValidated, charged }: RequestContext, rsinfo: Peer): AnyResponse | Promise<AnyResponse> {
    const { code, payload } = datagram;
    const path = pathOf(datagram);
    const accept = uintOption(datagram, OPTION.accept);
    if (path === WELL_KNOWN_CORE) {
      if (code !== METHOD.GET) return { code: '4.05' };
      if (accept !== undefined && accept !== LINK_FORMAT) return { code: '4.06' };
      const query = opaqueOption(datagram, OPTION.uriQuery)?.toString();
      return { code: '2.05', payload: this.#links(query), contentFormat: LINK_FORMAT };
    }
    if (path !== RESOURCE) return { code: '4.04' };
    if (code !== METHOD.POST) return { code: '4.05' };
    const contentFormat = uintOption(datagram, OPTION.contentFormat);
    if (contentFormat !== undefined && contentFormat !== OCTET_STREAM) return { code: '4.15' };
    if (accept !== undefined && accept !== OCTET_STREAM) return { code: '4.06' };
    return this.#options.answer({
      payload,
      source: new Source(rsinfo, addressValidated),
      confirmLegitimate: (earlier) => this.#strangers?.queue.refund(earlier + (charged ? 1 : 0)),
    });
  }

  /**
   * The links that match a query `name=value` (RFC 6690 section 4.1), `*` at the end standing for
   * anything.
   */
  #links(query: string | undefined): Buffer {
    const { resourceType } = this.#options;
    const link = Buffer.from(`<${RESOURCE}>;rt="${resourceType}"`);
    if (query === undefined) return link;
    const [name, wanted = ''] = query.split('=', 2);
    const value = name === 'rt' ? resourceType : name === 'href' ? RESOURCE : '';
    const matches = wanted.endsWith('*') ? value.startsWith(wanted.slice(0, -1)) : value === wanted;
    return value !== '' && matches ? link : Buffer.alloc(0);
  }

  #reportDrops(): void {
    if (this.#drops.size === 0) return;
    this.#options.log.info({ drops: Object.fromEntries(this.#drops) }, 'datagrams dropped');
    this.#drops.clear();
  }
}

/**
 * RFC 7252 section 4.4: message ID and endpoint; the token besides, so that a client that reuses
 * IDs too soon is served.
 */
function exchangeKey({ messageId, token }: Datagram, { address, port }: Peer): string {
  return `${address} ${port} ${messageId} ${token.toString('latin1')}`;
}

/** `coap` reports a failed send as an error of the response; a waiting client retransmits. */
function ignore(): void {}

function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** `/k`, `/.well-known/core` and so on. */
function pathOf({ options }: Datagram): string {
  let path = '';
  for (const { number, value } of options) if (number === OPTION.uriPath) path += `/${value.toString()}`;
  return path === '' ? '/' : path;
}

function send(response: OutgoingMessage, answer: Exclude<AnyResponse, 'challenge'>): void {
  response.code = answer.code;
  if (answer.contentFormat !== undefined) response.setOption('Content-Format', answer.contentFormat);
  if (answer.maxAge !== undefined) response.setOption('Max-Age', answer.maxAge);
  response.end(answer.payload && payloadOf(answer.payload));
}

/** What is made of sources without proof, by all sockets of a daemon together. */
interface Strangers {
  readonly control: AdmissionControl;
  readonly queue: AdmissionQueue;
}

function strangersOf({ validateAddresses }: Pick<CoapServerOptions, 'validateAddresses'>): Strangers | undefined {
  if (validateAddresses !== true) return undefined;
  const control = new AdmissionControl();
  return { control, queue: new AdmissionQueue(control) };
}

/** Whom an Echo is issued to. */
function endpointKey({ address, port }: Peer): string {
  return `${address} ${port}`;
}

/** An answer past `coap`, with one option and no payload. */
function buildReply({ type, messageId, token }: Datagram, code: string, option: Option): Buffer {
  const answerType = type === MESSAGE_TYPE.CON ? MESSAGE_TYPE.ACK : MESSAGE_TYPE.NON;
  return formatDatagram({ type: answerType, code: codeOctet(code), messageId, token, options: [option], payload: EMPTY });
}
