/** Reads that open no key of a node: rows, small tables as lists, walks by pages. */

import type { Secret } from '@latchkey/protocol';
import { allOf, betweenPages } from './listing.js';
import type { ExpiryCounts, NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from './model/node-query.js';
import {
  type ControllerActivity,
  type ControllerInfo,
  type ControllerRecord,
  type ControllerRow,
  type NodeActivity,
  type NodeDescription,
  type NodeInfo,
  type NodeRow,
  type OrderRecord,
  type RetiredInitialKeyId,
  type RetiredInitialKeyRow,
  toControllerInfo,
  toNodeInfo,
  unsealController,
  wipeKeys,
} from './model/rows.js';
import { allPages } from './pages.js';
import { type Opened, RegistryCore } from './registry-core.js';
import { type Page, type RetiredInitialKeyPage, type Snapshot, type Versioned } from './storage.js';

/** Rows per page of a walk. */
const PAGE_SIZE = 256;
/** IDs that are looked up in one read. */
const IDS_PER_READ = 1_024;

export class RegistryReads extends RegistryCore {
  /** Nobody restores a registry that a server has open. */
  protected readonly restoredAt: number | undefined;

  protected constructor(opened: Opened) {
    super(opened);
    this.restoredAt = this.restored?.at;
  }

  /** Returns the node's row, even if its order is pending. */
  nodeRow(idI: number): Promise<NodeRow | undefined> {
    return this.read({ nodes: [idI] }, (found) => found.node(idI)?.row);
  }

  /** Returns those of these IDs that are taken, even by a pending order. */
  async takenIds(ids: readonly number[]): Promise<ReadonlySet<number>> {
    const taken = new Set<number>();
    await this.readNodes(ids, (found, part) => {
      for (const idI of part) if (found.node(idI) !== undefined) taken.add(idI);
    });
    return taken;
  }

  /**
   * Reads many nodes and their descriptions, a part at a time, each part in one snapshot.
   *
   * @param look as in `read`; `from` is the index of the part in `ids`
   */
  async readNodes(ids: readonly number[], look: (found: Snapshot, part: readonly number[], from: number) => void): Promise<void> {
    for (let from = 0; from < ids.length; from += IDS_PER_READ) {
      if (from > 0) await betweenPages(this.opened.signal);
      const part = ids.slice(from, from + IDS_PER_READ);
      await this.read({ nodes: part, nodeDescriptions: part }, (found) => look(found, part, from));
    }
  }

  async controller(idC: number): Promise<ControllerRecord | undefined> {
    const row = await this.controllerRow(idC);
    return row && this.unsealController(idC, row);
  }

  async controllerRow(idC: number): Promise<ControllerRow | undefined> {
    return (await this.readController(idC))?.row;
  }

  /** The controller's row, its keys sealed. */
  readController(idC: number): Versioned<ControllerRow> | undefined | Promise<Versioned<ControllerRow> | undefined> {
    const found = this.storage.read({ controllers: [idC] });
    return found instanceof Promise ? found.then((snapshot) => snapshot.controller(idC)) : found.controller(idC);
  }

  unsealController(idC: number, row: ControllerRow): ControllerRecord {
    return unsealController(this.keyring, idC, row);
  }

  /** Returns true if the registry has the controller with this SK_cs, in use or staged. */
  async hasCredential(idC: number, skCs: Secret): Promise<boolean> {
    const controller = await this.controller(idC);
    if (controller === undefined) return false;
    const isKnown = controller.skCs.equals(skCs) || controller.stagedSkCs?.equals(skCs) === true;
    wipeKeys(controller);
    return isKnown;
  }

  /** All of them, in ascending order of ID, without their keys. */
  async controllers(): Promise<ControllerInfo[]> {
    const rows = await allOf(this.#pages((start, limit) => this.storage.controllerPage(start, limit)));
    return rows.map(([idC, row]) => toControllerInfo(idC, row));
  }

  /**
   * Pages in ascending order of ID, from `from` on, without the nodes' keys; each as it is when it
   * is come to. One may be empty.
   */
  async *nodePages(from: number = 0): AsyncGenerator<readonly NodeInfo[]> {
    for await (const page of this.#pages((start, limit) => this.storage.nodePage(start, limit), from)) {
      const orders = [...new Set(page.map(([, row]) => row.order))];
      yield await this.read({ orders }, (found) => page.flatMap(([idI, row]) => this.nodeInfo(found, idI, row) ?? []));
    }
  }

  /** Makes what lists and counts are answered from, so that the first of them does not wait. */
  async prepareLists(): Promise<void> {
    await this.storage.prepareLists?.();
  }

  /** Says that this process counts nodes, and lists none. Call it before the first count. */
  onlyCount(): void {
    this.storage.onlyCount?.();
  }

  /** Which nodes match; the storage engine's. */
  async nodeList(query: NodeListQuery): Promise<NodeListPage> {
    const page = await this.storage.nodeList(query);
    this.opened.signal?.throwIfAborted();
    return page;
  }

  /** How many nodes match, by a property of theirs. */
  async nodeCounts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>> {
    const counts = await this.storage.nodeCounts(filter, now, by);
    this.opened.signal?.throwIfAborted();
    return counts;
  }

  /** How many keys of nodes that match expire between two edges each, in ms since the epoch. */
  async nodeExpiries(filter: NodeFilter, now: number, edges: readonly number[]): Promise<ExpiryCounts> {
    const counts = await this.storage.nodeExpiries(filter, now, edges);
    this.opened.signal?.throwIfAborted();
    return counts;
  }

  /** Those of these nodes that are there, without their keys. */
  async nodesById(ids: readonly number[]): Promise<NodeInfo[]> {
    const nodes: NodeInfo[] = [];
    await this.readNodes(ids, (found, part) => {
      for (const idI of part) {
        const row = found.node(idI)?.row;
        const node = row && this.nodeInfo(found, idI, row);
        if (node !== undefined) nodes.push(node);
      }
    });
    return nodes;
  }

  nodeDescription(idI: number): Promise<NodeDescription | undefined> {
    return this.read({ nodeDescriptions: [idI] }, (found) => found.nodeDescription(idI));
  }

  /** Pages of IKs that were taken from nodes, in the order of that. */
  async *retiredInitialKeyPages(): AsyncGenerator<readonly RetiredInitialKeyRow[]> {
    for (let after: RetiredInitialKeyId | undefined; ;) {
      const page: RetiredInitialKeyPage = await this.storage.retiredInitialKeyPage(after, PAGE_SIZE);
      yield page.map(([, row]) => row);
      if (page.length < PAGE_SIZE) return;
      after = page.at(-1)?.[0];
      await betweenPages(this.opened.signal);
    }
  }

  order(number: number): Promise<OrderRecord | undefined> {
    return this.read({ orders: [number] }, (found) => {
      const row = found.order(number)?.row;
      return row && { number, ...row };
    });
  }

  /** All of them, in ascending order of number. */
  async orders(): Promise<OrderRecord[]> {
    const rows = await allOf(this.#pages((start, limit) => this.storage.orderPage(start, limit)));
    return rows.map(([number, row]) => Object.assign({ number }, row));
  }

  #pages<R>(read: (start: number, limit: number) => Page<R> | Promise<Page<R>>, from: number = 0): AsyncGenerator<Page<R>> {
    return allPages(PAGE_SIZE, read, from, this.opened.signal);
  }

  /** Returns the activity of an ID, whether or not it is a node's. */
  nodeActivity(idI: number): Promise<NodeActivity | undefined> {
    return this.read({ nodeActivity: [idI] }, (found) => found.nodeActivity(idI));
  }

  controllerActivity(idC: number): Promise<ControllerActivity | undefined> {
    return this.read({ controllerActivity: [idC] }, (found) => found.controllerActivity(idC));
  }

  /**
   * `undefined`: its order is not finished, or was left unfinished: then it is as if the node were
   * not there.
   */
  protected nodeInfo(found: Snapshot, idI: number, row: NodeRow): NodeInfo | undefined {
    const order = found.order(row.order)?.row;
    return order === undefined || order.state === 'pending' ? undefined : toNodeInfo(idI, row, order, this.restoredAt);
  }
}
