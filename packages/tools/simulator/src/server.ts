/**
 * The auth-server's shell: mirrors `AuthServer` of packages/auth-server (`answer`, `#decide`,
 * `#commit`: M8 is sealed after the store has the key), and `ClockRollbackGuard` and `watchStore`
 * beside it. It holds no transaction.
 */

import {
  type CoapCode,
  COMMIT_TIMEOUT_MS,
  decodeLinkRequest,
  decodeM4,
  encodeM4,
  encodeM5,
  encodeM6,
  openM4,
  tryDecode,
  type ServerDecision,
  type LinkRefusal,
  type LinkRequest,
  retryAfterSeconds,
  type ServerNodeRecord,
  NONCE_LENGTH,
  type Clocks,
  type OpenedRequest,
  REFUSALS,
  type Secret,
  afterDiscontinuity,
  needsExtension,
  findPreviousRange,
  type ClockHistory,
  extendTo,
} from '@latchkey/protocol';
import { ClockStepDetector } from '@latchkey/runtime/daemon';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { Datagram } from './network.js';
import { textOf } from './oracle.js';
import type { CrashModel, Process } from './process.js';
import { commitAction, type CommitResult, type JudgedCommit, type SimulatedStore } from './store.js';
import type { SimulationContext } from './simulation-context.js';

/** As in auth-server.ts and store-watch.ts. */
const MAX_COMMIT_RETRIES = 4;
const MAX_CONCURRENT_COMMITS = 1_024;
const POLL_INTERVAL_MS = 1_000;
/** The daemon does so every second; each time it is a step that may be the last. */
const UPKEEP_INTERVAL_MS = 30_000;

export interface ServerPlan {
  readonly name: string;
  /** SK_cs by ID_c. */
  readonly controllers: ReadonlyMap<number, Secret>;
  readonly store: SimulatedStore;
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

export type FinalDecision = Exclude<ServerDecision, { kind: 'commit' }>;

export interface ServerAnswer {
  readonly code: CoapCode;
  readonly payload?: Uint8Array | undefined;
  readonly maxAge?: number | undefined;
}

export class SimulatedServer {
  protected readonly context: SimulationContext;
  protected readonly plan: ServerPlan;
  readonly process: Process;
  protected readonly random: SeededRandom;
  readonly #inFlightRequests = new Set<string>();
  #activeCommits = 0;
  #stepDetector: ClockStepDetector | undefined;
  /** How many breaks the store knows of. */
  #persistedSteps = 0;
  /** When the machine was started, and whether it has to be. */
  #bootedAt = 0;
  #isPoweredOff = true;
  /** In combined mode, the controller in the same process. */
  readonly onStart: (() => void)[] = [];
  readonly onCrash: ((kind: 'killed' | 'power lost') => void)[] = [];

  constructor(context: SimulationContext, plan: ServerPlan) {
    this.context = context;
    this.plan = plan;
    this.random = context.simulation.random(`${plan.name} server draws`);
    this.process = context.process(
      plan.name,
      plan.crashModel,
      () => this.#start(),
      (kind) => {
        this.#inFlightRequests.clear();
        if (kind === 'power lost') this.#isPoweredOff = true;
        context.network.close(`${plan.name}:5693`);
        plan.store.abandon(this.process);
        for (const each of this.onCrash) each(kind);
      },
    );
  }

  begin(): void {
    this.process.start();
  }

  protected get wall(): number {
    return this.context.simulation.trueTime + this.plan.clockError() + this.plan.skew;
  }

