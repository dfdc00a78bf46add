/**
 * The controller's shell: mirrors `Controller` of packages/controller (one question under way for
 * each request, copies wait for it) and what `CoapServer` of packages/coap does around it (Echo,
 * copies of a request in work dropped). TIDs are stored ahead of their use. In some worlds it keeps
 * application roots, true by the key feed, which is the real one.
 */

import {
  type CoapCode,
  decodeM1,
  decodeM5,
  type LinkDecision,
  type M5Decision,
  MAX_RETRY_AFTER_SECONDS,
  type PendingProof,
  type Relay,
  retryAfterSeconds,
  type Clocks,
  type Refusal,
  REFUSALS,
  type RespondentBounds,
  type Secret,
  type Source,
  type Transaction,
  TYPE,
} from '@latchkey/protocol';
import { newLog } from '@latchkey/runtime/daemon';
import { type SeededRandom, hashText } from '@latchkey/test-support/seeded-random';
import { Violation } from './simulation.js';
import {
  type AcceptAnswer,
  type AuthServerClient,
  InProcessAuthServerClient,
  CoapAuthServerClient,
} from './auth-server-client.js';
import { type Address, type Datagram, hostOf } from './network.js';
import { textOf } from './oracle.js';
import { SimulatedFile } from './simulated-file.js';
import type { CrashModel, Process } from './process.js';
import type { RespondentRole } from './roles.js';
import { SimulatedKeyFeed } from './simulated-key-feed.js';
import type { SimulatedKeyStore } from './simulated-key-store.js';
import { TidAllocator } from './tid-allocator.js';
import type { SimulatedServer } from './server.js';
import type { SimulationContext } from './simulation-context.js';

const EXPIRY_INTERVAL_MS = 5_000;
const ECHO_LIFETIME_MS = 60_000;
/** A supervisor starts a process again that could not start, after this many ms. */
const RESTART_DELAY_MS = 5_000;

export interface ControllerPlan {
  readonly idC: number;
  readonly skCs: Secret;
  /** Not the attacker's own, which the attacker can answer in the server's name. */
  readonly honest: boolean;
  readonly bounds: RespondentBounds;
  /** The servers it relays to, by name; none: it has the registry itself. */
  readonly servers: readonly string[];
  readonly crashModel: CrashModel;
  readonly diskErrorProbability: number;
  /** Several hosts behind one address, as behind a NAT, share a network. */
  readonly networkOf: (host: string) => string;
  /** Where application roots are kept, by the key feed. Left out: nowhere. */
  readonly KeyStore?: typeof SimulatedKeyStore | undefined;
}

/**
 * How a request is answered. `challenge`: 4.01 with an Echo option for the source to bring back.
 */
export type PostResponse =
  | { readonly code: CoapCode; readonly payload?: Uint8Array; readonly maxAge?: number | undefined }
  | 'challenge';

/** An M5 that waits for the server's word, and who waits with it. */
interface WaitingProof {
  readonly m5: Uint8Array;
  readonly done: ((answer: PostResponse) => void)[];
}

export class SimulatedController {
  protected readonly context: SimulationContext;
  protected readonly plan: ControllerPlan;
  protected readonly process: Process;
  protected readonly random: SeededRandom;
  protected readonly file: SimulatedFile;
  protected respondent: RespondentRole | undefined;
  #authServer: AuthServerClient | undefined;
  /** Those who wait for the answer to a request that is under way. */
  readonly #inFlight = new Map<Uint8Array, ((answer: PostResponse) => void)[]>();
  readonly #inFlightRequests = new Set<string>();
  /** Of pass-through transactions. */
  readonly #waitingProofs = new Map<PendingProof, WaitingProof>();
  /** In combined mode. */
  readonly #server: SimulatedServer | undefined;
  readonly #keyStore: SimulatedKeyStore | undefined;
  #keyFeed: SimulatedKeyFeed | undefined;
  #echoKey = '';
  #lastTid = 0n;
  /** The wall clock's error, in ms. */
  clockError = 0;
  /** Told before each start, when a clock may be wrong. */
  beforeStart: () => void = () => undefined;

