/**
 * The auth-server's side of the key feed: validates a decrypted M12, builds the entry of a node,
 * and rate-limits controllers. The registry looks up changes.
 */

import { TS_WINDOW, TYPE } from './constants.js';
import { type LinkRefusal, REFUSALS } from './errors.js';
import {
  type KeyFeedEntry,
  type KeyFeedRequest,
  type KeyFeedState,
  type M12,
  type M13,
  NO_TID_COUNTS,
  sealM13,
} from './key-feed-messages.js';
import { sealM9 } from './messages.js';
import { linkNonce } from './nonce.js';
import { deriveApplicationRoot } from './psk.js';
import type { Secret } from './secret.js';
import { expiryOf, type ServerNodeRecord } from './server.js';

/** ID_i of an M9 that refuses an M12. */
const NO_NODE = 0;
/** New TIDs of one controller that are answered in a second. */
const NEW_TIDS_PER_SECOND = 100;
/** A TID that was answered is answered again after this, in ms. */
const REPEAT_AFTER_MS = 1_000;
/** Controllers whose requests are counted. At the bound the oldest one is evicted. */
const MAX_CONTROLLERS = 1_024;

/** Returns true if TS is in the window of an M12, which is that of M2. */
export function isFeedRequestInTime({ ts }: M12, wallMs: number): boolean {
  return ts >= BigInt(wallMs - TS_WINDOW.M2.back) && ts <= BigInt(wallMs + TS_WINDOW.M2.ahead);
}

/**
 * Builds the entry of node `idI` for controller `idC`.
 *
 * @param node `undefined` if the registry does not have it
 * @param tid of its latest commit through this controller; 0 = none
 */
export function feedEntryOf(
  idI: number,
  node: ServerNodeRecord | undefined,
  idC: number,
  tid: bigint,
  wallMs: number,
): KeyFeedEntry {
  if (node === undefined) return { idI, state: 'removed', expiry: 0, tid: NO_TID_COUNTS, applicationRoot: undefined };
  if (node.controller !== idC) return { idI, state: 'moved', expiry: 0, tid: NO_TID_COUNTS, applicationRoot: undefined };
  const state = stateOf(node, wallMs);
  if (state !== 'current') return { idI, state, expiry: 0, tid, applicationRoot: undefined };
  return { idI, state, expiry: expiryOf(node) ?? 0, tid, applicationRoot: deriveApplicationRoot(node.key, idI) };
}

/** Of a node that is the controller's. */
function stateOf(node: ServerNodeRecord, wallMs: number): KeyFeedState {
  if (node.disabled) return 'disabled';
  if (node.initial) return 'initial';
  const expiry = expiryOf(node);
  return expiry !== undefined && wallMs > expiry + 1000 * node.grace ? 'expired' : 'current';
}

/** Seals M13 over this request. The caller wipes the application roots in `page` afterwards. */
export function sealFeedAnswer(request: KeyFeedRequest, page: M13, random: Uint8Array, skCs: Secret): Uint8Array {
  return sealM13(page, random, request.octets, skCs);
}

/** M9 over the request at hand. */
export function sealFeedRefusal(request: KeyFeedRequest, refusal: LinkRefusal, random: Uint8Array, skCs: Secret): Uint8Array {
  const { reason } = REFUSALS[refusal];
  const nonce = linkNonce(skCs, random, Uint8Array.of(TYPE.M9), request.octets, Uint8Array.of(reason));
  return sealM9({ reason, idI: NO_NODE }, nonce, request.octets, skCs);
}

/** Entries of the audit log that an answer may read for one token. */
const ENTRIES_PER_TID = 256;

interface ControllerRequests {
  /** Fingerprint of the SK_cs that they opened under. */
  readonly key: string;
  /** The largest TID that was let through, and when. */
  tid: bigint;
  answeredAt: number;
  /** When a smaller one was let through. */
  olderAnsweredAt: number;
  /** Tokens for new TIDs; below 0 after an expensive answer. */
  allowance: number;
  countedAt: number;
}

/**
 * Rate limit per controller. Only an M12 that decrypts is counted. A replayed M12 has no new TID,
 * so it uses no token of the genuine controller.
 */
export class KeyFeedLimiter {
  readonly #controllers = new Map<number, ControllerRequests>();

  /**
   * Returns `answer`; `refuse` for a new TID beyond the rate; or `drop` for a copy beyond the rate,
   * which gets no M9.
   *
   * @param key fingerprint of the SK_cs that decrypted the request: requests under a former SK_cs
   *   do not count
   */
  admit(idC: number, tid: bigint, monotonicMs: number, key: string): 'answer' | 'refuse' | 'drop' {
    const known = this.#controllers.get(idC);
    if (known?.key !== key) {
      this.#add(idC, tid, monotonicMs, key);
      return 'answer';
    }
    if (tid <= known.tid) return admitCopy(known, tid, monotonicMs);
    const refilled = known.allowance + ((monotonicMs - known.countedAt) * NEW_TIDS_PER_SECOND) / 1000;
    known.allowance = Math.min(NEW_TIDS_PER_SECOND, refilled);
    known.countedAt = monotonicMs;
    if (known.allowance < 1) return 'refuse';
    known.allowance -= 1;
    known.tid = tid;
    known.answeredAt = monotonicMs;
    return 'answer';
  }

  /**
   * Charges an answer that read this many entries of the audit log, and so cost more than its M12.
   * Otherwise a controller, which chooses the cursor, could have the whole log read again and
   * again.
   */
  charge(idC: number, entries: number): void {
    const known = this.#controllers.get(idC);
    if (known !== undefined) known.allowance -= Math.floor(entries / ENTRIES_PER_TID);
  }

  #add(idC: number, tid: bigint, now: number, key: string): void {
    this.#controllers.delete(idC);
    if (this.#controllers.size >= MAX_CONTROLLERS) {
      const [oldest] = this.#controllers.keys();
      if (oldest !== undefined) this.#controllers.delete(oldest);
    }
    const allowance = NEW_TIDS_PER_SECOND - 1;
    this.#controllers.set(idC, { key, tid, answeredAt: now, olderAnsweredAt: -Infinity, allowance, countedAt: now });
  }
}

/** A controller has one M12 in flight. Copies of older ones share one answer a second. */
function admitCopy(known: ControllerRequests, tid: bigint, now: number): 'answer' | 'drop' {
  const before = tid === known.tid ? known.answeredAt : known.olderAnsweredAt;
  if (now - before < REPEAT_AFTER_MS) return 'drop';
  if (tid === known.tid) known.answeredAt = now;
  else known.olderAnsweredAt = now;
  return 'answer';
}
