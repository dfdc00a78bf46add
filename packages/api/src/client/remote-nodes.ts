/** Nodes and the audit log of a registry elsewhere. */

import type { Approval, ExportContext, ExportedLine, NodeChangePreview, Progress } from '@latchkey/operations';
import {
  type AuditListInput,
  exportedNodeSchema,
  type ManyNodesChange,
  type NodeFilter,
  type NodeListInput,
  type NodeSelection,
  type NodeSetInput,
  type WaitingDismissal,
  waitingDismiss,
  type WaitingDismissInput,
  waitingList,
  type WaitingListInput,
} from '@latchkey/operations/contract';
import { NotFound } from '@latchkey/runtime/failure';
import { z } from 'zod';
import { previewSchema } from '../resources/node-changes.js';
import { PAGE, type RouteCaller } from './route-caller.js';
import type { RouteInput } from './route-request.js';

/** A filter as the query of a list has it. */
function queryOf({ order, controller, id_prefix: starts, search: q, ...filter }: NodeFilter): RouteInput {
  return {
    ...filter,
    order: order === undefined ? undefined : [order],
    controller: controller === undefined ? undefined : [controller],
    starts,
    q,
  };
}

const namedSchema = z.object({ id: z.string() });

/** Pages of nodes. Each page after the first begins where the server said. */
export class NodePages {
  /** Cursor after the latest page. */
  #next: { readonly id: string; readonly cursor: string } | undefined;

  async list(api: RouteCaller, { after, limit, ...filter }: NodeListInput): Promise<unknown> {
    const start = after !== undefined && after === this.#next?.id ? { after: this.#next.cursor } : { after_id: after };
    const { items, next: cursor } = await api.page('nodes.list', { ...queryOf(filter), ...start, limit });
    if (items.length === 0) await requireExisting(api, filter);
    const { id } = namedSchema.optional().parse(items.at(-1)) ?? {};
    this.#next = cursor === null || id === undefined ? undefined : { id, cursor };
    return { items, next: this.#next?.id ?? null };
  }
}

/** An empty list would look like an answer about an order or a controller that does not exist. */
async function requireExisting(api: RouteCaller, { order, controller }: NodeFilter): Promise<void> {
  if (order !== undefined) await api.fetch('orders.show', { order });
  if (controller !== undefined) await api.fetch('controllers.show', { id: controller });
}

/** Nodes as an export has them, page by page as they are read. */
export async function exportNodes(
  api: RouteCaller,
  filter: NodeFilter,
  { write }: Pick<ExportContext, 'write'>,
): Promise<{ readonly count: number }> {
  let count = 0;
  async function* pages(): AsyncGenerator<readonly ExportedLine[]> {
    for await (const items of api.pages('nodes.export', queryOf(filter))) {
      count += items.length;
      yield items.map((item) => [exportedNodeSchema.parse(item)]);
    }
  }
  await write(pages());
  if (count === 0) await requireExisting(api, filter);
  return { count };
}

interface ChangeExtras extends Approval<NodeChangePreview> {
  readonly progress?: Progress | undefined;
}

/** Shows the caller the selected nodes, then changes exactly these. */
export async function changeNodes(
  api: RouteCaller,
  select: NodeSelection,
  change: ManyNodesChange,
  { approve, progress }: ChangeExtras,
): Promise<unknown> {
  const preview = await api.fetch('nodes.change-many', { select, change, dry_run: true });
  const { count, examples, expect } = previewSchema.parse(preview);
  await approve?.({ count, examples });
  return api.fetch('nodes.change-many', { select, change, expect }, progress);
}

/** What the scope `describe` is for. */
const DESCRIBED: ReadonlySet<string> = new Set(['name', 'location', 'note']);

/** Whoever may describe nodes, and change nothing else, does so one by one. */
export async function setNodes(api: RouteCaller, { select, ...settings }: NodeSetInput, extras: ChangeExtras): Promise<unknown> {
  const { description = {}, ...terms } = settings;
  const [id, ...others] = new Set(select.ids);
  const fields = [...Object.entries(description), ...Object.entries(terms)].filter(([, value]) => value !== undefined);
  if (id === undefined || others.length > 0 || !fields.every(([field]) => DESCRIBED.has(field)))
    return changeNodes(api, select, { kind: 'set', ...settings }, extras);
  // Nobody is asked about one that is not there. A token without `read` is told so by the change.
  await api.fetch('nodes.show', { id }).catch((error: unknown) => {
    if (error instanceof NotFound) throw error;
  });
  await extras.approve?.({ count: 1, examples: [id] });
  return api.fetch('nodes.change', { id, ...description });
}

/** All that wait, on one page: a registry remembers some 1,000. */
export async function listWaiting(api: RouteCaller, { after = '' }: WaitingListInput): Promise<unknown> {
  const all = await api.all(waitingList.name, {});
  return { items: all.filter((waiting) => namedSchema.parse(waiting).id > after), next: null, total: all.length };
}

export async function dismissWaiting(api: RouteCaller, { ids }: WaitingDismissInput): Promise<WaitingDismissal> {
  let count = 0;
  for (const id of new Set(ids)) count += waitingDismiss.output.parse(await api.fetch(waitingDismiss.name, { id })).dismissed;
  return { dismissed: count };
}

/** Entries from one on, or the latest ones; oldest first in both cases. */
export async function listAudit(api: RouteCaller, { limit, ...filters }: AuditListInput): Promise<unknown> {
  const ascending = filters.from !== undefined;
  const items: unknown[] = [];
  for (let after: string | null | undefined; after !== null && items.length < limit;) {
    const page = await api.page('audit.list', { ...filters, ascending, after, limit: Math.min(limit - items.length, PAGE) });
    items.push(...page.items);
    after = page.next;
  }
  return { items: ascending ? items : items.toReversed() };
}
