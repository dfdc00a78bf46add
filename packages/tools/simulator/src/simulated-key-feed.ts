/**
 * The key feed of one run of a simulated controller: `KeyFeed` of packages/controller, whose M12 go
 * over the simulated link and whose pauses are steps of the controller's process.
 */

import { DEFAULT_FEED_INTERVAL_MS, KeyFeed } from '@latchkey/controller/key-feed';
import type { Clocks, JoinResult, KeyFeedClient, KeyFeedClientOptions, LinkDecision } from '@latchkey/protocol';
import type { Log } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import type { AcceptAnswer, AuthServerClient } from './auth-server-client.js';
import type { Process } from './process.js';
import type { SimulatedKeyStore } from './simulated-key-store.js';

export interface KeyFeedPlan extends Omit<KeyFeedClientOptions, 'cursor'> {
  readonly process: Process;
  readonly authServer: AuthServerClient;
  readonly store: SimulatedKeyStore;
  readonly clock: () => Clocks;
  readonly log: Log;
  readonly newClient: (options: KeyFeedClientOptions) => KeyFeedClient;
}

export class SimulatedKeyFeed {
  readonly #process: Process;
  readonly #store: SimulatedKeyStore;
  readonly #feed: KeyFeed;

  constructor({ process, authServer, store, ...link }: KeyFeedPlan) {
    this.#process = process;
    this.#store = store;
    this.#feed = new KeyFeed({
      ...link,
      store,
      authServer: { request: (request, accept) => this.#request(authServer, request, accept) },
      intervalMs: DEFAULT_FEED_INTERVAL_MS,
      maxUnverifiedMs: 0,
      time: { now: () => process.monotonicMs, pause: (ms, signal) => this.#pause(ms, signal) },
    });
  }

  start(): void {
    this.#process.simulation.unsettled();
    this.#feed.start();
  }

  /** An M8 or M11 arrived: as `Controller` of packages/controller does. */
  joined(joined: JoinResult): void {
    this.#process.simulation.unsettled();
    if (!this.#feed.joined(joined)) return;
    this.#process.simulation.run(async () => {
      try {
        await this.#store.put(joined);
      } catch (error) {
        // Nothing tries to write it again here: the key feed brings it.
        if (!(error instanceof Failure)) throw error;
      }
    });
  }

  #request(authServer: AuthServerClient, request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined> {
    return new Promise((resolve) => {
      authServer.request(request, accept, (decision) => {
        this.#process.simulation.unsettled();
        resolve(decision);
      });
    });
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        signal.removeEventListener('abort', end);
        this.#process.simulation.unsettled();
        resolve();
      };
      signal.addEventListener('abort', end);
      this.#process.schedule(ms, 'goes on with the key feed', end);
    });
  }
}
