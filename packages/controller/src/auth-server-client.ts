/** Clients of the auth-server that answers M2 and M7: over CoAP, or in the same process. */

import type { AuthServer } from '@latchkey/auth-server';
import type { LinkDecision } from '@latchkey/protocol';
import { RateLimitedLog, type Log } from '@latchkey/runtime/daemon';
import { ClientMetrics, type ExchangeOutcome } from '@latchkey/coap';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { Failure } from '@latchkey/runtime/failure';
import { ConnectionPool } from './connection-pool.js';
import { type LinkEnvironment, MACHINE } from './link-environment.js';
import { LinkHealth } from './link-health.js';

/**
 * Judges what came back; `ignored` is no answer. `maxAge`: of the CoAP response, in seconds, where
 * it has one.
 */
export type AcceptAnswer = (octets: Uint8Array, maxAge?: number) => LinkDecision;

export interface AuthServerClient {
  /**
   * Resolves with the first decision that is an answer, or `undefined`: nobody gave one in time.
   */
  request(request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined>;
  close(): Promise<void>;
}

/**
 * How long a request is repeated before the node is told that nobody answers, in ms. An M2 is good
 * for 30 s at the server.
 */
const REQUEST_TIMEOUT_MS = 15_000;
/** How long a server has if something else can be tried after it, in ms: two transmissions. */
const PER_SERVER_TIMEOUT_MS = 4_000;
/** From the start of a round to the next one, at least, in ms. */
const ROUND_MS = 500;
/** A server that failed is the first choice again after this, if the order says so, in ms. */
const FAILBACK_AFTER_MS = 30_000;
const MAX_IGNORED = 16;

/** Relays over CoAP, to the first server of the list that answers. */
export class CoapAuthServerClient implements AuthServerClient {
  readonly metrics: ClientMetrics = new ClientMetrics();
  #pools: readonly ConnectionPool[];
  readonly #log: RateLimitedLog;
  readonly #environment: LinkEnvironment;
  readonly #health = new LinkHealth();
  #closed = false;

  constructor(servers: readonly Endpoint[], log: Log, environment: LinkEnvironment = MACHINE) {
    this.#environment = environment;
    this.#pools = this.#newPools(servers);
    this.#log = new RateLimitedLog(log, environment.time);
  }

