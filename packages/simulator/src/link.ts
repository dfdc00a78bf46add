/** The way from a controller to whoever answers M2 and M7. Mirrors `link.ts` of packages/controller, but for its pools of sockets: no rule depends on them. */

import type { LinkDecision } from '@latchkey/protocol';
import type { Chance } from './chance.js';
import { Client, type Outcome } from './exchange.js';
import type { Network } from './network.js';
import type { Process } from './process.js';
import type { SimulatedServer } from './server.js';

/** Judges what came back, with the Max-Age it came under; `ignored` is no answer. */
export type JudgeAnswer = (octets: Uint8Array, maxAge?: number) => LinkDecision;

export interface Link {
  /** Tells the first decision that is an answer, or `undefined`: nobody gave one in time. */
  ask(request: Uint8Array, judge: JudgeAnswer, done: (decision: LinkDecision | undefined) => void): void;
}

/** As in link.ts, all in ms. */
const ASK_BUDGET_MS = 15_000;
const TURN_MS = 4_000;
const ROUND_PAUSE_MS = 500;
const RETURN_AFTER_MS = 30_000;
const MAX_IGNORED = 16;

interface Peer {
  readonly client: Client;
  failedAt: number;
}

/** Relays over CoAP, to the first server of the list that answers. */
export class RelayLink implements Link {
  readonly #process: Process;
  readonly #peers: readonly Peer[];

  constructor(process: Process, network: Network, chance: Chance, servers: readonly string[]) {
    this.#process = process;
    this.#peers = servers.map((server) => ({
      client: new Client(process, network, chance, `${process.name}:${server}`, `${server}:5693`),
      failedAt: -Infinity,
    }));
  }

  ask(request: Uint8Array, judge: JudgeAnswer, done: (decision: LinkDecision | undefined) => void): void {
    this.#round(request, judge, this.#process.steady + ASK_BUDGET_MS, done);
  }

  #round(request: Uint8Array, judge: JudgeAnswer, end: number, done: (decision: LinkDecision | undefined) => void): void {
    const turn = ([peer, ...rest]: readonly Peer[]): void => {
      const left = end - this.#process.steady;
      if (left <= 0) return done(undefined);
      if (peer === undefined)
        return this.#process.after(ROUND_PAUSE_MS, 'asks all again', () => this.#round(request, judge, end, done));
      this.#exchange(peer, request, judge, this.#peers.length > 1 ? Math.min(left, TURN_MS) : left, (outcome) => {
        if (outcome.kind === 'answered') return done(outcome.value);
        peer.failedAt = this.#process.steady;
        turn(rest);
      });
    };
    turn(this.#inOrder());
  }

  /** As configured, but those that failed lately come last. */
  #inOrder(): Peer[] {
    const now = this.#process.steady;
    const failed = (peer: Peer): boolean => now - peer.failedAt < RETURN_AFTER_MS;
    return [...this.#peers.filter((peer) => !failed(peer)), ...this.#peers.filter(failed)];
  }

  #exchange(
    { client }: Peer,
    request: Uint8Array,
    judge: JudgeAnswer,
    deadlineMs: number,
    done: (outcome: Outcome<LinkDecision>) => void,
  ): void {
    client.exchange({
      payload: request,
      deadlineMs,
      maxIgnored: MAX_IGNORED,
      // The payload decides, not the code: without an M3, M8 or M9 that opens it is no answer.
      judge: ({ payload, maxAge }) => {
        const decision = judge(payload, maxAge);
        return decision.kind === 'ignored' ? undefined : decision;
      },
      done,
    });
  }

  close(): void {
    for (const { client } of this.#peers) client.close();
  }
}

/** Combined mode: the same server rules in the same process, no wire between. */
export class LocalLink implements Link {
  readonly #server: SimulatedServer;

  constructor(server: SimulatedServer) {
    this.#server = server;
  }

  ask(request: Uint8Array, judge: JudgeAnswer, done: (decision: LinkDecision | undefined) => void): void {
    this.#server.answer(request, ({ payload, maxAge }) => {
      const decision = payload && judge(payload, maxAge);
      done(decision?.kind === 'ignored' ? undefined : decision);
    });
  }
}
