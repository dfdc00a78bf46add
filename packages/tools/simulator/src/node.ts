/**
 * A node: the real join attempt on the real `NodeFile`. When to try is a shell that mirrors
 * `NodeAgent` of packages/node-agent. Its process, time, socket and disk are simulated.
 */

import { attemptJoin, type AttemptEnvironment, type AttemptOptions } from '@latchkey/node-agent/join-attempt';
import { NodeMetrics } from '@latchkey/node-agent/metrics';
import { formatNode, NodeFile, parseNode, type StoredNode } from '@latchkey/node-agent/node-file';
import {
  type AwaitingM4,
  backOff,
  CANDIDATE_MIN_AGE_MS,
  type M4Decision,
  MAX_CANDIDATES,
  type NodeClocks,
  type NodeState,
  Secret,
  saveIntervalMs,
  msUntilRenewal,
} from '@latchkey/protocol';
import { type Log, newLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { SimulatedClient } from './exchange.js';
import { Violation } from './simulation.js';
import { textOf } from './oracle.js';
import type { CrashModel, Process } from './process.js';
import type { InitiatorRole } from './roles.js';
import { SimulatedFile } from './simulated-file.js';
import type { SimulationContext } from './simulation-context.js';

/** As in node-agent.ts, all in ms. */
const CLOCK_POLL_INTERVAL_MS = 60_000;
const AGING = { limit: 120_000, save: 5_000 } as const;
/** Where a controller serves. */
const PORT = 5683;

type SavedUptime = ReturnType<AttemptOptions['uptime']['save']>;
type AttemptResult = Awaited<ReturnType<typeof attemptJoin>>;
/** What an attempt takes as the node's file. */
export type AttemptFile = AttemptOptions['file'];

export interface NodePlan {
  readonly idI: number;
  readonly state: NodeState;
  /** The controllers it turns to, in turn. */
  readonly endpoints: readonly number[];
  readonly crashModel: CrashModel;
  /** That the disk refuses a step of a write. */
  readonly diskErrorProbability: number;
  /** A timer starts `join --if-due` so often, in ms; `undefined` if the agent runs. */
  readonly lookEveryMs: number | undefined;
}

export class SimulatedNode {
  protected readonly context: SimulationContext;
  protected readonly plan: NodePlan;
  protected readonly process: Process;
  protected readonly file: SimulatedFile;
  protected readonly random: SeededRandom;
  readonly #log: Log;
  readonly #metrics = new NodeMetrics();
  /** As the run has it. */
  #nodeFile: NodeFile;
  /** Of the machine: what it counts uptime from. */
  #bootedAt = 0;
  #boot = 1;
  #poweredOffset = 0;
  #bootsSeen = 0;
  #saveTriedAt = -Infinity;
  #nextEndpoint = 0;
  #socketCount = 0;
  #client: SimulatedClient | undefined;
  /** The wall clock's error, in ms. */
  clockError = 0;
  /** Called before anything of a run. */
  beforeStart: () => void = () => undefined;

  constructor(context: SimulationContext, plan: NodePlan) {
    const { simulation, oracle } = context;
    this.context = context;
    this.plan = plan;
    this.random = simulation.random(`n${plan.idI} draws`);
    this.#log = newLog(`n${plan.idI}`, 'debug', { write: (line) => context.logLine(`n${plan.idI}`, line) }, false);
    const record = this.#installed(plan.state, undefined);
    this.#nodeFile = this.#open(record);
    this.process = context.process(
      `n${plan.idI}`,
      plan.crashModel,
      () => this.#start(),
      (kind) => {
        void this.#client?.close();
        this.file.crash(kind);
        if (kind === 'power lost') this.#reboot();
        oracle.checkLockout(plan.idI);
      },
    );
    this.file = this.newFile(formatNode(record));
    this.file.onChange = (): void => oracle.checkLockout(plan.idI);
    oracle.addNode(
      plan.idI,
      () => this.file.afterPowerLoss(),
      () => (this.process.up ? keysOf(this.stored.state) : undefined),
    );
  }

  /** What it works with, and the disk holds. */
  protected get stored(): StoredNode {
    return this.#nodeFile.record;
  }

  /** As `install` makes it. */
  #installed(state: NodeState, powered: SavedUptime | undefined): StoredNode {
    const endpoints = this.plan.endpoints.map((idC) => ({ host: `c${idC}`, port: PORT }));
    return { state, endpoints, powered, keyLease: undefined, lastAttempt: undefined, hookPending: false };
  }

  #open(record: StoredNode): NodeFile {
    return new NodeFile(
      record,
      (text) =>
        new Promise((resolve, reject) => {
          this.file.replace(text, (written) => {
            this.context.simulation.unsettled();
            if (written) resolve();
            else reject(new Failure('the disk refuses the write', { advice: 'Look at the disk.' }));
          });
        }),
    );
  }

  protected newFile(text: string): SimulatedFile {
    return new SimulatedFile(this.process, this.plan.diskErrorProbability, text);
  }

  get idI(): number {
    return this.plan.idI;
  }

  start(): void {
    this.process.start();
  }

  suspend(ms: number): void {
    this.process.suspend(ms);
  }

  /** Which boot of its machine this is, from 1. */
  get boot(): number {
    return this.#boot;
  }

  losePower(offMs: number): void {
    this.process.losePower(offMs);
  }

  /**
   * The agent is stopped, and `install --replace` run with the initial key `ik`. Not of a node that
   * has traded its initial key in: whoever does that has the server give it another first.
   */
  installAgain(ik: Secret, downMs: number): void {
    this.process.crash('killed', downMs);
    const { state, powered } = parseNode(this.file.read() ?? '');
    const { idI, controllers } = state;
    if (!state.initial) return;
    const installed = this.context.rules.roles.initiator.installNode({ idI, controllers, ik }, state);
    this.file.put(formatNode(this.#installed(installed, powered)));
  }

  /** Its agent is stopped until `release`. */
  stop(): void {
    this.process.stop();
  }

  release(): void {
    this.process.release();
  }

  /** All that the device held is lost, and it is installed with its initial key. */
  installAnew(ik: string): void {
    const state: NodeState = { ...this.plan.state, confirmed: Secret.fromHex(ik) };
    this.file.put(formatNode(this.#installed(state, undefined)));
  }

  /**
   * `move` is run on the device, if it belongs to another controller than `idC`: a node whose
   * installer named none is the first one's that it joins through.
   */
  moveTo(idC: number): void {
    const record = parseNode(this.file.read() ?? '');
    const { state, keyLease } = record;
    if (state.controllers === 'any' || state.controllers.includes(idC)) return;
    this.process.stop();
    const due = keyLease === undefined ? {} : { keyLease: { ...keyLease, renewal: { afterMs: 0, afterBoots: 1 } } };
    this.file.put(formatNode({ ...record, ...due, state: { ...state, controllers: [idC] } }));
    this.process.release();
  }

  #reboot(): void {
    this.#boot += 1;
    this.#bootedAt = this.context.simulation.now;
  }

  #start(): void {
    this.beforeStart();
    const text = this.file.read();
    try {
      this.#nodeFile = this.#open(parseNode(text ?? ''));
    } catch {
      throw new Violation(1, `node n${this.idI} starts and cannot read its file`);
    }
    const { powered } = this.stored;
    const sameBoot = powered !== undefined && powered.boot === this.#bootId;
    this.#poweredOffset = (powered?.ms ?? 0) - (sameBoot ? powered.uptime_ms : this.#uptime);
    this.#bootsSeen = (powered?.boots ?? 0) + (sameBoot ? 0 : 1);
    this.#saveTriedAt = -Infinity;
    this.context.oracle.checkLockout(this.idI);
    this.#nextEndpoint = 0;
    this.context.simulation.run(() => this.#run());
  }

  // Clocks: cumulative-uptime.ts.

  get #bootId(): string {
    return String(this.#boot);
  }

  get #uptime(): number {
    return this.context.simulation.now - this.#bootedAt;
  }

  get #powered(): number {
    return this.#poweredOffset + this.#uptime;
  }

  /** What the age of a candidate goes by. */
  protected get powered(): number {
    return this.#powered;
  }

  protected get boots(): number {
    return this.#bootsSeen;
  }

  protected get wall(): number {
    return this.context.simulation.trueTime + this.clockError;
  }

  protected get clocks(): NodeClocks {
    return { wallMs: this.wall, poweredMs: this.#powered, boots: this.boots };
  }

  protected saveUptime(): SavedUptime {
    return { ms: this.#powered, boot: this.#bootId, uptime_ms: this.#uptime, boots: this.#bootsSeen };
  }

  // When to try: node-agent.ts.

  async #run(): Promise<void> {
    for (let failures = 0; ;) {
      const wait = failures === 0 ? this.#untilDue() : 0;
      if (wait === Infinity) return;
      if (wait > 0) {
        await this.#saveTime();
        if (this.#ends()) return;
        await this.process.pause(Math.min(wait, CLOCK_POLL_INTERVAL_MS, this.untilSave()), 'looks at the clock');
        continue;
      }
      const result = await this.#attempt();
      if (result?.kind === 'joined') {
        failures = 0;
        continue;
      }
      // What a failed attempt leaves is written too; it may be lost.
      await this.#write();
      if (this.plan.lookEveryMs !== undefined) return this.#ageCandidates(this.process.monotonicMs + AGING.limit);
      failures += 1;
      const refused = result?.kind === 'failed' && result.reason.kind === 'refused' ? result.reason.maxAge : undefined;
      const own = result?.kind === 'wait' ? result.forMs : Infinity;
      await this.process.pause(Math.min(backOff(failures, this.random.uniform(), refused ?? 0), own), 'tries again');
    }
  }

  /** What a timer starts ends once it has looked, or tried; the timer starts it again. */
  #ends(): boolean {
    const { lookEveryMs } = this.plan;
    if (lookEveryMs !== undefined) this.process.crash('killed', lookEveryMs);
    return lookEveryMs !== undefined;
  }

  /** As what a timer starts does before it ends. */
  async #ageCandidates(end: number): Promise<void> {
    for (;;) {
      const { candidates } = this.stored.state;
      const age = this.powered - (candidates[0]?.storedAt ?? 0);
      if (candidates.length < MAX_CANDIDATES || age >= CANDIDATE_MIN_AGE_MS || this.process.monotonicMs >= end) break;
      await this.process.pause(AGING.save, 'lets a candidate grow old');
      await this.#write();
    }
    this.#ends();
  }

  #untilDue(): number {
    const { state, keyLease } = this.stored;
    if (state.initial || state.candidates.length > 0 || keyLease === undefined) return 0;
    return Math.max(0, msUntilRenewal(keyLease, this.clocks));
  }

  async #saveTime(): Promise<void> {
    if (this.untilSave() > 0) return;
    this.#saveTriedAt = this.#powered;
    await this.#write();
  }

  /** Saves powered time, on which no key depends. */
  async #write(): Promise<void> {
    try {
      await this.attemptFile().write({ powered: this.saveUptime() });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
    }
  }

  /** How long until powered time has to be saved, in ms. */
  protected untilSave(): number {
    const { keyLease, powered } = this.stored;
    if (keyLease?.renewal === undefined) return Infinity;
    const savedAt = powered?.boots === this.#bootsSeen ? powered.ms : -Infinity;
    return Math.max(0, Math.max(savedAt, this.#saveTriedAt) + saveIntervalMs(keyLease.renewal) - this.#powered);
  }

  /** Resolves with `undefined` if the disk refuses to store a key. */
  async #attempt(): Promise<AttemptResult | undefined> {
    const { endpoints } = this.stored;
    const controller = endpoints[this.#nextEndpoint++ % endpoints.length];
    if (controller === undefined) throw new Error('a node has no controller');
    const options: AttemptOptions = {
      file: this.attemptFile(),
      controller,
      turn: 0,
      uptime: { now: () => this.powered, clocks: () => this.clocks, save: () => this.saveUptime() },
      log: this.#log,
      // Only a crash stops it.
      signal: new AbortController().signal,
      metrics: this.#metrics,
      onSent: () => undefined,
    };
    try {
      const result = await attemptJoin(options, this.environment());
      if (result.kind === 'wait') this.context.oracle.counts.waits += 1;
      if (result.kind === 'joined') this.context.simulation.record(`n${this.idI}`, 'has joined');
      return result;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return undefined;
    }
  }

  protected attemptFile(): AttemptFile {
    const file = this.#nodeFile;
    const { oracle } = this.context;
    return {
      get record() {
        return file.record;
      },
      write: async (change) => {
        try {
          await file.write(change);
        } finally {
          oracle.checkLockout(this.idI);
        }
      },
    };
  }

  protected environment(): AttemptEnvironment {
    return {
      ...this.initiator(),
      ...this.process.time('sends M5 again'),
      randomBytes: (n) => this.random.octets(n),
      uniform: () => this.random.uniform(),
      connect: ({ controller: { host, port } }) => Promise.resolve(this.#connect(`${host}:${port}`)),
    };
  }

  #connect(peer: string): SimulatedClient {
    this.#socketCount += 1;
    const address = `n${this.idI}:${40_000 + this.#socketCount}`;
    this.#client = new SimulatedClient(this.process, this.context.network, this.random, address, peer);
    return this.#client;
  }

  /** The rules, and with them the oracle. */
  protected initiator(): InitiatorRole {
    const { rules, oracle } = this.context;
    const { beginAttempt, receiveM4, receiveM6 } = rules.roles.initiator;
    return {
      beginAttempt,
      receiveM4: (state, awaitingM4, ...answer) => {
        const decision = receiveM4(state, awaitingM4, ...answer);
        if (decision.kind === 'store') this.#m4Accepted(answer[0], awaitingM4, decision);
        return decision;
      },
      receiveM6: (state, awaitingM6, octets) => {
        const decision = receiveM6(state, awaitingM6, octets);
        if (decision.kind === 'joined' && oracle.isHonest(this.idI)) {
          const { idC, tid, m5 } = awaitingM6;
          oracle.checkConfirmed(this.idI, decision.state.confirmed, decision.lifetime);
          oracle.checkAccepted(`n${this.idI}`, 'M6', octets, [idC, tid, textOf(m5)]);
        }
        return decision;
      },
    };
  }

  #m4Accepted(octets: Uint8Array, { m1 }: AwaitingM4, decision: Extract<M4Decision, { kind: 'store' }>): void {
    const { oracle } = this.context;
    const { idC, tid } = decision.attempt;
    if (!oracle.isHonest(this.idI)) return;
    oracle.checkAccepted(`n${this.idI}`, 'M4', octets, [idC, tid, textOf(m1)]);
    const { controllers } = this.stored.state;
    if (controllers !== 'any' && !controllers.includes(idC))
      throw new Violation(5, `n${this.idI} accepts an M4 of c${idC}, which it was not ordered for`);
    // Before it is sent, but sealed it is.
    oracle.recordSent('M5', decision.m5, [idC, tid, this.idI, textOf(m1)]);
    oracle.protectKey(decision.attempt.psk, `node n${this.idI}`);
    if (decision.promoted) oracle.checkConfirmed(this.idI, decision.state.confirmed, undefined);
    else if (decision.dropped.length > 0) oracle.counts.replaced += 1;
  }
}

function keysOf({ confirmed, candidates }: NodeState): Secret[] {
  return [confirmed, ...candidates.map(({ psk }) => psk)];
}
