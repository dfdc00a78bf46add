/**
 * What an administrator changes in the registry, one function a change: each is one write, with its
 * entry in the audit log.
 */

import { formatId, type Secret } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formatDuration } from '@latchkey/runtime/config';
import { KEY_KIND } from '@latchkey/keyring';
import {
  type AuditEvent,
  hadInitialKey,
  initialKeyId,
  NodeChanges,
  type Registry,
  notFound,
  type ControllerRecord,
  type ControllerRow,
  type NodeRow,
  type OrderRow,
  type NodeDescription,
  type Snapshot,
} from '@latchkey/registry';
import type { ControllerDescriptionChange } from './contract/controllers.js';
import type { DescriptionChange } from './contract/descriptions.js';
import { changedControllerDescription, changedDescription, changeTexts, type DescriptionTexts } from './descriptions.js';
import { splitNote, unknownController } from './enrolment.js';
import { countNodes, type NodePrecondition, queryNodes } from './node-query.js';
import { orderNotFound } from './order-lookup.js';
import { isVisible } from './visibility.js';

/** Fails if its ID is taken. */
export async function addController(registry: Registry, controller: ControllerRecord): Promise<void> {
  const { idC, skCs, nid, servers, addedAt, passThrough = false, description } = controller;
  await registry.write({ controllers: [idC] }, (found) => {
    if (found.controller(idC) !== undefined) throw new UsageFailure(`controller ${formatId(idC)} is in the registry already`);
    const sealed = registry.keyring.seal({ kind: KEY_KIND.controller, id: idC }, skCs);
    const mode = passThrough ? { passThrough } : {};
    const texts = description === undefined ? {} : { description };
    const note = passThrough ? { note: 'pass-through' } : {};
    return {
      result: undefined,
      put: { controllers: [[idC, { skCs: sealed, nid, servers: [...servers], addedAt, ...mode, ...texts }]] },
      events: [{ what: 'controller added', controller: idC, key: skCs, at: addedAt, ...note }],
    };
  });
}

/** What an administrator may change of a controller. */
export interface ControllerChanges extends Partial<Pick<ControllerRecord, 'nid' | 'servers' | 'passThrough'>> {
  readonly description?: ControllerDescriptionChange;
}

/**
 * Changes the addresses of a controller and of its auth-servers, its pass-through mode and its
 * description. Returns false if nothing differs.
 */
export async function setController(registry: Registry, idC: number, changes: ControllerChanges): Promise<boolean> {
  return registry.write({ controllers: [idC], metadata: ['clock history'] }, (found) => {
    const row = requireControllerRow(found, idC);
    const { passThrough: before = false, ...rest } = row;
    const { nid = row.nid, servers = row.servers, passThrough = before } = changes;
    const description = changedControllerDescription(row.description, changes.description ?? {});
    const notes = [
      noteOf('nid', formatEndpoint(row.nid), formatEndpoint(nid)),
      noteOf('servers', formatEndpoints(row.servers), formatEndpoints(servers)),
      noteOf('pass-through', onOff(before), onOff(passThrough)),
      // Texts stay out of the log.
      description?.fields ?? [],
    ].flat();
    if (notes.length === 0) return { result: false };
    const after: ControllerRow = {
      ...rest,
      nid,
      servers: [...servers],
      ...(passThrough ? { passThrough } : {}),
      ...(passThrough === before ? {} : { switchedAt: registry.timeOfServers(found) }),
      ...(passThrough && !before ? { passThroughEntry: found.head.seq + 1 } : {}),
      ...(description === undefined ? {} : { description: description.after }),
    };
    return {
      result: true,
      put: { controllers: [[idC, after]] },
      events: [{ what: 'controller changed', controller: idC, note: notes.join('; ') }],
    };
  });
}

function onOff(isOn: boolean): string {
  return isOn ? 'on' : 'off';
}

