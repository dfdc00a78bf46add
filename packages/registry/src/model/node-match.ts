/** Whether one node passes a filter: for who has its row at hand, and need not list. */

import { expiryOf, formatId } from '@latchkey/protocol';
import { foldText, type NodeFilter } from './node-query.js';
import type { Snapshot } from '../storage.js';
import { nodeState } from './node-status.js';
import { type NodeDescription, type NodeInfo, type NodeRow, toNodeInfo } from './rows.js';

export interface MatchedNode {
  readonly node: NodeInfo;
  /** Of its order. */
  readonly installer: string;
  readonly description: Partial<NodeDescription>;
}

/** Returns true if a filter uses the description of a node. */
export function looksAtDescriptions({ sites, tags, search }: NodeFilter): boolean {
  return sites !== undefined || tags !== undefined || search !== undefined;
}

/**
 * Returns true if a node passes a filter. `found` must include its order, and its description if
 * the filter uses it.
 *
 * @param now time for which states are computed, ms since the epoch
 */
export function passesFilter(found: Snapshot, idI: number, row: NodeRow, filter: NodeFilter, now: number): boolean {
  const order = found.order(row.order)?.row;
  if (order === undefined || order.state === 'pending') return false;
  const description = looksAtDescriptions(filter) ? found.nodeDescription(idI) : undefined;
  const node = toNodeInfo(idI, row, order, undefined);
  return isMatch({ node, installer: order.installer, description: description ?? {} }, filter, now);
}

/** @param now as of `passesFilter` */
export function isMatch(one: MatchedNode, filter: NodeFilter, now: number): boolean {
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

/** Its own site, or that of its order. */
export function siteOf({ node, description }: MatchedNode): string | undefined {
  return description.site ?? node.orderSite;
}
