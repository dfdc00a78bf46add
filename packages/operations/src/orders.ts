/** What an administrator does with orders and imports. */

import { formatId } from '@latchkey/protocol';
import type { ManifestLine } from '@latchkey/provisioning';
import { type NodeTally, type OrderRecord, type OrderStatus, orderStatus, type Registry } from '@latchkey/registry';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { describeOrder, recordExport, setJoinWindow, setOrderState } from './administration.js';
import type { DescriptionView } from './contract/descriptions.js';
import * as contract from './contract/orders.js';
import type {
  CreatedOrder,
  JoinWindowInput,
  OrderCreateInput,
  OrderDescription,
  OrderHandover,
  OrderInput,
  OrderList,
  OrderSetInput,
  OrderState,
  OrderView,
} from './contract/orders.js';
import { requireControllers } from './controllers.js';
import { viewDescription } from './descriptions.js';
import { enrol } from './enrolment.js';
import type { DeviceKeys } from './import/device-keys.js';
import { freeName } from './next-steps.js';
import type { NodeBatch } from './node-batch.js';
import { countNodes, countNodesBy } from './node-query.js';
import { orderNotFound, requireOrder, requireVisibleOrder } from './order-lookup.js';
import { type Approval, type Context, implement, inTurn, type Operation, withProgress } from './operation.js';
import {
  type ControllerShare,
  generateNodes,
  generateSplitNodes,
  manifestOf,
  nodesOf,
  remainingManifest,
} from './order-creation.js';
import { numberFromId } from './parse-input.js';
import { pluralize } from './pluralize.js';
import { isVisible } from './visibility.js';

/** Labels on one sheet at most: some 500 pages, 30 MB. */
const MAX_LABELS = 10_000;
const NO_NODES: Readonly<NodeTally> = { nodes: 0, joined: 0 };

export const ordersList: Operation<object, OrderList> = implement(contract.ordersList, async (context) => {
  const { registry, clock, visibleOrders } = context;
  const { wallMs: now } = clock();
  // Reads the orders first, so that an order created during the walk is left out, and not listed
  // without its nodes.
  const orders = (await registry.orders()).filter(({ number }) => isVisible(visibleOrders, number));
  const counts = await countNodesBy(registry, { visibleOrders }, now, 'order');
  return { items: orders.flatMap((order) => viewOrder(order, counts.get(order.number) ?? NO_NODES, now) ?? []) };
});

export const ordersShow: Operation<OrderInput, OrderView> = implement(contract.ordersShow, (context, input) =>
  viewOf(context, input.order),
);

async function viewOf(context: Context, number: number): Promise<OrderView> {
  const { registry, clock } = context;
  const { wallMs: now } = clock();
  const order = await requireVisibleOrder(context, number);
  const tally = await countNodes(registry, { order: number }, now);
  const view = viewOrder(order, tally, now);
  if (view === undefined) throw orderNotFound(number);
  return view;
}

/** Returns `undefined` for an order that is not finished: it is not there yet. */
function viewOrder(order: OrderRecord, { nodes, joined }: Readonly<NodeTally>, now: number): OrderView | undefined {
  const state = orderStatus(order, now);
  if (state === undefined) return undefined;
  return {
    order: order.number,
    kind: order.kind,
    state,
    installer: order.installer,
    contact: order.contact ?? null,
    site: order.site ?? null,
    controller: order.idC === undefined ? null : formatId(order.idC),
    nodes,
    joined,
    shared_key: order.sharedKey,
    split: order.manufacturer !== undefined,
    manufacturer: order.manufacturer ?? null,
    lifetime_seconds: order.lifetime,
    grace_seconds: order.grace,
    join_from: isoOrNull(order.joinFrom),
    join_until: isoOrNull(order.joinUntil),
    created_at: isoTime(order.createdAt),
  };
}

function isoOrNull(at: number | undefined): string | null {
  return at === undefined ? null : isoTime(at);
}

/** A join window in ms since the epoch. */
export interface JoinWindow {
  readonly joinFrom?: number;
  readonly joinUntil?: number;
}

/**
 * Describes the fault of a window: it ends before it begins, or is over. Returns `undefined` for a
 * window in which nodes can join.
 */