function noteOf(name: string, before: string, after: string): string[] {
  return before === after ? [] : [`${name} ${before} -> ${after}`];
}

/** In the order in which they are tried. */
function formatEndpoints(endpoints: readonly Endpoint[]): string {
  return endpoints.map(formatEndpoint).join(', ') || 'none';
}

/** Fails while nodes are assigned to the controller. */
export async function refuseWithNodes(registry: Registry, idC: number): Promise<void> {
  const id = formatId(idC);
  const { nodes } = await countNodes(registry, { controller: idC }, Date.now());
  if (nodes === 0) return;
  const [other] = (await registry.controllers()).filter((one) => one.idC !== idC).map((one) => formatId(one.idC));
  const node = ['latchkey-auth-server', 'node'];
  throw new UsageFailure(
    `${nodes} node${nodes === 1 ? ' is' : 's are'} assigned to controller ${id}`,
    other === undefined
      ? {
          advice: 'Nothing was changed. Remove them, or add another controller and move them to it. List them:',
          run: [[...node, 'list', '--controller', id]],
        }
      : {
          advice: `Nothing was changed. Move them first, to controller ${other} say:`,
          run: [[...node, 'move', '--from', id, '--controller', other]],
        },
  );
}

/** Fails while nodes are assigned to it. */
export async function removeController(registry: Registry, idC: number): Promise<void> {
  for (;;) {
    const before = (await registry.controllerRow(idC))?.assigning;
    await refuseWithNodes(registry, idC);
    const removed = await registry.write({ controllers: [idC] }, (found) => {
      // Nodes were assigned to it since they were counted: counting them here would hold up every
      // commit.
      if (requireControllerRow(found, idC).assigning !== before) return { result: false };
      return {
        result: true,
        remove: { controllers: [idC], controllerActivity: [idC] },
        events: [{ what: 'controller removed', controller: idC }],
      };
    });
    if (removed) return;
  }
}

/**
 * Stages another SK_cs for a controller: both are valid until the controller uses the new one. A
 * key that was staged before and never used is dropped.
 */
export async function stageControllerKey(registry: Registry, idC: number, staged: Secret): Promise<void> {
  await registry.write({ controllers: [idC] }, (found) => {
    const stagedSkCs = registry.keyring.seal({ kind: KEY_KIND.stagedController, id: idC }, staged);
    return {
      result: undefined,
      put: { controllers: [[idC, { ...requireControllerRow(found, idC), stagedSkCs }]] },
      events: [{ what: 'controller key staged', controller: idC, key: staged }],
    };
  });
}

function requireControllerRow(found: Snapshot, idC: number): ControllerRow {
  const row = found.controller(idC)?.row;
  if (row === undefined) throw notFound('controller', idC);
  return row;
}

/**
 * The change of a node, and its entry in the audit log. `undefined`: the node already has this
 * state.
 */
type NodeChange = { readonly event: Omit<AuditEvent, 'node' | 'previousEntry'>; readonly after: NodeRow | 'remove' } | undefined;

interface NodesToChange {
  readonly ids: readonly number[];
  /** That nodes may be assigned to. */
  readonly controllers?: readonly number[];
  readonly precondition?: NodePrecondition | undefined;
  /** True if the recorded activity of the node is deleted with the change. */
  readonly forgetActivity?: boolean;
  readonly change: (row: NodeRow, found: Snapshot, idI: number) => NodeChange;
  readonly describe?: (before: NodeDescription | undefined) => DescribedNode;
}

/** The change of a node's description. `undefined`: the node already has it. */
type DescribedNode = { readonly after: DescriptionTexts; readonly fields: readonly string[] } | undefined;

/** Changes nodes, all or none; gives how many were not so already. */
async function changeNodes(registry: Registry, nodes: NodesToChange): Promise<number> {
  return (await changedNodes(registry, nodes)).size;
}

