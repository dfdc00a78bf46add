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
  type Holdoff,
  tryDecode,
  type ServerDecision,
  decide,
  type LinkRefusal,
  type LinkRequest,
  retryAfterSeconds,
  NONCE_LENGTH,
  type OpenedRequest,
  openLinkRequest,
  REFUSALS,
  REISSUE_HOLDOFF_MS,
  sealAnswer,
  type Secret,
  isWithinTimeWindow,
} from '@latchkey/protocol';
import { RateLimitedLog, type Clock, Failure, formatNid, type Log } from '@latchkey/runtime';
import { ControllerClocks } from './controller-clocks.js';
import { isoTime } from './iso-time.js';
import { KeptControllers } from './kept-controllers.js';
import type { Registry } from './registry.js';
import type { ControllerRecord, RegisteredNode } from './rows.js';
import { AuthServerCounts } from './counts.js';
import { Sightings } from './sightings.js';
import { Timekeeper } from './timekeeper.js';

/** Commits under way at once. LMDB gets slow for good when thousands join one transaction. */
const MAX_COMMITS = 1_024;
/** How often a commit that lost its comparison is judged anew before the controller is asked to come again. */
const MAX_JUDGEMENTS = 4;

/** Refusals for which the TS of the request may not have been looked at. */
const UNTIMED: ReadonlySet<LinkRefusal> = new Set(['overloaded', 'storeFailed']);

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

/** What is answered. M9 says no more than its reason: `because` is for the log here. */
type Final =
  | Extract<ServerDecision, { kind: 'answer' }>
  | { readonly kind: 'refuse'; readonly refusal: LinkRefusal; readonly because?: Because; readonly maxAge?: number | undefined };

interface Because {
  readonly why: string;
  readonly advice?: string | undefined;
}

export class AuthServer {
  readonly counts: AuthServerCounts = new AuthServerCounts();
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #draw: (n: number) => Uint8Array;
  readonly #log: Log;
  readonly #strangers: RateLimitedLog;
  readonly #timekeeper: Timekeeper;
  readonly #sightings: Sightings;
  readonly #clocks = new ControllerClocks();
  readonly #controllers: KeptControllers;
  #commits = 0;

  constructor({ registry, clock, draw, log }: AuthServerOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.#draw = draw;
    this.#log = log;
    this.#strangers = new RateLimitedLog(log);
    this.#controllers = new KeptControllers(registry);
    this.#sightings = new Sightings(registry.tables, log);
    this.#timekeeper = new Timekeeper(registry, clock, log);
  }

