/**
 * The node (SBI): a pure function of its durable state, the attempt in progress and a message.
 *
 * How it is driven, one attempt at a time:
 *
 *   1. `beginAttempt` returns M1. Send it.
 *   2. `receiveM4` for each answer. `ignored`: keep listening. `store`: write `state` durably, THEN
 *      send `m5`. `wait`: the attempt is over, try again after `forMs`.
 *   3. `receiveM6` for each answer. `ignored`: keep listening. `joined`: write `state` durably; the
 *      key is the node's own.
 *   4. No success: begin again after `backOff` milliseconds. Repeat M5 within the attempt; never
 *      across attempts.
 *
 * Wipe `dropped` once the write is durable. The state that is passed with a message must be the
 * last one that was written.
 */

import { BACKOFF, CANDIDATE_MIN_AGE_MS, MAX_CANDIDATES, MAX_RETRY_AFTER_SECONDS } from './constants.js';
import { tryDecode } from './errors.js';
import { decodeM4, encodeM1, type M4, type M4Header, openM4, openM6, sealM5 } from './messages.js';
import { equalInConstantTime } from './octets.js';
import { derivePsk } from './psk.js';
import type { NodeClocks } from './renewal.js';
import type { Secret } from './secret.js';

/** A key the auth-server may hold by now: M5 was sent under it, no M6 has come. */
export interface Candidate {
  readonly psk: Secret;
  /** Powered time at which it was stored, in ms. */
  readonly storedAt: number;
  /** The node's clocks then, from which a key counts that no M6 confirms. No rule depends on it. */
  readonly clocks?: NodeClocks;
}

/**
 * What a node holds durably. At every moment the auth-server's K_i is among `confirmed` and
 * `candidates`.
 */
export interface NodeState {
  readonly idI: number;
  /**
   * The ID_c of the controllers the node was ordered for; `any` while its installer named none
   * (docs/PROTOCOL.md, "Deviations").
   */
  readonly controllers: readonly number[] | 'any';
  readonly confirmed: Secret;
  /** Whether `confirmed` is still IK_i. */
  readonly initial: boolean;
  /** At most 4, oldest first. */
  readonly candidates: readonly Candidate[];
}

/** M1 is out. */
export interface AwaitingM4 {
  readonly awaiting: 'M4';
  readonly m1: Uint8Array;
  readonly rnI: Uint8Array;
  /** Powered time at which RN_i was generated, in ms. */
  readonly generatedAt: number;
}

/** M5 is out. */
export interface AwaitingM6 {
  readonly awaiting: 'M6';
  readonly idC: number;
  readonly tid: bigint;
  readonly psk: Secret;
  readonly m5: Uint8Array;
}

interface Ignored {
  readonly kind: 'ignored';
  readonly reason: string;
  /**
   * ID_c in the answer, if the node was not ordered for that controller. Anybody may have written
   * it.
   */
  readonly foreign?: number;
}

export type M4Decision =
  | Ignored
  | {
      readonly kind: 'store';
      readonly state: NodeState;
      readonly m5: Uint8Array;
      readonly attempt: AwaitingM6;
      /** Whether M4 opened under a candidate, which thereby is the confirmed key. */
      readonly promoted: boolean;
      readonly dropped: readonly Secret[];
    }
  | { readonly kind: 'wait'; readonly forMs: number };

export type M6Decision =
  | Ignored
  | {
      readonly kind: 'joined';
      readonly state: NodeState;
      /** Seconds; 0 = no expiry. */
      readonly lifetime: number;
      readonly dropped: readonly Secret[];
    };

/**
 * Returns the state of a node after its installation. A node that is installed again with the same
 * initial key keeps its candidates: a delayed M7 may still make one of them K_i.
 *
 * @param previous state of the node before the installation
 */
export function installNode(
  { idI, controllers, ik }: Pick<NodeState, 'idI' | 'controllers'> & { readonly ik: Secret },
  previous: NodeState | undefined,
): NodeState {
  const isSame = previous !== undefined && previous.idI === idI && previous.initial && previous.confirmed.equals(ik);
  return { idI, controllers, confirmed: ik, initial: true, candidates: isSame ? previous.candidates : [] };
}

/**
 * @param rnI 16 octets, fresh from the system's generator
 * @param poweredNow ms of powered time: a clock that is never set, and continues after a restart
 */
