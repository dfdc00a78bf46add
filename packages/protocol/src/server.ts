/**
 * The auth-server (SBS): its answer is a pure function of one request and one node's record. It
 * stores no transaction.
 *
 * How it is driven: `decodeLinkRequest`, look up the controller's SK_cs, `openLinkRequest`, look up
 * the node (a linearizable read), `decide`. Then
 *
 *   answer   seal M3 or M8, for a pass-through controller M10 or M11, over this very request and send it
 *   commit   in ONE durable transaction: `isWithinTimeWindow`, K_i compared with `from`, `reissuedAt` and what
 *            the record says of its controller with what they were, K_i replaced by `to`. Lost comparison: read and decide again. Only after
 *            that write is durable everywhere: seal `answerCommitted`
 *   refuse   seal M9 and send it
 */

import {
  ID_LENGTH,
  LIFETIME_LENGTH,
  MAX_REISSUE_AHEAD_MS,
  REISSUE_HOLDOFF_MS,
  SWITCH_GRACE_MS,
  TS_WINDOW,
  TYPE,
} from './constants.js';
import { type LinkRefusal, REFUSALS } from './errors.js';
import {
  c4Of,
  c6Of,
  encodeM5,
  type LinkRequest,
  type M10,
  type M11,
  type M2,
  type M7,
  openC5,
  openM2,
  openM7,
  sealM10,
  sealM11,
  sealM3,
  sealM4,
  sealM6,
  sealM8,
  sealM9,
} from './messages.js';
import { linkNonce } from './nonce.js';
import { equalInConstantTime, Writer } from './octets.js';
import { derivePassThroughRnC } from './pass-through.js';
import { deriveApplicationRoot, derivePsk } from './psk.js';
import type { Secret } from './secret.js';

/** What the auth-server knows of one node. Times are ms since the Unix epoch. */
export interface ServerNodeRecord {
  readonly idI: number;
  /** K_i. */
  readonly key: Secret;
  /** Whether K_i is still IK_i. */
  readonly initial: boolean;
  /** ID_c of the controller it is assigned to. */
  readonly controller: number;
  readonly disabled: boolean;
  /** When it may join for the first time. */
  readonly joinFrom?: number | undefined;
  readonly joinUntil?: number | undefined;
  /** Granted at the next commit, in seconds; 0 = no expiry. */
  readonly lifetime: number;
  /** Until when an expired key may still renew itself, in seconds after expiry. */
  readonly grace: number;
  /**
   * T: when an administrator gave it an initial key that its ID had had before, or the registry was
   * restored; the later of both.
   */
  readonly reissuedAt?: number | undefined;
  /**
   * Set while its controller is pass-through: M10 and M11 in place of M3 and M8. Read together with
   * K_i.
   */
  readonly passThrough?: PassThrough | undefined;
  /**
   * When its controller became pass-through, or ceased to be. Or when a restore generated a new TK,
   * if that was later.
   */
  readonly switchedAt?: number | undefined;
  /** The commit that put K_i there. */
  readonly committed?: Commit | undefined;
}

interface PassThrough {
  /** TK of the registry, from which the RN_c that nodes see is made. */
  readonly transactionKey: Secret;
}

/** What one commit leaves behind, next to the key. */
export interface Commit {
  readonly idC: number;
  readonly tid: bigint;
  /** TS of the transaction, ms since the Unix epoch. */
  readonly ts: number;
  readonly nidI: Uint8Array;
  /** As granted; every repeat of M8 repeats it. */
  readonly lifetime: number;
}

/** A request that opened under SK_cs. */
export type OpenedRequest =
  | { readonly type: 'M2'; readonly idC: number; readonly tid: bigint; readonly body: M2 }
  | { readonly type: 'M7'; readonly idC: number; readonly tid: bigint; readonly body: M7 };

type OpenedM7 = Extract<OpenedRequest, { type: 'M7' }>;

/**
 * Answer to a request that changes no key, or after a commit. The caller wipes the application root
 * of an M11 once it is sealed.
 */
export type ServerAnswer =
  | { readonly kind: 'answer'; readonly with: 'M3'; readonly key: Secret }
  | { readonly kind: 'answer'; readonly with: 'M8'; readonly lifetime: number }
  | ({ readonly kind: 'answer'; readonly with: 'M10' } & Pick<M10, 'c4'>)
  | ({ readonly kind: 'answer'; readonly with: 'M11' } & Omit<M11, 'idI'>);

export interface CommitDecision {
  readonly kind: 'commit';
  /** The answer once the commit is durable. */
  readonly with: 'M8' | 'M11';
  readonly from: Secret;
  readonly to: Secret;
  readonly commit: Commit;
}

export type ServerDecision =
  | ServerAnswer
  | CommitDecision
  | {
      readonly kind: 'refuse';
      readonly refusal: LinkRefusal;
      readonly holdoff?: Holdoff | undefined;
      /**
       * The proof may belong to a transaction that was pending when its controller was switched, at
       * that time.
       */
      readonly switchedAt?: number | undefined;
    };

