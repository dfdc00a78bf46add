/**
 * What the server has seen of nodes and controllers between their joins: who asked for a node, what was refused and since when. It is
 * for people (`node why`), not for decisions: kept in memory, written at most once a second, lost in part by a crash.
 *
 * Controllers cause these rows, and strangers through them: one row per node of the registry, and in a table of their own 1,024 for IDs it does not
 * have; at that bound they all go.
 */

import { setTimeout as pause } from 'node:timers/promises';
import type { LinkRefusal } from '@latchkey/protocol';
import { Failure, type Log } from '@latchkey/runtime';
import { countEntries, writeFailure } from '@latchkey/store';
import { seenByToo } from './rows.js';
import type { Tables } from './tables.js';

/** From what is seen to its being written, in ms: a node that joins meanwhile was not seen waiting. */
const DELAY_MS = 100;
/** Between two writes, in ms. */
const PERIOD_MS = 1_000;
/** Nodes and controllers of which something is to be written; at the bound the rest is not noted. */
const MAX_WAITING = 4_096;
const MAX_STRANGERS = 1_024;

/** A run of like events, with no event between them that ends it. Times are ms since the epoch. */
interface Run {
  since: number;
  at: number;
  count: number;
}

interface Refused extends Run {
  refusal: LinkRefusal;
  /** ID_c of who asked. */
  by: number;
  /** For `clock`: TS minus the server's clock, ms. */
  skew?: number;
}

export interface NodeSightingRow {
  /** Its key was given out for an M2; since the node last proved itself. */
  asked?: (Run & { by: number }) | undefined;
  refused?: Refused | undefined;
}

export interface ControllerSightingRow {
  /** A request of its opened. */
  heard?: Run | undefined;
  /** Requests under its ID do not open. */
  unopened?: Run | undefined;
  /**
   * Requests whose TS is too far off, all to the same side; until one is in time. `skew`: TS minus
   * the server's clock, ms.
   */
  skewed?: (Run & { skew: number }) | undefined;
}

/**
 * A row that is being gathered, with the runs of the stored row that have ended since that was
 * written.
 */
interface GatheredController extends ControllerSightingRow {
  unopenedEnded?: true;
  skewedEnded?: true;
}

export class Sightings {
  readonly #tables: Tables;
  readonly #log: Log;
  readonly #nodes = new Map<number, NodeSightingRow>();
  readonly #controllers = new Map<number, GatheredController>();
  #writing: Promise<void> | undefined;
  #closed = new AbortController();

  constructor(tables: Tables, log: Log) {
    this.#tables = tables;
    this.#log = log;
  }

  /**
   * Controller `idC` was given the key of node `idI`: what it was refused for before is over, but
   * for a proof that failed.
   */
  asked(idI: number, idC: number, at: number): void {
    const noted = this.#node(idI);
    if (noted === undefined) return;
    // Not `again`, spread: it is noted for each join.
    const { since = at, count = 0 } = noted.asked ?? {};
    noted.asked = { since, at, count: count + 1, by: idC };
    if (noted.refused?.refusal !== 'proofFailed') noted.refused = undefined;
  }

  refused(idI: number, idC: number, refusal: LinkRefusal, at: number, skew?: number): void {
    const noted = this.#node(idI);
    if (noted === undefined) return;
    const next = { refusal, by: idC, ...(skew === undefined ? {} : { skew }) };
    const before = noted.refused;
    noted.refused = { ...again(before !== undefined && isSameRefusal(before, next) ? before : undefined, at), ...next };
  }

  /** The node has proven itself: that it was asked for is no news. */
  joined(idI: number): void {
    this.#nodes.delete(idI);
  }

  /** A request of the controller opened. */
  heard(idC: number, at: number): void {
    const noted = this.#controller(idC);
    if (noted === undefined) return;
    noted.heard = again(noted.heard, at);
    noted.unopened = undefined;
    noted.unopenedEnded = true;
  }

  unopened(idC: number, at: number): void {
    const noted = this.#controller(idC);
    if (noted !== undefined) noted.unopened = again(noted.unopened, at);
  }

  /** The TS of a request was in time. */
  timely(idC: number): void {
    const noted = this.#controller(idC);
    if (noted === undefined) return;
    noted.skewed = undefined;
    noted.skewedEnded = true;
  }

  skewed(idC: number, skew: number, at: number): void {
    const noted = this.#controller(idC);
    if (noted === undefined) return;
    const before = noted.skewed;
    noted.skewed = { ...again(before !== undefined && isSameSide(before.skew, skew) ? before : undefined, at), skew };
  }

