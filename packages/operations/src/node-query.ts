/**
 * Which nodes of a registry match. Every list, count and choice of nodes is made here: the one
 * place that must know of an index.
 */

import { expiryOf, formatId } from '@latchkey/protocol';
import { notFound, type NodeInfo, type Registry } from '@latchkey/registry';
import { descriptionMatcher, type DescriptionQuery, viewDescription } from './descriptions.js';
import { orderNotFound, requireOrder } from './order-lookup.js';
import { NODE_STATES, type NodeStatus } from './contract/nodes.js';
import { nodeState } from './node-view.js';
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
  /** It still holds its initial key. */
  readonly neverJoined?: boolean | undefined;
  /** 1 to 8 hex digits. */
  readonly idPrefix?: string | undefined;
  /** Its latest join or renewal came then or later. */
  readonly joinedSince?: number | undefined;
}

const MAX_ID = 0xffff_ffff;

/**
 * Pages of nodes that match, by ID, from `from` on; each node as it is when it is reached. A page
 * may be empty: it is what matches of those that were looked at.
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
  const [first, last] = rangeOf(query.idPrefix);
  const orders = query.installer === undefined ? undefined : await ordersOf(registry, query.installer);
  for await (const page of registry.nodePages(Math.max(from, first))) {
    const matching = page.filter((node) => node.idI <= last && orders?.has(node.order) !== false && isMatch(node, query, now));
    yield await nodesDescribedSo(registry, query, matching);
    if ((page.at(-1)?.idI ?? 0) >= last) return;
  }
}

async function requireExisting(registry: Registry, { order, controller, visibleOrders }: NodeQuery): Promise<void> {
  if (order !== undefined && !isVisible(visibleOrders, order)) throw orderNotFound(order);
  if (order !== undefined) await requireOrder(registry, order);
  // Who is limited to some orders is told of no controller.
  if (controller === undefined || visibleOrders !== undefined) return;
  if ((await registry.controllerRow(controller)) === undefined) throw notFound('controller', controller);
}

/** Those of a page whose descriptions match. */
export async function nodesDescribedSo(
  registry: Registry,
  query: DescriptionQuery,
  nodes: readonly NodeInfo[],
): Promise<readonly NodeInfo[]> {
  const matches = descriptionMatcher(query);
  if (matches === undefined || nodes.length === 0) return nodes;
  return registry.read({ nodeDescriptions: nodes.map(({ idI }) => idI) }, (found) =>
    nodes.filter(({ idI, orderSite }) => matches(formatId(idI), viewDescription(found.nodeDescription(idI), orderSite))),
  );
}

/** The IDs that begin with these digits. */
function rangeOf(prefix: string | undefined): readonly [first: number, last: number] {
  if (prefix === undefined) return [0, MAX_ID];
  return [Number.parseInt(prefix.padEnd(8, '0'), 16), Number.parseInt(prefix.padEnd(8, 'f'), 16)];
}

async function ordersOf(registry: Registry, installer: string): Promise<ReadonlySet<number>> {
  const orders = await registry.orders();
  return new Set(orders.filter((order) => order.installer === installer).map(({ number }) => number));
}

function isMatch(node: NodeInfo, query: NodeQuery, now: number): boolean {
  const { state, order, controller, expiringBefore, neverJoined, joinedSince, visibleOrders } = query;
  if (!isVisible(visibleOrders, node.order)) return false;
  if (order !== undefined && node.order !== order) return false;
  if (controller !== undefined && node.controller !== controller) return false;
  if (neverJoined === true && !node.initial) return false;
  if (expiringBefore !== undefined && (expiryOf(node) ?? Infinity) >= expiringBefore) return false;
  if (joinedSince !== undefined && (node.committedAt ?? -Infinity) < joinedSince) return false;
  return state === undefined || state.includes(nodeState(node, now));
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
  const ids: number[] = [];
  for await (const page of queryNodes(registry, query, now)) for (const { idI } of page) ids.push(idI);
  return ids;
}

export interface Tally {
  nodes: number;
  /** Those that traded their initial key in. */
  joined: number;
}

/** Counts the nodes that match by what `groupOf` gives of each. */
export async function countNodesBy<K>(
  registry: Registry,
  query: NodeQuery,
  now: number,
  groupOf: (node: NodeInfo) => K,
): Promise<ReadonlyMap<K, Tally>> {
  const groups = new Map<K, Tally>();
  for await (const page of queryNodes(registry, query, now))
    for (const node of page) {
      const group = groupOf(node);
      let tally = groups.get(group);
      if (tally === undefined) groups.set(group, (tally = { nodes: 0, joined: 0 }));
      tally.nodes += 1;
      if (!node.initial) tally.joined += 1;
    }
  return groups;
}

export async function countNodes(registry: Registry, query: NodeQuery, now: number): Promise<Readonly<Tally>> {
  const groups = await countNodesBy(registry, query, now, () => 'all');
  return groups.get('all') ?? { nodes: 0, joined: 0 };
}

export async function countByState(registry: Registry, query: NodeQuery, now: number): Promise<ReadonlyMap<NodeStatus, Tally>> {
  const counted = await countNodesBy(registry, query, now, (node) => nodeState(node, now));
  return new Map(NODE_STATES.map((state) => [state, counted.get(state) ?? { nodes: 0, joined: 0 }]));
}