/**
 * Why no M7 of a node is committed for a while: an M7 from before `reissuedAt` could put a key back
 * that the node has dropped.
 */
export interface Holdoff {
  readonly reissuedAt: number;
  /** How long an M2 that comes now must wait, in ms. */
  readonly remainingMs: number;
}

/** `undefined`: does not open, or its M1 is not one. */
export function openLinkRequest(request: LinkRequest, skCs: Secret): OpenedRequest | undefined {
  if (request.type === 'M2') {
    const body = openM2(request, skCs);
    return body && { type: 'M2', idC: request.idC, tid: request.tid, body };
  }
  const body = openM7(request, skCs);
  return body && { type: 'M7', idC: request.idC, tid: request.tid, body };
}

/** Returns true if TS is in the window of M2 or M7 around `wallMs` (ms since the epoch). */
export function isWithinTimeWindow(opened: OpenedRequest, wallMs: number): boolean {
  const { back, ahead } = TS_WINDOW[opened.type];
  const ts = opened.body.ts;
  return ts >= BigInt(wallMs - back) && ts <= BigInt(wallMs + ahead);
}

/** When K_i expires, in ms since the epoch: TS + 1000 x lifetime. `undefined`: never. */
export function expiryOf({ committed }: Pick<ServerNodeRecord, 'committed'>): number | undefined {
  return committed === undefined || committed.lifetime === 0 ? undefined : committed.ts + 1000 * committed.lifetime;
}

/**
 * Returns the hold-off of a node for a request with this TS, or `undefined` if none applies. For an
 * M7 only its TS counts, because TS limits when its M3 was sent. For an M2 the clock counts, and
 * also its TS if the controller's clock lags behind. Otherwise the M7 of that transaction, which
 * has the same TS, would be rejected.
 */
function holdoffOf({ type, body }: OpenedRequest, { reissuedAt }: ServerNodeRecord, wallMs: number): Holdoff | undefined {
  if (reissuedAt === undefined || reissuedAt > wallMs + MAX_REISSUE_AHEAD_MS) return undefined;
  const endsAt = reissuedAt + REISSUE_HOLDOFF_MS;
  const ts = Number(body.ts);
  const earliest = Math.min(ts, wallMs);
  if ((type === 'M7' ? ts : earliest) > endsAt) return undefined;
  return { reissuedAt, remainingMs: Math.max(0, endsAt - (type === 'M7' ? wallMs : earliest)) };
}

/**
 * Judges a request that opened, in the order of the profile's table. `wallMs` is the server's
 * clock, ms since the epoch.
 */
export function decide(opened: OpenedRequest, node: ServerNodeRecord | undefined, wallMs: number): ServerDecision {
  if (!isWithinTimeWindow(opened, wallMs)) return refuse('clock');
  if (node === undefined) return refuse('unknownNode');
  if (node.controller !== opened.idC) return refuse('notAssigned');
  if (node.disabled) return refuse('disabled');
  const expiry = expiryOf(node);
  if (expiry !== undefined && wallMs > expiry + 1000 * node.grace) return refuse('expired');
  if (node.initial && (wallMs < (node.joinFrom ?? wallMs) || wallMs > (node.joinUntil ?? wallMs)))
    return refuse('outsideJoinWindow');
  const holdoff = holdoffOf(opened, node, wallMs);
  if (opened.type === 'M7') return verifyProof(opened, node, wallMs, holdoff);
  if (holdoff !== undefined) return refuse('overloaded', holdoff);
  return node.passThrough === undefined ? { kind: 'answer', with: 'M3', key: node.key } : answerWithC4(opened, node);
}

/** The RN_c that the node sees. */
function rnCOf(opened: OpenedRequest, { passThrough }: ServerNodeRecord): Uint8Array {
  return passThrough === undefined ? opened.body.rnC : derivePassThroughRnC(passThrough.transactionKey, opened);
}

/** K_i is not sent: the controller gets content that is sealed under it. */
function answerWithC4(opened: OpenedRequest, node: ServerNodeRecord): ServerAnswer {
  const { m1, m1Octets } = opened.body;
  const m4 = sealM4(opened, { rnI: m1.rnI, rnC: rnCOf(opened, node) }, node.key, m1Octets);
  return { kind: 'answer', with: 'M10', c4: c4Of(m4) };
}

/** Answers an M7 that is committed: `psk` is K_i now, and opened the C5 of this very M7. */
function answerProven({ idC, tid, body }: OpenedM7, answer: CommitDecision['with'], psk: Secret, lifetime: number): ServerAnswer {
  if (answer === 'M8') return { kind: 'answer', with: 'M8', lifetime };
  const m6 = sealM6({ idC, tid }, { lifetime }, psk, encodeM5({ tid, c5: body.c5 }));
  return { kind: 'answer', with: 'M11', c6: c6Of(m6), lifetime, applicationRoot: deriveApplicationRoot(psk, body.m1.idI) };
}

