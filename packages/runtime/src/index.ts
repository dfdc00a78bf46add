/** Every side effect the daemons share: CoAP behind a guard, files, locks, clocks, configuration, logs, commands, lifecycle. */

export {
  adviceInOneLine,
  type CommandLine,
  decryptInto,
  formatCommandLine,
  repeatInAdvice,
  shellWord,
  STATE_FOLDERS,
  withPlaceOptions,
} from './advice.js';
export { type ApplicationKeyOptions, applicationKeyOptions, formatApplicationKey, warnIfExpired } from './application-key.js';
export {
  commandToRun,
  folderArgument,
  idArgument,
  integerArgument,
  listenOption,
  logLevelOption,
  main,
  peerArgument,
  program,
  withExamples,
} from './cli.js';
export { type Clock, ClockStepDetector, readClock, monotonicNow, serverTime } from './clock.js';
export { CoapClient, type CoapClientOptions, type ExchangeOptions, type ExchangeOutcome, type Response } from './coap/client.js';
export { ClientMetrics, ServerMetrics } from './coap/counts.js';
export { OPTION, parseDatagram } from './coap/datagram.js';
export { CoapServer, type CoapServerOptions, type PostResponse, type PostRequest } from './coap/server.js';
export { loadConfig, loadPrivateJson } from './config.js';
export { type Credential, readCredential, writeCredential } from './credential.js';
export { formatDuration, parseDuration } from './duration.js';
export {
  checkNewPassphrase,
  checkRecipients,
  decryptManifest,
  detectEncryption,
  encryptManifest,
  type ManifestKey,
  type ManifestRecipients,
  parseIdentities,
  parsePassphrase,
} from './encrypted-manifest.js';
export {
  type Address,
  addressesOf,
  type Endpoint,
  formatEndpoint,
  isSameEndpoint,
  listenSchema,
  parseEndpoint,
  parsePeerEndpoint,
  peerSchema,
  storedPeerSchema,
} from './endpoint.js';
export { environment } from './environment.js';
export { type Advice, EXIT, Failure, systemCode, systemFailure, UsageFailure } from './failure.js';
export { commitsMetric, dropsMetric, exchangesMetric, joinsMetric, samples } from './families.js';
export {
  checkPrivateFile,
  type Content,
  createFile,
  exists,
  linkIntoPlace,
  chownToFolderOwner,
  ensurePrivateFolder,
  probeFolder,
  readOctets,
  readPlainFile,
  readPrivateFile,
  readStandardOctets,
  replaceFile,
  syncFolderOf,
} from './files.js';
export { healthCommand } from './http/health.js';
export { repeat } from './housekeeping.js';
export { httpOption, type ListenAddress, httpSchema } from './http/place.js';
export { removeOnSignal } from './interruption.js';
export { parseKey, readKeyFile, readSecretFile } from './key-file.js';
export { formatLabel, formatLabelInCapitals, isLabel, parseLabel } from './label.js';
export { type Daemon, runDaemon } from './lifecycle.js';
export { BoxedMap } from './leaving-map.js';
export { type FileLock, nativeLocks } from './file-lock.js';
export { type FolderLockState, lockFolder, readFolderLock, assertSamePidNamespace } from './lock.js';
export { lockWithSocket, type SocketLock } from './socket-lock.js';
export { RateLimitedLog, createLog, type Log, LOG_LEVELS, type LogLevel, type LogStream } from './log.js';
export { findManifestLine, formatManifest, type ManifestLine, MAX_MANIFEST, parseManifest } from './manifest.js';
export { DEFAULT_MEMORY, MIN_MEMORY, limitMemory } from './memory.js';
export { dropNativeWords, holdNativeWords } from './native-words.js';
export { encodeNid, formatNid } from './nid.js';
export type { Check, Labels, Metric, Telemetry, Sample } from './observation.js';
export { DeviceKeyReader } from './provisioning/device-key-rows.js';
export { DEVICE_KEYS_HELP, MANIFEST_HELP } from './provisioning/manifest-help.js';
export { ManifestReader } from './provisioning/manifest-reader.js';
export { MANIFEST_COLUMNS, type ManifestHandler, type ManifestProblem, type ManifestRow } from './provisioning/row-validator.js';
export { formatFields, formatTable } from './table.js';
export { endTimeArgument, formatDate, type GivenTime, startTimeArgument, TIME_HELP } from './time.js';
export { Histogram, LabelledCounter } from './tally.js';
export { randomOctets } from './random.js';
export {
  afterDiscontinuity,
  needsExtension,
  isCovered,
  RESERVE_AHEAD_MS,
  EMPTY_HISTORY,
  findPreviousRange,
  rejectedUntil,
  type TimeRange,
  type ClockHistory,
  addRange,
  extendTo,
} from './times.js';
export { readSecretInput } from './typed-line.js';
