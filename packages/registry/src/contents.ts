/**
 * All that is in a registry, as one engine hands it to another, or to a file. Keys stay sealed.
 */

import type { ChainHead } from './audit-chain.js';
import type { Entry } from './audit-log.js';
import type { MetadataName } from './model/metadata.js';
import type { FormerAssignment } from './model/node-assignments.js';
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

type Row<K, R> = readonly [key: K, row: R];

/** What a row is, by table. */
export interface TableRows {
  readonly metadata: Row<MetadataName, unknown>;
  readonly controllers: Row<number, ControllerRow>;
  readonly orders: Row<number, OrderRow>;
  readonly nodes: Row<number, NodeRow>;
  readonly nodeDescriptions: Row<number, NodeDescription>;
  readonly recentInitialKeys: Row<number, readonly RecentInitialKey[]>;
  readonly retiredInitialKeys: Row<RetiredInitialKeyId, RetiredInitialKeyRow>;
  readonly formerAssignments: Row<readonly [idI: number, idC: number], FormerAssignment>;
  readonly nodeActivity: Row<number, NodeActivity>;
  readonly unknownNodeActivity: Row<number, NodeActivity>;
  readonly controllerActivity: Row<number, ControllerActivity>;
  readonly entries: Entry;
}

export type TableName = keyof TableRows;

/** In the order in which they are handed over: the metadata say how to read the rest. */
export const TABLE_NAMES: readonly TableName[] = [
  'metadata',
  'controllers',
  'orders',
  'nodes',
  'nodeDescriptions',
  'recentInitialKeys',
  'retiredInitialKeys',
  'formerAssignments',
  'nodeActivity',
  'unknownNodeActivity',
  'controllerActivity',
  'entries',
];

/** Rows of one table. */
export type ContentPage = {
  readonly [T in TableName]: { readonly table: T; readonly rows: readonly TableRows[T][] };
}[TableName];

export interface RegistryContents {
  /** The last entry that was taken out of the audit log. */
  readonly start: ChainHead;
  /** The last entry that was written. */
  readonly head: ChainHead;
  /** All tables in the order of `TABLE_NAMES`, each in ascending order of key. To be read once. */
  readonly pages: AsyncIterable<ContentPage>;
  /** Whether they were read to the end or not. */
  readonly close: () => Promise<void>;
}

/** Rows of a page. */
export const ROWS_PER_PAGE = 4_096;

/** What is metadata of the registry wherever it is: who serves from it is not. */
export function isPortable(name: MetadataName): boolean {
  return name !== 'adopted by';
}
