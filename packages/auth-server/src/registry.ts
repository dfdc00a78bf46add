/**
 * The registry: what the auth-server knows of nodes, controllers and orders, in an LMDB store that several processes may open:
 * one that serves, and commands beside it.
 *
 *   nodes        ID_i -> NodeRow
 *   controllers  ID_c -> ControllerRow
 *   orders       number, from 1 -> OrderRow
 *   about        'schema' -> version, 'wall' -> latest time a commit saw, ms since the epoch
 *
 * A write is visible to nobody before it is on the disk (`overlappingSync: false`): a key that a reader has seen must not be
 * lost by a power failure, or a node that has confirmed it is locked out.
 */

import { join } from 'node:path';
import { type Commit, COMMIT_LIMIT_MS, equalInConstantTime, formatId, type NodeRecord, Secret } from '@latchkey/protocol';
import { type Endpoint, exists, Failure, openFolder, UsageFailure } from '@latchkey/runtime';
import type { Database, RootDatabase } from 'lmdb';
import { openStore, STORE_FILE, writeFailure } from './store.js';

const SCHEMA = 1;
const STORE = 'registry';

/** A controller as the registry knows it. */
export interface ControllerRecord {
  readonly idC: number;
  readonly skCs: Secret;
  /** Where nodes reach it. */
  readonly nid: Endpoint;
  /** Where it reaches auth-servers. */
  readonly servers: readonly Endpoint[];
  /** ms since the epoch, as are all times here. */
  readonly addedAt: number;
}

/** What an administrator ordered from an installer. */
export interface OrderRecord {
  readonly number: number;
  readonly installer: string;
  readonly idC: number;
  readonly count: number;
  readonly sharedKey: boolean;
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
  readonly createdAt: number;
}

/** A node with what only the administrator's side asks for. */
export interface RegisteredNode extends NodeRecord {
  readonly order: number | undefined;
  readonly addedAt: number;
  /** When K_i was committed, by the server's clock. */
  readonly committedAt: number | undefined;
}

interface NodeRow {
  key: Uint8Array;
  initial: boolean;
  controller: number;
  disabled: boolean;
  joinFrom?: number;
  joinUntil?: number;
  lifetime: number;
  grace: number;
  order?: number;
  addedAt: number;
  committed?: { idC: number; tid: string; ts: number; nidI: Uint8Array; lifetime: number; at: number };
}

interface ControllerRow {
  skCs: Uint8Array;
  nid: Endpoint;
  servers: Endpoint[];
  addedAt: number;
}

type OrderRow = Omit<OrderRecord, 'number'>;

/** How a commit ended: `lost` means that K_i was not what it was compared with, `late` that the time for it was over. */
export type CommitResult = 'committed' | 'lost' | 'late';

export class Registry {
  readonly folder: string;
  readonly #env: RootDatabase;
  readonly #nodes: Database<NodeRow, number>;
  readonly #controllers: Database<ControllerRow, number>;
  readonly #orders: Database<OrderRow, number>;
  readonly #about: Database<number, string>;
  /** When each commit under way began, by the monotonic clock, oldest first. */
  readonly #underWay = new Set<{ readonly since: number }>();

  private constructor(folder: string, env: RootDatabase) {
    this.folder = folder;
    this.#env = env;
    this.#nodes = env.openDB({ name: 'nodes', keyEncoding: 'uint32' });
    this.#controllers = env.openDB({ name: 'controllers', keyEncoding: 'uint32' });
    this.#orders = env.openDB({ name: 'orders', keyEncoding: 'uint32' });
    this.#about = env.openDB({ name: 'about' });
  }

  /** Makes a new, empty registry in `folder`. Refuses to touch one that is there. */
  static async create(folder: string): Promise<Registry> {
    await openFolder(folder);
    if (await exists(join(folder, STORE, STORE_FILE))) {
      throw new UsageFailure(`${folder} holds a registry already`, {
        advice: 'Nothing was changed. Choose another folder for a new one.',
      });
    }
    const registry = await Registry.#open(folder);
    await registry.#write(() => registry.#about.putSync('schema', SCHEMA));
    return registry;
  }

