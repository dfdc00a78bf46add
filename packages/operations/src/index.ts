/** The administrator's use cases on a registry. */

export {
  addController,
  findHeldInitialKey,
  formatEndpoints,
  moveNodes,
  orderNotFound,
  otherHolderOf,
  recordExport,
  refuseWithNodes,
  removeController,
  removeNodes,
  requireOrder,
  resetNode,
  setController,
  setDisabled,
  setJoinWindow,
  setKeyLifetime,
  setOrderState,
  type SplitKey,
  stageControllerKey,
} from './administration.js';
export { blockedRanges, controllersWithOldKeys, holdoffUntil, releaseRanges } from './clock-release.js';
export { type Action, CAUSES } from './diagnosis-cause.js';
export { type Surroundings, surroundingsOf } from './diagnosis-situation.js';
export { diagnoseNode, type Diagnosis } from './diagnosis.js';
export { DEFAULT_GRACE, enrol, EnrolmentTransaction, type OrderTerms } from './enrolment.js';
export { DeviceKeys } from './import/device-keys.js';
export { ImportControllers } from './import/import-controllers.js';
export { inputName } from './import/import-file.js';
export { ImportKeys, type RepeatedKeys } from './import/import-keys.js';
export { type ImportFile, openImport } from './import/import-partitions.js';
export { ImportReport, planImport } from './import/import-plan.js';
export { type Exposure, exposureByOrder, exposureOfOrder } from './key-exposure.js';
export { type HeldKeys, type KeyHolders, keyHoldersOf, keysHeldBy } from './key-holders.js';
export { NodeBatch } from './node-batch.js';
export {
  NODE_HEADINGS,
  NODE_STATES,
  nodeFields,
  nodeState,
  type NodeStatus,
  nodeTableRow,
  type NodeView,
  viewNode,
} from './node-view.js';
export {
  generateKey,
  generateNodes,
  generateSplitNodes,
  manifestOf,
  MAX_ORDER_NODES,
  remainingManifest,
} from './order-creation.js';
