/**
 * SBS at work: one request from a controller in, one answer out. It remembers nothing between
 * requests but the registry, so any replica on one store may answer any of them.
 *
 * Persist first, then answer: `commit` resolves when the disk has the key, and M8 is sealed after
 * that.
 */

import {
  type CommitDecision,
  decodeLinkRequest,
  decodeM12,
  formatId,
  formatTid,
  type Holdoff,
  KEY_FEED_TYPE,
  type KeyFeedRequest,
  tryDecode,
  type ServerDecision,
  type LinkRefusal,
  type LinkRequest,
  retryAfterSeconds,
  NONCE_LENGTH,
  type OpenedRequest,
  openM12,
  REFUSALS,
  REISSUE_HOLDOFF_MS,
  SERVER_ROLE,
  type ServerAnswer,
  type ServerRole,
  type Secret,
} from '@latchkey/protocol';
import { RateLimitedLog, type Clock, type Log, type ProcessTime } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { formatNid } from '@latchkey/runtime/net';
import { ControllerClocks } from './controller-clocks.js';
import { isoTime } from '@latchkey/runtime/iso-time';
import { ControllerCache } from './controller-cache.js';
import { KeyFeedResponder } from './key-feed-responder.js';
import type { LinkAnswer } from './link-answer.js';
import { InDoubt, type Registry, type ControllerRecord, type UnsealedNode, type Version, ActivityLog } from '@latchkey/registry';
import { AuthServerMetrics } from '../telemetry/metrics.js';
import { ClockRollbackGuard } from './clock-rollback-guard.js';

/** Concurrent commits. LMDB becomes permanently slow when thousands join one transaction. */
const MAX_CONCURRENT_COMMITS = 1_024;
/**
 * How often a commit that failed its comparison is decided again. After that the controller must
 * retry.
 */
const MAX_COMMIT_RETRIES = 4;

/** Rejections that may precede the check of the request's TS. */
const UNTIMED: ReadonlySet<LinkRefusal> = new Set(['overloaded', 'storeFailed']);

export interface AuthServerOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly randomBytes: (n: number) => Uint8Array;
  readonly log: Log;
  /** Left out: those of the profile. */
  readonly role?: ServerRole;
  /** Left out: that of this process. */
  readonly time?: ProcessTime;
}

/** What is answered. M9 says no more than its reason: `detail` is for the log here. */
type FinalDecision =
  | ServerAnswer
  | {
      readonly kind: 'refuse';
      readonly refusal: LinkRefusal;
      readonly detail?: RejectionDetail;
      readonly maxAge?: number | undefined;
    };

interface RejectionDetail {
  readonly reason: string;
  readonly advice?: string | undefined;
}

export class AuthServer {
  readonly metrics: AuthServerMetrics = new AuthServerMetrics();
  readonly keyFeed: KeyFeedResponder;
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #randomBytes: (n: number) => Uint8Array;
  readonly #log: Log;
  readonly #role: ServerRole;
  readonly #rateLimitedLog: RateLimitedLog;
  readonly #clockGuard: ClockRollbackGuard;
  readonly #activity: ActivityLog;
  readonly #clocks = new ControllerClocks();
  readonly #controllerCache: ControllerCache;
  #activeCommits = 0;
  /** Called after each commit. */
  onCommit: () => void = () => undefined;

