/**
 * The node's shell: mirrors `NodeAgent` (when to try) and `JoinAttempt` (M1 to M6, in the order that no crash turns into a lockout) of
 * packages/node-agent, with `replaceFile` of packages/runtime under it. What a message means the initiator decides.
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
import type { Chance } from './chance.js';
import { Client, type Response } from './exchange.js';
import { Violation } from './ground.js';
import { formatNode, type NodeRecord, parseNode, type PoweredTime } from './node-record.js';
import { textOf } from './oracle.js';
import type { Mortality, Process } from './process.js';
import { PrivateFile } from './private-file.js';
import type { Surroundings } from './surroundings.js';

/** As in attempt.ts and node-agent.ts, all in ms. */
const M4_DEADLINE_MS = 30_000;
const M5_DEADLINE_MS = 30_000;
const PATIENCE_MS = 16_000;
const M5_PAUSE_MS = 2_000;
const LOOK_EVERY_MS = 60_000;
const AGING = { limit: 120_000, save: 5_000 } as const;
const PASSING: ReadonlySet<string> = new Set(['4.29', '5.03', '5.04']);
const DOUBTED_REFUSALS = 1;

export interface NodePlan {
  readonly idI: number;
  readonly state: NodeState;
  /** The controllers it turns to, in turn. */
  readonly endpoints: readonly number[];
  readonly mortality: Mortality;
  /** That the disk refuses a step of a write. */
  readonly diskErrors: number;
  /** A timer starts `join --if-due` so often, in ms; `undefined` if the agent runs. */
  readonly lookEveryMs: number | undefined;
}

export type Result =
  | { readonly kind: 'joined' }
  | { readonly kind: 'wait'; readonly forMs: number }
  | { readonly kind: 'failed'; readonly maxAge: number };

export type Answered<D> =
  | { readonly kind: 'opened'; readonly decision: D }
  | { readonly kind: 'echo'; readonly echo: string }
  | { readonly kind: 'refused'; readonly code: CoapCode | undefined; readonly maxAge: number | undefined }
  | { readonly kind: 'silent' }
  | { readonly kind: 'unreachable' };

export class SimulatedNode {
  protected readonly around: Surroundings;
  protected readonly plan: NodePlan;
  protected readonly process: Process;
  protected readonly file: PrivateFile;
  protected readonly chance: Chance;
  protected record: NodeRecord;
  /** Of the machine: what it counts uptime from. */
  #bootedAt = 0;
  #boot = 1;
  #poweredOffset = 0;
  #bootsSeen = 0;
  #saveTriedAt = -Infinity;
  #turn = 0;
  #sockets = 0;
  #client: Client | undefined;
  /** When the attempt in progress ends, by the monotonic clock. */
  #end = 0;
  /** The wall clock's error, in ms. */
  clockError = 0;
  /** Called before anything of a run. */
  beforeStart: () => void = () => undefined;

  constructor(around: Surroundings, plan: NodePlan) {
    const { ground, oracle } = around;
    this.around = around;
    this.plan = plan;
    this.chance = ground.chance(`n${plan.idI} draws`);
    this.record = { state: plan.state, membership: undefined, powered: undefined };
    this.process = around.process(
      `n${plan.idI}`,
      plan.mortality,
      () => this.#start(),
      (death) => {
        this.#client?.close();
        this.file.crash(death);
        if (death === 'power lost') this.#reboot();
        oracle.checkLockout(plan.idI);
      },
    );
    this.file = this.newFile(formatNode(this.record));
    this.file.changed = (): void => oracle.checkLockout(plan.idI);
    oracle.addNode(
      plan.idI,
      () => this.file.afterPowerLoss(),
      () => (this.process.up ? heldBy(this.record.state) : undefined),
    );
  }

  protected newFile(text: string): PrivateFile {
    return new PrivateFile(this.process, this.plan.diskErrors, text);
  }

  get idI(): number {
    return this.plan.idI;
  }

  start(): void {
    this.process.start();
  }

