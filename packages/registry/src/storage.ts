/**
 * Interface of a storage engine. LMDB, memory and PostgreSQL implement it. A database may be one
 * round trip away, so a read names the keys that it needs. A write names its keys too, decides
 * synchronously on their rows, and returns the outcome as data. No decision covers a whole table.
 *
 * Keys in rows are sealed. Callers must not change rows that an engine returns.
 */

import type { Keyring } from '@latchkey/keyring';
import { Failure } from '@latchkey/runtime/failure';
import type { AttributedEvent, ChainHead } from './audit-chain.js';
import type { AuditTable } from './audit-log.js';
import type { RegistryContents } from './contents.js';
import type { KeyFeed } from './key-feed.js';
import type { ActivityBatch } from './model/activity.js';
import type { AssignmentTable } from './model/node-assignments.js';
import type { MetadataName } from './model/metadata.js';
import type { ExpiryCounts, NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from './model/node-query.js';
import type { RecentInitialKey } from './model/recent-initial-keys.js';
import type {
  ControllerActivity,
  ControllerRow,
  NodeActivity,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
  RetiredInitialKeyRow,
} from './model/rows.js';

export { METADATA_NAMES, type MetadataName } from './model/metadata.js';

/** The engine was not reached; nothing happened. */
export class Unavailable extends Failure {
  override readonly name = 'Unavailable';
}

/** The outcome of the write is unknown. Read again, and decide again. */
export class InDoubt extends Failure {
  override readonly name = 'InDoubt';
}

/**
 * Version of a row, opaque and compared with ===. A row that differs has another version. One that
 * does not may have another version too, which costs a retry.
 */
export type Version = object;

export interface Versioned<R> {
  readonly row: R;
  readonly version: Version;
}

/** What a read or a write wants to see. */
export interface Keys {
  /** Each with its order, and with the controller that it is assigned to. */
  readonly nodes?: readonly number[];
  readonly controllers?: readonly number[];
  readonly orders?: readonly number[];
  readonly nodeDescriptions?: readonly number[];
  readonly recentInitialKeys?: readonly number[];
  /** Of nodes, and of IDs that are not in the registry. */
  readonly nodeActivity?: readonly number[];
  readonly controllerActivity?: readonly number[];
  readonly metadata?: readonly MetadataName[];
}

/**
 * Snapshot of the registry, limited to the named keys. A read must use it before it awaits
 * anything: an engine may read a row only when it is accessed.
 */
export interface Snapshot {
  node(idI: number): Versioned<NodeRow> | undefined;
  controller(idC: number): Versioned<ControllerRow> | undefined;
  order(number: number): Versioned<OrderRow> | undefined;
  nodeDescription(idI: number): NodeDescription | undefined;
  /** Those that the ID had lately, and possibly older ones. */
  recentInitialKeys(idI: number): readonly RecentInitialKey[];
  nodeActivity(idI: number): NodeActivity | undefined;
  controllerActivity(idC: number): ControllerActivity | undefined;
  metadata(name: MetadataName): unknown;
  /** As for a row: the version of the value under the name. */
  metadataVersion(name: MetadataName): Version | undefined;
  /** The highest number of an order, 0 if there is none. */
  readonly lastOrder: number;
  /** Of the audit log. The first event of a write becomes the entry after it. */
  readonly head: ChainHead;
}

/** Rows to write, by table. */
export interface Puts {
  readonly nodes?: readonly (readonly [idI: number, row: NodeRow])[];
  readonly controllers?: readonly (readonly [idC: number, row: ControllerRow])[];
  readonly orders?: readonly (readonly [number: number, row: OrderRow])[];
  readonly nodeDescriptions?: readonly (readonly [idI: number, row: NodeDescription])[];
  /** If the list is empty, the record of the ID is removed. */
  readonly recentInitialKeys?: readonly (readonly [idI: number, keys: readonly RecentInitialKey[]])[];
  readonly retiredInitialKeys?: RetiredInitialKeyPage;
  readonly metadata?: readonly (readonly [name: MetadataName, value: unknown])[];
}

/** Keys of rows to remove, by table. */
export interface Removals {
  readonly nodes?: readonly number[];
  readonly controllers?: readonly number[];
  readonly orders?: readonly number[];
  /** A node's description does not go by itself with the node. */
  readonly nodeDescriptions?: readonly number[];
  readonly nodeActivity?: readonly number[];
  /** What was seen of IDs that are not in the registry. */
  readonly unknownNodeActivity?: readonly number[];
  readonly controllerActivity?: readonly number[];
}

/** What is to become of a write: all of it happens, or none. */
export interface Outcome<T> {
  readonly result: T;
  readonly events?: readonly AttributedEvent[];
  readonly put?: Puts;
  readonly remove?: Removals;
}

/**
 * Decides on the rows of a snapshot. It has no side effects, and may be called again if another
 * write came first. A decision that throws fails only its own write.
 */
export type Decide<T> = (found: Snapshot) => Outcome<T>;

/** A page of a table, in ascending order of key. */
export type Page<R> = readonly (readonly [key: number, row: R])[];

/** In ascending order of entry, then of ID. */
export type RetiredInitialKeyPage = readonly (readonly [key: RetiredInitialKeyId, row: RetiredInitialKeyRow])[];

export interface RegistryStorage {
  /** Whether a write may end in doubt. */
  readonly mayDoubt?: true;
  /** Nodes that one write may change, so that it ends in time. Left out: as many as one likes. */
  readonly maxNodesPerWrite?: number;

  /**
   * Includes every write that was acknowledged before, also of another process, and nothing that
   * can be undone. An engine that need not wait returns synchronously.
   */
  read(keys: Keys): Snapshot | Promise<Snapshot>;

  /**
   * Resolves when the write is durable. It is visible to no reader before.
   *
   * @throws Unavailable if the engine was not reached, InDoubt if the write may have happened, and
   *   errors of the decision; except for InDoubt nothing happened
   */
  write<T>(keys: Keys, decide: Decide<T>): Promise<T>;

  /**
   * Adds nodes to a pending order, which no reader sees, outside of the order of writes. `rowsOf`
   * builds them from the rows under the keys, without side effects. `descriptions` are those of
   * these nodes, if they have one.
   *
   * @throws Failure if an ID is taken, or the order is no longer pending; then no node is added
   */
  load(
    order: number,
    keys: Keys,
    rowsOf: (found: Snapshot) => Page<NodeRow>,
    descriptions?: Page<NodeDescription>,
  ): Promise<void>;

  /**
   * Removes a pending order with its nodes and their descriptions. To be called again after a
   * crash. An engine that removes them in parts while another process may write to the order first
   * changes the `count` of the order: that process finds it changed, and does not open the order.
   *
   * @param isMeant asked of the row in the transaction that begins: the number may have been given
   *   to another order, of which nothing is removed then. Left out: whichever is pending
   */
  unload(order: number, isMeant?: (row: OrderRow) => boolean): Promise<void>;

  /**
   * Merges activity into the stored activity. Not durable, and in no order with writes.
   *
   * @throws Failure if the activity is lost
   */
  recordActivity(batch: ActivityBatch): Promise<void>;

  /**
   * Returns the nodes that match, including all earlier writes. It scans all rows of nodes only at
   * its first call in a process. Nodes of pending orders are left out.
   *
   * The state of a node, its description or an order is that of the latest event that names it. A
   * write that changes or removes one must name it in the audit log, in the same write.
   */
  nodeList(query: NodeListQuery): Promise<NodeListPage>;
  /** Makes what lists and counts are answered from. Left out: the engine has it. */
  prepareLists?(): Promise<void>;
  /**
   * Declares that this process counts nodes and never lists them, so that it needs no texts.
   * Answers stay the same. Absent if the engine does not need to know.
   */
  onlyCount?(): void;
  /** How many match, by a property of theirs. */
  nodeCounts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>>;
  /** How many keys of those that match expire between two edges each. */
  nodeExpiries(filter: NodeFilter, now: number, edges: readonly number[]): Promise<ExpiryCounts>;

  /** At most `limit` rows from the key `from` on, as they are now. */
  nodePage(from: number, limit: number): Page<NodeRow> | Promise<Page<NodeRow>>;
  controllerPage(from: number, limit: number): Page<ControllerRow> | Promise<Page<ControllerRow>>;
  orderPage(from: number, limit: number): Page<OrderRow> | Promise<Page<OrderRow>>;
  nodeDescriptionPage(from: number, limit: number): Page<NodeDescription> | Promise<Page<NodeDescription>>;
  recentInitialKeyPage(
    from: number,
    limit: number,
  ): Page<readonly RecentInitialKey[]> | Promise<Page<readonly RecentInitialKey[]>>;

  /** What was seen of IDs that are not in the registry, and of some that have come to be in it. */
  unknownNodePage(from: number, limit: number): Page<NodeActivity> | Promise<Page<NodeActivity>>;

  readonly audit: AuditTable;

  /**
   * The values of the registry, for what cannot wait: as they are now, or as they were last read or
   * written here.
   */
  readonly metadata: Pick<Snapshot, 'metadata' | 'metadataVersion'>;

  /** At most `limit` rows after the key `after`, or the first ones. */
  retiredInitialKeyPage(
    after: RetiredInitialKeyId | undefined,
    limit: number,
  ): RetiredInitialKeyPage | Promise<RetiredInitialKeyPage>;

  /** How many nodes there are, also of orders that are not finished. */
  nodeCount(): number | Promise<number>;

  /**
   * An engine maintains it with the rows of nodes that it writes and removes. Nodes of a pending
   * order that are unloaded leave no entry, because no reader saw them.
   */
  readonly assignments: AssignmentTable;

  /**
   * Removes the first entries of the audit log in one write: `limit` at most, and none after
   * `last`. Returns their number. With `event`, its entry is part of that write, and nothing
   * happens if entry `last` does not exist.
   */
  pruneAudit(last: number, limit: number, event?: AttributedEvent): Promise<number>;

  /** The key feed for controllers. */
  keyFeed(keyring: Keyring): KeyFeed;

  /**
   * Returns the whole contents in one snapshot that later writes do not change, and that cannot be
   * undone. The caller must close it.
   */
  contents(): Promise<RegistryContents>;

  /** Throws a Failure if a part of it is damaged. Left out: the engine itself sees that. */
  checkWhole?(): Promise<void>;

  /**
   * Excludes other orders and imports, on any machine, until it is released or its process ends.
   * Absent if the lock of the folder already does so.
   *
   * @throws Failure if another one is in progress
   */
  lockEnrolment?(): Promise<{ release(): Promise<void> }>;

  /**
   * Whether a server serves from it, on whatever machine. Left out: the lock of the folder says so.
   */
  isServed?(): Promise<boolean>;

  /** Periodic maintenance of a server, once a minute. */
  maintain(): void | Promise<void>;

  close(): Promise<void>;
}
