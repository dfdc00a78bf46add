/**
 * What an administrator changes in the registry, one function a change: each in one transaction
 * with its entry in the audit log.
 */

import { formatId, type Secret } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formatDuration } from '@latchkey/runtime/config';
import { KEY_KIND } from '@latchkey/keyring';
import {
  type AuditEvent,
  type AuditAction,
  initialKeyId,
  type Registry,
  notFound,
  type ControllerRecord,
  type ControllerRow,
  type NodeRow,
  type OrderRow,
  type Tables,
} from '@latchkey/registry';
import { splitNote } from './enrolment.js';
import { countNodes, queryNodes } from './node-query.js';
import { orderNotFound } from './order-lookup.js';

/** Fails if its ID is taken. */
export async function addController({ tables }: Registry, controller: ControllerRecord): Promise<void> {
  const { idC, skCs, nid, servers, addedAt, passThrough = false } = controller;
  await tables.write(() => {
    if (tables.controllers.doesExist(idC)) throw new UsageFailure(`controller ${formatId(idC)} is in the registry already`);
    const sealed = tables.keyring.seal({ kind: KEY_KIND.controller, id: idC }, skCs);
    const mode = passThrough ? { passThrough } : {};
    tables.controllers.putSync(idC, { skCs: sealed, nid, servers: [...servers], addedAt, ...mode });
    const note = passThrough ? { note: 'pass-through' } : {};
    tables.audit.append({ what: 'controller added', controller: idC, key: skCs, ...note }, addedAt);
  });
}

/** What an administrator may change of a controller. */
export type ControllerChanges = Partial<Pick<ControllerRecord, 'nid' | 'servers' | 'passThrough'>>;

/**
 * Changes where nodes reach a controller, where it reaches auth-servers, and whether it is
 * pass-through. Returns false if nothing differs.
 */
