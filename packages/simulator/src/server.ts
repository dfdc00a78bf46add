/**
 * The auth-server's shell: mirrors `AuthServer` of packages/auth-server (`answer`, `#decide`, `#commit`: M8 is sealed after the store has the
 * key), and `Timekeeper` and `watchStore` beside it. It holds no transaction.
 */

import {
  type CoapCode,
  COMMIT_TIMEOUT_MS,
  decodeLinkRequest,
  encodeM5,
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
} from '@latchkey/protocol';
import {
  afterDiscontinuity,
  ClockStepDetector,
  needsExtension,
  findPreviousRange,
  type ClockHistory,
  extendTo,
} from '@latchkey/runtime';
import type { Chance } from './chance.js';
import type { Datagram } from './network.js';
import { textOf } from './oracle.js';
import type { Mortality, Process } from './process.js';
import { commitAction, type CommitResult, type JudgedCommit, type Store } from './store.js';
import type { Surroundings } from './surroundings.js';

/** As in auth-server.ts and store-watch.ts. */
const MAX_JUDGEMENTS = 4;
const MAX_COMMITS = 1_024;
const LOOK_EVERY_MS = 1_000;
/** The daemon does so every second; each time it is a step that may be the last. */
const KEEP_TIME_EVERY_MS = 30_000;

export interface ServerPlan {
  readonly name: string;
  /** SK_cs by ID_c. */
  readonly controllers: ReadonlyMap<number, Secret>;
  readonly store: Store;
  /** In one process with a controller, and with no socket of its own. */
  readonly combined: boolean;
  /** How far this replica's clock is from the others', in ms. */
  readonly skew: number;
  /** The error of the clock that all replicas go by, in ms. */
  readonly clockError: () => number;
  readonly mortality: Mortality;
  /** Whether the attacker has the SK_cs of this controller. */
  readonly isAttackers: (idC: number) => boolean;
}

export type Final = Exclude<ServerDecision, { kind: 'commit' }>;

export interface LinkAnswer {
  readonly code: CoapCode;
  readonly payload?: Uint8Array | undefined;
  readonly maxAge?: number | undefined;
}

export class SimulatedServer {
  protected readonly around: Surroundings;
  protected readonly plan: ServerPlan;
  readonly process: Process;
  protected readonly chance: Chance;
  readonly #inWork = new Set<string>();
  #commits = 0;
  #watch: ClockStepDetector | undefined;
  /** How many breaks the store knows of. */
  #told = 0;
  /** When the machine was started, and whether it has to be. */
  #bootedAt = 0;
  #off = true;
  /** In combined mode, the controller in the same process. */
  readonly onStart: (() => void)[] = [];
  readonly onCrash: ((death: 'killed' | 'power lost') => void)[] = [];

  constructor(around: Surroundings, plan: ServerPlan) {
    this.around = around;
    this.plan = plan;
    this.chance = around.ground.chance(`${plan.name} server draws`);
    this.process = around.process(
      plan.name,
      plan.mortality,
      () => this.#start(),
      (death) => {
        this.#inWork.clear();
        if (death === 'power lost') this.#off = true;
        around.network.close(`${plan.name}:5693`);
        plan.store.forget(this.process);
        for (const each of this.onCrash) each(death);
      },
    );
  }

  begin(): void {
    this.process.start();
  }

  protected get wall(): number {
    return this.around.ground.trueTime + this.plan.clockError() + this.plan.skew;
  }

