/** The Latchkey wire profile: messages, keys and the three roles, with no I/O. See docs/PROTOCOL.md. */

export { aes128, BlockCipher, ccmOpen, ccmSeal, cmac } from './cipher.js';
export * from './constants.js';
export {
  type CoapCode,
  tryDecode,
  type LinkRefusal,
  MalformedMessage,
  retryAfterSeconds,
  type Refusal,
  refusalFromReason,
  REFUSALS,
} from './errors.js';
export { formatId, formatTid, parseId } from './id.js';
export { deriveInitialKey } from './initial-key.js';
export {
  type AwaitingM4,
  type AwaitingM6,
  backOff,
  beginAttempt,
  type Candidate,
  installNode,
  type M4Decision,
  type M6Decision,
  type NodeState,
  receiveM4,
  receiveM6,
} from './initiator.js';
export * from './messages.js';
export { equalInConstantTime } from './octets.js';
export {
  deriveApplicationKey,
  deriveApplicationRoot,
  deriveEapPskKeys,
  deriveEapPskSessionKeys,
  deriveKeyId,
  derivePsk,
  type EapPskKeys,
  type EapPskSessionKeys,
  isReservedLabel,
} from './psk.js';
export type { PendingProof } from './proof-queue.js';
export type {
  JoinResult,
  LinkDecision,
  M1Decision,
  M5Decision,
  Clocks,
  Relay,
  RespondentBounds,
  RespondentOptions,
} from './decisions.js';
export { Respondent } from './respondent.js';
export { type Confirmation, scheduleRenewal, type NodeClocks, type Renewal, saveIntervalMs, msUntilRenewal } from './renewal.js';
export { Secret } from './secret.js';
export type { Source } from './source.js';
export { derivePassThroughRnC } from './pass-through.js';
export {
  answerCommitted,
  type Commit,
  type CommitDecision,
  expiryOf,
  type Holdoff,
  type ServerDecision,
  decide,
  type PassThrough,
  type ServerAnswer,
  type ServerNodeRecord,
  openLinkRequest,
  type OpenedRequest,
  sealAnswer,
  isWithinTimeWindow,
} from './server.js';
export type { Transaction } from './transaction.js';