  /** Answers M2 with M3, M7 with M8, either with M9. */
  async answer(octets: Uint8Array): Promise<LinkAnswer> {
    const request = tryDecode(decodeLinkRequest, octets);
    if (request === undefined) {
      this.counts.joins.increment('malformed');
      return { code: REFUSALS.malformed.code };
    }
    const since = performance.now();
    if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...about(request), octets: octets.length }, 'received');

    try {
      return await this.#controllers.with(request.idC, (controller) => this.#answer(request, controller));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // The registry cannot be read: with no key, all that can be said is to come again.
      this.#strangers.warn('registry', { ...about(request), advice: error.advice }, error.message);
      this.counts.joins.increment('storeFailed');
      return { code: REFUSALS.storeFailed.code, maxAge: retryAfterSeconds('storeFailed') };
    } finally {
      this.counts.exchanges[request.type].observeSince(since);
    }
  }

  async #answer(request: LinkRequest, controller: ControllerRecord | undefined): Promise<LinkAnswer> {
    const { idC } = request;
    const opened = controller && openUnder(request, controller);
    // What need not be waited for is not: most requests do not wait at all but for the disk.
    if (
      controller === undefined ||
      opened === undefined ||
      (opened.skCs !== controller.skCs && !(await this.#mayUse(controller, opened.skCs)))
    ) {
      const what =
        controller === undefined
          ? 'from a controller the registry does not have'
          : 'does not open: the credential of its controller differs from ours';
      this.#strangers.warn('link', about(request), `${request.type} ${what}`);
      if (controller !== undefined) this.#sightings.unopened(idC, this.#clock().wallMs);
      this.counts.joins.increment('notAuthentic');
      return { code: REFUSALS.notAuthentic.code };
    }
    this.#sightings.heard(idC, this.#clock().wallMs);
    return this.#seal(request, opened.request, await this.#decide(opened.request, request.tid), opened.skCs);
  }

  /** With the first request under the SK_cs that is to take over it does. */
  async #mayUse({ idC, nextSkCs }: ControllerRecord, used: Secret): Promise<boolean> {
    if (used !== nextSkCs) return false;
    const counts = await this.#registry.takeOverNextKey(idC, used);
    if (counts)
      this.#log.info(
        { controller: formatId(idC), key: used.fingerprint },
        'controller uses its new SK_cs; the old one is erased',
      );
    return counts;
  }

  /** Why no join can come to its end, for a clock; `undefined` if none is known to prevent it. */
  clockFault(): string | undefined {
    return this.#timekeeper.fault() ?? this.#clocks.fault(this.#clock());
  }

  /** To be called every second or so, so that no request waits for it. */
  async keepTime(): Promise<void> {
    this.#timekeeper.readAgain();
    await this.#timekeeper.keep();
  }

  /** Writes what was seen and not written yet. */
  async close(): Promise<void> {
    await this.#sightings.close();
    this.#controllers.close();
  }

  async #decide(opened: OpenedRequest, tid: bigint): Promise<Final> {
    const { idI } = opened.body.m1;
    for (let i = 0; i < MAX_JUDGEMENTS; i++) {
      const wall = this.#timekeeper.look() ?? (await this.#keptTime());
      if (typeof wall !== 'number') return wall;
      const node = i === 0 ? this.#registry.nodeBeside(idI) : this.#registry.node(idI);
      const judgement = decide(opened, node, wall);
      // The window of an M7 is wider, and it may be late through a slow disk: an M2 tells of clocks only.
      if (opened.type === 'M2') this.#noteClock(opened, judgement);
      if (judgement.kind !== 'commit' || node === undefined) {
        if (judgement.kind !== 'answer' || judgement.with !== 'M3') node?.key.wipe();
        else if (node !== undefined) {
          this.#noteAsked(opened, node, tid);
          this.#registry.keepOpen(node);
        }
        if (judgement.kind === 'refuse' && judgement.holdoff !== undefined) return heldOff(judgement.refusal, judgement.holdoff);
        return judgement as Final;
      }
      const why = this.#timekeeper.refuses(judgement.commit.ts);
      if (why !== undefined || this.#commits >= MAX_COMMITS) {
        node.key.wipe();
        judgement.to.wipe();
        return refusal('overloaded', why === undefined ? undefined : { why });
      }
      const result = await this.#commit(opened, node, judgement);
      if (result !== 'lost') return result;
    }
    return refusal('overloaded');
  }

  /** The time it is: one that is kept, or nothing is judged by it. */
  async #keptTime(): Promise<number | Final> {
    try {
      await this.#timekeeper.keep();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return refusal('storeFailed', { why: error.message, advice: error.advice });
    }
    return this.#timekeeper.look() ?? refusal('overloaded', { why: 'the clock is being set' });
  }

  /** `lost`: somebody else's commit came first; what now holds must be judged anew. */
  async #commit(
    opened: OpenedRequest,
    node: RegisteredNode,
    { to, commit }: Extract<ServerDecision, { kind: 'commit' }>,
  ): Promise<Final | 'lost'> {
    const { idI } = node;
    this.#commits += 1;
    try {
      const wall = (): number => this.#clock().wallMs;
      const result = await this.#registry.commit(node, to, commit, wall, (now) => isWithinTimeWindow(opened, now));
      if (result === 'lost') return 'lost';
      if (result === 'late') return refusal('clock');
      const { idC, tid, nidI, lifetime } = commit;
      this.#sightings.joined(idI);
      this.counts.joins.increment(node.initial ? 'joined' : 'renewed');
      const line = {
        node: formatId(idI),
        controller: formatId(idC),
        tid: formatTid(tid),
        lifetimeSeconds: lifetime,
        at: formatNid(nidI),
        keyBefore: node.key.fingerprint,
        key: to.fingerprint,
      };
      this.#log.info(line, 'node has a new key');
      return { kind: 'answer', with: 'M8', lifetime };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return refusal('storeFailed', { why: error.message, advice: error.advice });
    } finally {
      this.#commits -= 1;
      node.key.wipe();
      to.wipe();
    }
  }

  #seal(request: LinkRequest, opened: OpenedRequest, decision: Final, skCs: Secret): LinkAnswer {
    const payload = sealAnswer(request, opened, decision, this.#draw(NONCE_LENGTH), skCs);
    if (decision.kind === 'refuse') {
      const { reason, code, meaning } = REFUSALS[decision.refusal];
      this.#noteRefusal(opened, decision.refusal);
      this.counts.joins.increment(decision.refusal);
      this.#strangers.warn(
        decision.refusal,
        { ...about(request), node: formatId(opened.body.m1.idI), reason, advice: decision.because?.advice },
        `refused: ${decision.because?.why ?? `it ${meaning}`}`,
      );
      return { code, payload, maxAge: decision.maxAge ?? retryAfterSeconds(decision.refusal) };
    }
    this.#sightings.timely(request.idC);
    if (decision.with === 'M3') decision.key.wipe();
    if (this.#log.isLevelEnabled('debug')) {
      const { with: message } = decision;
      this.#log.debug({ ...about(request), node: formatId(opened.body.m1.idI), message, octets: payload.length }, 'sent');
    }
    return { code: '2.04', payload };
  }

  /** Not for a copy of an M2 whose transaction the node has completed. */
  #noteAsked({ idC, body }: OpenedRequest, node: RegisteredNode, tid: bigint): void {
    if (node.committed?.idC === idC && tid <= node.committed.tid) return;
    this.#sightings.asked(body.m1.idI, idC, this.#clock().wallMs);
  }

  #noteClock({ idC, body }: OpenedRequest, judgement: ServerDecision): void {
    const now = this.#clock();
    const refused = judgement.kind === 'refuse' && judgement.refusal === 'clock';
    this.#clocks.judged(idC, refused ? Number(body.ts) - now.wallMs : undefined, now);
  }

  #noteRefusal({ idC, body }: OpenedRequest, refusal: LinkRefusal): void {
    const now = this.#clock().wallMs;
    const skew = refusal === 'clock' ? Number(body.ts) - now : undefined;
    this.#sightings.refused(body.m1.idI, idC, refusal, now, skew);
    if (skew !== undefined) this.#sightings.skewed(idC, skew, now);
    else if (!UNTIMED.has(refusal)) this.#sightings.timely(idC);
  }
}