  async request(request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined> {
    const { now, pause } = this.#environment.time;
    const askedAt = now();
    const deadlineAt = askedAt + REQUEST_TIMEOUT_MS;
    for (let nextRoundAt = askedAt; ;) {
      const early = nextRoundAt - now();
      if (early > 0) await pause(early, new AbortController().signal);
      nextRoundAt = now() + ROUND_MS;
      for (const pool of this.#byPreference()) {
        const since = now();
        if (since >= deadlineAt || this.#closed) {
          this.#health.unanswered(askedAt, since);
          return undefined;
        }
        // Other servers were set while this request was under way: nobody would close a socket that
        // is opened now.
        if (!this.#pools.includes(pool)) break;
        const outcome = await this.#exchange(pool, request, accept, since, deadlineAt);
        const endedAt = now();
        if (outcome.kind === 'answered') {
          this.#health.answered(request, outcome.value, endedAt);
          return outcome.value;
        }
        pool.failedAt = endedAt;
        this.#health.failed(outcome.kind === 'too-many-invalid' || (outcome.kind === 'timeout' && outcome.ignored > 0), endedAt);
        this.#logFailure(pool, outcome);
      }
    }
  }

  /** Why M2 and M7 get no answer that helps; `undefined` if they do. */
  checkReachability(): Promise<string | undefined> {
    return this.#health.fault(async () => (await Promise.all(this.#pools.map((pool) => pool.ping()))).includes(true));
  }

  /** Why every join fails for a clock; `undefined` if none is known to. */
  lookAtClock(): string | undefined {
    return this.#health.clockFault();
  }

  /** Other servers from now on; what is under way with those before is finished. */
  setServers(servers: readonly Endpoint[]): void {
    const previous = this.#pools;
    this.#pools = this.#newPools(servers);
    for (const pool of previous) pool.releaseAll();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#pools.map((pool) => pool.close()));
  }

  #newPools(servers: readonly Endpoint[]): readonly ConnectionPool[] {
    return servers.map((endpoint) => new ConnectionPool(endpoint, this.metrics, this.#environment));
  }

  /** As configured, but those that failed lately come last. */
  #byPreference(): readonly ConnectionPool[] {
    const now = this.#environment.time.now();
    const failed = (pool: ConnectionPool): boolean => now - pool.failedAt < FAILBACK_AFTER_MS;
    if (!this.#pools.some(failed)) return this.#pools;
    return [...this.#pools.filter((pool) => !failed(pool)), ...this.#pools.filter(failed)];
  }

  /** One try, from `since` until `deadlineAt` at most. */
  async #exchange(
    pool: ConnectionPool,
    request: Uint8Array,
    accept: AcceptAnswer,
    since: number,
    deadlineAt: number,
  ): Promise<ExchangeOutcome<LinkDecision>> {
    const others = this.#pools.length > 1;
    const turnEnd = others ? Math.min(deadlineAt, since + PER_SERVER_TIMEOUT_MS) : deadlineAt;
    const next = pool.next();
    try {
      const connection = next.client === undefined ? await pool.connected(next, turnEnd - since) : next;
      if (connection?.client === undefined) return { kind: 'unreachable', code: 'its name was not found in time' };
      // A new socket may do better than this one, if it was open before, or goes to one of several
      // addresses, or has bad luck.
      const isOld = connection.openedAt < since || pool.hasOtherAddresses;
      const mayDoBetter = !others && (isOld || deadlineAt - since > 2 * PER_SERVER_TIMEOUT_MS);
      const outcome = await connection.client.exchange({
        payload: request,
        deadlineMs: turnEnd - this.#environment.time.now(),
        maxIgnored: MAX_IGNORED,
        unlessAlive: mayDoBetter ? { afterMs: PER_SERVER_TIMEOUT_MS, isAlive: () => connection.answeredAt > since } : undefined,
        // The payload decides, not the code: without an M3, M8 or M9 that opens it is no answer.
        accept: ({ payload, maxAge }) => {
          const decision = accept(payload, maxAge);
          return decision.kind === 'ignored' ? undefined : decision;
        },
      });
      if (outcome.kind === 'answered') pool.answered(connection, this.#environment.time.now());
      else if (outcome.kind !== 'busy') {
        pool.unanswered(connection);
        // Whatever this socket has outlived, those to other servers may have outlived too.
        for (const each of this.#pools) each.suspect(since);
      }
      return outcome;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return { kind: 'unreachable', code: error.message };
    }
  }

  #logFailure({ endpoint }: ConnectionPool, outcome: Exclude<ExchangeOutcome<LinkDecision>, { kind: 'answered' }>): void {
    const server = formatEndpoint(endpoint);
    switch (outcome.kind) {
      case 'unreachable':
        return this.#log.warn('server', { server, error: outcome.code }, 'the auth-server cannot be reached');
      case 'busy':
        return this.#log.warn('server', { server }, 'too many requests to the auth-server are under way');
      case 'timeout':
      case 'too-many-invalid': {
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

/** Combined mode: the same server rules in the same process, no wire between. */
export class InProcessAuthServerClient implements AuthServerClient {
  readonly #server: Pick<AuthServer, 'answer'>;

  constructor(server: Pick<AuthServer, 'answer'>) {
    this.#server = server;
  }

  async request(request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined> {
    const { payload, maxAge } = await this.#server.answer(request);
    const decision = payload && accept(payload, maxAge);
    return decision?.kind === 'ignored' ? undefined : decision;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
