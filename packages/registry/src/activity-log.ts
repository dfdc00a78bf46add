/**
 * What the server has seen of nodes and controllers between their joins: who asked for a node, what
 * was refused and since when. It is for people (`node why`), not for decisions: kept in memory,
 * written at most once a second, lost in part by a crash.
 *
 * Controllers cause these rows, and strangers through them: one row per node of the registry, and
 * in a table of their own 1,024 for IDs it does not have; at that bound they all go.
 */

import type { LinkRefusal } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { type Log, PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { extendRun, type GatheredController, type GatheredNode, isSameRefusal, isSameSide } from './model/activity.js';
import type { RegistryStorage } from './storage.js';

/**
 * From what is seen to its being written, in ms: a node that joins meanwhile was not seen waiting.
 */
const WRITE_DELAY_MS = 100;
/** Between two writes, in ms. */
const WRITE_INTERVAL_MS = 1_000;
/**
 * Nodes and controllers of which something is to be written; at the bound the rest is not noted.
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
   * Controller `idC` asked for node `idI` and was answered: what it was refused for before is over,
   * but for a proof that failed.
   *
   * @param isKeyGiven whether the answer has the key of the node
   */
  recordKeyRequest(idI: number, idC: number, at: number, isKeyGiven: boolean): void {
    const pending = this.#pendingNode(idI);
    if (pending === undefined) return;
    if (isKeyGiven) pending.keyGivenTo = idC;
    // Not `extendRun`, spread: it is noted for each join.
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

  /** The node has proven itself: that it was asked for is no news. */
  recordJoin(idI: number): void {
    this.#pendingNodes.delete(idI);
  }

  /**
   * A request of the controller opened.
   *
   * @param key fingerprint of the SK_cs that it opened under
   */
  recordControllerSeen(idC: number, at: number, key: string): void {
    const pending = this.#pendingController(idC);
    if (pending === undefined) return;
    const before = pending.lastSeen;
    // Not `extendRun`, spread: it is noted for each request.
    const { since = at, count = 0 } = before?.key === key ? before : {};
    pending.lastSeen = { since, at, count: count + 1, key };
    pending.authenticationFailed = undefined;
    pending.unopenedEnded = true;
  }

  recordAuthenticationFailure(idC: number, at: number): void {
    const pending = this.#pendingController(idC);
    if (pending !== undefined) pending.authenticationFailed = extendRun(pending.authenticationFailed, at);
  }

  /** The TS of a request was in time. */
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

  /** Writes what is waiting. */
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

  /** Soon, then not again for `#writeIntervalMs`. */
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
