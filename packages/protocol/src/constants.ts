/**
 * Constants of wire profile 1. Everything here is fixed by the profile: another implementation
 * depends on it. Choices of this implementation (sizes of tables, retry budgets) live with the
 * daemon that makes them.
 */

/** Sizes in octets. */
export const ID_LENGTH = 4;
export const NID_LENGTH = 18;
export const RN_LENGTH = 16;
export const KEY_LENGTH = 16;
export const TID_LENGTH = 8;
export const TS_LENGTH = 8;
export const NONCE_LENGTH = 13;
export const TAG_LENGTH = 8;
export const LIFETIME_LENGTH = 4;

/** First octet of a message: profile 1 in the high nibble, the message's number in the low one. */
export const TYPE = {
  M1: 0x11,
  M2: 0x12,
  M3: 0x13,
  M4: 0x14,
  M5: 0x15,
  M6: 0x16,
  M7: 0x17,
  M8: 0x18,
  M9: 0x19,
  M10: 0x1a,
  M11: 0x1b,
} as const;

/** Length in octets of each whole message. */
export const LENGTH = { M1: 21, M2: 79, M3: 42, M4: 53, M5: 33, M6: 13, M7: 121, M8: 30, M9: 27, M10: 66, M11: 58 } as const;

/**
 * Labels under which a node key gives the key of one CCM use: `EK(K, T) = AES-128(K, T || 0^15)`.
 */
export const LABEL_M4 = 0x14;
export const LABEL_M5_M6 = 0x15;

/**
 * The label with which SK_cs yields the key for nonces of the link. The profile does not define it:
 * no peer needs to know how a nonce was generated.
 */
export const LABEL_NONCE = 0x1f;

/** Largest values of the integers on the wire. */
export const MAX_ID = 0xffff_ffff;
export const MAX_LIFETIME = 0xffff_ffff;
export const MAX_TID = 0xffff_ffff_ffff_ffffn;

/**
 * Maximum of a node's open candidates, and the age (ms of powered time) at which the oldest may be
 * replaced by a fifth.
 */
export const MAX_CANDIDATES = 4;
export const CANDIDATE_MIN_AGE_MS = 300_000;

/** Answers that do not open, in one exchange, before a node stops listening for a better one. */
export const MAX_IGNORED_ANSWERS = 16;

/** How long a transaction lives at the controller from its first M1, in ms. */
export const TRANSACTION_LIFETIME_MS = 60_000;

/** Open transactions of one node at a controller. */
export const MAX_TRANSACTIONS_PER_NODE = 4;

/** How far TS may lie from the auth-server's clock, in ms. */
export const TS_WINDOW = {
  M2: { back: 30_000, ahead: 30_000 },
  M7: { back: 90_000, ahead: 30_000 },
} as const;

/** A commit that has not finished after this long must not take effect any more, in ms. */
export const COMMIT_TIMEOUT_MS = 30_000;

/** How far apart the clocks of the auth-servers on one registry may be, in ms. */
export const MAX_SERVER_CLOCK_SKEW_MS = 5_000;

/**
 * Hold-off after T, in ms, in which no M7 is committed; its TS decides. At T an administrator
 * reissued an earlier initial key to a node, or the registry was restored. An M3 from before T has
 * a TS of T + 35 s at most. Its TS may be 30 s ahead of the clock of the server that sent M3, and
 * that clock 5 s ahead of T's clock.
 */
export const REISSUE_HOLDOFF_MS: number = TS_WINDOW.M2.ahead + MAX_SERVER_CLOCK_SKEW_MS;

/**
 * A T further ahead of the clock than this, in ms, is ignored: the clock was set back after T was
 * taken. No M7 from before such a step is committed in any case. T itself may be 60 s ahead,
 * because an auth-server stores the times that it shows so far in advance.
 */
export const MAX_REISSUE_AHEAD_MS: number = 60_000 + MAX_SERVER_CLOCK_SKEW_MS;

/**
 * Retention of the initial keys that an ID had, in ms. An M7 from before the removal of a key is at
 * most 125 s old while it can be committed (90 s, and `REISSUE_HOLDOFF_MS`). The rest covers a slow
 * disk.
 */
export const INITIAL_KEY_RETENTION_MS = 300_000;

/**
 * Grace period after a controller became pass-through, or ceased to be, in ms. A proof that does
 * not decrypt in this time is rejected as one of a transaction that was pending at the switch. It
 * is the sum of 60 s that a transaction lives, and 90 s that its M7 may be old.
 */
export const SWITCH_GRACE_MS: number = TRANSACTION_LIFETIME_MS + TS_WINDOW.M7.back;

/** For how long a server whose clock stepped back refuses M7, in ms. */
export const CLOCK_STEP_HOLDOFF_MS = 300_000;

/** Back-off between a node's attempts, in ms: exponential with full jitter between these. */
export const BACKOFF = { first: 5_000, last: 600_000 } as const;

/** A Max-Age in an (unauthenticated) error counts for this many seconds at most. */
export const MAX_RETRY_AFTER_SECONDS = 600;

/** A renewal is due at a uniformly random part of the lifetime between these. */
export const RENEWAL = { from: 0.72, to: 0.88 } as const;

/** Messages under one SK_cs before it must have been replaced. */
export const MAX_LINK_MESSAGES: number = 2 ** 32;
