/**
 * A CoAP client for one peer, behind the guard. `coap` encodes and retransmits. This module adds
 * what `coap` lacks: a connected socket, so that the kernel drops datagrams from other addresses;
 * a timeout for each request; and tolerance of answers that do not decrypt. Such an answer must not
 * end an exchange that a right answer could still complete.
 */

import type { RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { Agent, type OutgoingMessage } from 'coap';
import { monotonicNow, BoxedMap, randomOctets } from '@latchkey/runtime/daemon';
import { type Address, addressesOf, type Endpoint, formatEndpoint, interfaceFailure } from '@latchkey/runtime/net';
import { Failure, systemCode, systemFailure } from '@latchkey/runtime/failure';
import type { ClientMetrics } from './metrics.js';
import { codeText, type Datagram, emptyMessage, MESSAGE_TYPE, opaqueOption, OPTION, uintOption } from './datagram.js';
import { filterResponse } from './guard.js';
import { payloadOf, toPacket } from './packet.js';
import { ECHO, RESOURCE } from './resource.js';
import { ConnectedSocket } from './socket.js';

/** What the caller gets to see of a response. */
export interface Response {
  /** `2.04` and so on. */
  readonly code: string;
  readonly payload: Buffer;
  /** Seconds. */
  readonly maxAge: number | undefined;
  readonly echo: Buffer | undefined;
}

/** How an exchange ended. */
export type ExchangeOutcome<T> =
  | { readonly kind: 'answered'; readonly value: T }
  /**
   * Nothing that counts came in time; `ignored` answers did not count, the last of them with
   * `lastCode`.
   */
  | { readonly kind: 'timeout'; readonly ignored: number; readonly lastCode: string | undefined }
  /** More invalid answers than the caller accepts. */
  | { readonly kind: 'too-many-invalid'; readonly ignored: number }
  /**
   * The network or the peer's machine reports that no process listens (`ECONNREFUSED`,
   * `EHOSTUNREACH`, ...).
   */
  | { readonly kind: 'unreachable'; readonly code: string }
  /** The bound on requests in flight is reached. */
  | { readonly kind: 'busy' };

export interface ExchangeOptions<T> {
  readonly payload: Uint8Array;
  readonly deadlineMs: number;
  /** Brought back to a server that asked for it. */
  readonly echo?: Buffer | undefined;
  /** Answers that do not count that are passed over; one more ends the exchange. */
  readonly maxIgnored: number;
  /**
   * How long to go on listening once something came that is no answer, an empty ACK too: the
   * network works, so one would not be long, in ms.
   */
  readonly graceMs?: number;
  /**
   * Ends the exchange as timed out `afterMs` from its start, unless `isAlive` then says that the
   * way to the peer works.
   */
  readonly unlessAlive?: { readonly afterMs: number; readonly isAlive: () => boolean } | undefined;
  /** What an answer is worth; `undefined`: it does not count, keep listening. */
  readonly accept: (response: Response) => T | undefined;
}

export interface CoapClientOptions {
  readonly peer: Endpoint;
  /** Tried in this order until one can be connected. Without them the peer's name is looked up. */
  readonly addresses?: readonly Address[];
  /** Octets of token: 2 to 8. */
  readonly tokenLength: number;
  readonly maxInFlight: number;
  /** Metrics of the client; several clients may share them. */
  readonly metrics?: ClientMetrics;
}

interface InFlight {
  readonly request: OutgoingMessage;
  messageId: number;
  /** Looks at a response; true when it ends the exchange. */
  readonly handleResponse: (response: Response) => boolean;
  /** Something came that is no answer. */
  readonly shortenDeadline: () => void;
  readonly fail: (code: string) => void;
}

const EMPTY = Buffer.alloc(0);
const URI_PATH = { name: 'Uri-Path', value: Buffer.from(RESOURCE.slice(1)) } as const;

/** ACK_TIMEOUT and ACK_TIMEOUT * ACK_RANDOM_FACTOR are multiples of it. */
const TIMEOUT_GRAIN_MS = 50;

/** The oldest is forgotten, and a copy of it answered with a Reset. */
const MAX_ACKNOWLEDGED = 32;
/** One ICMP error may be the past's or a forger's; two in one exchange are taken for an answer. */
const ERRORS_BEFORE_UNREACHABLE = 2;
/** What an exchange ends with when the client is closed. */
const CLOSED = 'ECANCELED';
const NO_PORT_ADVICE = 'Look for a program that holds many sockets, or widen the sysctl net.ipv4.ip_local_port_range.';
/** Errors that another transmission will not mend within an exchange. */
const FATAL_ERRORS: ReadonlySet<string> = new Set([
  CLOSED,
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EADDRNOTAVAIL',
  'EINVAL',
  'EACCES',
  'EPERM',
]);

export class CoapClient {
  readonly #options: CoapClientOptions;
  readonly #socket: ConnectedSocket;
  readonly #agent: Agent;
  readonly #inFlight = new BoxedMap<string, InFlight>();
  /**
   * Message IDs and tokens of confirmable responses. A copy is acknowledged again and not processed
   * (RFC 7252 section 4.2).
   */
  readonly #acknowledged: string[] = [];
  /** Pings without an answer, by message ID. */
  readonly #pings = new Map<number, AbortController>();
  /** The address that the socket is connected to. */
  readonly address: string;
  #onIdle: (() => void) | undefined;
  #closed = false;

  private constructor(options: CoapClientOptions, { address, family }: Address) {
    this.#options = options;
    this.address = address;
    this.#socket = new ConnectedSocket(family, (octets, source) => this.#receive(octets, source));
    this.#agent = new Agent({ socket: this.#socket });
    this.#agent._msgIdToReq = new BoxedMap();
    this.#agent._tkToReq = new BoxedMap();
    // It passes on the socket's errors, which are handled where the socket is.
    this.#agent.on('error', () => undefined);
  }

  /**
   * Connects to the first of the peer's addresses that has a route. Throws a Failure if the name is
   * unknown or none has one.
   */
  static async connect(options: CoapClientOptions): Promise<CoapClient> {
    let failure: unknown;
    for (const address of options.addresses ?? (await addressesOf(options.peer))) {
      const client = new CoapClient(options, address);
      try {
        await client.#connect();
        return client;
      } catch (error) {
        client.#socket.close();
        failure ??= error;
      }
    }
    throw connectFailure(options.peer, failure);
  }

  async #connect(): Promise<void> {
    const socket = this.#socket;
    const connected = once(socket, 'connect');
    socket.connect(this.#options.peer.port, this.address);
    await connected;
    socket.on('error', (error) => this.#socketError(error));
  }

  /** Sends POST /k, confirmable. Resolves with the outcome; never rejects for a network error. */
  exchange<T>(options: ExchangeOptions<T>): Promise<ExchangeOutcome<T>> {
    if (this.#closed) return Promise.resolve({ kind: 'unreachable', code: CLOSED });
    if (this.#inFlight.size >= this.#options.maxInFlight) return Promise.resolve({ kind: 'busy' });
    return new Promise((resolve) => {
      const token = this.#freshToken();
      const key = tokenKey(token);
      let ignored = 0;
      let errors = 0;
      let lastCode: string | undefined;

      const finish = (outcome: ExchangeOutcome<T>, answered: boolean): void => {
        clearTimeout(deadline);
        this.#inFlight.delete(key);
        if (this.#inFlight.size === 0) this.#onIdle?.();
        // With an answer `coap` clears up by itself, as it is handed on.
        if (!answered) this.#abort(request);
        resolve(outcome);
      };
      const onTimeout = (): void => finish({ kind: 'timeout', ignored, lastCode }, false);
      const { unlessAlive } = options;
      const doubt = (): void => {
        if (unlessAlive?.isAlive() === true) deadline = setTimeout(onTimeout, deadlineAt - monotonicNow());
        else onTimeout();
      };
      let deadline =
        unlessAlive === undefined ? setTimeout(onTimeout, options.deadlineMs) : setTimeout(doubt, unlessAlive.afterMs);
      const deadlineAt = monotonicNow() + options.deadlineMs;

      const request = this.#agent.request({
        hostname: this.#options.peer.host,
        port: this.#options.peer.port,
        method: 'POST',
        confirmable: true,
        token,
      });
      // Sets the options that `pathname` would set. Setting `pathname` would parse it for each
      // request.
      request._packet.options?.push(URI_PATH);
      if (options.echo !== undefined) request.setOption(ECHO, options.echo);
      request.on('error', (error) => fail(systemCode(error) ?? error.message));
      const fail = (code: string): void => {
        errors += 1;
        if (errors >= ERRORS_BEFORE_UNREACHABLE || FATAL_ERRORS.has(code)) finish({ kind: 'unreachable', code }, false);
      };
      const handleResponse = (response: Response): boolean => {
        const value = options.accept(response);
        if (value !== undefined) {
          finish({ kind: 'answered', value }, true);
          return true;
        }
        ignored += 1;
        lastCode = response.code;
        shortenDeadline();
        if (ignored > options.maxIgnored) finish({ kind: 'too-many-invalid', ignored }, false);
        return false;
      };
      let { graceMs } = options;
      const shortenDeadline = (): void => {
        if (graceMs === undefined) return;
        clearTimeout(deadline);
        deadline = setTimeout(onTimeout, Math.min(graceMs, deadlineAt - monotonicNow()));
        graceMs = undefined;
      };
      roundTimeout(request);
      this.#countTransmissions(request);
      const entry: InFlight = { request, messageId: 0, handleResponse, shortenDeadline, fail };
      this.#inFlight.set(key, entry);
      request.end(payloadOf(options.payload));
      entry.messageId = request._packet.messageId ?? 0;
    });
  }

  /**
   * Returns true if the peer answers a CoAP ping (RFC 7252 section 4.3), an empty confirmable
   * message, by a Reset.
   *
   * @param waits timeouts in ms; one ping is sent for each
   */
  async ping(waits: readonly number[]): Promise<boolean> {
    const messageId = this.#agent._nextMessageId();
    const answered = new AbortController();
    this.#pings.set(messageId, answered);
    try {
      for (const wait of waits) {
        if (this.#closed) return false;
        this.#sendEmpty(MESSAGE_TYPE.CON, messageId);
        await pause(wait, undefined, { signal: answered.signal, ref: false }).catch(() => undefined);
        if (answered.signal.aborted) return true;
      }
      return false;
    } finally {
      this.#pings.delete(messageId);
    }
  }

  /** Closes the socket; exchanges in flight, and later ones, end as unreachable. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { fail } of this.#inFlight.values()) fail(CLOSED);
    this.#agent.close();
    this.#socket.removeAllListeners('message');
    this.#socket.close();
    await once(this.#socket, 'close');
  }

  /** Closes once the exchanges in flight have ended. */
  async closeWhenIdle(): Promise<void> {
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.close();
  }

  #countTransmissions({ sender }: OutgoingMessage): void {
    const { metrics } = this.#options;
    if (metrics === undefined) return;
    metrics.requests += 1;
    let transmissions = 0;
    sender.on('sending', () => {
      transmissions += 1;
      if (transmissions > 1) metrics.retransmissions += 1;
    });
  }

  #freshToken(): Buffer {
    for (;;) {
      const token = Buffer.from(randomOctets(this.#options.tokenLength));
      if (!this.#inFlight.has(tokenKey(token))) return token;
    }
  }

  #receive(octets: Buffer, source: RemoteInfo): void {
    const verdict = filterResponse(octets, source.port);
    if (verdict.kind === 'drop') this.#options.metrics?.drops.increment(verdict.cause);
    if (verdict.kind !== 'pass') return;
    if (verdict.datagram.code === 0) this.#receiveEmpty(verdict.datagram, source);
    else this.#receiveResponse(verdict.datagram, source);
  }

  /** Gives a message to `coap`. */
  #handOver(datagram: Datagram, source: RemoteInfo): void {
    this.#agent._handle(toPacket(datagram), source, this.#socket.address());
  }

  /**
   * An empty ACK stops retransmission; a Reset is an unauthenticated refusal, and counts as the
   * network's.
   */
  #receiveEmpty(datagram: Datagram, source: RemoteInfo): void {
    const { type, messageId } = datagram;
    const entry = [...this.#inFlight.values()].find((candidate) => candidate.messageId === messageId);
    if (entry === undefined) {
      if (type === MESSAGE_TYPE.RST) this.#pings.get(messageId)?.abort();
      return;
    }
    if (type === MESSAGE_TYPE.RST) return entry.fail('ECONNRESET');
    entry.shortenDeadline();
    this.#handOver(datagram, source);
  }

  #receiveResponse(datagram: Datagram, source: RemoteInfo): void {
    const { type, messageId } = datagram;
    const key = tokenKey(datagram.token);
    const duplicateKey = type === MESSAGE_TYPE.CON ? `${messageId} ${key}` : undefined;
    if (duplicateKey !== undefined && this.#acknowledged.includes(duplicateKey))
      return this.#sendEmpty(MESSAGE_TYPE.ACK, messageId);
    const entry = this.#inFlight.get(key);
    if (entry === undefined) return type === MESSAGE_TYPE.CON ? this.#sendEmpty(MESSAGE_TYPE.RST, messageId) : undefined;
    if (type === MESSAGE_TYPE.ACK && messageId !== entry.messageId) return;
    if (duplicateKey !== undefined) {
      this.#acknowledged.push(duplicateKey);
      if (this.#acknowledged.length > MAX_ACKNOWLEDGED) this.#acknowledged.shift();
    }
    const finished = entry.handleResponse({
      code: codeText(datagram.code),
      payload: datagram.payload,
      maxAge: uintOption(datagram, OPTION.maxAge),
      echo: opaqueOption(datagram, OPTION.echo),
    });
    if (!finished) return type === MESSAGE_TYPE.CON ? this.#sendEmpty(MESSAGE_TYPE.ACK, messageId) : undefined;
    if (type !== MESSAGE_TYPE.ACK) {
      // `coap` forgets a request by its message ID only when an ACK has it. So it gets the ACK that
      // a separate response implies.
      this.#handOver({ ...datagram, type: MESSAGE_TYPE.ACK, code: 0, messageId: entry.messageId, token: EMPTY }, source);
    }
    this.#handOver(datagram, source);
  }

  #sendEmpty(type: 0 | 2 | 3, messageId: number): void {
    this.#socket.send(emptyMessage(type, messageId), () => undefined);
  }

  /**
   * `coap` stops listening to a request that it aborts. A later send failure would be an unhandled
   * error.
   */
  #abort(request: OutgoingMessage): void {
    this.#agent.abort(request);
    request.sender.on('error', () => undefined);
  }

  /**
   * ICMP errors of a connected socket come without saying which request they are about: they are
   * about all.
   */
  #socketError(error: Error): void {
    for (const { fail } of this.#inFlight.values()) fail(systemCode(error) ?? error.message);
  }
}

/**
 * The first retransmission comes at one of 20 times (RFC 7252 section 4.2), not of 1,000: timers of
 * one duration share a list in Node.js.
 */
function roundTimeout({ sender }: OutgoingMessage): void {
  sender._currentTime = Math.ceil(sender._currentTime / TIMEOUT_GRAIN_MS) * TIMEOUT_GRAIN_MS;
}

function connectFailure(peer: Endpoint, error: unknown): Failure {
  const doing = `cannot reach ${formatEndpoint(peer)}`;
  // Of a socket that asked for any port.
  if (systemCode(error) === 'EADDRINUSE')
    return new Failure(`${doing}: no UDP port of this machine is free`, { advice: NO_PORT_ADVICE, cause: error });
  return interfaceFailure(doing, peer, error) ?? systemFailure(doing, error);
}

function tokenKey(token: Buffer): string {
  return token.toString('latin1');
}
