/**
 * The registry in an LMDB store, which several processes may open at the same time: one server, and
 * commands.
 *
 * A write is visible to no reader before it is durable (`overlappingSync: false`). A power failure
 * must not lose a key that a reader has seen, or a node that has confirmed the key is locked out.
 */

import { checkStore, countEntries, writeFailure } from '@latchkey/lmdb';
import { Failure } from '@latchkey/runtime/failure';
import type { Database } from 'lmdb';
import type { AttributedEvent, ChainHead } from '../audit-chain.js';
import {
  type ActivityBatch,
  type GatheredNode,
  MAX_UNKNOWN_NODES,
  mergeControllerActivity,
  mergeNodeActivity,
  seenByActivity,
} from '../model/activity.js';
import { type AssignmentTable, entriesByNode } from '../model/node-assignments.js';
import type { ExpiryCounts, NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from '../model/node-query.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type {
  ControllerActivity,
  ControllerRow,
  NodeActivity,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
} from '../model/rows.js';
import type {
  Decide,
  Keys,
  MetadataName,
  Outcome,
  Page,
  Puts,
  RegistryStorage,
  RetiredInitialKeyPage,
  Removals,
  Snapshot,
  Version,
  Versioned,
} from '../storage.js';
import type { RegistryContents } from '../contents.js';
import type { KeyFeed } from '../key-feed.js';
import { idTaken, noLongerPending } from '../registry-failures.js';
import { SnapshotKeyFeed } from '../snapshot-key-feed.js';
import type { LmdbAuditTable } from './audit-table.js';
import { readContents } from './contents.js';
import { LmdbNodeIndex } from './lmdb-node-index.js';
import { LmdbFeedSource } from './lmdb-feed-source.js';
import { readVersioned, RowCache } from './row-cache.js';
import { restoreAdvice, type Tables } from './tables.js';

/** Nodes read in one transaction: long enough to be fast, short enough not to delay a commit. */
const NODES_PER_TRANSACTION = 4_096;
/** Nodes kept decoded, from their M2 to their M7. */
const MAX_CACHED_NODES = 1_024;
/** Orders, and controllers, kept decoded. */
const MAX_CACHED_ROWS = 256;
/** A read or write of more nodes than this does not displace others in the cache. */
const MAX_NODES_TO_CACHE = 16;

const NO_EVENTS: readonly AttributedEvent[] = [];

export class LmdbStorage implements RegistryStorage {
  readonly tables: Tables;
  readonly #nodeCache: RowCache<NodeRow>;
  readonly #snapshot: LmdbSnapshot;
  readonly #bulkSnapshot: LmdbSnapshot;
  readonly #nodeIndex: LmdbNodeIndex;
  readonly #thrownByDecisions = new WeakSet<object>();

  constructor(tables: Tables) {
    this.tables = tables;
    this.#nodeIndex = new LmdbNodeIndex(tables);
    this.#nodeCache = new RowCache(tables.nodes, MAX_CACHED_NODES);
    this.#snapshot = new LmdbSnapshot(tables, this.#nodeCache);
    this.#bulkSnapshot = new LmdbSnapshot(tables, { get: (idI) => readVersioned(tables.nodes, idI) });
  }

  get audit(): LmdbAuditTable {
    return this.tables.audit;
  }

  get assignments(): AssignmentTable {
    return this.tables.assignments;
  }

  get metadata(): Snapshot {
    return this.read({});
  }

  read(keys: Keys): Snapshot {
    this.tables.refreshSnapshot();
    return this.#snapshotFor(keys);
  }

