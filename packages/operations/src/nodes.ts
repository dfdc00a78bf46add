/** Operations on nodes: list, show, change, export. */

import { formatId, type Secret } from '@latchkey/protocol';
import { type AuditEntry, type NodeInfo, notFound, type Registry } from '@latchkey/registry';
import { UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { moveNodes, removeNodes, setDisabled, setNodes } from './administration.js';
import type { DescriptionChange } from './contract/descriptions.js';
import * as contract from './contract/nodes.js';
import type {
  ExportedNode,
  NodeChange,
  NodeChangeInput,
  NodeCount,
  NodeDetails,
  NodeExport,
  NodeFilter,
  NodeInput,
  NodeListInput,
  NodeMoveInput,
  NodePage,
  NodeSelection,
  NodeSetInput,
  NodeView,
} from './contract/nodes.js';
import { requireController } from './controllers.js';
import { keyHoldersOf } from './key-holders.js';
import { numberFromId } from './parse-input.js';
import {
  countByState,
  countNodes,
  idsOf,
  preconditionOf,
  nodePage,
  type NodeQuery,
  type NodePrecondition,
  queryNodes,
} from './node-query.js';
import { viewNode } from './node-view.js';
import { type Approval, type Context, implement, inTurn, type Operation } from './operation.js';
import { changeInParts } from './parts.js';
import { requireNodes } from './visibility.js';

/** Entries of a node's life that `nodes.show` has. */
const TIMELINE = 50;
/** Nodes that a preview names. */
const EXAMPLES = 20;

/** The filter as the registry is asked. */
function queryOf({ state, order, controller, installer, ...filter }: NodeFilter): NodeQuery {
  return {
    state,
    order,
    controller: controller === undefined ? undefined : numberFromId(controller),
    installer,
    expiringBefore: filter.expires_before === undefined ? undefined : Date.parse(filter.expires_before),
    expiringFrom: filter.expires_from === undefined ? undefined : Date.parse(filter.expires_from),
    neverJoined: filter.never_joined,
    idPrefix: filter.id_prefix,
    joinedSince: filter.joined_since === undefined ? undefined : Date.parse(filter.joined_since),
    sites: filter.site,
    tags: filter.tag,
    search: filter.search,
  };
}

/** The filter for a caller, who may not see all orders. */
export function queryFor({ visibleOrders }: Context, filter: NodeFilter): NodeQuery {
  return { ...queryOf(filter), visibleOrders };
}

export const nodesList: Operation<NodeListInput, NodePage> = implement(
  contract.nodesList,
  async (context, { after, limit, ...filter }) => {
    const { registry, clock } = context;
    const { wallMs: now } = clock();
    const from = after === undefined ? 0 : numberFromId(after) + 1;
    const { nodes, next } = await nodePage(registry, queryFor(context, filter), now, from, limit);
    const last = nodes.at(-1);
    const items = await viewNodes(
      context,
      nodes.map(({ idI }) => idI),
      now,
    );
    return { items, next: next === undefined || last === undefined ? null : formatId(last.idI) };
  },
);

/** Nodes as the caller sees them. Leaves out those that are not there any more. */
export async function viewNodes(
  { registry, visibleOrders }: Pick<Context, 'registry' | 'visibleOrders'>,
  ids: readonly number[],
  now: number,
): Promise<NodeView[]> {
  return (await registry.describedNodes(ids)).map(({ node, description }) => {
    const view = viewNode(node, now, description, visibleOrders);
    node.key.wipe();
    return view;
  });
}

export const nodesCount: Operation<NodeFilter, NodeCount> = implement(contract.nodesCount, async (context, filter) => {
  const { registry, clock } = context;
  const byState = await countByState(registry, queryFor(context, filter), clock().wallMs);
  const tallies = [...byState.values()];
  return {
    nodes: tallies.reduce((sum, { nodes }) => sum + nodes, 0),
    joined: tallies.reduce((sum, { joined }) => sum + joined, 0),
    states: Object.fromEntries([...byState].map(([state, { nodes }]) => [state, nodes])) as NodeCount['states'],
  };
});

export const nodesShow: Operation<NodeInput, NodeDetails> = implement(contract.nodesShow, async (context, input) => {
  const { registry, clock } = context;
  const idI = numberFromId(input.id);
  const { node, description } = await registry.nodeInDetail(idI);
  if (node === undefined) throw notFound('node', idI);
  const view = viewNode(node, clock().wallMs, description);
  node.key.wipe();
  const holders = input.key_holders === true ? await inTurn(context, () => keyHoldersOf(registry, idI)) : undefined;
  return {
    ...view,
    key_holders: holders?.controllers.map(formatId) ?? null,
    other_key_holders: holders?.andOthers ?? null,
    initial_key: node.ik.fingerprint,
    life: await lifeOf(registry, node, TIMELINE),
  };
});

/**
 * Returns the history of a node and its description, oldest first: the latest entries, after the
 * one that added it.
 */
export async function lifeOf(registry: Registry, node: NodeInfo, most: number): Promise<AuditEntry[]> {
  const description = await registry.nodeDescription(node.idI);
  const entries: AuditEntry[] = [];
  // The node and its description have a chain of entries each.
  for (const last of [node.entry, description?.entry ?? 0])
    entries.push(...(await registry.audit.entriesOfNode(last === 0 ? undefined : last, most)));
  const latest = entries.toSorted((a, b) => a.seq - b.seq).slice(-most);
  return [...(await orderEntryOf(registry, node)), ...latest];
}

/** Returns the entry that created the node's order, if the log still has it. */
async function orderEntryOf(registry: Registry, { order, addedAt }: NodeInfo): Promise<AuditEntry[]> {
  const created = (await registry.order(order))?.createdEntry;
  const entry = created === undefined ? undefined : await registry.audit.readEntry(created);
  return entry === undefined || entry.at !== isoTime(addedAt) ? [] : [entry];
}

/** A node that is exported, and its key, which is wiped when the next page is asked for. */
type NodeAndKey = readonly [node: ExportedNode, key: Secret];

/** A node that is exported, without its key where keys are not asked for. */
export type ExportedLine = readonly [node: ExportedNode, key?: Secret];

/** Receives the nodes that are exported, page after page, by ID. */
export interface ExportContext extends Context {
  readonly write: (pages: AsyncIterable<readonly ExportedLine[]>) => Promise<void>;
}

export const nodesExport: Operation<NodeFilter, NodeExport, ExportContext> = implement(
  contract.nodesExport,
  async (context: ExportContext, filter) => {
    let count = 0;
    async function* counted(): AsyncGenerator<readonly ExportedLine[]> {
      for await (const page of exportedNodes(context, queryOf(filter))) {
        count += page.length;
        yield page.map(([node]) => [node]);
      }
    }
    await context.write(counted());
    return { count };
  },
);

/** `approve` is asked once the nodes are counted, before keys leave. */
export type KeyExportContext = ExportContext & Approval<NodeExport>;

/**
 * That keys leave the registry is in the audit log before they do. The nodes are counted just then:
 * while the walk waited for its turn, there may have come more.
 */
export const nodesExportWithKeys: Operation<NodeFilter, NodeExport, KeyExportContext> = implement(
  contract.nodesExportWithKeys,
  (context: KeyExportContext, filter) =>
    inTurn(context, async () => {
      const { registry, clock } = context;
      const { nodes: count } = await countNodes(registry, queryOf(filter), clock().wallMs);
      await context.approve?.({ count });
      await registry.record({ what: 'nodes exported', count, note: 'with keys' });
      await context.write(exportedNodes(context, queryOf(filter)));
      return { count };
    }),
);

async function* exportedNodes({ registry, clock }: Context, query: NodeQuery): AsyncGenerator<readonly NodeAndKey[]> {
  const { wallMs: now } = clock();
  for await (const page of queryNodes(registry, query, now)) {
    const lines = await exportedPage(
      registry,
      page.map(({ idI }) => idI),
      now,
    );
    try {
      yield lines;
    } finally {
      for (const [, key] of lines) key.wipe();
    }
  }
}

/** Leaves out nodes that are not there any more. The caller wipes the keys. */
async function exportedPage(registry: Registry, ids: readonly number[], now: number): Promise<NodeAndKey[]> {
  return (await registry.describedNodes(ids)).map(({ node, description }) => {
    const keys = { initial_key: node.ik.fingerprint, seen_by: node.seenBy.map(formatId) };
    return [contract.exportedNodeSchema.parse({ ...viewNode(node, now, description), ...keys }), node.key];
  });
}

/** Nodes as an export without keys has them. */
export async function viewExportedNodes(registry: Registry, ids: readonly number[], now: number): Promise<ExportedNode[]> {
  return (await exportedPage(registry, ids, now)).map(([node, key]) => {
    key.wipe();
    return node;
  });
}

interface Selected {
  readonly ids: readonly number[];
  /** What each must still be when it is changed. */
  readonly precondition: NodePrecondition;
  /** Those that were not when they were to be changed. */
  readonly passedOver: ReadonlySet<number>;
}

async function selectNodes(context: Context, { ids, ...filter }: NodeSelection): Promise<Selected> {
  const { registry, clock, visibleOrders } = context;
  const passedOver = new Set<number>();
  if (ids === undefined) {
    const query = queryFor(context, filter);
    const found = await idsOf(registry, query, clock().wallMs);
    return { ids: found, precondition: preconditionOf(registry, query, passedOver), passedOver };
  }
  const named = [...new Set(ids.map(numberFromId))];
  // Before anybody is asked.
  await requireNodes(context, named);
  return { ids: named, precondition: { visibleOrders }, passedOver };
}

/** Nodes that a change is about. */
export interface NodeChangePreview {
  readonly count: number;
  /** The first of them, by ID. */
  readonly examples: readonly string[];
}

export type NodeChangeContext = Context & Approval<NodeChangePreview>;

/** Applies a change to the selected nodes, part by part. */
async function changeNodes(
  context: NodeChangeContext,
  { select }: NodeChangeInput,
  change: (registry: Registry, part: readonly number[], precondition: NodePrecondition) => Promise<number>,
): Promise<NodeChange> {
  const { ids, precondition, passedOver } = await selectNodes(context, select);
  await context.approve?.({ count: ids.length, examples: ids.slice(0, EXAMPLES).map(formatId) });
  let changed = 0;
  await changeInParts(ids, async (part) => {
    changed += await change(context.registry, part, precondition);
  });
  return changeOf(ids.length, changed, passedOver.size);
}

/** What a change came to. */
export function changeOf(selected: number, changed: number, passedOver: number): NodeChange {
  return { changed, unchanged: selected - changed - passedOver, ...(passedOver === 0 ? {} : { passed_over: passedOver }) };
}

export const nodesDisable: Operation<NodeChangeInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesDisable,
  (context: NodeChangeContext, input) =>
    changeNodes(context, input, (registry, part, precondition) => setDisabled(registry, part, true, precondition)),
);

