/**
 * The registry: what the auth-server knows of nodes, controllers and orders, in an LMDB store that
 * several processes may open: one that serves, and commands beside it. Its tables are in
 * `tables.ts`, keys in them are sealed (@latchkey/keyring), and each change stands in the audit
 * log.
 *
 * A write is visible to nobody before it is on the disk (`overlappingSync: false`): a key that a
 * reader has seen must not be lost by a power failure, or a node that has confirmed it is locked
 * out.
 */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type Commit,
  COMMIT_TIMEOUT_MS,
  KEY_LENGTH,
  Secret,
  type ServerNodeRecord,
  EMPTY_HISTORY,
  type TimeRange,
  type ClockHistory,
} from '@latchkey/protocol';
import type { Clock } from '@latchkey/runtime/daemon';
import { Histogram } from '@latchkey/runtime/telemetry';
import { exists, ensurePrivateFolder } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { rawValueEquals, scanTable, STORE_FILE, readRawValue, writeFailure } from '@latchkey/lmdb';
import { KEY_KIND, announceAdoption } from '@latchkey/keyring';
import type { AuditLog } from './audit-log.js';
import { isoTime } from '@latchkey/runtime/iso-time';
import { NodeCache } from './node-cache.js';
import { describeMisplacedStore, registryNotFound, requireRegistry, schemaMismatch } from './registry-failures.js';
import {
  type ControllerInfo,
  toControllerInfo,
  unsealController,
  type ControllerRecord,
  type ControllerRow,
  toNodeInfo,
  unsealInstallerHalf,
  unsealNodeKey,
  type NodeInfo,
  type NodeRow,
  type OrderRecord,
  later,
  type UnsealedNode,
  addSeenBy,
  wipeKeys,
  holdsKey,
} from './rows.js';
import type { ControllerActivity, NodeActivity } from './rows.js';
import { STORE_FOLDER, Tables } from './tables.js';

/** Version of what is in the tables. */
export const SCHEMA = 1;

/** Who holds the lock of a registry while a controller runs on it in combined mode. */
export const COMBINED_MODE_HOLDER = 'latchkey-controller run in combined mode';

/**
 * How a commit ended: `conflict` means that the node was not what it was judged by any more,
 * `expired` that the time for it was over.
 */
export type CommitResult = 'committed' | 'conflict' | 'expired';

/** A registry that was put back from a backup. Times are ms since the epoch. */
export interface Restored {
  readonly at: number;
  /** When the backup was made. */
  readonly backupAt: number;
  /** The audit entry of the restore. */
  readonly entry: number;
}

export class Registry {
  /**
   * For what changes the registry (`enrolment`, `node-changes`, ...); readers use the methods here.
   */
  readonly tables: Tables;
  /** How long commits took. */
  readonly commitDurations: Histogram = new Histogram();
  /** When each commit under way began, by the monotonic clock, oldest first. */
  readonly #pendingCommits = new Set<{ readonly since: number }>();
  readonly #nodeCache = new NodeCache();
  /** Nobody restores a registry that a server has open. */
  readonly #restoredAt: number | undefined;

  private constructor(tables: Tables) {
    this.tables = tables;
    this.#restoredAt = this.restored?.at;
  }

  /**
   * Makes a new, empty registry in `folder`, sealed under what `master` gives. Refuses to touch one
   * that is there, or to make one beside it.
   */
  static async create(folder: string, master: () => Promise<Secret>, actor: string, clock?: Clock): Promise<Registry> {
    await ensurePrivateFolder(folder);
    if (!(await exists(join(folder, STORE_FOLDER, STORE_FILE)))) {
      const misplaced = await describeMisplacedStore(folder);
      if (misplaced !== undefined) throw misplaced;
    }
    const tables = await Tables.open(folder, actor, {
      clock,
      ifDamaged: `Nothing was changed. If an earlier init was interrupted, remove ${join(folder, STORE_FOLDER)} first; else restore a backup.`,
    });
    try {
      // What a creation that was killed left has no schema.
      if (tables.metadata.get('schema') !== undefined) {
        throw new UsageFailure(`${folder} holds a registry already`, {
          advice: 'Nothing was changed. Choose another folder for a new one.',
        });
      }
      // Only now: no new master key is drawn beside a registry that is there.
      const key = await master();
      const octets = randomBytes(KEY_LENGTH);
      await tables.write(() => {
        tables.initializeKeyring(key, Secret.from(octets));
        tables.metadata.putSync('schema', SCHEMA);
        tables.metadata.putSync('clock history', EMPTY_HISTORY);
        tables.audit.append({ what: 'registry created' }, Date.now());
      });
      octets.fill(0);
    } catch (error) {
      await tables.close();
      throw error;
    }
    return new Registry(tables);
  }