/** As `changeNodes`; gives those that were not so already. */
function changedNodes(
  registry: Registry,
  { ids, controllers = [], precondition = {}, forgetActivity = false, change, describe }: NodesToChange,
): Promise<ReadonlySet<number>> {
  const { visibleOrders, holds, needsDescriptions = false } = precondition;
  const wanted = [...new Set(ids)];
  const described = describe !== undefined || needsDescriptions ? { nodeDescriptions: wanted } : {};
  return registry.write({ ...NodeChanges.keysOf(wanted, controllers), ...described }, (found) => {
    const changes = new NodeChanges(found, registry.timeOfServers(found));
    const ofChange = new Set<number>();
    for (const idI of wanted) {
      const row = found.node(idI)?.row;
      if (row === undefined || found.order(row.order)?.row.state === 'pending' || !isVisible(visibleOrders, row.order))
        throw notFound('node', idI);
      if (holds?.(found, idI, row) === false) continue;
      const changed = change(row, found, idI);
      const description = describe?.(found.nodeDescription(idI));
      if (changed !== undefined || description !== undefined) ofChange.add(idI);
      // Texts stay out of the log.
      if (description !== undefined)
        changes.describe(idI, description.after, { what: 'node described', note: description.fields.join(', ') });
      if (changed === undefined) continue;
      const { event, after } = changed;
      if (after === 'remove') changes.remove(idI, row, event);
      else changes.replace(idI, row, after, event);
      if (forgetActivity) changes.forgetActivity(idI);
    }
    return { result: ofChange, ...changes.outcome };
  });
}

/**
 * A disabled node is refused whatever it proves; its key stays. Gives how many were not so already.
 */
export function setDisabled(
  registry: Registry,
  ids: readonly number[],
  disabled: boolean,
  precondition?: NodePrecondition,
): Promise<number> {
  const event = { what: disabled ? 'node disabled' : 'node enabled' } as const;
  return changeNodes(registry, {
    ids,
    precondition,
    change({ disabled: before, ...rest }) {
      if ((before === true) === disabled) return undefined;
      return { event, after: disabled ? { ...rest, disabled } : rest };
    },
  });
}

export function removeNodes(registry: Registry, ids: readonly number[], precondition?: NodePrecondition): Promise<number> {
  return changeNodes(registry, { ids, precondition, change: () => ({ event: { what: 'node removed' }, after: 'remove' }) });
}

/** Assigns nodes to another controller. */
export function moveNodes(
  registry: Registry,
  ids: readonly number[],
  idC: number,
  precondition?: NodePrecondition,
): Promise<number> {
  const event = { what: 'node moved', controller: idC } as const;
  return changeNodes(registry, {
    ids,
    precondition,
    controllers: [idC],
    change(row, found) {
      if (found.controller(idC) === undefined) throw unknownController(idC);
      return row.controller === idC ? undefined : { event, after: { ...row, controller: idC } };
    },
  });
}

/** Settings of nodes. Omitted settings stay. */
export interface NodeSettings {
  /** Lifetime and grace of the keys that they get from now on, in seconds. */
  readonly terms?: Pick<NodeRow, 'lifetime' | 'grace'>;
  readonly description?: DescriptionChange;
}

export function setNodes(
  registry: Registry,
  ids: readonly number[],
  { terms = {}, description }: NodeSettings,
  precondition?: NodePrecondition,
): Promise<number> {
  const note = Object.entries(terms)
    .map(([name, seconds]) => `${name} ${formatDuration(seconds)}`)
    .join(', ');
  const event = { what: 'node lifetime changed', note } as const;
  return changeNodes(registry, {
    ids,
    precondition,
    change: (row) =>
      Object.entries(terms).every(([name, seconds]) => row[name as keyof typeof terms] === seconds)
        ? undefined
        : { event, after: { ...row, ...terms } },
    ...(description === undefined ? {} : { describe: (before) => changedDescription(before, description) }),
  });
}

