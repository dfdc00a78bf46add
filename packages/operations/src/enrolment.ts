/**
 * Adds many nodes to the registry at once: readers see all of them or none. Memory does not grow
 * with the registry.
 *
 * The nodes of an order are written in chunks while the order is `pending` and invisible. The last
 * write opens the order. The next order or import removes a pending order that a crash left.
 */

import { join } from 'node:path';
import { formatId, type Secret } from '@latchkey/protocol';
import { Failure, NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { lockFolder, ensurePrivateFolder } from '@latchkey/runtime/files';
import { KEY_KIND } from '@latchkey/keyring';
import {
  type AuditEvent,
  chunksOf,
  hadInitialKey,
  InDoubt,
  initialKeyIdentifier,
  NodeChanges,
  noLongerPending,
  type Registry,
  type NodeRow,
  type OrderRow,
  type Snapshot,
} from '@latchkey/registry';
import { NodeBatch } from './node-batch.js';

/** Seconds: 7 days. */
export const DEFAULT_GRACE = 604_800;
/** Nodes written in one transaction: enough to be fast, few enough to delay no join. */
const NODES_PER_LOAD = 512;

export type OrderTerms = Pick<
  OrderRow,
  | 'kind'
  | 'installer'
  | 'contact'
  | 'site'
  | 'idC'
  | 'sharedKey'
  | 'manufacturer'
  | 'lifetime'
  | 'grace'
  | 'joinFrom'
  | 'joinUntil'
>;

/** Receives the number of nodes written. The next chunk waits for it. */
type Progressed = (done: number) => void | Promise<void>;

/** What an import does with a node of a batch. */
export type ImportAction = 'add' | 'change' | 'unchanged' | 'duplicate' | 'reject';

export interface Enrolment {
  readonly terms: OrderTerms;
  readonly batch: NodeBatch;
  /** Returns the action for the node at an index of the batch. Default: `add`. */
  readonly action?: (i: number) => ImportAction;
  /** Must still be in the registry when the nodes become visible. */
  readonly controllers?: Iterable<number>;
  /** Called with the number of nodes written so far. */
  readonly progress?: Progressed;
}

/**
 * Identifies the state of a node that was judged. Any other state has another entry or another
 * order.
 */
export type JudgedNode = Pick<NodeRow, 'order' | 'entry'>;

/** How a batch is written. */
interface Writing {
  readonly action?: Enrolment['action'] | undefined;
  readonly progress?: Progressed | undefined;
  /** For a node that changes: the state that it must still have then. */
  readonly judged?: (i: number) => JudgedNode | undefined;
}

/**
 * Adds the nodes of `batch` as one order, all or none, and returns the number of the order. Returns
 * `undefined` if nodes are only changed, because that needs no order.
 */
export async function enrol(
  registry: Registry,
  { terms, batch, action, controllers, progress }: Enrolment,
): Promise<number | undefined> {
  const transaction = await EnrolmentTransaction.begin(registry, terms);
  try {
    await transaction.add(batch, { action, progress });
    return await transaction.commit(controllers);
  } finally {
    await transaction.close();
  }
}

/**
 * An order or import that is written in parts, and is invisible before `commit`. Always call
 * `close`.
 */
export class EnrolmentTransaction {
  readonly #registry: Registry;
  readonly #row: OrderRow;
  readonly #lock: { release(): Promise<void> };
  /** Existing nodes that change, in the last write. */
  readonly #changes: NodeBatch;
  /** By ID. */
  readonly #judged = new Map<number, JudgedNode>();
  /** Controllers that nodes are assigned to. */
  readonly #controllers = { added: new Set<number>(), changed: new Set<number>() };
  #rows: RowFactory | undefined;
  #orderNumber: number | undefined;
  #count = 0;

  private constructor(registry: Registry, row: OrderRow, lock: { release(): Promise<void> }) {
    this.#registry = registry;
    this.#row = row;
    this.#lock = lock;
    this.#changes = new NodeBatch(row.manufacturer !== undefined);
  }

  /** Throws a Failure if another order or import is in progress. */
  static async begin(registry: Registry, terms: OrderTerms): Promise<EnrolmentTransaction> {
    const lock = await lockForEnrolment(registry);
    try {
      await removeUnfinished(registry);
    } catch (error) {
      await lock.release();
      throw error;
    }
    const row: OrderRow = { ...terms, state: 'pending', count: 0, createdAt: Date.now(), createdEntry: 0, entry: 0 };
    return new EnrolmentTransaction(registry, row, lock);
  }

  /** Writes a part. `progress` receives the number of nodes written in all parts so far. */
  async add(batch: NodeBatch, { action = () => 'add', judged, progress }: Writing = {}): Promise<void> {
    const registry = this.#registry;
    const added = batch.indicesById().filter((i) => action(i) === 'add');
    for (const chunk of chunksOf(added, NODES_PER_LOAD)) {
      const order = (this.#orderNumber ??= await addOrder(registry, this.#row));
      const rows = (this.#rows ??= new RowFactory(registry, order));
      const recentInitialKeys = chunk.map((i) => batch.idI(i));
      const descriptions = chunk.flatMap((i) => {
        const texts = batch.description(i);
        return texts === undefined ? [] : [[batch.idI(i), { ...texts, entry: 0 }] as const];
      });
      // Sealed before the transaction, because joins wait while the transaction has the store.
      const made = chunk.map((i) => [i, rows.create(batch, i)] as const);
      await registry.load(
        order,
        { recentInitialKeys, metadata: ['clock history'] },
        (found) =>
          made.map(([i, row]) => {
            // Another process may have begun to replace the master key since.
            const isCurrent = registry.keyring.isUnderCurrentKey(row.key);
            return newNode(registry, found, batch.idI(i), isCurrent ? row : rows.create(batch, i));
          }),
        descriptions,
      );
      for (const i of chunk) this.#controllers.added.add(batch.idC(i));
      this.#count += chunk.length;
      await progress?.(this.#count);
    }
    for (const i of batch.indicesById()) {
      if (action(i) !== 'change') continue;
      this.#controllers.changed.add(batch.idC(i));
      batch.copyTo(i, this.#changes);
      const state = judged?.(i);
      if (state !== undefined) this.#judged.set(batch.idI(i), state);
    }
  }

  /** Makes all parts visible. `controllers` must still be in the registry. */
  async commit(controllers: Iterable<number> = []): Promise<number | undefined> {
    const registry = this.#registry;
    const [number, batch, required] = [this.#orderNumber, this.#changes, [...controllers]];
    const rows = this.#rows ?? new RowFactory(registry, 0);
    const ids = Array.from(batch.indicesById(), (i) => batch.idI(i));
    const { added, changed } = this.#controllers;
    const keys = NodeChanges.keysOf(ids, [...new Set([...required, ...added, ...changed])]);
    await registry.write({ ...keys, orders: number === undefined ? [] : [number] }, (found) => {
      // The lock may have been lost with its connection, and another order or import may have
      // removed this one.
      if (number !== undefined && !isSamePending(found.order(number)?.row, this.#row)) throw noLongerPending(number);
      for (const idC of required) if (found.controller(idC) === undefined) throw unknownController(idC);
      const at = registry.timeOfServers(found);
      const changes = new NodeChanges(found, at);
      const { manufacturer } = this.#row;
      for (const i of batch.indicesById()) {
        const idI = batch.idI(i);
        const before = requireAsJudged(found, idI, this.#judged.get(idI));
        change(changes, found, idI, before, { given: rows.create(batch, i), manufacturer, at });
      }
      if (number === undefined) return { result: undefined, ...changes.outcome };
      const entry = found.head.seq + changes.count + 1;
      for (const idC of added) changes.assign(idC, entry);
      const { events, put, remove } = changes.outcome;
      const order = publishedOrder(number, { ...this.#row, count: this.#count }, entry);
      return { result: undefined, events: [...events, order.event], put: { ...put, orders: [[number, order.row]] }, remove };
    });
    this.#orderNumber = undefined;
    return number;
  }

  /** Removes an unfinished order, and releases the lock. */
  async close(): Promise<void> {
    this.#changes.wipe();
    await this.#takeBack().catch(() => undefined);
    await this.#lock.release();
  }

  /** Leaves an order alone that another machine now has pending under that number. */
  async #takeBack(): Promise<void> {
    const number = this.#orderNumber;
    if (number !== undefined) await this.#registry.storage.unload(number, (row) => isSamePending(row, this.#row));
  }
}

async function addOrder(registry: Registry, row: OrderRow): Promise<number> {
  try {
    return await registry.write({}, ({ lastOrder }) => ({ result: lastOrder + 1, put: { orders: [[lastOrder + 1, row]] } }));
  } catch (error) {
    // The order is invisible, and the next order or import removes it.
    if (error instanceof InDoubt) throw new Failure(error.message, { advice: 'Nothing was changed. Try again.' });
    throw error;
  }
}

/**
 * Returns whether `found` is the pending order that was added as `added`. An engine that serves
 * several processes changes the count of an order that another process removes or begins to remove.
 */
function isSamePending(found: OrderRow | undefined, added: OrderRow): boolean {
  const { kind, installer, idC, count, createdAt } = added;
  return (
    found?.state === 'pending' &&
    found.count === count &&
    found.createdAt === createdAt &&
    found.kind === kind &&
    found.installer === installer &&
    found.idC === idC
  );
}

/** An order whose nodes are there from `entry` on, and what the log says of it. */
function publishedOrder(
  number: number,
  row: OrderRow,
  entry: number,
): { readonly row: OrderRow; readonly event: AuditEvent & { readonly at: number } } {
  const { kind, count, installer, idC, manufacturer } = row;
  const what = kind === 'order' ? 'order created' : 'nodes imported';
  const note = manufacturer === undefined ? installer : `${installer}; split initial keys, device keys from ${manufacturer}`;
  return {
    row: { ...row, state: 'open', createdEntry: entry, entry },
    event: { what, order: number, count, note, at: row.createdAt, ...(idC === undefined ? {} : { controller: idC }) },
  };
}

/** Admits one order or import at a time, so that any other pending order has no owner. */
async function lockForEnrolment({ storage, folder }: Registry): Promise<{ release(): Promise<void> }> {
  if (storage.lockEnrolment !== undefined) return storage.lockEnrolment();
  const path = join(folder, 'enrolment');
  await ensurePrivateFolder(path);
  return lockFolder(path, 'another order or import');
}

/** Makes rows of nodes that have never joined. */
class RowFactory {
  readonly #registry: Registry;
  readonly #order: number;
  readonly #identify: (ik: Secret) => Uint8Array;

  constructor(registry: Registry, order: number) {
    this.#registry = registry;
    this.#order = order;
    const identity = registry.initialKeyIdKey();
    this.#identify = initialKeyIdentifier(identity);
    identity.wipe();
  }

  create(batch: NodeBatch, i: number): NodeRow {
    const { keyring } = this.#registry;
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

/** Returns the row of a new node, with the present time if its ID had this IK before. */
function newNode(registry: Registry, found: Snapshot, idI: number, row: NodeRow): readonly [idI: number, row: NodeRow] {
  const recent = found.recentInitialKeys(idI);
  if (recent.length === 0) return [idI, row];
  const at = registry.timeOfServers(found);
  return [idI, hadInitialKey(recent, row.ik, at) ? { ...row, reissuedAt: at } : row];
}

interface ImportedLine {
  /** The row of the line as a new node. */
  readonly given: NodeRow;
  readonly manufacturer: string | undefined;
  /** The time by the servers' clock. */
  readonly at: number;
}

/**
 * Returns the row of the node. Throws if the node is no longer as it was judged, because only a
 * previewed change may be made.
 */
function requireAsJudged(found: Snapshot, idI: number, judged: JudgedNode | undefined): NodeRow {
  const row = found.node(idI)?.row;
  if (row === undefined) throw changedMeanwhile(idI, 'was removed');
  if (!row.initial) throw changedMeanwhile(idI, 'joined');
  if (judged !== undefined && (row.order !== judged.order || row.entry !== judged.entry))
    throw changedMeanwhile(idI, 'was changed');
  return row;
}

function changedMeanwhile(idI: number, how: string): UsageFailure {
  return new UsageFailure(`node ${formatId(idI)} ${how} meanwhile`, { advice: 'Nothing was changed. Try again.' });
}

/** Gives the key and the controller of the line to a node that has not joined. */
function change(
  changes: NodeChanges,
  found: Snapshot,
  idI: number,
  before: NodeRow,
  { given, manufacturer, at }: ImportedLine,
): void {
  const { key, ik, controller, split, half } = given;
  const event = { what: 'node changed by import', controller } as const;
  if (Buffer.compare(ik, before.ik) === 0) {
    changes.replace(idI, before, { ...before, key, ik, controller }, event);
    return;
  }
  const { reissuedAt: _, split: wasSplit = false, half: __, manufacturer: ___, ...rest } = before;
  const halves =
    split === undefined || half === undefined ? {} : { split, half, ...(manufacturer === undefined ? {} : { manufacturer }) };
  const reissued = hadInitialKey(found.recentInitialKeys(idI), ik, at) ? { reissuedAt: at } : {};
  const after = { ...rest, initialKeyIssuedAt: Date.now(), ...reissued, ...halves, key, ik, controller };
  changes.replace(idI, before, after, { ...event, ...splitNote(wasSplit, split === true) });
}

/** Nodes can be assigned only to controllers in the registry. */
export function unknownController(idC: number): NotFound {
  return new NotFound(`controller ${formatId(idC)} is not in the registry`, {
    advice: 'Nothing was changed. Name one of these, or add it first:',
    run: [['latchkey-auth-server', 'controller', 'list']],
  });
}

/** Returns the note for the audit log on whether the new IK of a node is split. */
export function splitNote(wasSplit: boolean, isSplit: boolean): Pick<AuditEvent, 'note'> {
  if (isSplit) return { note: 'split initial key' };
  return wasSplit ? { note: 'whole initial key, no longer split' } : {};
}

/** Removes the orders that were not finished, with their nodes. */
async function removeUnfinished(registry: Registry): Promise<void> {
  const unfinished = (await registry.orders()).filter(({ state }) => state === 'pending');
  for (const { number } of unfinished) await registry.storage.unload(number);
}
