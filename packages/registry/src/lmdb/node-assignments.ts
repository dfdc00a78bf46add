/**
 * Index of the nodes of each order and each controller, present and former. Lists and the key feed
 * need it in addition to the rows of nodes. The transaction that writes a row updates it. A join
 * changes nothing here.
 */

import { randomInt } from 'node:crypto';
import type { Database, RangeOptions, RootDatabase } from 'lmdb';
import { MAX_INCARNATION, type WalkRow } from '../key-feed.js';
import { type AssignedNode, type AssignmentTable, type FormerAssignment, formerAssignments } from '../model/node-assignments.js';
import type { NodeRow } from '../model/rows.js';

const INCARNATION_KEY = 'key feed incarnation';
const MAX_ID = 0xffff_ffff;
/** Nodes of an order per page. */
const PAGE_SIZE = 1_024;

/**
 *   nodes by controller   ID_c 4 | ID_i 4 -> order
 *   nodes by order        order 4 | ID_i 4 -> true
 *   former controllers    ID_i 4 | ID_c 4 -> FormerAssignment
 *   key feed walks        ID_c -> WalkRow
 */
export class NodeAssignments implements AssignmentTable {
  readonly walks: Database<WalkRow, number>;
  readonly #byController: Database<number, Buffer>;
  readonly #byOrder: Database<true, Buffer>;
  readonly #former: Database<FormerAssignment, Buffer>;
  readonly #metadata: Database<unknown, string>;

  constructor(env: RootDatabase, metadata: Database<unknown, string>) {
    this.#byController = env.openDB({ name: 'nodes by controller', keyEncoding: 'binary' });
    this.#byOrder = env.openDB({ name: 'nodes by order', keyEncoding: 'binary' });
    this.#former = env.openDB({ name: 'former controllers', keyEncoding: 'binary' });
    this.walks = env.openDB({ name: 'key feed walks', keyEncoding: 'uint32' });
    this.#metadata = metadata;
  }

  /** Inside the write transaction that adds the node, which no reader sees yet. */
  add(idI: number, { controller, order }: NodeRow): void {
    this.#byController.putSync(pair(controller, idI), order);
    this.#byOrder.putSync(pair(order, idI), true);
  }

  /** Inside the write transaction that unloads a node, which no reader saw. */
  takeBack(idI: number, { controller, order }: NodeRow): void {
    this.#byController.removeSync(pair(controller, idI));
    this.#byOrder.removeSync(pair(order, idI));
  }

  /**
   * Inside the write transaction that changes the node's row.
   *
   * @param before `undefined`: it is added
   * @param after `undefined`: it is removed
   * @param entry of the change in the audit log
   */
  change(idI: number, before: NodeRow | undefined, after: NodeRow | undefined, entry: number): void {
    if (before?.controller !== after?.controller || before?.order !== after?.order) {
      if (before !== undefined) this.takeBack(idI, before);
      if (after !== undefined) this.add(idI, after);
    }
    if (before === undefined) return;
    for (const [idC, added] of formerAssignments(before, after, entry)) {
      const key = pair(idI, idC);
      this.#former.putSync(key, { ...this.#former.get(key), ...added });
    }
  }

  former(idI: number, idC: number): FormerAssignment | undefined {
    return this.#former.get(pair(idI, idC));
  }

  /** Returns the stored nodes and their former controllers, after that of `after`. */
  formerPage(
    after: readonly [idI: number, idC: number] | undefined,
    options: RangeOptions,
  ): (readonly [ids: readonly [idI: number, idC: number], FormerAssignment])[] {
    const range = after === undefined ? options : { ...options, start: pair(...after), exclusiveStart: true };
    return Array.from(
      this.#former.getRange(range),
      ({ key, value }) => [[key.readUInt32BE(0), key.readUInt32BE(4)], value] as const,
    );
  }

  /** Inside the write transaction that fills an empty store. */
  putFormer([idI, idC]: readonly [idI: number, idC: number], former: FormerAssignment): void {
    this.#former.putSync(pair(idI, idC), former);
  }

  *nodesOf(idC: number, from: number = 0): Generator<AssignedNode> {
    for (const { key, value } of this.#byController.getRange({ start: pair(idC, from), end: endOf(idC) }))
      yield { idI: key.readUInt32BE(4), order: value };
  }

  /** In ascending order of ID. No read stays open between two pages. */
  *nodesOfOrder(number: number): Generator<number> {
    for (let from = 0; ;) {
      const range = { start: pair(number, from), end: endOf(number), limit: PAGE_SIZE };
      const page = Array.from(this.#byOrder.getKeys(range), (key) => key.readUInt32BE(4));
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_SIZE || last === MAX_ID) return;
      from = last + 1;
    }
  }

  /** Differs in each store: cursors of a store before a restore are invalid. */
  get incarnation(): number {
    return this.#metadata.get(INCARNATION_KEY) as number;
  }

  get hasIncarnation(): boolean {
    return this.#metadata.doesExist(INCARNATION_KEY);
  }

  /** Inside a write transaction. */
  drawIncarnation(): void {
    this.#metadata.putSync(INCARNATION_KEY, randomInt(1, MAX_INCARNATION + 1));
    this.walks.clearSync();
  }
}

function pair(first: number, second: number): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeUInt32BE(first, 0);
  key.writeUInt32BE(second, 4);
  return key;
}

/** The first key after those of a controller, or of an order. */
function endOf(first: number): Buffer {
  return first < MAX_ID ? pair(first + 1, 0) : Buffer.alloc(9, 0xff);
}