export function windowFault({ joinFrom, joinUntil }: JoinWindow, now: number): 'reversed' | 'over' | undefined {
  if (joinUntil === undefined) return undefined;
  if (joinFrom !== undefined && joinFrom >= joinUntil) return 'reversed';
  return joinUntil <= now ? 'over' : undefined;
}

function windowOf({ join_from: from, join_until: until }: JoinWindowInput, now: number): JoinWindow {
  const window = {
    ...(from === undefined ? {} : { joinFrom: Date.parse(from) }),
    ...(until === undefined ? {} : { joinUntil: Date.parse(until) }),
  };
  const fault = windowFault(window, now);
  if (fault === undefined) return window;
  const what = fault === 'over' ? `join_until ${until} is over already` : `join_until ${until} is not after join_from ${from}`;
  throw new UsageFailure(what, { advice: 'Nothing was changed.' });
}

export const ordersOpen: Operation<OrderInput & JoinWindowInput, OrderState> = implement(
  contract.ordersOpen,
  async (context, { order, ...input }) => {
    const { registry, clock } = context;
    const window = windowOf(input, clock().wallMs);
    await requireVisibleOrder(context, order);
    await setJoinWindow(registry, order, window);
    return stateOf(registry, order, clock().wallMs);
  },
);

/** Joins do not change: none of them depends on these texts. */
export const ordersSet: Operation<OrderSetInput, OrderDescription> = implement(
  contract.ordersSet,
  async (context, { order, ...change }) => {
    const { registry } = context;
    await requireVisibleOrder(context, order);
    const changed = await describeOrder(registry, order, change);
    const { contact = null, site = null } = await requireOrder(registry, order);
    return { order, changed, contact, site };
  },
);

/** Omits absent texts. */
export function orderTexts({ contact, site }: Pick<OrderCreateInput, 'contact' | 'site'>): Pick<OrderRecord, 'contact' | 'site'> {
  return { ...(contact === undefined ? {} : { contact }), ...(site === undefined ? {} : { site }) };
}

export const ordersSuspend: Operation<OrderInput, OrderState> = implement(contract.ordersSuspend, (context, input) =>
  changeState(context, input, 'suspended'),
);

export const ordersResume: Operation<OrderInput, OrderState> = implement(contract.ordersResume, (context, input) =>
  changeState(context, input, 'open'),
);

/** How many nodes of the order can never join once it is closed. */
export type CloseContext = Context & Approval<{ readonly remaining: number }>;

export const ordersClose: Operation<OrderInput, OrderState, CloseContext> = implement(
  contract.ordersClose,
  async (context: CloseContext, input) => {
    const { nodes, joined } = await viewOf(context, input.order);
    await context.approve?.({ remaining: nodes - joined });
    return changeState(context, input, 'closed');
  },
);

async function changeState(context: Context, { order }: OrderInput, state: 'open' | 'suspended' | 'closed'): Promise<OrderState> {
  const { registry, clock } = context;
  await requireVisibleOrder(context, order);
  await setOrderState(registry, order, state);
  return stateOf(registry, order, clock().wallMs);
}

async function stateOf(registry: Registry, number: number, now: number): Promise<OrderState> {
  const state: OrderStatus | undefined = orderStatus(await requireOrder(registry, number), now);
  if (state === undefined) throw orderNotFound(number);
  return { order: number, state };
}

export type BeforeCommit = () => Promise<readonly ManifestLine[] | undefined>;

/** Output of an operation for keys of nodes: a file, or an answer. */
export interface KeyOutput {
  /** For the audit log. */
  readonly kind: 'manifest' | 'encrypted manifest';
  /**
   * @param beforeCommit writes the content of the manifest to the registry, before the manifest can
   *   be used. Returns lines that replace `lines`, if some must not be handed out
   */
  readonly write: (lines: Iterable<ManifestLine>, beforeCommit?: BeforeCommit) => Promise<void>;
  /** For age recipients only: output for the file that another machine encrypted to them. */
  readonly encrypted?:
    | { readonly recipients: readonly string[]; readonly write: (octets: Uint8Array) => Promise<void> }
    | undefined;
}

export interface HandoverContext extends Context {
  /**
   * Opens the output of the manifest. Called before keys are generated or anything is changed.
   *
   * @param nodes number of nodes in the manifest, if already known
   */
  readonly openOutput: (nodes?: number) => Promise<KeyOutput>;
}