/** For the log. */
function about({ type, idC, tid }: LinkRequest): { readonly message: string; readonly controller: string; readonly tid: string } {
  return { message: type, controller: formatId(idC), tid: formatTid(tid) };
}

function refusal(name: LinkRefusal, because?: Because): Final {
  return { kind: 'refuse', refusal: name, ...(because === undefined ? {} : { because }) };
}

/** The wire has one reason for all that passes. The log tells this one, and the node when to come again. */
function heldOff(refusal: LinkRefusal, { reissuedAt, remainingMs }: Holdoff): Final {
  const end = isoTime(reissuedAt + REISSUE_HOLDOFF_MS);
  const why = `at ${isoTime(reissuedAt)} its node was given an initial key again, or the registry was restored; what bears a TS up to ${end} may be from before`;
  const maxAge = remainingMs > 0 ? Math.ceil(remainingMs / 1000) : retryAfterSeconds(refusal);
  return { kind: 'refuse', refusal, because: { why }, maxAge };
}

/** Under the SK_cs in use, or the one that is to take over. */
function openUnder(
  request: LinkRequest,
  { skCs, nextSkCs }: ControllerRecord,
): { readonly request: OpenedRequest; readonly skCs: Secret } | undefined {
  for (const key of [skCs, nextSkCs]) {
    const opened = key && openLinkRequest(request, key);
    if (key !== undefined && opened !== undefined) return { request: opened, skCs: key };
  }
  return undefined;
}
