import type { Simulation } from './simulation.js';
import type { SimulatedNetwork } from './network.js';
import type { Oracle } from './oracle.js';
import { type CrashKind, type CrashModel, Process } from './process.js';
import type { Roles } from './roles.js';
import type { DatabaseRules } from './shared-registry/rules.js';

/** What a shell is given to live in. */
export class SimulationContext {
  readonly simulation: Simulation;
  readonly network: SimulatedNetwork;
  readonly oracle: Oracle;
  readonly rules: { readonly roles: Roles; readonly database: DatabaseRules };

  constructor(
    simulation: Simulation,
    network: SimulatedNetwork,
    oracle: Oracle,
    rules: { readonly roles: Roles; readonly database: DatabaseRules },
  ) {
    this.simulation = simulation;
    this.network = network;
    this.oracle = oracle;
    this.rules = rules;
  }

  process(name: string, mortality: CrashModel, start: () => void, died: (death: CrashKind) => void): Process {
    return new Process(this.simulation, name, mortality, start, died);
  }

  /**
   * A line in the log of `who`, as pino writes it: of what happened it is the message at its end.
   */
  logLine(who: string, line: string): void {
    this.oracle.assertNoKeyInLog(who, line);
    this.simulation.record(who, line.slice(line.indexOf('"msg":') + 7, -3));
  }

  /** A line in the log of `who`. */
  log(who: string, text: string): void {
    this.oracle.assertNoKeyInLog(who, text);
    this.simulation.record(who, text);
  }
}
