/**
 * The application roots of a daemon's nodes, from which application keys are derived; sealed under
 * the store's own master key, or an auth-server's under that of its registry. No PSK is stored:
 * nothing in here opens a message of the protocol.
 *
 * Joins and pages of the key feed are written in the order in which they arrived: which of them
 * counts depends on it.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { FIRST_CURSOR, isForgettable, type JoinResult, type KeyFeedPage, type Secret, TOMBSTONE_MS } from '@latchkey/protocol';
import { Histogram } from '@latchkey/runtime/telemetry';
import { Failure } from '@latchkey/runtime/failure';
import type { Log } from '@latchkey/runtime/daemon';
import { announceAdoption, type Keyring, KEY_KIND, type LmdbMetadata, type NextMasterKey, rotate } from '@latchkey/keyring';
import { countEntries, DamagedStore, rewrapTable, scanTable, writeFailure } from '@latchkey/lmdb';
import type { Database, RootDatabase } from 'lmdb';
import { DEFAULT_OVERLAP_MS } from '../config.js';
import type { KeySource, NodeKeys } from '../key-source.js';
import { type FeedProgress, type FeedRow, fromFeedRow, toFeedRow } from './feed-progress.js';
import { applyJoin, applyPage, type NodeKeyTable } from './node-key-changes.js';
import { fromRow, isGivenOutAlike, type NodeKeysRow, openKeys, rewrapRow, type SealedNodeKeys, toRow } from './node-key-rows.js';
import { putAside } from './set-aside-store.js';
import { dropAll, FEED_KEY, openTables, putSealCheck, sealState, type StoreTables } from './store-tables.js';

/** The request of `latchkey-controller sync`, and its outcome. */
const SYNC_REQUEST_KEY = 'sync request';
const SYNC_OUTCOME_KEY = 'sync outcome';
/**
 * How long a confirmation by the registry counts for a command that runs next to the controller, in
 * ms. The controller writes a confirmation each minute.
 */
const CONFIRMED_FOR_MS = 150_000;

/** Outcome of the request with that token. */
export interface SyncOutcome {
  readonly token: string;
  readonly isComplete: boolean;
}

export interface StoreOptions {
  readonly overlapMs?: number;
  /** ms since the epoch. */
  readonly now?: () => number;
}

/**
 * Keys and pages are gathered for at least this long before they are written together, in ms: a
 * transaction takes longer than all other work on a key. All that arrives while the disk writes is
 * one batch, too: a walk through all nodes must not wait once for each page on a slow disk.
 */
const BATCH_DELAY_MS = 50;
/**
 * Maximum of keys that wait for the disk, as many as open transactions by default. A hanging disk
 * must not exhaust the controller's memory.
 */
const MAX_QUEUED = 16_384;
/** What is stored of a page of the key feed. */
type StoredPage = Pick<KeyFeedPage, 'entries' | 'retains'>;

/** What is written together, in this order. */
interface WriteBatch {
  readonly operations: (
    | { readonly kind: 'join'; readonly joined: JoinResult; readonly since: number }
    | { readonly kind: 'page'; readonly page: StoredPage; readonly progress: FeedProgress }
  )[];
  readonly written: Promise<void>;
}

/** Changes outside the tables, applied once a transaction is committed. */
class Changes {
  /** Nodes whose state for subscribers has changed. */
  readonly givenOut = new Set<number>();
  /** When something of a node is over, in ms since the epoch; Infinity: nothing will be. */
  readonly due = new Map<number, number>();

  clear(): void {
    this.givenOut.clear();
    this.due.clear();
  }
}

