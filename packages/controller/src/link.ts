/** The way from the controller to whoever answers M2 and M7. */

import { setTimeout as pause } from 'node:timers/promises';
import type { AuthServer } from '@latchkey/auth-server';
import type { LinkDecision } from '@latchkey/protocol';
import {
  BoundedLog,
  ClientCounts,
  CoapClient,
  type Endpoint,
  Failure,
  formatEndpoint,
  type Log,
  type Outcome,
  ping,
} from '@latchkey/runtime';

/** Judges what came back; `ignored` is no answer. `maxAge`: of the CoAP response, in seconds, where it has one. */
export type JudgeAnswer = (octets: Uint8Array, maxAge?: number) => LinkDecision;

export interface Link {
  /** Resolves with the first decision that is an answer, or `undefined`: nobody gave one in time. */
  ask(request: Uint8Array, judge: JudgeAnswer): Promise<LinkDecision | undefined>;
  close(): Promise<void>;
}

/** How long a request is repeated before the node is told that nobody answers, in ms. An M2 is good for 30 s at the server. */
const ASK_BUDGET_MS = 15_000;
/** With another server to turn to, one has this long: two transmissions, in ms. */
const TURN_MS = 4_000;
/** Between rounds in which every server failed at once, in ms. */
const ROUND_PAUSE_MS = 500;
/** A server that failed is the first choice again after this, if the order says so, in ms. */
const RETURN_AFTER_MS = 30_000;
/**
 * Sockets per server: an ID comes round after 65,536 messages, and not within 247 s (EXCHANGE_LIFETIME, RFC 7252 section 4.4) up to 265 requests/s a socket.
 * So these are good for 4,200 joins/s that do not end.
 */
const SOCKETS = 32;
const MAX_IN_FLIGHT_PER_SOCKET = 512;
const TOKEN_LENGTH = 8;
const MAX_IGNORED = 16;
/** An answer that opened shows for so long that a server is there, in ms. */
const ANSWER_COUNTS_MS = 5_000;
/** Answers that did not open show for so long that a server has another SK_cs, in ms. */
const UNOPENED_COUNTS_MS = 60_000;

/** A socket towards an auth-server. */
interface Connection {
  readonly connecting: Promise<CoapClient>;
  /** Once it is connected: whoever need not wait does not. */
  client: CoapClient | undefined;
}

/** One auth-server and the sockets connected to it. */
class Peer {
  readonly endpoint: Endpoint;
  readonly #counts: ClientCounts;
  readonly #connections = new Map<number, Connection>();
  #turn = 0;
  failedAt = -Infinity;

  constructor(endpoint: Endpoint, counts: ClientCounts) {
    this.endpoint = endpoint;
    this.#counts = counts;
  }

  /** The socket whose turn it is. One that cannot be connected is not kept. */
  next(): Connection {
    this.#turn = (this.#turn + 1) % SOCKETS;
    const turn = this.#turn;
    const there = this.#connections.get(turn);
    if (there !== undefined) return there;
    const connecting = CoapClient.connect({
      peer: this.endpoint,
      tokenLength: TOKEN_LENGTH,
      maxInFlight: MAX_IN_FLIGHT_PER_SOCKET,
      counts: this.#counts,
    });
    const connection: Connection = { connecting, client: undefined };
    this.#connections.set(turn, connection);
    connecting.then(
      (client) => (connection.client = client),
      () => this.#forget(connection),
    );
    return connection;
  }

  /** The next request connects anew: the server's name may mean another address by then. Closes once nothing is under way on it. */
  letGo(connection: Connection): void {
    if (this.#forget(connection)) connection.connecting.then((client) => client.closeWhenIdle()).catch(() => undefined);
  }

  letGoOfAll(): void {
    for (const connection of this.#connections.values()) this.letGo(connection);
  }

  #forget(connection: Connection): boolean {
    for (const [turn, there] of this.#connections) {
      if (there === connection) return this.#connections.delete(turn);
    }
    return false;
  }

  /** One whose server is still being looked for is not waited for. */
  async close(): Promise<void> {
    const closing = [...this.#connections.values()].flatMap(({ client, connecting }) => {
      const closed = connecting.then((one) => one.close()).catch(() => undefined);
      return client === undefined ? [] : [closed];
    });
    await Promise.all(closing);
  }
}

/** Relays over CoAP, to the first server of the list that answers. */
export class RelayLink implements Link {
  readonly counts: ClientCounts = new ClientCounts();
  #peers: readonly Peer[];
  readonly #log: BoundedLog;
  /** When a server last gave an answer that opens, and when answers came of which none did; ms of the monotonic clock. */
  #openedAt = -Infinity;
  #unopenedAt = -Infinity;
  #failedAt = -Infinity;
  #closed = false;

  constructor(servers: readonly Endpoint[], log: Log) {
    this.#peers = servers.map((endpoint) => new Peer(endpoint, this.counts));
    this.#log = new BoundedLog(log);
  }