export interface OrderCreateContext extends HandoverContext {
  /** Reads the manufacturer's device keys, if the initial keys will be split. */
  readonly readDeviceKeys?: (() => Promise<DeviceKeys>) | undefined;
}

/** The order is in the registry, and its manifest could not be written. */
export class ManifestNotWritten extends Failure {
  readonly order: number;

  constructor(order: number, error: unknown) {
    super(error instanceof Error ? error.message : String(error), { cause: error });
    this.order = order;
  }
}

/** The draft's steps 1 and 2. */
export const ordersCreate: Operation<OrderCreateInput, CreatedOrder, OrderCreateContext> = implement(
  contract.ordersCreate,
  async (context: OrderCreateContext, input) => {
    const { registry, clock } = context;
    const { installer, shared_key: sharedKey, lifetime_seconds: lifetime, grace_seconds: grace } = input;
    const manufacturer = requireHolder(context.readDeviceKeys, input.manufacturer);
    const window = windowOf(input, clock().wallMs);
    const wanted = sharesOf(input);
    const controllers = await requireControllers(
      registry,
      wanted.map(({ idC }) => idC),
    );
    const output = await context.openOutput();
    const { batch, shares } = await drawNodes(context, input, wanted);
    const count = batch.length;
    let number: number | undefined;
    try {
      // As an import, an order through several controllers names none: its nodes do.
      const idC = shares.length === 1 ? shares[0]?.idC : undefined;
      const split = manufacturer === undefined ? {} : { manufacturer };
      const texts = orderTexts(input);
      const terms = { kind: 'order', installer, ...texts, idC, sharedKey, ...split, lifetime, grace, ...window } as const;
      await output.write(manifestOf(batch, controllers), async () => {
        number = await withProgress(context, 'storing', count, (progress) =>
          enrol(registry, { terms, batch, controllers: controllers.map((controller) => controller.idC), progress }),
        );
        return undefined;
      });
    } catch (error) {
      throw number === undefined ? error : new ManifestNotWritten(number, error);
    } finally {
      batch.wipe();
    }
    if (number === undefined) throw new RangeError('an order of no nodes');
    return {
      order: number,
      installer,
      controller: idOrNull(shares),
      controllers: shares.map((share) => ({ controller: formatId(share.idC), count: share.count })),
      count,
      split: manufacturer !== undefined,
      manufacturer: manufacturer ?? null,
      lifetime_seconds: lifetime,
      grace_seconds: grace,
      join_from: isoOrNull(window.joinFrom),
      join_until: isoOrNull(window.joinUntil),
    };
  },
);

/**
 * Returns the holder of the device keys. A holder is required with device keys, and not allowed
 * without.
 */
export function requireHolder(
  readDeviceKeys: (() => Promise<DeviceKeys>) | undefined,
  manufacturer: string | undefined,
): string | undefined {
  if ((readDeviceKeys === undefined) === (manufacturer === undefined)) return manufacturer;
  throw new UsageFailure('device keys and manufacturer: expected both or neither', { advice: 'Nothing was changed.' });
}

function idOrNull(shares: readonly ControllerShare[]): string | null {
  const [first, ...others] = shares;
  return first === undefined || others.length > 0 ? null : formatId(first.idC);
}

/** A share whose count is that of the device keys. */
type WantedShare = Pick<ControllerShare, 'idC'> & { readonly count: number | undefined };

function sharesOf({ controller, controllers, count }: OrderCreateInput): readonly WantedShare[] {
  if (controllers !== undefined) return controllers.map((share) => ({ idC: numberFromId(share.controller), count: share.count }));
  return [{ idC: numberFromId(controller ?? ''), count }];
}

interface DrawnNodes {
  readonly batch: NodeBatch;
  readonly shares: readonly ControllerShare[];
}

/**
 * Generates IDs and keys of the order, or uses the manufacturer's IDs and combines the keys from
 * both halves.
 */
