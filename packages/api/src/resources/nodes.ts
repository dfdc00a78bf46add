/** Nodes: pages under filters, one node, its life, and why it has not joined. */

import { parseId } from '@latchkey/protocol';
import {
  call,
  idRange,
  isVisible,
  lifeOf,
  nodesDisable,
  nodesEnable,
  nodesExport,
  nodesRemove,
  nodesSet,
  nodesShow,
  viewExportedNodes,
  viewNode,
  viewNodes,
} from '@latchkey/operations';
import {
  descriptionFields,
  durationSchema,
  exportedNodeSchema,
  MAX_NAME,
  NODE_STATES,
  settableFields,
  TEXT_LIMITS,
  textSchema,
} from '@latchkey/operations/contract';
import type { DescribedNode, NodeFilter, NodeSort } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { z } from 'zod';
import { requireScope } from '../access.js';
import { type Route, type RouteContext, defineRoute } from '../route.js';
import { operationContext } from '../operation-context.js';
import { type Page, type PageInput, pageOf } from '../pages.js';
import { Problem } from '../problem.js';
import { cursorSchema, idSchema, limitSchema, orderNumberSchema, pageSchema, timeSchema } from '../schemas.js';
import { nodeVersion } from '../versions.js';
import { auditEntrySchema } from './audit.js';
import { calendarEdges, isTimeZone } from './calendar-edges.js';

/** Characters of the name of a time zone. */
const MAX_ZONE = 64;
/** Values of one filter. */
const MAX_VALUES = 64;
/** Entries of a node's life: the latest. */
const MAX_LIFE = 1_000;

const nodeSchema = z
  .object({
    id: idSchema,
    state: z.enum(NODE_STATES),
    controller: idSchema,
    order: orderNumberSchema,
    key: z.string().nullable().describe('Fingerprint of the key, 4 hex digits; null to a caller with limits'),
    key_is_initial: z.boolean(),
    split: z.boolean().describe('Whether its initial key is, or was, made of a device key and the installer’s half'),
    lifetime_seconds: z.int(),
    grace_seconds: z.int(),
    added_at: timeSchema,
    joined_at: timeSchema.nullable(),
    renewed_at: timeSchema.nullable(),
    expires_at: timeSchema.nullable(),
    address: z.string().nullable().describe('Where the controller saw the node when it last joined'),
    tid: z.string().nullable().describe('Transaction of the last join'),
    ...descriptionFields,
  })
  .meta({ id: 'Node' });

/** Filters by controller, site and order. */
const placeFilterFields = {
  order: z.array(orderNumberSchema).max(MAX_VALUES).optional().describe('Number of an order or import; repeat it for several'),
  controller: z.array(idSchema).max(MAX_VALUES).optional().describe('Controller that the node is assigned to'),
  site: z.array(textSchema(TEXT_LIMITS.site)).max(MAX_VALUES).optional().describe('Its own, or that of its order'),
  tag: z.array(textSchema(TEXT_LIMITS.tag)).max(MAX_VALUES).optional(),
  installer: z.string().max(MAX_NAME).optional().describe('Installer of its order'),
};

const filtersSchema = z.strictObject({
  state: z.array(z.enum(NODE_STATES)).max(NODE_STATES.length).optional().describe('Repeat it for several states'),
  never_joined: z.boolean().optional().describe('Whether the node still holds its initial key'),
  expires_before: timeSchema.optional(),
  expires_from: timeSchema.optional().describe('Nodes whose key expires at this time or later'),
  starts: z
    .string()
    .regex(/^[0-9a-f]{1,8}$/, { error: 'expected 1 to 8 hex digits in lower case' })
    .optional()
    .describe('First digits of the ID'),
  ...placeFilterFields,
  joined_since: timeSchema.optional().describe('Nodes whose latest join or renewal came at this time or later'),
  after_id: idSchema.optional().describe('Nodes with a greater ID'),
  q: textSchema(TEXT_LIMITS.location).optional().describe('Text in its ID, name, site, location, tags or note'),
});
type Filters = z.output<typeof filtersSchema>;

const SORTS = ['id', '-id', 'expires_at', '-expires_at', 'joined_at', '-joined_at'] as const;

/**
 * End of the former page, by value and ID of its last node, and the number of nodes that the first
 * page found.
 */
