/** What an administrator does with nodes: look at them, change them, export them. */

import { formatId, type Secret } from '@latchkey/protocol';
import { type AuditEntry, notFound, type Registry, type UnsealedNode } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { moveNodes, removeNodes, setDisabled, setKeyLifetime } from './administration.js';
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
} from './contract/nodes.js';
import { requireController } from './controllers.js';
import { keyHoldersOf } from './key-holders.js';
import { numberFromId } from './parse-input.js';
import { countByState, countNodes, nodePage, type NodeQuery, queryNodes } from './node-query.js';
import { viewNode } from './node-view.js';
import { type Approval, type Context, implement, type Operation } from './operation.js';

/** Entries of a node's life that `nodes.show` has. */
const TIMELINE = 50;
/** Nodes changed in one transaction: each such part is done whole or not at all. */
export const NODES_PER_TRANSACTION = 4_096;

/** The filter as the registry is asked. */
export function queryOf({ state, order, controller, installer, ...filter }: NodeFilter): NodeQuery {
  return {
    state,
    order,
    controller: controller === undefined ? undefined : numberFromId(controller),
    installer,
    expiringBefore: filter.expires_before === undefined ? undefined : Date.parse(filter.expires_before),
    neverJoined: filter.never_joined,
    idPrefix: filter.id_prefix,
  };
}

export const nodesList: Operation<NodeListInput, NodePage> = implement(
  contract.nodesList,
  ({ registry, clock }, { after, limit, ...filter }) => {
    const { wallMs: now } = clock();
    const from = after === undefined ? 0 : numberFromId(after) + 1;
    const { nodes, next } = nodePage(registry, queryOf(filter), now, from, limit);
    const items = nodes.flatMap(({ idI }) => {
      const node = registry.node(idI);
      if (node === undefined) return [];
      const view = viewNode(node, now);
      node.key.wipe();
      return [view];
    });
    const last = nodes.at(-1);
    return { items, next: next === undefined || last === undefined ? null : formatId(last.idI) };
  },
);

export const nodesCount: Operation<NodeFilter, NodeCount> = implement(contract.nodesCount, ({ registry, clock }, filter) => {
  const byState = countByState(registry, queryOf(filter), clock().wallMs);
  const tallies = [...byState.values()];
  return {
    nodes: tallies.reduce((sum, { nodes }) => sum + nodes, 0),
    joined: tallies.reduce((sum, { joined }) => sum + joined, 0),
    states: Object.fromEntries([...byState].map(([state, { nodes }]) => [state, nodes])) as NodeCount['states'],
  };
});

export const nodesShow: Operation<NodeInput, NodeDetails> = implement(contract.nodesShow, ({ registry, clock }, { id }) => {
  const idI = numberFromId(id);
  const node = registry.node(idI);
  if (node === undefined) throw notFound('node', idI);
  const view = viewNode(node, clock().wallMs);
  node.key.wipe();
  const { controllers, andOthers } = keyHoldersOf(registry, idI);
  const holders = { key_holders: controllers.map(formatId), other_key_holders: andOthers };
  return { ...view, ...holders, initial_key: node.ik.fingerprint, life: lifeOf(registry, node) };
});

/** What happened to a node, oldest first: the latest entries, after the one that brought it. */
function lifeOf(registry: Registry, node: UnsealedNode): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (const entry of registry.audit.entriesOfNode(node.entry === 0 ? undefined : node.entry)) {
    if (entries.length >= TIMELINE) break;
    entries.push(entry);
  }
  const [first] = orderEntryOf(registry, node);
  return [...(first === undefined ? [] : [first]), ...entries.toReversed()];
}

/** The entry that tells of the node's order, if the log still has it. */
function orderEntryOf(registry: Registry, { order, addedAt }: UnsealedNode): AuditEntry[] {
  const created = registry.order(order)?.createdEntry;
  const entry = created === undefined ? undefined : registry.audit.entry(created);
  return entry === undefined || entry.at !== isoTime(addedAt) ? [] : [entry];
}

/** A node that is exported, and its key, which is wiped when the next node is asked for. */
export type NodeAndKey = readonly [node: ExportedNode, key: Secret];

