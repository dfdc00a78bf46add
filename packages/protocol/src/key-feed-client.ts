/**
 * The controller's side of the key feed: the pending M12, the meaning of its answer, and the
 * cursor. No I/O; randomness and time are passed in.
 *
 * How it is driven: pass each join to `joined` when its M8 or M11 arrives. To poll, send the result
 * of `begin`, and pass the answer to `receive`. Write a whole `page` together with its cursor, then
 * call `commit`. If no answer came, call `abandon` and poll again. If a page could not be written,
 * call `rewind`.
 */

import { NONCE_LENGTH } from './constants.js';
import type { Clocks, RespondentOptions } from './decisions.js';
import { type LinkRefusal, refusalFromReason } from './errors.js';
import { FIRST_CURSOR, type KeyFeedEntry, type M13, nonceOfM12, openM13, sealM12 } from './key-feed-messages.js';
import { openM9 } from './messages.js';
import type { Secret } from './secret.js';

/** Joins recorded while an M12 is in flight. At the bound its answer is discarded. */
const MAX_JOINS_UNDER_WAY = 65_536;
/** Delay before a walk is restarted, in ms: doubled each time until one is complete. */
const RESTART_BACKOFF = { first: 1_000, last: 300_000 } as const;
/** Time for which a complete answer confirms the keys that are given out, in ms. */
const VERIFIED_FOR_MS = 60_000;

export interface KeyFeedClientOptions extends Omit<RespondentOptions, 'bounds'> {
  /** Current cursor; 0 asks for all nodes. */
  readonly cursor: bigint;
}

/** An answer, as far as it counts. */
export interface KeyFeedPage {
  /** To be applied. The application roots are the taker's. */
  readonly entries: readonly KeyFeedEntry[];
  /** What the next M12 asks with. */
  readonly cursor: bigint;
  /** Cursor after a restart: a walk from 0 begins again. */
  readonly resumeCursor: bigint;
  /** True if the controller must poll again at once. */
  readonly more: boolean;
  /** Whether it is the last page of a walk that began at 0. */
  readonly endsWalk?: boolean;
  /**
   * Set on the page that completes a walk: nodes for which it is false are the controller's no
   * more.
   */
  readonly retains: ((idI: number) => boolean) | undefined;
}

export type KeyFeedDecision =
  | { readonly kind: 'page'; readonly page: KeyFeedPage }
  /** The cursor cannot be served: a walk from 0 is next, after a wait. */
  | { readonly kind: 'start-over' }
  | { readonly kind: 'refuse'; readonly refusal: LinkRefusal }
  /** Not an answer of the auth-server that opens: no answer. */
  | { readonly kind: 'ignored' };

interface UnderWay {
  readonly request: Uint8Array;
  /** Whether it begins a walk. */
  readonly isFirst: boolean;
  readonly skCs: Secret;
  readonly sentAt: number;
  /** The largest TID that arrived for a node since this M12 was first sent. */
  readonly joined: Map<number, bigint>;
}

export class KeyFeedClient {
  readonly #options: KeyFeedClientOptions;
  #skCs: Secret;
  #cursor: bigint;
  #underWay: UnderWay | undefined;
  /**
   * Set during a walk from cursor 0, until the answer after the walk is complete. `listed`: nodes
   * that the walk listed. All other nodes are dropped only after that answer, which reports changes
   * since the first M12. Otherwise the feed would not report a node that joined and was moved away
   * in that time. `skipped`: nodes whose entry is older than a join that arrived during the walk.
   * The answers after the walk report that join, unless the registry was restored to an earlier
   * state.
   */
  #walk: { readonly listed: Set<number>; readonly skipped: Set<number>; isThrough: boolean } | undefined;
  #restarts = 0;
  #notBefore = -Infinity;
  /**
   * Generated at the first page of a walk, or at "start over". A join with a smaller TID began
   * earlier, so the walk and the answers after it decide whether it counts.
   */
  #tidFloor = -1n;
  /** When the last complete answer was asked for, by the monotonic clock. */
  #completeAsOf: number | undefined;

  /** `skCs` is the client's own from here on. */
  constructor(options: KeyFeedClientOptions) {
    this.#options = options;
    this.#skCs = options.skCs;
    this.#cursor = options.cursor;
  }