  /** Opens the registry that `create` made. */
  static async open(folder: string): Promise<Registry> {
    if (!(await exists(join(folder, STORE, STORE_FILE)))) {
      throw new UsageFailure(`${folder} holds no registry`, { advice: `Run: latchkey-auth-server init --data ${folder}` });
    }
    await openFolder(folder);
    const registry = await Registry.#open(folder);
    const schema = registry.#about.get('schema');
    if (schema === SCHEMA) return registry;
    await registry.close();
    throw new Failure(`the registry in ${folder} has schema ${schema ?? 'none'}; this version knows ${SCHEMA}`, {
      advice: 'Use the version of Latchkey that wrote it, or a newer one.',
    });
  }

  static async #open(folder: string): Promise<Registry> {
    return new Registry(folder, await openStore(join(folder, STORE), { maxDbs: 8 }));
  }

  /** The node as it is now: sees every commit that was acknowledged before the call, also another process's. */
  node(idI: number): RegisteredNode | undefined {
    this.#env.resetReadTxn();
    const row = this.#nodes.get(idI);
    return row && nodeFrom(idI, row);
  }

  controller(idC: number): ControllerRecord | undefined {
    this.#env.resetReadTxn();
    const row = this.#controllers.get(idC);
    return row && controllerFrom(idC, row);
  }

  *controllers(): Generator<ControllerRecord> {
    this.#env.resetReadTxn();
    for (const { key, value } of this.#controllers.getRange()) yield controllerFrom(key, value);
  }

  /** In ascending order of ID. */
  *nodes(): Generator<RegisteredNode> {
    this.#env.resetReadTxn();
    for (const { key, value } of this.#nodes.getRange()) yield nodeFrom(key, value);
  }

  order(number: number): OrderRecord | undefined {
    this.#env.resetReadTxn();
    const row = this.#orders.get(number);
    return row && { number, ...row };
  }

  /** The latest time that a commit saw, ms since the epoch. */
  get latestWall(): number | undefined {
    return this.#about.get('wall');
  }

  /** Since when the oldest commit under way has not finished, ms of the monotonic clock. */
  get oldestCommit(): number | undefined {
    const [oldest] = this.#underWay;
    return oldest?.since;
  }

  /**
   * Replaces K_i by the PSK in one durable transaction, if K_i is still `from` and it is not too late. Resolves when the disk
   * has it.
   *
   * @param inTime asked once more inside the transaction: the time stamp must still be in its window
   */
  commit(
    idI: number,
    from: Secret,
    to: Secret,
    commit: Commit,
    wall: () => number,
    inTime: (wall: number) => boolean,
  ): Promise<CommitResult> {
    const entry = { since: performance.now() };
    this.#underWay.add(entry);
    // Not a child transaction, which costs more: it decides before it writes, so that there is nothing to undo.
    return this.#env
      .transaction((): CommitResult => {
        const now = wall();
        if (performance.now() - entry.since > COMMIT_LIMIT_MS || !inTime(now)) return 'late';
        const row = this.#nodes.get(idI);
        if (row === undefined || !equalInConstantTime(row.key, from.expose())) return 'lost';
        const { tid, ...rest } = commit;
        this.#nodes.putSync(idI, {
          ...row,
          key: to.expose(),
          initial: false,
          committed: { ...rest, tid: tid.toString(16), at: now },
        });
        this.#about.putSync('wall', now);
        return 'committed';
      })
      .catch(async (error: unknown) => {
        throw await writeFailure(this.folder, error);
      })
      .finally(() => this.#underWay.delete(entry));
  }

  /** Adds a controller. Fails if its ID is taken. */
  async addController(controller: ControllerRecord): Promise<void> {
    const { idC, skCs, servers, ...rest } = controller;
    await this.#write(() => {
      if (this.#controllers.get(idC) !== undefined)
        throw new UsageFailure(`controller ${formatId(idC)} is in the registry already`);
      this.#controllers.putSync(idC, { ...rest, skCs: skCs.expose(), servers: [...servers] });
    });
  }

  /** Adds an order and its nodes, all or nothing, and gives the order's number. Fails if an ID is taken meanwhile. */
  async addOrder(order: Omit<OrderRecord, 'number'>, nodes: readonly NodeRecord[]): Promise<number> {
    return this.#write(() => {
      const [last = 0] = this.#orders.getKeys({ reverse: true, limit: 1 });
      const number = last + 1;
      this.#orders.putSync(number, order);
      for (const node of byId(nodes)) {
        if (this.#nodes.get(node.idI) !== undefined) throw new Failure(`node ${formatId(node.idI)} was added meanwhile`);
        this.#nodes.putSync(node.idI, rowFrom(node, order.createdAt, number));
      }
      return number;
    });
  }

  /** Adds nodes that are not there yet, all or nothing. Fails, naming them, if some are there with another key or controller. */
  async addNodes(nodes: readonly NodeRecord[], addedAt: number): Promise<{ readonly added: number; readonly unchanged: number }> {
    return this.#write(() => {
      let added = 0;
      const clashes: string[] = [];
      for (const node of byId(nodes)) {
        const row = this.#nodes.get(node.idI);
        if (row === undefined) {
          this.#nodes.putSync(node.idI, rowFrom(node, addedAt));
          added += 1;
        } else if (!row.initial || row.controller !== node.controller || !equalInConstantTime(row.key, node.key.expose())) {
          clashes.push(formatId(node.idI));
        }
      }
      if (clashes.length > 0) {
        const shown = clashes.slice(0, 10).join(', ');
        throw new Failure(`${clashes.length} of the nodes are in the registry with another key or controller: ${shown}`, {
          advice: 'Nothing was changed. Take those lines out, then import again.',
        });
      }
      return { added, unchanged: nodes.length - added };
    });
  }

  async close(): Promise<void> {
    await this.#env.close();
  }

  /**
   * Runs `action` in a write transaction of its own inside whatever else is written now, and resolves when the disk has it. An
   * action that throws has no effect.
   */
  async #write<T>(action: () => T): Promise<T> {
    try {
      return await this.#env.childTransaction(action);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw await writeFailure(this.folder, error);
    }
  }
}

