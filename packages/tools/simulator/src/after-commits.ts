/**
 * An administrator who acts within seconds of a commit, while the controller may not know of it
 * yet: disables the node, moves it, or restores the registry.
 */

import type { Administrator } from './administrator.js';
import type { Simulation } from './simulation.js';
import type { RegistryRow } from './simulated-registry.js';

export class AfterCommits {
  readonly #simulation: Simulation;
  readonly #administrator: Administrator;
  readonly #probability: number;
  readonly #controllers: readonly number[];
  readonly #committed = new Map<number, bigint>();
  /** What waits for the next commit. */
  readonly #waiting: (() => void)[] = [];
  #commits = 0;

  /** @param controllers that nodes are moved between; none: they are not moved */
  constructor(simulation: Simulation, administrator: Administrator, probability: number, controllers: readonly number[]) {
    this.#simulation = simulation;
    this.#administrator = administrator;
    this.#probability = probability;
    this.#controllers = controllers;
  }

  next(action: () => void): void {
    this.#waiting.push(action);
  }

  /** A row has changed, perhaps by a commit. */
  rowChanged({ idI, committed, controller }: RegistryRow): void {
    if (committed === undefined || this.#committed.get(idI) === committed.tid) return;
    this.#committed.set(idI, committed.tid);
    const { faults, events } = this.#simulation;
    const name = `commit ${(this.#commits += 1)}`;
    const random = faults.random(name);
    const delay = random.pick([1, 100, 1_000, 5_000]);
    for (const action of this.#waiting.splice(0)) events.schedule(delay, action);
    const others = this.#controllers.filter((idC) => idC !== controller);
    if (random.uniform() >= this.#probability) return;
    if (others.length > 0 && random.below(2) === 0) {
      const idC = random.pick(others);
      if (faults.trigger(`${name}: n${idI} is assigned to c${idC} after ${delay} ms`))
        events.schedule(delay, () => faults.over || this.#administrator.move(idI, idC));
    } else if (faults.trigger(`${name}: n${idI} is disabled after ${delay} ms`))
      this.#disable(idI, delay, random.pick([3_000, 40_000]));
  }

  #disable(idI: number, delay: number, ms: number): void {
    const { events, faults } = this.#simulation;
    events.schedule(delay, () => faults.over || this.#administrator.setDisabled(idI, true));
    events.schedule(delay + ms, () => this.#administrator.setDisabled(idI, false));
  }
}