/** Receives the nodes that are exported, one after the other, by ID. */
export interface ExportContext extends Context {
  readonly write: (nodes: Iterable<NodeAndKey>) => Promise<void>;
}

/** The caller writes no key. */
export const nodesExport: Operation<NodeFilter, NodeExport, ExportContext> = implement(
  contract.nodesExport,
  async (context: ExportContext, filter) => {
    let count = 0;
    function* counted(): Generator<NodeAndKey> {
      for (const exported of exportedNodes(context, queryOf(filter))) {
        count += 1;
        yield exported;
      }
    }
    await context.write(counted());
    return { count };
  },
);

/** That keys leave the registry is in the audit log before they do. */
export const nodesExportWithKeys: Operation<NodeFilter, NodeExport, ExportContext> = implement(
  contract.nodesExportWithKeys,
  async (context: ExportContext, filter) => {
    const { registry, clock } = context;
    const { nodes: count } = countNodes(registry, queryOf(filter), clock().wallMs);
    await registry.record({ what: 'nodes exported', count, note: 'with keys' });
    await context.write(exportedNodes(context, queryOf(filter)));
    return { count };
  },
);

function* exportedNodes({ registry, clock }: Context, query: NodeQuery): Generator<NodeAndKey> {
  const { wallMs: now } = clock();
  for (const { idI } of queryNodes(registry, query, now)) {
    const node = registry.node(idI);
    if (node === undefined) continue;
    const view = { ...viewNode(node, now), initial_key: node.ik.fingerprint, seen_by: node.seenBy.map(formatId) };
    yield [contract.exportedNodeSchema.parse(view), node.key];
    node.key.wipe();
  }
}

function selectNodes({ registry, clock }: Context, { ids, order, controller }: NodeSelection): readonly number[] {
  if (ids !== undefined) return [...new Set(ids.map(numberFromId))];
  const found: number[] = [];
  for (const { idI } of queryNodes(registry, queryOf({ order, controller }), clock().wallMs)) found.push(idI);
  return found;
}

/** A change of nodes, and how many are selected. */
export type NodeChangeContext = Context & Approval<{ readonly count: number }>;

/** Applies a change to the selected nodes, part by part. */
async function changeNodes(
  context: NodeChangeContext,
  { select }: NodeChangeInput,
  change: (registry: Registry, part: readonly number[]) => Promise<number>,
): Promise<NodeChange> {
  const selected = selectNodes(context, select);
  await context.approve?.({ count: selected.length });
  let changed = 0;
  for (let from = 0; from < selected.length; from += NODES_PER_TRANSACTION)
    changed += await change(context.registry, selected.slice(from, from + NODES_PER_TRANSACTION));
  return { changed, unchanged: selected.length - changed };
}

export const nodesDisable: Operation<NodeChangeInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesDisable,
  (context: NodeChangeContext, input) => changeNodes(context, input, (registry, part) => setDisabled(registry, part, true)),
);

export const nodesEnable: Operation<NodeChangeInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesEnable,
  (context: NodeChangeContext, input) => changeNodes(context, input, (registry, part) => setDisabled(registry, part, false)),
);

export const nodesRemove: Operation<NodeChangeInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesRemove,
  (context: NodeChangeContext, input) => changeNodes(context, input, removeNodes),
);

export const nodesMove: Operation<NodeMoveInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesMove,
  (context: NodeChangeContext, input) =>
    changeNodes(context, input, async (registry, part) => {
      const { idC } = requireController(registry, numberFromId(input.to));
      return moveNodes(registry, part, idC);
    }),
);

export const nodesSet: Operation<NodeSetInput, NodeChange, NodeChangeContext> = implement(
  contract.nodesSet,
  (context: NodeChangeContext, input) => {
    const { lifetime_seconds: lifetime, grace_seconds: grace } = input;
    const terms = { ...(lifetime === undefined ? {} : { lifetime }), ...(grace === undefined ? {} : { grace }) };
    return changeNodes(context, input, (registry, part) => setKeyLifetime(registry, part, terms));
  },
);
