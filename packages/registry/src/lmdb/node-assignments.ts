/**
 * Which nodes each controller has, and which it had: what the key feed needs to know besides the
 * nodes' rows. Written in the transaction that writes the row. A join changes nothing here.
 */

import { randomInt } from 'node:crypto';
import { scanTable } from '@latchkey/lmdb';
import type { Database, RootDatabase } from 'lmdb';
import type { NodeRow } from '../model/rows.js';

const INCARNATION_KEY = 'key feed incarnation';
/** Incarnations are drawn from 1 to this: 27 bits, as many as a cursor has for them. */
const MAX_INCARNATION: number = 2 ** 27 - 1;
/** Rows indexed in one transaction, where a registry has no index yet. */
const ROWS_PER_TRANSACTION = 4_096;
const MAX_ID = 0xffff_ffff;

/** What is kept of a node for a controller. */
interface FormerRow {
  /** The entry of the audit log with which the node ceased to be its. */
  until?: number;
  /** TID of the node's latest commit through it, where the node's own row has it no longer. */
  tid?: string;
}

/** A walk of a controller through its nodes. */
export interface WalkRow {
  /** Drawn at random: names the walk in cursors. */
  walk: number;
  /** TID of the M12 that began it, and when that was, ms since the epoch. */
  tid: string;
  at: number;
  /** The entry of the audit log after which changes are told once it is over. */
  start: number;
  /** Set if only the nodes of this order are told. */
  order?: number;
}

/** A node in the index, and its order. */
export interface AssignedNode {
  readonly idI: number;
  readonly order: number;
}

/**
 *   nodes by controller   ID_c 4 | ID_i 4 -> order
 *   former controllers    ID_i 4 | ID_c 4 -> FormerRow
 *   key feed walks        ID_c -> WalkRow
 */
export class NodeAssignments {
  readonly walks: Database<WalkRow, number>;
  readonly #byController: Database<number, Buffer>;
  readonly #former: Database<FormerRow, Buffer>;
  readonly #metadata: Database<unknown, string>;

  constructor(env: RootDatabase, metadata: Database<unknown, string>) {
    this.#byController = env.openDB({ name: 'nodes by controller', keyEncoding: 'binary' });
    this.#former = env.openDB({ name: 'former controllers', keyEncoding: 'binary' });
    this.walks = env.openDB({ name: 'key feed walks', keyEncoding: 'uint32' });
    this.#metadata = metadata;
  }

  /** Inside the write transaction that adds the node, seen by nobody yet. */
  add(idI: number, { controller, order }: NodeRow): void {
    this.#byController.putSync(pair(controller, idI), order);
  }

  /** Inside the write transaction that takes back a node that nobody saw. */
  takeBack(idI: number, { controller }: NodeRow): void {
    this.#byController.removeSync(pair(controller, idI));
  }

  /**
   * Inside the write transaction that changes the node's row.
   *
   * @param after `undefined`: it is removed
   * @param entry of the change in the audit log
   */
  change(idI: number, before: NodeRow, after: NodeRow | undefined, entry: number): void {
    const { committed } = before;
    const leaves = after?.controller !== before.controller;
    if (leaves) {
      this.#byController.removeSync(pair(before.controller, idI));
      if (after !== undefined) this.add(idI, after);
      this.#remember(idI, before.controller, { until: entry });
    }
    // A reset forgets the commit, and another controller's replaces it.
    if (committed !== undefined && (leaves || after.committed === undefined))
      this.#remember(idI, committed.idC, { tid: committed.tid });
  }

  /** TID of the node's latest commit through controller `idC`, 0 if there was none. */
  latestTid(idI: number, idC: number, row: NodeRow | undefined): bigint {
    const tid = row?.committed?.idC === idC ? row.committed.tid : this.#former.get(pair(idI, idC))?.tid;
    return tid === undefined ? 0n : BigInt(`0x${tid}`);
  }

  /**
   * Whether the node was the controller's, and ceased to be so after this entry of the audit log.
   */
  leftAfter(idI: number, idC: number, entry: number): boolean {
    return (this.#former.get(pair(idI, idC))?.until ?? 0) > entry;
  }

  /** In ascending order of ID, from `from` on, also nodes of orders that are not finished. */
  *nodesOf(idC: number, from: number = 0): Generator<AssignedNode> {
    for (const { key, value } of this.#byController.getRange({ start: pair(idC, from), end: endOf(idC) }))
      yield { idI: key.readUInt32BE(4), order: value };
  }

  /** Drawn anew when the registry is restored: cursors from before count no more. */
  get incarnation(): number {
    return this.#metadata.get(INCARNATION_KEY) as number;
  }

  /** Inside the write transaction of a restore. Where there is no index yet, `ensure` draws one. */
  redrawIncarnation(): void {
    if (this.#metadata.doesExist(INCARNATION_KEY)) this.drawIncarnation();
  }

  /** Inside a write transaction. */
  drawIncarnation(): void {
    this.#metadata.putSync(INCARNATION_KEY, randomInt(1, MAX_INCARNATION + 1));
    this.walks.clearSync();
  }

  /** Makes the index for a registry that was made before there was one. */
  async ensure(nodes: Database<NodeRow, number>, write: (action: () => void) => Promise<void>): Promise<void> {
    if (this.#metadata.doesExist(INCARNATION_KEY)) return;
    let chunk: number[] = [];
    const index = (): void => {
      for (const idI of chunk) {
        const row = nodes.get(idI);
        if (row !== undefined) this.add(idI, row);
      }
    };
    for (const { key } of scanTable(nodes, 0)) {
      chunk.push(key);
      if (chunk.length < ROWS_PER_TRANSACTION) continue;
      await write(index);
      chunk = [];
    }
    await write(() => {
      index();
      if (!this.#metadata.doesExist(INCARNATION_KEY)) this.drawIncarnation();
    });
  }

  #remember(idI: number, idC: number, row: FormerRow): void {
    const key = pair(idI, idC);
    this.#former.putSync(key, { ...this.#former.get(key), ...row });
  }
}

function pair(first: number, second: number): Buffer {
  const key = Buffer.allocUnsafe(8);
  key.writeUInt32BE(first, 0);
  key.writeUInt32BE(second, 4);
  return key;
}

/** The first key after those of a controller. */
function endOf(idC: number): Buffer {
  return idC < MAX_ID ? pair(idC + 1, 0) : Buffer.alloc(9, 0xff);
}
