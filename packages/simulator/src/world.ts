/** One world: its people, its trouble, its end. */

import { expiryOf, type Clocks, Secret } from '@latchkey/protocol';
import { Attacker } from './attacker.js';
import { Chance } from './chance.js';
import { Ground, type Invariant, Violation } from './ground.js';
import { keyText } from './key-text.js';
import { type Datagram, kindOf, Network } from './network.js';
import { Oracle } from './oracle.js';
import type { SimulatedController } from './controller.js';
import type { SimulatedNode } from './node.js';
import { type PlotName, withPlot } from './plots.js';
import { Resets } from './resets.js';
import { PROFILE, type Rules } from './rules.js';
import { drawScenario, type Incident, type NodeScenario, ROGUE_IDC, type Scenario } from './scenario.js';
import type { SimulatedServer } from './server.js';
import { Store } from './store.js';
import { Surroundings } from './surroundings.js';

/** Every honest node has joined this long after faults ended, in ms of simulated time. */
export const LIVENESS_MS = 7_200_000;
/** No world takes as many events; one that does goes round in circles. */
const MAX_EVENTS = 400_000;
/** How often the keys of devices whose power is cut are looked at, in ms. */
const LOOK_AT_KEYS_EVERY_MS = 1_000;
/** How far ahead a clock is as a node joins, in ms. */
const YEARS_MS = 10 * 365 * 86_400_000;

export interface RunOptions {
  readonly rules?: Rules;
  /** The one that every world has, instead of now and then any. */
  readonly plot?: PlotName;
  /** The only faults that may strike. */
  readonly only?: readonly string[] | undefined;
  readonly trace?: boolean;
}

export interface Outcome {
  readonly seed: number;
  readonly violation: { readonly invariant: Invariant; readonly what: string } | undefined;
  readonly hash: string;
  readonly events: number;
  /** Faults that struck. */
  readonly faults: readonly string[];
  readonly counts: Oracle['counts'];
  /** How long after the end of faults the last honest node had joined, in ms. */
  readonly joinedAfterMs: number;
  readonly log: readonly string[];
}

/** Runs the world of one seed to its end, or to the first violation. */
export function run(seed: number, { rules = PROFILE, plot, only, trace }: RunOptions = {}): Outcome {
  const ground = new Ground(seed, { only, trace });
  const world = new World(ground, rules, withPlot(drawScenario(seed), new Chance(seed, 'plot'), plot));
  let violation: Outcome['violation'];
  let joinedAfterMs = 0;
  try {
    joinedAfterMs = world.run();
  } catch (error) {
    if (!(error instanceof Violation)) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      violation = { invariant: 'crash', what: `a role throws: ${text}` };
    } else violation = { invariant: error.invariant, what: error.message };
  }
  const { hash, events, log } = ground;
  return {
    seed,
    violation,
    hash,
    events,
    faults: ground.faults.happened,
    counts: world.oracle.counts,
    joinedAfterMs,
    log: log ?? [],
  };
}

class World {
  readonly oracle: Oracle;
  readonly #ground: Ground;
  readonly #scenario: Scenario;
  readonly #store: Store;
  readonly #nodes: SimulatedNode[] = [];
  readonly #controllers: SimulatedController[] = [];
  readonly #servers: SimulatedServer[] = [];
  readonly #resets: Resets;
  /** The clock all replicas go by is this wrong, in ms. */
  #serverError = 0;
  #clockWasWrong = false;
  /** The nodes that take part. */
  readonly #there = new Set<number>();
  readonly #iks = new Map<number, Secret>();
  /** The latest boot of each node's machine. */
  readonly #boots = new Map<number, number>();
  /** Messages after which a machine may sleep. */
  #sent = 0;

