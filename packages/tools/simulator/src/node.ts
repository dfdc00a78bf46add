/**
 * The node's shell: mirrors `NodeAgent` (when to try) and `JoinAttempt` (M1 to M6, in the order
 * that no crash turns into a lockout) of packages/node-agent, with `replaceFile` of
 * packages/runtime under it. What a message means the initiator decides.
 */

import {
  type AwaitingM4,
  type AwaitingM6,
  backOff,
  CANDIDATE_MIN_AGE_MS,
  type CoapCode,
  type M4Decision,
  type M6Decision,
  scheduleRenewal,
  MAX_CANDIDATES,
  MAX_IGNORED_ANSWERS,
  type NodeClocks,
  type NodeState,
  RN_LENGTH,
  Secret,
  saveIntervalMs,
  TRANSACTION_LIFETIME_MS,
  msUntilRenewal,
} from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { SimulatedClient, type Response } from './exchange.js';
import { Violation } from './simulation.js';
import { formatNode, type StoredNode, parseNode, type SavedUptime } from './stored-node.js';
import { textOf } from './oracle.js';
import type { CrashModel, Process } from './process.js';
import { SimulatedFile } from './simulated-file.js';
import type { SimulationContext } from './simulation-context.js';

/** As in attempt.ts and node-agent.ts, all in ms. */
const M4_DEADLINE_MS = 30_000;
const M5_DEADLINE_MS = 30_000;
const GRACE_MS = 16_000;
const M5_PAUSE_MS = 2_000;
const CLOCK_POLL_INTERVAL_MS = 60_000;
const AGING = { limit: 120_000, save: 5_000 } as const;
const RETRYABLE: ReadonlySet<string> = new Set(['4.29', '5.03', '5.04']);
const REFUSALS_RETRIED = 1;

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

export type AttemptResult =
  | { readonly kind: 'joined' }
  | { readonly kind: 'wait'; readonly forMs: number }
  | { readonly kind: 'failed'; readonly maxAge: number };

export type ExchangeResult<D> =
  | { readonly kind: 'opened'; readonly decision: D }
  | { readonly kind: 'echo'; readonly echo: string }
  | { readonly kind: 'refused'; readonly code: CoapCode | undefined; readonly maxAge: number | undefined }
  | { readonly kind: 'no answer' }
  | { readonly kind: 'unreachable' };

export class SimulatedNode {
  protected readonly context: SimulationContext;
  protected readonly plan: NodePlan;
  protected readonly process: Process;
  protected readonly file: SimulatedFile;
  protected readonly random: SeededRandom;
  protected stored: StoredNode;
  /** Of the machine: what it counts uptime from. */
  #bootedAt = 0;
  #boot = 1;
  #poweredOffset = 0;
  #bootsSeen = 0;
  #saveTriedAt = -Infinity;
  #nextEndpoint = 0;
  #socketCount = 0;
  #client: SimulatedClient | undefined;
  /** When the attempt in progress ends, by the monotonic clock. */
  #deadline = 0;
  /** The wall clock's error, in ms. */
  clockError = 0;
  /** Called before anything of a run. */
  beforeStart: () => void = () => undefined;

  constructor(context: SimulationContext, plan: NodePlan) {
    const { simulation, oracle } = context;
    this.context = context;
    this.plan = plan;
    this.random = simulation.random(`n${plan.idI} draws`);
    this.stored = { state: plan.state, keyLease: undefined, powered: undefined };
    this.process = context.process(
      `n${plan.idI}`,
      plan.crashModel,
      () => this.#start(),
      (kind) => {
        this.#client?.close();
        this.file.crash(kind);
        if (kind === 'power lost') this.#reboot();
        oracle.checkLockout(plan.idI);
      },
    );
    this.file = this.newFile(formatNode(this.stored));
    this.file.onChange = (): void => oracle.checkLockout(plan.idI);
    oracle.addNode(
      plan.idI,
      () => this.file.afterPowerLoss(),
      () => (this.process.up ? keysOf(this.stored.state) : undefined),
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
    this.file.put(formatNode({ state: installed, keyLease: undefined, powered }));
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
    this.file.put(formatNode({ state, keyLease: undefined, powered: undefined }));
  }

  #reboot(): void {
    this.#boot += 1;
    this.#bootedAt = this.context.simulation.now;
  }