  constructor(context: SimulationContext, plan: ControllerPlan, server?: SimulatedServer) {
    this.context = context;
    this.plan = plan;
    this.#server = server;
    this.random = context.simulation.random(`c${plan.idC} draws`);
    this.process =
      server?.process ??
      context.process(
        `c${plan.idC}`,
        plan.crashModel,
        () => this.start(),
        (kind) => this.crash(kind),
      );
    this.file = new SimulatedFile(this.process, plan.diskErrorProbability);
    const { KeyStore, diskErrorProbability } = plan;
    this.#keyStore = KeyStore && new KeyStore(this.process, diskErrorProbability, () => this.now.wallMs);
    if (this.#keyStore !== undefined) this.#keyStore.onRefused = (): void => this.onFeedDisturbed();
  }

  get idC(): number {
    return this.plan.idC;
  }

  /** What applications get of it; `undefined` while it does not run, or keeps nothing. */
  get givenOut(): SimulatedKeyStore | undefined {
    return this.#keyFeed && this.#keyStore;
  }

  /** Told when it cannot follow the key feed: it has just started, or its disk fails. */
  onFeedDisturbed: () => void = () => undefined;

  get run(): number {
    return this.process.run;
  }

  begin(): void {
    this.process.start();
  }

  get now(): Clocks {
    return { wallMs: this.context.simulation.trueTime + this.clockError, monotonicMs: this.process.monotonicMs };
  }

  crash(kind: 'killed' | 'power lost'): void {
    this.file.crash(kind);
    this.#keyStore?.crash();
    this.#keyFeed = undefined;
    this.respondent = undefined;
    this.#inFlight.clear();
    this.#inFlightRequests.clear();
    this.#waitingProofs.clear();
    this.context.network.close(`c${this.idC}:5683`);
    if (this.#authServer instanceof CoapAuthServerClient) this.#authServer.close();
  }

  start(): void {
    this.beforeStart();
    const { network, rules } = this.context;
    const { idC, skCs, bounds, servers } = this.plan;
    const tids = this.newTidAllocator(this.file, this.now.wallMs);
    this.#echoKey = `${this.random.u32()}`;
    tids.open((opened) => {
      if (!opened) return this.process.crash('killed', RESTART_DELAY_MS);
      this.#authServer =
        this.#server === undefined
          ? new CoapAuthServerClient(this.process, network, this.random, servers)
          : new InProcessAuthServerClient(this.#server);
      const takeTid = (): bigint | undefined => {
        const tid = tids.next();
        if (tid !== undefined && tid > this.#lastTid) this.#lastTid = tid;
        return tid;
      };
      this.respondent = rules.roles.respondent({
        idC,
        skCs,
        bounds,
        randomBytes: (n) => this.random.octets(n),
        nextTid: takeTid,
      });
      this.#followKeyFeed(takeTid);
      network.listen(`c${idC}:5683`, (datagram) => this.process.receive('takes a request', () => this.#serve(datagram)));
      this.#expire();
    });
  }

  #followKeyFeed(takeTid: () => bigint | undefined): void {
    const [authServer, store] = [this.#authServer, this.#keyStore];
    if (authServer === undefined || store === undefined) return;
    this.onFeedDisturbed();
    const nextTid = (): bigint | undefined => {
      const tid = takeTid();
      if (tid === undefined) this.onFeedDisturbed();
      return tid;
    };
    const { process, context, plan, idC } = this;
    this.#keyFeed = new SimulatedKeyFeed({
      idC,
      skCs: plan.skCs.copy(),
      nextTid,
      randomBytes: (n) => this.random.octets(n),
      process,
      authServer,
      store,
      clock: () => this.now,
      log: newLog(`c${idC}`, 'info', { write: (line) => context.logLine(`c${idC}`, line) }, false),
      newClient: context.rules.roles.keyFeedClient,
    });
    this.#keyFeed.start();
  }

  protected newTidAllocator(file: SimulatedFile, wall: number): TidAllocator {
    return new TidAllocator(file, wall);
  }

  /**
   * The state folder is lost, and with it the process. What makes up for it is a clock that is
   * ahead of every TID taken.
   */
  loseFolder(downMs: number): boolean {
    if (!this.process.up || BigInt(this.now.wallMs) * 1000n <= this.#lastTid) return false;
    this.process.crash('killed', downMs);
    this.file.remove();
    this.#keyStore?.remove();
    return true;
  }

  #expire(): void {
    this.process.schedule(EXPIRY_INTERVAL_MS, 'drops old transactions', () => {
      this.respondent?.expire(this.now.monotonicMs);
      this.#relayProofs();
      this.#expire();
    });
  }

  #serve(datagram: Datagram): void {
    if (datagram.kind !== 'request') return;
    const { from, to, token, payload, echo } = datagram;
    // A copy of what is being worked on: the first one's answer is its answer.
    const key = `${from} ${token}`;
    if (this.#inFlightRequests.has(key)) return;
    this.#inFlightRequests.add(key);
    this.#answer(payload, this.sourceOf(from, echo), this.#verifyEcho(echo, from), (answer) => {
      this.#inFlightRequests.delete(key);
      const response =
        answer === 'challenge'
          ? { code: '4.01' as const, payload: new Uint8Array(0), echo: this.#issueEcho(from) }
          : { code: answer.code, payload: answer.payload ?? new Uint8Array(0), maxAge: answer.maxAge };
      this.context.network.send({ from: to, to: from, kind: 'answer', token, ...response });
    });
  }

  protected sourceOf(from: Address, echo: string | undefined): Source {
    const host = hostOf(from);
    const nid = new Uint8Array(18);
    new DataView(nid.buffer).setUint32(0, hashText(from));
    return { address: host, prefix: this.plan.networkOf(host), nid, addressValidated: this.#verifyEcho(echo, from) };
  }

  /**
   * Echo (echo.ts): a time and a tag over time and address, of which an attacker can make neither.
   */
  #issueEcho(from: Address): string {
    return `${this.#echoKey} ${this.process.monotonicMs} ${from}`;
  }

  #verifyEcho(echo: string | undefined, from: Address): boolean {
    const [key, at, source] = echo?.split(' ') ?? [];
    const age = this.process.monotonicMs - Number(at);
    return key === this.#echoKey && source === from && age >= 0 && age < ECHO_LIFETIME_MS;
  }

  /** Answers M1 with M4 and M5 with M6. */
  #answer(payload: Uint8Array, source: Source, proven: boolean, done: (answer: PostResponse) => void): void {
    const { respondent } = this;
    if (respondent === undefined) return;
    const openBefore = respondent.pendingCount;
    const isM5 = payload[0] === TYPE.M5;
    const decision: M5Decision = isM5
      ? respondent.receiveM5(payload, source, this.now)
      : respondent.receiveM1(payload, source, this.now);
    this.#checkBounds(respondent, openBefore, proven);
    if (decision.kind === 'relay') return this.#awaitProof(decision.proof, payload, done);
    this.#relayProofs();
    switch (decision.kind) {
      case 'answer':
        return this.#send(payload, decision.octets, done);
      case 'forward':
        if (isM5) this.#m5Accepted(payload, decision.transaction);
        return this.forwardOnce(payload, decision.transaction, done);
      case 'challenge':
        return done('challenge');
      case 'refuse':
        return done(this.#refuse(decision.refusal));
    }
  }

  /** Invariant 7. */
  #checkBounds({ pendingCount }: RespondentRole, before: number, proven: boolean): void {
    const { total } = this.plan.bounds;
    if (pendingCount > total) throw new Violation(7, `c${this.idC} has ${pendingCount} open transactions of ${total}`);
    if (!proven && pendingCount > before && before * 2 >= total)
      throw new Violation(7, `c${this.idC} opens a transaction for an unproven source with ${before} of ${total} open`);
  }

  #m5Accepted(octets: Uint8Array, { idI, tid, m1 }: Transaction): void {
    if (this.context.oracle.isHonest(idI))
      this.context.oracle.checkAccepted(`c${this.idC}`, 'M5', octets, [this.idC, tid, idI, textOf(m1)]);
  }