  /** Opens the registry that `create` made. `actor` stands in the audit log. */
  static async open(folder: string, master: Secret, actor: string, clock?: Clock): Promise<Registry> {
    const tables = await Registry.#openTables(folder, actor, clock);
    try {
      const schema = tables.metadata.get('schema') as number | undefined;
      if (schema === undefined) throw registryNotFound(folder);
      if (schema !== SCHEMA) throw schemaMismatch(folder, schema, SCHEMA);
      tables.openKeyring(master);
      await tables.ensureTransactionKey();
      return new Registry(tables);
    } catch (error) {
      await tables.close();
      throw error;
    }
  }

  static async #openTables(folder: string, actor: string, clock: Clock | undefined): Promise<Tables> {
    await requireRegistry(folder);
    await ensurePrivateFolder(folder);
    return Tables.open(folder, actor, { clock });
  }

  get folder(): string {
    return this.tables.folder;
  }

  get audit(): AuditLog {
    return this.tables.audit;
  }

  /**
   * The node as it is now: sees every commit that was acknowledged before the call, also another
   * process's.
   */
  node(idI: number): UnsealedNode | undefined {
    this.tables.refreshSnapshot();
    return this.nodeInSnapshot(idI);
  }

  /**
   * The node as it was, or later, when anything else was last looked up: for one request the
   * controller and the node, with one look at the store.
   */
  nodeInSnapshot(idI: number): UnsealedNode | undefined {
    const { nodes } = this.tables;
    const cached = this.#nodeCache.take(idI, (octets) => rawValueEquals(nodes, idI, octets));
    const octets = cached?.octets ?? readRawValue(nodes, idI);
    if (octets === undefined) return undefined;
    const row = cached?.row ?? nodes.get(idI);
    const info = row && this.#nodeInfo(idI, row);
    if (row === undefined || info === undefined) {
      cached?.key.wipe();
      return undefined;
    }
    const key = cached?.key ?? unsealNodeKey(this.tables.keyring, idI, row);
    const { passThrough, switchedAt } = this.#modeOf(row);
    return Object.assign(info, { key, stored: { octets, row, key }, passThrough, switchedAt });
  }

  /** What the node's controller gets, as it is in the snapshot that the node's key is from. */
  #modeOf({ controller }: NodeRow): Pick<ServerNodeRecord, 'passThrough' | 'switchedAt'> {
    const row = this.tables.controllerCache.get(controller);
    const passThrough = row?.passThrough === true ? { transactionKey: this.tables.transactionKey } : undefined;
    return { passThrough, switchedAt: later(row?.switchedAt, this.#restoredAt) };
  }

  /**
   * Returns the installer's half of a node's IK, or `undefined` if the IK is not split, or traded
   * in. The caller wipes it.
   */
  installerHalf({ idI, stored }: UnsealedNode): Secret | undefined {
    return unsealInstallerHalf(this.tables.keyring, idI, stored.row);
  }

  /** The node will be asked for again soon: until then it stays open, its key a copy. */
  cacheNode({ idI, stored }: UnsealedNode): void {
    this.#nodeCache.put(idI, stored);
  }

  /** Whether an ID is taken, be it by an order that is not finished. */
  isIdTaken(idI: number): boolean {
    return this.tables.nodes.doesExist(idI);
  }

  controller(idC: number): ControllerRecord | undefined {
    const row = this.controllerRow(idC);
    return row && this.unsealController(idC, row);
  }

  /** The same object as long as the controller is the same, its keys sealed. */
  controllerRow(idC: number): ControllerRow | undefined {
    this.tables.refreshSnapshot();
    return this.tables.controllerCache.get(idC);
  }

  unsealController(idC: number, row: ControllerRow): ControllerRecord {
    return unsealController(this.tables.keyring, idC, row);
  }

  /**
   * Whether the controller is in the registry, with this SK_cs: the one in use, or the one that is
   * to take over.
   */
  hasCredential(idC: number, skCs: Secret): boolean {
    const controller = this.controller(idC);
    if (controller === undefined) return false;
    const isKnown = controller.skCs.equals(skCs) || controller.stagedSkCs?.equals(skCs) === true;
    wipeKeys(controller);
    return isKnown;
  }

  /** In ascending order of ID, without their keys. */
  *controllers(): Generator<ControllerInfo> {
    this.tables.refreshSnapshot();
    for (const { key, value } of this.tables.controllers.getRange()) yield toControllerInfo(key, value);
  }

  /**
   * In ascending order of ID, from `from` on, without their keys; each as it is when it is come to,
   * for who takes his time.
   */
  *nodes(from: number = 0): Generator<NodeInfo> {
    this.tables.refreshSnapshot();
    for (const { key, value } of scanTable(this.tables.nodes, from)) {
      const info = this.#nodeInfo(key, value);
      if (info !== undefined) yield info;
    }
  }

  order(number: number): OrderRecord | undefined {
    this.tables.refreshSnapshot();
    const row = this.tables.orders.get(number);
    return row && { number, ...row };
  }

  /** In ascending order of number, from `from` on. */
  *orders(from: number = 0): Generator<OrderRecord> {
    this.tables.refreshSnapshot();
    for (const { key, value } of this.tables.orders.getRange({ start: from })) yield { number: key, ...value };
  }

  /** What was seen of an ID, be it of a node or not. */
  nodeActivity(idI: number): NodeActivity | undefined {
    const { nodes, nodeActivity, unknownNodeActivity } = this.tables;
    return (nodes.doesExist(idI) ? nodeActivity : unknownNodeActivity).get(idI);
  }

  controllerActivity(idC: number): ControllerActivity | undefined {
    return this.tables.controllerActivity.get(idC);
  }

  get restored(): Restored | undefined {
    return this.tables.metadata.get('restored') as Restored | undefined;
  }

  /** The latest time that a change or a server saw, ms since the epoch. */
  get lastWallClock(): number {
    return this.tables.latestWall;
  }

  /**
   * When a server last wrote what its clock showed, ms since the epoch: every half minute while one
   * runs. `undefined`: none ever ran.
   */
  get servedAt(): number | undefined {
    this.tables.refreshSnapshot();
    return (this.tables.metadata.get('clock history') as ClockHistory | undefined)?.savedAt?.wallMs;
  }

  /** What the clocks of the servers showed. */
  get clockHistory(): ClockHistory {
    this.tables.refreshSnapshot();
    return this.tables.times;
  }

  /**
   * Writes what becomes of `times`, and gives it, once the disk has it. `wall`: the time it is;
   * `discontinuity`: why a break comes before it.
   */
  async saveClockHistory(
    change: (history: ClockHistory) => ClockHistory,
    wall: number,
    discontinuity?: string,
  ): Promise<ClockHistory> {
    return this.tables.write(() => {
      const history = change(this.tables.times);
      this.tables.metadata.putSync('clock history', history);
      this.tables.metadata.putSync('last wall clock', Math.max(wall, this.lastWallClock));
      if (discontinuity !== undefined) this.tables.audit.append({ what: 'clock discontinuity', note: discontinuity }, wall);
      return history;
    });
  }

  /** M7s of these times count again. */
  async releaseClockRanges(released: readonly TimeRange[]): Promise<void> {
    const note = released.map(({ from, until }) => `${isoTime(from)} to ${isoTime(until)}`).join(', ');
    await this.tables.audited({ what: 'clock released', note }, () => {
      const { times } = this.tables;
      const previous = times.previous.filter(
        ({ from, until }) => !released.some((span) => span.from === from && span.until === until),
      );
      this.tables.metadata.putSync('clock history', { ...times, previous });
    });
  }

  /** Resolves when the disk has taken a write. Throws a Failure where it does not. */
  async probe(wall: number): Promise<void> {
    await this.tables.write(() => this.tables.metadata.putSync('last wall clock', Math.max(wall, this.lastWallClock)));
  }

  get pendingCommitCount(): number {
    return this.#pendingCommits.size;
  }

  /** Since when the oldest commit under way has not finished, ms of the monotonic clock. */
  get oldestPendingCommit(): number | undefined {
    const [oldest] = this.#pendingCommits;
    return oldest?.since;
  }

  /**
   * Replaces K_i by the PSK in one durable transaction, if the node is still what it was judged by
   * and it is not too late. Resolves when the disk has it.
   *
   * @param node as it was judged: neither its key nor anything else an administrator sets may have
   *   changed since
   * @param isInTime asked once more inside the transaction: the time stamp must still be in its
   *   window
   */
  async commit(
    node: UnsealedNode,
    to: Secret,
    commit: Commit,
    wall: () => number,
    isInTime: (wall: number) => boolean,
  ): Promise<CommitResult> {
    const pending = { since: performance.now() };
    const { nodes, orderCache, env, keyring, audit } = this.tables;
    const { idI } = node;
    this.#pendingCommits.add(pending);
    try {
      // Not a child transaction, which costs more: it decides before it writes, so that there is
      // nothing to undo.
      const result = await env.transaction((): CommitResult => {
        const now = wall();
        if (performance.now() - pending.since > COMMIT_TIMEOUT_MS || !isInTime(now)) return 'expired';
        keyring.reload();
        // Octets that are others may be the same key all the same, under another master key.
        const { stored } = node;
        const isUnchanged = stored.key === node.key && rawValueEquals(nodes, idI, stored.octets);
        const row = isUnchanged ? stored.row : nodes.get(idI);
        if (row?.entry !== node.entry || orderCache.get(row.order)?.entry !== node.orderEntry) return 'conflict';
        // The key may be the same one, given again since.
        if (row.reissuedAt !== stored.row.reissuedAt) return 'conflict';
        // Nor may its controller have been switched meanwhile: the proof was judged by the RN_c of
        // its mode.
        const { passThrough, switchedAt } = this.#modeOf(row);
        if ((passThrough === undefined) !== (node.passThrough === undefined) || switchedAt !== node.switchedAt) return 'conflict';
        if (!isUnchanged && !holdsKey(keyring, idI, row, node.key)) return 'conflict';
        const { idC, tid, ts, nidI, lifetime } = commit;
        const what = row.initial ? 'node joined' : 'node renewed';
        const previousEntry = row.entry === 0 ? undefined : row.entry;
        // A copy, then what is new: in one literal V8 defines each property anew.
        const updated = { ...row };
        updated.key = keyring.seal({ kind: KEY_KIND.node, id: idI }, to);
        updated.initial = false;
        updated.committed = { idC, tid: tid.toString(16), ts, nidI, lifetime, at: now };
        // No M7 from before `reissuedAt` opens under the new key.
        if (row.reissuedAt !== undefined) delete updated.reissuedAt;
        updated.entry = audit.append({ what, node: idI, controller: idC, tid, keyBefore: node.key, key: to, previousEntry }, now);
        if (row.initial) {
          if (row.half !== undefined) delete updated.half;
          updated.joinedAt = now;
          if (passThrough === undefined) updated.seenBy = addSeenBy(row, idC);
        }
        nodes.putSync(idI, updated);
        return 'committed';
      });
      if (result === 'committed') this.commitDurations.observeSince(pending.since);
      return result;
    } catch (error) {
      throw error instanceof Failure ? error : await writeFailure(this.folder, error);
    } finally {
      this.#pendingCommits.delete(pending);
    }
  }

  /**
   * The controller has used the SK_cs that was to take over: it takes over, durably, and the old
   * one is erased. Gives false, and changes nothing, if another was ordered meanwhile, for which
   * this one was given up.
   */
  async activateStagedKey(idC: number, used: Secret): Promise<boolean> {
    const { controllers, keyring, audit } = this.tables;
    return this.tables.write(() => {
      const row = controllers.get(idC);
      if (row === undefined) return false;
      const opened = unsealController(keyring, idC, row);
      const [isActive, isStaged] = [opened.skCs.equals(used), opened.stagedSkCs?.equals(used) === true];
      wipeKeys(opened);
      if (isActive || !isStaged) return isActive;
      const { stagedSkCs: _, ...rest } = row;
      controllers.putSync(idC, { ...rest, skCs: keyring.seal({ kind: KEY_KIND.controller, id: idC }, used) });
      audit.append({ what: 'controller key activated', controller: idC, key: used }, Date.now());
      return true;
    });
  }

  /**
   * Forgets a part of the initial keys that IDs had too long ago to matter. To be called again and
   * again.
   */
  async forgetInitialKeys(): Promise<void> {
    const { tables } = this;
    await tables.recentInitialKeys.forget(tables.timeOfServers, (action) => tables.write(action));
  }

  /**
   * Forgets the reads of processes that were killed over them, until which the file of the store
   * grows with every commit. LMDB does so itself when the store is opened, and at no other time.
   */
  clearStaleReaders(): void {
    this.tables.env.readerCheck();
  }

  /**
   * Tells others that this process serves, and under which master key; again whenever that changed.
   */
  async announceAdoption(): Promise<void> {
    this.tables.refreshSnapshot();
    await announceAdoption(this.tables.metadata, this.tables.keyring, (action) => this.tables.write(action));
  }

  async close(): Promise<void> {
    this.#nodeCache.close();
    await this.tables.close();
  }

  /**
   * `undefined`: its order is not finished, or was left unfinished: then it is as if the node were
   * not there.
   */
  #nodeInfo(idI: number, row: NodeRow): NodeInfo | undefined {
    const order = this.tables.orderCache.get(row.order);
    return order === undefined || order.state === 'pending' ? undefined : toNodeInfo(idI, row, order, this.#restoredAt);
  }
}