  /**
   * Replaces SK_cs; the client owns the new one. A pending M12 is finished under the former one.
   */
  rekey(skCs: Secret): void {
    const before = this.#skCs;
    this.#skCs = skCs;
    if (this.#underWay?.skCs !== before) before.wipe();
  }

  /**
   * Handles the arrival of an M8 or M11. Returns false if its key must not be given out. The
   * registry may have been set back to a time before the join, or the node removed before the walk.
   * The feed knows the current state: poll soon.
   */
  joined(idI: number, tid: bigint): boolean {
    if (tid < this.#tidFloor) return false;
    const { joined } = this.#underWay ?? {};
    if (joined !== undefined && (joined.get(idI) ?? -1n) < tid && joined.size <= MAX_JOINS_UNDER_WAY) joined.set(idI, tid);
    return true;
  }

  /**
   * Returns the M12 to send. Returns `undefined` if one is in flight, if a walk must wait, or if no
   * TID is available.
   */
  begin({ wallMs, monotonicMs }: Clocks): Uint8Array | undefined {
    if (this.#underWay !== undefined || monotonicMs < this.#notBefore) return undefined;
    const { idC, nextTid, randomBytes } = this.#options;
    const tid = nextTid();
    if (tid === undefined) return undefined;
    const skCs = this.#skCs;
    const body = { ts: BigInt(wallMs), cursor: this.#cursor };
    const request = sealM12({ idC, tid, nonce: nonceOfM12(idC, tid, body, randomBytes(NONCE_LENGTH), skCs) }, body, skCs);
    const isFirst = this.#cursor === FIRST_CURSOR;
    if (isFirst) this.#walk = { listed: new Set(), skipped: new Set(), isThrough: false };
    this.#underWay = { request, isFirst, skCs, sentAt: monotonicMs, joined: new Map() };
    return request;
  }

  /** Handles the answer to the pending M12. */
  receive(octets: Uint8Array, monotonicMs: number): KeyFeedDecision {
    if (this.#underWay === undefined) return { kind: 'ignored' };
    const { request, isFirst, skCs, joined } = this.#underWay;
    const m13 = openM13(octets, request, skCs);
    if (m13 === undefined) return this.#receiveM9(octets, request, skCs);
    const { cursor, entries } = m13;
    const isStartOver = cursor === FIRST_CURSOR;
    const floor = isStartOver || isFirst ? this.#options.nextTid() : this.#tidFloor;
    if (isStartOver || joined.size > MAX_JOINS_UNDER_WAY || floor === undefined) {
      for (const { applicationRoot } of entries) applicationRoot?.wipe();
      this.abandon();
      if (!isStartOver || floor === undefined) return { kind: 'refuse', refusal: 'overloaded' };
      this.#tidFloor = floor;
      this.#startOver(monotonicMs);
      return { kind: 'start-over' };
    }
    this.#tidFloor = floor;
    return { kind: 'page', page: this.#pageOf(m13, joined) };
  }

  #pageOf({ cursor, more, entries }: M13, joined: ReadonlyMap<number, bigint>): KeyFeedPage {
    const walk = this.#walk;
    const counting: KeyFeedEntry[] = [];
    for (const entry of entries) {
      walk?.listed.add(entry.idI);
      // A join that arrived since is newer, and gets a separate entry later.
      if ((joined.get(entry.idI) ?? -1n) > entry.tid) {
        entry.applicationRoot?.wipe();
        walk?.skipped.add(entry.idI);
      } else {
        counting.push(entry);
        walk?.skipped.delete(entry.idI);
      }
    }
    if (walk === undefined) return { entries: counting, cursor, resumeCursor: cursor, more, retains: undefined };
    if (more || !walk.isThrough)
      return { entries: counting, cursor, resumeCursor: FIRST_CURSOR, more: true, endsWalk: !more, retains: undefined };
    // A join that counted got no entry. Another walk shows whether it is still valid.
    if (walk.skipped.size > 0)
      return {
        entries: counting,
        cursor: FIRST_CURSOR,
        resumeCursor: FIRST_CURSOR,
        more: true,
        endsWalk: false,
        retains: undefined,
      };
    const retains = (idI: number): boolean => walk.listed.has(idI) || joined.has(idI);
    return { entries: counting, cursor, resumeCursor: cursor, more, retains };
  }

  /** Called when the page of the pending M12 is stored. */
  commit({ cursor, more, endsWalk }: KeyFeedPage): void {
    const { sentAt } = this.#underWay ?? {};
    this.abandon();
    this.#cursor = cursor;
    if (endsWalk === true && this.#walk !== undefined) this.#walk.isThrough = true;
    if (more) return;
    this.#walk = undefined;
    this.#restarts = 0;
    this.#completeAsOf = sentAt;
  }

  /** Called when committed pages are lost: continues where the stored ones end. */
  rewind(cursor: bigint): void {
    this.abandon();
    this.#cursor = cursor;
    this.#walk = undefined;
  }

  /** Gives up the pending M12 without an answer. */
  abandon(): void {
    if (this.#underWay !== undefined && this.#underWay.skCs !== this.#skCs) this.#underWay.skCs.wipe();
    this.#underWay = undefined;
  }

  /** Monotonic time since which the registry has confirmed the keys that are given out. */
  get completeAsOf(): number | undefined {
    return this.#completeAsOf;
  }

  /** Whether a complete answer came since the start, and not longer than a minute ago. */
  isVerified(monotonicMs: number): boolean {
    return this.#completeAsOf !== undefined && monotonicMs - this.#completeAsOf <= VERIFIED_FOR_MS;
  }

  /** No M12 is sent before this, by the monotonic clock. */
  get notBefore(): number {
    return this.#notBefore;
  }

  wipe(): void {
    this.abandon();
    this.#skCs.wipe();
  }

  #receiveM9(octets: Uint8Array, request: Uint8Array, skCs: Secret): KeyFeedDecision {
    const m9 = openM9(octets, request, skCs);
    const refusal = m9 && refusalFromReason(m9.reason);
    if (refusal === undefined || m9?.idI !== 0) return { kind: 'ignored' };
    this.abandon();
    return { kind: 'refuse', refusal };
  }

  #startOver(monotonicMs: number): void {
    this.#cursor = FIRST_CURSOR;
    this.#walk = undefined;
    // The first restart has no delay: a restored registry must be followed immediately.
    const wait = this.#restarts === 0 ? 0 : Math.min(RESTART_BACKOFF.first * 2 ** (this.#restarts - 1), RESTART_BACKOFF.last);
    this.#restarts += 1;
    this.#notBefore = monotonicMs + wait;
  }
}
