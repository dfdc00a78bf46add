/** One world: its people, its trouble, its end. */

import { expiryOf, type Clocks, Secret } from '@latchkey/protocol';
import type { Administrator } from './administrator.js';
import { Attacker } from './attacker.js';
import { DishonestController } from './dishonest-controller.js';
import { type Simulation, Violation } from './simulation.js';
import { newLog } from '@latchkey/runtime/daemon';
import { KeyFeeds } from './key-feeds.js';
import { keyText } from './key-text.js';
import { Machines } from './machines.js';
import { SimulatedNetwork } from './network.js';
import { Oracle } from './oracle.js';
import type { SimulatedController } from './controller.js';
import type { SimulatedNode } from './node.js';
import { Resets } from './resets.js';
import type { Rules } from './rules.js';
import { type Incident, type NodeScenario, ROGUE_IDC, type Scenario } from './scenario.js';
import type { SimulatedServer } from './server.js';
import { SharedRegistry } from './shared-registry/shared-registry.js';
import { type InitialNode, SimulatedRegistry } from './simulated-registry.js';
import { SimulationContext } from './simulation-context.js';

/** Every honest node has joined this long after faults ended, in ms of simulated time. */
export const LIVENESS_MS = 7_200_000;
/** Until a controller that was switched is switched back, in ms. */
const SWITCH_BACK_MS = 4_000;
/** No world needs as many events; a world that does is in an endless loop. */
const MAX_EVENTS = 400_000;
/** How often the keys of devices whose power is cut are looked at, in ms. */
const LOOK_AT_KEYS_EVERY_MS = 1_000;
/** Until nodes are assigned as before, while a reset or a restore is under way. */
const ASSIGN_RETRY_MS = 100;
/** How often devices that went to another controller are looked for once faults have ended. */
const MOVE_INTERVAL_MS = 60_000;

export class World {
  readonly oracle: Oracle;
  readonly #simulation: Simulation;
  readonly #scenario: Scenario;
  readonly #registry: SimulatedRegistry;
  readonly #shared: SharedRegistry | undefined;
  /** SK_cs by ID_c. */
  readonly #skCs: ReadonlyMap<number, Secret>;
  readonly #initialNodes: InitialNode[] = [];
  readonly #nodes: SimulatedNode[] = [];
  readonly #controllers: SimulatedController[] = [];
  readonly #servers: SimulatedServer[] = [];
  readonly #resets: Resets;
  readonly #administrator: Administrator;
  #dishonest: DishonestController | undefined;
  readonly #keyFeeds: KeyFeeds | undefined;
  /** The clock all replicas go by is this wrong, in ms. */
  #serverClockError = 0;
  #clockWasWrong = false;
  /** The nodes that take part. */
  readonly #present = new Set<number>();
  readonly #iks = new Map<number, Secret>();
  readonly #machines: Machines;

