/** Lists and counts of the nodes in memory: it has few, and goes through all of them. */

import { expiryOf, formatId } from '@latchkey/protocol';
import {
  type ExpiryCounts,
  foldText,
  intervalOf,
  isAfterCursor,
  type NodeCounts,
  type NodeFilter,
  type NodeGroups,
  type NodeListPage,
  type NodeListQuery,
  type NodeTally,
  sortValue,
} from '../model/node-query.js';
import { nodeState } from '../model/node-status.js';
import { type NodeDescription, type NodeInfo, toNodeInfo } from '../model/rows.js';
import type { MemoryState } from './memory-state.js';

interface ListedNode {
  readonly node: NodeInfo;
  readonly installer: string;
  readonly description: Partial<NodeDescription>;
}

export function listNodes(state: MemoryState, query: NodeListQuery): NodeListPage {
  const { filter, now, sort = { by: 'id' }, after, limit, counted = false } = query;
  const found = [...matching(state, filter, now)].map(({ node }) => {
    const value = { id: node.idI, expires_at: expiryOf(node), joined_at: node.joinedAt }[sort.by];
    return { idI: node.idI, value, order: sortValue(value, sort) };
  });
  const rest = found
    .filter(({ idI, order }) => after === undefined || isAfterCursor(order, idI, after, sort))
    .toSorted((a, b) => (a.order === b.order ? a.idI - b.idI : a.order - b.order));
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return {
    ids: page.map(({ idI }) => idI),
    next: last === undefined || rest.length <= limit ? undefined : { value: last.value ?? null, idI: last.idI },
    total: counted ? found.length : undefined,
  };
}

export function countNodes<G extends keyof NodeGroups>(
  state: MemoryState,
  filter: NodeFilter,
  now: number,
  by: G,
): NodeCounts<G> {
  const counts = new Map<NodeGroups[G], NodeTally>();
  for (const one of matching(state, filter, now)) {
    const { node } = one;
    const group: NodeGroups = {
      state: nodeState(node, now),
      order: node.order,
      controller: node.controller,
      site: siteOf(one) ?? null,
    };
    const tally = counts.get(group[by]) ?? { nodes: 0, joined: 0 };
    counts.set(group[by], { nodes: tally.nodes + 1, joined: tally.joined + (node.initial ? 0 : 1) });
  }
  return counts;
}

export function countExpiries(state: MemoryState, filter: NodeFilter, now: number, edges: readonly number[]): ExpiryCounts {
  const counts = Array.from({ length: edges.length - 1 }, () => 0);
  for (const { node } of matching(state, filter, now)) {
    const interval = intervalOf(expiryOf(node) ?? Infinity, edges);
    if (interval !== -1) counts[interval] = (counts[interval] ?? 0) + 1;
  }
  return counts;
}

function* matching(state: MemoryState, filter: NodeFilter, now: number): Generator<ListedNode> {
  for (const [idI, row] of [...state.nodes].toSorted(([a], [b]) => a - b)) {
    const order = state.orders.get(row.order);
    if (order === undefined || order.state === 'pending') continue;
    const node = toNodeInfo(idI, row, order, undefined);
    const one = { node, installer: order.installer, description: state.nodeDescriptions.get(idI) ?? {} };
    if (isMatch(one, filter, now)) yield one;
  }
}

function isMatch(one: ListedNode, filter: NodeFilter, now: number): boolean {
  const { node, installer, description } = one;
  const { states, orders, controllers, hasJoined, expiringBefore, joinedSince, idRange, sites, tags, search } = filter;
  if (idRange !== undefined && (node.idI < idRange[0] || node.idI > idRange[1])) return false;
  if (orders?.includes(node.order) === false || controllers?.includes(node.controller) === false) return false;
  if (filter.installer !== undefined && installer !== filter.installer) return false;
  if (hasJoined !== undefined && node.initial === hasJoined) return false;
  if (expiringBefore !== undefined && (expiryOf(node) ?? Infinity) >= expiringBefore) return false;
  if (filter.expiringFrom !== undefined && (expiryOf(node) ?? -Infinity) < filter.expiringFrom) return false;
  if (joinedSince !== undefined && (node.committedAt ?? -Infinity) < joinedSince) return false;
  if (states?.includes(nodeState(node, now)) === false) return false;
  const site = siteOf(one);
  if (sites !== undefined && (site === undefined || !sites.includes(site))) return false;
  if (tags?.some((tag) => description.tags?.includes(tag)) === false) return false;
  if (search === undefined) return true;
  const { name, location, note, tags: ownTags = [] } = description;
  const wanted = foldText(search);
  return [formatId(node.idI), name, site, location, note, ...ownTags].some(
    (text) => text !== undefined && foldText(text).includes(wanted),
  );
}

function siteOf({ node, description }: ListedNode): string | undefined {
  return description.site ?? node.orderSite;
}