export class ApplicationRootStore implements KeySource {
  readonly #path: string;
  readonly #tables: StoreTables;
  readonly #env: RootDatabase;
  readonly #nodeKeys: Database<NodeKeysRow, number>;
  readonly #metadata: LmdbMetadata;
  readonly keyring: Keyring;
  #batch: WriteBatch | undefined;
  #queued = 0;
  /** The batch that is being collected, or else the one that is being written. */
  #lastWrite: Promise<void> | undefined;
  /** Keys that the disk did not take, by ID_i. */
  readonly #unwritten = new Map<number, JoinResult>();
  readonly #listeners = new Set<(idI: number) => void>();
  /**
   * When something of a node is over: it can be forgotten, or a former generation. ms since the
   * epoch.
   */
  readonly #due = new Map<number, number>();
  #complete: () => void = () => undefined;
  /** Resolves once the registry has reported every node. */
  readonly #completed = new Promise<void>((resolve) => {
    this.#complete = resolve;
  });
  readonly #overlapMs: number;
  readonly #now: () => number;
  /** Called with a join that arrived too late to count: the feed reports the valid state. */
  onLateJoin: (idI: number) => void = () => undefined;
  /** Returns true if the registry has recently confirmed the keys that are given out. */
  isVerified: () => boolean;
  /** Whether no key is given out, as the registry has not confirmed them for too long. */
  isWithdrawn: () => boolean = () => this.feedProgress.isWithdrawn === true;
  /** Durations of `put`. */
  readonly putDurations: Histogram = new Histogram();

  private constructor(path: string, tables: StoreTables, { overlapMs = DEFAULT_OVERLAP_MS, now = Date.now }: StoreOptions) {
    this.#path = path;
    this.#tables = tables;
    this.#env = tables.env;
    this.#nodeKeys = tables.nodeKeys;
    this.#metadata = tables.metadata;
    this.keyring = tables.keyring;
    if (this.feedProgress.cursor !== FIRST_CURSOR) this.#complete();
    this.#overlapMs = overlapMs;
    this.#now = now;
    this.isVerified = () => {
      const { confirmedAt = -Infinity } = this.feedProgress;
      const age = now() - confirmedAt;
      return age >= 0 && age <= CONFIRMED_FOR_MS;
    };
  }

  /**
   * Opens the store for the controller. A damaged store is renamed, and replaced by a new one. No
   * join needs the keys, and each returns when its node renews it.
   */
  static async openOrReplace(
    path: string,
    master: Secret | Keyring,
    log: Log,
    options: StoreOptions = {},
  ): Promise<ApplicationRootStore> {
    try {
      return await ApplicationRootStore.open(path, master, options);
    } catch (error) {
      if (!(error instanceof DamagedStore)) throw error;
      await putAside(path, error, log);
      return ApplicationRootStore.open(path, master, options);
    }
  }

  /**
   * Opens or creates the store.
   *
   * @param master the store's own master key, or the keyring of a registry, which remains the
   *   caller's. Keys that such a keyring does not unseal are dropped: the registry has them.
   */
  static async open(path: string, master: Secret | Keyring, options: StoreOptions = {}): Promise<ApplicationRootStore> {
    return new ApplicationRootStore(path, await openTables(path, master), options);
  }

  /**
   * Stores the application root of a newer transaction, and resolves when it is durable. The caller
   * owns the key and must not wipe it before. All puts within 50 ms, or during a write, are written
   * together. Rejects with a Failure if the write fails (`writeAgain` retries it), or if the disk
   * hangs and 16,384 keys wait.
   */
  put(joined: JoinResult): Promise<void> {
    if (this.#queued >= MAX_QUEUED) {
      const message = `cannot write to the store ${this.#path}: ${MAX_QUEUED} keys wait for the disk`;
      return Promise.reject(new Failure(message, { advice: 'Check the disk.' }));
    }
    this.#queued += 1;
    this.#batch ??= this.#startBatch();
    const { operations, written } = this.#batch;
    operations.push({ kind: 'join', joined, since: performance.now() });
    return written;
  }

  /**
   * Applies a page of the key feed, in its place among the joins; resolves when the disk has it
   * with all before it. Wipes its application roots. Rejects with a Failure where the disk does not
   * take it: go on from `feedProgress` then.
   */
  applyPage(page: StoredPage, progress: FeedProgress): Promise<void> {
    this.#batch ??= this.#startBatch();
    const { operations, written } = this.#batch;
    operations.push({ kind: 'page', page, progress });
    return written;
  }

  /** How far the controller followed the key feed, as the disk has it. */
  get feedProgress(): FeedProgress {
    this.#env.resetReadTxn();
    return fromFeedRow(this.#metadata.get(FEED_KEY) as FeedRow | undefined);
  }

  /** Writes how far the controller followed the key feed. */
  async saveFeedProgress(progress: FeedProgress): Promise<void> {
    await this.#write(() => this.#putProgress(progress));
  }

  /** Asks the controller that runs on this store to follow the key feed now. */
  async requestSync(token: string): Promise<void> {
    await this.#write(() => this.#metadata.putSync(SYNC_REQUEST_KEY, token));
  }

  /** Token of a pending request. */
  get pendingSync(): string | undefined {
    this.#env.resetReadTxn();
    const token = this.#metadata.get(SYNC_REQUEST_KEY) as string | undefined;
    return token === this.syncOutcome?.token ? undefined : token;
  }

  get syncOutcome(): SyncOutcome | undefined {
    this.#env.resetReadTxn();
    return this.#metadata.get(SYNC_OUTCOME_KEY) as SyncOutcome | undefined;
  }

  async saveSyncOutcome(outcome: SyncOutcome): Promise<void> {
    await this.#write(() => this.#metadata.putSync(SYNC_OUTCOME_KEY, outcome));
  }

  /** Resolves when all that was put so far is written, or could not be. */
  async flushed(): Promise<void> {
    await Promise.allSettled([this.#lastWrite]);
  }

  /** Resolves once the registry has reported every node, since the store was created. */
  completed(): Promise<void> {
    return this.#completed;
  }

  #startBatch(): WriteBatch {
    const operations: WriteBatch['operations'] = [];
    const before = this.#lastWrite;
    const write = async (): Promise<void> => {
      await pause(BATCH_DELAY_MS);
      const [previous] = await Promise.allSettled([before]);
      this.#batch = undefined;
      const changes = new Changes();
      try {
        // A page must not be written if the one before it failed.
        if (previous.status === 'rejected' && operations.some(({ kind }) => kind === 'page')) throw previous.reason;
        const table = this.#table(changes);
        await this.#write(() => {
          changes.clear();
          for (const operation of operations) {
            if (operation.kind === 'join') this.#putSync(operation.joined, table);
            else this.#applySync(operation, table);
          }
        });
        for (const operation of operations) if (operation.kind === 'join') this.putDurations.observeSince(operation.since);
      } catch (error) {
        for (const operation of operations)
          if (operation.kind === 'join') {
            const { joined } = operation;
            this.#remember({ ...joined, applicationRoot: joined.applicationRoot.copy() });
          }
        throw error;
      } finally {
        for (const operation of operations) {
          if (operation.kind === 'join') this.#queued -= 1;
          else for (const { applicationRoot } of operation.page.entries) applicationRoot?.wipe();
        }
        if (this.#lastWrite === written) this.#lastWrite = undefined;
      }
      this.#apply(changes);
      // Called last, after the changes of the pages were announced.
      if (operations.some((one) => one.kind === 'page' && one.progress.cursor !== FIRST_CURSOR)) this.#complete();
    };
    const written = write();
    this.#lastWrite = written;
    return { operations, written };
  }

  /**
   * Takes ownership of the key of `joined`. Wipes it if a newer one exists, or the queue is full.
   */
  #remember(joined: JoinResult): void {
    const before = this.#unwritten.get(joined.idI);
    const kept = before === undefined ? this.#unwritten.size < MAX_QUEUED : before.tid < joined.tid;
    if (!kept) return joined.applicationRoot.wipe();
    before?.applicationRoot.wipe();
    this.#unwritten.set(joined.idI, joined);
  }

  /**
   * Retries the keys whose write failed. Returns their number; rejects with a Failure if the write
   * fails again.
   */
  async writeAgain(): Promise<number> {
    if (this.#unwritten.size === 0) return 0;
    const due = [...this.#unwritten.values()];
    this.#unwritten.clear();
    const changes = new Changes();
    try {
      const table = this.#table(changes);
      await this.#write(() => {
        changes.clear();
        for (const joined of due) this.#putSync(joined, table);
      });
    } catch (error) {
      for (const joined of due) this.#remember(joined);
      throw error;
    }
    for (const { applicationRoot } of due) applicationRoot.wipe();
    this.#apply(changes);
    return due.length;
  }

  /** Inside a write transaction. */
  #putSync(joined: JoinResult, table: NodeKeyTable): void {
    if (!applyJoin(table, joined, { wallMs: this.#now(), overlapMs: this.#overlapMs })) this.onLateJoin(joined.idI);
  }

  #applySync({ page, progress }: { readonly page: StoredPage; readonly progress: FeedProgress }, table: NodeKeyTable): void {
    applyPage(table, page, { wallMs: this.#now(), overlapMs: this.#overlapMs });
    this.#putProgress(progress);
  }

  #table(changes: Changes): NodeKeyTable {
    return {
      get: (idI) => this.#sealedKeys(idI),
      put: (idI, before, after) => this.#store(idI, before, after, changes),
      ids: () => this.#nodeKeys.getKeys(),
      seal: (idI, applicationRoot) => this.#seal(idI, applicationRoot),
    };
  }

  #store(idI: number, before: SealedNodeKeys | undefined, after: SealedNodeKeys, changes: Changes): void {
    this.#nodeKeys.putSync(idI, toRow(after));
    changes.due.set(idI, dueOf(after));
    if (!isGivenOutAlike(before, after)) changes.givenOut.add(idI);
  }

  #putProgress(progress: FeedProgress): void {
    this.#metadata.putSync(FEED_KEY, toFeedRow(progress));
  }

  #sealedKeys(idI: number): SealedNodeKeys | undefined {
    const row = this.#nodeKeys.get(idI);
    return row && fromRow(row);
  }

  #seal(idI: number, applicationRoot: Secret): Uint8Array {
    return this.keyring.seal({ kind: KEY_KIND.applicationRoot, id: idI }, applicationRoot);
  }

  /** After the commit. */
  #apply({ due, givenOut }: Changes): void {
    for (const [idI, at] of due) this.#noteDue(idI, at);
    this.#announce(givenOut);
  }

  #noteDue(idI: number, at: number): void {
    if (at === Infinity) this.#due.delete(idI);
    else this.#due.set(idI, at);
  }

  /** Notes of all nodes what will be over, and when: for the controller, before `forgetOld`. */
  loadDue(): void {
    for (const { key, value } of scanTable(this.#nodeKeys, 0)) this.#noteDue(key, dueOf(fromRow(value)));
  }

  /**
   * Removes former generations whose overlap is over, and nodes that need not be known any more.
   */
  async forgetOld(): Promise<void> {
    const now = this.#now();
    const due = [...this.#due].filter(([, at]) => at <= now).map(([idI]) => idI);
    if (due.length === 0) return;
    const changes = new Changes();
    await this.#write(() => {
      changes.clear();
      for (const idI of due) {
        const before = this.#sealedKeys(idI);
        if (before !== undefined && !isForgettable(before, now)) {
          this.#store(idI, before, { ...before, former: before.former.filter(({ until }) => until > now) }, changes);
          continue;
        }
        changes.due.set(idI, Infinity);
        if (before === undefined) continue;
        this.#nodeKeys.removeSync(idI);
        changes.givenOut.add(idI);
      }
    });
    this.#apply(changes);
  }

  onChange(listener: (idI: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Announces that the state of every node has changed. */
  announceAll(): void {
    this.#env.resetReadTxn();
    this.#announce(Array.from(this.#nodeKeys.getKeys()));
  }

  #announce(changed: Iterable<number>): void {
    for (const idI of changed) for (const listener of this.#listeners) listener(idI);
  }

  /** How many nodes it knows of. */
  get nodeCount(): number {
    return countEntries(this.#nodeKeys);
  }

  /** How many nodes it has a current key of. */
  get size(): number {
    this.#env.resetReadTxn();
    let size = 0;
    for (const { value } of scanTable(this.#nodeKeys, 0)) if (value.state === 'current') size += 1;
    return size;
  }

  /** IDs of the nodes that it knows of, in ascending order. No read stays open in between. */
  *ids(): Generator<number> {
    this.#env.resetReadTxn();
    for (const { key } of scanTable(this.#nodeKeys, 0)) yield key;
  }

  get(idI: number): NodeKeys | undefined {
    this.#env.resetReadTxn();
    const keys = this.#sealedKeys(idI);
    return keys && this.#unseal(idI, keys);
  }

  *all(): Generator<NodeKeys> {
    this.#env.resetReadTxn();
    for (const { key: idI, value } of scanTable(this.#nodeKeys, 0)) yield this.#unseal(idI, fromRow(value));
  }

  #unseal(idI: number, keys: SealedNodeKeys): NodeKeys {
    const verified = this.isVerified();
    const isWithdrawn = keys.state === 'current' && this.isWithdrawn();
    if (isWithdrawn) return { idI, state: 'withdrawn', current: undefined, former: [], verified };
    return { idI, ...openKeys(this.keyring, idI, keys, this.#now()), verified };
  }

  /**
   * Reseals every key under the next master key, while the controller serves.
   *
   * @param folder whose lock the controller holds
   * @returns the number of keys
   */
  async rotate(folder: string, next: NextMasterKey): Promise<number> {
    const keyring = this.keyring;
    let done = 0;
    await rotate({
      folder,
      metadata: this.#metadata,
      keyring,
      next,
      write: (action) => this.#write(action),
      refreshSnapshot: () => this.#env.resetReadTxn(),
      rewrapAll: () => this.#rewrapAll((rows) => (done += rows)),
    });
    return done;
  }

  /**
   * Reseals every key as the borrowed keyring seals new ones. Does nothing while the keyring is
   * unchanged. Drops all keys if it is too late to unseal them: the registry has them.
   */
  async followMasterKey(): Promise<void> {
    this.#env.resetReadTxn();
    const state = sealState(this.#tables);
    if (state === 'foreign') await this.#write(() => dropAll(this.#tables));
    if (state !== 'former') return;
    await this.#rewrapAll();
    await this.#write(() => putSealCheck(this.#tables));
  }

  #rewrapAll(progress?: (rows: number) => void): Promise<void> {
    return rewrapTable(
      this.#nodeKeys,
      (action) => this.#write(action),
      (idI, row) => rewrapRow(this.keyring, idI, row),
      progress,
    );
  }

  /** Resolves when the disk has taken a write. Throws a Failure where it does not. */
  async probe(wallMs: number): Promise<void> {
    await this.#write(() => this.#metadata.putSync('probe', wallMs));
  }

  /**
   * Tells `rotate` in another process that this one serves, and under which master key; again
   * whenever that changed.
   */
  async announceAdoption(): Promise<void> {
    this.#env.resetReadTxn();
    await announceAdoption(this.#metadata, this.keyring, (action) => this.#write(action));
  }

  async close(): Promise<void> {
    await this.#env.close();
    if (this.#tables.isKeyringOwn) this.keyring.wipe();
    for (const { applicationRoot } of this.#unwritten.values()) applicationRoot.wipe();
  }

  async #write<T>(action: () => T): Promise<T> {
    try {
      return await this.#env.childTransaction(() => {
        this.keyring.reload();
        return action();
      });
    } catch (error) {
      throw error instanceof Failure ? error : await writeFailure(this.#path, error);
    }
  }
}

/** When something of a node is over: it can be forgotten, or a former generation. */
function dueOf({ state, stateAt, former }: SealedNodeKeys): number {
  const isTombstone = state === 'removed' || state === 'moved';
  return Math.min(isTombstone ? stateAt + TOMBSTONE_MS : Infinity, ...former.map(({ until }) => until));
}
