/** A world's controllers that follow the key feed: who changes what under them, and invariant 9. */

import type { Administrator } from './administrator.js';
import { AfterCommits } from './after-commits.js';
import type { SimulatedController } from './controller.js';
import { KeyFeedOracle } from './key-feed-oracle.js';
import type { SimulatedNetwork } from './network.js';
import type { Scenario } from './scenario.js';
import type { SimulatedServer } from './server.js';
import { type Simulation, Violation } from './simulation.js';
import type { RegistryRow, SimulatedRegistry } from './simulated-registry.js';

interface KeyFeedsOptions {
  readonly simulation: Simulation;
  readonly scenario: Pick<Scenario, 'keyFeed' | 'combined' | 'controllers'>;
  readonly registry: SimulatedRegistry;
  readonly administrator: Administrator;
  readonly network: SimulatedNetwork;
  readonly servers: readonly SimulatedServer[];
  /** The error of the clock that all servers go by, in ms. */
  readonly clockError: () => number;
}

export class KeyFeeds {
  readonly #simulation: Simulation;
  readonly #oracle: KeyFeedOracle;
  readonly #afterCommits: AfterCommits;

  constructor({ simulation, scenario, registry, administrator, network, servers, clockError }: KeyFeedsOptions) {
    const { keyFeed, combined, controllers } = scenario;
    this.#simulation = simulation;
    const isServing = (): boolean => servers.every((server) => server.isServing);
    this.#oracle = new KeyFeedOracle(simulation, { isServing, clockError });
    const movable = combined ? [] : controllers;
    this.#afterCommits = new AfterCommits(simulation, administrator, keyFeed?.changesAfterCommit ?? 0, movable);
    for (const { onStart, onCrash } of servers) {
      onStart.push(() => this.disturbed());
      onCrash.push(() => this.disturbed());
    }
    network.feedDisturbed = (controller): void => this.#oracle.disturbed(Number(controller.slice(1)));
    this.#listen(registry);
  }

  #listen(registry: SimulatedRegistry): void {
    const { onChange, removed, restored, promoted } = registry;
    const changed = (row: RegistryRow): void => this.#oracle.rowChanged(row);
    registry.onChange = (row): void => {
      onChange(row);
      changed(row);
      if (!this.#simulation.faults.over) this.#afterCommits.rowChanged(row);
    };
    registry.removed = (idI): void => {
      removed(idI);
      this.#oracle.rowRemoved(idI);
    };
    registry.restored = (row): void => {
      restored(row);
      changed(row);
    };
    registry.promoted = (row): void => {
      promoted(row);
      changed(row);
    };
  }

  follow(controller: SimulatedController): void {
    controller.onFeedDisturbed = (): void => this.#oracle.disturbed(controller.idC);
    this.#oracle.follow(controller);
  }

  begin(): void {
    this.#oracle.begin();
  }

  /** Something befell the links of all. */
  disturbed(): void {
    this.#oracle.disturbed();
  }

  /** Acts soon after the next commit. */
  afterNextCommit(action: () => void): void {
    this.#afterCommits.next(action);
  }

  /**
   * After the fault phase: continues until each controller gives out the registry's state.
   *
   * @param settle called after each event
   */
  async settle(deadline: number, settle: () => Promise<void>): Promise<void> {
    while (!this.#oracle.isSettled) {
      if (!this.#simulation.events.step(deadline)) throw new Violation('liveness', 'a controller does not follow the key feed');
      await settle();
    }
  }
}
