/** The registry's tables in one LMDB store, and the one way to write to them. */

import { join } from 'node:path';
import { type Keyring, LmdbMetadata } from '@latchkey/keyring';
import { openStore, writeFailure } from '@latchkey/lmdb';
import { Failure } from '@latchkey/runtime/failure';
import type { Database, RootDatabase } from 'lmdb';
import { STORE_FOLDER } from '../folder-names.js';
import type { Actor, AuditEvent } from '../audit-chain.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerActivity, ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow } from '../model/rows.js';
import { LmdbAuditTable } from './audit-table.js';
import { NodeAssignments } from './node-assignments.js';
import { RetiredInitialKeys } from './retired-initial-keys.js';

/** Named tables that a store may have. */
const MAX_TABLES = 32;

/** Advice for a registry whose store is damaged. */
export function restoreAdvice(folder: string): string {
  return `Nothing was changed. Restore a backup: latchkey-auth-server restore FILE --data ${folder} --replace`;
}

/**
 *   nodes                  ID_i -> NodeRow
 *   controllers            ID_c -> ControllerRow
 *   orders                 number, from 1 -> OrderRow
 *   node descriptions      ID_i -> NodeDescription
 *   audit                  number, from 1 -> entry (audit-chain.ts)
 *   recent initial keys    ID_i -> RecentInitialKey[]
 *   node activity          ID_i -> NodeActivity
 *   unknown node activity  the same, of IDs that are not in the registry
 *   controller activity    ID_c -> ControllerActivity
 *   nodes by controller, nodes by order, former controllers, key feed walks   (node-assignments.ts)
 *   retired initial keys   (retired-initial-keys.ts)
 *   metadata               'schema', 'master key' (keyring), 'initial key id key', 'transaction key', 'audit head', 'audit start', 'adopted by', 'restored',
 *                          'last wall clock', 'clock history', 'key feed incarnation'
 */
export class Tables {
  readonly folder: string;
  /** Of the files of the store itself. */
  readonly storeFolder: string;
  readonly env: RootDatabase;
  readonly nodes: Database<NodeRow, number>;
  readonly controllers: Database<ControllerRow, number>;
  readonly orders: Database<OrderRow, number>;
  readonly nodeDescriptions: Database<NodeDescription, number>;
  readonly retiredInitialKeys: RetiredInitialKeys;
  readonly recentInitialKeys: Database<readonly RecentInitialKey[], number>;
  readonly nodeActivity: Database<NodeActivity, number>;
  readonly unknownNodeActivity: Database<NodeActivity, number>;
  readonly controllerActivity: Database<ControllerActivity, number>;
  readonly metadata: Database<unknown, string>;
  readonly metadataVersions: LmdbMetadata;
  /** Which nodes each controller has, and had. */
  readonly assignments: NodeAssignments;
  readonly audit: LmdbAuditTable;
  #keyring: Keyring | undefined;

  private constructor(folder: string, storeFolder: string, env: RootDatabase, actor: Actor) {
    this.folder = folder;
    this.storeFolder = storeFolder;
    this.env = env;
    this.nodes = env.openDB({ name: 'nodes', keyEncoding: 'uint32' });
    this.controllers = env.openDB({ name: 'controllers', keyEncoding: 'uint32' });
    this.orders = env.openDB({ name: 'orders', keyEncoding: 'uint32' });
    this.nodeDescriptions = env.openDB({ name: 'node descriptions', keyEncoding: 'uint32' });
    this.retiredInitialKeys = new RetiredInitialKeys(env);
    this.recentInitialKeys = env.openDB({ name: 'recent initial keys', keyEncoding: 'uint32' });
    this.nodeActivity = env.openDB({ name: 'node activity', keyEncoding: 'uint32' });
    this.unknownNodeActivity = env.openDB({ name: 'unknown node activity', keyEncoding: 'uint32' });
    this.controllerActivity = env.openDB({ name: 'controller activity', keyEncoding: 'uint32' });
    this.metadata = env.openDB({ name: 'metadata' });
    this.metadataVersions = new LmdbMetadata(this.metadata);
    this.assignments = new NodeAssignments(env, this.metadata);
    this.audit = new LmdbAuditTable(env.openDB({ name: 'audit', encoding: 'binary' }), this.metadata, actor);
  }

  /**
   * @param actor for the audit log
   * @param ifDamaged advice for a damaged store
   */
  static async open(
    folder: string,
    actor: Actor,
    { store = STORE_FOLDER, ifDamaged = restoreAdvice(folder) }: { readonly store?: string; readonly ifDamaged?: string } = {},
  ): Promise<Tables> {
    const storeFolder = join(folder, store);
    const env = await openStore(storeFolder, { maxDbs: MAX_TABLES, ifDamaged });
    return env.openTables(() => new Tables(folder, storeFolder, env, actor));
  }

  get keyring(): Keyring {
    if (this.#keyring === undefined) throw new Error('the keys of the registry are not open');
    return this.#keyring;
  }

  /** What opens the keys in the rows. */
  set keyring(keyring: Keyring) {
    this.#keyring = keyring;
  }

  /** Writes the initial metadata of a registry. Existing metadata are not changed. */
  async initialize(): Promise<void> {
    if (this.assignments.hasIncarnation) return;
    await this.write(() => this.assignments.drawIncarnation());
  }

  /** Reads from here on see every write that was acknowledged before, also another process's. */
  refreshSnapshot(): void {
    this.env.resetReadTxn();
  }

  /**
   * Runs `action` in a separate write transaction, nested in the current one if any, and resolves
   * when it is durable. An action that throws has no effect.
   */
  async write<T>(action: () => T): Promise<T> {
    try {
      return await this.env.childTransaction(() => {
        this.#keyring?.reload();
        return action();
      });
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw await writeFailure(this.folder, error);
    }
  }

  /** Like `write`, with an entry in the audit log; `action` gets the number of the entry. */
  audited<T>(event: AuditEvent, action: (entry: number) => T): Promise<T> {
    return this.write(() => action(this.audit.append(event, Date.now())));
  }

  async close(): Promise<void> {
    await this.env.close();
  }
}
