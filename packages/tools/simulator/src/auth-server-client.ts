/**
 * The way from a controller to the auth-servers. Mirrors `CoapAuthServerClient` of
 * packages/controller, but for its pools of sockets: no rule depends on them.
 */

import type { AcceptAnswer, AuthServerClient } from '@latchkey/controller/auth-server-client';
import type { LinkDecision } from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { SimulatedClient, type ExchangeOutcome } from './exchange.js';
import type { SimulatedNetwork } from './network.js';
import type { Process } from './process.js';

/** As in link.ts, all in ms. */
const REQUEST_TIMEOUT_MS = 15_000;
const PER_SERVER_TIMEOUT_MS = 4_000;
const RETRY_DELAY_MS = 500;
const FAILBACK_AFTER_MS = 30_000;
const MAX_IGNORED = 16;

interface Peer {
  readonly client: SimulatedClient;
  failedAt: number;
}

/** Relays over CoAP, to the first server of the list that answers. */
export class SimulatedAuthServerClient implements AuthServerClient {
  readonly #process: Process;
  readonly #peers: readonly Peer[];

  constructor(process: Process, network: SimulatedNetwork, random: SeededRandom, servers: readonly string[]) {
    this.#process = process;
    this.#peers = servers.map((server) => ({
      client: new SimulatedClient(process, network, random, `${process.name}:${server}`, `${server}:5693`),
      failedAt: -Infinity,
    }));
  }

  async request(request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined> {
    const end = this.#process.monotonicMs + REQUEST_TIMEOUT_MS;
    for (;;) {
      for (const peer of this.#byPreference()) {
        const left = end - this.#process.monotonicMs;
        if (left <= 0) return undefined;
        const deadlineMs = this.#peers.length > 1 ? Math.min(left, PER_SERVER_TIMEOUT_MS) : left;
        const outcome = await this.#exchange(peer, request, accept, deadlineMs);
        if (outcome.kind === 'answered') return outcome.value;
        peer.failedAt = this.#process.monotonicMs;
      }
      if (this.#process.monotonicMs >= end) return undefined;
      await this.#process.pause(RETRY_DELAY_MS, 'asks all again');
    }
  }

  /** As configured, but those that failed lately come last. */
  #byPreference(): Peer[] {
    const now = this.#process.monotonicMs;
    const failed = (peer: Peer): boolean => now - peer.failedAt < FAILBACK_AFTER_MS;
    return [...this.#peers.filter((peer) => !failed(peer)), ...this.#peers.filter(failed)];
  }

  #exchange(
    { client }: Peer,
    request: Uint8Array,
    accept: AcceptAnswer,
    deadlineMs: number,
  ): Promise<ExchangeOutcome<LinkDecision>> {
    return client.exchange({
      payload: request,
      deadlineMs,
      maxIgnored: MAX_IGNORED,
      // The payload decides, not the code: without an M3, M8 or M9 that opens it is no answer.
      accept: ({ payload, maxAge }) => {
        const decision = accept(payload, maxAge);
        return decision.kind === 'ignored' ? undefined : decision;
      },
    });
  }

  close(): Promise<void> {
    for (const { client } of this.#peers) void client.close();
    return Promise.resolve();
  }
}
