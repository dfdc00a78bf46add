/**
 * Selection of nodes in a registry. Every list, count and choice of nodes is made here, with the
 * storage engine's lists and counts.
 */

import {
  looksAtDescriptions,
  type NodeCounts,
  type NodeCursor,
  type NodeFilter,
  type NodeGroups,
  type NodeInfo,
  type NodeRow,
  type NodeTally,
  notFound,
  passesFilter,
  type Registry,
  type Snapshot,
} from '@latchkey/registry';
import type { DescriptionQuery } from './descriptions.js';
import { orderNotFound, requireOrder } from './order-lookup.js';
import { NODE_STATES, type NodeStatus } from './contract/nodes.js';
import { isVisible, type VisibleOrders } from './visibility.js';

/** All that is given must be true of a node. Times are ms since the epoch. */
export interface NodeQuery extends DescriptionQuery {
  /** One of these. */
  readonly state?: readonly NodeStatus[] | undefined;
  readonly order?: number | undefined;
  /** Of these orders only: others do not exist for the caller. */
  readonly visibleOrders?: VisibleOrders;
  readonly controller?: number | undefined;
  /** Of its order. */
  readonly installer?: string | undefined;
  readonly expiringBefore?: number | undefined;
  readonly expiringFrom?: number | undefined;
  /** It still holds its initial key. */
  readonly neverJoined?: boolean | undefined;
  /** 1 to 8 hex digits. */
  readonly idPrefix?: string | undefined;
  /** Its latest join or renewal came then or later. */
  readonly joinedSince?: number | undefined;
}

const MAX_ID = 0xffff_ffff;
/** Nodes per read. */
const NODES_PER_PAGE = 256;
/** IDs per page. */
const IDS_PER_PAGE = 4_096;

/** The query as a storage engine is asked. */
function filterOf({ state, order, visibleOrders, controller, idPrefix, neverJoined, ...query }: NodeQuery): NodeFilter {
  const orders = order === undefined ? visibleOrders && [...visibleOrders] : isVisible(visibleOrders, order) ? [order] : [];
  return {
    states: state,
    orders,
    controllers: controller === undefined ? undefined : [controller],
    hasJoined: neverJoined === true ? false : undefined,
    idRange: idPrefix === undefined ? undefined : idRange(idPrefix),
    installer: query.installer,
    expiringBefore: query.expiringBefore,
    expiringFrom: query.expiringFrom,
    joinedSince: query.joinedSince,
    sites: query.sites,
    tags: query.tags,
    search: query.search,
  };
}

/** Condition that a node must meet in the write that changes it, because it was read earlier. */
export interface NodePrecondition {
  /** Of the caller. A node of another order is not there. */
  readonly visibleOrders?: VisibleOrders;
  /** Returns false for a node that is left as it is. */
  readonly holds?: (found: Snapshot, idI: number, row: NodeRow) => boolean;
  /** True if `holds` uses descriptions. */
  readonly needsDescriptions?: boolean;
}

/**
 * What the nodes of a query must be in the write that changes them, too: by then one may have
 * joined, or have been moved.
 *
 * @param passedOver gets the IDs of those that are not
 */
export function preconditionOf(registry: Registry, query: NodeQuery, passedOver: Set<number>): NodePrecondition {
  const filter = filterOf(query);
  return {
    visibleOrders: query.visibleOrders,
    needsDescriptions: looksAtDescriptions(filter),
    holds(found, idI, row) {
      const holds = passesFilter(found, idI, row, filter, registry.clock().wallMs);
      // A decision may be asked for again.
      if (holds) passedOver.delete(idI);
      else passedOver.add(idI);
      return holds;
    },
  };
}

/** The IDs that begin with these digits. */
export function idRange(prefix: string): readonly [first: number, last: number] {
  return [Number.parseInt(prefix.padEnd(8, '0'), 16), Number.parseInt(prefix.padEnd(8, 'f'), 16)];
}