export function setKeyLifetime(
  registry: Registry,
  ids: readonly number[],
  terms: Pick<NodeRow, 'lifetime' | 'grace'>,
): Promise<number> {
  return setNodes(registry, ids, { terms });
}

/** The installer's half of a split IK, and who has the device key. */
export interface SplitKey {
  readonly half: Secret;
  readonly manufacturer: string;
}

/** An initial key for a node, and its halves if it is split. */
export interface InitialKey {
  readonly ik: Secret;
  /** Without it the node is not split any more. */
  readonly split?: SplitKey | undefined;
}

/** Resets a node to an IK: its former keys are deleted, and it joins as a new one. */
export async function resetNode(registry: Registry, idI: number, ik: Secret, split?: SplitKey): Promise<void> {
  await resetNodes(registry, new Map([[idI, { ik, split }]]));
}

/**
 * As `resetNode` for each of these nodes, all or none.
 *
 * @param check throws if a node with this row must not be reset so; `false` leaves it as it is
 * @returns those that were reset
 */
export function resetNodes(
  registry: Registry,
  keys: ReadonlyMap<number, InitialKey>,
  check?: (idI: number, row: NodeRow) => boolean,
): Promise<ReadonlySet<number>> {
  const idKey = registry.initialKeyIdKey();
  const given = new Map([...keys].map(([idI, { ik }]) => [idI, initialKeyId(idKey, ik)]));
  idKey.wipe();
  return changedNodes(registry, {
    ids: [...keys.keys()],
    forgetActivity: true,
    change(before, found, idI) {
      if (check?.(idI, before) === false) return undefined;
      const { ik, split } = keys.get(idI)!;
      const identity = given.get(idI)!;
      const {
        committed: _,
        joinedAt: __,
        reissuedAt: ___,
        split: wasSplit = false,
        half: ____,
        manufacturer: _____,
        seenBy,
        ...row
      } = before;
      const sameKey = Buffer.compare(row.ik, identity) === 0;
      const at = registry.timeOfServers(found);
      const after: NodeRow = {
        ...row,
        key: registry.keyring.seal({ kind: KEY_KIND.node, id: idI }, ik),
        initial: true,
        ik: identity,
        ...(split === undefined ? {} : splitFields(registry, idI, found.order(row.order)?.row, split)),
        // Compared with what servers saw of the node.
        resetAt: registry.clock().wallMs,
        // Who has seen the IK that comes back has seen it.
        ...(sameKey && seenBy !== undefined ? { seenBy } : {}),
        ...(sameKey ? {} : { initialKeyIssuedAt: Date.now() }),
        ...(sameKey || hadInitialKey(found.recentInitialKeys(idI), identity, at) ? { reissuedAt: at } : {}),
      };
      return { event: { what: 'node reset', key: ik, ...splitNote(wasSplit, split !== undefined) }, after };
    },
  });
}

function splitFields(
  { keyring }: Registry,
  idI: number,
  order: OrderRow | undefined,
  { half, manufacturer }: SplitKey,
): Pick<NodeRow, 'split' | 'half' | 'manufacturer'> {
  return {
    split: true,
    half: keyring.seal({ kind: KEY_KIND.installerHalf, id: idI }, half),
    ...(order?.manufacturer === manufacturer ? {} : { manufacturer }),
  };
}

/** The IK a node came with, as long as another node still holds it. */
export async function findHeldInitialKey(registry: Registry, idI: number): Promise<Secret | undefined> {
  const identity = (await registry.nodeRow(idI))?.ik;
  if (identity === undefined) return undefined;
  const wanted = Buffer.from(identity).toString('hex', 0, 8);
  for await (const page of queryNodes(registry, { neverJoined: true }, Date.now()))
    for (const { idI: holder, ik } of page) {
      if (ik.id !== wanted) continue;
      const node = await registry.node(holder);
      // It may have joined since its page was read: its key is another one then.
      if (node?.initial === true && node.ik.id === wanted) return node.key;
      node?.key.wipe();
    }
  return undefined;
}