  #start(): void {
    this.#commits = 0;
    if (this.#off) this.#bootedAt = this.around.ground.now;
    this.#off = false;
    this.#watch = this.newWatch(this.plan.store.times);
    this.#told = 0;
    if (!this.plan.combined) {
      this.around.network.listen(`${this.plan.name}:5693`, (datagram) =>
        this.process.receive('takes a request', () => this.#serve(datagram)),
      );
    }
    this.#keepTime();
    for (const each of this.onStart) each();
  }

  /** The monotonic clock runs on while the machine does. */
  get now(): Clocks {
    return { wallMs: this.wall, monotonicMs: this.around.ground.now - this.#bootedAt };
  }

  /** As the daemon's watch over its store does. */
  #keepTime(): void {
    this.#look();
    this.process.after(KEEP_TIME_EVERY_MS, 'keeps the time', () => this.#keepTime());
  }

  /** Notices breaks, and keeps the time: the disk has it before anything is judged by it. */
  #look(): void {
    const { store } = this.plan;
    const watch = this.#watch;
    if (watch === undefined) return;
    const { now } = this;
    watch.observe(now);
    const { discontinuities, steppedBackAt } = watch;
    if (discontinuities !== this.#told) store.times = afterDiscontinuity(store.times, now, steppedBackAt);
    else if (needsExtension(store.times, now.wallMs)) store.times = extendTo(store.times, now);
    this.#told = discontinuities;
  }

  protected newWatch(times: ClockHistory): ClockStepDetector {
    return new ClockStepDetector(this.now, times);
  }

  /** Whether an M7 of this time may be committed, as far as the clocks go. */
  protected mayCommit(ts: number): boolean {
    return !this.setBackLately() && !this.isPast(ts);
  }

  /** Whether the clock was set back less than five minutes ago. */
  protected setBackLately(): boolean {
    return this.#watch?.observe(this.now) === true;
  }

  /** Whether an M7 with this time stamp may be from before a break. */
  protected isPast(ts: number): boolean {
    return findPreviousRange(this.plan.store.times, ts) !== undefined;
  }

  #serve({ kind, from, to, token, payload }: Datagram): void {
    if (kind !== 'request') return;
    const key = `${from} ${token}`;
    if (this.#inWork.has(key)) return;
    this.#inWork.add(key);
    this.answer(payload, (answer) => {
      this.#inWork.delete(key);
      const { code, maxAge } = answer;
      this.around.network.send({
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
  answer(octets: Uint8Array, done: (answer: LinkAnswer) => void): void {
    const { roles } = this.around.rules;
    const request = tryDecode(decodeLinkRequest, octets);
    if (request === undefined) return done({ code: REFUSALS.malformed.code });
    const skCs = this.plan.controllers.get(request.idC);
    const opened = skCs && roles.server.openLinkRequest(request, skCs);
    if (skCs === undefined || opened === undefined) return done({ code: REFUSALS.notAuthentic.code });
    this.#accepted(request, opened);
    const seal = (decision: Final): void => done(this.seal(request, opened, decision, skCs));
    this.decide(request, opened, 1, seal);
  }

  #accepted({ type, idC, tid, octets }: LinkRequest, { body, type: openedAs }: OpenedRequest): void {
    const { oracle } = this.around;
    if (this.plan.isAttackers(idC)) return;
    const m1 = textOf(body.m1Octets);
    oracle.accepts(
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

  protected decide(request: LinkRequest, opened: OpenedRequest, round: number, seal: (decision: Final) => void): void {
    if (round > MAX_JUDGEMENTS) return seal(refusal('overloaded'));
    const { idI } = opened.body.m1;
    this.#look();
    const node = this.read(opened.type, idI);
    const judgement = this.around.rules.roles.server.decide(opened, node, this.wall);
    if (judgement.kind !== 'commit') return seal(judgement);
    if (!this.mayCommit(judgement.commit.ts) || this.#commits >= MAX_COMMITS) return seal(refusal('overloaded'));
    this.commit(request, opened, { ...judgement, reissuedAt: node?.reissuedAt }, (result) => {
      if (result === 'lost') {
        this.around.oracle.counts.lostComparisons += 1;
        return this.decide(request, opened, round + 1, seal);
      }
      if (result === 'late') this.around.oracle.counts.late += 1;
      if (result !== 'committed') return seal(refusal(result === 'late' ? 'clock' : 'storeFailed'));
      seal({ kind: 'answer', with: 'M8', lifetime: judgement.commit.lifetime });
    });
  }

  protected commit(
    _request: LinkRequest,
    opened: OpenedRequest,
    judged: JudgedCommit,
    done: (result: CommitResult) => void,
  ): void {
    const { idI } = opened.body.m1;
    const { rules } = this.around;
    this.#commits += 1;
    const inTime = (): boolean => rules.roles.server.isWithinTimeWindow(opened, this.wall);
    const action = commitAction(idI, judged, () => this.process.steady, inTime);
    this.proofAccepted(opened);
    this.plan.store.transact(this.process, action, (result) => {
      this.#commits -= 1;
      done(result);
    });
    this.watchStore();
  }

  /** Invariants 4 and 5: a key is replaced only by what the node itself has proven in this very transaction. */
  protected proofAccepted(opened: OpenedRequest): void {
    if (opened.type !== 'M7' || !this.around.oracle.isHonest(opened.body.m1.idI)) return;
    const { idC, tid, body } = opened;
    const m5 = encodeM5({ tid, c5: body.c5 });
    this.around.oracle.accepts(this.plan.name, 'M5', m5, [idC, tid, body.m1.idI, textOf(body.m1Octets)]);
  }

  /** Ends the process when a commit has not finished in 30 s: it must not take effect later. */
  protected watchStore(): void {
    this.process.after(COMMIT_TIMEOUT_MS + LOOK_EVERY_MS, 'looks after its commits', () => {
      const since = this.plan.store.oldestOf(this.process);
      if (since !== undefined && this.process.steady - since >= COMMIT_TIMEOUT_MS) this.process.die('killed', 5_000);
    });
  }

  protected nonce(): Uint8Array {
    return this.chance.octets(NONCE_LENGTH);
  }

  protected seal(request: LinkRequest, opened: OpenedRequest, decision: Final, skCs: Secret): LinkAnswer {
    const { rules, oracle } = this.around;
    if (decision.kind === 'answer' && decision.with === 'M3') oracle.serves(opened.body.m1.idI, request.idC);
    const payload = rules.roles.server.sealAnswer(request, opened, decision, this.nonce(), skCs);
    const name = decision.kind === 'refuse' ? 'M9' : decision.with;
    oracle.emits(name, payload, [request.idC, textOf(request.octets)]);
    if (decision.kind !== 'refuse') return { code: '2.04', payload };
    const { refusal, holdoff } = decision;
    const { code, meaning } = REFUSALS[refusal];
    if (holdoff !== undefined) oracle.counts.heldOff += 1;
    this.around.says(this.plan.name, holdoff === undefined ? `refuses: it ${meaning}` : 'refuses: it may be from before a reset');
    return { code, payload, maxAge: holdoff?.remainingMs ? Math.ceil(holdoff.remainingMs / 1000) : retryAfterSeconds(refusal) };
  }
}

function refusal(name: LinkRefusal): Final {
  return { kind: 'refuse', refusal: name };
}