  /** An M5 that only the auth-server can check waits for its turn. */
  #awaitProof(proof: PendingProof, m5: Uint8Array, done: (answer: PostResponse) => void): void {
    const waiting = this.#waitingProofs.get(proof);
    if (waiting !== undefined) {
      waiting.done.push(done);
      return;
    }
    this.#waitingProofs.set(proof, { m5, done: [done] });
    this.#relayProofs();
  }

  /** Sends the M7 whose turn it is, and answers the M5 that get no turn any more. */
  #relayProofs(): void {
    for (const { proof, decision } of this.respondent?.takeSettled() ?? []) this.#proofDecided(proof, decision, undefined);
    for (const relay of this.respondent?.takeRelays() ?? []) this.#relay(relay);
  }

  #relay({ proof, transaction, request }: Relay): void {
    const m5 = this.#waitingProofs.get(proof)?.m5;
    if (m5 === undefined) throw new Error('an M5 is relayed that nobody waits for');
    this.#emitRequest(m5, transaction, request);
    let maxAge: number | undefined;
    const accept: AcceptAnswer = (octets, ofAnswer) => {
      maxAge = ofAnswer;
      return this.#acceptAnswer(transaction, request, octets);
    };
    this.#authServer?.request(request, accept, (decision) => {
      this.#proofDecided(proof, decision, maxAge);
      this.respondent?.endRelay(proof);
      this.#relayProofs();
    });
  }

  #proofDecided(proof: PendingProof, decision: LinkDecision | undefined, maxAge: number | undefined): void {
    const waiting = this.#waitingProofs.get(proof);
    this.#waitingProofs.delete(proof);
    this.#keepApplicationRoot(decision);
    for (const done of waiting?.done ?? []) this.#decided(waiting?.m5 ?? new Uint8Array(0), decision, maxAge, done);
  }

  /** A question that is under way already is not asked again: its answer is for all who wait. */
  protected forwardOnce(message: Uint8Array, transaction: Transaction, done: (answer: PostResponse) => void): void {
    const { request } = transaction;
    if (request === undefined) return done(this.#refuse('noTransaction'));
    const waiting = this.#inFlight.get(request);
    if (waiting !== undefined) {
      waiting.push(done);
      return;
    }
    const all = [done];
    this.#inFlight.set(request, all);
    this.#emitRequest(message, transaction, request);
    let maxAge: number | undefined;
    const accept: AcceptAnswer = (octets, ofAnswer) => {
      maxAge = ofAnswer;
      return this.#acceptAnswer(transaction, request, octets);
    };
    this.#authServer?.request(request, accept, (decision) => {
      this.#inFlight.delete(request);
      this.#keepApplicationRoot(decision);
      for (const each of all) this.#decided(message, decision, maxAge, each);
    });
  }

  #keepApplicationRoot(decision: LinkDecision | undefined): void {
    if (decision?.kind === 'answer' && decision.joined !== undefined) this.#keyFeed?.joined(decision.joined);
  }

  #emitRequest(message: Uint8Array, { tid, m1 }: Transaction, request: Uint8Array): void {
    const { oracle } = this.context;
    if (request[0] === TYPE.M2) return oracle.recordSent('M2', request, [this.idC, tid, textOf(m1)]);
    oracle.recordSent('M7', request, [this.idC, tid, textOf(m1), textOf(decodeM5(message).c5)]);
  }

  #acceptAnswer(transaction: Transaction, request: Uint8Array, octets: Uint8Array): LinkDecision {
    const awaited = transaction.request === request;
    const decision = this.respondent?.receiveLinkAnswer(transaction, octets) ?? { kind: 'unknown-transaction' };
    const { kind } = decision;
    if (this.plan.honest && awaited && (kind === 'answer' || kind === 'refuse')) {
      const name = kind === 'refuse' ? 'M9' : request[0] === TYPE.M2 ? 'M3' : 'M8';
      this.context.oracle.checkAccepted(`c${this.idC}`, name, octets, [this.idC, textOf(request)]);
    }
    return decision;
  }

  #decided(
    message: Uint8Array,
    decision: LinkDecision | undefined,
    maxAge: number | undefined,
    done: (answer: PostResponse) => void,
  ): void {
    switch (decision?.kind) {
      case 'answer':
        return this.#send(message, decision.octets, done);
      case 'refuse':
        return done(this.#refuse(decision.refusal, maxAge));
      case 'unknown-transaction':
        return done(this.#refuse('overloaded'));
      case 'ignored':
      case undefined:
        return done(this.#refuse('serverUnavailable'));
    }
  }

  /** M4 for an M1, M6 for an M5. */
  #send(message: Uint8Array, octets: Uint8Array, done: (answer: PostResponse) => void): void {
    const { oracle } = this.context;
    if (octets[0] === TYPE.M4) {
      const tid = new DataView(octets.buffer, octets.byteOffset).getBigUint64(5);
      // An M5 of a transaction that was answered is answered with M6 alone.
      if (message[0] === TYPE.M1 && oracle.isHonest(decodeM1(message).idI))
        oracle.recordSent('M4', octets, [this.idC, tid, textOf(message)]);
    } else if (octets[0] === TYPE.M6 && message[0] === TYPE.M5) {
      oracle.recordSent('M6', octets, [this.idC, decodeM5(message).tid, textOf(message)]);
    }
    done({ code: '2.04', payload: octets });
  }

  #refuse(refusal: Refusal, maxAge?: number): PostResponse {
    const { code, meaning } = REFUSALS[refusal];
    this.context.log(`c${this.idC}`, `refuses: it ${meaning}`);
    const usual = retryAfterSeconds(refusal);
    return { code, maxAge: usual && Math.min(maxAge ?? usual, MAX_RETRY_AFTER_SECONDS) };
  }
}
