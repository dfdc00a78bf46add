/**
 * SBR at work: a node's request in, its answer out, with a question to an auth-server in between where one is needed. What is
 * decided is decided by `Respondent`; here it is carried out.
 *
 * Persist first, then answer: a TID is stored ahead before it is used. The PSK goes to this controller's own store beside M6,
 * not before it: the node's key does not depend on it (docs/decisions/0004).
 */

import {
  formatId,
  formatTid,
  type JoinResult,
  type LinkDecision,
  MAX_RETRY_AFTER_SECONDS,
  retryAfterSeconds,
  type M1Decision,
  type Refusal,
  REFUSALS,
  type Respondent,
  type Secret,
  type Transaction,
  TYPE,
} from '@latchkey/protocol';
import {
  RateLimitedLog,
  type Clock,
  Failure,
  formatEndpoint,
  formatNid,
  type PostResponse,
  type PostRequest,
  BoxedMap,
  type Log,
} from '@latchkey/runtime';
import { ControllerCounts } from './counts.js';
import type { Link } from './link.js';
import type { PskStore } from './psk-store.js';

type Vouch = PostRequest['confirmLegitimate'];

/** How often transactions whose life is over are cleared away, in ms. */
const EXPIRE_EVERY_MS = 5_000;

/** Reason 8 of an auth-server says that it is to be asked again, not what for. */
const PUT_OFF =
  'the auth-server commits nothing now: it is at its bounds, its clock was set back, or the node was just given an initial key again; its log says which';

export interface ControllerOptions {
  readonly respondent: Respondent;
  readonly link: Link;
  readonly psks: PskStore;
  readonly clock: Clock;
  readonly log: Log;
}

export class Controller {
  readonly counts: ControllerCounts = new ControllerCounts();
  readonly #respondent: Respondent;
  readonly #link: Link;
  readonly #psks: PskStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #strangers: RateLimitedLog;
  /** The question under way for each request, so that copies wait for it. */
  readonly #asking = new BoxedMap<Uint8Array, Promise<PostResponse>>();
  readonly #expiry: NodeJS.Timeout;

  constructor({ respondent, link, psks, clock, log }: ControllerOptions) {
    this.#respondent = respondent;
    this.#link = link;
    this.#psks = psks;
    this.#clock = clock;
    this.#log = log;
    this.#strangers = new RateLimitedLog(log);
    this.#expiry = setInterval(() => respondent.expire(clock().monotonicMs), EXPIRE_EVERY_MS);
  }

  /** Answers M1 with M4 and M5 with M6. */
  answer({ payload, source, confirmLegitimate }: PostRequest): PostResponse | Promise<PostResponse> {
    const from = formatEndpoint({ host: source.address, port: source.port });
    if (this.#tellsAll)
      this.#log.debug({ message: nameOf(payload), octets: payload.length, from, proven: source.addressValidated }, 'received');
    const decision = this.#decide(payload, source);
    switch (decision.kind) {
      case 'answer':
        return this.#send(decision.octets, from);
      case 'forward':
        return this.#askOnce(decision.transaction, from, confirmLegitimate);
      case 'challenge':
        return 'challenge';
      case 'refuse':
        return this.#refuse(decision.refusal, { message: nameOf(payload), from });
    }
  }

  /** Whether anybody wants to know of each message. */
  get #tellsAll(): boolean {
    return this.#log.isLevelEnabled('debug');
  }

  /** Another SK_cs, from a credential that was read anew. */
  rekey(skCs: Secret): void {
    this.#respondent.rekey(skCs);
  }