export async function setController({ tables }: Registry, idC: number, changes: ControllerChanges): Promise<boolean> {
  return tables.write(() => {
    const row = requireControllerRow(tables, idC);
    const { passThrough: before = false, ...rest } = row;
    const { nid = row.nid, servers = row.servers, passThrough = before } = changes;
    const notes = [
      noteOf('nid', formatEndpoint(row.nid), formatEndpoint(nid)),
      noteOf('servers', formatEndpoints(row.servers), formatEndpoints(servers)),
      noteOf('pass-through', onOff(before), onOff(passThrough)),
    ].flat();
    if (notes.length === 0) return false;
    const entry = tables.audit.append({ what: 'controller changed', controller: idC, note: notes.join('; ') }, Date.now());
    tables.controllers.putSync(idC, {
      ...rest,
      nid,
      servers: [...servers],
      ...(passThrough ? { passThrough } : {}),
      ...(passThrough === before ? {} : { switchedAt: tables.timeOfServers }),
      ...(passThrough && !before ? { passThroughEntry: entry } : {}),
    });
    return true;
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
export function refuseWithNodes(registry: Registry, idC: number): void {
  const id = formatId(idC);
  const { nodes } = countNodes(registry, { controller: idC }, Date.now());
  if (nodes === 0) return;
  const [other] = [...registry.controllers()].filter((controller) => controller.idC !== idC).map((one) => formatId(one.idC));
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
  const { tables } = registry;
  const id = formatId(idC);
  for (;;) {
    const countedUpTo = registry.audit.head?.seq ?? 0;
    refuseWithNodes(registry, idC);
    const removed = await tables.write(() => {
      requireControllerRow(tables, idC);
      // What was assigned to it since nodes were counted: counting them here would hold up every
      // commit.
      for (const { what, controller } of registry.audit.entries(countedUpTo + 1)) {
        if (ASSIGNING_ACTIONS.has(what) && (controller === undefined || controller === id)) return false;
      }
      tables.controllers.removeSync(idC);
      tables.controllerActivity.removeSync(idC);
      tables.audit.append({ what: 'controller removed', controller: idC }, Date.now());
      return true;
    });
    if (removed) return;
  }
}

/**
 * Entries of the audit log that may tell of a node assigned to a controller; an import has several.
 */
const ASSIGNING_ACTIONS: ReadonlySet<AuditAction> = new Set<AuditAction>([
  'order created',
  'nodes imported',
  'node changed by import',
  'node moved',
]);

/**
 * Another SK_cs for a controller: both count until it uses the new one. One that was ordered before
 * and never used goes.
 */
export async function stageControllerKey({ tables }: Registry, idC: number, staged: Secret): Promise<void> {
  await tables.write(() => {
    const row = requireControllerRow(tables, idC);
    tables.controllers.putSync(idC, {
      ...row,
      stagedSkCs: tables.keyring.seal({ kind: KEY_KIND.stagedController, id: idC }, staged),
    });
    tables.audit.append({ what: 'controller key staged', controller: idC, key: staged }, Date.now());
  });
}

function requireControllerRow({ controllers }: Tables, idC: number): ControllerRow {
  const row = controllers.get(idC);
  if (row === undefined) throw notFound('controller', idC);
  return row;
}

/**
 * Changes nodes one by one, all or none. `change` gives the new row, `'remove'`, or `undefined`: it
 * is so already.
 */
async function changeNodes(
  { tables }: Registry,
  ids: readonly number[],
  event: Omit<AuditEvent, 'node' | 'before'>,
  change: (row: NodeRow, idI: number) => NodeRow | 'remove' | undefined,
): Promise<number> {
  const { nodes, orders, audit, nodeActivity } = tables;
  return tables.write(() => {
    let changed = 0;
    for (const idI of ids) {
      const row = nodes.get(idI);
      if (row === undefined || orders.get(row.order)?.state === 'pending') throw notFound('node', idI);
      const after = change(row, idI);
      if (after === undefined) continue;
      changed += 1;
      const entry = audit.append({ ...event, node: idI, ...(row.entry === 0 ? {} : { previousEntry: row.entry }) }, Date.now());
      if (after === 'remove') {
        tables.retireInitialKey(idI, row, entry);
        tables.assignments.change(idI, row, undefined, entry);
        nodes.removeSync(idI);
        nodeActivity.removeSync(idI);
      } else nodes.putSync(idI, tables.reassign(idI, row, after, entry));
    }
    return changed;
  });
}

/**
 * A disabled node is refused whatever it proves; its key stays. Gives how many were not so already.
 */
export function setDisabled(registry: Registry, ids: readonly number[], disabled: boolean): Promise<number> {
  const what: AuditAction = disabled ? 'node disabled' : 'node enabled';
  return changeNodes(registry, ids, { what }, (row) => {
    const { disabled: before, ...rest } = row;
    if ((before === true) === disabled) return undefined;
    return disabled ? { ...rest, disabled } : rest;
  });
}

export function removeNodes(registry: Registry, ids: readonly number[]): Promise<number> {
  return changeNodes(registry, ids, { what: 'node removed' }, () => 'remove');
}

/** Assigns nodes to another controller. */
export function moveNodes(registry: Registry, ids: readonly number[], idC: number): Promise<number> {
  return changeNodes(registry, ids, { what: 'node moved', controller: idC }, (row) => {
    registry.tables.requireController(idC);
    return row.controller === idC ? undefined : { ...row, controller: idC };
  });
}

/** Lifetime and grace of the keys that nodes get from now on, in seconds. */
export function setKeyLifetime(
  registry: Registry,
  ids: readonly number[],
  terms: Pick<NodeRow, 'lifetime' | 'grace'>,
): Promise<number> {
  const note = Object.entries(terms)
    .map(([name, seconds]) => `${name} ${formatDuration(seconds)}`)
    .join(', ');
  return changeNodes(registry, ids, { what: 'node lifetime changed', note }, (row) =>
    Object.entries(terms).every(([name, seconds]) => row[name as keyof typeof terms] === seconds)
      ? undefined
      : { ...row, ...terms },
  );
}

/** The installer's half of a split IK, and who has the device key. */
export interface SplitKey {
  readonly half: Secret;
  readonly manufacturer: string;
}

/**
 * Back to an IK: what the node proved since is forgotten, and it joins as a new one.
 *
 * @param split if the IK is split; without it the node is not split any more
 */
export async function resetNode(registry: Registry, idI: number, ik: Secret, split?: SplitKey): Promise<void> {
  const { tables } = registry;
  const idKey = registry.initialKeyIdKey();
  try {
    const wasSplit = tables.nodes.get(idI)?.split === true;
    const event = { what: 'node reset', key: ik, ...splitNote(wasSplit, split !== undefined) } as const;
    await changeNodes(registry, [idI], event, (before) => {
      const {
        committed: _,
        joinedAt: __,
        reissuedAt: ___,
        split: ____,
        half: _____,
        manufacturer: ______,
        seenBy,
        ...row
      } = before;
      const given = initialKeyId(idKey, ik);
      const sameKey = Buffer.compare(row.ik, given) === 0;
      const at = tables.timeOfServers;
      return {
        ...row,
        key: tables.keyring.seal({ kind: KEY_KIND.node, id: idI }, ik),
        initial: true,
        ik: given,
        ...(split === undefined ? {} : splitFields(tables, idI, row.order, split)),
        resetAt: Date.now(),
        // Who has seen the IK that comes back has seen it.
        ...(sameKey && seenBy !== undefined ? { seenBy } : {}),
        ...(sameKey ? {} : { initialKeyIssuedAt: Date.now() }),
        ...(sameKey || tables.recentInitialKeys.had(idI, given, at) ? { reissuedAt: at } : {}),
      };
    });
    await tables.write(() => tables.nodeActivity.removeSync(idI));
  } finally {
    idKey.wipe();
  }
}

function splitFields(
  { keyring, orders }: Tables,
  idI: number,
  order: number,
  { half, manufacturer }: SplitKey,
): Pick<NodeRow, 'split' | 'half' | 'manufacturer'> {
  return {
    split: true,
    half: keyring.seal({ kind: KEY_KIND.installerHalf, id: idI }, half),
    ...(orders.get(order)?.manufacturer === manufacturer ? {} : { manufacturer }),
  };
}

/** The IK a node came with, as long as another node still holds it. */
export function findHeldInitialKey(registry: Registry, idI: number): Secret | undefined {
  const identity = registry.tables.nodes.get(idI)?.ik;
  if (identity === undefined) return undefined;
  const wanted = Buffer.from(identity).toString('hex', 0, 8);
  for (const { idI: holder, ik } of queryNodes(registry, { neverJoined: true }, Date.now()))
    if (ik.id === wanted) return registry.node(holder)?.key;
  return undefined;
}

/**
 * Finds another node that has this initial key or came with it, unless the order of either shares
 * its keys.
 */
export function otherHolderOf(registry: Registry, ik: Secret, idI: number): number | undefined {
  const identityKey = registry.initialKeyIdKey();
  const wanted = Buffer.from(initialKeyId(identityKey, ik)).toString('hex', 0, 8);
  identityKey.wipe();
  const shares = (order: number | undefined): boolean => order !== undefined && registry.order(order)?.sharedKey === true;
  if (shares(registry.tables.nodes.get(idI)?.order)) return undefined;
  for (const { idI: holder, order, ik: held } of queryNodes(registry, {}, Date.now()))
    if (holder !== idI && held.id === wanted && !shares(order)) return holder;
  return undefined;
}

/**
 * Suspends an order, resumes it within its join window, or closes it for good: whether its nodes
 * may join for the first time.
 */
export async function setOrderState({ tables }: Registry, number: number, state: 'open' | 'suspended' | 'closed'): Promise<void> {
  const what = { open: 'order resumed', suspended: 'order suspended', closed: 'order closed' } as const;
  await changeOrder(tables, number, { what: what[state] }, (order) => ({ ...order, state }));
}

export async function setJoinWindow(
  { tables }: Registry,
  number: number,
  window: Pick<OrderRow, 'joinFrom' | 'joinUntil'>,
): Promise<void> {
  await changeOrder(tables, number, { what: 'order opened' }, ({ joinFrom: _, joinUntil: __, ...order }) => ({
    ...order,
    ...window,
    state: 'open',
  }));
}

/** Notes that the initial keys of an order left the registry once more. */
export async function recordExport({ tables }: Registry, number: number, count: number, note: string): Promise<void> {
  await changeOrder(tables, number, { what: 'order exported', count, note }, (order) => order);
}

async function changeOrder(
  tables: Tables,
  number: number,
  event: Omit<AuditEvent, 'order'>,
  change: (order: OrderRow) => OrderRow,
): Promise<void> {
  await tables.write(() => {
    const order = tables.orders.get(number);
    if (order === undefined || order.state === 'pending') throw orderNotFound(number);
    if (order.state === 'closed' && event.what !== 'order closed') {
      throw new UsageFailure(`order ${number} is closed for good`, {
        advice: 'Nothing was changed. How to let in a node of it nevertheless, `latchkey-auth-server node why` says.',
      });
    }
    tables.orders.putSync(number, { ...change(order), entry: tables.audit.append({ ...event, order: number }, Date.now()) });
  });
}
