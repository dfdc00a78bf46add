/**
 * Resets nodes to their initial keys, on the device and in the registry, and restores the registry
 * from a backup.
 */

import type { Administrator } from './administrator.js';
import type { SimulatedNode } from './node.js';
import { Procedures, type Step } from './procedures.js';
import type { Reset, Restore } from './scenario.js';
import type { SimulatedServer } from './server.js';
import type { SimulatedRegistry, Snapshot } from './simulated-registry.js';
import type { SimulationContext } from './simulation-context.js';

const RESTORE = 'restore';

interface Installed {
  readonly node: SimulatedNode;
  /** Its initial key. */
  readonly ik: string;
}

export class Resets {
  readonly #around: SimulationContext;
  readonly #registry: SimulatedRegistry;
  readonly #administrator: Administrator;
  readonly #servers: readonly SimulatedServer[];
  readonly #procedures: Procedures;
  readonly #nodes = new Map<number, Installed>();
  /** By incident. */
  readonly #snapshots = new Map<number, Snapshot>();

  constructor(
    around: SimulationContext,
    registry: SimulatedRegistry,
    administrator: Administrator,
    servers: readonly SimulatedServer[],
  ) {
    this.#around = around;
    this.#registry = registry;
    this.#administrator = administrator;
    this.#servers = servers;
    this.#procedures = new Procedures(around.simulation.events);
  }

  add(node: SimulatedNode, ik: string): void {
    this.#nodes.set(node.idI, { node, ik });
  }

  get underWay(): number {
    return this.#procedures.underWay;
  }

  /** Faults have ended: what was begun is done at once. */
  hurry(): void {
    this.#procedures.hurry();
  }

  /**
   * One at a time for each node, and none while the registry is put back. An import assigns it to
   * `controller`.
   */
  reset(name: string, { idI, how, first, gapMs }: Reset, controller: number): void {
    const [row, installed] = [this.#registry.row(idI), this.#nodes.get(idI)];
    if (row === undefined || installed === undefined) return;
    if (this.#procedures.isUnderWay(`n${idI}`) || this.#procedures.isUnderWay(RESTORE)) return;
    const { faults } = this.#around.simulation;
    if (!faults.trigger(`${name}: n${idI} is put back to its initial key (${how}, ${first} first)`)) return;
    const { ik } = installed;
    const registry: readonly Step[] =
      how === 'reset'
        ? [(done): void => this.#administrator.reset(idI, ik, done)]
        : [
            (done): void => this.#administrator.remove(idI, done),
            (done): void => this.#administrator.add({ ...row, ik, controller }, done),
          ];
    this.#putBack(installed, registry, first, gapMs);
  }

  /**
   * The agent does not run until device and registry have the initial key; in which order they get
   * it makes no difference.
   */
  #putBack({ node, ik }: Installed, registry: readonly Step[], first: Reset['first'], gapMs: number): void {
    const { simulation, oracle } = this.#around;
    const { idI } = node;
    const device: Step = (done) => {
      simulation.record(`n${idI}`, 'is installed with its initial key');
      node.installAnew(ik);
      done();
    };
    const end: Step = (done) => {
      oracle.resetEnds(idI);
      node.release();
      done();
    };
    simulation.record(`n${idI}`, 'is to be put back to its initial key');
    oracle.resetBegins(idI);
    node.stop();
    this.#procedures.begin(`n${idI}`, first === 'device' ? [device, ...registry, end] : [...registry, device, end], gapMs);
  }

  /** For the restore of this incident. */
  backUp(incident: number): void {
    if (this.underWay === 0) this.#administrator.backup((snapshot) => this.#snapshots.set(incident, snapshot));
  }

  /**
   * Nodes that have got a key since the backup are put back to their initial keys, in the registry
   * where it holds another.
   */
  restore(name: string, incident: number, { downMs, gapMs }: Restore): void {
    const { simulation, oracle } = this.#around;
    const snapshot = this.#snapshots.get(incident);
    if (snapshot === undefined || this.underWay > 0 || !simulation.faults.trigger(`${name}: the registry is restored`)) return;
    for (const { process } of this.#servers) process.stop();
    const begin: Step = (done) => {
      simulation.record('all', 'the registry is restored');
      const others = [...snapshot.rows.values()].filter(({ idI, key }) => this.#registry.row(idI)?.key !== key);
      for (const { idI } of others) oracle.resetBegins(idI);
      this.#administrator.restore(snapshot, () => {
        for (const { idI, initial } of others) {
          const installed = this.#nodes.get(idI);
          const reset: Step = (after) => this.#administrator.reset(idI, installed?.ik ?? '', after);
          if (installed !== undefined) this.#putBack(installed, initial ? [] : [reset], 'device', gapMs);
        }
        done();
      });
    };
    const end: Step = (done) => {
      for (const { process } of this.#servers) process.release();
      done();
    };
    this.#procedures.begin(RESTORE, [begin, end], downMs);
  }
}