const cursorContentSchema = z.tuple([z.number().nullable(), z.int(), z.int()]);

const list = defineRoute({
  name: 'nodes.list',
  summary: 'List nodes',
  description: 'Values of one filter are alternatives; a node must pass every filter.',
  scope: 'read',
  isLimitable: true,
  path: '/v1/nodes',
  input: filtersSchema.extend({
    sort: z.enum(SORTS).default('id').describe('`-` reverses the order. Nodes without such a time come last'),
    limit: limitSchema,
    after: cursorSchema,
  }),
  output: pageSchema(nodeSchema, 'Nodes that pass the filters, counted when the first page was read'),
  run: (context, { limit, after, sort, ...filters }) =>
    listOfNodes(context, { name: 'nodes.list', filters, sort, limit, after }, (ids) => viewNodes(context, ids, context.now)),
});

interface ListRequest extends PageInput {
  /** Name of the list: a cursor is valid for one list only. */
  readonly name: string;
  readonly filters: Filters;
  readonly sort: (typeof SORTS)[number];
}

/** A page of nodes that pass the filters. */
async function listOfNodes<T>(
  context: RouteContext,
  { name, filters, sort, limit, after }: ListRequest,
  view: (ids: readonly number[]) => Promise<T[]>,
): Promise<Page<T>> {
  const { registry, now, signal, opaque, principal } = context;
  const listName = `${name} ${sort} ${JSON.stringify(filters)}`;
  const cursor = after === undefined ? undefined : cursorContentSchema.safeParse(opaque.openCursor(principal, listName, after));
  if (cursor?.success === false) throw new Problem('cursor-invalid');
  const [value = null, idI, firstTotal] = cursor?.data ?? [];
  const page = await registry.until(signal).nodeList({
    filter: filterOf(context, filters),
    now,
    sort: sortOf(sort),
    after: idI === undefined ? undefined : { value, idI },
    limit,
    // The first page counts; later pages know the total.
    counted: firstTotal === undefined,
  });
  const total = firstTotal ?? page.total ?? 0;
  const { ids, next } = page;
  return {
    items: await view(ids),
    next: next === undefined ? null : opaque.sealCursor(principal, listName, [next.value, next.idI, total]),
    total,
  };
}

/** As `export` writes them without keys. */
const listExported = defineRoute({
  name: nodesExport.name,
  summary: 'List nodes by ID with what an export has in addition',
  description: 'The fingerprint of the initial key, and the controllers that saw the node.',
  scope: nodesExport.scope,
  path: '/v1/node-exports',
  input: filtersSchema.extend({ limit: limitSchema, after: cursorSchema }),
  output: pageSchema(
    exportedNodeSchema.meta({ id: 'ExportedNode' }),
    'Nodes that pass the filters, counted when the first page was read',
  ),
  run: (context, { limit, after, ...filters }) =>
    listOfNodes(context, { name: nodesExport.name, filters, sort: 'id', limit, after }, (ids) =>
      viewExportedNodes(context.registry, ids, context.now),
    ),
});

function sortOf(sort: (typeof SORTS)[number]): NodeSort {
  const descending = sort.startsWith('-');
  return { by: (descending ? sort.slice(1) : sort) as NodeSort['by'], descending };
}

function filterOf({ visibleOrders }: RouteContext, filters: Filters): NodeFilter {
  const { never_joined: neverJoined, order = visibleOrders && [...visibleOrders] } = filters;
  const [first, last] = idRange(filters.starts ?? '');
  const after = filters.after_id === undefined ? -1 : (parseId(filters.after_id) ?? -1);
  return {
    states: filters.state,
    orders: order?.filter((number) => isVisible(visibleOrders, number)),
    controllers: filters.controller?.flatMap((id) => parseId(id) ?? []),
    installer: filters.installer,
    hasJoined: neverJoined === undefined ? undefined : !neverJoined,
    expiringBefore: filters.expires_before === undefined ? undefined : Date.parse(filters.expires_before),
    expiringFrom: filters.expires_from === undefined ? undefined : Date.parse(filters.expires_from),
    joinedSince: filters.joined_since === undefined ? undefined : Date.parse(filters.joined_since),
    idRange: [Math.max(first, after + 1), last],
    sites: filters.site,
    tags: filters.tag,
    search: filters.q,
  };
}