  sleep(ms: number): void {
    this.process.sleep(ms);
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
    this.process.die('killed', downMs);
    const { state, powered } = parseNode(this.file.read() ?? '');
    const { idI, controllers } = state;
    if (!state.initial) return;
    const installed = this.around.rules.roles.initiator.installNode({ idI, controllers, ik }, state);
    this.file.put(formatNode({ state: installed, membership: undefined, powered }));
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
    this.file.put(formatNode({ state, membership: undefined, powered: undefined }));
  }

  #reboot(): void {
    this.#boot += 1;
    this.#bootedAt = this.around.ground.now;
  }

  #start(): void {
    this.beforeStart();
    const text = this.file.read();
    try {
      this.record = parseNode(text ?? '');
    } catch {
      throw new Violation(1, `node n${this.idI} starts and cannot read its file`);
    }
    const { powered } = this.record;
    const sameBoot = powered !== undefined && powered.boot === this.#boot;
    this.#poweredOffset = (powered?.ms ?? 0) - (sameBoot ? powered.uptime : this.#uptime);
    this.#bootsSeen = (powered?.boots ?? 0) + (sameBoot ? 0 : 1);
    this.#saveTriedAt = -Infinity;
    this.around.oracle.checkLockout(this.idI);
    this.#turn = 0;
    this.#run(0);
  }

  // Clocks: powered-clock.ts.

  get #uptime(): number {
    return this.around.ground.now - this.#bootedAt;
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
    return this.around.ground.trueTime + this.clockError;
  }

  protected get clocks(): NodeClocks {
    return { wallMs: this.wall, poweredMs: this.#powered, boots: this.boots };
  }

  protected save(): PoweredTime {
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
      this.write({ powered: this.save() }, () => {
        const maxAge = result.kind === 'failed' ? result.maxAge : 0;
        const own = result.kind === 'wait' ? result.forMs : Infinity;
        if (this.plan.lookEveryMs !== undefined) return this.#ageCandidates(this.process.steady + AGING.limit);
        const delay = Math.min(backOff(failures + 1, this.chance.uniform(), maxAge), own);
        this.process.after(delay, 'tries again', () => this.#run(failures + 1));
      });
    });
  }

  /** Nothing is due yet. */
  #rest(wait: number): void {
    if (this.#ends()) return;
    this.process.after(Math.min(wait, LOOK_EVERY_MS, this.untilSave()), 'looks at the clock', () => this.#run(0));
  }

  /** What a timer starts ends once it has looked, or tried; the timer starts it again. */
  #ends(): boolean {
    const { lookEveryMs } = this.plan;
    if (lookEveryMs !== undefined) this.process.die('killed', lookEveryMs);
    return lookEveryMs !== undefined;
  }

  /** As what a timer starts does before it ends. */
  #ageCandidates(end: number): void {
    const { candidates } = this.record.state;
    const age = this.powered - (candidates[0]?.storedAt ?? 0);
    if (candidates.length < MAX_CANDIDATES || age >= CANDIDATE_MIN_AGE_MS || this.process.steady >= end) {
      this.#ends();
      return;
    }
    this.process.after(AGING.save, 'lets a candidate grow old', () =>
      this.write({ powered: this.save() }, () => this.#ageCandidates(end)),
    );
  }

  #untilDue(): number {
    const { state, membership } = this.record;
    if (state.initial || state.candidates.length > 0 || membership === undefined) return 0;
    return Math.max(0, msUntilRenewal(membership, this.clocks));
  }

  #saveTime(done: () => void): void {
    if (this.untilSave() > 0) return done();
    this.#saveTriedAt = this.#powered;
    this.write({ powered: this.save() }, done);
  }

  /** How long until powered time has to be saved, in ms. */
  protected untilSave(): number {
    const { membership, powered } = this.record;
    if (membership?.renewal === undefined) return Infinity;
    const savedAt = powered?.boots === this.#bootsSeen ? powered.ms : -Infinity;
    return Math.max(0, Math.max(savedAt, this.#saveTriedAt) + saveIntervalMs(membership.renewal) - this.#powered);
  }

  #attempt(done: (result: Result) => void): void {
    const { endpoints } = this.plan;
    const idC = endpoints[this.#turn++ % endpoints.length] ?? 0;
    this.#sockets += 1;
    this.#client?.close();
    const address = `n${this.idI}:${40_000 + this.#sockets}`;
    this.#client = new Client(this.process, this.around.network, this.chance, address, `c${idC}:5683`);
    this.#end = this.process.steady + TRANSACTION_LIFETIME_MS;
    this.#begin((result) => {
      this.#client?.close();
      done(result);
    });
  }

  // M1 to M6: attempt.ts.

  #begin(done: (result: Result) => void): void {
    const { initiator } = this.around.rules.roles;
    const { state } = this.record;
    const awaitingM4 = initiator.beginAttempt(state, this.chance.octets(RN_LENGTH), this.powered);
    const judge = (octets: Uint8Array): M4Decision => {
      const decision = initiator.receiveM4(state, awaitingM4, octets, this.powered);
      if (decision.kind === 'store') this.#m4Accepted(octets, awaitingM4, decision);
      return decision;
    };
    this.#exchange(awaitingM4.m1, M4_DEADLINE_MS, judge, (answer) => {
      if (answer.kind !== 'opened') return done(failed(answer));
      const { decision } = answer;
      if (decision.kind === 'wait') {
        this.around.oracle.counts.waits += 1;
        return done(decision);
      }
      this.store(decision, done);
    });
  }

  #m4Accepted(octets: Uint8Array, { m1 }: AwaitingM4, decision: Extract<M4Decision, { kind: 'store' }>): void {
    const { oracle } = this.around;
    const { idC, tid } = decision.attempt;
    if (!oracle.isHonest(this.idI)) return;
    oracle.accepts(`n${this.idI}`, 'M4', octets, [idC, tid, textOf(m1)]);
    const { controllers } = this.record.state;
    if (controllers !== 'any' && !controllers.includes(idC))
      throw new Violation(5, `n${this.idI} accepts an M4 of c${idC}, which it was not ordered for`);
    // Before it is sent, but sealed it is.
    oracle.emits('M5', decision.m5, [idC, tid, this.idI, textOf(m1)]);
    oracle.honestKey(decision.attempt.psk, `node n${this.idI}`);
    if (decision.promoted) oracle.confirms(this.idI, decision.state.confirmed, undefined);
    else if (decision.dropped.length > 0) oracle.counts.replaced += 1;
  }

  /** Promote, erase and store: one durable write. Then M5. */
  protected store(decision: Extract<M4Decision, { kind: 'store' }>, done: (result: Result) => void): void {
    this.write({ state: decision.state, powered: this.save() }, (written) => {
      if (!written) return done({ kind: 'failed', maxAge: 0 });
      wipeAll(decision.dropped);
      this.prove(decision.attempt, done);
    });
  }

  /** Sends M5 until an M6 opens or the transaction at the controller is over. */
  protected prove(awaitingM6: AwaitingM6, done: (result: Result) => void, doubts: number = DOUBTED_REFUSALS): void {
    const judge = (octets: Uint8Array): M6Decision => this.judgeM6(awaitingM6, octets);
    this.#exchange(awaitingM6.m5, M5_DEADLINE_MS, judge, (answer) => {
      if (answer.kind === 'opened') return this.#confirm(answer.decision, done);
      const doubted = answer.kind === 'refused' && !PASSING.has(answer.code ?? '');
      const passes = answer.kind !== 'unreachable' && !(doubted && doubts === 0);
      const again = M5_PAUSE_MS + 1000 * (answer.kind === 'refused' ? (answer.maxAge ?? 0) : 0);
      if (!passes || this.process.steady + again >= this.#end) return done(failed(answer));
      this.process.after(again, 'sends M5 again', () => this.prove(awaitingM6, done, doubted ? doubts - 1 : doubts));
    });
  }

  protected judgeM6(awaitingM6: AwaitingM6, octets: Uint8Array): M6Decision {
    const { rules, oracle } = this.around;
    const decision = rules.roles.initiator.receiveM6(this.record.state, awaitingM6, octets);
    if (decision.kind === 'joined' && oracle.isHonest(this.idI)) {
      const { idC, tid, m5 } = awaitingM6;
      oracle.confirms(this.idI, decision.state.confirmed, decision.lifetime);
      oracle.accepts(`n${this.idI}`, 'M6', octets, [idC, tid, textOf(m5)]);
    }
    return decision;
  }

  /** The PSK is the confirmed key, all else is erased: one durable write. Only this is "joined". */
  #confirm({ state, lifetime, dropped }: Extract<M6Decision, { kind: 'joined' }>, done: (result: Result) => void): void {
    const { wallMs: at, poweredMs: poweredAt, boots } = this.clocks;
    const membership = { at, poweredAt, boots, renewal: scheduleRenewal(lifetime, () => this.chance.uniform()) };
    this.write({ state, membership, powered: this.save() }, (written) => {
      if (!written) return done({ kind: 'failed', maxAge: 0 });
      wipeAll(dropped);
      this.around.ground.note(`n${this.idI}`, 'has joined');
      done({ kind: 'joined' });
    });
  }

  /** Durable when it tells `true`; when it tells `false`, `record` is as before. */
  protected write(change: Partial<NodeRecord>, done: (written: boolean) => void): void {
    const next = { ...this.record, ...change };
    this.file.replace(formatNode(next), (written) => {
      if (written) this.record = next;
      this.around.oracle.checkLockout(this.idI);
      done(written);
    });
  }

  /** POST, once more with the Echo if the controller asks for proof of our address. */
  #exchange<D extends M4Decision | M6Decision>(
    payload: Uint8Array,
    deadlineMs: number,
    judge: (octets: Uint8Array) => D,
    done: (answer: Exclude<Answered<Exclude<D, { kind: 'ignored' }>>, { kind: 'echo' }>) => void,
  ): void {
    const send = (echo: string | undefined, then: (answer: Answered<Exclude<D, { kind: 'ignored' }>>) => void): void =>
      this.#client?.exchange({
        payload,
        deadlineMs: Math.max(0, Math.min(deadlineMs, this.#end - this.process.steady)),
        echo,
        maxIgnored: MAX_IGNORED_ANSWERS,
        patienceMs: PATIENCE_MS,
        judge: (response) => this.weigh(response, judge),
        done: (outcome) =>
          then(outcome.kind === 'answered' ? outcome.value : { kind: outcome.kind === 'unreachable' ? 'unreachable' : 'silent' }),
      });
    send(undefined, (first) => {
      if (first.kind !== 'echo') return done(first);
      send(first.echo, (second) => done(second.kind === 'echo' ? { kind: 'refused', code: '4.01', maxAge: undefined } : second));
    });
  }

  /** What a response is worth: a message that opens, an error, or nothing. */
  protected weigh<D extends M4Decision | M6Decision>(
    { code, payload, maxAge, echo }: Response,
    judge: (octets: Uint8Array) => D,
  ): Answered<Exclude<D, { kind: 'ignored' }>> | undefined {
    if (code === '4.01' && echo !== undefined) return { kind: 'echo', echo };
    if (code !== '2.04') return { kind: 'refused', code, maxAge };
    const decision = judge(payload);
    if (decision.kind === 'ignored') {
      this.around.says(`n${this.idI}`, `ignores an answer: ${decision.reason}`);
      return undefined;
    }
    return { kind: 'opened', decision: decision as Exclude<D, { kind: 'ignored' }> };
  }
}

function failed(answer: Exclude<Answered<unknown>, { kind: 'opened' | 'echo' }>): Result {
  return { kind: 'failed', maxAge: answer.kind === 'refused' ? (answer.maxAge ?? 0) : 0 };
}

function heldBy({ confirmed, candidates }: NodeState): Secret[] {
  return [confirmed, ...candidates.map(({ psk }) => psk)];
}

function wipeAll(secrets: readonly Secret[]): void {
  for (const secret of secrets) secret.wipe();
}