  constructor({ registry, clock, randomBytes, log, role = SERVER_ROLE, time }: AuthServerOptions) {
    this.#registry = registry;
    this.#clock = clock;
    this.#randomBytes = randomBytes;
    this.#log = log;
    this.#role = role;
    this.#rateLimitedLog = new RateLimitedLog(log, time);
    this.#controllerCache = new ControllerCache(registry);
    this.#activity = new ActivityLog(registry.storage, log, undefined, time);
    this.keyFeed = new KeyFeedResponder({ registry, randomBytes, log, rateLimitedLog: this.#rateLimitedLog });
    this.#clockGuard = new ClockRollbackGuard(registry, clock, log);
  }

  /** Answers M2 with M3 or M10, M7 with M8 or M11, M12 with M13, each with M9. */
  async answer(octets: Uint8Array): Promise<LinkAnswer> {
    const isFeed = octets[0] === KEY_FEED_TYPE.M12;
    const request: LinkRequest | KeyFeedRequest | undefined = isFeed
      ? tryDecode(decodeM12, octets)
      : tryDecode(decodeLinkRequest, octets);
    if (request === undefined) {
      this.metrics.joins.increment('malformed');
      return { code: REFUSALS.malformed.code };
    }
    const since = performance.now();
    if (this.#log.isLevelEnabled('debug')) this.#log.debug({ ...logFields(request), octets: octets.length }, 'received');

    try {
      const answer = request.type === 'M12' ? undefined : await this.#answerUnderKeptKey(request);
      if (answer !== undefined) return answer;
      return await this.#controllerCache.use(request.idC, (controller, version) =>
        request.type === 'M12' ? this.#answerFeed(request, controller) : this.#answer(request, controller, version),
      );
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // The registry cannot be read, so no key is available. The only answer is a retry hint.
      this.#rateLimitedLog.warn('registry', { ...logFields(request), advice: error.advice }, error.message);
      this.metrics.joins.increment('storeFailed');
      return { code: REFUSALS.storeFailed.code, maxAge: retryAfterSeconds('storeFailed') };
    } finally {
      this.metrics.exchanges[request.type].observeSince(since);
    }
  }

  /**
   * Answers under the cached SK_cs of the controller. One read of the node shows whether the
   * controller's row is unchanged, in the same snapshot as the node's key.
   *
   * @returns `undefined` if the cache cannot be confirmed: then the controller is read first
   */
  #answerUnderKeptKey(request: LinkRequest): Promise<LinkAnswer | undefined> {
    return this.#controllerCache.useKept(request.idC, async ({ skCs }, version) => {
      const opened = this.#clockGuard.trustedNow() === undefined ? undefined : this.#role.openLinkRequest(request, skCs);
      if (opened === undefined) return undefined;
      const decision = await this.#decide(opened, request.tid, (node) => node?.controllerVersion === version);
      if (decision === undefined) return undefined;
      this.#activity.recordControllerSeen(request.idC, this.#clock().wallMs, skCs.fingerprint);
      return this.#seal(request, opened, decision, skCs);
    });
  }

  async #answer(
    request: LinkRequest,
    controller: ControllerRecord | undefined,
    version: Version | undefined,
  ): Promise<LinkAnswer> {
    const opened = controller && openWithEitherKey(controller, (skCs) => this.#role.openLinkRequest(request, skCs));
    // Awaits only pending results: most requests wait for nothing but the disk.
    if (
      controller === undefined ||
      opened === undefined ||
      (opened.skCs !== controller.skCs && !(await this.#activateIfStaged(controller, opened.skCs)))
    ) {
      return this.#notAuthentic(request, controller);
    }
    this.#activity.recordControllerSeen(request.idC, this.#clock().wallMs, opened.skCs.fingerprint);
    const decision = await this.#decide(opened.content, request.tid, (node, isKeySent) =>
      !isKeySent || node?.controllerVersion === version ? true : this.#stillOpens(request),
    );
    if (decision === undefined) return this.#notAuthentic(request, controller);
    return this.#seal(request, opened.content, decision, opened.skCs);
  }

  /** Whether a request that was opened is under an SK_cs that still holds. */
  #stillOpens(request: LinkRequest): Promise<boolean> {
    return this.#controllerCache.use(
      request.idC,
      (controller) =>
        controller !== undefined &&
        openWithEitherKey(controller, (skCs) => this.#role.openLinkRequest(request, skCs)) !== undefined,
    );
  }

  async #answerFeed(request: KeyFeedRequest, controller: ControllerRecord | undefined): Promise<LinkAnswer> {
    const opened = controller && openWithEitherKey(controller, (skCs) => openM12(request, skCs));
    if (
      controller === undefined ||
      opened === undefined ||
      (opened.skCs !== controller.skCs && !(await this.#activateIfStaged(controller, opened.skCs)))
    ) {
      return this.#notAuthentic(request, controller);
    }
    const now = this.#clock();
    this.#activity.recordControllerSeen(request.idC, now.wallMs, opened.skCs.fingerprint);
    return this.keyFeed.answer(request, opened.content, opened.skCs, now);
  }

  #notAuthentic(request: LinkRequest | KeyFeedRequest, controller: ControllerRecord | undefined): LinkAnswer {
    const problem =
      controller === undefined
        ? 'from a controller the registry does not have'
        : 'does not open: the credential of its controller differs from ours';
    this.#rateLimitedLog.warn('link', logFields(request), `${request.type} ${problem}`);
    if (controller !== undefined) this.#activity.recordAuthenticationFailure(request.idC, this.#clock().wallMs);
    this.metrics.joins.increment('notAuthentic');
    return { code: REFUSALS.notAuthentic.code };
  }

  /** With the first request under the SK_cs that is to take over it does. */
  async #activateIfStaged({ idC, stagedSkCs }: ControllerRecord, used: Secret): Promise<boolean> {
    if (used !== stagedSkCs) return false;
    const isActivated = await this.#registry.activateStagedKey(idC, used);
    if (isActivated)
      this.#log.info(
        { controller: formatId(idC), key: used.fingerprint },
        'controller uses its new SK_cs; the old one is erased',
      );
    return isActivated;
  }

  /**
   * Why no join can complete, because of a clock. Returns `undefined` if no clock is known to
   * prevent joins.
   */
  clockFault(): string | undefined {
    return this.#clockGuard.fault() ?? this.#clocks.fault(this.#clock());
  }

  /** To be called every second or so, so that no request waits for it. */
  async persistClock(): Promise<void> {
    this.#clockGuard.reload();
    await this.#clockGuard.persist();
  }

  /** Writes pending activity. */
  async close(): Promise<void> {
    await this.#activity.close();
    this.#controllerCache.close();
  }

  /**
   * @param isAuthentic returns true if SK_cs is still valid. SK_cs was read earlier, so this is
   *   called after the node was read, and before anything is recorded. `isKeySent`: K_i is sent
   *   under it
   * @returns `undefined` if SK_cs is not valid
   */
  async #decide(
    opened: OpenedRequest,
    tid: bigint,
    isAuthentic: (node: UnsealedNode | undefined, isKeySent: boolean) => boolean | Promise<boolean>,
  ): Promise<FinalDecision | undefined> {
    const { idI } = opened.body.m1;
    for (let i = 0; i < MAX_COMMIT_RETRIES; i++) {
      const wall = this.#clockGuard.trustedNow() ?? (await this.#trustedTime());
      if (typeof wall !== 'number') return wall;
      if (opened.type === 'M2' && this.#registry.hasOverdueCommit(wall))
        return rejection('storeFailed', { reason: 'a commit that began more than 30 s ago may take effect yet' });
      const kept = i === 0 && opened.type === 'M7' ? this.#registry.takeKeptNode(idI) : undefined;
      const read = kept ?? this.#registry.readNode(idI);
      const node = read instanceof Promise ? await read : read;
      // A read that is waited for reads the clock as well: the machine may have slept before it.
      const now = read instanceof Promise ? this.#clockGuard.trustedNow() : wall;
      if (now === undefined) {
        node?.key.wipe();
        continue;
      }
      const decision = this.#role.decide(opened, node, now);
      // What a commit compares may be old, and nothing else.
      if (kept !== undefined && decision.kind !== 'commit') {
        wipe(kept, decision);
        continue;
      }
      const isKeySent = decision.kind === 'answer' && decision.with === 'M3';
      let holds = false;
      try {
        const answer = isAuthentic(node, isKeySent);
        holds = answer instanceof Promise ? await answer : answer;
      } finally {
        if (!holds) wipe(node, decision);
      }
      if (!holds) return undefined;
      // Uses M2 only. The window of an M7 is wider, and a slow disk may delay it.
      if (opened.type === 'M2') this.#noteClock(opened, decision);
      if (decision.kind !== 'commit' || node === undefined) {
        if (decision.kind === 'answer' && opened.type === 'M2' && node !== undefined) {
          this.#recordKeyRequest(opened, node, tid, decision.with === 'M3');
          this.#registry.cacheNode(node);
        }
        // An M3 contains the key, so it is wiped after sealing.
        if (!isKeySent) node?.key.wipe();
        if (decision.kind === 'refuse' && decision.holdoff !== undefined) return heldOff(decision.refusal, decision.holdoff);
        if (decision.kind === 'refuse' && decision.switchedAt !== undefined)
          return switched(decision.refusal, decision.switchedAt);
        return decision as FinalDecision;
      }
      const reason = this.#clockGuard.rejectionReason(decision.commit.ts);
      if (reason !== undefined || this.#activeCommits >= MAX_CONCURRENT_COMMITS) {
        node.key.wipe();
        decision.to.wipe();
        return rejection('overloaded', reason === undefined ? undefined : { reason });
      }
      const result = await this.#commit(opened, node, decision);
      if (result !== 'conflict') return result;
    }
    return rejection('overloaded');
  }

  /**
   * Returns the current time once it is stored durably, or a rejection. No decision uses a time
   * that is not stored.
   */
  async #trustedTime(): Promise<number | FinalDecision> {
    try {
      await this.#clockGuard.persist();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return rejection('storeFailed', { reason: error.message, advice: error.advice });
    }
    return this.#clockGuard.trustedNow() ?? rejection('overloaded', { reason: 'the clock is being set' });
  }

  /** Returns `conflict` if another commit came first: decide again on the new state. */
  async #commit(opened: OpenedRequest, node: UnsealedNode, decision: CommitDecision): Promise<FinalDecision | 'conflict'> {
    const { idI } = node;
    const { to, commit } = decision;
    this.#activeCommits += 1;
    try {
      const wall = (): number => this.#clock().wallMs;
      const result = await this.#registry.commit(node, to, commit, wall, (now) => this.#role.isWithinTimeWindow(opened, now));
      if (result === 'conflict') return 'conflict';
      if (result === 'expired') return rejection('clock');
      const { idC, tid, nidI, lifetime } = commit;
      this.#activity.recordJoin(idI);
      this.metrics.joins.increment(node.initial ? 'joined' : 'renewed');
      const fields = {
        node: formatId(idI),
        controller: formatId(idC),
        tid: formatTid(tid),
        lifetimeSeconds: lifetime,
        at: formatNid(nidI),
        keyBefore: node.key.fingerprint,
        key: to.fingerprint,
      };
      this.#log.info(fields, 'node has a new key');
      this.onCommit();
      return this.#role.answerCommitted(opened, decision);
    } catch (error) {
      // The commit may have happened. The registry shows it when the node is read again.
      if (error instanceof InDoubt) return 'conflict';
      if (!(error instanceof Failure)) throw error;
      return rejection('storeFailed', { reason: error.message, advice: error.advice });
    } finally {
      this.#activeCommits -= 1;
      node.key.wipe();
      to.wipe();
    }
  }

  #seal(request: LinkRequest, opened: OpenedRequest, decision: FinalDecision, skCs: Secret): LinkAnswer {
    const payload = this.#role.sealAnswer(request, opened, decision, this.#randomBytes(NONCE_LENGTH), skCs);
    if (decision.kind === 'refuse') {
      const { reason, code, meaning } = REFUSALS[decision.refusal];
      this.#recordRejection(opened, decision.refusal);
      this.metrics.joins.increment(decision.refusal);
      this.#rateLimitedLog.warn(
        decision.refusal,
        { ...logFields(request), node: formatId(opened.body.m1.idI), reason, advice: decision.detail?.advice },
        `refused: ${decision.detail?.reason ?? `it ${meaning}`}`,
      );
      return { code, payload, maxAge: decision.maxAge ?? retryAfterSeconds(decision.refusal) };
    }
    this.#activity.timely(request.idC);
    if (decision.with === 'M3') decision.key.wipe();
    if (decision.with === 'M11') decision.applicationRoot.wipe();
    if (this.#log.isLevelEnabled('debug')) {
      const { with: message } = decision;
      this.#log.debug({ ...logFields(request), node: formatId(opened.body.m1.idI), message, octets: payload.length }, 'sent');
    }
    return { code: '2.04', payload };
  }

  /** Not for a copy of an M2 whose transaction the node has completed. */
  #recordKeyRequest({ idC, body }: OpenedRequest, node: UnsealedNode, tid: bigint, isKeyGiven: boolean): void {
    if (node.committed?.idC === idC && tid <= node.committed.tid) return;
    this.#activity.recordKeyRequest(body.m1.idI, idC, this.#clock().wallMs, isKeyGiven);
  }

  #noteClock({ idC, body }: OpenedRequest, judgement: ServerDecision): void {
    const now = this.#clock();
    const refused = judgement.kind === 'refuse' && judgement.refusal === 'clock';
    this.#clocks.judged(idC, refused ? Number(body.ts) - now.wallMs : undefined, now);
  }

  #recordRejection({ idC, body }: OpenedRequest, refusal: LinkRefusal): void {
    const now = this.#clock().wallMs;
    const skew = refusal === 'clock' ? Number(body.ts) - now : undefined;
    this.#activity.recordRejection(body.m1.idI, idC, refusal, now, skew);
    if (skew !== undefined) this.#activity.recordClockSkew(idC, skew, now);
    else if (!UNTIMED.has(refusal)) this.#activity.timely(idC);
  }
}

