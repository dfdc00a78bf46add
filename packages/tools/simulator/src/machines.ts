/** What befalls the machines of a world by themselves: sleep, loss of power, clocks at nought. */

import type { SimulatedController } from './controller.js';
import { type Datagram, kindOf } from './network.js';
import type { SimulatedNode } from './node.js';
import type { Oracle } from './oracle.js';
import type { Scenario } from './scenario.js';
import type { Simulation } from './simulation.js';

/** How far ahead a clock is as a node joins, in ms. */
const YEARS_MS = 10 * 365 * 86_400_000;

export class Machines {
  readonly #simulation: Simulation;
  readonly #scenario: Pick<Scenario, 'suspending' | 'bootsAtEpoch' | 'powerCuts'>;
  readonly #oracle: Oracle;
  readonly #nodes: readonly SimulatedNode[];
  /** The latest boot of each node's machine. */
  readonly #boots = new Map<number, number>();
  /** Messages after which a machine may sleep. */
  #suspendTriggers = 0;

  /** @param nodes of the world, as they are added */
  constructor(
    simulation: Simulation,
    scenario: Pick<Scenario, 'suspending' | 'bootsAtEpoch' | 'powerCuts'>,
    oracle: Oracle,
    nodes: readonly SimulatedNode[],
  ) {
    this.#simulation = simulation;
    this.#scenario = scenario;
    this.#oracle = oracle;
    this.#nodes = nodes;
  }

  /** A machine may go to sleep once it has sent what it had to. */
  maybeSuspend(datagram: Datagram, sender: string): void {
    const { suspending } = this.#scenario;
    const { faults, events } = this.#simulation;
    if (
      suspending === undefined ||
      events.now < suspending.from ||
      kindOf(datagram) !== suspending.after ||
      datagram.kind !== 'request'
    )
      return;
    const node = this.#nodes.find(({ idI }) => sender === `n${idI}`);
    this.#suspendTriggers += 1;
    const name = `sleep ${this.#suspendTriggers}`;
    if (
      node !== undefined &&
      faults.random(name).uniform() < suspending.probability &&
      faults.trigger(`${name}: ${sender} sleeps after ${suspending.after}`)
    )
      events.schedule(1, () => node.suspend(suspending.ms));
  }

  /** The clock of a machine without a battery, until the network sets it. */
  bootAtEpoch(controller: SimulatedController): void {
    const { faults, events } = this.#simulation;
    const chance = faults.random(`c${controller.idC} boot ${controller.run}`);
    if (!this.#scenario.bootsAtEpoch.includes(controller.idC)) return;
    if (!faults.trigger(`c${controller.idC} boot ${controller.run} with its clock at nought`)) return;
    controller.clockError = -events.now;
    events.schedule(chance.between(1_000, 20_000), () => (controller.clockError = 0));
  }

  /** A device boots: what its clock shows, and for how long it has power. */
  switchOn(node: SimulatedNode): void {
    const { powerCuts } = this.#scenario;
    const { faults, events } = this.#simulation;
    const { idI, boot } = node;
    if (powerCuts === undefined || this.#boots.get(idI) === boot) return;
    this.#boots.set(idI, boot);
    const name = `n${idI} boot ${boot}`;
    const chance = faults.random(name);
    const [runs, off] = [chance.between(...powerCuts.runs), chance.between(...powerCuts.off)];
    if (!faults.trigger(`${name} ends after ${runs} ms, the next begins after ${off} ms`)) return;
    const { clock } = powerCuts;
    if (clock === 'the same at each boot') node.clockError = -events.now;
    if (clock === 'ahead as it joins') node.clockError = this.#oracle.joinsOf(idI) === 0 ? YEARS_MS : 0;
    events.schedule(runs, () => {
      if (faults.over) return;
      node.losePower(off);
      if (clock === 'stopped') node.clockError -= off;
    });
  }
}
