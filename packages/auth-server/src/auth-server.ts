/**
 * SBS at work: one request from a controller in, one answer out. It remembers nothing between requests but the registry, so
 * any replica on one store may answer any of them.
 *
 * Persist first, then answer: `commit` resolves when the disk has the key, and M8 is sealed after that.
 */

import {
  type CoapCode,
  decodeLinkRequest,
  formatId,
  formatTid,
  ifWellFormed,
  type Judgement,
  judge,
  type LinkRefusal,
  type LinkRequest,
  maxAgeOf,
  NONCE_LENGTH,
  type OpenedRequest,
  openLinkRequest,
  REFUSALS,
  sealAnswer,
  type Secret,
  stillInTime,
} from '@latchkey/protocol';
import { BoundedLog, type Clock, ClockStepWatch, Failure, formatNid, type Log } from '@latchkey/runtime';
import type { Registry } from './registry.js';

/** Commits under way at once. LMDB gets slow for good when thousands join one transaction. */
const MAX_COMMITS = 1_024;
/** How often a commit that lost its comparison is judged anew before the controller is asked to come again. */
const MAX_JUDGEMENTS = 4;

export interface AuthServerOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly draw: (n: number) => Uint8Array;
  readonly log: Log;
}

/** An answer on the link: M3, M8 or M9 under its CoAP code, or a bare code where no key is known to seal M9. */
export interface LinkAnswer {
  readonly code: CoapCode;
  readonly payload?: Uint8Array | undefined;
  readonly maxAge?: number | undefined;
}

type Final = Exclude<Judgement, { kind: 'commit' }>;

export class AuthServer {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #draw: (n: number) => Uint8Array;
  readonly #log: Log;
  readonly #strangers: BoundedLog;
  readonly #stepWatch: ClockStepWatch;
  #commits = 0;

  constructor({ registry, clock, draw, log }: AuthServerOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.#draw = draw;
    this.#log = log;
    this.#strangers = new BoundedLog(log);
    this.#stepWatch = new ClockStepWatch(clock(), registry.latestWall);
    if (this.#stepWatch.observe(clock())) log.warn('the clock was set back: no key is committed for five minutes');
  }

  /** Answers M2 with M3, M7 with M8, either with M9. */
  async answer(octets: Uint8Array): Promise<LinkAnswer> {
    const request = ifWellFormed(decodeLinkRequest, octets);
    if (request === undefined) return { code: REFUSALS.malformed.code };
    const about = { message: request.type, controller: formatId(request.idC), tid: formatTid(request.tid) };
    this.#log.debug({ ...about, octets: octets.length }, 'received');

    const skCs = this.#registry.controller(request.idC)?.skCs;
    const opened = skCs && openLinkRequest(request, skCs);
    if (skCs === undefined || opened === undefined) {
      const what =
        skCs === undefined
          ? 'from a controller the registry does not have'
          : 'does not open: the credential of its controller differs from ours';
      this.#strangers.warn('link', about, `${request.type} ${what}`);
      return { code: REFUSALS.notAuthentic.code };
    }
    try {
      return this.#seal(request, opened, await this.#decide(opened), skCs);
    } finally {
      skCs.wipe();
    }
  }

  async #decide(opened: OpenedRequest): Promise<Final> {
    const { idI } = opened.body.m1;
    const stepped = this.#stepWatch.observe(this.#clock());
    for (let i = 0; i < MAX_JUDGEMENTS; i++) {
      const judgement = judge(opened, this.#registry.node(idI), this.#clock().wall);
      if (judgement.kind !== 'commit') return judgement;
      if (stepped) return this.#refuse('overloaded', 'the clock was set back less than five minutes ago');
      if (this.#commits >= MAX_COMMITS) return refusal('overloaded');
      const result = await this.#commit(opened, judgement);
      if (result !== 'lost') return result;
    }
    return refusal('overloaded');
  }

  /** `lost`: somebody else's commit came first; what now holds must be judged anew. */
  async #commit(opened: OpenedRequest, { from, to, commit }: Extract<Judgement, { kind: 'commit' }>): Promise<Final | 'lost'> {
    const { idI } = opened.body.m1;
    this.#commits += 1;
    try {
      const wall = (): number => this.#clock().wall;
      const result = await this.#registry.commit(idI, from, to, commit, wall, (now) => stillInTime(opened, now));
      if (result === 'lost') return 'lost';
      if (result === 'late') return refusal('clock');
      const { idC, tid, nidI, lifetime } = commit;
      const details = {
        node: formatId(idI),
        controller: formatId(idC),
        tid: formatTid(tid),
        lifetimeSeconds: lifetime,
        at: formatNid(nidI),
      };
      this.#log.info({ ...details, keyBefore: from.fingerprint, key: to.fingerprint }, 'node has a new key');
      return { kind: 'answer', with: 'M8', lifetime };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return this.#refuse('storeFailed', error.message, error.advice);
    } finally {
      this.#commits -= 1;
      from.wipe();
      to.wipe();
    }
  }

  #seal(request: LinkRequest, opened: OpenedRequest, decision: Final, skCs: Secret): LinkAnswer {
    const payload = sealAnswer(request, opened, decision, this.#draw(NONCE_LENGTH), skCs);
    const about = { controller: formatId(request.idC), tid: formatTid(request.tid), node: formatId(opened.body.m1.idI) };
    if (decision.kind === 'refuse') {
      const { reason, code, meaning } = REFUSALS[decision.refusal];
      this.#strangers.warn(decision.refusal, { ...about, message: request.type, reason }, `refused: it ${meaning}`);
      return { code, payload, maxAge: maxAgeOf(decision.refusal) };
    }
    if (decision.with === 'M3') decision.key.wipe();
    this.#log.debug({ ...about, message: decision.with, octets: payload.length }, 'sent');
    return { code: '2.04', payload };
  }

  #refuse(name: LinkRefusal, why: string, advice?: string): Final {
    this.#strangers.warn(`${name} why`, { advice }, why);
    return refusal(name);
  }
}

function refusal(name: LinkRefusal): Final {
  return { kind: 'refuse', refusal: name };
}