async function drawNodes(
  { registry, readDeviceKeys }: OrderCreateContext,
  { shared_key: sharedKey }: OrderCreateInput,
  wanted: readonly WantedShare[],
): Promise<DrawnNodes> {
  const takenIds = (ids: readonly number[]): Promise<ReadonlySet<number>> => registry.takenIds(ids);
  const known = wanted.flatMap(({ idC, count }) => (count === undefined ? [] : [{ idC, count }]));
  const count = known.length === wanted.length ? nodesOf(known) : undefined;
  if (readDeviceKeys === undefined) {
    if (count !== undefined) return { batch: await generateNodes({ shares: known, sharedKey, takenIds }), shares: known };
    throw new UsageFailure('--count is missing', {
      advice: 'Nothing was changed. Say how many nodes with --count, or name the file of their device keys with --device-keys.',
    });
  }
  const deviceKeys = await readDeviceKeys();
  try {
    const { length } = deviceKeys;
    if (length > contract.MAX_ORDER_NODES || (count !== undefined && count !== length)) {
      const expected = count ?? `${contract.MAX_ORDER_NODES} at most`;
      throw new UsageFailure(`${deviceKeys.name} has ${pluralize(length, 'device key')}, and the order ${expected}`, {
        advice: 'Nothing was changed. Leave out --count, or take the lines of this order only.',
      });
    }
    await deviceKeys.rejectTaken(takenIds);
    const shares = wanted.map(({ idC, count: ofShare = length }) => ({ idC, count: ofShare }));
    return { batch: generateSplitNodes(shares, deviceKeys, sharedKey), shares };
  } finally {
    deviceKeys.wipe();
  }
}

/** Hands over again the initial keys of the nodes that have not joined. */
export const ordersExport: Operation<OrderInput, OrderHandover, HandoverContext> = implement(
  contract.ordersExport,
  async (context: HandoverContext, { order }) => {
    const { registry, openOutput } = context;
    const lines = await remainingNodes(context, order);
    const output = await openOutput(lines.length);
    await recordExport(registry, order, lines.length, output.kind);
    await output.write(lines);
    return handoverOf(registry, order, lines);
  },
);

/** A node that gets a label, and what people know of it. */
export type LabelLine = ManifestLine & Partial<DescriptionView>;

export interface LabelContext extends Context {
  /** Writes a sheet with a label for each line. */
  readonly writeSheet: (
    lines: readonly LabelLine[],
    order: Pick<OrderRecord, 'number' | 'installer' | 'createdAt'>,
  ) => Promise<void>;
}

export function refuseManyLabels(order: number, count: number): void {
  if (count <= MAX_LABELS) return;
  throw new UsageFailure(`${count} nodes of order ${order} have not joined, and a sheet has ${MAX_LABELS} labels at most`, {
    advice: 'Hand over the manifest instead:',
    run: [['latchkey-auth-server', 'order', 'export', String(order), '--out', freeName(`./order-${order}`)]],
  });
}

export const ordersLabels: Operation<OrderInput, OrderHandover, LabelContext> = implement(
  contract.ordersLabels,
  async (context: LabelContext, { order }) => {
    const { registry, writeSheet } = context;
    const lines = await remainingNodes(context, order);
    refuseManyLabels(order, lines.length);
    await recordExport(registry, order, lines.length, 'labels');
    const record = await requireOrder(registry, order);
    const described = await registry.read({ nodeDescriptions: lines.map(({ idI }) => idI) }, (found) =>
      lines.map((line) => ({ ...line, ...viewDescription(found.nodeDescription(line.idI), record.site) })),
    );
    await writeSheet(described, record);
    return handoverOf(registry, order, lines);
  },
);

async function handoverOf(registry: Registry, number: number, lines: readonly ManifestLine[]): Promise<OrderHandover> {
  const { manufacturer } = await requireOrder(registry, number);
  return { order: number, count: lines.length, split: manufacturer !== undefined };
}

/** Lists the nodes of an order that have not joined, with their keys. */
async function remainingNodes(context: Context, number: number): Promise<ManifestLine[]> {
  const { registry } = context;
  const order = await requireVisibleOrder(context, number);
  if (order.state === 'closed') throw new UsageFailure(`order ${number} is closed for good`, { advice: 'Order the nodes anew.' });
  const lines = await inTurn(context, () => remainingManifest(registry, number));
  if (lines.length === 0) throw new UsageFailure(`all nodes of order ${number} have joined`, { advice: 'Nothing was written.' });
  return lines;
}
