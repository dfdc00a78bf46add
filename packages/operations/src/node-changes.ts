/** One change of many nodes: shown before it is made, and made part by part. */

import { createHash } from 'node:crypto';
import { formatId } from '@latchkey/protocol';
import { type NodeDescription, type NodeInfo, notFound, type Registry } from '@latchkey/registry';
import { moveNodes, removeNodes, setDisabled, setNodes } from './administration.js';
import * as contract from './contract/node-changes.js';
import type { ManyNodesChange, ManyNodesInput, ManyNodesPreview } from './contract/node-changes.js';
import type { DescriptionChange } from './contract/descriptions.js';
import type { NodeChange } from './contract/nodes.js';
import { requireController } from './controllers.js';
import { changedDescription } from './descriptions.js';
import { changeOf, queryFor, refuseSharedName } from './nodes.js';
import { preconditionOf, type NodeQuery, type NodePrecondition, queryNodes } from './node-query.js';
import { type Approval, type Context, implement, inTurn, type Operation } from './operation.js';
import { numberFromId } from './parse-input.js';
import { type AfterPart, changeInParts } from './parts.js';
import { isVisible } from './visibility.js';

/** Nodes per look-up. */
const NODES_PER_PAGE = 256;
/** Nodes that a preview names. */
const MAX_EXAMPLES = 20;

interface Selected {
  readonly ids: readonly number[];
  /** `undefined`: they were named. */
  readonly query: NodeQuery | undefined;
  readonly preview: ManyNodesPreview;
}

export const nodesPreviewChange: Operation<ManyNodesInput, ManyNodesPreview> = implement(
  contract.nodesPreviewChange,
  async (context, input) => (await inTurn(context, () => selectFor(context, input))).preview,
);

export interface ManyNodesContext extends Context, Approval<ManyNodesPreview> {
  readonly afterPart?: AfterPart | undefined;
}

export const nodesChangeMany: Operation<ManyNodesInput, NodeChange, ManyNodesContext> = implement(
  contract.nodesChangeMany,
  async (context: ManyNodesContext, input) => {
    const { registry, visibleOrders, approve, afterPart } = context;
    const { ids, query, preview } = await inTurn(context, () => selectFor(context, input));
    await approve?.(preview);
    const passedOver = new Set<number>();
    const precondition = query === undefined ? { visibleOrders } : preconditionOf(registry, query, passedOver);
    let changed = 0;
    const changePart = async (part: readonly number[]): Promise<void> => {
      changed += await apply(registry, input.change, part, precondition);
    };
    await changeInParts(ids, changePart, afterPart);
    return changeOf(ids.length, changed, passedOver.size);
  },
);

function apply(
  registry: Registry,
  change: ManyNodesChange,
  ids: readonly number[],
  precondition: NodePrecondition,
): Promise<number> {
  switch (change.kind) {
    case 'disable':
    case 'enable':
      return setDisabled(registry, ids, change.kind === 'disable', precondition);
    case 'remove':
      return removeNodes(registry, ids, precondition);
    case 'move':
      return moveNodes(registry, ids, numberFromId(change.to), precondition);
    case 'set': {
      const { description } = change;
      const settings = { terms: termsOf(change), ...(description === undefined ? {} : { description }) };
      return setNodes(registry, ids, settings, precondition);
    }
    case 'describe':
      return setNodes(registry, ids, { description: change.description }, precondition);
  }
}

function termsOf({ lifetime_seconds: lifetime, grace_seconds: grace }: ManyNodesChange & { readonly kind: 'set' }): {
  readonly lifetime?: number;
  readonly grace?: number;
} {
  return { ...(lifetime === undefined ? {} : { lifetime }), ...(grace === undefined ? {} : { grace }) };
}

/** Selects the nodes, and determines the effect of the change on each. */
async function selectFor(context: Context, { select, change }: ManyNodesInput): Promise<Selected> {
  const { registry, clock } = context;
  const { ids: named, ...filter } = select;
  if (change.kind === 'move') await requireController(registry, numberFromId(change.to));
  const ids: number[] = [];
  let alreadySo = 0;
  const query = named === undefined ? queryFor(context, filter) : undefined;
  const pages = query === undefined ? nodesByIds(context, named ?? []) : queryNodes(registry, query, clock().wallMs);
  for await (const page of pages) {
    for (const { idI } of page) ids.push(idI);
    alreadySo += await countAlreadySo(registry, change, page);
  }
  if (change.kind === 'set') refuseSharedName(change.description, ids.length);
  const digest = createHash('sha256')
    .update(JSON.stringify([change, alreadySo]))
    .update(Uint32Array.from(ids))
    .digest('hex');
  const examples = ids.slice(0, MAX_EXAMPLES).map(formatId);
  return { ids, query, preview: { count: ids.length, already_so: alreadySo, examples, digest } };
}

/** @throws NotFound for the first that is not there */
async function* nodesByIds({ registry, visibleOrders }: Context, wanted: readonly string[]): AsyncGenerator<readonly NodeInfo[]> {
  const ids = [...new Set(wanted.map(numberFromId))];
  for (let from = 0; from < ids.length; from += NODES_PER_PAGE) {
    const part = ids.slice(from, from + NODES_PER_PAGE);
    const found = (await registry.describedNodes(part)).map(({ node }) => node);
    for (const { key } of found) key.wipe();
    const nodes = found.filter(({ order }) => isVisible(visibleOrders, order));
    const missing = part.find((idI, i) => nodes[i]?.idI !== idI);
    if (missing !== undefined) throw notFound('node', missing);
    yield nodes;
  }
}

/** How many of these nodes are so already that the change does nothing to them. */
async function countAlreadySo(registry: Registry, change: ManyNodesChange, nodes: readonly NodeInfo[]): Promise<number> {
  const { description }: { readonly description?: DescriptionChange | undefined } =
    change.kind === 'describe' || change.kind === 'set' ? change : {};
  const isSo = stateTest(change);
  const alike = nodes.filter((node) => isSo(node));
  if (description === undefined) return alike.length;
  const isDescribedSo = (before: NodeDescription | undefined): boolean => changedDescription(before, description) === undefined;
  const ids = alike.map(({ idI }) => idI);
  return registry.read(
    { nodeDescriptions: ids },
    (found) => ids.filter((idI) => isDescribedSo(found.nodeDescription(idI))).length,
  );
}

/** Returns a test for nodes that already have this state, descriptions not considered. */
function stateTest(change: ManyNodesChange): (node: NodeInfo) => boolean {
  switch (change.kind) {
    case 'disable':
      return ({ disabled }) => disabled;
    case 'enable':
      return ({ disabled }) => !disabled;
    case 'remove':
      return () => false;
    case 'move': {
      const to = numberFromId(change.to);
      return ({ controller }) => controller === to;
    }
    case 'set': {
      const { lifetime_seconds: lifetime, grace_seconds: grace } = change;
      return (node) => (lifetime === undefined || node.lifetime === lifetime) && (grace === undefined || node.grace === grace);
    }
    case 'describe':
      return () => true;
  }
}
