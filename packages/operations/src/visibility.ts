/**
 * The part of a registry that a caller with limits sees: some orders and their nodes. For that
 * caller nothing else exists. Every list, count, look-up and change checks here.
 */

import { parseId } from '@latchkey/protocol';
import { type AuditEntry, notFound, type Registry } from '@latchkey/registry';
import type { OrderLimits } from './contract/limits.js';

/** Numbers of orders; `undefined`: all of them. */
export type VisibleOrders = ReadonlySet<number> | undefined;

/** The orders that pass the limits now. An order that is made later may pass them, too. */
export async function visibleOrdersOf(registry: Registry, limits: OrderLimits | undefined): Promise<VisibleOrders> {
  if (limits === undefined) return undefined;
  const { orders, installer, sites } = limits;
  if (installer === undefined && sites === undefined) return new Set(orders);
  const [wantedOrders, wantedSites] = [orders && new Set(orders), sites && new Set(sites)];
  const visible = new Set<number>();
  for (const order of await registry.orders()) {
    if (wantedOrders?.has(order.number) === false) continue;
    if (installer !== undefined && order.installer !== installer) continue;
    if (wantedSites !== undefined && (order.site === undefined || !wantedSites.has(order.site))) continue;
    visible.add(order.number);
  }
  return visible;
}

export function isVisible(visible: VisibleOrders, order: number): boolean {
  return visible === undefined || visible.has(order);
}

/**
 * Those of these entries that the caller sees. An entry about a node is of the order that the node
 * is of now, unless it came before that order: then it is about another node that had the ID. One
 * about neither is of none.
 */
export async function visibleEntries(
  registry: Registry,
  entries: readonly AuditEntry[],
  visible: VisibleOrders,
): Promise<readonly AuditEntry[]> {
  if (visible === undefined) return entries;
  const named = new Set(entries.flatMap(({ node }) => (node === undefined ? [] : [parseId(node) ?? 0])));
  /** From which entry on the caller sees those of a node. */
  const first = new Map<number, number>();
  await registry.readNodes([...named], (found, part) => {
    for (const idI of part) {
      const row = found.node(idI)?.row;
      const order = row && visible.has(row.order) ? found.order(row.order)?.row : undefined;
      if (order !== undefined && order.state !== 'pending') first.set(idI, order.createdEntry);
    }
  });
  return entries.filter(({ seq, node, order }) => {
    if (node === undefined) return order !== undefined && visible.has(order);
    return seq > (first.get(parseId(node) ?? 0) ?? Infinity);
  });
}

/** What an operation on a node by its ID needs. */
interface Viewer {
  readonly registry: Registry;
  readonly visibleOrders?: VisibleOrders;
}

/** @throws Failure as for a node that is not there */
export async function requireVisibleNodes(viewer: Viewer, ids: readonly number[]): Promise<void> {
  if (viewer.visibleOrders !== undefined) await requireNodes(viewer, ids);
}

/** @throws NotFound for the first that is not there, or that the caller does not see */
export async function requireNodes({ registry, visibleOrders }: Viewer, ids: readonly number[]): Promise<void> {
  await registry.readNodes(ids, (found, part) => {
    for (const idI of part) {
      const row = found.node(idI)?.row;
      if (row === undefined || !isVisible(visibleOrders, row.order)) throw notFound('node', idI);
    }
  });
}