  async ask(request: Uint8Array, judge: JudgeAnswer): Promise<LinkDecision | undefined> {
    const end = performance.now() + ASK_BUDGET_MS;
    for (let first = true; ; first = false) {
      if (!first) await pause(ROUND_PAUSE_MS);
      for (const peer of this.#inOrder()) {
        const left = end - performance.now();
        if (left <= 0 || this.#closed) return undefined;
        // Turned to others meanwhile: a socket that is opened now nobody would close.
        if (!this.#peers.includes(peer)) break;
        const outcome = await this.#exchange(peer, request, judge, this.#peers.length > 1 ? Math.min(left, TURN_MS) : left);
        if (outcome.kind === 'answered') {
          this.#openedAt = performance.now();
          return outcome.value;
        }
        peer.failedAt = performance.now();
        this.#failedAt = peer.failedAt;
        if (outcome.kind === 'deaf' || (outcome.kind === 'timeout' && outcome.ignored > 0)) this.#unopenedAt = peer.failedAt;
        this.#report(peer, outcome);
      }
    }
  }

  /** Why M2 and M7 get no answer now; `undefined`: they do. An answer of late tells, else each server is pinged. */
  async look(): Promise<string | undefined> {
    const now = performance.now();
    if (this.#openedAt > this.#failedAt && now - this.#openedAt < ANSWER_COUNTS_MS) return undefined;
    const answers = await Promise.all(this.#peers.map(({ endpoint }) => ping(endpoint)));
    if (!answers.includes(true)) return 'no auth-server answers';
    const unopened = this.#unopenedAt > this.#openedAt && now - this.#unopenedAt < UNOPENED_COUNTS_MS;
    return unopened ? 'an auth-server answers, but nothing that opens: its credential of this controller is another' : undefined;
  }

  /** Other servers from now on; what is under way with those before is finished. */
  turnTo(servers: readonly Endpoint[]): void {
    const before = this.#peers;
    this.#peers = servers.map((endpoint) => new Peer(endpoint, this.counts));
    for (const peer of before) peer.letGoOfAll();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#peers.map((peer) => peer.close()));
  }

  /** As configured, but those that failed lately come last. */
  #inOrder(): readonly Peer[] {
    const now = performance.now();
    const failed = (peer: Peer): boolean => now - peer.failedAt < RETURN_AFTER_MS;
    if (!this.#peers.some(failed)) return this.#peers;
    return [...this.#peers.filter((peer) => !failed(peer)), ...this.#peers.filter(failed)];
  }

  async #exchange(peer: Peer, request: Uint8Array, judge: JudgeAnswer, deadlineMs: number): Promise<Outcome<LinkDecision>> {
    const connection = peer.next();
    const end = performance.now() + deadlineMs;
    try {
      const client = connection.client ?? (await within(deadlineMs, connection.connecting));
      if (client === undefined) return { kind: 'unreachable', code: 'its name was not found in time' };
      const outcome = await client.exchange({
        payload: request,
        deadlineMs: end - performance.now(),
        maxIgnored: MAX_IGNORED,
        // The payload decides, not the code: without an M3, M8 or M9 that opens it is no answer.
        judge: ({ payload, maxAge }) => {
          const decision = judge(payload, maxAge);
          return decision.kind === 'ignored' ? undefined : decision;
        },
      });
      if (outcome.kind === 'unreachable' || outcome.kind === 'timeout') peer.letGo(connection);
      return outcome;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return { kind: 'unreachable', code: error.message };
    }
  }

  #report({ endpoint }: Peer, outcome: Exclude<Outcome<LinkDecision>, { kind: 'answered' }>): void {
    const server = formatEndpoint(endpoint);
    switch (outcome.kind) {
      case 'unreachable':
        return this.#log.warn('server', { server, error: outcome.code }, 'the auth-server cannot be reached');
      case 'busy':
        return this.#log.warn('server', { server }, 'too many requests to the auth-server are under way');
      case 'timeout':
      case 'deaf': {
        const code = outcome.kind === 'timeout' ? outcome.lastCode : undefined;
        if (code === undefined && outcome.ignored === 0)
          return this.#log.warn('server', { server }, 'the auth-server does not answer');
        const why =
          code === '4.01'
            ? 'it does not know this controller, or its SK_cs differs from the credential here'
            : 'nothing it said opens under SK_cs';
        return this.#log.warn(
          'server',
          { server, code, ignored: outcome.ignored },
          `the auth-server's answers do not count: ${why}`,
        );
      }
    }
  }
}

/** `undefined`: nothing came of it in time. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const settled = new AbortController();
  try {
    return await Promise.race([promise, pause(ms, undefined, { signal: settled.signal })]);
  } finally {
    settled.abort();
  }
}

/** Combined mode: the same server rules in the same process, no wire between. */
export class LocalLink implements Link {
  readonly #server: AuthServer;

  constructor(server: AuthServer) {
    this.#server = server;
  }

  async ask(request: Uint8Array, judge: JudgeAnswer): Promise<LinkDecision | undefined> {
    const { payload, maxAge } = await this.#server.answer(request);
    const decision = payload && judge(payload, maxAge);
    return decision?.kind === 'ignored' ? undefined : decision;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
