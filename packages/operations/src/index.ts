/** The administrator's use cases on a registry. */

export {
  addController,
  findHeldInitialKey,
  formatEndpoints,
  moveNodes,
  otherHolderOf,
  recordExport,
  refuseWithNodes,
  removeController,
  removeNodes,
  resetNode,
  setController,
  setDisabled,
  setJoinWindow,
  setKeyLifetime,
  setOrderState,
  type SplitKey,
  stageControllerKey,
} from './administration.js';
export { auditHead, auditList, auditPrune, auditVerify } from './audit.js';
export { backupsCreate } from './backup.js';
export { clockRelease, clockShow, describeHoldoff } from './clock.js';
export { blockedRanges, controllersWithOldKeys, holdoffUntil, releaseRanges } from './clock-release.js';
export { type Surroundings, surroundingsOf } from './diagnosis-situation.js';
export { diagnoseNode, nodesDiagnose } from './diagnosis.js';
export { DEFAULT_GRACE, enrol, EnrolmentTransaction, type OrderTerms } from './enrolment.js';
export { DeviceKeys } from './import/device-keys.js';
export { ImportControllers } from './import/import-controllers.js';
export { inputName } from './import/import-file.js';
export { ImportKeys, type RepeatedKeys } from './import/import-keys.js';
export { type ImportFile, openImport } from './import/import-partitions.js';
export { ImportReport, planImport } from './import/import-plan.js';
export { type Exposure, exposureByOrder, exposureOfOrder } from './key-exposure.js';
export { type HeldKeys, type KeyHolders, keyHoldersOf, keysHeldBy } from './key-holders.js';
export { enrolAgain, freeName, type Step, stepsFor, TAKE_UP_CREDENTIAL } from './next-steps.js';
export { NodeBatch } from './node-batch.js';
export {
  nodesCount,
  nodesDisable,
  nodesEnable,
  nodesExport,
  nodesExportWithKeys,
  nodesList,
  type NodeAndKey,
  type NodeChangeContext,
  nodesMove,
  nodesRemove,
  nodesSet,
  nodesShow,
} from './nodes.js';
export { queryNodes, type NodeQuery } from './node-query.js';
export { nodeState } from './node-view.js';
export { type Approval, call, type Context, type Operation, type Progress } from './operation.js';
export { generateKey, generateNodes, generateSplitNodes, manifestOf, remainingManifest } from './order-creation.js';
export { requireOrder } from './order-lookup.js';
export {
  ordersClose,
  ordersCreate,
  ordersExport,
  type JoinWindow,
  type KeyOutput,
  ordersLabels,
  ordersList,
  ManifestNotWritten,
  ordersOpen,
  ordersResume,
  ordersShow,
  ordersSuspend,
  windowFault,
} from './orders.js';
export {
  type CredentialContext,
  controllersRemove,
  controllersAdd,
  controllersList,
  refuseIfCombined,
  requireController,
  controllersRotate,
  controllersShow,
} from './controllers.js';
