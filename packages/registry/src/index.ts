/** The registry of nodes, controllers and orders, and its storage engines. */

export { ActivityLog } from './activity-log.js';
export {
  type Actor,
  type AuditAction,
  type AuditEntry,
  type AuditEvent,
  formatHead,
  type Head,
  parseEntry,
  parseHead,
} from './audit-chain.js';
export type { AuditLog } from './audit-log.js';
export { backup } from './backup/backup.js';
export { restore } from './backup/restore.js';
export { identityCipher, initialKeyId, initialKeyIdentifier } from './initial-key-id.js';
export { type Copied, copyToDatabase, copyToFolder } from './copy.js';
export { allOf, chunksOf } from './listing.js';
export { STORE_FOLDER } from './folder-names.js';
export { rotateMasterKey } from './master-key-rotation.js';
export { NodeChanges } from './node-changes.js';
export {
  NODE_SORT_KEYS,
  type NodeCounts,
  type NodeCursor,
  type NodeFilter,
  type NodeGroups,
  type NodeListPage,
  type NodeListQuery,
  type NodeSort,
  type NodeTally,
} from './model/node-query.js';
export { looksAtDescriptions, passesFilter } from './model/node-match.js';
export { NODE_STATES, nodeState, type NodeStatus, renewalDue } from './model/node-status.js';
export { ORDER_STATES, orderStatus, type OrderStatus } from './model/order-status.js';
export { hadInitialKey, rememberInitialKey } from './model/recent-initial-keys.js';
export {
  type ControllerActivity,
  type ControllerDescription,
  type ControllerInfo,
  type ControllerRecord,
  type ControllerRow,
  type FormerHolders,
  InitialKeyInfo,
  keyHolders,
  type NodeActivity,
  type NodeDescription,
  type NodeInfo,
  type NodeRow,
  type OrderRecord,
  type OrderRow,
  type RetiredInitialKeyRow,
  toControllerInfo,
  type UnsealedNode,
  wipeKeys,
} from './model/rows.js';
export { entriesBetween, type KeyFeed } from './key-feed.js';
export { COMBINED_MODE_HOLDER, type CommitResult, type DescribedNode, type NodeInDetail, Registry } from './registry.js';
export type { Precondition, Restored } from './registry-core.js';
export { noLongerPending, notFound, requireRegistry } from './registry-failures.js';
export { markRestored } from './restored.js';
export { InDoubt, type Snapshot, type Version, type Versioned } from './storage.js';
