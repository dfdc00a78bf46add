/**
 * A storage engine in memory, for simulation: the same interface and the same promises as LMDB, and
 * faults to order that break them. What it draws at random is drawn by the owner of the database,
 * and no timer is its own.
 *
 * A `MemoryDatabase` is what several servers share; each has a `MemoryStorage` that is connected to
 * it.
 */

import { randomInt } from 'node:crypto';
import type { Keyring } from '@latchkey/keyring';
import type { AttributedEvent } from '../audit-chain.js';
import type { AuditTable } from '../audit-log.js';
import { type KeyFeed, MAX_INCARNATION } from '../key-feed.js';
import {
  type ActivityBatch,
  type GatheredNode,
  MAX_UNKNOWN_NODES,
  mergeControllerActivity,
  mergeNodeActivity,
  seenByActivity,
} from '../model/activity.js';
import type { AssignmentTable } from '../model/node-assignments.js';
import type { ExpiryCounts, NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from '../model/node-query.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow, RetiredInitialKeyId } from '../model/rows.js';
import type { RegistryContents } from '../contents.js';
import { idTaken, noLongerPending } from '../registry-failures.js';
import { type FeedSource, SnapshotKeyFeed } from '../snapshot-key-feed.js';
import {
  type Decide,
  InDoubt,
  type Keys,
  type Outcome,
  type Page,
  type RegistryStorage,
  type RetiredInitialKeyPage,
  type Snapshot,
  Unavailable,
} from '../storage.js';
import { readContents } from './contents.js';
import { MemoryFeedSource } from './memory-feed-source.js';
import { MemorySnapshot } from './memory-snapshot.js';
import { countExpiries, countNodes, listNodes } from './node-list.js';
import { MemoryState, pageOf, retiredPageOf, type Step, stepsOf } from './memory-state.js';

/** Runs an action later: the simulated world's events, or a timer. */
export interface Scheduler {
  after(delayMs: number, action: () => void): void;
}

/** Outcome of a write. By default it is durable immediately, and acknowledged. */
export interface Fate {
  /**
   * - `durable`: it happens, and a crash does not undo it
   * - `volatile`: it happens, and a crash undoes it and all that came after it
   * - `torn`: as `volatile`, but that a crash leaves its first steps
   * - `none`: it does not happen
   */
  readonly effect?: 'durable' | 'volatile' | 'none' | { readonly torn: number };
  readonly answer?: 'acknowledged' | 'unavailable' | 'in doubt';
  /** Until it is decided and takes effect, and until it is answered. */
  readonly effectAfterMs?: number;
  readonly answerAfterMs?: number;
}

/** The state that servers share: what they see, and what remains after a crash. */
export class MemoryDatabase {
  readonly #scheduler: Scheduler;
  #visible = new MemoryState();
  /** A prefix of what happened. */
  #durable = new MemoryState();
  /** Whether a write is not in that: none after it is, either. */
  #behind = false;
  /** A whole number from 0 to below `end`, at random. */
  readonly draw: (end: number) => number;

  constructor(scheduler: Scheduler, draw: (end: number) => number = (end) => randomInt(end)) {
    this.#scheduler = scheduler;
    this.draw = draw;
    this.restored();
  }

  get state(): MemoryState {
    return this.#visible;
  }

  /** Loses all writes that are not durable. */
  crash(): void {
    this.#visible = new MemoryState(this.#durable);
    this.#behind = false;
  }

  /**
   * Returns a copy of the database: a standby that is promoted while the former primary continues.
   */
  fork(): MemoryDatabase {
    const fork = new MemoryDatabase(this.#scheduler, this.draw);
    fork.#visible = new MemoryState(this.#durable);
    fork.#durable = new MemoryState(this.#durable);
    return fork;
  }

  /**
   * Records that the contents come from a backup. Controllers then receive all their nodes again.
   */
  restored(): void {
    const incarnation = this.draw(MAX_INCARNATION) + 1;
    this.apply([(state) => state.startIncarnation(incarnation)]);
  }

  after(delayMs: number | undefined, action: () => void): void {
    if (delayMs === undefined) action();
    else this.#scheduler.after(delayMs, action);
  }

  apply(steps: readonly Step[], effect: Fate['effect'] = 'durable'): void {
    if (effect === 'none') return;
    for (const step of steps) step(this.#visible);
    if (this.#behind) return;
    const kept = effect === 'durable' ? steps.length : effect === 'volatile' ? 0 : effect.torn;
    for (const step of steps.slice(0, kept)) step(this.#durable);
    this.#behind = kept < steps.length;
  }

  pruneAudit(last: number, limit: number, event?: AttributedEvent): number {
    if (event !== undefined && this.#visible.get(last) === undefined) return 0;
    const removed = this.#visible.removeEntries(last, limit);
    if (event !== undefined) this.#visible.append(event);
    if (this.#behind) return removed;
    this.#durable.removeEntries(last, limit);
    if (event !== undefined) this.#durable.append(event);
    return removed;
  }
}

export class MemoryStorage implements RegistryStorage {
  #database: MemoryDatabase;
  /** Of the next writes, in order. */
  readonly #fates: Fate[] = [];
  #reachable = true;

  constructor(database: MemoryDatabase) {
    this.#database = database;
  }

  /** Connects this server to another database, which has lost the others' writes. */
  connect(database: MemoryDatabase): void {
    this.#database = database;
  }

  /** Whether reads and writes get through. */
  set reachable(reachable: boolean) {
    this.#reachable = reachable;
  }

  /** What becomes of the next writes, one each. */
  order(...fates: readonly Fate[]): void {
    this.#fates.push(...fates);
  }

  get metadata(): Pick<Snapshot, 'metadata' | 'metadataVersion'> {
    this.#requireReachable();
    const { metadata } = this.#database.state;
    return { metadata: (name) => metadata.get(name)?.value, metadataVersion: (name) => metadata.get(name) };
  }

  read(keys: Keys): Snapshot {
    this.#requireReachable();
    return new MemorySnapshot(this.#database.state, keys);
  }

  write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    return this.#write(keys, decide, stepsOf);
  }

  #write<T>(keys: Keys, decide: Decide<T>, stepsFor: (outcome: Outcome<T>) => Step[]): Promise<T> {
    const { effect, answer = 'acknowledged', effectAfterMs, answerAfterMs } = this.#fates.shift() ?? {};
    const database = this.#database;
    return new Promise((resolve, reject) => {
      if (!this.#reachable) {
        reject(unavailable());
        return;
      }
      let settle = (): void => reject(inDoubt());
      database.after(effectAfterMs, () => {
        try {
          const outcome = decide(new MemorySnapshot(database.state, keys));
          database.apply(stepsFor(outcome), effect);
          settle = () => resolve(outcome.result);
        } catch (error) {
          settle = () => reject(error);
        }
        if (answerAfterMs === undefined) finish();
      });
      if (answerAfterMs !== undefined) database.after(answerAfterMs, finish);

      function finish(): void {
        if (answer === 'unavailable') reject(unavailable());
        else if (answer === 'in doubt') reject(inDoubt());
        else settle();
      }
    });
  }

  async load(
    order: number,
    keys: Keys,
    rowsOf: (found: Snapshot) => Page<NodeRow>,
    nodeDescriptions: Page<NodeDescription> = [],
  ): Promise<void> {
    await this.write({ ...keys, orders: [...(keys.orders ?? []), order] }, (found) => {
      if (found.order(order)?.row.state !== 'pending') throw noLongerPending(order);
      const nodes = rowsOf(found);
      const ids = new Set<number>();
      for (const [idI] of nodes) if (this.#database.state.nodes.has(idI) || ids.size === ids.add(idI).size) throw idTaken(idI);
      return { result: undefined, put: { nodes, nodeDescriptions } };
    });
  }

  async unload(order: number, isMeant: (row: OrderRow) => boolean = () => true): Promise<void> {
    const decide: Decide<boolean> = (found) => {
      const row = found.order(order)?.row;
      return { result: row?.state === 'pending' && isMeant(row) };
    };
    await this.#write({ orders: [order] }, decide, ({ result: isThere }) =>
      isThere ? unloadSteps(this.#database.state, order) : [],
    );
  }

  /** A crash undoes it. */
  recordActivity({ nodes, controllers }: ActivityBatch): Promise<void> {
    if (!this.#reachable) return Promise.reject(unavailable());
    const { state } = this.#database;
    for (const [idI, gathered] of nodes) addNodeActivity(state, idI, gathered);
    for (const [idC, gathered] of controllers)
      state.controllerActivity.set(idC, mergeControllerActivity(state.controllerActivity.get(idC), gathered));
    return Promise.resolve();
  }

  nodePage(from: number, limit: number): Page<NodeRow> {
    return this.#page(({ nodes }) => nodes, from, limit);
  }

  controllerPage(from: number, limit: number): Page<ControllerRow> {
    return this.#page(({ controllers }) => controllers, from, limit);
  }

  orderPage(from: number, limit: number): Page<OrderRow> {
    return this.#page(({ orders }) => orders, from, limit);
  }

  nodeDescriptionPage(from: number, limit: number): Page<NodeDescription> {
    return this.#page(({ nodeDescriptions }) => nodeDescriptions, from, limit);
  }

  async nodeList(query: NodeListQuery): Promise<NodeListPage> {
    this.#requireReachable();
    return listNodes(this.#database.state, query);
  }

  async nodeCounts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>> {
    this.#requireReachable();
    return countNodes(this.#database.state, filter, now, by);
  }

  async nodeExpiries(filter: NodeFilter, now: number, edges: readonly number[]): Promise<ExpiryCounts> {
    this.#requireReachable();
    return countExpiries(this.#database.state, filter, now, edges);
  }

  recentInitialKeyPage(from: number, limit: number): Page<readonly RecentInitialKey[]> {
    return this.#page(({ recentInitialKeys }) => recentInitialKeys, from, limit);
  }

  unknownNodePage(from: number, limit: number): Page<NodeActivity> {
    return this.#page(({ unknownNodeActivity }) => unknownNodeActivity, from, limit);
  }

  retiredInitialKeyPage(after: RetiredInitialKeyId | undefined, limit: number): RetiredInitialKeyPage {
    this.#requireReachable();
    return retiredPageOf(this.#database.state, after, limit);
  }

  nodeCount(): number {
    this.#requireReachable();
    return this.#database.state.nodes.size;
  }

  get audit(): AuditTable {
    return this.#database.state;
  }

  get assignments(): AssignmentTable {
    return this.#database.state;
  }

  pruneAudit(last: number, limit: number, event?: AttributedEvent): Promise<number> {
    if (!this.#reachable) return Promise.reject(unavailable());
    return Promise.resolve(this.#database.pruneAudit(last, limit, event));
  }

  contents(): Promise<RegistryContents> {
    if (!this.#reachable) return Promise.reject(unavailable());
    return Promise.resolve(readContents(this.#database.state));
  }

  keyFeed(keyring: Keyring): KeyFeed {
    return new SnapshotKeyFeed(this.feedSource(keyring));
  }

  protected feedSource(keyring: Keyring): FeedSource {
    return new MemoryFeedSource(() => {
      this.#requireReachable();
      return this.#database;
    }, keyring);
  }

  maintain(): void {
    // Nothing is left behind by those who are gone.
  }

  close(): Promise<void> {
    this.#reachable = false;
    return Promise.resolve();
  }

  #page<R>(table: (state: MemoryState) => ReadonlyMap<number, R>, from: number, limit: number): Page<R> {
    this.#requireReachable();
    return pageOf(table(this.#database.state), from, limit);
  }

  #requireReachable(): void {
    if (!this.#reachable) throw unavailable();
  }
}

/** No reader saw these nodes, so nothing about them is stored. */
function unloadSteps(state: MemoryState, order: number): Step[] {
  const ids = [...state.nodes].filter(([, row]) => row.order === order).map(([idI]) => idI);
  return [
    ...ids.map(
      (idI): Step =>
        ({ nodes }) =>
          nodes.delete(idI),
    ),
    ...ids.map(
      (idI): Step =>
        ({ nodeDescriptions }) =>
          nodeDescriptions.delete(idI),
    ),
    ({ orders }) => orders.delete(order),
  ];
}

function addNodeActivity(state: MemoryState, idI: number, gathered: GatheredNode): void {
  const { nodes, nodeActivity, unknownNodeActivity } = state;
  const row = nodes.get(idI);
  if (row === undefined && !unknownNodeActivity.has(idI) && unknownNodeActivity.size >= MAX_UNKNOWN_NODES)
    unknownNodeActivity.clear();
  const table = row === undefined ? unknownNodeActivity : nodeActivity;
  table.set(idI, mergeNodeActivity(table.get(idI), gathered, row));
  const seen = seenByActivity(row, gathered);
  if (seen !== undefined) nodes.set(idI, seen);
}

function unavailable(): Unavailable {
  return new Unavailable('the registry is not reached', { advice: 'Nothing was changed. Try again.' });
}

function inDoubt(): InDoubt {
  return new InDoubt('it is not known whether the registry took the change', { advice: 'Look whether it did.' });
}
