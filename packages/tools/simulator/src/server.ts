/**
 * An auth-server: the real `AuthServer` on the real `Registry`, composed like `startEmbedded` of
 * packages/auth-server. Its process, its sockets, its time and its disk are simulated. It reports
 * to the oracle what it decrypts, decides and seals.
 */

import { AuthServer, reachSavedTime } from '@latchkey/auth-server';
import {
  type Clocks,
  COMMIT_TIMEOUT_MS,
  decodeM4,
  encodeM4,
  encodeM5,
  encodeM6,
  type LinkRequest,
  openM4,
  type OpenedRequest,
  type ServerAnswer as PositiveAnswer,
  type ServerDecision,
  type ServerRole,
} from '@latchkey/protocol';
import type { Registry } from '@latchkey/registry';
import { type Log, newLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { Datagram } from './network.js';
import { textOf } from './oracle.js';
import type { CrashKind, CrashModel, Process } from './process.js';
import type { SharedRegistry } from './shared-registry/shared-registry.js';
import type { SimulatedRegistry } from './simulated-registry.js';
import type { SimulatedStorage } from './simulated-storage.js';
import type { SimulationContext } from './simulation-context.js';

/** How often the daemon looks after its commits, in ms. */
const POLL_INTERVAL_MS = 1_000;
/** The daemon does so every second; each time it is a step that may be the last. */
const UPKEEP_INTERVAL_MS = 30_000;
/** Where other servers keep the time too. */
const SHARED_UPKEEP_INTERVAL_MS = 1_000;
/** A supervisor starts a process again that could not start, after this many ms. */
const RESTART_DELAY_MS = 5_000;

export interface ServerPlan {
  readonly name: string;
  readonly registry: SimulatedRegistry;
  /** The same, if it is one that servers share as in PostgreSQL. */
  readonly shared: SharedRegistry | undefined;
  /** In one process with a controller, and with no socket of its own. */
  readonly combined: boolean;
  /** How far this replica's clock is from the others', in ms. */
  readonly skew: number;
  /** The error of the clock that all replicas go by, in ms. */
  readonly clockError: () => number;
  readonly crashModel: CrashModel;
  /** Whether the attacker has the SK_cs of this controller. */
  readonly isRogue: (idC: number) => boolean;
}

/** How a request is answered. */
export type ServerAnswer = Awaited<ReturnType<AuthServer['answer']>>;

export class SimulatedServer {
  protected readonly context: SimulationContext;
  protected readonly plan: ServerPlan;
  protected readonly log: Log;
  readonly process: Process;
  protected readonly random: SeededRandom;
  readonly #inFlightRequests = new Set<string>();
  #registry: Registry | undefined;
  #server: AuthServer | undefined;
  /** When the machine was started, and whether it has to be. */
  #bootedAt = 0;
  #isPoweredOff = true;
  #boots = 0;
  /** That of the database, if there is one. */
  #databaseClock: (() => Clocks) | undefined;
  /** In combined mode, the controller in the same process. */
  readonly onStart: (() => void)[] = [];
  readonly onCrash: ((kind: CrashKind) => void)[] = [];

  constructor(context: SimulationContext, plan: ServerPlan) {
    this.context = context;
    this.plan = plan;
    this.random = context.simulation.random(`${plan.name} server draws`);
    this.log = newLog(plan.name, 'info', { write: (line) => context.logLine(plan.name, line) }, false);
    this.process = context.process(
      plan.name,
      plan.crashModel,
      () => this.#start(),
      (kind) => this.#crash(kind),
    );
  }

  begin(): void {
    this.process.start();
  }

  /** The world is at its end. */
  async end(): Promise<void> {
    if (this.plan.shared === undefined) await this.#registry?.close();
  }

  /** Whether it takes requests. */
  get isServing(): boolean {
    const { shared } = this.plan;
    return this.process.up && this.#server !== undefined && shared?.isServing(this.process) !== false;
  }

  protected get wall(): number {
    return this.context.simulation.trueTime + this.plan.clockError() + this.plan.skew;
  }

  /** The monotonic clock runs on while the machine does. */
  get now(): Clocks {
    return this.#databaseClock?.() ?? { wallMs: this.wall, monotonicMs: this.#monotonic };
  }

  get #monotonic(): number {
    return this.context.simulation.now - this.#bootedAt;
  }

  #crash(kind: CrashKind): void {
    this.#inFlightRequests.clear();
    if (kind === 'power lost') this.#isPoweredOff = true;
    this.context.network.close(`${this.plan.name}:5693`);
    this.plan.registry.queue.abandon(this.process);
    this.plan.shared?.crash(this.process, kind === 'power lost');
    this.#databaseClock = undefined;
    // Not what a killed process does: its keys and timers are no longer its own.
    const registry = this.#registry;
    if (registry !== undefined) this.context.simulation.run(() => registry.close());
    this.#registry = undefined;
    this.#server = undefined;
    for (const each of this.onCrash) each(kind);
  }

  #start(): void {
    if (this.#isPoweredOff) {
      this.#bootedAt = this.context.simulation.now;
      this.#boots += 1;
    }
    this.#isPoweredOff = false;
    const { run } = this.process;
    this.context.simulation.run(async () => {
      const isServing = await succeeds(this.#serve());
      if (!isServing && this.process.run === run) this.process.crash('killed', RESTART_DELAY_MS);
    });
  }

  /** Opens the registry as `startEmbedded` does. */
  async #open(clock: () => Clocks): Promise<Registry> {
    const { registry, shared, name } = this.plan;
    if (shared === undefined)
      return registry.open(name, this.newStorage(), clock, this.process.time('writes down what it has seen'));
    const opened = await shared.serve({
      process: this.process,
      log: this.log,
      monotonicNow: () => this.#monotonic,
      bootId: () => `${name} boot ${this.#boots}`,
    });
    this.#databaseClock = opened.clock;
    return opened.registry;
  }

  /** As `startEmbedded` does. A process that is killed meanwhile waits for ever. */
  async #serve(): Promise<void> {
    const clock = (): Clocks => this.clocks();
    const time = this.process.time('writes down what it has seen');
    const registry = await this.#open(clock);
    this.#registry = registry;
    this.prepare(registry);
    await registry.announceAdoption();
    if (this.plan.shared !== undefined)
      await reachSavedTime(registry, clock, (ms) => this.process.pause(ms, 'waits for the time of another server'));
    const randomBytes = (n: number): Uint8Array => this.randomBytes(n);
    const server = new AuthServer({ registry, clock, randomBytes, log: this.log, role: this.role(), time });
    if (!(await succeeds(server.persistClock()))) return this.process.crash('killed', RESTART_DELAY_MS);
    this.#server = server;
    if (!this.plan.combined) {
      this.context.network.listen(`${this.plan.name}:5693`, (datagram) =>
        this.process.receive('takes a request', () => this.#receive(datagram)),
      );
    }
    this.#runUpkeep(registry, server);
    if (this.plan.shared !== undefined) this.#followTime(server);
    for (const each of this.onStart) each();
  }

  #schedule(ms: number, step: string, action: () => void): void {
    this.process.schedule(ms, step, () => {
      this.context.simulation.unsettled();
      action();
    });
  }

  /** As the daemon's watch over its store does. */
  #runUpkeep(registry: Registry, server: AuthServer): void {
    this.#schedule(UPKEEP_INTERVAL_MS, 'keeps the time', () => {
      this.context.simulation.run(() => succeeds(server.persistClock()));
      this.context.simulation.run(() => succeeds(registry.forgetInitialKeys()));
      this.#runUpkeep(registry, server);
    });
  }

  /** Reads the times that other servers stored, every second. */
  #followTime(server: AuthServer): void {
    this.#schedule(SHARED_UPKEEP_INTERVAL_MS, 'keeps the time', () => {
      this.context.simulation.run(() => succeeds(server.persistClock()));
      this.#followTime(server);
    });
  }

  #receive({ kind, from, to, token, payload }: Datagram): void {
    if (kind !== 'request') return;
    const key = `${from} ${token}`;
    if (this.#inFlightRequests.has(key)) return;
    this.#inFlightRequests.add(key);
    this.context.simulation.run(async () => {
      const { code, maxAge, payload: octets = new Uint8Array(0) } = await this.answer(payload);
      this.#inFlightRequests.delete(key);
      this.context.network.send({ from: to, to: from, kind: 'answer', token, code, payload: octets, maxAge });
    });
  }

  /**
   * Answers M2 with M3, M7 with M8, either with M9. A process that is killed meanwhile never does.
   */
  answer(octets: Uint8Array): Promise<ServerAnswer> {
    const server = this.#server;
    return new Promise((resolve) => {
      if (server === undefined) return;
      this.context.simulation.run(async () => {
        const answer = await server.answer(octets);
        if (this.#server === server) resolve(answer);
      });
    });
  }

  // What mutants do otherwise.

  protected clocks(): Clocks {
    return this.now;
  }

  protected newStorage(): SimulatedStorage {
    return this.plan.registry.newStorage(this.process);
  }

  protected randomBytes(n: number): Uint8Array {
    return this.random.octets(n);
  }

  /** The registry has been opened by a process that starts. */
  protected prepare(registry: Registry): void {
    const { counts } = this.context.oracle;
    const commit = registry.commit.bind(registry);
    registry.commit = async (...judged): Promise<Awaited<ReturnType<Registry['commit']>>> => {
      this.watchCommits(registry);
      const result = await commit(...judged);
      if (result === 'conflict') counts.conflicts += 1;
      if (result === 'expired') counts.expired += 1;
      return result;
    };
  }

  /** Ends the process when a commit has not finished in 30 s: it must not take effect later. */
  protected watchCommits(registry: Registry): void {
    this.process.schedule(COMMIT_TIMEOUT_MS + POLL_INTERVAL_MS, 'looks after its commits', () => {
      const since = this.oldestCommit(registry);
      if (since !== undefined && this.process.monotonicMs - since >= COMMIT_TIMEOUT_MS) this.process.crash('killed', 5_000);
    });
  }

  protected oldestCommit(registry: Registry): number | undefined {
    return registry.oldestPendingCommit;
  }

  /** The rules, and beside them the oracle. */
  protected role(): ServerRole {
    const { server } = this.context.rules.roles;
    return {
      ...server,
      openLinkRequest: (request, skCs) => {
        const opened = server.openLinkRequest(request, skCs);
        if (opened !== undefined) this.#accepted(request, opened);
        return opened;
      },
      decide: (opened, node, wallMs) => {
        const decision = server.decide(opened, node, wallMs);
        this.#decided(opened, decision);
        return decision;
      },
      sealAnswer: (request, opened, decision, random, skCs) => {
        if (decision.kind === 'answer') this.#answered(opened, decision);
        const payload = server.sealAnswer(request, opened, decision, random, skCs);
        const name = decision.kind === 'refuse' ? 'M9' : request.type === 'M2' ? 'M3' : 'M8';
        this.context.oracle.recordSent(name, payload, [request.idC, textOf(request.octets)]);
        return payload;
      },
    };
  }

  #accepted({ type, idC, tid, octets }: LinkRequest, { body, type: openedAs }: OpenedRequest): void {
    const { oracle } = this.context;
    if (this.plan.isRogue(idC)) return;
    const m1 = textOf(body.m1Octets);
    oracle.checkAccepted(
      this.plan.name,
      type,
      octets,
      openedAs === 'M7' ? [idC, tid, m1, textOf((body as { readonly c5: Uint8Array }).c5)] : [idC, tid, m1],
    );
  }

  #decided(opened: OpenedRequest, decision: ServerDecision): void {
    const { counts } = this.context.oracle;
    if (decision.kind === 'commit') this.#proofAccepted(opened);
    if (decision.kind !== 'refuse') return;
    if (decision.holdoff !== undefined) counts.heldOff += 1;
    if (decision.switchedAt !== undefined) counts.switched += 1;
  }

  /** Invariants 4 and 5: a key is replaced only by what the node itself has proven. */
  #proofAccepted(opened: OpenedRequest): void {
    if (opened.type !== 'M7' || !this.context.oracle.isHonest(opened.body.m1.idI)) return;
    const { idC, tid, body } = opened;
    const m5 = encodeM5({ tid, c5: body.c5 });
    this.context.oracle.checkAccepted(this.plan.name, 'M5', m5, [idC, tid, body.m1.idI, textOf(body.m1Octets)]);
  }

  /** What a controller is about to be given. */
  #answered({ idC, tid, body }: OpenedRequest, decision: PositiveAnswer): void {
    const { oracle } = this.context;
    const { registry } = this.plan;
    const { m1, m1Octets, ts, rnC } = body;
    const { idI } = m1;
    if (decision.with === 'M3') {
      if (this.plan.shared === undefined) oracle.checkServed(idI, idC, registry.isPassThrough(idC));
      else if (oracle.isHonest(idI)) this.plan.shared.checkServed(idI, idC, decision.key);
    }
    // M4 and M6 of a pass-through controller are the server's, but for how they begin.
    if (decision.with === 'M10') {
      const m4 = encodeM4({ idC, tid, c4: decision.c4 });
      if (oracle.isHonest(idI)) oracle.recordRelayed('M4', m4, [idC, tid, textOf(m1Octets)]);
      const key = registry.keyOf(idI);
      const opened = key && openM4(decodeM4(m4), key, m1Octets);
      if (opened !== undefined) oracle.checkContribution(opened.rnC, [idC, tid, ts, textOf(rnC), textOf(m1Octets)]);
    }
    if (decision.with === 'M11' && 'c5' in body) {
      const m5 = encodeM5({ tid, c5: body.c5 });
      if (oracle.isHonest(idI)) oracle.recordRelayed('M6', encodeM6(decision.c6), [idC, tid, textOf(m5)]);
      oracle.counts.relayed += 1;
      oracle.checkApplicationRoot(idI, idC, tid, decision.applicationRoot);
    }
  }
}

/** Returns true if no work failed that the daemon would retry. */
async function succeeds(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}
