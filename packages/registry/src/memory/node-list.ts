/** Lists and counts the nodes in memory. They are few, so each call scans all of them. */

import { expiryOf } from '@latchkey/protocol';
import { isMatch, type MatchedNode, siteOf } from '../model/node-match.js';
import {
  type ExpiryCounts,
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
import { toNodeInfo } from '../model/rows.js';
import type { MemoryState } from './memory-state.js';

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

function* matching(state: MemoryState, filter: NodeFilter, now: number): Generator<MatchedNode> {
  for (const [idI, row] of [...state.nodes].toSorted(([a], [b]) => a - b)) {
    const order = state.orders.get(row.order);
    if (order === undefined || order.state === 'pending') continue;
    const node = toNodeInfo(idI, row, order, undefined);
    const one = { node, installer: order.installer, description: state.nodeDescriptions.get(idI) ?? {} };
    if (isMatch(one, filter, now)) yield one;
  }
}