  /**
   * Uses no child transaction, which costs more. The decision is made before its writes, so nothing
   * needs to be undone.
   */
  write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    return this.#transaction(() => {
      const outcome = this.#decided(decide, keys);
      this.#apply(outcome);
      return outcome.result;
    });
  }

  load(
    order: number,
    keys: Keys,
    rowsOf: (found: Snapshot) => Page<NodeRow>,
    descriptions: Page<NodeDescription> = [],
  ): Promise<void> {
    const { nodes, orders, assignments, nodeDescriptions } = this.tables;
    return this.#transaction(() => {
      if (orders.get(order)?.state !== 'pending') throw noLongerPending(order);
      const rows = rowsOf(this.#snapshotFor(keys));
      const ids = new Set<number>();
      for (const [idI] of rows) if (nodes.doesExist(idI) || ids.size === ids.add(idI).size) throw idTaken(idI);
      for (const [idI, row] of rows) {
        nodes.putSync(idI, row);
        assignments.add(idI, row);
      }
      for (const [idI, description] of descriptions) nodeDescriptions.putSync(idI, description);
    });
  }

  async unload(order: number, isMeant: (row: OrderRow) => boolean = () => true): Promise<void> {
    const { nodes, orders, assignments, nodeDescriptions } = this.tables;
    const isThere = (): boolean => {
      const row = orders.get(order);
      return row?.state === 'pending' && isMeant(row);
    };
    for (let areMore = true; areMore;) {
      areMore = await this.#transaction(() => {
        if (!isThere()) return false;
        const chunk = [...take(assignments.nodesOfOrder(order), NODES_PER_TRANSACTION)];
        for (const idI of chunk) {
          const row = nodes.get(idI);
          nodes.removeSync(idI);
          if (row !== undefined) assignments.takeBack(idI, row);
          nodeDescriptions.removeSync(idI);
        }
        return chunk.length === NODES_PER_TRANSACTION;
      });
    }
    await this.#transaction(() => {
      if (isThere()) orders.removeSync(order);
    });
  }

  async recordActivity({ nodes, controllers }: ActivityBatch): Promise<void> {
    await this.#transaction(() => {
      for (const [idI, gathered] of nodes) this.#addNodeActivity(idI, gathered);
      const { controllerActivity } = this.tables;
      for (const [idC, gathered] of controllers)
        controllerActivity.putSync(idC, mergeControllerActivity(controllerActivity.get(idC), gathered));
    });
  }

  nodePage(from: number, limit: number): Page<NodeRow> {
    return this.#page(this.tables.nodes, from, limit);
  }

  controllerPage(from: number, limit: number): Page<ControllerRow> {
    return this.#page(this.tables.controllers, from, limit);
  }

  orderPage(from: number, limit: number): Page<OrderRow> {
    return this.#page(this.tables.orders, from, limit);
  }

  nodeDescriptionPage(from: number, limit: number): Page<NodeDescription> {
    return this.#page(this.tables.nodeDescriptions, from, limit);
  }

  nodeList(query: NodeListQuery): Promise<NodeListPage> {
    return this.#nodeIndex.list(query);
  }

  prepareLists(): Promise<void> {
    return this.#nodeIndex.prepare();
  }

  onlyCount(): void {
    this.#nodeIndex.onlyCount();
  }

  nodeCounts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>> {
    return this.#nodeIndex.counts(filter, now, by);
  }

  nodeExpiries(filter: NodeFilter, now: number, edges: readonly number[]): Promise<ExpiryCounts> {
    return this.#nodeIndex.expiries(filter, now, edges);
  }

  recentInitialKeyPage(from: number, limit: number): Page<readonly RecentInitialKey[]> {
    return this.#page(this.tables.recentInitialKeys, from, limit);
  }

  unknownNodePage(from: number, limit: number): Page<NodeActivity> {
    return this.#page(this.tables.unknownNodeActivity, from, limit);
  }

  retiredInitialKeyPage(after: RetiredInitialKeyId | undefined, limit: number): RetiredInitialKeyPage {
    this.tables.refreshSnapshot();
    return this.tables.retiredInitialKeys.page(after, { limit });
  }

  keyFeed(): KeyFeed {
    return new SnapshotKeyFeed(new LmdbFeedSource(this.tables));
  }

  nodeCount(): number {
    this.tables.refreshSnapshot();
    return countEntries(this.tables.nodes);
  }

  pruneAudit(last: number, limit: number, event?: AttributedEvent): Promise<number> {
    const { audit } = this.tables;
    return this.#transaction(() => {
      if (event !== undefined && audit.get(last) === undefined) return 0;
      const removed = audit.remove(last, limit);
      if (event !== undefined) audit.append(event, event.at, event.actor);
      return removed;
    });
  }

  /**
   * Forgets the reads of processes that were killed over them, until which the file of the store
   * grows with every commit. LMDB does so itself when the store is opened, and at no other time.
   */
  async maintain(): Promise<void> {
    this.tables.env.readerCheck();
    await this.#nodeIndex.keepCurrent();
  }

  async checkWhole(): Promise<void> {
    const { storeFolder, env, folder } = this.tables;
    await checkStore(storeFolder, env, restoreAdvice(folder));
  }

  async contents(): Promise<RegistryContents> {
    return readContents(this.tables);
  }

  async close(): Promise<void> {
    await this.#nodeIndex.close();
    await this.tables.close();
  }

  #transaction<T>(action: () => T): Promise<T> {
    try {
      return this.tables.env.transaction(action).catch(this.#fail);
    } catch (error) {
      // lmdb throws synchronously if the store is closed.
      return this.#fail(error);
    }
  }

  /** Not an async function around each transaction: a commit would pay for that. */
  readonly #fail = async (error: unknown): Promise<never> => {
    if (error instanceof Failure || this.#thrownByDecisions.has(error as object)) throw error;
    throw await writeFailure(this.tables.folder, error);
  };

  /**
   * An error that the decision throws belongs to its caller, and is no disk fault. Errors that LMDB
   * throws there are disk faults.
   */
  #decided<T>(decide: Decide<T>, keys: Keys): Outcome<T> {
    try {
      return decide(this.#snapshotFor(keys));
    } catch (error) {
      if (error instanceof Error && !('code' in error)) this.#thrownByDecisions.add(error);
      throw error;
    }
  }

  #snapshotFor({ nodes }: Keys): Snapshot {
    return nodes !== undefined && nodes.length > MAX_NODES_TO_CACHE ? this.#bulkSnapshot : this.#snapshot;
  }

  #page<R>(table: Database<R, number>, from: number, limit: number): Page<R> {
    this.tables.refreshSnapshot();
    return Array.from(table.getRange({ start: from, limit }), ({ key, value }) => [key, value] as const);
  }

  #apply({ events = NO_EVENTS, put, remove }: Outcome<unknown>): void {
    const { audit } = this.tables;
    for (const event of events) audit.append(event, event.at, event.actor);
    if (put !== undefined) this.#put(put);
    if (remove !== undefined) this.#remove(remove, events);
  }

  #put({ nodes, controllers, orders, nodeDescriptions, recentInitialKeys, retiredInitialKeys, metadata }: Puts): void {
    const { tables } = this;
    if (nodes !== undefined) {
      const isBulk = nodes.length > MAX_NODES_TO_CACHE;
      for (const [idI, row] of nodes) {
        const before = isBulk ? tables.nodes.get(idI) : this.#nodeCache.get(idI)?.row;
        tables.nodes.putSync(idI, row);
        this.#nodeCache.delete(idI);
        tables.assignments.change(idI, before, row, row.entry);
      }
    }
    if (controllers !== undefined) for (const [idC, row] of controllers) tables.controllers.putSync(idC, row);
    if (orders !== undefined) for (const [number, row] of orders) tables.orders.putSync(number, row);
    if (nodeDescriptions !== undefined) for (const [idI, row] of nodeDescriptions) tables.nodeDescriptions.putSync(idI, row);
    if (metadata !== undefined) for (const [name, value] of metadata) tables.metadata.putSync(name, value);
    if (retiredInitialKeys !== undefined) for (const [id, row] of retiredInitialKeys) tables.retiredInitialKeys.putSync(id, row);
    if (recentInitialKeys === undefined) return;
    for (const [idI, keys] of recentInitialKeys) {
      if (keys.length === 0) tables.recentInitialKeys.removeSync(idI);
      else tables.recentInitialKeys.putSync(idI, keys);
    }
  }

  #remove(
    {
      nodes = [],
      controllers = [],
      orders = [],
      nodeDescriptions = [],
      nodeActivity = [],
      unknownNodeActivity = [],
      controllerActivity = [],
    }: Removals,
    events: readonly AttributedEvent[],
  ): void {
    const { tables } = this;
    if (nodes.length > 0) this.#removeNodes(nodes, events);
    for (const idC of controllers) tables.controllers.removeSync(idC);
    for (const number of orders) tables.orders.removeSync(number);
    for (const idI of nodeDescriptions) tables.nodeDescriptions.removeSync(idI);
    for (const idI of nodeActivity) tables.nodeActivity.removeSync(idI);
    for (const idI of unknownNodeActivity) tables.unknownNodeActivity.removeSync(idI);
    for (const idC of controllerActivity) tables.controllerActivity.removeSync(idC);
  }

  #removeNodes(ids: readonly number[], events: readonly AttributedEvent[]): void {
    const { nodes, assignments, audit } = this.tables;
    const { seq } = audit.head;
    const entries = entriesByNode(events, seq);
    for (const idI of ids) {
      const before = nodes.get(idI);
      if (before === undefined) continue;
      nodes.removeSync(idI);
      assignments.change(idI, before, undefined, entries.get(idI) ?? seq);
    }
  }

  #addNodeActivity(idI: number, gathered: GatheredNode): void {
    const { nodes, nodeActivity, unknownNodeActivity } = this.tables;
    const row = nodes.get(idI);
    if (row === undefined && !unknownNodeActivity.doesExist(idI) && countEntries(unknownNodeActivity) >= MAX_UNKNOWN_NODES)
      unknownNodeActivity.clearSync();
    const table = row === undefined ? unknownNodeActivity : nodeActivity;
    table.putSync(idI, mergeNodeActivity(table.get(idI), gathered, row));
    const seen = seenByActivity(row, gathered);
    if (seen !== undefined) nodes.putSync(idI, seen);
  }
}