export function beginAttempt(state: NodeState, rnI: Uint8Array, poweredNow: number): AwaitingM4 {
  return { awaiting: 'M4', m1: encodeM1({ idI: state.idI, rnI }), rnI, generatedAt: poweredNow };
}

/** Judges an answer to M1 (profile, "Node", rules 2 to 4). */
export function receiveM4(state: NodeState, attempt: AwaitingM4, octets: Uint8Array, poweredNow: number): M4Decision {
  const m4 = tryDecode(decodeM4, octets);
  if (m4 === undefined) return ignored('not an M4');
  if (state.controllers !== 'any' && !state.controllers.includes(m4.idC))
    return { ...ignored('from a controller this node was not ordered for'), foreign: m4.idC };

  const opened = openWithAnyKey(state, attempt, m4);
  if (opened === undefined) return ignored('does not open under any key this node holds');
  if (!equalInConstantTime(opened.m4.rnI, attempt.rnI)) return ignored('bears the RN_i of another attempt');

  const { key } = opened;
  const psk = derivePsk(key, attempt.rnI, opened.m4.rnC);
  const candidate: Candidate = { psk, storedAt: poweredNow };
  const m5 = sealM5({ idC: m4.idC, tid: m4.tid, m1Octets: attempt.m1 }, opened.m4.rnC, psk);
  const next: AwaitingM6 = { awaiting: 'M6', idC: m4.idC, tid: m4.tid, psk, m5 };

  if (key !== state.confirmed) {
    const dropped = [state.confirmed, ...state.candidates.map((c) => c.psk)].filter((secret) => secret !== key);
    return {
      kind: 'store',
      state: { ...state, confirmed: key, initial: false, candidates: [candidate] },
      m5,
      attempt: next,
      promoted: true,
      dropped,
    };
  }

  const [oldest, ...younger] = state.candidates;
  if (oldest === undefined || state.candidates.length < MAX_CANDIDATES) {
    return {
      kind: 'store',
      state: { ...state, candidates: [...state.candidates, candidate] },
      m5,
      attempt: next,
      promoted: false,
      dropped: [],
    };
  }
  const age = attempt.generatedAt - oldest.storedAt;
  if (age < CANDIDATE_MIN_AGE_MS) {
    psk.wipe();
    return { kind: 'wait', forMs: CANDIDATE_MIN_AGE_MS - age };
  }
  return {
    kind: 'store',
    state: { ...state, candidates: [...younger, candidate] },
    m5,
    attempt: next,
    promoted: false,
    dropped: [oldest.psk],
  };
}

/**
 * Judges an answer to M5 (profile, "Node", rule 5). Only an M6 of the attempt in progress counts.
 */
export function receiveM6(state: NodeState, attempt: AwaitingM6, octets: Uint8Array): M6Decision {
  const m6 = openM6(attempt, octets, attempt.psk, attempt.m5);
  if (m6 === undefined) return ignored('not an M6 that opens in this attempt');
  const dropped = [state.confirmed, ...state.candidates.map((c) => c.psk)].filter((secret) => secret !== attempt.psk);
  return {
    kind: 'joined',
    state: { ...state, confirmed: attempt.psk, initial: false, candidates: [] },
    lifetime: m6.lifetime,
    dropped,
  };
}

/**
 * Returns the time until the next attempt, in ms: exponential back-off with full jitter. It is at
 * least the Max-Age of an error, limited to 10 minutes because Max-Age is an unauthenticated hint.
 *
 * @param failures consecutive failed attempts, 1 or more
 * @param uniform random number from [0, 1)
 * @param maxAge seconds
 */
export function backOff(failures: number, uniform: number, maxAge: number = 0): number {
  const ceiling = Math.min(BACKOFF.last, BACKOFF.first * 2 ** (failures - 1));
  return Math.max(Math.round(uniform * ceiling), Math.min(maxAge, MAX_RETRY_AFTER_SECONDS) * 1000);
}

/** The confirmed key first, then the candidates, newest first (rule 2). */
function openWithAnyKey(
  state: NodeState,
  attempt: AwaitingM4,
  m4: M4Header,
): { readonly key: Secret; readonly m4: M4 } | undefined {
  for (const key of [state.confirmed, ...state.candidates.map((c) => c.psk).toReversed()]) {
    const opened = openM4(m4, key, attempt.m1);
    if (opened !== undefined) return { key, m4: opened };
  }
  return undefined;
}

function ignored(reason: string): Ignored {
  return { kind: 'ignored', reason };
}