function nodeFrom(idI: number, row: NodeRow): RegisteredNode {
  const { key, committed, order, addedAt, ...rest } = row;
  const node = { idI, ...rest, key: Secret.from(key), order, addedAt, committedAt: committed?.at };
  key.fill(0);
  if (committed === undefined) return node;
  const { at: _, tid, ...commit } = committed;
  return { ...node, committed: { ...commit, tid: BigInt(`0x${tid}`) } };
}

function rowFrom(node: NodeRecord, addedAt: number, order?: number): NodeRow {
  const { initial, controller, disabled, joinFrom, joinUntil, lifetime, grace } = node;
  return {
    key: node.key.expose(),
    initial,
    controller,
    disabled,
    lifetime,
    grace,
    addedAt,
    ...(joinFrom === undefined ? {} : { joinFrom }),
    ...(joinUntil === undefined ? {} : { joinUntil }),
    ...(order === undefined ? {} : { order }),
  };
}

function controllerFrom(idC: number, row: ControllerRow): ControllerRecord {
  const { skCs, ...rest } = row;
  const record = { idC, ...rest, skCs: Secret.from(skCs) };
  skCs.fill(0);
  return record;
}

/** LMDB takes keys in ascending order many times faster than at random. */
function byId(nodes: readonly NodeRecord[]): NodeRecord[] {
  return nodes.toSorted((a, b) => a.idI - b.idI);
}