/** For the log. */
function logFields({ type, idC, tid }: LinkRequest | KeyFeedRequest): {
  readonly message: string;
  readonly controller: string;
  readonly tid: string;
} {
  return { message: type, controller: formatId(idC), tid: formatTid(tid) };
}

/** What was decided is not answered, and not committed. */
function wipe(node: UnsealedNode | undefined, decision: ServerDecision): void {
  node?.key.wipe();
  if (decision.kind === 'commit') decision.to.wipe();
  if (decision.kind === 'answer' && decision.with === 'M11') decision.applicationRoot.wipe();
}

function rejection(name: LinkRefusal, detail?: RejectionDetail): FinalDecision {
  return { kind: 'refuse', refusal: name, ...(detail === undefined ? {} : { detail }) };
}

/**
 * The wire has one reason for every temporary rejection. The log has the exact one, and the node
 * gets the retry time.
 */
function heldOff(refusal: LinkRefusal, { reissuedAt, remainingMs }: Holdoff): FinalDecision {
  const end = isoTime(reissuedAt + REISSUE_HOLDOFF_MS);
  const why = `at ${isoTime(reissuedAt)} its node was given an initial key again, or the registry was restored; what bears a TS up to ${end} may be from before`;
  const maxAge = remainingMs > 0 ? Math.ceil(remainingMs / 1000) : retryAfterSeconds(refusal);
  return { kind: 'refuse', refusal, detail: { reason: why }, maxAge };
}

/**
 * The failed proof of a transaction that was pending at a switch counts against no source. The log
 * says why it does not decrypt.
 */
function switched(refusal: LinkRefusal, at: number): FinalDecision {
  const why = `its proof does not open, and at ${isoTime(at)} its controller was switched to or from pass-through, or the registry was restored: the transaction may have been under way then`;
  return { kind: 'refuse', refusal, detail: { reason: why } };
}

/** Decrypts with the SK_cs in use, or with the staged one. */
function openWithEitherKey<T>(
  { skCs, stagedSkCs }: ControllerRecord,
  open: (skCs: Secret) => T | undefined,
): { readonly content: T; readonly skCs: Secret } | undefined {
  for (const key of [skCs, stagedSkCs]) {
    const content = key && open(key);
    if (key !== undefined && content !== undefined) return { content, skCs: key };
  }
  return undefined;
}
