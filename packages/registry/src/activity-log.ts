/**
 * Activity of nodes and controllers between joins: which controller asked for a node, which
 * requests were refused, and since when. It is for diagnosis (`node why`), not for decisions. It is
 * collected in memory and written at most once a second, so a crash loses the latest part.
 *
 * Controllers cause these rows, and so do unknown devices through them. Each node of the registry
 * has one row. IDs that are not in the registry have a separate table of 1,024 rows, which is
 * emptied when it is full.
 */

import type { LinkRefusal } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { type Log, PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { extendRun, type GatheredController, type GatheredNode, isSameRefusal, isSameSide } from './model/activity.js';
import type { RegistryStorage } from './storage.js';

/**
 * Delay before activity is written, in ms. A node that joins in that time is not recorded as
 * waiting.
 */
const WRITE_DELAY_MS = 100;
/** Interval between two writes, in ms. */
const WRITE_INTERVAL_MS = 1_000;
/**
 * Most nodes, and most controllers, with activity to be written. At the bound activity of others is
 * not recorded.
 */
const MAX_PENDING = 4_096;

export class ActivityLog {
  readonly #storage: RegistryStorage;
  readonly #log: Log;
  readonly #pendingNodes = new Map<number, GatheredNode>();
  readonly #pendingControllers = new Map<number, GatheredController>();
  readonly #writeIntervalMs: number;
  readonly #pause: ProcessTime['pause'];
  #writing: Promise<void> | undefined;
  #closed = new AbortController();

  constructor(
    storage: RegistryStorage,
    log: Log,
    writeIntervalMs: number = WRITE_INTERVAL_MS,
    { pause }: Pick<ProcessTime, 'pause'> = PROCESS_TIME,
  ) {
    this.#storage = storage;
    this.#log = log;
    this.#writeIntervalMs = writeIntervalMs;
    this.#pause = pause;
  }

  /**
   * Records that controller `idC` asked for node `idI` and was answered. That ends an earlier
   * refusal, except one for a failed proof.
   *
   * @param isKeyGiven whether the answer contains the key of the node
   */
  recordKeyRequest(idI: number, idC: number, at: number, isKeyGiven: boolean): void {
    const pending = this.#pendingNode(idI);
    if (pending === undefined) return;
    if (isKeyGiven) pending.keyGivenTo = idC;
    // Not a spread of `extendRun`, because this runs for each join.
    const { since = at, count = 0 } = pending.keyRequested ?? {};
    pending.keyRequested = { since, at, count: count + 1, by: idC };
    if (pending.rejected?.refusal !== 'proofFailed') pending.rejected = undefined;
  }

  recordRejection(idI: number, idC: number, refusal: LinkRefusal, at: number, skew?: number): void {
    const pending = this.#pendingNode(idI);
    if (pending === undefined) return;
    const next = { refusal, by: idC, ...(skew === undefined ? {} : { skew }) };
    const before = pending.rejected;
    pending.rejected = { ...extendRun(before !== undefined && isSameRefusal(before, next) ? before : undefined, at), ...next };
  }

  /** Discards pending activity of a node that has joined. */
  recordJoin(idI: number): void {
    this.#pendingNodes.delete(idI);
  }

  /**
   * Records that a request of the controller was decrypted.
   *
   * @param key fingerprint of the SK_cs that decrypted it
   */
  recordControllerSeen(idC: number, at: number, key: string): void {
    const pending = this.#pendingController(idC);
    if (pending === undefined) return;
    const before = pending.lastSeen;
    // Not a spread of `extendRun`, because this runs for each request.
    const { since = at, count = 0 } = before?.key === key ? before : {};
    pending.lastSeen = { since, at, count: count + 1, key };
    pending.authenticationFailed = undefined;
    pending.unopenedEnded = true;
  }

  recordAuthenticationFailure(idC: number, at: number): void {
    const pending = this.#pendingController(idC);
    if (pending !== undefined) pending.authenticationFailed = extendRun(pending.authenticationFailed, at);
  }

  /** Records that the TS of a request was within its window. */
  timely(idC: number): void {
    const pending = this.#pendingController(idC);
    if (pending === undefined) return;
    pending.clockSkew = undefined;
    pending.skewedEnded = true;
  }

  recordClockSkew(idC: number, skew: number, at: number): void {
    const pending = this.#pendingController(idC);
    if (pending === undefined) return;
    const before = pending.clockSkew;
    pending.clockSkew = { ...extendRun(before !== undefined && isSameSide(before.skew, skew) ? before : undefined, at), skew };
  }

  /** Writes pending activity, and stops. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#writing;
    await this.#write();
  }

  #pendingNode(idI: number): GatheredNode | undefined {
    return this.#pendingEntry(this.#pendingNodes, idI);
  }

  #pendingController(idC: number): GatheredController | undefined {
    return this.#pendingEntry(this.#pendingControllers, idC);
  }

  #pendingEntry<R extends object>(waiting: Map<number, R>, id: number): R | undefined {
    const there = waiting.get(id);
    if (there !== undefined) return there;
    if (waiting.size >= MAX_PENDING) return undefined;
    const pending = {} as R;
    waiting.set(id, pending);
    this.#writing ??= this.#writeSoon();
    return pending;
  }

  /** Writes soon, then not again for `#writeIntervalMs`. */
  async #writeSoon(): Promise<void> {
    const { signal } = this.#closed;
    await this.#pause(WRITE_DELAY_MS, signal);
    await this.#write();
    await this.#pause(this.#writeIntervalMs - WRITE_DELAY_MS, signal);
    this.#writing =
      this.#pendingNodes.size + this.#pendingControllers.size > 0 && !this.#closed.signal.aborted ? this.#writeSoon() : undefined;
  }

  async #write(): Promise<void> {
    const [nodes, controllers] = [[...this.#pendingNodes].toSorted(byId), [...this.#pendingControllers].toSorted(byId)];
    this.#pendingNodes.clear();
    this.#pendingControllers.clear();
    if (nodes.length + controllers.length === 0) return;
    try {
      await this.#storage.recordActivity({ nodes, controllers });
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#log.warn({ advice: error.advice }, `${error.message}: what was seen of ${nodes.length} nodes is lost`);
    }
  }
}

function byId([a]: readonly [number, unknown], [b]: readonly [number, unknown]): number {
  return a - b;
}
