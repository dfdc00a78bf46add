/**
 * The registry: nodes, controllers and orders. Its keys are sealed (@latchkey/keyring), and each
 * change has an entry in the audit log. A storage engine stores it.
 */

import { join } from 'node:path';
import { KEY_KIND, Keyring } from '@latchkey/keyring';
import { STORE_FILE } from '@latchkey/lmdb';
import { type Commit, COMMIT_TIMEOUT_MS, EMPTY_HISTORY, type Secret, type ServerNodeRecord } from '@latchkey/protocol';
import { type Clock, PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { ensurePrivateFolder, exists } from '@latchkey/runtime/files';
import { Histogram } from '@latchkey/runtime/telemetry';
import type { Actor, AttributedEvent } from './audit-chain.js';
import type { KeyFeed } from './key-feed.js';
import { LmdbStorage } from './lmdb/lmdb-storage.js';
import { STORE_FOLDER } from './folder-names.js';
import { Tables } from './lmdb/tables.js';
import { stillRecent } from './model/recent-initial-keys.js';
import {
  addSeenBy,
  type ControllerRow,
  holdsKey,
  later,
  type NodeActivity,
  type NodeDescription,
  type OrderRecord,
  type UnsealedNode,
  unsealInstallerHalf,
  unsealNodeKey,
  wipeKeys,
} from './model/rows.js';
import { NodeCache } from './node-cache.js';
import { drawKey, drawTransactionKey, INITIAL_KEY_ID_KEY, type Opened, type Precondition } from './registry-core.js';
import { describeMisplacedStore, notInFolder, registryNotFound, requireRegistry, schemaMismatch } from './registry-failures.js';
import { RegistryReads } from './registry-reads.js';
import { type Outcome, type RegistryStorage, type Snapshot } from './storage.js';
import { StorageMetadata } from './storage-metadata.js';

/** Version of the tables' content. */
export const SCHEMA = 1;

/** Who holds the lock of a registry while a controller runs on it in combined mode. */
export const COMBINED_MODE_HOLDER = 'latchkey-controller run in combined mode';

/** IDs per call of `forgetInitialKeys`. */
const FORGET_PAGE_SIZE = 1_024;
/** Entries that are taken out of the audit log in one write. */
const PRUNE_PAGE_SIZE = 4_096;

/**
 * Result of a commit. `conflict`: the node has changed since the decision. `expired`: its time
 * limit is over.
 */
export type CommitResult = 'committed' | 'conflict' | 'expired';

export interface DescribedNode {
  /** The caller wipes its key. */
  readonly node: UnsealedNode;
  /** That it is assigned to, its keys sealed. */
  readonly controller: ControllerRow | undefined;
  readonly description: NodeDescription | undefined;
}

export interface NodeInDetail {
  /** The caller wipes its key. */
  readonly node: UnsealedNode | undefined;
  readonly order: OrderRecord | undefined;
  readonly description: NodeDescription | undefined;
  readonly activity: NodeActivity | undefined;
}

const CONFLICT: Outcome<CommitResult> = { result: 'conflict' };
const EXPIRED: Outcome<CommitResult> = { result: 'expired' };

export class Registry extends RegistryReads {
  /** How long commits took. */
  readonly commitDurations: Histogram = new Histogram();
  /** When each commit under way began, by both clocks, oldest first. */
  readonly #pendingCommits = new Set<{ readonly since: number; readonly sinceWallMs: number }>();
  readonly #nodeCache = new NodeCache();
  readonly #time: ProcessTime;
  /** First ID of the next `forgetInitialKeys`. */
  #forgetFrom = 0;

  private constructor(opened: Opened) {
    super(opened);
    this.#time = opened.time ?? PROCESS_TIME;
    if (this.storage instanceof LmdbStorage) this.storage.tables.keyring = this.keyring;
  }

  /**
   * Creates an empty registry in `folder`, sealed under the key that `master` returns. Refuses if
   * the folder already holds a registry.
   */
  static async create(folder: string, master: () => Promise<Secret>, actor: Actor, clock?: Clock): Promise<Registry> {
    await ensurePrivateFolder(folder);
    if (!(await exists(join(folder, STORE_FOLDER, STORE_FILE)))) {
      const misplaced = await describeMisplacedStore(folder);
      if (misplaced !== undefined) throw misplaced;
    }
    const tables = await Tables.open(folder, actor, {
      ifDamaged: `Nothing was changed. If an earlier init was interrupted, remove ${join(folder, STORE_FOLDER)} first; else restore a backup.`,
    });
    try {
      await tables.initialize();
    } catch (error) {
      await tables.close();
      throw error;
    }
    return Registry.createOn(new LmdbStorage(tables), folder, master, actor, clock);
  }

  /** Opens the registry that `create` made. `actor` is written to the audit log. */
  static async open(folder: string, master: Secret, actor: Actor, clock?: Clock): Promise<Registry> {
    await requireRegistry(folder);
    await ensurePrivateFolder(folder);
    const tables = await Tables.open(folder, actor);
    return Registry.openOn(new LmdbStorage(tables), folder, master, actor, clock);
  }

  static async createOn(
    storage: RegistryStorage,
    folder: string,
    master: () => Promise<Secret>,
    actor: Actor,
    clock?: Clock,
  ): Promise<Registry> {
    try {
      // What a creation that was killed left has no schema.
      if ((await schemaOf(storage)) !== undefined) throw registryExists(folder);
      // Only now: no new master key is drawn beside a registry that is there.
      const key = await master();
      const metadata = new StorageMetadata(storage);
      const idKey = drawKey();
      const keyring = await storage.write({ metadata: ['master key', 'schema'] }, (found) =>
        metadata.decide(found, () => {
          // Two may begin at once: the keys of the other one seal what is there by now.
          if (found.metadata('schema') !== undefined) throw registryExists(folder);
          const keyring = Keyring.create(metadata, folder, key);
          metadata.putSync('initial key id key', keyring.seal(INITIAL_KEY_ID_KEY, idKey));
          metadata.putSync('transaction key', drawTransactionKey(keyring));
          metadata.putSync('schema', SCHEMA);
          metadata.putSync('clock history', EMPTY_HISTORY);
          return { result: keyring, events: [{ what: 'registry created', actor, at: Date.now() }] };
        }),
      );
      idKey.wipe();
      return new Registry({ storage, metadata, keyring, folder, actor, clock });
    } catch (error) {
      await storage.close();
      throw error;
    }
  }

  static async openOn(
    storage: RegistryStorage,
    folder: string,
    master: Secret,
    actor: Actor,
    clock?: Clock,
    time?: ProcessTime,
  ): Promise<Registry> {
    try {
      const schema = await schemaOf(storage);
      if (schema === undefined) throw registryNotFound(folder);
      if (schema !== SCHEMA) throw schemaMismatch(folder, schema, SCHEMA);
      const metadata = new StorageMetadata(storage);
      const keyring = Keyring.open(metadata, folder, master);
      const registry = new Registry({ storage, metadata, keyring, folder, actor, clock, time });
      await registry.ensureTransactionKey();
      return registry;
    } catch (error) {
      await storage.close();
      throw error;
    }
  }

  /**
   * The same registry, whose changes are another actor's: the audit log names that one. It shares
   * storage and keys with this registry. Only this registry is closed.
   *
   * @param precondition of each of its writes
   */
  actingAs(actor: Actor, precondition?: Precondition): Registry {
    if (actor === this.actor && precondition === undefined) return this;
    return new Registry({ ...this.opened, actor, precondition, original: this });
  }

  /** The same registry, whose walks end once `signal` is aborted, and throw its reason. */
  until(signal: AbortSignal): Registry {
    return new Registry({ ...this.opened, signal, original: this });
  }

  /** Of a registry on LMDB. */
  get tables(): Tables {
    if (!(this.storage instanceof LmdbStorage)) throw notInFolder();
    return this.storage.tables;
  }

  /**
   * The node as it is now: sees every commit that was acknowledged before the call, also another
   * process's. With its controller's mode, as it is in the snapshot that the node's key is from.
   */
  readNode(idI: number): UnsealedNode | undefined | Promise<UnsealedNode | undefined> {
    const found = this.storage.read({ nodes: [idI] });
    return found instanceof Promise ? found.then((snapshot) => this.#unsealNode(snapshot, idI)) : this.#unsealNode(found, idI);
  }

  /** As `readNode`, for who waits in any case. */
  async node(idI: number): Promise<UnsealedNode | undefined> {
    return this.readNode(idI);
  }

  /** Those of these nodes that are there, as of one moment. */
  describedNodes(ids: readonly number[]): Promise<DescribedNode[]> {
    return this.read({ nodes: ids, nodeDescriptions: ids }, (found) =>
      ids.flatMap((idI) => {
        const node = this.#unsealNode(found, idI);
        return node === undefined
          ? []
          : [{ node, controller: found.controller(node.controller)?.row, description: found.nodeDescription(idI) }];
      }),
    );
  }

  /** Returns one node with its details and activity, in one snapshot. */
  nodeInDetail(idI: number): Promise<NodeInDetail> {
    return this.#readInDetail([idI], (found) => this.#nodeInDetail(found, idI));
  }

  /** As `nodeInDetail`, of each of these nodes, in one read. */
  nodesInDetail(ids: readonly number[]): Promise<NodeInDetail[]> {
    return this.#readInDetail(ids, (found) => ids.map((idI) => this.#nodeInDetail(found, idI)));
  }

  #readInDetail<T>(ids: readonly number[], look: (found: Snapshot) => T): Promise<T> {
    return this.read({ nodes: ids, nodeDescriptions: ids, nodeActivity: ids }, look);
  }

  #nodeInDetail(found: Snapshot, idI: number): NodeInDetail {
    const node = this.#unsealNode(found, idI);
    const order = node && found.order(node.order)?.row;
    return {
      node,
      order: node && order && { number: node.order, ...order },
      description: found.nodeDescription(idI),
      activity: found.nodeActivity(idI),
    };
  }

  #unsealNode(found: Snapshot, idI: number): UnsealedNode | undefined {
    const versioned = found.node(idI);
    if (versioned === undefined) {
      this.#nodeCache.delete(idI);
      return undefined;
    }
    const { row, version } = versioned;
    const cached = this.#nodeCache.take(idI, version);
    const info = this.nodeInfo(found, idI, row);
    if (info === undefined) {
      cached?.wipe();
      return undefined;
    }
    const key = cached ?? unsealNodeKey(this.keyring, idI, row);
    const controller = found.controller(row.controller);
    const { passThrough, switchedAt } = this.#modeOf(controller?.row);
    return Object.assign(info, {
      key,
      stored: { version, row, key },
      passThrough,
      switchedAt,
      controllerVersion: controller?.version,
    });
  }

  /** What the controller of a node gets. */
  #modeOf(row: ControllerRow | undefined): Pick<ServerNodeRecord, 'passThrough' | 'switchedAt'> {
    const passThrough = row?.passThrough === true ? { transactionKey: this.transactionKey } : undefined;
    return { passThrough, switchedAt: later(row?.switchedAt, this.restoredAt) };
  }

  /**
   * Returns the installer's half of a node's IK, or `undefined` if the IK is not split, or traded
   * in. The caller wipes it.
   */
  installerHalf({ idI, stored }: UnsealedNode): Secret | undefined {
    return unsealInstallerHalf(this.keyring, idI, stored.row);
  }

  /** The node will be asked for again soon: until then it stays open, its key a copy. */
  cacheNode(node: UnsealedNode): void {
    this.#nodeCache.put(node);
  }

  /**
   * Returns the cached node if reading it would take a round trip; otherwise, or if it is not
   * cached, `undefined`. The entry may be stale, so it is valid for a `commit` only, which compares
   * it.
   */
  takeKeptNode(idI: number): UnsealedNode | undefined {
    return this.storage.mayDoubt === true ? this.#nodeCache.takeNode(idI) : undefined;
  }

  /** The key feed for controllers. */
  keyFeed(): KeyFeed {
    return this.storage.keyFeed(this.keyring);
  }

  get pendingCommitCount(): number {
    return this.#pendingCommits.size;
  }

  /** Start time of the oldest pending commit, by the time of this process. */
  get oldestPendingCommit(): number | undefined {
    const [oldest] = this.#pendingCommits;
    return oldest?.since;
  }

  /**
   * Whether a commit is under way that should have ended: this process was stopped, its machine
   * slept, or the disk stands still. It may take effect yet, when its node has dropped the
   * candidate; so nobody may be given the key before it meanwhile.
   *
   * @param wallMs the time it is, ms since the epoch
   */
  hasOverdueCommit(wallMs: number): boolean {
    const [oldest] = this.#pendingCommits;
    if (oldest === undefined) return false;
    return this.#time.now() - oldest.since > COMMIT_TIMEOUT_MS || wallMs - oldest.sinceWallMs > COMMIT_TIMEOUT_MS;
  }

  /**
   * Replaces K_i by the PSK in one durable transaction, if the node is still what it was judged by
   * and it is not too late. Resolves when the disk has it.
   *
   * @param node as read for the decision: neither its key nor another setting of an administrator
   *   may have changed since
   * @param isInTime called again inside the transaction: the time stamp must still be in its window
   */
  async commit(
    node: UnsealedNode,
    to: Secret,
    commit: Commit,
    wall: () => number,
    isInTime: (wall: number) => boolean,
  ): Promise<CommitResult> {
    const { now: readTime } = this.#time;
    const pending = { since: readTime(), sinceWallMs: wall() };
    this.#pendingCommits.add(pending);
    try {
      const result = await this.storage.write({ nodes: [node.idI], metadata: ['master key'] }, (found) => {
        const now = wall();
        if (readTime() - pending.since > COMMIT_TIMEOUT_MS || !isInTime(now)) return EXPIRED;
        return this.decide(found, () => this.#replaceKey(found, node, to, commit, now));
      });
      if (result === 'committed') this.commitDurations.observe(readTime() - pending.since);
      return result;
    } finally {
      this.#pendingCommits.delete(pending);
    }
  }

  #replaceKey(found: Snapshot, node: UnsealedNode, to: Secret, commit: Commit, now: number): Outcome<CommitResult> {
    const { idI, stored } = node;
    const current = found.node(idI);
    const row = current?.row;
    if (row?.entry !== node.entry || found.order(row.order)?.row.entry !== node.orderEntry) return CONFLICT;
    // The key may be the same one, given again since.
    if (row.reissuedAt !== stored.row.reissuedAt) return CONFLICT;
    // Its controller must not have been switched either: the proof was verified with the RN_c of
    // its mode.
    const { row: controller, version: controllerVersion } = found.controller(row.controller) ?? {};
    const isPassThrough = controller?.passThrough === true;
    const switchedAt = later(controller?.switchedAt, this.restoredAt);
    // Who reads a node sees with it that SK_cs still holds.
    if (node.isKept === true && controllerVersion !== node.controllerVersion) return CONFLICT;
    if (isPassThrough !== (node.passThrough !== undefined) || switchedAt !== node.switchedAt) return CONFLICT;
    // A row of another version may still hold the same key, under another master key.
    const isUnchanged = stored.key === node.key && current?.version === stored.version;
    if (!isUnchanged && !holdsKey(this.keyring, idI, row, node.key)) return CONFLICT;
    const { idC, tid, ts, nidI, lifetime } = commit;
    // Copies first, then assigns: in one literal V8 defines each property separately.
    const updated = { ...row };
    updated.key = this.keyring.seal({ kind: KEY_KIND.node, id: idI }, to);
    updated.initial = false;
    updated.committed = { idC, tid: tid.toString(16), ts, nidI, lifetime, at: now };
    // No M7 from before `reissuedAt` opens under the new key.
    if (row.reissuedAt !== undefined) delete updated.reissuedAt;
    updated.entry = found.head.seq + 1;
    if (row.initial) {
      if (row.half !== undefined) delete updated.half;
      updated.joinedAt = now;
      if (!isPassThrough) updated.seenBy = addSeenBy(row, idC);
    }
    const event: AttributedEvent = {
      what: row.initial ? 'node joined' : 'node renewed',
      node: idI,
      controller: idC,
      tid,
      keyBefore: node.key,
      key: to,
      previousEntry: row.entry === 0 ? undefined : row.entry,
      actor: this.actor,
      at: now,
    };
    return { result: 'committed', events: [event], put: { nodes: [[idI, updated]] } };
  }

  /**
   * Activates the staged SK_cs, which the controller has used, durably, and erases the old one.
   * Returns false and changes nothing if another key was staged in the meantime, in place of this
   * one.
   */
  async activateStagedKey(idC: number, used: Secret): Promise<boolean> {
    return this.writeOnce({ controllers: [idC] }, (found) => {
      const row = found.controller(idC)?.row;
      if (row === undefined) return { result: false };
      const opened = this.unsealController(idC, row);
      const [isActive, isStaged] = [opened.skCs.equals(used), opened.stagedSkCs?.equals(used) === true];
      wipeKeys(opened);
      if (isActive || !isStaged) return { result: isActive };
      const { stagedSkCs: _, ...rest } = row;
      const skCs = this.keyring.seal({ kind: KEY_KIND.controller, id: idC }, used);
      return {
        result: true,
        put: { controllers: [[idC, { ...rest, skCs }]] },
        events: [{ what: 'controller key activated', controller: idC, key: used }],
      };
    });
  }

  /**
   * Deletes initial keys past their retention from a part of the IDs, the next part at each call.
   * Resolves with the number of IDs that were removed.
   */
  async forgetInitialKeys(): Promise<number> {
    const at = this.timeOfServers(await this.storage.read({ metadata: ['clock history'] }));
    const page = await this.storage.recentInitialKeyPage(this.#forgetFrom, FORGET_PAGE_SIZE);
    const last = page.at(-1);
    this.#forgetFrom = page.length < FORGET_PAGE_SIZE || last === undefined ? 0 : last[0] + 1;
    const old = page.filter(([, keys]) => stillRecent(keys, at).length === 0).map(([idI]) => idI);
    if (old.length === 0) return 0;
    return this.write({ recentInitialKeys: old }, (found) => {
      // Another process may have added to one of them since.
      const still = old.filter((idI) => stillRecent(found.recentInitialKeys(idI), at).length === 0);
      return { result: still.length, put: { recentInitialKeys: still.map((idI) => [idI, []] as const) } };
    });
  }

  /**
   * Prunes the entries of the audit log through `last`, in several writes, so that no commit waits
   * for all of them. The first write includes the entry that records the pruning. Each write moves
   * the start of the log: the first remaining entry follows the start. The start is never beyond
   * what an entry records. The log is therefore valid at every moment, even if the process is
   * killed. Entries that were not reached remain.
   *
   * @param progress number of pruned entries
   */
  async pruneAudit(last: number, archivePath: string, progress?: (done: number) => void | Promise<void>): Promise<void> {
    const event: AttributedEvent = {
      what: 'log pruned',
      upTo: last,
      note: `kept in ${archivePath}`,
      actor: this.actor,
      at: Date.now(),
    };
    let removed = await this.storage.pruneAudit(last, PRUNE_PAGE_SIZE, event);
    for (let done = removed; removed === PRUNE_PAGE_SIZE; done += removed) {
      await progress?.(done);
      removed = await this.storage.pruneAudit(last, PRUNE_PAGE_SIZE);
    }
  }

  override async close(): Promise<void> {
    this.#nodeCache.close();
    await super.close();
  }
}

function registryExists(folder: string): UsageFailure {
  return new UsageFailure(`${folder} holds a registry already`, {
    advice: 'Nothing was changed. Choose another folder for a new one.',
  });
}

async function schemaOf(storage: RegistryStorage): Promise<number | undefined> {
  return (await storage.read({ metadata: ['schema'] })).metadata('schema') as number | undefined;
}
