/** The registry's tables in one LMDB store, and the one way to write to them. */

import { join } from 'node:path';
import { type Keyring, LmdbMetadata } from '@latchkey/keyring';
import { openStore, writeFailure } from '@latchkey/lmdb';
import { type Clock, readClock, serverTime } from '@latchkey/runtime/daemon';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { type ClockHistory, formatId } from '@latchkey/protocol';
import type { Database, RootDatabase } from 'lmdb';
import type { Actor, AuditEvent } from '../audit-chain.js';
import {
  type ControllerActivity,
  type ControllerRow,
  type FormerHolders,
  keyHolders,
  manufacturerOf,
  type NodeActivity,
  type NodeRow,
  type OrderRow,
} from '../model/rows.js';
import { LmdbAuditTable } from './audit-table.js';
import { NodeAssignments } from './node-assignments.js';
import { RecentInitialKeys } from './recent-initial-keys.js';
import { RetiredInitialKeys } from './retired-initial-keys.js';

/** Folder of the store inside the registry's folder. */
export const STORE_FOLDER = 'registry';

/** Advice for a registry whose store is damaged. */
export function restoreAdvice(folder: string): string {
  return `Nothing was changed. Restore a backup: latchkey-auth-server restore FILE --data ${folder} --replace`;
}

/**
 *   nodes                  ID_i -> NodeRow
 *   controllers            ID_c -> ControllerRow
 *   orders                 number, from 1 -> OrderRow
 *   audit                  number, from 1 -> entry (audit-chain.ts)
 *   recent initial keys    ID_i -> RecentInitialKey[]
 *   node activity          ID_i -> NodeActivity
 *   unknown node activity  the same, of IDs that are not in the registry
 *   controller activity    ID_c -> ControllerActivity
 *   nodes by controller, former controllers, key feed walks   (node-assignments.ts)
 *   retired initial keys by entry, retired initial keys       (retired-initial-keys.ts)
 *   metadata               'schema', 'master key' (keyring), 'initial key id key', 'transaction key', 'audit head', 'audit start', 'adopted by', 'restored',
 *                          'last wall clock', 'clock history', 'key feed incarnation'
 */
export class Tables {
  readonly folder: string;
  readonly env: RootDatabase;
  readonly nodes: Database<NodeRow, number>;
  readonly controllers: Database<ControllerRow, number>;
  readonly orders: Database<OrderRow, number>;
  readonly retiredInitialKeys: RetiredInitialKeys;
  readonly recentInitialKeys: RecentInitialKeys;
  readonly nodeActivity: Database<NodeActivity, number>;
  readonly unknownNodeActivity: Database<NodeActivity, number>;
  readonly controllerActivity: Database<ControllerActivity, number>;
  readonly metadata: Database<unknown, string>;
  readonly metadataVersions: LmdbMetadata;
  /** Which nodes each controller has, and had. */
  readonly assignments: NodeAssignments;
  readonly audit: LmdbAuditTable;
  /** Of this process. */
  readonly #clock: Clock;
  #keyring: Keyring | undefined;

  private constructor(folder: string, env: RootDatabase, actor: Actor, clock: Clock) {
    this.folder = folder;
    this.env = env;
    this.#clock = clock;
    this.nodes = env.openDB({ name: 'nodes', keyEncoding: 'uint32' });
    this.controllers = env.openDB({ name: 'controllers', keyEncoding: 'uint32' });
    this.orders = env.openDB({ name: 'orders', keyEncoding: 'uint32' });
    this.retiredInitialKeys = new RetiredInitialKeys(env);
    this.recentInitialKeys = new RecentInitialKeys(env.openDB({ name: 'recent initial keys', keyEncoding: 'uint32' }));
    this.nodeActivity = env.openDB({ name: 'node activity', keyEncoding: 'uint32' });
    this.unknownNodeActivity = env.openDB({ name: 'unknown node activity', keyEncoding: 'uint32' });
    this.controllerActivity = env.openDB({ name: 'controller activity', keyEncoding: 'uint32' });
    this.metadata = env.openDB({ name: 'metadata' });
    this.metadataVersions = new LmdbMetadata(this.metadata);
    this.assignments = new NodeAssignments(env, this.metadata);
    this.audit = new LmdbAuditTable(env.openDB({ name: 'audit', encoding: 'binary' }), this.metadata, actor);
  }