/**
 * Finds another node that has this initial key or came with it, unless the order of either shares
 * its keys.
 */
export async function otherHolderOf(registry: Registry, ik: Secret, idI: number): Promise<number | undefined> {
  const identityKey = registry.initialKeyIdKey();
  const wanted = Buffer.from(initialKeyId(identityKey, ik)).toString('hex', 0, 8);
  identityKey.wipe();
  // Thousands of nodes of one order may hold the key.
  const known = new Map<number, boolean>();
  const shares = async (order: number): Promise<boolean> => {
    const isShared = known.get(order) ?? (await registry.order(order))?.sharedKey === true;
    known.set(order, isShared);
    return isShared;
  };
  const row = await registry.nodeRow(idI);
  if (row !== undefined && (await shares(row.order))) return undefined;
  for await (const page of queryNodes(registry, {}, Date.now()))
    for (const { idI: holder, order, ik: held } of page)
      if (holder !== idI && held.id === wanted && !(await shares(order))) return holder;
  return undefined;
}

/**
 * Suspends an order, resumes it within its join window, or closes it for good: whether its nodes
 * may join for the first time.
 */
export async function setOrderState(registry: Registry, number: number, state: 'open' | 'suspended' | 'closed'): Promise<void> {
  const what = { open: 'order resumed', suspended: 'order suspended', closed: 'order closed' } as const;
  await changeOrder(registry, number, { what: what[state] }, (order) => ({ ...order, state }));
}

export async function setJoinWindow(
  registry: Registry,
  number: number,
  window: Pick<OrderRow, 'joinFrom' | 'joinUntil'>,
): Promise<void> {
  await changeOrder(registry, number, { what: 'order opened' }, ({ joinFrom: _, joinUntil: __, ...order }) => ({
    ...order,
    ...window,
    state: 'open',
  }));
}

/** Records that the initial keys of an order were exported again. */
export async function recordExport(registry: Registry, number: number, count: number, note: string): Promise<void> {
  await changeOrder(registry, number, { what: 'order exported', count, note }, (order) => order);
}

async function changeOrder(
  registry: Registry,
  number: number,
  event: Omit<AuditEvent, 'order'>,
  change: (order: OrderRow) => OrderRow,
): Promise<void> {
  await registry.write({ orders: [number] }, (found) => {
    const order = found.order(number)?.row;
    if (order === undefined || order.state === 'pending') throw orderNotFound(number);
    if (order.state === 'closed' && event.what !== 'order closed') {
      throw new UsageFailure(`order ${number} is closed for good`, {
        advice: 'Nothing was changed. How to let in a node of it nevertheless, `latchkey-auth-server node why` says.',
      });
    }
    return {
      result: undefined,
      put: { orders: [[number, { ...change(order), entry: found.head.seq + 1 }]] },
      events: [{ ...event, order: number }],
    };
  });
}

/** Changes the texts for people. The entry number stays, so that a pending join continues. */
export async function describeOrder(
  registry: Registry,
  number: number,
  change: { readonly contact?: string | null | undefined; readonly site?: string | null | undefined },
): Promise<boolean> {
  return registry.write({ orders: [number] }, (found) => {
    const before = found.order(number)?.row;
    if (before === undefined || before.state === 'pending') throw orderNotFound(number);
    const { contact, site, ...order } = before;
    const texts = { ...(contact === undefined ? {} : { contact }), ...(site === undefined ? {} : { site }) };
    const fields = changeTexts(texts, change, ['contact', 'site']);
    if (fields.length === 0) return { result: false };
    return {
      result: true,
      put: { orders: [[number, { ...order, ...texts }]] },
      events: [{ what: 'order described', order: number, note: fields.join(', ') }],
    };
  });
}
