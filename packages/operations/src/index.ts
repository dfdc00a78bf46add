/** The administrator's use cases on a registry. */

export {
  addController,
  moveNodes,
  removeController,
  removeNodes,
  resetNode,
  setController,
  setDisabled,
  setJoinWindow,
  setKeyLifetime,
  setOrderState,
  stageControllerKey,
} from './administration.js';
export { auditHead, auditList, auditPrune, auditVerify } from './audit.js';
export { backupsCreate } from './backup.js';
export { blockedRanges, controllersWithOldKeys, holdoffUntil, releaseRanges } from './clock-release.js';
export { clockRelease, clockShow, describeHoldoff } from './clock.js';
export {
  controllersAdd,
  controllersList,
  controllersRemove,
  controllersRotate,
  controllersSet,
  controllersShow,
  type CredentialContext,
} from './controllers.js';
export { type Surroundings, surroundingsOf } from './diagnosis-situation.js';
export { diagnoseNode, nodesDiagnose } from './diagnosis.js';
export { nodesDiagnoseGroups } from './diagnosis-groups.js';
export { DEFAULT_GRACE, enrol, type OrderTerms } from './enrolment.js';
export { ordersExposure } from './exposure.js';
export { DeviceKeys } from './import/device-keys.js';
export { planImport } from './import/import-plan.js';
export { readImportFile } from './import/import-file.js';
export { type ImportContext, type ImportDetails, type ImportMoves, importRefusal, importsRun } from './imports.js';
export {
  type InstallerContext,
  type InstallerIntent,
  type InstallerStore,
  installerNotFound,
  installerPlace,
  installersAdd,
  installersList,
  installersRemove,
  installersSet,
  installersShow,
  type StoredInstaller,
} from './installers.js';
export { type JobContext, jobNotFound, type JobSource, jobsCancel, jobsList, jobsShow, requireRunning } from './jobs.js';
export { enrolAgain, freeName, type Step, stepsFor, TAKE_UP_CREDENTIAL } from './next-steps.js';
export { NodeBatch } from './node-batch.js';
export { type ManyNodesContext, nodesChangeMany, nodesPreviewChange } from './node-changes.js';
export { idRange, type NodeQuery, queryNodes } from './node-query.js';
export { describeRecipients } from './key-recipients.js';
export { keysLost, nodesReset, noHolder, type ResetContext, type ResetPreview } from './node-reset.js';
export { viewNode } from './node-view.js';
export {
  lifeOf,
  type ExportContext,
  type ExportedLine,
  type NodeChangeContext,
  type NodeChangePreview,
  nodesCount,
  nodesDisable,
  nodesEnable,
  nodesExport,
  nodesExportWithKeys,
  nodesList,
  nodesMove,
  nodesRemove,
  nodesSet,
  nodesShow,
  viewExportedNodes,
  viewNodes,
} from './nodes.js';
export { type Approval, call, type Context, type Operation, parseInput, type Progress } from './operation.js';
export {
  type HandoverContext,
  type JoinWindow,
  type BeforeCommit,
  type KeyOutput,
  type LabelContext,
  type LabelLine,
  ManifestNotWritten,
  type OrderCreateContext,
  ordersClose,
  ordersCreate,
  ordersExport,
  ordersLabels,
  ordersList,
  ordersOpen,
  ordersResume,
  ordersSet,
  ordersShow,
  ordersSuspend,
  refuseManyLabels,
  windowFault,
} from './orders.js';
export { PartlyDone } from './parts.js';
export { pluralize } from './pluralize.js';
export { isVisible, requireVisibleNodes, visibleEntries, type VisibleOrders, visibleOrdersOf } from './visibility.js';
export { waitingDismiss, waitingList } from './waiting.js';