  /**
   * @param actor stands in the audit log
   * @param ifDamaged advice for a store that is damaged
   */
  static async open(
    folder: string,
    actor: Actor,
    {
      store = STORE_FOLDER,
      clock = readClock,
      ifDamaged = restoreAdvice(folder),
    }: { readonly store?: string; readonly clock?: Clock | undefined; readonly ifDamaged?: string } = {},
  ): Promise<Tables> {
    return new Tables(folder, await openStore(join(folder, store), { maxDbs: 16, ifDamaged }), actor, clock);
  }

  get keyring(): Keyring {
    if (this.#keyring === undefined) throw new Error('the keys of the registry are not open');
    return this.#keyring;
  }

  /** What opens the keys in the rows, for changes that are made here. */
  set keyring(keyring: Keyring) {
    this.#keyring = keyring;
  }

  /** What the clocks of the servers showed. */
  get times(): ClockHistory {
    return this.metadata.get('clock history') as ClockHistory;
  }

  /**
   * The time by the servers' clock, ms since the epoch, whatever the clock of this process shows.
   */
  get timeOfServers(): number {
    return serverTime(this.times, this.#clock());
  }

  /**
   * Inside a write transaction: the IK of a node that is removed, or gets another, stays known by
   * its fingerprint, and for a while as one that this ID had.
   *
   * @param entry the audit entry of the change
   */
  retireInitialKey(idI: number, row: NodeRow, entry: number): void {
    this.recentInitialKeys.remember(idI, row.ik, this.timeOfServers);
    const { ik, order, initialKeyIssuedAt, initial, seenBy = [] } = row;
    const orderRow = this.orders.get(order);
    const issuedAt = initialKeyIssuedAt ?? orderRow?.createdAt ?? 0;
    const manufacturer = manufacturerOf(row, orderRow);
    this.retiredInitialKeys.putSync([entry, idI], {
      node: idI,
      ik,
      order,
      issuedAt,
      retiredAt: Date.now(),
      joined: !initial,
      seenBy,
      ...(manufacturer === undefined ? {} : { manufacturer }),
      holders: this.#holdersOf(row),
      issueEntry: row.initialKeyEntry ?? orderRow?.createdEntry ?? 0,
    });
  }

  /**
   * Inside a write transaction: `after`, the row that replaces `before`, with the controllers that
   * could have its key. An IK that is another has none yet, and the one before is retired.
   *
   * @param entry the audit entry of the change
   */
  reassign(idI: number, before: NodeRow, after: NodeRow, entry: number): NodeRow {
    this.assignments.change(idI, before, after, entry);
    if (Buffer.compare(after.ik, before.ik) !== 0) {
      this.retireInitialKey(idI, before, entry);
      const { formerHolders: _, ...row } = after;
      return { ...row, entry, assignedEntry: entry, initialKeyEntry: entry };
    }
    if (after.controller === before.controller) return { ...after, entry };
    return { ...after, entry, assignedEntry: entry, formerHolders: this.#holdersOf(before) };
  }

  #holdersOf({ formerHolders, controller, order, assignedEntry }: NodeRow): FormerHolders {
    const assigned = assignedEntry ?? this.orders.get(order)?.createdEntry ?? 0;
    return keyHolders(formerHolders, controller, assigned, this.controllers.get(controller) ?? {});
  }

  /** Makes of a registry of an earlier build what this one reads. */
  async upgrade(): Promise<void> {
    await this.assignments.ensure(this.nodes, (action) => this.write(action));
    await this.retiredInitialKeys.moveNumbered((action) => this.write(action));
  }

  /** Inside a write transaction: nodes are assigned to controllers that are there alone. */
  requireController(idC: number): void {
    if (this.controllers.doesExist(idC)) return;
    throw new UsageFailure(`controller ${formatId(idC)} is not in the registry`, {
      advice: 'Nothing was changed. Name one of these, or add it first:',
      run: [['latchkey-auth-server', 'controller', 'list']],
    });
  }

  /** Reads from here on see every write that was acknowledged before, also another process's. */
  refreshSnapshot(): void {
    this.env.resetReadTxn();
  }

  /**
   * Runs `action` in a write transaction of its own inside whatever else is written now, and
   * resolves when the disk has it. An action that throws has no effect.
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

  /** As `write`, and tells of it in the audit log; `action` is given the number of the entry. */
  audited<T>(event: AuditEvent, action: (entry: number) => T): Promise<T> {
    return this.write(() => action(this.audit.append(event, Date.now())));
  }

  async close(): Promise<void> {
    await this.env.close();
  }
}
