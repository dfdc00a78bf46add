/**
 * How many nodes get into the registry at once: all or none of them are seen, in memory that does
 * not grow with the registry.
 *
 * The nodes of an order are written in chunks while the order is `pending`: nobody sees them. The
 * last transaction opens the order. What a crash leaves pending is cleared away before the next
 * order or import.
 */

import { join } from 'node:path';
import { formatId, type Secret } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { lockFolder, ensurePrivateFolder } from '@latchkey/runtime/files';
import { KEY_KIND } from '@latchkey/keyring';
import {
  type AuditEvent,
  initialKeyIdentifier,
  initialKeyIdKey,
  type Registry,
  type NodeRow,
  type OrderRow,
  type Tables,
} from '@latchkey/registry';
import { NodeBatch } from './node-batch.js';

/** Nodes written in one transaction: long enough to be fast, short enough to hold up no commit. */
const NODES_PER_TRANSACTION = 4_096;
/** Seconds: 7 days. */
export const DEFAULT_GRACE = 604_800;

export type OrderTerms = Pick<
  OrderRow,
  'kind' | 'installer' | 'idC' | 'sharedKey' | 'manufacturer' | 'lifetime' | 'grace' | 'joinFrom' | 'joinUntil'
>;

/** What is to happen to each node of a batch. */
export type ImportAction = 'add' | 'change' | 'unchanged' | 'duplicate' | 'reject';

export interface Enrolment {
  readonly terms: OrderTerms;
  readonly batch: NodeBatch;
  /** What to do with the node at an index of the batch; by itself it is added. */
  readonly action?: (i: number) => ImportAction;
  /** Must still be in the registry as the nodes appear. */
  readonly controllers?: Iterable<number>;
  /** Nodes written so far. */
  readonly progress?: (done: number) => void;
}

/**
 * Adds the nodes of `batch` as one order, and gives its number. All or none. Changes alone make no
 * order: then it is `undefined`.
 */
export async function enrol(
  registry: Registry,
  { terms, batch, action, controllers, progress }: Enrolment,
): Promise<number | undefined> {
  const transaction = await EnrolmentTransaction.begin(registry, terms);
  try {
    await transaction.add(batch, action, progress);
    return await transaction.commit(controllers);
  } finally {
    await transaction.close();
  }
}

/**
 * An order or import while it is written, part by part: nobody sees any of it before `commit`.
 * `close` it in any case.
 */
export class EnrolmentTransaction {
  readonly #tables: Tables;
  readonly #row: OrderRow;
  readonly #lock: { release(): Promise<void> };
  /** Nodes that are there and change: with the last transaction. */
  readonly #changes: NodeBatch;
  #rows: RowFactory | undefined;
  #orderNumber: number | undefined;
  #count = 0;

  private constructor(tables: Tables, row: OrderRow, lock: { release(): Promise<void> }) {
    this.#tables = tables;
    this.#row = row;
    this.#lock = lock;
    this.#changes = new NodeBatch(row.manufacturer !== undefined);
  }

  /** Fails where another is under way. */
  static async begin({ tables }: Registry, terms: OrderTerms): Promise<EnrolmentTransaction> {
    const lock = await lockForEnrolment(tables.folder);
    try {
      await removeUnfinished(tables);
    } catch (error) {
      await lock.release();
      throw error;
    }
    const row: OrderRow = { ...terms, state: 'pending', count: 0, createdAt: Date.now(), createdEntry: 0, entry: 0 };
    return new EnrolmentTransaction(tables, row, lock);
  }

