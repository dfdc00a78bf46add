/** The sockets of a controller towards one auth-server, and which of them are still good. */

import type { ProcessTime } from '@latchkey/runtime/daemon';
import type { Address, Endpoint } from '@latchkey/runtime/net';
import type { ClientMetrics } from '@latchkey/coap';
import { Failure } from '@latchkey/runtime/failure';
import { type LinkEnvironment, type LinkSocket, MACHINE } from './link-environment.js';

/**
 * Sockets per server. A message ID repeats after 65,536 messages: at less than 265 requests/s per
 * socket that takes longer than EXCHANGE_LIFETIME (247 s, RFC 7252 section 4.4). 32 sockets
 * therefore carry 4,200 joins/s.
 */
const SOCKETS = 32;
const MAX_IN_FLIGHT_PER_SOCKET = 512;
const TOKEN_LENGTH = 8;
/** Timeout of a look-up if the addresses of an earlier one are known, in ms. */
const LOOKUP_MS = 1_000;
/**
 * Waits after each copy of a ping, in ms: on a socket that was open before, and on a new one. Both
 * fit into one readiness check.
 */
const POOLED_PING_WAITS = [200, 300, 500] as const;
const FRESH_PING_WAITS = [300, 700, 1_000] as const;
/** A ping waits this long for its socket to be connected, in ms. */
const PING_CONNECT_MS = 2_000;

/** A socket towards an auth-server. Times are ms of the monotonic clock. */
export interface Connection {
  readonly connecting: Promise<LinkSocket>;
  /** Set when it is connected, so that a request does not wait for a promise. */
  client: LinkSocket | undefined;
  readonly openedAt: number;
  /** When an answer that opens last came on it. */
  answeredAt: number;
}

/**
 * A connected socket is bound to the state of its creation: both addresses, the route, and the flow
 * in a NAT or a firewall. When one of these changes, all sockets become silent at the same time. So
 * a timeout makes every socket suspect that has received no answer since. The next request opens a
 * new socket, and resolves the server's name again.
 */
export class ConnectionPool {
  readonly endpoint: Endpoint;
  /** When a request to this server last got no answer. */
  failedAt: number = -Infinity;
  readonly #counts: ClientMetrics;
  readonly #environment: LinkEnvironment;
  readonly #connections = new Map<number, Connection>();
  /** Connections that accept no further request, and stay open for pending ones. */
  readonly #released = new Set<Connection>();
  #turn = 0;
  #others = 0;
  /** What the server's name meant when it was last found. */
  #known: readonly Address[] = [];
  /** Those of its addresses from which no answer came. They are tried last. */
  readonly #silent = new Set<string>();

  constructor(endpoint: Endpoint, counts: ClientMetrics, environment: LinkEnvironment = MACHINE) {
    this.endpoint = endpoint;
    this.#counts = counts;
    this.#environment = environment;
  }

  /** Whether the server's name means several addresses: a new socket may go to another one. */
  get hasOtherAddresses(): boolean {
    return this.#known.length > 1;
  }

  /** Returns the sockets in turn. Opens one if none is open. */
  next(): Connection {
    this.#turn = (this.#turn + 1) % SOCKETS;
    const turn = this.#turn;
    const there = this.#connections.get(turn);
    if (there !== undefined) return there;
    const connecting = this.#connect();
    const connection: Connection = {
      connecting,
      client: undefined,
      openedAt: this.#environment.time.now(),
      answeredAt: -Infinity,
    };
    this.#connections.set(turn, connection);
    connecting.then(
      (client) => (connection.client = client),
      () => this.#forget(connection),
    );
    return connection;
  }

