/** All that is in a registry, as one engine hands it to another. Keys stay sealed. */

import type { StoredChain } from './audit-chain.js';
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
import type { MetadataName } from './storage.js';

type Rows<K, R> = Iterable<readonly [key: K, row: R]>;

export interface RegistryContents {
  readonly chain: StoredChain;
  readonly nodes: Rows<number, NodeRow>;
  readonly controllers: Rows<number, ControllerRow>;
  readonly orders: Rows<number, OrderRow>;
  readonly nodeDescriptions: Rows<number, NodeDescription>;
  readonly recentInitialKeys: Rows<number, readonly RecentInitialKey[]>;
  readonly retiredInitialKeys: Rows<RetiredInitialKeyId, RetiredInitialKeyRow>;
  readonly formerAssignments: Rows<readonly [idI: number, idC: number], FormerAssignment>;
  readonly nodeActivity: Rows<number, NodeActivity>;
  readonly controllerActivity: Rows<number, ControllerActivity>;
  readonly metadata: Rows<MetadataName, unknown>;
}
