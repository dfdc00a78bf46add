/**
 * The controller (SBR) at work: receives a node's request, asks an auth-server if needed, and
 * answers. `Respondent` makes the decisions; this file executes them.
 *
 * Persist first, then answer: a block of TIDs is stored before one of them is used. The application
 * root is written to this controller's store while M6 is sent, not before. The node's key does not
 * depend on it, and the key feed restores what a crash loses (docs/decisions/0020).
 */

import {
  formatId,
  formatTid,
  type JoinResult,
  type LinkDecision,
  MAX_RETRY_AFTER_SECONDS,
  retryAfterSeconds,
  type M5Decision,
  type PendingProof,
  type Relay,
  type Refusal,
  REFUSALS,
  type Respondent,
  type Secret,
  type Transaction,
  TYPE,
} from '@latchkey/protocol';
import { RateLimitedLog, type Clock, BoxedMap, type Log, PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { formatEndpoint, formatNid } from '@latchkey/runtime/net';
import type { PostResponse, PostRequest } from '@latchkey/coap';
import { ControllerMetrics } from './metrics.js';
import type { AuthServerClient } from './auth-server-client.js';
import type { ApplicationRootStore } from '@latchkey/key-delivery/store';
import type { KeyFeed } from './key-feed.js';

/** The peer that gets an answer. */
interface Requester {
  readonly from: string;
  readonly confirmLegitimate: PostRequest['confirmLegitimate'];
}

interface WaitingRequester extends Requester {
  readonly answer: Promise<PostResponse>;
  readonly resolve: (answer: PostResponse | Promise<PostResponse>) => void;
}

/** How often transactions whose life is over are cleared away, in ms. */
const EXPIRY_INTERVAL_MS = 5_000;

/** Reason 8 of an auth-server says that the controller must retry, not why. */
const OVERLOADED_HINT =
  'the auth-server commits nothing now: it is at its bounds, its clock was set back, the node was just given an initial key again, or this controller was just switched to or from pass-through; its log says which';

/** The protocol's decisions, as the controller asks for them. */
export type ControllerRespondent = Pick<
  Respondent,
  'receiveM1' | 'receiveM5' | 'receiveLinkAnswer' | 'expire' | 'takeRelays' | 'endRelay' | 'takeSettled' | 'rekey'
>;

export interface ControllerOptions {
  readonly respondent: ControllerRespondent;
  readonly authServer: AuthServerClient;
  readonly applicationRoots: Pick<ApplicationRootStore, 'put' | 'flushed'>;
  /** Judges whether the key of a join counts. */
  readonly keyFeed: Pick<KeyFeed, 'joined'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Left out: that of this process. */
  readonly time?: ProcessTime;
}

export class Controller {
  readonly metrics: ControllerMetrics = new ControllerMetrics();
  readonly #respondent: ControllerRespondent;
  readonly #authServer: AuthServerClient;
  readonly #applicationRoots: ControllerOptions['applicationRoots'];
  readonly #keyFeed: Pick<KeyFeed, 'joined'>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rateLimitedLog: RateLimitedLog;
  /**
   * The request in flight to an auth-server for each request of a node, so that copies wait for it.
   */
  readonly #inFlight = new BoxedMap<Uint8Array, Promise<PostResponse>>();
  /**
   * Requesters that wait for the auth-server's decision on an M5, shared by copies of the M5. The
   * respondent bounds their number.
   */
  readonly #waiting = new Map<PendingProof, WaitingRequester>();
  readonly #stopped = new AbortController();

  constructor({ respondent, authServer, applicationRoots, keyFeed, clock, log, time = PROCESS_TIME }: ControllerOptions) {
    this.#respondent = respondent;
    this.#authServer = authServer;
    this.#applicationRoots = applicationRoots;
    this.#keyFeed = keyFeed;
    this.#clock = clock;
    this.#log = log;
    this.#rateLimitedLog = new RateLimitedLog(log, time);
    void this.#expireTransactions(time.pause);
  }

  /** Answers M1 with M4 and M5 with M6. */
  answer({ payload, source, confirmLegitimate }: PostRequest): PostResponse | Promise<PostResponse> {
    const from = formatEndpoint({ host: source.address, port: source.port });
    if (this.#debugEnabled)
      this.#log.debug(
        { message: messageName(payload), octets: payload.length, from, addressValidated: source.addressValidated },
        'received',
      );
    const decision = this.#decide(payload, source);
    if (decision.kind === 'relay') return this.#awaitProof(decision.proof, { from, confirmLegitimate });
    this.#relayProofs();
    switch (decision.kind) {
      case 'answer':
        return this.#send(decision.octets, from);
      case 'forward':
        return this.#forwardOnce(decision.transaction, { from, confirmLegitimate });
      case 'challenge':
        return 'challenge';
      case 'refuse':
        return this.#refuse(decision.refusal, { message: messageName(payload), from });
    }
  }

  /** Whether anybody wants to know of each message. */
  get #debugEnabled(): boolean {
    return this.#log.isLevelEnabled('debug');
  }

  /** Replaces SK_cs by that of a credential that was re-read. */
  rekey(skCs: Secret): void {
    this.#respondent.rekey(skCs);
  }

  async #expireTransactions(pause: ProcessTime['pause']): Promise<void> {
    const { signal } = this.#stopped;
    for (;;) {
      await pause(EXPIRY_INTERVAL_MS, signal);
      if (signal.aborted) return;
      this.#respondent.expire(this.#clock().monotonicMs);
      this.#relayProofs();
    }
  }

  #decide(payload: Uint8Array, source: PostRequest['source']): M5Decision {
    const now = this.#clock();
    return payload[0] === TYPE.M5
      ? this.#respondent.receiveM5(payload, source, now)
      : this.#respondent.receiveM1(payload, source, now);
  }

  /** An M5 that only the auth-server can check waits for its turn. */
  #awaitProof(proof: PendingProof, requester: Requester): Promise<PostResponse> {
    const waiting = this.#waiting.get(proof);
    if (waiting !== undefined) return waiting.answer;
    let resolve: WaitingRequester['resolve'] = () => undefined;
    const answer = new Promise<PostResponse>((settle) => (resolve = settle));
    this.#waiting.set(proof, { ...requester, answer, resolve });
    this.#relayProofs();
    return answer;
  }

  /** Sends the M7 whose turn it is, and answers the M5 that get no turn any more. */
  #relayProofs(): void {
    for (const { proof, decision } of this.#respondent.takeSettled()) {
      const waiting = this.#waiting.get(proof);
      this.#waiting.delete(proof);
      waiting?.resolve(this.#respond(decision, proof.transaction, 'M5', waiting));
    }
    for (const { proof, transaction, request } of this.#respondent.takeRelays()) {
      const waiting = this.#waiting.get(proof);
      waiting?.resolve(this.#relay({ proof, transaction, request }, waiting));
    }
  }

  async #relay({ proof, transaction, request }: Relay, requester: Requester): Promise<PostResponse> {
    try {
      return await this.#forward(transaction, request, requester);
    } finally {
      this.#waiting.delete(proof);
      this.#respondent.endRelay(proof);
      this.#relayProofs();
    }
  }

  #forwardOnce(transaction: Transaction, requester: Requester): Promise<PostResponse> {
    const { request } = transaction;
    if (request === undefined) return Promise.resolve(this.#refuse('noTransaction', { from: requester.from }));
    const inFlight = this.#inFlight.get(request);
    if (inFlight !== undefined) return inFlight;
    const forwarding = this.#forward(transaction, request, requester);
    this.#inFlight.set(request, forwarding);
    return forwarding;
  }

  async #forward(transaction: Transaction, request: Uint8Array, requester: Requester): Promise<PostResponse> {
    const since = performance.now();
    if (this.#debugEnabled)
      this.#log.debug({ ...logFields(transaction), message: messageName(request), octets: request.length }, 'sent');
    let decision: LinkDecision | undefined;
    let maxAge: number | undefined;
    try {
      decision = await this.#authServer.request(request, (octets, answerMaxAge) => {
        maxAge = answerMaxAge;
        return this.#acceptAnswer(transaction, octets);
      });
    } finally {
      this.#inFlight.delete(request);
    }
    this.metrics.exchanges[request[0] === TYPE.M7 ? 'M5' : 'M1'].observeSince(since);
    return this.#respond(decision, transaction, messageName(request), requester, maxAge);
  }

  /** Builds the answer to the node. `message`: subject of the decision, for the log. */
  #respond(
    decision: LinkDecision | undefined,
    transaction: Transaction,
    message: string,
    { from, confirmLegitimate }: Requester,
    maxAge?: number,
  ): PostResponse {
    switch (decision?.kind) {
      case 'answer':
        if (decision.joined !== undefined) {
          confirmLegitimate(transaction.addressValidated ? 0 : 1);
          this.#storeApplicationRoot(decision.joined);
        }
        return this.#send(decision.octets, from);
      case 'refuse':
        return this.#refuse(
          decision.refusal,
          { ...logFields(transaction), message, from },
          decision.refusal === 'overloaded' ? OVERLOADED_HINT : undefined,
          maxAge,
        );
      case 'unknown-transaction':
        return this.#refuse('overloaded', { ...logFields(transaction), message, from });
      case 'ignored':
      case undefined:
        return this.#refuse('serverUnavailable', { ...logFields(transaction), message, from });
    }
  }

  #acceptAnswer(transaction: Transaction, octets: Uint8Array): LinkDecision {
    const decision = this.#respondent.receiveLinkAnswer(transaction, octets);
    if (this.#debugEnabled && decision.kind !== 'ignored')
      this.#log.debug({ ...logFields(transaction), message: messageName(octets), octets: octets.length }, 'received');
    return decision;
  }

  /** The node has its new key; this controller keeps what applications get from it. */
  #storeApplicationRoot(joined: JoinResult): void {
    const { idI, tid, nidI, applicationRoot, keyId, lifetime } = joined;
    this.metrics.joins.increment('joined');
    // Not `logFields`, spread: this line is written for each join.
    const fields = {
      node: formatId(idI),
      tid: formatTid(tid),
      at: formatNid(nidI),
      keyId,
      lifetimeSeconds: lifetime,
    };
    this.#log.info(fields, 'node joined');
    if (!this.#keyFeed.joined(joined)) return applicationRoot.wipe();
    this.#applicationRoots.put(joined).then(
      () => applicationRoot.wipe(),
      (error: unknown) => {
        applicationRoot.wipe();
        if (!(error instanceof Failure)) throw error;
        this.#log.error(
          { ...logFields(joined), at: formatNid(nidI), advice: error.advice },
          `${error.message}; the node joined all the same`,
        );
      },
    );
  }

  #send(octets: Uint8Array, to: string): PostResponse {
    if (this.#debugEnabled) this.#log.debug({ message: messageName(octets), octets: octets.length, to }, 'sent');
    return { code: '2.04', payload: octets };
  }

  /**
   * `maxAge`: the value of the auth-server's answer. It is not authenticated, so it is a hint
   * within the profile's bound.
   */
  #refuse(refusal: Refusal, fields: object, why = `it ${REFUSALS[refusal].meaning}`, maxAge?: number): PostResponse {
    const { code } = REFUSALS[refusal];
    this.metrics.joins.increment(refusal);
    this.#rateLimitedLog.warn(refusal, { ...fields, code }, `refused: ${why}`);
    const defaultMaxAge = retryAfterSeconds(refusal);
    return { code, maxAge: defaultMaxAge && Math.min(maxAge ?? defaultMaxAge, MAX_RETRY_AFTER_SECONDS) };
  }

  /** Waits for pending writes. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#applicationRoots.flushed();
    await this.#authServer.close();
  }
}

/** For the log. */
function logFields({ idI, tid }: { readonly idI: number; readonly tid: bigint }): {
  readonly node: string;
  readonly tid: string;
} {
  return { node: formatId(idI), tid: formatTid(tid) };
}

/** `M1` to `M11`, for the log. */
function messageName(octets: Uint8Array): string {
  const type = octets[0] ?? 0;
  return type >= TYPE.M1 && type <= TYPE.M11 ? `M${type & 0x0f}` : 'unknown';
}
