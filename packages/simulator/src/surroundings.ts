import type { Ground } from './ground.js';
import type { Network } from './network.js';
import type { Oracle } from './oracle.js';
import { type Death, type Mortality, Process } from './process.js';
import type { Roles } from './roles.js';

/** What a shell is given to live in. */
export class Surroundings {
  readonly ground: Ground;
  readonly network: Network;
  readonly oracle: Oracle;
  readonly rules: { readonly roles: Roles };

  constructor(ground: Ground, network: Network, oracle: Oracle, rules: { readonly roles: Roles }) {
    this.ground = ground;
    this.network = network;
    this.oracle = oracle;
    this.rules = rules;
  }

  process(name: string, mortality: Mortality, start: () => void, died: (death: Death) => void): Process {
    return new Process(this.ground, name, mortality, start, died);
  }

  /** A line in the log of `who`. */
  says(who: string, text: string): void {
    this.oracle.says(who, text);
    this.ground.note(who, text);
  }
}
