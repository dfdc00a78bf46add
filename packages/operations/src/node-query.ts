/**
 * Which nodes of a registry match. Every list, count and choice of nodes is made here: the one
 * place that must know of an index.
 */

import { expiryOf, formatId } from '@latchkey/protocol';
import { notFound, type NodeDescription, type NodeInfo, type Registry } from '@latchkey/registry';
import { descriptionMatcher, type DescriptionQuery, viewDescription } from './descriptions.js';
import { orderNotFound, requireOrder } from './order-lookup.js';
import { NODE_STATES, type NodeStatus } from './contract/nodes.js';
import { nodeState } from './node-view.js';
import { atOnce, type Steps } from './steps.js';
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
 * By ID, from `from` on; each as it is when it is reached. Fails for an order or a controller that
 * does not exist: an empty list would look like an answer.
 */
export function queryNodes(registry: Registry, query: NodeQuery, now: number, from: number = 0): Generator<NodeInfo> {
  requireExisting(registry, query);
  return matchingNodes(registry, query, now, from);
}

function requireExisting(registry: Registry, { order, controller, visibleOrders }: NodeQuery): void {
  if (order !== undefined && !isVisible(visibleOrders, order)) throw orderNotFound(order);
  if (order !== undefined) requireOrder(registry, order);
  // Who is limited to some orders is told of no controller.
  if (controller !== undefined && visibleOrders === undefined && registry.controllerRow(controller) === undefined)
    throw notFound('controller', controller);
}

function* matchingNodes(registry: Registry, query: NodeQuery, now: number, from: number): Generator<NodeInfo> {
  for (const node of scanNodes(registry, query, now, from)) if (node !== undefined) yield node;
}

/** Calls `visit` with each node that matches, by ID; a step for each node that is looked at. */
export function* visitNodes(registry: Registry, query: NodeQuery, now: number, visit: (node: NodeInfo) => void): Steps<void> {
  requireExisting(registry, query);
  for (const node of scanNodes(registry, query, now, 0)) {
    if (node !== undefined) visit(node);
    yield;
  }
}

/** Yields each node that is looked at: `undefined` for one that does not match. */
function* scanNodes(registry: Registry, query: NodeQuery, now: number, from: number): Generator<NodeInfo | undefined> {
  const [first, last] = rangeOf(query.idPrefix);
  const orders = query.installer === undefined ? undefined : ordersOf(registry, query.installer);
  const start = Math.max(from, first);
  const isDescribedSo = descriptionTest(registry, query, start);
  for (const node of registry.nodes(start)) {
    if (node.idI > last) return;
    const matches = orders?.has(node.order) !== false && isMatch(node, query, now) && isDescribedSo(node);
    yield matches ? node : undefined;
  }
}

/** Tests nodes in ascending order of ID, from `start` on, by their descriptions. */
export function descriptionTest(registry: Registry, query: DescriptionQuery, start: number): (node: NodeInfo) => boolean {
  const isMatch = descriptionMatcher(query);
  if (isMatch === undefined) return () => true;
  const descriptionOf = ascendingLookup(registry.nodeDescriptions(start));
  return ({ idI, orderSite }) => isMatch(formatId(idI), viewDescription(descriptionOf(idI), orderSite));
}

/** Finds descriptions by IDs that only ascend: both tables are gone through side by side. */
function ascendingLookup(
  descriptions: Iterator<readonly [idI: number, description: NodeDescription]>,
): (idI: number) => NodeDescription | undefined {
  let next = descriptions.next();
  return (idI) => {
    while (next.done !== true && next.value[0] < idI) next = descriptions.next();
    return next.done !== true && next.value[0] === idI ? next.value[1] : undefined;
  };
}

/** The IDs that begin with these digits. */
function rangeOf(prefix: string | undefined): readonly [first: number, last: number] {
  if (prefix === undefined) return [0, MAX_ID];
  return [Number.parseInt(prefix.padEnd(8, '0'), 16), Number.parseInt(prefix.padEnd(8, 'f'), 16)];
}

function ordersOf(registry: Registry, installer: string): ReadonlySet<number> {
  return new Set([...registry.orders()].filter((order) => order.installer === installer).map(({ number }) => number));
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

export function nodePage(registry: Registry, query: NodeQuery, now: number, from: number, limit: number): QueriedPage {
  const nodes: NodeInfo[] = [];
  for (const node of queryNodes(registry, query, now, from)) {
    if (nodes.length >= limit) return { nodes, next: node.idI };
    nodes.push(node);
  }
  return { nodes, next: undefined };
}

export interface Tally {
  nodes: number;
  /** Those that traded their initial key in. */
  joined: number;
}

/** Counts the nodes that match by what `groupOf` gives of each. */
export function countNodesBy<K>(
  registry: Registry,
  query: NodeQuery,
  now: number,
  groupOf: (node: NodeInfo) => K,
): ReadonlyMap<K, Tally> {
  return atOnce(tallyNodesBy(registry, query, now, groupOf));
}

/** As `countNodesBy`, a step for each node that is looked at. */
export function* tallyNodesBy<K>(
  registry: Registry,
  query: NodeQuery,
  now: number,
  groupOf: (node: NodeInfo) => K,
): Steps<ReadonlyMap<K, Tally>> {
  requireExisting(registry, query);
  const groups = new Map<K, Tally>();
  for (const node of scanNodes(registry, query, now, 0)) {
    yield;
    if (node === undefined) continue;
    const group = groupOf(node);
    let tally = groups.get(group);
    if (tally === undefined) groups.set(group, (tally = { nodes: 0, joined: 0 }));
    tally.nodes += 1;
    if (!node.initial) tally.joined += 1;
  }
  return groups;
}

export function countNodes(registry: Registry, query: NodeQuery, now: number): Readonly<Tally> {
  return atOnce(tallyNodes(registry, query, now));
}

/** As `countNodes`, a step for each node that is looked at. */
export function* tallyNodes(registry: Registry, query: NodeQuery, now: number): Steps<Readonly<Tally>> {
  const groups = yield* tallyNodesBy(registry, query, now, () => 'all');
  return groups.get('all') ?? { nodes: 0, joined: 0 };
}

export function countByState(registry: Registry, query: NodeQuery, now: number): ReadonlyMap<NodeStatus, Tally> {
  const counted = countNodesBy(registry, query, now, (node) => nodeState(node, now));
  return new Map(NODE_STATES.map((state) => [state, counted.get(state) ?? { nodes: 0, joined: 0 }]));
}