  #start(): void {
    this.beforeStart();
    const text = this.file.read();
    try {
      this.stored = parseNode(text ?? '');
    } catch {
      throw new Violation(1, `node n${this.idI} starts and cannot read its file`);
    }
    const { powered } = this.stored;
    const sameBoot = powered !== undefined && powered.boot === this.#boot;
    this.#poweredOffset = (powered?.ms ?? 0) - (sameBoot ? powered.uptime : this.#uptime);
    this.#bootsSeen = (powered?.boots ?? 0) + (sameBoot ? 0 : 1);
    this.#saveTriedAt = -Infinity;
    this.context.oracle.checkLockout(this.idI);
    this.#nextEndpoint = 0;
    this.#run(0);
  }

  // Clocks: powered-clock.ts.

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
    return { ms: this.#powered, boot: this.#boot, uptime: this.#uptime, boots: this.#bootsSeen };
  }

  // When to try: node-agent.ts.

  #run(failures: number): void {
    const wait = failures === 0 ? this.#untilDue() : 0;
    if (wait === Infinity) return;
    if (wait > 0) return this.#saveTime(() => this.#rest(wait));
    this.#attempt((result) => {
      if (result.kind === 'joined') return this.#run(0);
      // What a failed attempt leaves is written too; it may be lost.
      this.write({ powered: this.saveUptime() }, () => {
        const maxAge = result.kind === 'failed' ? result.maxAge : 0;
        const own = result.kind === 'wait' ? result.forMs : Infinity;
        if (this.plan.lookEveryMs !== undefined) return this.#ageCandidates(this.process.monotonicMs + AGING.limit);
        const delay = Math.min(backOff(failures + 1, this.random.uniform(), maxAge), own);
        this.process.schedule(delay, 'tries again', () => this.#run(failures + 1));
      });
    });
  }

  /** Nothing is due yet. */
  #rest(wait: number): void {
    if (this.#ends()) return;
    this.process.schedule(Math.min(wait, CLOCK_POLL_INTERVAL_MS, this.untilSave()), 'looks at the clock', () => this.#run(0));
  }

  /** What a timer starts ends once it has looked, or tried; the timer starts it again. */
  #ends(): boolean {
    const { lookEveryMs } = this.plan;
    if (lookEveryMs !== undefined) this.process.crash('killed', lookEveryMs);
    return lookEveryMs !== undefined;
  }

  /** As what a timer starts does before it ends. */
  #ageCandidates(end: number): void {
    const { candidates } = this.stored.state;
    const age = this.powered - (candidates[0]?.storedAt ?? 0);
    if (candidates.length < MAX_CANDIDATES || age >= CANDIDATE_MIN_AGE_MS || this.process.monotonicMs >= end) {
      this.#ends();
      return;
    }
    this.process.schedule(AGING.save, 'lets a candidate grow old', () =>
      this.write({ powered: this.saveUptime() }, () => this.#ageCandidates(end)),
    );
  }

  #untilDue(): number {
    const { state, keyLease } = this.stored;
    if (state.initial || state.candidates.length > 0 || keyLease === undefined) return 0;
    return Math.max(0, msUntilRenewal(keyLease, this.clocks));
  }

  #saveTime(done: () => void): void {
    if (this.untilSave() > 0) return done();
    this.#saveTriedAt = this.#powered;
    this.write({ powered: this.saveUptime() }, done);
  }

  /** How long until powered time has to be saved, in ms. */
  protected untilSave(): number {
    const { keyLease, powered } = this.stored;
    if (keyLease?.renewal === undefined) return Infinity;
    const savedAt = powered?.boots === this.#bootsSeen ? powered.ms : -Infinity;
    return Math.max(0, Math.max(savedAt, this.#saveTriedAt) + saveIntervalMs(keyLease.renewal) - this.#powered);
  }

  #attempt(done: (result: AttemptResult) => void): void {
    const { endpoints } = this.plan;
    const idC = endpoints[this.#nextEndpoint++ % endpoints.length] ?? 0;
    this.#socketCount += 1;
    this.#client?.close();
    const address = `n${this.idI}:${40_000 + this.#socketCount}`;
    this.#client = new SimulatedClient(this.process, this.context.network, this.random, address, `c${idC}:5683`);
    this.#deadline = this.process.monotonicMs + TRANSACTION_LIFETIME_MS;
    this.#begin((result) => {
      this.#client?.close();
      done(result);
    });
  }

  // M1 to M6: attempt.ts.

  #begin(done: (result: AttemptResult) => void): void {
    const { initiator } = this.context.rules.roles;
    const { state } = this.stored;
    const awaitingM4 = initiator.beginAttempt(state, this.random.octets(RN_LENGTH), this.powered);
    const accept = (octets: Uint8Array): M4Decision => {
      const decision = initiator.receiveM4(state, awaitingM4, octets, this.powered);
      if (decision.kind === 'store') this.#m4Accepted(octets, awaitingM4, decision);
      return decision;
    };
    this.#exchange(awaitingM4.m1, M4_DEADLINE_MS, accept, (answer) => {
      if (answer.kind !== 'opened') return done(failed(answer));
      const { decision } = answer;
      if (decision.kind === 'wait') {
        this.context.oracle.counts.waits += 1;
        return done(decision);
      }
      this.store(decision, done);
    });
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

  /** Promote, erase and store: one durable write. Then M5. */
  protected store(decision: Extract<M4Decision, { kind: 'store' }>, done: (result: AttemptResult) => void): void {
    this.write({ state: decision.state, powered: this.saveUptime() }, (written) => {
      if (!written) return done({ kind: 'failed', maxAge: 0 });
      wipeAll(decision.dropped);
      this.prove(decision.attempt, done);
    });
  }

  /** Sends M5 until an M6 opens or the transaction at the controller is over. */
  protected prove(awaitingM6: AwaitingM6, done: (result: AttemptResult) => void, retriesLeft: number = REFUSALS_RETRIED): void {
    const accept = (octets: Uint8Array): M6Decision => this.judgeM6(awaitingM6, octets);
    this.#exchange(awaitingM6.m5, M5_DEADLINE_MS, accept, (answer) => {
      if (answer.kind === 'opened') return this.#confirm(answer.decision, done);
      const isRetried = answer.kind === 'refused' && !RETRYABLE.has(answer.code ?? '');
      const passes = answer.kind !== 'unreachable' && !(isRetried && retriesLeft === 0);
      const again = M5_PAUSE_MS + 1000 * (answer.kind === 'refused' ? (answer.maxAge ?? 0) : 0);
      if (!passes || this.process.monotonicMs + again >= this.#deadline) return done(failed(answer));
      this.process.schedule(again, 'sends M5 again', () =>
        this.prove(awaitingM6, done, isRetried ? retriesLeft - 1 : retriesLeft),
      );
    });
  }

  protected judgeM6(awaitingM6: AwaitingM6, octets: Uint8Array): M6Decision {
    const { rules, oracle } = this.context;
    const decision = rules.roles.initiator.receiveM6(this.stored.state, awaitingM6, octets);
    if (decision.kind === 'joined' && oracle.isHonest(this.idI)) {
      const { idC, tid, m5 } = awaitingM6;
      oracle.checkConfirmed(this.idI, decision.state.confirmed, decision.lifetime);
      oracle.checkAccepted(`n${this.idI}`, 'M6', octets, [idC, tid, textOf(m5)]);
    }
    return decision;
  }

  /** The PSK is the confirmed key, all else is erased: one durable write. Only this is "joined". */
  #confirm({ state, lifetime, dropped }: Extract<M6Decision, { kind: 'joined' }>, done: (result: AttemptResult) => void): void {
    const { wallMs: at, poweredMs: poweredAt, boots } = this.clocks;
    const membership = { at, poweredAt, boots, renewal: scheduleRenewal(lifetime, () => this.random.uniform()) };
    this.write({ state, keyLease: membership, powered: this.saveUptime() }, (written) => {
      if (!written) return done({ kind: 'failed', maxAge: 0 });
      wipeAll(dropped);
      this.context.simulation.record(`n${this.idI}`, 'has joined');
      done({ kind: 'joined' });
    });
  }

  /** Durable when it tells `true`; when it tells `false`, `record` is as before. */
  protected write(change: Partial<StoredNode>, done: (written: boolean) => void): void {
    const next = { ...this.stored, ...change };
    this.file.replace(formatNode(next), (written) => {
      if (written) this.stored = next;
      this.context.oracle.checkLockout(this.idI);
      done(written);
    });
  }

  /** POST, once more with the Echo if the controller asks for proof of our address. */
  #exchange<D extends M4Decision | M6Decision>(
    payload: Uint8Array,
    deadlineMs: number,
    accept: (octets: Uint8Array) => D,
    done: (answer: Exclude<ExchangeResult<Exclude<D, { kind: 'ignored' }>>, { kind: 'echo' }>) => void,
  ): void {
    const send = (echo: string | undefined, then: (answer: ExchangeResult<Exclude<D, { kind: 'ignored' }>>) => void): void =>
      this.#client?.exchange({
        payload,
        deadlineMs: Math.max(0, Math.min(deadlineMs, this.#deadline - this.process.monotonicMs)),
        echo,
        maxIgnored: MAX_IGNORED_ANSWERS,
        graceMs: GRACE_MS,
        accept: (response) => this.classify(response, accept),
        done: (outcome) =>
          then(
            outcome.kind === 'answered' ? outcome.value : { kind: outcome.kind === 'unreachable' ? 'unreachable' : 'no answer' },
          ),
      });
    send(undefined, (first) => {
      if (first.kind !== 'echo') return done(first);
      send(first.echo, (second) => done(second.kind === 'echo' ? { kind: 'refused', code: '4.01', maxAge: undefined } : second));
    });
  }

  /** What a response is worth: a message that opens, an error, or nothing. */
  protected classify<D extends M4Decision | M6Decision>(
    { code, payload, maxAge, echo }: Response,
    accept: (octets: Uint8Array) => D,
  ): ExchangeResult<Exclude<D, { kind: 'ignored' }>> | undefined {
    if (code === '4.01' && echo !== undefined) return { kind: 'echo', echo };
    if (code !== '2.04') return { kind: 'refused', code, maxAge };
    const decision = accept(payload);
    if (decision.kind === 'ignored') {
      this.context.log(`n${this.idI}`, `ignores an answer: ${decision.reason}`);
      return undefined;
    }
    return { kind: 'opened', decision: decision as Exclude<D, { kind: 'ignored' }> };
  }
}

function failed(answer: Exclude<ExchangeResult<unknown>, { kind: 'opened' | 'echo' }>): AttemptResult {
  return { kind: 'failed', maxAge: answer.kind === 'refused' ? (answer.maxAge ?? 0) : 0 };
}

function keysOf({ confirmed, candidates }: NodeState): Secret[] {
  return [confirmed, ...candidates.map(({ psk }) => psk)];
}

function wipeAll(secrets: readonly Secret[]): void {
  for (const secret of secrets) secret.wipe();
}