/**
 * What answers an M7 once its commit is durable. The key that was committed is needed for it: wipe
 * that after.
 */
export function answerCommitted(opened: OpenedRequest, { with: answer, to, commit }: CommitDecision): ServerAnswer {
  if (opened.type !== 'M7') throw new Error('only an M7 is committed');
  return answerProven(opened, answer, to, commit.lifetime);
}

function verifyProof(opened: OpenedM7, node: ServerNodeRecord, wallMs: number, holdoff: Holdoff | undefined): ServerDecision {
  const { idC, tid, body } = opened;
  const { committed } = node;
  const context = { idC, tid, m1Octets: body.m1Octets };
  const rnC = rnCOf(opened, node);
  const answer = node.passThrough === undefined ? 'M8' : 'M11';
  const isProvenBy = (psk: Secret): boolean => {
    const proof = openC5(context, body.c5, psk);
    return proof !== undefined && equalInConstantTime(proof, rnC);
  };

  if (committed?.idC === idC && committed.tid === tid && isProvenBy(node.key))
    return answerProven(opened, answer, node.key, committed.lifetime);
  const psk = derivePsk(node.key, body.m1.rnI, rnC);
  const proven = isProvenBy(psk);
  if (proven && holdoff === undefined)
    return {
      kind: 'commit',
      with: answer,
      from: node.key,
      to: psk,
      commit: { idC, tid, ts: Number(body.ts), nidI: body.nidI, lifetime: node.lifetime },
    };
  psk.wipe();
  if (proven) return refuse('overloaded', holdoff);
  return wasSwitched(node, wallMs)
    ? { kind: 'refuse', refusal: 'overloaded', switchedAt: node.switchedAt }
    : refuse('proofFailed');
}

/**
 * Returns true if a transaction that began before its controller was switched may still be pending.
 * The failed proof of such a transaction counts against no source.
 */
function wasSwitched({ switchedAt }: ServerNodeRecord, wallMs: number): boolean {
  if (switchedAt === undefined || switchedAt > wallMs + MAX_REISSUE_AHEAD_MS) return false;
  return wallMs - switchedAt <= SWITCH_GRACE_MS;
}

/**
 * M3, M8, M9, M10 or M11 over the request at hand. `random`: 13 octets, fresh, of which its nonce
 * is made.
 */
export function sealAnswer(
  request: LinkRequest,
  opened: OpenedRequest,
  decision: Exclude<ServerDecision, { kind: 'commit' }>,
  random: Uint8Array,
  skCs: Secret,
): Uint8Array {
  const { idI } = opened.body.m1;
  const nonce = (type: number, ...content: readonly (Uint8Array | Secret)[]): Uint8Array =>
    linkNonce(skCs, random, Uint8Array.of(type), request.octets, ...content);
  if (decision.kind === 'refuse') {
    const { reason } = REFUSALS[decision.refusal];
    return sealM9({ reason, idI }, nonce(TYPE.M9, Uint8Array.of(reason)), request.octets, skCs);
  }
  switch (decision.with) {
    case 'M3':
      return sealM3({ key: decision.key, idI }, nonce(TYPE.M3, decision.key), request.octets, skCs);
    case 'M8': {
      const lifetime = new Writer(LIFETIME_LENGTH).u32(decision.lifetime).done();
      return sealM8({ idI, lifetime: decision.lifetime }, nonce(TYPE.M8, lifetime), request.octets, skCs);
    }
    case 'M10': {
      const { c4 } = decision;
      const id = new Writer(ID_LENGTH).u32(idI).done();
      return sealM10({ c4, idI }, nonce(TYPE.M10, c4, id), request.octets, skCs);
    }
    case 'M11': {
      const { c6, lifetime, applicationRoot } = decision;
      const clear = new Writer(ID_LENGTH + LIFETIME_LENGTH).u32(idI).u32(lifetime).done();
      return sealM11({ c6, idI, lifetime, applicationRoot }, nonce(TYPE.M11, c6, clear, applicationRoot), request.octets, skCs);
    }
  }
}

function refuse(refusal: LinkRefusal, holdoff?: Holdoff): ServerDecision {
  return holdoff === undefined ? { kind: 'refuse', refusal } : { kind: 'refuse', refusal, holdoff };
}

/** The rules an auth-server answers by: all that it asks of this module. */
export interface ServerRole {
  readonly openLinkRequest: typeof openLinkRequest;
  readonly decide: typeof decide;
  readonly isWithinTimeWindow: typeof isWithinTimeWindow;
  readonly answerCommitted: typeof answerCommitted;
  readonly sealAnswer: typeof sealAnswer;
}

export const SERVER_ROLE: ServerRole = { openLinkRequest, decide, isWithinTimeWindow, answerCommitted, sealAnswer };
