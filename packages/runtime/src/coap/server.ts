/** A CoAP server on a socket of its own, behind the guard: no datagram ends it, stalls it or makes it remember too much. */

import { createServer, type IncomingMessage, type OutgoingMessage, type Server } from 'coap';
import type { OptionName } from 'coap-packet';
import type { RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import type { CoapCode } from '@latchkey/protocol';
import { addressOf, encodeNid, type Endpoint, formatEndpoint, networkOf, plainAddress } from '../endpoint.js';
import { systemCode, systemFailure } from '../failure.js';
import type { Log } from '../log.js';
import { codeOctet, type Datagram, formatDatagram, MESSAGE_TYPE, OPTION } from './datagram.js';
import { EchoProof } from './echo.js';
import { type DropCause, judgeRequest } from './guard.js';
import { GuardedSocket } from './socket.js';

/** The one resource of the protocol. */
export const RESOURCE = '/k';
const WELL_KNOWN_CORE = '/.well-known/core';
/** Content-Formats 42 and 40, by the names `coap` has for them. */
const OCTET_STREAM = 'application/octet-stream';
const LINK_FORMAT = 'application/link-format';
/** `coap` has no name for Echo, so its number is its name. */
export const ECHO: OptionName = String(OPTION.echo) as OptionName;
const NOTHING = Buffer.alloc(0);

/** Requests being worked on at once. Beyond that a request is answered 5.03. */
const MAX_IN_FLIGHT = 8_192;
const BUSY_MAX_AGE = 10;

/**
 * `coap` answers copies of a request it has answered from a cache of this size, in octets of response. A copy of one it has
 * forgotten runs the handler again: answers are idempotent.
 */
const CACHE_OCTETS = 256 * 1024;

/**
 * `coap` would send an empty ACK after 50 ms and then a confirmable response, retransmitted to a source that has not shown it
 * exists. Longer than any handler takes: responses are piggybacked, always.
 */
const NEVER_SEPARATE_MS = 10 * 60_000;

/** How often the drops of the last while are logged, if there were any. */
const DROP_REPORT_MS = 60_000;

export interface KeyRequest {
  readonly payload: Buffer;
  readonly source: {
    readonly address: string;
    /** What the bound per source counts. */
    readonly network: string;
    readonly port: number;
    /** 18 octets. */
    readonly nid: Uint8Array;
    /** Brought back a fresh Echo. */
    readonly proven: boolean;
  };
}

/** How a request is answered. `prove`: 4.01 with an Echo option for the source to bring back. */
export type KeyAnswer =
  | { readonly code: CoapCode; readonly payload?: Uint8Array | undefined; readonly maxAge?: number | undefined }
  | 'prove';

export interface CoapServerOptions {
  readonly listen: Endpoint;
  /** `rt` of the resource in /.well-known/core (RFC 6690). */
  readonly resourceType: string;
  /** Answers POST /k. Copies of a request that is being worked on do not reach it. */
  readonly answer: (request: KeyRequest) => KeyAnswer | Promise<KeyAnswer>;
  readonly log: Log;
}

export class CoapServer {
  readonly #options: CoapServerOptions;
  readonly #socket: GuardedSocket;
  readonly #coap: Server;
  readonly #echo = new EchoProof();
  /** Keys of requests whose handler has not answered yet. */
  readonly #inFlight = new Set<string>();
  readonly #drops = new Map<DropCause, number>();
  readonly #dropReport: NodeJS.Timeout;
  #stopping = false;
  #idle: (() => void) | undefined;

  private constructor(options: CoapServerOptions, family: 4 | 6) {
    this.#options = options;
    this.#socket = new GuardedSocket(family, (octets, source) => this.#filter(octets, source));
    this.#coap = createServer({ cacheSize: CACHE_OCTETS, piggybackReplyMs: NEVER_SEPARATE_MS });
    this.#coap.on('request', (request: IncomingMessage, response: OutgoingMessage) => void this.#receive(request, response));
    // It passes on the socket's errors, which are logged where the socket is.
    this.#coap.on('error', () => undefined);
    this.#dropReport = setInterval(() => this.#reportDrops(), DROP_REPORT_MS).unref();
  }

  /** Serves on each address alike, a socket each: so an answer comes from the address that was asked. */
  static async listenOnAll(addresses: readonly Endpoint[], options: Omit<CoapServerOptions, 'listen'>): Promise<CoapServer[]> {
    const servers: CoapServer[] = [];
    for (const listen of addresses) servers.push(await CoapServer.listen({ ...options, listen }));
    return servers;
  }

  /** Binds and serves. Throws a Failure where the address cannot be had. */
  static async listen(options: CoapServerOptions): Promise<CoapServer> {
    const { address, family } = await addressOf(options.listen);
    const server = new CoapServer(options, family);
    try {
      server.#socket.bind(options.listen.port, address);
      await once(server.#socket, 'listening');
    } catch (error) {
      server.#socket.close();
      clearInterval(server.#dropReport);
      // A machine without IPv6 has no [::], which is how all addresses are named by default.
      if (options.listen.host === '::' && systemCode(error) === 'EAFNOSUPPORT') {
        return CoapServer.listen({ ...options, listen: { ...options.listen, host: '0.0.0.0' } });
      }
      throw systemFailure(`cannot listen on ${formatEndpoint(options.listen)}`, error);
    }
    server.#socket.on('error', (error) =>
      options.log.warn({ error: systemCode(error) ?? error.message }, 'the socket reports an error'),
    );
    server.#coap.listen(server.#socket);
    options.log.info({ address: formatEndpoint(server.address) }, 'listening');
    return server;
  }

  /** Where it listens, with the port the system chose. */
  get address(): Endpoint {
    const { address, port } = this.#socket.address();
    return { host: address, port };
  }

  /** Takes no more requests, waits for those in flight, closes the socket. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    // dgram sends in a later tick, and nothing any more once it is closed.
    await new Promise(setImmediate);
    clearInterval(this.#dropReport);
    this.#reportDrops();
    this.#coap.close();
    this.#socket.removeAllListeners('message');
    this.#socket.close();
    await once(this.#socket, 'close');
  }

  #filter(octets: Buffer, source: RemoteInfo): Buffer | undefined {
    if (this.#stopping) return undefined;
    const verdict = judgeRequest(octets, source.port);
    switch (verdict.kind) {
      case 'drop':
        this.#drops.set(verdict.cause, (this.#drops.get(verdict.cause) ?? 0) + 1);
        return undefined;
      case 'reply':
        this.#reply(verdict.octets, source);
        return undefined;
      case 'pass':
        // A copy of what is being worked on: the first one's answer is its answer.
        if (this.#inFlight.has(exchangeKey(verdict.datagram.messageId, verdict.datagram.token, source))) return undefined;
        if (this.#inFlight.size >= MAX_IN_FLIGHT) {
          this.#reply(busy(verdict.datagram), source);
          return undefined;
        }
        return verdict.octets;
    }
  }

  #reply(octets: Buffer, source: RemoteInfo): void {
    this.#socket.send(octets, source.port, source.address, () => undefined);
  }

  async #receive(request: IncomingMessage, response: OutgoingMessage): Promise<void> {
    // `coap` tells of a failed send through the response; a client that is gone asks again or does not.
    response.on('error', () => undefined);
    const { messageId = 0, token = NOTHING } = request._packet;
    const key = exchangeKey(messageId, token, request.rsinfo);
    this.#inFlight.add(key);
    try {
      await this.#route(request, response);
    } catch (error) {
      this.#options.log.error(
        { error: error instanceof Error ? error.message : String(error) },
        'a request could not be answered',
      );
      send(response, { code: '5.03', maxAge: BUSY_MAX_AGE });
    } finally {
      this.#inFlight.delete(key);
      if (this.#inFlight.size === 0) this.#idle?.();
    }
  }

  async #route(request: IncomingMessage, response: OutgoingMessage): Promise<void> {
    const [path, query] = request.url.split('?', 2);
    const { 'Content-Format': contentFormat, Accept: accept } = request.headers;
    if (path === WELL_KNOWN_CORE) {
      if (request.method !== 'GET') return send(response, { code: '4.05' });
      if (accept !== undefined && accept !== LINK_FORMAT) return send(response, { code: '4.06' });
      response.setOption('Content-Format', LINK_FORMAT);
      return send(response, { code: '2.05', payload: this.#links(query) });
    }
    if (path !== RESOURCE) return send(response, { code: '4.04' });
    if (request.method !== 'POST') return send(response, { code: '4.05' });
    if (contentFormat !== undefined && contentFormat !== OCTET_STREAM) return send(response, { code: '4.15' });
    if (accept !== undefined && accept !== OCTET_STREAM) return send(response, { code: '4.06' });

    const { address, port } = request.rsinfo;
    const plain = plainAddress(address);
    const source = `${plain} ${port}`;
    const proven = this.#echo.proves(echoOf(request), source, performance.now());
    const answer = await this.#options.answer({
      payload: request.payload,
      source: { address: plain, network: networkOf(plain), port, nid: encodeNid(address, port), proven },
    });
    if (answer !== 'prove') return send(response, answer);
    response.setOption(ECHO, this.#echo.issue(source, performance.now()));
    return send(response, { code: '4.01' });
  }

  /** The links that match a query `name=value` (RFC 6690 section 4.1), `*` at the end standing for anything. */
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

function echoOf(request: IncomingMessage): Buffer | undefined {
  const value = request._packet.options?.find((option) => option.name === ECHO)?.value;
  return Buffer.isBuffer(value) ? value : undefined;
}

/** RFC 7252 section 4.4: message ID and endpoint; the token besides, so that a client that reuses IDs too soon is served. */
function exchangeKey(messageId: number, token: Buffer, source: Pick<RemoteInfo, 'address' | 'port'>): string {
  return `${source.address} ${source.port} ${messageId} ${token.toString('hex')}`;
}

function send(response: OutgoingMessage, answer: Exclude<KeyAnswer, 'prove'>): void {
  response.code = answer.code;
  if (answer.maxAge !== undefined) response.setOption('Max-Age', answer.maxAge);
  response.end(answer.payload === undefined ? undefined : Buffer.from(answer.payload));
}

function busy({ type, messageId, token }: Datagram): Buffer {
  const options = [{ number: OPTION.maxAge, value: Buffer.of(BUSY_MAX_AGE) }];
  const answerType = type === MESSAGE_TYPE.CON ? MESSAGE_TYPE.ACK : MESSAGE_TYPE.NON;
  return formatDatagram({ type: answerType, code: codeOctet('5.03'), messageId, token, options, payload: NOTHING });
}