export const nodesEnable: Operation<NodeChangeInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesEnable,
  (context: NodeChangeContext, input) =>
    changeNodes(context, input, (registry, part, precondition) => setDisabled(registry, part, false, precondition)),
);

export const nodesRemove: Operation<NodeChangeInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesRemove,
  (context: NodeChangeContext, input) => changeNodes(context, input, removeNodes),
);

export const nodesMove: Operation<NodeMoveInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesMove,
  async (context: NodeChangeContext, input) => {
    const { idC } = await requireController(context.registry, numberFromId(input.to));
    return changeNodes(context, input, (registry, part, precondition) => moveNodes(registry, part, idC, precondition));
  },
);

export const nodesSet: Operation<NodeSetInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesSet,
  (context: NodeChangeContext, input) => {
    const { lifetime_seconds: lifetime, grace_seconds: grace, description } = input;
    const terms = { ...(lifetime === undefined ? {} : { lifetime }), ...(grace === undefined ? {} : { grace }) };
    const settings = description === undefined ? { terms } : { terms, description };
    const approve = async (preview: NodeChangePreview): Promise<void> => {
      refuseSharedName(description, preview.count);
      await context.approve?.(preview);
    };
    return changeNodes({ ...context, approve }, input, (registry, part, precondition) =>
      setNodes(registry, part, settings, precondition),
    );
  },
);

export function refuseSharedName(description: DescriptionChange | undefined, count: number): void {
  if (typeof description?.name !== 'string' || count <= 1) return;
  throw new UsageFailure(`a name is of one node, and ${count} are selected`, {
    advice: 'Nothing was changed. Name them one by one, or say what they share with --tag, --site or --note.',
  });
}