/**
 * Pages of nodes that match, by ID, from `from` on; each node as it is when it is reached. A page
 * may be empty.
 *
 * @throws NotFound for an order or a controller that does not exist: an empty list would look like
 *   an answer
 */
export async function* queryNodes(
  registry: Registry,
  query: NodeQuery,
  now: number,
  from: number = 0,
): AsyncGenerator<readonly NodeInfo[]> {
  await requireExisting(registry, query);
  const filter = filterOf(query);
  // All nodes are read anyway: no list of them is needed.
  if (Object.values(filter).every((part) => part === undefined)) yield* registry.nodePages(from);
  else for await (const ids of listIds(registry, filter, now, NODES_PER_PAGE, from)) yield await registry.nodesById(ids);
}

async function* listIds(
  registry: Registry,
  filter: NodeFilter,
  now: number,
  limit: number,
  from: number = 0,
): AsyncGenerator<readonly number[]> {
  const [first, last] = filter.idRange ?? [0, MAX_ID];
  const idRange = [Math.max(first, from), last] as const;
  for (let after: NodeCursor | undefined; ;) {
    const page = await registry.nodeList({ filter: { ...filter, idRange }, now, after, limit });
    yield page.ids;
    if (page.next === undefined) return;
    after = page.next;
  }
}

async function requireExisting(registry: Registry, { order, controller, visibleOrders }: NodeQuery): Promise<void> {
  if (order !== undefined && !isVisible(visibleOrders, order)) throw orderNotFound(order);
  if (order !== undefined) await requireOrder(registry, order);
  // A caller that is limited to some orders does not see controllers.
  if (controller === undefined || visibleOrders !== undefined) return;
  if ((await registry.controllerRow(controller)) === undefined) throw notFound('controller', controller);
}

/** A page of nodes, and where the next one begins. */
export interface QueriedPage {
  readonly nodes: readonly NodeInfo[];
  /** The ID to go on from, or `undefined` if there are no more. */
  readonly next: number | undefined;
}

export async function nodePage(
  registry: Registry,
  query: NodeQuery,
  now: number,
  from: number,
  limit: number,
): Promise<QueriedPage> {
  const nodes: NodeInfo[] = [];
  for await (const page of queryNodes(registry, query, now, from))
    for (const node of page) {
      if (nodes.length >= limit) return { nodes, next: node.idI };
      nodes.push(node);
    }
  return { nodes, next: undefined };
}

/** The IDs of all nodes that match, in ascending order. */
export async function idsOf(registry: Registry, query: NodeQuery, now: number): Promise<number[]> {
  await requireExisting(registry, query);
  const ids: number[] = [];
  for await (const page of listIds(registry, filterOf(query), now, IDS_PER_PAGE)) for (const idI of page) ids.push(idI);
  return ids;
}

/** Counts the nodes that match by a property of theirs. */
export async function countNodesBy<G extends keyof NodeGroups>(
  registry: Registry,
  query: NodeQuery,
  now: number,
  by: G,
): Promise<NodeCounts<G>> {
  await requireExisting(registry, query);
  return registry.nodeCounts(filterOf(query), now, by);
}

export async function countNodes(registry: Registry, query: NodeQuery, now: number): Promise<Readonly<NodeTally>> {
  return sumOf(await countNodesBy(registry, query, now, 'state'));
}

function sumOf(counts: NodeCounts<'state'>): Readonly<NodeTally> {
  const sum = { nodes: 0, joined: 0 };
  for (const { nodes, joined } of counts.values()) {
    sum.nodes += nodes;
    sum.joined += joined;
  }
  return sum;
}

/** Every state, those too that no node has. */
export async function countByState(
  registry: Registry,
  query: NodeQuery,
  now: number,
): Promise<ReadonlyMap<NodeStatus, Readonly<NodeTally>>> {
  const counted = await countNodesBy(registry, query, now, 'state');
  return new Map(NODE_STATES.map((state) => [state, counted.get(state) ?? { nodes: 0, joined: 0 }]));
}