  #decide(payload: Uint8Array, source: PostRequest['source']): M1Decision {
    const now = this.#clock();
    return payload[0] === TYPE.M5
      ? this.#respondent.receiveM5(payload, source, now)
      : this.#respondent.receiveM1(payload, source, now);
  }

  #askOnce(transaction: Transaction, from: string, vouch: Vouch): Promise<PostResponse> {
    const { request } = transaction;
    if (request === undefined) return Promise.resolve(this.#refuse('noTransaction', { from }));
    const underWay = this.#asking.get(request);
    if (underWay !== undefined) return underWay;
    const asking = this.#ask(transaction, request, from, vouch);
    this.#asking.set(request, asking);
    return asking;
  }

  async #ask(transaction: Transaction, request: Uint8Array, from: string, vouch: Vouch): Promise<PostResponse> {
    const since = performance.now();
    if (this.#tellsAll) this.#log.debug({ ...about(transaction), message: nameOf(request), octets: request.length }, 'sent');
    let decision: LinkDecision | undefined;
    let maxAge: number | undefined;
    try {
      decision = await this.#link.ask(request, (octets, ofAnswer) => {
        maxAge = ofAnswer;
        return this.#judge(transaction, octets);
      });
    } finally {
      this.#asking.delete(request);
    }
    this.counts.exchanges[request[0] === TYPE.M7 ? 'M5' : 'M1'].observeSince(since);
    switch (decision?.kind) {
      case 'answer':
        if (decision.joined !== undefined) {
          vouch(transaction.addressValidated ? 1 : 2);
          this.#keep(decision.joined);
        }
        return this.#send(decision.octets, from);
      case 'refuse':
        return this.#refuse(
          decision.refusal,
          { ...about(transaction), message: nameOf(request), from },
          decision.refusal === 'overloaded' ? PUT_OFF : undefined,
          maxAge,
        );
      case 'unknown-transaction':
        return this.#refuse('overloaded', { ...about(transaction), message: nameOf(request), from });
      case 'ignored':
      case undefined:
        return this.#refuse('serverUnavailable', { ...about(transaction), message: nameOf(request), from });
    }
  }

  #judge(transaction: Transaction, octets: Uint8Array): LinkDecision {
    const decision = this.#respondent.receiveLinkAnswer(transaction, octets);
    if (this.#tellsAll && decision.kind !== 'ignored')
      this.#log.debug({ ...about(transaction), message: nameOf(octets), octets: octets.length }, 'received');
    return decision;
  }

  /** The node has its new key; this controller keeps it too. */
  #keep(joined: JoinResult): void {
    const { idI, tid, nidI, psk, lifetime } = joined;
    this.counts.joins.increment('joined');
    // Not `about`, spread: this line is written for each join.
    const line = {
      node: formatId(idI),
      tid: formatTid(tid),
      at: formatNid(nidI),
      key: psk.fingerprint,
      lifetimeSeconds: lifetime,
    };
    this.#log.info(line, 'node joined');
    this.#psks.put(joined).then(
      () => psk.wipe(),
      (error: unknown) => {
        psk.wipe();
        if (!(error instanceof Failure)) throw error;
        this.#log.error(
          { ...about(joined), at: formatNid(nidI), advice: error.advice },
          `${error.message}; the node joined all the same`,
        );
      },
    );
  }

  #send(octets: Uint8Array, to: string): PostResponse {
    if (this.#tellsAll) this.#log.debug({ message: nameOf(octets), octets: octets.length, to }, 'sent');
    return { code: '2.04', payload: octets };
  }

  /** `maxAge`: what the auth-server says; nobody has sealed that, so it is a hint within the profile's bound. */
  #refuse(refusal: Refusal, about: object, why = `it ${REFUSALS[refusal].meaning}`, maxAge?: number): PostResponse {
    const { code } = REFUSALS[refusal];
    this.counts.joins.increment(refusal);
    this.#strangers.warn(refusal, { ...about, code }, `refused: ${why}`);
    const usual = retryAfterSeconds(refusal);
    return { code, maxAge: usual && Math.min(maxAge ?? usual, MAX_RETRY_AFTER_SECONDS) };
  }

  /** Waits for what is being stored. */
  async stop(): Promise<void> {
    clearInterval(this.#expiry);
    await this.#psks.settled();
    await this.#link.close();
  }
}

/** For the log. */
function about({ idI, tid }: { readonly idI: number; readonly tid: bigint }): { readonly node: string; readonly tid: string } {
  return { node: formatId(idI), tid: formatTid(tid) };
}

/** `M1` to `M9`, for the log. */
function nameOf(octets: Uint8Array): string {
  const type = octets[0] ?? 0;
  return type >= TYPE.M1 && type <= TYPE.M9 ? `M${type & 0x0f}` : 'unknown';
}