/** Counted from the index, as lists are. */
const calendar = defineRoute({
  name: 'calendar.show',
  summary: 'Count keys by the day or week in which they expire',
  description:
    'The filters are those of `GET /v1/nodes`, which lists the nodes of a day with `expires_from` and `expires_before`.',
  scope: 'read',
  isLimitable: true,
  path: '/v1/calendar',
  input: z.strictObject({
    by: z.enum(['day', 'week']).default('day').describe('A week begins on Monday'),
    count: z.int().min(1).max(366).default(120).describe('Days or weeks, the current one first'),
    time_zone: z
      .string()
      .max(MAX_ZONE)
      .refine(isTimeZone, { error: 'expected a time zone such as Europe/Berlin' })
      .default('UTC')
      .describe('Where the days begin'),
    ...placeFilterFields,
  }),
  output: z
    .object({
      at: timeSchema,
      overdue: z.int().describe('Keys that expired before the first day'),
      items: z.array(
        z.object({ from: timeSchema, before: timeSchema, nodes: z.int().describe('Nodes whose key expires in that time') }),
      ),
      later: z.int().describe('Keys that expire after the last day'),
    })
    .meta({ id: 'Calendar' }),
  async run(context, { by, count, time_zone: timeZone, ...filters }) {
    const { registry, now, signal } = context;
    const edges = calendarEdges(now, timeZone, by, count);
    const all = [-Number.MAX_SAFE_INTEGER, ...edges, Number.MAX_SAFE_INTEGER];
    const counts = await registry.until(signal).nodeExpiries(filterOf(context, filters), now, all);
    const items = edges.slice(1).map((before, at) => ({
      from: isoTime(edges[at] ?? before),
      before: isoTime(before),
      nodes: counts[at + 1] ?? 0,
    }));
    return { at: isoTime(now), overdue: counts[0] ?? 0, items, later: counts.at(-1) ?? 0 };
  },
});

/** Counted from the index, because a registry may have more orders than fit on a page. */
const calendarByOrder = defineRoute({
  name: 'calendar.orders',
  summary: 'Count keys that expire in a time by order',
  description: 'Most keys first. Without times, all keys that expire.',
  scope: 'read',
  isLimitable: true,
  path: '/v1/calendar/orders',
  input: z.strictObject({
    expires_from: timeSchema.optional(),
    expires_before: timeSchema.optional(),
    ...placeFilterFields,
    limit: limitSchema,
    after: cursorSchema,
  }),
  output: pageSchema(
    z
      .object({
        order: orderNumberSchema,
        installer: z.string(),
        nodes: z.int().describe('Its nodes whose key expires in that time'),
      })
      .meta({ id: 'OrderOfCalendar' }),
    'Orders with such nodes',
  ),
  async run(context, { limit, after, ...filters }) {
    const { now, signal } = context;
    const registry = context.registry.until(signal);
    const { expiringFrom = -Number.MAX_SAFE_INTEGER, ...filter } = filterOf(context, filters);
    const counts = [...(await registry.nodeCounts({ ...filter, expiringFrom }, now, 'order'))].map(([order, { nodes }]) => ({
      order,
      nodes,
    }));
    const sorted = counts.toSorted((a, b) => b.nodes - a.nodes || a.order - b.order);
    const listName = `calendar.orders ${JSON.stringify(filters)}`;
    const page = pageOf(context, listName, sorted, mostFirst, { limit, after });
    const orders = page.items.map(({ order }) => order);
    const installers = await registry.read({ orders }, (found) => orders.map((order) => found.order(order)?.row.installer ?? ''));
    return { ...page, items: page.items.map(({ order, nodes }, at) => ({ order, nodes, installer: installers[at] ?? '' })) };
  },
});

/** Ascends from most nodes to fewest, and then by order. */
function mostFirst({ order, nodes }: { readonly order: number; readonly nodes: number }): string {
  return [0xffff_ffff - nodes, order].map((number) => String(number).padStart(10, '0')).join(' ');
}