function* take<T>(values: Iterable<T>, most: number): Generator<T> {
  let count = 0;
  for (const value of values) {
    if (++count > most) return;
    yield value;
  }
}

/** Reads each row as it is asked for, in the transaction that is open then. */
class LmdbSnapshot implements Snapshot {
  readonly #tables: Tables;
  readonly #nodes: Pick<RowCache<NodeRow>, 'get'>;
  readonly #controllers: RowCache<ControllerRow>;
  readonly #orders: RowCache<OrderRow>;

  constructor(tables: Tables, nodes: Pick<RowCache<NodeRow>, 'get'>) {
    this.#tables = tables;
    this.#nodes = nodes;
    this.#controllers = new RowCache(tables.controllers, MAX_CACHED_ROWS);
    this.#orders = new RowCache(tables.orders, MAX_CACHED_ROWS);
  }

  node(idI: number): Versioned<NodeRow> | undefined {
    return this.#nodes.get(idI);
  }

  controller(idC: number): Versioned<ControllerRow> | undefined {
    return this.#controllers.get(idC);
  }

  order(number: number): Versioned<OrderRow> | undefined {
    return this.#orders.get(number);
  }

  nodeDescription(idI: number): NodeDescription | undefined {
    return this.#tables.nodeDescriptions.get(idI);
  }

  recentInitialKeys(idI: number): readonly RecentInitialKey[] {
    return this.#tables.recentInitialKeys.get(idI) ?? [];
  }

  nodeActivity(idI: number): NodeActivity | undefined {
    const { nodes, nodeActivity, unknownNodeActivity } = this.#tables;
    return (nodes.doesExist(idI) ? nodeActivity : unknownNodeActivity).get(idI);
  }

  controllerActivity(idC: number): ControllerActivity | undefined {
    return this.#tables.controllerActivity.get(idC);
  }

  metadata(name: MetadataName): unknown {
    return this.#tables.metadata.get(name);
  }

  metadataVersion(name: MetadataName): Version | undefined {
    return this.#tables.metadataVersions.version(name);
  }

  get lastOrder(): number {
    const [last = 0] = this.#tables.orders.getKeys({ reverse: true, limit: 1 });
    return last;
  }

  get head(): ChainHead {
    return this.#tables.audit.head;
  }
}
