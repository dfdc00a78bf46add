/**
 * What the server has seen of nodes and controllers between their joins: who asked for a node, what
 * was refused and since when. It is for people (`node why`), not for decisions: kept in memory,
 * written at most once a second, lost in part by a crash.
 *
 * Controllers cause these rows, and strangers through them: one row per node of the registry, and
 * in a table of their own 1,024 for IDs it does not have; at that bound they all go.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { LinkRefusal } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import type { Log } from '@latchkey/runtime/daemon';
import { countEntries, writeFailure } from '@latchkey/lmdb';
import { addSeenBy, type EventRun, type RejectionRun, type NodeActivity, type ControllerActivity } from './rows.js';
import type { Tables } from './tables.js';

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
const MAX_UNKNOWN_NODES = 1_024;

/**
 * A row that is being gathered, with the runs of the stored row that have ended since that was
 * written.
 */
interface GatheredController extends ControllerActivity {
  unopenedEnded?: true;
  skewedEnded?: true;
}

interface GatheredNode extends NodeActivity {
  /** ID_c of the controller that was given the key last, in an M3. A pass-through one is not. */
  keyGivenTo?: number;
}

export class ActivityLog {
  readonly #tables: Tables;
  readonly #log: Log;
  readonly #pendingNodes = new Map<number, GatheredNode>();
  readonly #pendingControllers = new Map<number, GatheredController>();
  readonly #writeIntervalMs: number;
  #writing: Promise<void> | undefined;
  #closed = new AbortController();

  constructor(tables: Tables, log: Log, writeIntervalMs: number = WRITE_INTERVAL_MS) {
    this.#tables = tables;
    this.#log = log;
    this.#writeIntervalMs = writeIntervalMs;
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

  /** A request of the controller opened. */
  recordControllerSeen(idC: number, at: number): void {
    const pending = this.#pendingController(idC);
    if (pending === undefined) return;
    pending.lastSeen = extendRun(pending.lastSeen, at);
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
    const wait = (ms: number): Promise<void> =>
      pause(ms, undefined, { signal: this.#closed.signal, ref: false }).catch(() => undefined);
    await wait(WRITE_DELAY_MS);
    await this.#write();
    await wait(this.#writeIntervalMs - WRITE_DELAY_MS);
    this.#writing =
      this.#pendingNodes.size + this.#pendingControllers.size > 0 && !this.#closed.signal.aborted ? this.#writeSoon() : undefined;
  }

  async #write(): Promise<void> {
    const [nodes, controllers] = [[...this.#pendingNodes].toSorted(byId), [...this.#pendingControllers].toSorted(byId)];
    this.#pendingNodes.clear();
    this.#pendingControllers.clear();
    if (nodes.length + controllers.length === 0) return;
    const { env, folder } = this.#tables;
    try {
      await env.transaction(() => {
        for (const [idI, pending] of nodes) this.#mergeNode(idI, pending);
        for (const [idC, pending] of controllers) this.#mergeController(idC, pending);
      });
    } catch (error) {
      const failure = error instanceof Failure ? error : await writeFailure(folder, error);
      this.#log.warn({ advice: failure.advice }, `${failure.message}: what was seen of ${nodes.length} nodes is lost`);
    }
  }

  #mergeNode(idI: number, pending: GatheredNode): void {
    const { nodes, unknownNodeActivity } = this.#tables;
    const row = nodes.get(idI);
    if (row === undefined && !unknownNodeActivity.doesExist(idI) && countEntries(unknownNodeActivity) >= MAX_UNKNOWN_NODES)
      unknownNodeActivity.clearSync();
    const table = row === undefined ? unknownNodeActivity : this.#tables.nodeActivity;
    const joinedAt = row?.committed?.at ?? -Infinity;
    // What was seen before the node's last join is settled by it.
    const sinceLastJoin = <R extends EventRun>(run: R | undefined): R | undefined =>
      run !== undefined && run.at > joinedAt ? run : undefined;
    const { keyRequested, rejected } = table.get(idI) ?? {};
    // As in `asked`.
    const goesOn = rejected !== undefined && (pending.keyRequested === undefined || rejected.refusal === 'proofFailed');
    const isSameRejection = goesOn && (pending.rejected === undefined || isSameRefusal(rejected, pending.rejected));
    table.putSync(
      idI,
      omitUndefined({
        keyRequested: mergeRuns(sinceLastJoin(keyRequested), pending.keyRequested),
        rejected: mergeRuns(isSameRejection ? sinceLastJoin(rejected) : undefined, pending.rejected),
      }),
    );
    if (pending.keyGivenTo === undefined || row?.initial !== true) return;
    const seenBy = addSeenBy(row, pending.keyGivenTo);
    if (seenBy !== row.seenBy) nodes.putSync(idI, { ...row, seenBy });
  }

  #mergeController(idC: number, pending: GatheredController): void {
    const { controllerActivity } = this.#tables;
    const { lastSeen, authenticationFailed, clockSkew } = controllerActivity.get(idC) ?? {};
    const sameSide =
      clockSkew !== undefined && (pending.clockSkew === undefined || isSameSide(clockSkew.skew, pending.clockSkew.skew));
    controllerActivity.putSync(
      idC,
      omitUndefined({
        lastSeen: mergeRuns(lastSeen, pending.lastSeen),
        authenticationFailed: mergeRuns(pending.unopenedEnded ? undefined : authenticationFailed, pending.authenticationFailed),
        clockSkew: mergeRuns(sameSide && !pending.skewedEnded ? clockSkew : undefined, pending.clockSkew),
      }),
    );
  }
}

/** Whether a clock that was off by `one` ms and then by `other` was off to the same side. */
function isSameSide(one: number, other: number): boolean {
  return Math.sign(one) === Math.sign(other);
}

/** Whether two refusals in a row are one run. */
function isSameRefusal(
  one: Pick<RejectionRun, 'refusal' | 'by' | 'skew'>,
  other: Pick<RejectionRun, 'refusal' | 'by' | 'skew'>,
): boolean {
  return one.refusal === other.refusal && one.by === other.by && isSameSide(one.skew ?? 0, other.skew ?? 0);
}

function extendRun(before: EventRun | undefined, at: number): EventRun {
  return { since: before?.since ?? at, at, count: (before?.count ?? 0) + 1 };
}

/** A run that was noted before goes on with what is noted now. */
function mergeRuns<R extends EventRun>(before: R | undefined, noted: R | undefined): R | undefined {
  if (before === undefined || noted === undefined) return noted ?? before;
  return { ...noted, since: before.since, count: before.count + noted.count };
}

/** The row without what is `undefined`: the store would keep that too. */
function omitUndefined<R extends object>(row: R): R {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as R;
}

function byId([a]: readonly [number, unknown], [b]: readonly [number, unknown]): number {
  return a - b;
}