  constructor(simulation: Simulation, rules: Rules, scenario: Scenario) {
    this.#simulation = simulation;
    this.#scenario = scenario;
    this.oracle = new Oracle(simulation);
    this.#machines = new Machines(simulation, scenario, this.oracle, this.#nodes);
    const network = new SimulatedNetwork(simulation, scenario.networkConditions);
    const context = new SimulationContext(simulation, network, this.oracle, rules);
    const clock = (): Clocks => this.#servers[0]?.now ?? { wallMs: simulation.trueTime, monotonicMs: 0 };
    this.#shared = this.#newSharedRegistry(context);
    this.#registry = this.#shared ?? new SimulatedRegistry(simulation, scenario.storeConditions, clock);
    this.#registry.onChange = (row): void => this.oracle.rowChanged(row);
    this.#registry.removed = (idI): void => this.oracle.rowRemoved(idI);
    this.#registry.restored = (row): void => this.oracle.rowRestored(row);

    const keySource = simulation.random('keys');
    const skCs = new Map(
      [...scenario.controllers, ...(scenario.rogue ? [ROGUE_IDC] : [])].map((idC) => [idC, Secret.from(keySource.octets(16))]),
    );
    this.#skCs = skCs;
    for (const idC of scenario.controllers) this.oracle.protectKey(skCs.get(idC)!, `controller c${idC}`);

    const names = scenario.combined ? ['c1'] : Array.from({ length: scenario.replicas }, (_, i) => `s${i + 1}`);
    for (const [i, name] of names.entries()) {
      const server = new rules.Server(context, {
        name,
        registry: this.#registry,
        shared: this.#shared,
        combined: scenario.combined,
        skew: scenario.skews[i] ?? 0,
        clockError: () => this.#serverClockError,
        crashModel: scenario.crashModels.server,
        isRogue: (idC) => idC === ROGUE_IDC || idC === scenario.dishonest?.idC,
      });
      this.#servers.push(server);
    }
    this.#administrator = new rules.Administrator(simulation, this.#registry, clock);
    if (scenario.keyFeed !== undefined) {
      this.#keyFeeds = new KeyFeeds({
        simulation,
        scenario,
        registry: this.#registry,
        administrator: this.#administrator,
        network,
        servers: this.#servers,
        clockError: () => this.#serverClockError + (this.#shared?.cluster.clockError ?? 0),
      });
    }
    this.#resets = new Resets(context, this.#registry, this.#administrator, this.#servers);
    this.#addControllers(context, rules, skCs, names);
    const iks = new Map<number, Secret>();
    for (const node of scenario.nodes) {
      const ik = iks.get(node.ik) ?? Secret.from(keySource.octets(16));
      iks.set(node.ik, ik);
      this.#addNode(context, rules, node, ik);
    }

    network.peers = [...skCs.keys()].map((idC) => `c${idC}:5683`).concat(names.map((name) => `${name}:5693`));
    network.ids = scenario.nodes.map(({ idI }) => idI);
    this.#addAttacker(context, network, skCs, names, iks);
  }

  #newSharedRegistry(context: SimulationContext): SharedRegistry | undefined {
    const { shared } = this.#scenario;
    if (shared === undefined) return undefined;
    const { simulation, rules } = context;
    const never = { probabilityPerStep: 0, hotStep: undefined, powerLossProbability: 0, downtimeMs: [1, 1] } as const;
    const nothing = (): void => undefined;
    const process = context.process('adm', never, nothing, nothing);
    process.start();
    const log = newLog('adm', 'info', { write: (line) => context.logLine('adm', line) }, false);
    const machine = { process, log, monotonicNow: () => simulation.now, bootId: () => 'adm', isCommand: true } as const;
    const registry = new SharedRegistry(simulation, shared.link, rules.database, () => this.#serverClockError, machine);
    registry.promoted = (row): void => this.oracle.rowPromoted(row);
    registry.onFault = (): void => this.#keyFeeds?.disturbed();
    if (shared.resetsBetweenReads === true) registry.onNodesRead = (ids): void => this.#resetBetweenReads(ids);
    return registry;
  }

  /** The node gets another key, and then its controller gets to see keys. */
  #resetBetweenReads([idI]: readonly number[]): void {
    const idC = idI === undefined ? undefined : this.#registry.row(idI)?.controller;
    if (idI === undefined || idC === undefined || !this.#present.has(idI) || !this.#registry.isPassThrough(idC)) return;
    const { events, faults } = this.#simulation;
    const name = `read ${events.now}`;
    if (!faults.trigger(`${name}: n${idI} is reset, and c${idC} switched`)) return;
    this.#resets.reset(name, { at: events.now, what: 'reset', idI, how: 'reset', first: 'registry', gapMs: 0 }, idC);
    this.#administrator.setPassThrough(idC, false);
    events.schedule(SWITCH_BACK_MS, () => this.#administrator.setPassThrough(idC, true));
  }

  #addControllers(context: SimulationContext, rules: Rules, skCs: ReadonlyMap<number, Secret>, servers: readonly string[]): void {
    const { combined, bounds, crashModels, diskErrorProbability, sharedNetwork, dishonest } = this.#scenario;
    for (const [idC, key] of skCs) {
      if (idC === dishonest?.idC) {
        this.#dishonest = new DishonestController(context, { ...dishonest, skCs: key, servers });
        continue;
      }
      const local = combined && idC === 1 ? this.#servers[0] : undefined;
      // A controller in combined mode has no second auth-server.
      if (combined && local === undefined) continue;
      const controller = new rules.Controller(
        context,
        {
          idC,
          skCs: key,
          honest: idC !== ROGUE_IDC,
          bounds,
          servers: idC % 2 === 0 ? servers.toReversed() : servers,
          crashModel: crashModels.controller,
          diskErrorProbability,
          networkOf: (host) => (sharedNetwork && host.startsWith('n') ? 'lan' : host),
          KeyStore: rules.KeyStore,
          followsKeyFeed: this.#keyFeeds !== undefined && idC !== ROGUE_IDC,
        },
        local,
      );
      local?.onStart.push(() => controller.start());
      local?.onCrash.push((death) => controller.crash(death));
      controller.beforeStart = (): void => this.#machines.bootAtEpoch(controller);
      this.#controllers.push(controller);
      if (idC !== ROGUE_IDC) this.#keyFeeds?.follow(controller);
    }
  }

  #addNode(context: SimulationContext, rules: Rules, node: NodeScenario, ik: Secret): void {
    const { idI, controllers, endpoints, assigned, lifetime, compromised, diskErrorProbability } = node;
    const { combined, crashModels, grace, powerCuts } = this.#scenario;
    const at = combined && assigned !== ROGUE_IDC ? 1 : assigned;
    const state = {
      idI,
      controllers: combined && controllers !== 'any' ? [...new Set([...controllers, at])] : controllers,
      confirmed: Secret.fromHex(keyText(ik)),
      initial: true,
      candidates: [],
    };
    const simulated = new rules.Node(context, {
      idI,
      state,
      endpoints: combined ? [at] : endpoints,
      crashModel: crashModels.node,
      diskErrorProbability,
      lookEveryMs: powerCuts?.lookEveryMs,
    });
    simulated.beforeStart = (): void => this.#machines.switchOn(simulated);
    this.#nodes.push(simulated);
    this.#iks.set(idI, ik);
    this.#resets.add(simulated, keyText(ik));
    if (compromised) this.oracle.markCompromised(idI);
    else this.oracle.protectKey(ik, `node n${idI}`);
    this.#initialNodes.push({ idI, ik: keyText(ik), controller: at, lifetime, grace });
  }

  #addAttacker(
    context: SimulationContext,
    network: SimulatedNetwork,
    skCs: ReadonlyMap<number, Secret>,
    servers: readonly string[],
    iks: ReadonlyMap<number, Secret>,
  ): void {
    const { attacker, nodes, controllers, faultPhaseMs } = this.#scenario;
    const own = nodes.filter(({ compromised }) => compromised).flatMap(({ ik }) => iks.get(ik) ?? []);
    const plan = attacker && {
      scenario: attacker,
      ids: nodes.map(({ idI }) => idI),
      controllers,
      servers: servers.map((name) => `${name}:5693`),
      clock: () => this.#simulation.trueTime,
      keys: [...new Set(own)],
      skCs: skCs.get(ROGUE_IDC),
    };
    const observer = plan && new Attacker(context, plan);
    network.tap = (datagram, sender): void => {
      this.oracle.assertNotInClear(datagram, sender);
      observer?.observe(datagram);
      this.#machines.maybeSuspend(datagram, sender);
    };
    observer?.begin(faultPhaseMs);
  }

  /** Trouble first, then none. Gives how long after that the last honest node had joined, in ms. */
  async run(): Promise<number> {
    const { events, faults } = this.#simulation;
    const { faultPhaseMs, nodes, incidents, passThrough } = this.#scenario;
    await this.#registry.create({ controllers: this.#skCs, passThrough, nodes: this.#initialNodes });
    for (const server of this.#servers) server.begin();
    for (const controller of this.#controllers) if (!this.#scenario.combined || controller.idC !== 1) controller.begin();
    this.#dishonest?.begin();
    this.#keyFeeds?.begin();
    // That somebody is there counts as a fault, so that a failure can be told with fewer of them.
    for (const { idI, startsAt } of nodes) {
      if (!faults.trigger(`n${idI} is there`)) continue;
      this.#present.add(idI);
      events.schedule(startsAt, () => this.#nodes.find((node) => node.idI === idI)?.start());
    }
    for (const [i, incident] of (this.#scenario.shared?.incidents ?? []).entries())
      events.schedule(incident.at, () => this.#shared?.apply(`database ${i}`, incident));
    for (const [i, incident] of incidents.entries()) {
      events.schedule(incident.at, () => this.#applyIncident(i, incident));
      if (incident.what === 'restore') events.schedule(incident.at - incident.ageMs, () => this.#resets.backUp(i));
    }
    if (this.#scenario.powerCuts !== undefined) this.#lookAtKeys();
    while (events.step(faultPhaseMs)) if (this.#isToSettle()) await this.#simulation.settle();

    faults.end();
    this.#endFaultPhase();
    while (!this.#allJoined()) {
      if (!events.step(faultPhaseMs + LIVENESS_MS))
        throw new Violation('liveness', `${this.#notJoined()} not joined ${LIVENESS_MS / 1000} s after faults ended`);
      if (this.#isToSettle()) await this.#simulation.settle();
    }
    const joinedAfterMs = events.now - faultPhaseMs;
    await this.#keyFeeds?.settle(events.now + LIVENESS_MS, () => this.#settle());
    await this.#shared?.check();
    return joinedAfterMs;
  }

  async #settle(): Promise<void> {
    if (this.#isToSettle()) await this.#simulation.settle();
  }

  /** Leaves no timer behind. */
  async end(): Promise<void> {
    for (const server of this.#servers) await server.end();
    await this.#registry.end();
  }

  /** If devices lose power and nothing else fails, no key outlives its grace period. */
  #lookAtKeys(): void {
    const { trueTime, events, faults } = this.#simulation;
    for (const { idI } of this.#honest()) {
      const row = this.#registry.row(idI);
      const expiry = row && expiryOf(row);
      if (row !== undefined && expiry !== undefined && trueTime > expiry + 1000 * row.grace)
        throw new Violation('liveness', `n${idI} has not renewed its key, whose grace is over`);
    }
    if (!faults.over) events.schedule(LOOK_AT_KEYS_EVERY_MS, () => this.#lookAtKeys());
  }

  #isToSettle(): boolean {
    const { eventCount, isUnsettled } = this.#simulation;
    if (eventCount > MAX_EVENTS) throw new Violation('liveness', `${MAX_EVENTS} events and no end`);
    return isUnsettled;
  }

  #applyIncident(i: number, incident: Incident): void {
    const { faults } = this.#simulation;
    const name = `incident ${i}`;
    switch (incident.what) {
      case 'clock':
        return this.#setClock(name, incident.host, incident.error);
      case 'sleep':
        if (faults.trigger(`${name}: n${incident.idI} sleeps`))
          this.#nodes.find(({ idI }) => idI === incident.idI)?.suspend(incident.ms);
        return;
      case 'folder': {
        const controller = this.#controllers.find(({ idC }) => idC === incident.idC);
        if (
          controller !== undefined &&
          !this.#scenario.combined &&
          this.#scenario.bootsAtEpoch.length === 0 &&
          faults.trigger(`${name}: c${incident.idC} loses its folder`)
        )
          controller.loseFolder(incident.downMs);
        return;
      }
      case 'off':
        if (faults.trigger(`${name}: server ${incident.server + 1} is switched off`))
          this.#servers[incident.server]?.process.crash('power lost', incident.downMs);
        return;
      case 'install': {
        const node = this.#nodes.find(({ idI }) => idI === incident.idI);
        const ik = this.#iks.get(incident.idI);
        if (node === undefined || ik === undefined || !this.#present.has(incident.idI)) return;
        if (faults.trigger(`${name}: n${incident.idI} is installed again`)) node.installAgain(ik, incident.downMs);
        return;
      }
      case 'reassign': {
        if (
          this.#registry.row(incident.idI) !== undefined &&
          !this.#scenario.combined &&
          faults.trigger(`${name}: n${incident.idI} is assigned to c${incident.idC}`)
        )
          this.#administrator.move(incident.idI, incident.idC);
        return;
      }
      case 'disable': {
        const { idI, ms } = incident;
        if (this.#registry.row(idI) === undefined || !faults.trigger(`${name}: n${idI} is disabled for ${ms} ms`)) return;
        this.#administrator.setDisabled(idI, true);
        this.#simulation.events.schedule(ms, () => this.#administrator.setDisabled(idI, false));
        return;
      }
      case 'switch': {
        const { idC, passThrough } = incident;
        if (
          !this.#scenario.combined &&
          faults.trigger(`${name}: c${idC} is switched to pass-through ${passThrough ? 'on' : 'off'}`)
        )
          this.#administrator.setPassThrough(idC, passThrough);
        return;
      }
      case 'reset':
        if (this.#present.has(incident.idI)) this.#resets.reset(name, incident, this.#assignedTo(incident.idI));
        return;
      case 'restore': {
        const restore = (): void => {
          // No record exists of the clock since the backup, so the clock must have been right.
          if (!this.#clockWasWrong) this.#resets.restore(name, i, incident);
        };
        return incident.afterCommit === true ? this.#keyFeeds?.afterNextCommit(restore) : restore();
      }
    }
  }

  #setClock(name: string, host: string, error: number): void {
    if (!this.#simulation.faults.trigger(`${name}: the clock of ${host} is ${error} ms off`)) return;
    this.#simulation.record(host, `its clock is ${error} ms off`);
    if (host === 's' || host === 'all') {
      this.#serverClockError = error;
      this.#clockWasWrong = true;
      if (this.#scenario.combined) for (const controller of this.#controllers) controller.clockError = error;
    }
    this.#keyFeeds?.disturbed();
    for (const controller of this.#controllers)
      if (host === 'all' || host === `c${controller.idC}`) controller.clockError = error;
    for (const node of this.#nodes) if (host === `n${node.idI}`) node.clockError = error;
  }

  /** The controller that a node belongs to, whatever it was assigned to meanwhile. */
  #assignedTo(idI: number): number {
    const assigned = this.#scenario.nodes.find((node) => node.idI === idI)?.assigned ?? 0;
    return this.#scenario.combined && assigned !== ROGUE_IDC ? 1 : assigned;
  }

  /** Clocks are set right, nodes are assigned to whom they were. */
  #endFaultPhase(): void {
    this.#simulation.record('all', 'faults end');
    this.#resets.hurry();
    this.#shared?.cluster.heal();
    this.#serverClockError = 0;
    for (const controller of this.#controllers) controller.clockError = 0;
    for (const node of this.#nodes) node.clockError = 0;
    this.#assignAsBefore();
  }

  /**
   * After pending work: a restore brings back the assignments of the backup, and a command that
   * waits for the database may assign a node.
   */
  #assignAsBefore(): void {
    if (this.#resets.underWay > 0 || this.#administrator.isBusy) {
      this.#simulation.events.schedule(ASSIGN_RETRY_MS, () => this.#assignAsBefore());
      return;
    }
    for (const { idI } of this.#scenario.nodes) {
      const [row, controller] = [this.#registry.row(idI), this.#assignedTo(idI)];
      if (row !== undefined && row.controller !== controller) this.#administrator.move(idI, controller);
      if (row?.disabled === true) this.#administrator.setDisabled(idI, false);
    }
    this.#moveDevices();
  }

  /** Each device is told the controller that its node is assigned to. */
  #moveDevices(): void {
    if (this.#resets.underWay === 0)
      for (const node of this.#nodes) if (this.#present.has(node.idI)) node.moveTo(this.#assignedTo(node.idI));
    this.#simulation.events.schedule(MOVE_INTERVAL_MS, () => this.#moveDevices());
  }

  #honest(): NodeScenario[] {
    return this.#scenario.nodes.filter(({ idI, compromised }) => !compromised && this.#present.has(idI));
  }

  #allJoined(): boolean {
    return this.#resets.underWay === 0 && this.#honest().every(({ idI }) => this.oracle.hasJoined(idI));
  }

  #notJoined(): string {
    return this.#honest()
      .filter(({ idI }) => !this.oracle.hasJoined(idI))
      .map(({ idI }) => `n${idI}`)
      .join(', ');
  }
}