  constructor(ground: Ground, rules: Rules, scenario: Scenario) {
    this.#ground = ground;
    this.#scenario = scenario;
    this.oracle = new Oracle(ground);
    const network = new Network(ground, scenario.weather);
    const around = new Surroundings(ground, network, this.oracle, rules);
    this.#store = new Store(ground, scenario.store);
    this.#store.changed = (row): void => this.oracle.rowChanged(row);
    this.#store.removed = (idI): void => this.oracle.rowRemoved(idI);
    this.#store.restored = (row): void => this.oracle.rowRestored(row);

    const draw = ground.chance('keys');
    const skCs = new Map(
      [...scenario.controllers, ...(scenario.rogue ? [ROGUE_IDC] : [])].map((idC) => [idC, Secret.from(draw.octets(16))]),
    );
    for (const idC of scenario.controllers) this.oracle.honestKey(skCs.get(idC)!, `controller c${idC}`);

    const names = scenario.combined ? ['c1'] : Array.from({ length: scenario.replicas }, (_, i) => `s${i + 1}`);
    for (const [i, name] of names.entries()) {
      const server = new rules.Server(around, {
        name,
        controllers: skCs,
        store: this.#store,
        combined: scenario.combined,
        skew: scenario.skews[i] ?? 0,
        clockError: () => this.#serverError,
        mortality: scenario.mortality.server,
        isAttackers: (idC) => idC === ROGUE_IDC,
      });
      this.#servers.push(server);
    }
    const clock = (): Clocks => this.#servers[0]?.now ?? { wallMs: ground.trueTime, monotonicMs: 0 };
    this.#resets = new Resets(around, this.#store, new rules.Administrator(this.#store, clock), this.#servers);
    this.#addControllers(around, rules, skCs, names);
    const iks = new Map<number, Secret>();
    for (const node of scenario.nodes) {
      const ik = iks.get(node.ik) ?? Secret.from(draw.octets(16));
      iks.set(node.ik, ik);
      this.#addNode(around, rules, node, ik);
    }

    network.peers = [...skCs.keys()].map((idC) => `c${idC}:5683`).concat(names.map((name) => `${name}:5693`));
    network.ids = scenario.nodes.map(({ idI }) => idI);
    this.#addAttacker(around, network, skCs, names, iks);
  }