  #start(): void {
    this.#activeCommits = 0;
    if (this.#isPoweredOff) this.#bootedAt = this.context.simulation.now;
    this.#isPoweredOff = false;
    this.#stepDetector = this.newStepDetector(this.plan.store.clockHistory);
    this.#persistedSteps = 0;
    if (!this.plan.combined) {
      this.context.network.listen(`${this.plan.name}:5693`, (datagram) =>
        this.process.receive('takes a request', () => this.#serve(datagram)),
      );
    }
    this.#runUpkeep();
    for (const each of this.onStart) each();
  }

  /** The monotonic clock runs on while the machine does. */
  get now(): Clocks {
    return { wallMs: this.wall, monotonicMs: this.context.simulation.now - this.#bootedAt };
  }

  /** As the daemon's watch over its store does. */
  #runUpkeep(): void {
    this.#persistClock();
    this.process.schedule(UPKEEP_INTERVAL_MS, 'keeps the time', () => this.#runUpkeep());
  }

  /** Notices breaks, and keeps the time: the disk has it before anything is judged by it. */
  #persistClock(): void {
    const { store } = this.plan;
    const watch = this.#stepDetector;
    if (watch === undefined) return;
    const { now } = this;
    watch.observe(now);
    const { discontinuities, steppedBackAt } = watch;
    if (discontinuities !== this.#persistedSteps) store.clockHistory = afterDiscontinuity(store.clockHistory, now, steppedBackAt);
    else if (needsExtension(store.clockHistory, now.wallMs)) store.clockHistory = extendTo(store.clockHistory, now);
    this.#persistedSteps = discontinuities;
  }

  protected newStepDetector(times: ClockHistory): ClockStepDetector {
    return new ClockStepDetector(this.now, times);
  }

  /** Whether an M7 of this time may be committed, as far as the clocks go. */
  protected mayCommit(ts: number): boolean {
    return !this.recentlySteppedBack() && !this.isFromBlockedRange(ts);
  }

  /** Whether the clock was set back less than five minutes ago. */
  protected recentlySteppedBack(): boolean {
    return this.#stepDetector?.observe(this.now) === true;
  }

  /** Whether an M7 with this time stamp may be from before a break. */
  protected isFromBlockedRange(ts: number): boolean {
    return findPreviousRange(this.plan.store.clockHistory, ts) !== undefined;
  }

  #serve({ kind, from, to, token, payload }: Datagram): void {
    if (kind !== 'request') return;
    const key = `${from} ${token}`;
    if (this.#inFlightRequests.has(key)) return;
    this.#inFlightRequests.add(key);
    this.answer(payload, (answer) => {
      this.#inFlightRequests.delete(key);
      const { code, maxAge } = answer;
      this.context.network.send({
        from: to,
        to: from,
        kind: 'answer',
        token,
        code,
        payload: answer.payload ?? new Uint8Array(0),
        maxAge,
      });
    });
  }

  /** Answers M2 with M3, M7 with M8, either with M9. */
  answer(octets: Uint8Array, done: (answer: ServerAnswer) => void): void {
    const { roles } = this.context.rules;
    const request = tryDecode(decodeLinkRequest, octets);
    if (request === undefined) return done({ code: REFUSALS.malformed.code });
    const skCs = this.plan.controllers.get(request.idC);
    const opened = skCs && roles.server.openLinkRequest(request, skCs);
    if (skCs === undefined || opened === undefined) return done({ code: REFUSALS.notAuthentic.code });
    this.#accepted(request, opened);
    const seal = (decision: FinalDecision): void => done(this.seal(request, opened, decision, skCs));
    this.decide(request, opened, 1, seal);
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

  /** Linearizable, for an M2 as for an M7. */
  protected read(_for: 'M2' | 'M7', idI: number): ServerNodeRecord | undefined {
    return this.plan.store.node(idI);
  }

  protected decide(request: LinkRequest, opened: OpenedRequest, round: number, seal: (decision: FinalDecision) => void): void {
    if (round > MAX_COMMIT_RETRIES) return seal(rejection('overloaded'));
    const { idI } = opened.body.m1;
    this.#persistClock();
    const node = this.read(opened.type, idI);
    const decision = this.context.rules.roles.server.decide(opened, node, this.wall);
    if (decision.kind !== 'commit') return seal(decision);
    if (!this.mayCommit(decision.commit.ts) || this.#activeCommits >= MAX_CONCURRENT_COMMITS)
      return seal(rejection('overloaded'));
    const mode = { passThrough: node?.passThrough, switchedAt: node?.switchedAt };
    this.commit(request, opened, { ...decision, reissuedAt: node?.reissuedAt, mode }, (result) => {
      if (result === 'conflict') {
        this.context.oracle.counts.conflicts += 1;
        return this.decide(request, opened, round + 1, seal);
      }
      if (result === 'expired') this.context.oracle.counts.expired += 1;
      if (result !== 'committed') return seal(rejection(result === 'expired' ? 'clock' : 'storeFailed'));
      seal(this.context.rules.roles.server.answerCommitted(opened, decision));
    });
  }

  protected commit(
    _request: LinkRequest,
    opened: OpenedRequest,
    judged: JudgedCommit,
    done: (result: CommitResult) => void,
  ): void {
    const { idI } = opened.body.m1;
    const { rules } = this.context;
    this.#activeCommits += 1;
    const inTime = (): boolean => rules.roles.server.isWithinTimeWindow(opened, this.wall);
    const action = commitAction(idI, judged, () => this.process.monotonicMs, inTime);
    this.proofAccepted(opened);
    this.plan.store.transact(this.process, action, (result) => {
      this.#activeCommits -= 1;
      done(result);
    });
    this.watchStore();
  }

  /**
   * Invariants 4 and 5: a key is replaced only by what the node itself has proven in this very
   * transaction.
   */
  protected proofAccepted(opened: OpenedRequest): void {
    if (opened.type !== 'M7' || !this.context.oracle.isHonest(opened.body.m1.idI)) return;
    const { idC, tid, body } = opened;
    const m5 = encodeM5({ tid, c5: body.c5 });
    this.context.oracle.checkAccepted(this.plan.name, 'M5', m5, [idC, tid, body.m1.idI, textOf(body.m1Octets)]);
  }

  /** Ends the process when a commit has not finished in 30 s: it must not take effect later. */
  protected watchStore(): void {
    this.process.schedule(COMMIT_TIMEOUT_MS + POLL_INTERVAL_MS, 'looks after its commits', () => {
      const since = this.plan.store.oldestTransactionOf(this.process);
      if (since !== undefined && this.process.monotonicMs - since >= COMMIT_TIMEOUT_MS) this.process.crash('killed', 5_000);
    });
  }

  /** What a controller is about to be given. */
  #answered({ idC, tid, body }: OpenedRequest, decision: Extract<FinalDecision, { kind: 'answer' }>): void {
    const { oracle } = this.context;
    const { store } = this.plan;
    const { m1, m1Octets, ts, rnC } = body;
    const { idI } = m1;
    if (decision.with === 'M3') oracle.checkServed(idI, idC, store.isPassThrough(idC));
    // M4 and M6 of a pass-through controller are the server's, but for how they begin.
    if (decision.with === 'M10') {
      const m4 = encodeM4({ idC, tid, c4: decision.c4 });
      if (oracle.isHonest(idI)) oracle.recordRelayed('M4', m4, [idC, tid, textOf(m1Octets)]);
      const key = store.node(idI)?.key;
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

  protected nonce(): Uint8Array {
    return this.random.octets(NONCE_LENGTH);
  }

  protected seal(request: LinkRequest, opened: OpenedRequest, decision: FinalDecision, skCs: Secret): ServerAnswer {
    const { rules, oracle } = this.context;
    if (decision.kind === 'answer') this.#answered(opened, decision);
    const payload = rules.roles.server.sealAnswer(request, opened, decision, this.nonce(), skCs);
    const name = decision.kind === 'refuse' ? 'M9' : request.type === 'M2' ? 'M3' : 'M8';
    oracle.recordSent(name, payload, [request.idC, textOf(request.octets)]);
    if (decision.kind !== 'refuse') return { code: '2.04', payload };
    const { refusal, holdoff, switchedAt } = decision;
    if (switchedAt !== undefined) oracle.counts.switched += 1;
    const { code, meaning } = REFUSALS[refusal];
    if (holdoff !== undefined) oracle.counts.heldOff += 1;
    this.context.log(this.plan.name, holdoff === undefined ? `refuses: it ${meaning}` : 'refuses: it may be from before a reset');
    return { code, payload, maxAge: holdoff?.remainingMs ? Math.ceil(holdoff.remainingMs / 1000) : retryAfterSeconds(refusal) };
  }
}

function rejection(name: LinkRefusal): FinalDecision {
  return { kind: 'refuse', refusal: name };
}