const show = defineRoute({
  name: 'nodes.show',
  summary: 'Show one node',
  scope: 'read',
  isLimitable: true,
  path: '/v1/nodes/:id',
  input: z.strictObject({
    id: idSchema,
    key_holders: z.boolean().optional().describe('Answers also who could have its key: the registry is read from end to end'),
  }),
  version: nodeVersion,
  output: nodeSchema
    .extend({
      initial_key: z.string().nullable().describe('Fingerprint of its initial key, as `key`'),
      key_holders: z
        .array(idSchema)
        .readonly()
        .nullable()
        .describe('Controllers that could have its key, if `key_holders` asks for them; as `key`'),
      other_key_holders: z.boolean().nullable().describe('Whether more could: the registry does not know; as `key_holders`'),
      life: z
        .array(auditEntrySchema)
        .readonly()
        .describe('The latest entries about it, oldest first; none for a caller with limits'),
    })
    .meta({ id: 'NodeDetails' }),
  run(context, input) {
    const { visibleOrders, now } = context;
    if (visibleOrders === undefined) return call(nodesShow, operationContext(context), input);
    return withNode(context, input.id, async ({ node, description }) => ({
      ...viewNode(node, now, description, visibleOrders),
      initial_key: null,
      key_holders: null,
      other_key_holders: null,
      life: [],
    }));
  },
});

const life = defineRoute({
  name: 'nodes.life',
  summary: 'Show what happened to one node',
  description: `The latest entries of the audit log about the node, oldest first, ${MAX_LIFE} at most.`,
  scope: 'read',
  path: '/v1/nodes/:id/life',
  input: z.strictObject({ id: idSchema }),
  output: z.object({ items: z.array(auditEntrySchema) }),
  run(context, { id }) {
    const { registry } = context;
    return withNode(context, id, async ({ node }) => ({ items: await lifeOf(registry, node, MAX_LIFE) }));
  },
});

async function withNode<T>(
  { registry, visibleOrders }: RouteContext,
  id: string,
  use: (found: DescribedNode) => Promise<T>,
): Promise<T> {
  const idI = parseId(id);
  const [found] = idI === undefined ? [] : await registry.describedNodes([idI]);
  try {
    if (found === undefined || !isVisible(visibleOrders, found.node.order))
      throw new Problem('not-found', { detail: 'No node of the registry has this ID.' });
    return await use(found);
  } finally {
    found?.node.key.wipe();
  }
}

function isAnyGiven(fields: Readonly<Record<string, unknown>>): boolean {
  return Object.values(fields).some((value) => value !== undefined);
}

const change = defineRoute({
  method: 'PATCH',
  name: 'nodes.change',
  summary: 'Disable or enable a node, describe it, or change how long its keys last',
  description:
    'Lifetime and grace are those of the keys that it gets from now on. `null` takes a text away. What is not name, location or note needs the scope `nodes`.',
  scope: 'describe',
  isLimitable: true,
  path: '/v1/nodes/:id',
  input: z
    .strictObject({
      id: idSchema,
      disabled: z.boolean().optional(),
      lifetime_seconds: durationSchema.optional(),
      grace_seconds: durationSchema.optional(),
      ...settableFields,
    })
    .refine(({ id: _, disabled, ...settings }) => (disabled === undefined) === isAnyGiven(settings), {
      error: 'expected disabled, or other fields',
    }),
  version: nodeVersion,
  output: nodesSet.output,
  run(context, { id, disabled, lifetime_seconds, grace_seconds, ...texts }) {
    const select = { ids: [id] };
    const { name: _, location: __, note: ___, ...settings } = { disabled, lifetime_seconds, grace_seconds, ...texts };
    if (isAnyGiven(settings)) requireScope(context.principal, 'nodes', 'Only name, location and note are for everybody here.');
    if (disabled === undefined) {
      const description = isAnyGiven(texts) ? texts : undefined;
      return call(nodesSet, operationContext(context), { select, lifetime_seconds, grace_seconds, description });
    }
    return call(disabled ? nodesDisable : nodesEnable, operationContext(context), { select });
  },
});

const remove = defineRoute({
  method: 'DELETE',
  name: nodesRemove.name,
  summary: 'Remove a node from the registry',
  scope: nodesRemove.scope,
  isLimitable: true,
  path: '/v1/nodes/:id',
  input: z.strictObject({ id: idSchema }),
  version: nodeVersion,
  output: nodesRemove.output,
  run: (context, { id }) => call(nodesRemove, operationContext(context), { select: { ids: [id] } }),
});

export const nodeRoutes: readonly Route[] = [list, calendar, calendarByOrder, show, life, change, remove, listExported];