  /** Writes what is waiting. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#writing;
    await this.#write();
  }

  #node(idI: number): NodeSightingRow | undefined {
    return this.#noted(this.#nodes, idI);
  }

  #controller(idC: number): GatheredController | undefined {
    return this.#noted(this.#controllers, idC);
  }

  #noted<R extends object>(waiting: Map<number, R>, id: number): R | undefined {
    const there = waiting.get(id);
    if (there !== undefined) return there;
    if (waiting.size >= MAX_WAITING) return undefined;
    const noted = {} as R;
    waiting.set(id, noted);
    this.#writing ??= this.#writeSoon();
    return noted;
  }

  /** Soon, then not again for a second. */
  async #writeSoon(): Promise<void> {
    const wait = (ms: number): Promise<void> =>
      pause(ms, undefined, { signal: this.#closed.signal, ref: false }).catch(() => undefined);
    await wait(DELAY_MS);
    await this.#write();
    await wait(PERIOD_MS - DELAY_MS);
    this.#writing = this.#nodes.size + this.#controllers.size > 0 && !this.#closed.signal.aborted ? this.#writeSoon() : undefined;
  }

  async #write(): Promise<void> {
    const [nodes, controllers] = [[...this.#nodes].toSorted(byId), [...this.#controllers].toSorted(byId)];
    this.#nodes.clear();
    this.#controllers.clear();
    if (nodes.length + controllers.length === 0) return;
    const { env, folder } = this.#tables;
    try {
      await env.transaction(() => {
        for (const [idI, noted] of nodes) this.#mergeNode(idI, noted);
        for (const [idC, noted] of controllers) this.#mergeController(idC, noted);
      });
    } catch (error) {
      const failure = error instanceof Failure ? error : await writeFailure(folder, error);
      this.#log.warn({ advice: failure.advice }, `${failure.message}: what was seen of ${nodes.length} nodes is lost`);
    }
  }

  #mergeNode(idI: number, noted: NodeSightingRow): void {
    const { nodes, strangerSightings } = this.#tables;
    const row = nodes.get(idI);
    if (row === undefined && !strangerSightings.doesExist(idI) && countEntries(strangerSightings) >= MAX_STRANGERS)
      strangerSightings.clearSync();
    const sightings = row === undefined ? strangerSightings : this.#tables.nodeSightings;
    const joinedAt = row?.committed?.at ?? -Infinity;
    // What was seen before the node's last join is settled by it.
    const unsettled = <R extends Run>(run: R | undefined): R | undefined =>
      run !== undefined && run.at > joinedAt ? run : undefined;
    const { asked, refused } = sightings.get(idI) ?? {};
    // As in `asked`.
    const goesOn = refused !== undefined && (noted.asked === undefined || refused.refusal === 'proofFailed');
    const same = goesOn && (noted.refused === undefined || isSameRefusal(refused, noted.refused));
    sightings.putSync(
      idI,
      present({
        asked: goingOn(unsettled(asked), noted.asked),
        refused: goingOn(same ? unsettled(refused) : undefined, noted.refused),
      }),
    );
    if (noted.asked === undefined || row?.initial !== true) return;
    const seenBy = seenByToo(row, noted.asked.by);
    if (seenBy !== row.seenBy) nodes.putSync(idI, { ...row, seenBy });
  }

  #mergeController(idC: number, noted: GatheredController): void {
    const { controllerSightings } = this.#tables;
    const { heard, unopened, skewed } = controllerSightings.get(idC) ?? {};
    const sameSide = skewed !== undefined && (noted.skewed === undefined || isSameSide(skewed.skew, noted.skewed.skew));
    controllerSightings.putSync(
      idC,
      present({
        heard: goingOn(heard, noted.heard),
        unopened: goingOn(noted.unopenedEnded ? undefined : unopened, noted.unopened),
        skewed: goingOn(sameSide && !noted.skewedEnded ? skewed : undefined, noted.skewed),
      }),
    );
  }
}

/** Whether a clock that was off by `one` ms and then by `other` was off to the same side. */
function isSameSide(one: number, other: number): boolean {
  return Math.sign(one) === Math.sign(other);
}

/** Whether two refusals in a row are one run. */
function isSameRefusal(one: Pick<Refused, 'refusal' | 'by' | 'skew'>, other: Pick<Refused, 'refusal' | 'by' | 'skew'>): boolean {
  return one.refusal === other.refusal && one.by === other.by && isSameSide(one.skew ?? 0, other.skew ?? 0);
}

function again(before: Run | undefined, at: number): Run {
  return { since: before?.since ?? at, at, count: (before?.count ?? 0) + 1 };
}

/** A run that was noted before goes on with what is noted now. */
function goingOn<R extends Run>(before: R | undefined, noted: R | undefined): R | undefined {
  if (before === undefined || noted === undefined) return noted ?? before;
  return { ...noted, since: before.since, count: before.count + noted.count };
}

/** The row without what is `undefined`: the store would keep that too. */
function present<R extends object>(row: R): R {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as R;
}

function byId([a]: readonly [number, unknown], [b]: readonly [number, unknown]): number {
  return a - b;
}
