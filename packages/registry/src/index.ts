/** The registry of nodes, controllers and orders. */

export { ActivityLog } from './lmdb/activity-log.js';
export { type AuditAction, type AuditEntry, type AuditEvent, type AuditLog, formatHead, parseHead } from './lmdb/audit-log.js';
export { backup, restore } from './lmdb/backup.js';
export { identityCipher, initialKeyId, initialKeyIdentifier, initialKeyIdKey } from './lmdb/initial-key-id.js';
export { COMBINED_MODE_HOLDER, type CommitResult, Registry, type Restored } from './lmdb/lmdb-registry.js';
export { rotateMasterKey } from './lmdb/master-key-rotation.js';
export type { RecentInitialKeys } from './lmdb/recent-initial-keys.js';
export { notFound, requireRegistry } from './lmdb/registry-failures.js';
export { RowCache } from './lmdb/row-cache.js';
export {
  type ControllerActivity,
  type ControllerInfo,
  type ControllerRecord,
  type ControllerRow,
  type FormerHolders,
  InitialKeyInfo,
  keyHolders,
  type NodeActivity,
  type NodeInfo,
  type NodeRow,
  type OrderRecord,
  type OrderRow,
  toControllerInfo,
  type UnsealedNode,
  wipeKeys,
} from './lmdb/rows.js';
export { STORE_FOLDER, type Tables } from './lmdb/tables.js';
export { ORDER_STATES, orderStatus, type OrderStatus } from './model/order-status.js';