  /**
   * Resolves with the connection once it is connected, or with `undefined` if that takes longer. If
   * no socket can be had now, as without a free file descriptor or port, another that is open
   * serves. Throws a Failure if there is none.
   */
  async connected(connection: Connection, limitMs: number): Promise<Connection | undefined> {
    try {
      return (await within(this.#environment.time, limitMs, connection.connecting)) && connection;
    } catch (error) {
      const open = this.#open();
      if (!(error instanceof Failure) || open === undefined) throw error;
      return open;
    }
  }

  answered(connection: Connection, now: number): void {
    connection.answeredAt = now;
    if (this.#silent.size > 0 && connection.client !== undefined) this.#silent.delete(connection.client.address);
  }

  /** No answer came on the connection: it is released, and its address is tried last. */
  unanswered(connection: Connection): void {
    if (connection.client !== undefined) this.#silent.add(connection.client.address);
    this.#release(connection);
  }

  /** Releases the connections that were opened before `since` and brought no answer after it. */
  suspect(since: number): void {
    for (const connection of this.#connections.values())
      if (connection.openedAt < since && connection.answeredAt < since) this.#release(connection);
  }

  releaseAll(): void {
    for (const connection of this.#connections.values()) this.#release(connection);
  }

  /**
   * Returns true if the server answers a ping, within 3 seconds and the time of a look-up. The ping
   * uses an open socket, like requests. If no answer arrives there, the sockets are suspect, and
   * the ping is repeated on a new one.
   */
  async ping(): Promise<boolean> {
    const since = this.#environment.time.now();
    const pooled = this.#open();
    if (pooled !== undefined) {
      if ((await this.#pingOn(pooled, POOLED_PING_WAITS)) || pooled.answeredAt >= since) return true;
      this.unanswered(pooled);
      this.suspect(since);
    }
    const fresh = this.next();
    if (await this.#pingOn(fresh, FRESH_PING_WAITS)) return true;
    this.unanswered(fresh);
    return false;
  }

  /** Returns those that are connected in turn. */
  #open(): Connection | undefined {
    const open = [...this.#connections.values()].filter(({ client }) => client !== undefined);
    return open[this.#others++ % open.length];
  }

  /**
   * Aborts pending requests, and closes all sockets. Does not wait for a connection whose server
   * name is still being resolved.
   */
  async close(): Promise<void> {
    const closing = [...this.#connections.values(), ...this.#released].flatMap(({ client, connecting }) => {
      const closed = connecting.then((one) => one.close()).catch(() => undefined);
      return client === undefined ? [] : [closed];
    });
    await Promise.all(closing);
  }

  async #connect(): Promise<LinkSocket> {
    return this.#environment.connect({
      peer: this.endpoint,
      addresses: this.#inOrder(await this.#lookUp()),
      tokenLength: TOKEN_LENGTH,
      maxInFlight: MAX_IN_FLIGHT_PER_SOCKET,
      metrics: this.#counts,
    });
  }

  /** Without a name server the addresses of the last look-up stand. */
  async #lookUp(): Promise<readonly Address[]> {
    const looking = this.#environment.lookUp(this.endpoint);
    if (this.#known.length === 0) return (this.#known = await looking);
    try {
      this.#known = (await within(this.#environment.time, LOOKUP_MS, looking)) ?? this.#known;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
    return this.#known;
  }

  #inOrder(addresses: readonly Address[]): readonly Address[] {
    if (this.#silent.size === 0) return addresses;
    const silent = addresses.filter(({ address }) => this.#silent.has(address));
    if (silent.length === addresses.length) {
      this.#silent.clear();
      return addresses;
    }
    return [...addresses.filter((address) => !silent.includes(address)), ...silent];
  }

  /** Closes the connection once it has no pending request. */
  #release(connection: Connection): void {
    if (!this.#forget(connection)) return;
    this.#released.add(connection);
    void connection.connecting
      .then((client) => client.closeWhenIdle())
      .catch(() => undefined)
      .finally(() => this.#released.delete(connection));
  }

  #forget(connection: Connection): boolean {
    for (const [turn, there] of this.#connections) {
      if (there === connection) return this.#connections.delete(turn);
    }
    return false;
  }

  async #pingOn({ client, connecting }: Connection, waits: readonly number[]): Promise<boolean> {
    try {
      const connected = client ?? (await within(this.#environment.time, PING_CONNECT_MS, connecting));
      return connected !== undefined && (await connected.ping(waits));
    } catch (error) {
      if (error instanceof Failure) return false;
      throw error;
    }
  }
}

/** Returns `undefined` if the promise has not settled in time. */
async function within<T>({ pause }: ProcessTime, ms: number, promise: Promise<T>): Promise<T | undefined> {
  const settled = new AbortController();
  try {
    return await Promise.race([promise, pause(ms, settled.signal).then(() => undefined)]);
  } finally {
    settled.abort();
  }
}