  /** `progress`: nodes written so far, of all parts. */
  async add(
    batch: NodeBatch,
    action: (i: number) => ImportAction = () => 'add',
    progress?: (done: number) => void,
  ): Promise<void> {
    const tables = this.#tables;
    for (const chunk of chunksOf(batch.indicesById(), (i) => action(i) === 'add')) {
      this.#orderNumber ??= await tables.write(() => addOrder(tables, this.#row));
      const rows = (this.#rows ??= new RowFactory(tables, this.#orderNumber));
      await tables.write(() => {
        for (const i of chunk) add(tables, batch.idI(i), rows.create(batch, i));
      });
      this.#count += chunk.length;
      progress?.(this.#count);
    }
    for (const i of batch.indicesById()) if (action(i) === 'change') batch.copyTo(i, this.#changes);
  }

  /** Shows all of it. `controllers` must still be in the registry. */
  async commit(controllers: Iterable<number> = []): Promise<number | undefined> {
    const tables = this.#tables;
    const [number, changes] = [this.#orderNumber, this.#changes];
    const rows = this.#rows ?? new RowFactory(tables, 0);
    await tables.write(() => {
      for (const idC of controllers) tables.requireController(idC);
      for (const i of changes.indicesById()) change(tables, changes, i, rows, this.#row.manufacturer);
      if (number !== undefined) publishOrder(tables, number, { ...this.#row, count: this.#count });
    });
    this.#orderNumber = undefined;
    return number;
  }

  /** Takes back what was not finished, and lets others in. */
  async close(): Promise<void> {
    this.#changes.wipe();
    if (this.#orderNumber !== undefined) await removeUnfinished(this.#tables).catch(() => undefined);
    await this.#lock.release();
  }
}

/** Those that are wanted, a transaction's worth at a time. */
function* chunksOf(indices: Uint32Array, isWanted: (i: number) => boolean): Generator<number[]> {
  let chunk: number[] = [];
  for (const i of indices) {
    if (!isWanted(i)) continue;
    chunk.push(i);
    if (chunk.length < NODES_PER_TRANSACTION) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

function addOrder({ orders }: Tables, row: OrderRow): number {
  const [last = 0] = orders.getKeys({ reverse: true, limit: 1 });
  orders.putSync(last + 1, row);
  return last + 1;
}

/** From here on its nodes are there. */
function publishOrder({ orders, audit }: Tables, number: number, row: OrderRow): void {
  const { kind, count, installer, idC, manufacturer } = row;
  const what = kind === 'order' ? 'order created' : 'nodes imported';
  const note = manufacturer === undefined ? installer : `${installer}; split initial keys, device keys from ${manufacturer}`;
  const event: AuditEvent = { what, order: number, count, note, ...(idC === undefined ? {} : { controller: idC }) };
  const entry = audit.append(event, row.createdAt);
  orders.putSync(number, { ...row, state: 'open', createdEntry: entry, entry });
}

/** One at a time: what is pending otherwise belongs to nobody. */
async function lockForEnrolment(folder: string): Promise<{ release(): Promise<void> }> {
  const path = join(folder, 'enrolment');
  await ensurePrivateFolder(path);
  return lockFolder(path, 'another order or import');
}

/** Makes rows of nodes that have never joined. */
class RowFactory {
  readonly #tables: Tables;
  readonly #order: number;
  readonly #identify: (ik: Secret) => Uint8Array;

  constructor(tables: Tables, order: number) {
    this.#tables = tables;
    this.#order = order;
    const identity = initialKeyIdKey(tables);
    this.#identify = initialKeyIdentifier(identity);
    identity.wipe();
  }

  create(batch: NodeBatch, i: number): NodeRow {
    const { keyring } = this.#tables;
    const [idI, ik, half] = [batch.idI(i), batch.ik(i), batch.half(i)];
    const row: NodeRow = {
      key: keyring.seal({ kind: KEY_KIND.node, id: idI }, ik),
      initial: true,
      ik: this.#identify(ik),
      controller: batch.idC(i),
      order: this.#order,
      entry: 0,
      ...(half === undefined ? {} : { split: true, half: keyring.seal({ kind: KEY_KIND.installerHalf, id: idI }, half) }),
    };
    ik.wipe();
    half?.wipe();
    return row;
  }
}

function add(tables: Tables, idI: number, row: NodeRow): void {
  if (tables.nodes.get(idI) !== undefined)
    throw new Failure(`node ${formatId(idI)} was added meanwhile`, { advice: 'Nothing was changed. Try again.' });
  tables.nodes.putSync(idI, { ...row, ...reissued(tables, idI, row.ik) });
}

/** For the row of a node that is given this IK: the time, if its ID had that IK before. */
function reissued(tables: Tables, idI: number, ik: Uint8Array): Pick<NodeRow, 'reissuedAt'> {
  if (!tables.recentInitialKeys.has(idI)) return {};
  const at = tables.timeOfServers;
  return tables.recentInitialKeys.had(idI, ik, at) ? { reissuedAt: at } : {};
}

/** A node that has not joined takes the line's key and controller. */
function change(tables: Tables, batch: NodeBatch, i: number, rows: RowFactory, manufacturer: string | undefined): void {
  const { nodes, audit } = tables;
  const idI = batch.idI(i);
  const before = nodes.get(idI);
  if (before?.initial !== true)
    throw new UsageFailure(`node ${formatId(idI)} joined meanwhile`, { advice: 'Nothing was changed. Try again.' });
  const { key, ik, controller, split, half } = rows.create(batch, i);
  const ikChanged = Buffer.compare(ik, before.ik) !== 0;
  const note = ikChanged ? splitNote(before.split === true, split === true) : {};
  const event: AuditEvent = { what: 'node changed by import', node: idI, controller, previousEntry: before.entry, ...note };
  const entry = audit.append(event, Date.now());
  const { reissuedAt: _, split: __, half: ___, manufacturer: ____, ...rest } = before;
  const halves =
    split === undefined || half === undefined ? {} : { split, half, ...(manufacturer === undefined ? {} : { manufacturer }) };
  const given = ikChanged ? { ...rest, initialKeyIssuedAt: Date.now(), ...reissued(tables, idI, ik), ...halves } : before;
  nodes.putSync(idI, tables.reassign(idI, before, { ...given, key, ik, controller }, entry));
}

/** Says in the audit log whether a node that is given another IK has a split one. */
export function splitNote(wasSplit: boolean, isSplit: boolean): Pick<AuditEvent, 'note'> {
  if (isSplit) return { note: 'split initial key' };
  return wasSplit ? { note: 'whole initial key, no longer split' } : {};
}

/** Removes the orders that were not finished, with their nodes. */
async function removeUnfinished(tables: Tables): Promise<void> {
  tables.refreshSnapshot();
  const unfinished = [...tables.orders.getRange()].filter(({ value }) => value.state === 'pending');
  for (const { key: number } of unfinished) {
    for (let from = 0; from <= 0xffff_ffff;) {
      from = await tables.write(() => removeNodesOfOrder(tables, number, from));
    }
    await tables.write(() => tables.orders.removeSync(number));
  }
}

/** Looks at one chunk of nodes from ID `from` on; gives the ID to go on at. */
function removeNodesOfOrder({ nodes }: Tables, order: number, from: number): number {
  const chunk = [...nodes.getRange({ start: from, limit: NODES_PER_TRANSACTION })];
  for (const { key, value } of chunk) if (value.order === order) nodes.removeSync(key);
  return (chunk.length < NODES_PER_TRANSACTION ? 0xffff_ffff : (chunk.at(-1)?.key ?? 0xffff_ffff)) + 1;
}