  #addControllers(around: Surroundings, rules: Rules, skCs: ReadonlyMap<number, Secret>, servers: readonly string[]): void {
    const { combined, bounds, mortality, diskErrors, sharedNetwork } = this.#scenario;
    for (const [idC, key] of skCs) {
      const local = combined && idC === 1 ? this.#servers[0] : undefined;
      // Beside a controller that has the registry there is nobody another could turn to.
      if (combined && local === undefined) continue;
      const controller = new rules.Controller(
        around,
        {
          idC,
          skCs: key,
          honest: idC !== ROGUE_IDC,
          bounds,
          servers: idC % 2 === 0 ? servers.toReversed() : servers,
          mortality: mortality.controller,
          diskErrors,
          networkOf: (host) => (sharedNetwork && host.startsWith('n') ? 'lan' : host),
        },
        local,
      );
      local?.onStart.push(() => controller.start());
      local?.onCrash.push((death) => controller.crash(death));
      controller.beforeStart = (): void => this.#bootAtNought(controller);
      this.#controllers.push(controller);
    }
  }

  #addNode(around: Surroundings, rules: Rules, node: NodeScenario, ik: Secret): void {
    const { idI, controllers, endpoints, assigned, lifetime, fallen, diskErrors } = node;
    const { combined, mortality, grace, powerCuts } = this.#scenario;
    const at = combined && assigned !== ROGUE_IDC ? 1 : assigned;
    const state = {
      idI,
      controllers: combined && controllers !== 'any' ? [...new Set([...controllers, at])] : controllers,
      confirmed: Secret.fromHex(keyText(ik)),
      initial: true,
      candidates: [],
    };
    const simulated = new rules.Node(around, {
      idI,
      state,
      endpoints: combined ? [at] : endpoints,
      mortality: mortality.node,
      diskErrors,
      lookEveryMs: powerCuts?.lookEveryMs,
    });
    simulated.beforeStart = (): void => this.#switchOn(simulated);
    this.#nodes.push(simulated);
    this.#iks.set(idI, ik);
    this.#resets.add(simulated, keyText(ik));
    if (fallen) this.oracle.fell(idI);
    else this.oracle.honestKey(ik, `node n${idI}`);
    this.#store.put({ idI, key: keyText(ik), initial: true, controller: at, disabled: false, lifetime, grace });
  }

  #addAttacker(
    around: Surroundings,
    network: Network,
    skCs: ReadonlyMap<number, Secret>,
    servers: readonly string[],
    iks: ReadonlyMap<number, Secret>,
  ): void {
    const { attacker, nodes, controllers, troubleMs } = this.#scenario;
    const own = nodes.filter(({ fallen }) => fallen).flatMap(({ ik }) => iks.get(ik) ?? []);
    const plan = attacker && {
      scenario: attacker,
      ids: nodes.map(({ idI }) => idI),
      controllers,
      servers: servers.map((name) => `${name}:5693`),
      clock: () => this.#ground.trueTime,
      keys: [...new Set(own)],
      skCs: skCs.get(ROGUE_IDC),
    };
    const strange = plan && new Attacker(around, plan);
    network.tap = (datagram, sender): void => {
      this.oracle.inClear(datagram, sender);
      strange?.see(datagram);
      this.#fallAsleep(datagram, sender);
    };
    strange?.begin(troubleMs);
  }

  /** Trouble first, then none. Gives how long after that the last honest node had joined, in ms. */
  run(): number {
    const { timeline, faults } = this.#ground;
    const { troubleMs, nodes, incidents } = this.#scenario;
    for (const server of this.#servers) server.begin();
    for (const controller of this.#controllers) if (!this.#scenario.combined || controller.idC !== 1) controller.begin();
    // That somebody is there counts as a fault, so that a failure can be told with fewer of them.
    for (const { idI, startsAt } of nodes) {
      if (!faults.strikes(`n${idI} is there`)) continue;
      this.#there.add(idI);
      timeline.after(startsAt, () => this.#nodes.find((node) => node.idI === idI)?.start());
    }
    for (const [i, incident] of incidents.entries()) {
      timeline.after(incident.at, () => this.#befall(i, incident));
      if (incident.what === 'restore') timeline.after(incident.at - incident.ageMs, () => this.#resets.backUp(i));
    }
    if (this.#scenario.powerCuts !== undefined) this.#lookAtKeys();
    while (timeline.step(troubleMs)) this.#checkPace();

    faults.end();
    this.#endTrouble();
    while (!this.#allJoined()) {
      if (!timeline.step(troubleMs + LIVENESS_MS))
        throw new Violation('liveness', `${this.#waiting()} not joined ${LIVENESS_MS / 1000} s after faults ended`);
      this.#checkPace();
    }
    return timeline.now - troubleMs;
  }

  /** Where devices are switched off and on and nothing else fails, no key gets past its grace. */
  #lookAtKeys(): void {
    const { trueTime, timeline, faults } = this.#ground;
    for (const { idI } of this.#honest()) {
      const row = this.#store.row(idI);
      const expiry = row && expiryOf(row);
      if (row !== undefined && expiry !== undefined && trueTime > expiry + 1000 * row.grace)
        throw new Violation('liveness', `n${idI} has not renewed its key, whose grace is over`);
    }
    if (!faults.over) timeline.after(LOOK_AT_KEYS_EVERY_MS, () => this.#lookAtKeys());
  }

  #checkPace(): void {
    if (this.#ground.events > MAX_EVENTS) throw new Violation('liveness', `${MAX_EVENTS} events and no end`);
  }

  #befall(i: number, incident: Incident): void {
    const { faults } = this.#ground;
    const name = `incident ${i}`;
    switch (incident.what) {
      case 'clock':
        return this.#setClock(name, incident.host, incident.error);
      case 'sleep':
        if (faults.strikes(`${name}: n${incident.idI} sleeps`))
          this.#nodes.find(({ idI }) => idI === incident.idI)?.sleep(incident.ms);
        return;
      case 'folder': {
        const controller = this.#controllers.find(({ idC }) => idC === incident.idC);
        if (
          controller !== undefined &&
          !this.#scenario.combined &&
          this.#scenario.bootsAtNought.length === 0 &&
          faults.strikes(`${name}: c${incident.idC} loses its folder`)
        )
          controller.loseFolder(incident.downMs);
        return;
      }
      case 'off':
        if (faults.strikes(`${name}: server ${incident.server + 1} is switched off`))
          this.#servers[incident.server]?.process.die('power lost', incident.downMs);
        return;
      case 'install': {
        const node = this.#nodes.find(({ idI }) => idI === incident.idI);
        const ik = this.#iks.get(incident.idI);
        if (node === undefined || ik === undefined || !this.#there.has(incident.idI)) return;
        if (faults.strikes(`${name}: n${incident.idI} is installed again`)) node.installAgain(ik, incident.downMs);
        return;
      }
      case 'reassign': {
        const row = this.#store.row(incident.idI);
        if (
          row !== undefined &&
          !this.#scenario.combined &&
          faults.strikes(`${name}: n${incident.idI} is assigned to c${incident.idC}`)
        )
          this.#store.put({ ...row, controller: incident.idC });
        return;
      }
      case 'reset':
        if (this.#there.has(incident.idI)) this.#resets.reset(name, incident, this.#assignedTo(incident.idI));
        return;
      case 'restore':
        // Nobody has kept what the clock showed since the backup: it must have been right.
        if (this.#clockWasWrong) return;
        return this.#resets.restore(name, i, incident);
    }
  }

  #setClock(name: string, host: string, error: number): void {
    if (!this.#ground.faults.strikes(`${name}: the clock of ${host} is ${error} ms off`)) return;
    this.#ground.note(host, `its clock is ${error} ms off`);
    if (host === 's' || host === 'all') {
      this.#serverError = error;
      this.#clockWasWrong = true;
      if (this.#scenario.combined) for (const controller of this.#controllers) controller.clockError = error;
    }
    for (const controller of this.#controllers)
      if (host === 'all' || host === `c${controller.idC}`) controller.clockError = error;
    for (const node of this.#nodes) if (host === `n${node.idI}`) node.clockError = error;
  }

  /** A machine may go to sleep once it has sent what it had to. */
  #fallAsleep(datagram: Datagram, sender: string): void {
    const { sleepy } = this.#scenario;
    const { faults, timeline } = this.#ground;
    if (sleepy === undefined || timeline.now < sleepy.from || kindOf(datagram) !== sleepy.after || datagram.kind !== 'request')
      return;
    const node = this.#nodes.find(({ idI }) => sender === `n${idI}`);
    this.#sent += 1;
    const name = `sleep ${this.#sent}`;
    if (
      node !== undefined &&
      faults.chance(name).uniform() < sleepy.probability &&
      faults.strikes(`${name}: ${sender} sleeps after ${sleepy.after}`)
    )
      timeline.after(1, () => node.sleep(sleepy.ms));
  }

  /** The clock of a machine without a battery, until the network sets it. */
  #bootAtNought(controller: SimulatedController): void {
    const { faults, timeline } = this.#ground;
    const chance = faults.chance(`c${controller.idC} boot ${controller.run}`);
    if (!this.#scenario.bootsAtNought.includes(controller.idC)) return;
    if (!faults.strikes(`c${controller.idC} boot ${controller.run} with its clock at nought`)) return;
    controller.clockError = -timeline.now;
    timeline.after(chance.between(1_000, 20_000), () => (controller.clockError = 0));
  }

  /** A device boots: what its clock shows, and for how long it has power. */
  #switchOn(node: SimulatedNode): void {
    const { powerCuts } = this.#scenario;
    const { faults, timeline } = this.#ground;
    const { idI, boot } = node;
    if (powerCuts === undefined || this.#boots.get(idI) === boot) return;
    this.#boots.set(idI, boot);
    const name = `n${idI} boot ${boot}`;
    const chance = faults.chance(name);
    const [runs, off] = [chance.between(...powerCuts.runs), chance.between(...powerCuts.off)];
    if (!faults.strikes(`${name} ends after ${runs} ms, the next begins after ${off} ms`)) return;
    const { clock } = powerCuts;
    if (clock === 'the same at each boot') node.clockError = -timeline.now;
    if (clock === 'ahead as it joins') node.clockError = this.oracle.joinsOf(idI) === 0 ? YEARS_MS : 0;
    timeline.after(runs, () => {
      if (faults.over) return;
      node.losePower(off);
      if (clock === 'stopped') node.clockError -= off;
    });
  }

  /** The controller that a node belongs to, whatever it was assigned to meanwhile. */
  #assignedTo(idI: number): number {
    const assigned = this.#scenario.nodes.find((node) => node.idI === idI)?.assigned ?? 0;
    return this.#scenario.combined && assigned !== ROGUE_IDC ? 1 : assigned;
  }

  /** Clocks are set right, nodes are assigned to whom they were. */
  #endTrouble(): void {
    this.#ground.note('all', 'faults end');
    this.#resets.hurry();
    this.#serverError = 0;
    for (const controller of this.#controllers) controller.clockError = 0;
    for (const node of this.#nodes) node.clockError = 0;
    for (const { idI } of this.#scenario.nodes) {
      const [row, controller] = [this.#store.row(idI), this.#assignedTo(idI)];
      if (row !== undefined && row.controller !== controller) this.#store.put({ ...row, controller });
    }
  }

  #honest(): NodeScenario[] {
    return this.#scenario.nodes.filter(({ idI, fallen }) => !fallen && this.#there.has(idI));
  }

  #allJoined(): boolean {
    return this.#resets.underWay === 0 && this.#honest().every(({ idI }) => this.oracle.hasJoined(idI));
  }

  #waiting(): string {
    return this.#honest()
      .filter(({ idI }) => !this.oracle.hasJoined(idI))
      .map(({ idI }) => `n${idI}`)
      .join(', ');
  }
}
