/** Wire profile 1: messages, cipher and the three roles, with no I/O. */

export { aes128, BlockCipher, ccmOpen, ccmSeal, cmac } from './cipher.js';
export {
  addRange,
  afterDiscontinuity,
  type ClockHistory,
  EMPTY_HISTORY,
  extendTo,
  findPreviousRange,
  isCovered,
  latestCovered,
  needsExtension,
  rejectedUntil,
  RESERVE_AHEAD_MS,
  type TimeRange,
} from './clock-history.js';
export {
  BACKOFF,
  CANDIDATE_MIN_AGE_MS,
  CLOCK_STEP_HOLDOFF_MS,
  COMMIT_TIMEOUT_MS,
  INITIAL_KEY_RETENTION_MS,
  KEY_LENGTH,
  LABEL_M4,
  LENGTH,
  MAX_CANDIDATES,
  MAX_ID,
  MAX_IGNORED_ANSWERS,
  MAX_LIFETIME,
  MAX_LINK_MESSAGES,
  MAX_REISSUE_AHEAD_MS,
  MAX_RETRY_AFTER_SECONDS,
  MAX_SERVER_CLOCK_SKEW_MS,
  MAX_TID,
  NID_LENGTH,
  NONCE_LENGTH,
  REISSUE_HOLDOFF_MS,
  RN_LENGTH,
  TRANSACTION_LIFETIME_MS,
  TS_WINDOW,
  TYPE,
} from './constants.js';
export type {
  Clocks,
  JoinResult,
  LinkDecision,
  M1Decision,
  M5Decision,
  Relay,
  RespondentBounds,
  RespondentOptions,
} from './decisions.js';
export {
  type CoapCode,
  type LinkRefusal,
  type Refusal,
  refusalFromReason,
  REFUSALS,
  retryAfterSeconds,
  tryDecode,
} from './errors.js';
export { formatId, formatTid, parseId } from './id.js';
export { deriveInitialKey } from './initial-key.js';
export {
  type AwaitingM4,
  type AwaitingM6,
  backOff,
  beginAttempt,
  installNode,
  type M4Decision,
  type M6Decision,
  type NodeState,
  receiveM4,
  receiveM6,
} from './initiator.js';
export {
  decodeM12,
  FIRST_CURSOR,
  KEY_FEED_TYPE,
  type KeyFeedEntry,
  type KeyFeedRequest,
  type KeyFeedState,
  type M12,
  type M13,
  MAX_FEED_ENTRIES,
  NO_TID_COUNTS,
  openM12,
  openM13,
  sealM12,
} from './key-feed-messages.js';
export { KeyFeedClient, type KeyFeedClientOptions, type KeyFeedDecision, type KeyFeedPage } from './key-feed-client.js';
export { feedEntryOf, isFeedRequestInTime, KeyFeedLimiter, sealFeedAnswer, sealFeedRefusal } from './key-feed-server.js';
export {
  decodeLinkRequest,
  decodeM1,
  decodeM4,
  decodeM5,
  encodeM1,
  encodeM4,
  encodeM5,
  encodeM6,
  type LinkRequest,
  openM10,
  openM11,
  openM2,
  openM3,
  openM4,
  openM6,
  openM8,
  openM9,
  sealM2,
  sealM3,
  sealM4,
  sealM5,
  sealM6,
  sealM7,
  sealM8,
  sealM9,
} from './messages.js';
export {
  afterEntry,
  afterJoin,
  isForgettable,
  type ReceivedEntry,
  type Replacement,
  type StoredFormerGeneration,
  type StoredGeneration,
  type StoredNodeKeys,
  TOMBSTONE_MS,
} from './node-keys.js';
export { equalInConstantTime } from './octets.js';
export { derivePassThroughRnC } from './pass-through.js';
export type { PendingProof } from './proof-queue.js';
export {
  deriveApplicationKey,
  deriveApplicationRoot,
  deriveEapPskKeys,
  deriveEapPskSessionKeys,
  deriveKeyId,
  derivePsk,
  isReservedLabel,
} from './psk.js';
export { type Confirmation, msUntilRenewal, type NodeClocks, type Renewal, saveIntervalMs, scheduleRenewal } from './renewal.js';
export { Respondent } from './respondent.js';
export { Secret } from './secret.js';
export {
  answerCommitted,
  type Commit,
  type CommitDecision,
  decide,
  expiryOf,
  type Holdoff,
  isWithinTimeWindow,
  type OpenedRequest,
  openLinkRequest,
  sealAnswer,
  SERVER_ROLE,
  type ServerAnswer,
  type ServerDecision,
  type ServerNodeRecord,
  type ServerRole,
} from './server.js';
export type { Source } from './source.js';
export type { Transaction } from './open-transaction.js';
