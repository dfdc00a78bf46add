/**
 * The messages of profile 1, octet by octet: their fields, and how they are sealed and decrypted.
 *
 *   i = node (SBI), c = controller (SBR), s = auth-server (SBS)
 *
 *   i                         c                         s
 *   | M1 ID_i, RN_i           |                         |
 *   |------------------------>| M2 RN_c, TS, M1         |
 *   |                         |------------------------>|
 *   |                         |            M3 K_i, ID_i |
 *   |           M4 RN_i, RN_c |<------------------------|
 *   |<------------------------|                         |
 *   | M5 RN_c                 |                         |
 *   |------------------------>| M7 RN_c, TS, NID, M1, C5|
 *   |                         |------------------------>|   commit
 *   |                         |       M8 ID_i, lifetime |
 *   |             M6 lifetime |<------------------------|
 *   |<------------------------|                         |
 *
 * A pass-through controller gets M10 (C4, ID_i) in place of M3, and M11 (C6, ID_i, lifetime, AR_i)
 * in place of M8.
 *
 * `decodeX` parses the fields in clear, and throws MalformedMessage if length or first octet is
 * wrong. `openX` returns the content, or `undefined` if it does not decrypt. Identifiers are
 * unsigned 32-bit numbers; TID and TS are bigints.
 */

import { type BlockCipher, ccmOpen, ccmSealInPlace, type Parts } from './cipher.js';
import {
  KEY_LENGTH,
  LABEL_M4,
  LABEL_M5_M6,
  LENGTH,
  LIFETIME_LENGTH,
  NID_LENGTH,
  NONCE_LENGTH,
  RN_LENGTH,
  TAG_LENGTH,
  TYPE,
} from './constants.js';
import { MalformedMessage } from './errors.js';
import { Reader, Writer } from './octets.js';
import { Secret } from './secret.js';

/**
 * The octets before the nonce of M2 and M7, and before the sealed part of M4: type 1, ID_c 4, TID
 * 8.
 */
const HEADER_LENGTH = 13;
/** The E of M4, of M5 and of M6. */
const C4_LENGTH: number = 2 * RN_LENGTH + TAG_LENGTH;
const C5_LENGTH: number = RN_LENGTH + TAG_LENGTH;
const C6_LENGTH: number = LIFETIME_LENGTH + TAG_LENGTH;
/** Offsets of the sealed part: of M2 and M7, of their answers, of M4, of M5, of M6. */
const LINK_REQUEST_CIPHERTEXT_OFFSET: number = HEADER_LENGTH + NONCE_LENGTH;
const LINK_ANSWER_CIPHERTEXT_OFFSET: number = 1 + NONCE_LENGTH;
const M4_CIPHERTEXT_OFFSET = HEADER_LENGTH;
const M5_CIPHERTEXT_OFFSET = 9;
const M6_CIPHERTEXT_OFFSET = 1;

type MessageName = keyof typeof TYPE;

/** Checks length and first octet, then returns a reader behind the first octet. */
function reader(name: MessageName, octets: Uint8Array): Reader {
  if (octets.length !== LENGTH[name] || octets[0] !== TYPE[name]) throw new MalformedMessage(name, octets, LENGTH[name]);
  const r = new Reader(octets);
  r.u8();
  return r;
}

function header(type: number, idC: number, tid: bigint): Uint8Array {
  return new Writer(HEADER_LENGTH).u8(type).u32(idC).u64(tid).done();
}

/** The nonce of M4, M5 and M6, never sent: `0x1T, ID_c, TID`. */
function impliedNonce(type: number, idC: number, tid: bigint): Uint8Array {
  return header(type, idC, tid);
}

/**
 * Seals the message in `w`, which is complete except for its tag. The octets from `from` on are
 * encrypted.
 */
function sealMessage(w: Writer, from: number, key: BlockCipher, nonce: Uint8Array, associated: Parts): Uint8Array {
  const octets = w.zeros(TAG_LENGTH).done();
  ccmSealInPlace(key, nonce, associated, octets, from);
  return octets;
}

/** What is sealed in `octets` from octet `from` on. */
function openMessage(
  octets: Uint8Array,
  from: number,
  key: BlockCipher,
  nonce: Uint8Array,
  associated: Parts,
): Uint8Array | undefined {
  return ccmOpen(key, nonce, associated, octets, TAG_LENGTH, from);
}

// -------------------------------------------------------------------------------------------------
// M1  i -> c   0x11 | ID_i 4 | RN_i 16                                                                   21 octets

export interface M1 {
  readonly idI: number;
  readonly rnI: Uint8Array;
}

export function encodeM1(m: M1): Uint8Array {
  return new Writer(LENGTH.M1).u8(TYPE.M1).u32(m.idI).bytes(m.rnI, RN_LENGTH).done();
}

export function decodeM1(octets: Uint8Array): M1 {
  const r = reader('M1', octets);
  return { idI: r.u32(), rnI: r.bytes(RN_LENGTH) };
}

// -------------------------------------------------------------------------------------------------
// M2  c -> s   0x12 | ID_c 4 | TID 8 | nonce 13 | E(RN_c 16 | TS 8 | M1 21)                               79 octets
// M7  c -> s   0x17 | ID_c 4 | TID 8 | nonce 13 | E(RN_c 16 | TS 8 | NID_i 18 | M1 21 | C5 24)           121 octets
//     key SK_cs, nonce random, associated data the 13 octets before the nonce

/** Fields in clear of a request on the link. */
export interface LinkRequest {
  readonly type: 'M2' | 'M7';
  readonly idC: number;
  readonly tid: bigint;
  readonly nonce: Uint8Array;
  /** The whole message: associated data of its answer. */
  readonly octets: Uint8Array;
}

export interface M2 {
  readonly rnC: Uint8Array;
  readonly ts: bigint;
  /** M1 as received, and as octets: associated data of M4 and M5. */
  readonly m1: M1;
  readonly m1Octets: Uint8Array;
}

export interface M7 extends M2 {
  /** NID_i: where the node was when it proved itself, 18 octets. */
  readonly nidI: Uint8Array;
  /** E of M5: the node's own proof. */
  readonly c5: Uint8Array;
}

export interface LinkHeader {
  readonly idC: number;
  readonly tid: bigint;
  readonly nonce: Uint8Array;
}

export function sealM2({ idC, tid, nonce }: LinkHeader, m: Omit<M2, 'm1'>, skCs: Secret): Uint8Array {
  const clear = header(TYPE.M2, idC, tid);
  const w = new Writer(LENGTH.M2).bytes(clear, HEADER_LENGTH).bytes(nonce, NONCE_LENGTH);
  w.bytes(m.rnC, RN_LENGTH).u64(m.ts).bytes(m.m1Octets, LENGTH.M1);
  return sealMessage(w, LINK_REQUEST_CIPHERTEXT_OFFSET, skCs.cipher, nonce, clear);
}

export function sealM7({ idC, tid, nonce }: LinkHeader, m: Omit<M7, 'm1'>, skCs: Secret): Uint8Array {
  const clear = header(TYPE.M7, idC, tid);
  const w = new Writer(LENGTH.M7).bytes(clear, HEADER_LENGTH).bytes(nonce, NONCE_LENGTH);
  w.bytes(m.rnC, RN_LENGTH).u64(m.ts).bytes(m.nidI, NID_LENGTH).bytes(m.m1Octets, LENGTH.M1).bytes(m.c5, C5_LENGTH);
  return sealMessage(w, LINK_REQUEST_CIPHERTEXT_OFFSET, skCs.cipher, nonce, clear);
}

export function decodeLinkRequest(octets: Uint8Array): LinkRequest {
  const type = octets[0] === TYPE.M7 ? 'M7' : 'M2';
  const r = reader(type, octets);
  return { type, idC: r.u32(), tid: r.u64(), nonce: r.bytes(NONCE_LENGTH), octets };
}

/** Opens an M2; one whose M1 is not an M1 does not open. */
export function openM2(request: LinkRequest, skCs: Secret): M2 | undefined {
  if (request.type !== 'M2') return undefined;
  const body = openLinkRequest(request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  const rnC = r.bytes(RN_LENGTH);
  const ts = r.u64();
  const m1Octets = r.bytes(LENGTH.M1);
  return m1Octets[0] === TYPE.M1 ? { rnC, ts, m1: decodeM1(m1Octets), m1Octets } : undefined;
}

/** Opens an M7; one whose M1 is not an M1 does not open. */
export function openM7(request: LinkRequest, skCs: Secret): M7 | undefined {
  if (request.type !== 'M7') return undefined;
  const body = openLinkRequest(request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  const rnC = r.bytes(RN_LENGTH);
  const ts = r.u64();
  const nidI = r.bytes(NID_LENGTH);
  const m1Octets = r.bytes(LENGTH.M1);
  const c5 = r.bytes(C5_LENGTH);
  return m1Octets[0] === TYPE.M1 ? { rnC, ts, nidI, m1: decodeM1(m1Octets), m1Octets, c5 } : undefined;
}

function openLinkRequest(request: LinkRequest, skCs: Secret): Uint8Array | undefined {
  const clear = request.octets.slice(0, HEADER_LENGTH);
  return openMessage(request.octets, LINK_REQUEST_CIPHERTEXT_OFFSET, skCs.cipher, request.nonce, clear);
}

// -------------------------------------------------------------------------------------------------
// M3  s -> c   0x13 | nonce 13 | E(K_i 16 | ID_i 4)                                                       42 octets
// M8  s -> c   0x18 | nonce 13 | E(ID_i 4 | lifetime 4)                                                   30 octets
// M9  s -> c   0x19 | nonce 13 | E(reason 1 | ID_i 4)                                                     27 octets
// M10 s -> c   0x1a | nonce 13 | E(C4 40 | ID_i 4)                                                        66 octets
// M11 s -> c   0x1b | nonce 13 | E(C6 12 | ID_i 4 | lifetime 4 | AR_i 16)                                 58 octets
//     key SK_cs, nonce random, associated data own first octet, then the whole request (M2 or M7)

export interface M3 {
  readonly key: Secret;
  readonly idI: number;
}

export interface M8 {
  readonly idI: number;
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
}

export interface M9 {
  readonly reason: number;
  readonly idI: number;
}

/** In place of M3, towards a pass-through controller. */
export interface M10 {
  /** The E of M4. */
  readonly c4: Uint8Array;
  readonly idI: number;
}

/** In place of M8, towards a pass-through controller. */
export interface M11 extends M8 {
  /** The E of M6. */
  readonly c6: Uint8Array;
  /** AR_i of the key that was committed. */
  readonly applicationRoot: Secret;
}

type LinkAnswerName = 'M3' | 'M8' | 'M9' | 'M10' | 'M11';

export function sealM3(m: M3, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  const w = linkAnswer('M3', nonce).bytes(m.key.expose(), KEY_LENGTH).u32(m.idI);
  return sealLinkAnswer(TYPE.M3, w, nonce, request, skCs);
}

export function sealM8(m: M8, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  return sealLinkAnswer(TYPE.M8, linkAnswer('M8', nonce).u32(m.idI).u32(m.lifetime), nonce, request, skCs);
}

export function sealM9(m: M9, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  return sealLinkAnswer(TYPE.M9, linkAnswer('M9', nonce).u8(m.reason).u32(m.idI), nonce, request, skCs);
}

export function sealM10(m: M10, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  return sealLinkAnswer(TYPE.M10, linkAnswer('M10', nonce).bytes(m.c4, C4_LENGTH).u32(m.idI), nonce, request, skCs);
}

export function sealM11(m: M11, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  const w = linkAnswer('M11', nonce).bytes(m.c6, C6_LENGTH).u32(m.idI).u32(m.lifetime);
  return sealLinkAnswer(TYPE.M11, w.bytes(m.applicationRoot.expose(), KEY_LENGTH), nonce, request, skCs);
}

function linkAnswer(name: LinkAnswerName, nonce: Uint8Array): Writer {
  return new Writer(LENGTH[name]).u8(TYPE[name]).bytes(nonce, NONCE_LENGTH);
}

function sealLinkAnswer(type: number, w: Writer, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  return sealMessage(w, LINK_ANSWER_CIPHERTEXT_OFFSET, skCs.cipher, nonce, [Uint8Array.of(type), request]);
}

export function openM3(octets: Uint8Array, request: Uint8Array, skCs: Secret): M3 | undefined {
  const body = openLinkAnswer('M3', octets, request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  const keyOctets = r.bytes(KEY_LENGTH);
  const m3: M3 = { key: Secret.from(keyOctets), idI: r.u32() };
  keyOctets.fill(0);
  body.fill(0);
  return m3;
}

export function openM8(octets: Uint8Array, request: Uint8Array, skCs: Secret): M8 | undefined {
  const body = openLinkAnswer('M8', octets, request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  return { idI: r.u32(), lifetime: r.u32() };
}

export function openM9(octets: Uint8Array, request: Uint8Array, skCs: Secret): M9 | undefined {
  const body = openLinkAnswer('M9', octets, request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  return { reason: r.u8(), idI: r.u32() };
}

export function openM10(octets: Uint8Array, request: Uint8Array, skCs: Secret): M10 | undefined {
  const body = openLinkAnswer('M10', octets, request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  return { c4: r.bytes(C4_LENGTH), idI: r.u32() };
}

export function openM11(octets: Uint8Array, request: Uint8Array, skCs: Secret): M11 | undefined {
  const body = openLinkAnswer('M11', octets, request, skCs);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  const clear = { c6: r.bytes(C6_LENGTH), idI: r.u32(), lifetime: r.u32() };
  const keyOctets = r.bytes(KEY_LENGTH);
  const m11: M11 = { ...clear, applicationRoot: Secret.from(keyOctets) };
  keyOctets.fill(0);
  body.fill(0);
  return m11;
}

function openLinkAnswer(name: LinkAnswerName, octets: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array | undefined {
  if (octets.length !== LENGTH[name] || octets[0] !== TYPE[name]) return undefined;
  const nonce = reader(name, octets).bytes(NONCE_LENGTH);
  return openMessage(octets, LINK_ANSWER_CIPHERTEXT_OFFSET, skCs.cipher, nonce, [Uint8Array.of(TYPE[name]), request]);
}

// -------------------------------------------------------------------------------------------------
// M4  c -> i   0x14 | ID_c 4 | TID 8 | E(RN_i 16 | RN_c 16)                                               53 octets
//     key EK(K_i, 0x14), nonce 0x14 ID_c TID, associated data M4's first 13 octets, then M1

export interface M4Header {
  readonly idC: number;
  readonly tid: bigint;
  readonly octets: Uint8Array;
}

export interface M4 {
  readonly rnI: Uint8Array;
  readonly rnC: Uint8Array;
}

export function sealM4(h: { readonly idC: number; readonly tid: bigint }, m: M4, key: Secret, m1Octets: Uint8Array): Uint8Array {
  const clear = header(TYPE.M4, h.idC, h.tid);
  const w = new Writer(LENGTH.M4).bytes(clear, HEADER_LENGTH).bytes(m.rnI, RN_LENGTH).bytes(m.rnC, RN_LENGTH);
  return sealMessage(w, M4_CIPHERTEXT_OFFSET, key.ccmCipher(LABEL_M4), clear, [clear, m1Octets]);
}

/** C4, the E of M4: what M10 carries. */
export function c4Of(m4Octets: Uint8Array): Uint8Array {
  return m4Octets.slice(M4_CIPHERTEXT_OFFSET);
}

/** M4 as the node gets it, from what M10 carries. */
export function encodeM4({ idC, tid, c4 }: { readonly idC: number; readonly tid: bigint; readonly c4: Uint8Array }): Uint8Array {
  return new Writer(LENGTH.M4).u8(TYPE.M4).u32(idC).u64(tid).bytes(c4, C4_LENGTH).done();
}

export function decodeM4(octets: Uint8Array): M4Header {
  const r = reader('M4', octets);
  return { idC: r.u32(), tid: r.u64(), octets };
}

export function openM4(m4: M4Header, key: Secret, m1Octets: Uint8Array): M4 | undefined {
  const clear = header(TYPE.M4, m4.idC, m4.tid);
  const body = openMessage(m4.octets, M4_CIPHERTEXT_OFFSET, key.ccmCipher(LABEL_M4), clear, [clear, m1Octets]);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  return { rnI: r.bytes(RN_LENGTH), rnC: r.bytes(RN_LENGTH) };
}

// -------------------------------------------------------------------------------------------------
// M5  i -> c   0x15 | TID 8 | E(RN_c 16)                                                                  33 octets
//     key EK(PSK_i, 0x15), nonce 0x15 ID_c TID, associated data M5's first 9 octets, then M1. Its E is C5, which M7 repeats.

export interface M5 {
  readonly tid: bigint;
  readonly c5: Uint8Array;
}

/** What C5 and M6 are bound to besides the key. */
export interface ProofContext {
  readonly idC: number;
  readonly tid: bigint;
  readonly m1Octets: Uint8Array;
}

function m5Clear(tid: bigint): Uint8Array {
  return new Writer(M5_CIPHERTEXT_OFFSET).u8(TYPE.M5).u64(tid).done();
}

export function sealM5(context: ProofContext, rnC: Uint8Array, psk: Secret): Uint8Array {
  const clear = m5Clear(context.tid);
  const nonce = impliedNonce(TYPE.M5, context.idC, context.tid);
  const w = new Writer(LENGTH.M5).bytes(clear, M5_CIPHERTEXT_OFFSET).bytes(rnC, RN_LENGTH);
  return sealMessage(w, M5_CIPHERTEXT_OFFSET, psk.ccmCipher(LABEL_M5_M6), nonce, [clear, context.m1Octets]);
}

export function decodeM5(octets: Uint8Array): M5 {
  const r = reader('M5', octets);
  return { tid: r.u64(), c5: r.rest() };
}

/** M5 as it was sent, from the TID and C5 that M7 carries. */
export function encodeM5(m5: M5): Uint8Array {
  return new Writer(LENGTH.M5).u8(TYPE.M5).u64(m5.tid).bytes(m5.c5, C5_LENGTH).done();
}

/** The RN_c inside C5, or `undefined`: does not open. The caller compares it, in constant time. */
export function openC5(context: ProofContext, c5: Uint8Array, psk: Secret): Uint8Array | undefined {
  if (c5.length !== C5_LENGTH) return undefined;
  const nonce = impliedNonce(TYPE.M5, context.idC, context.tid);
  return openMessage(c5, 0, psk.ccmCipher(LABEL_M5_M6), nonce, [m5Clear(context.tid), context.m1Octets]);
}

// -------------------------------------------------------------------------------------------------
// M6  c -> i   0x16 | E(lifetime 4)                                                                       13 octets
//     key EK(PSK_i, 0x15), nonce 0x16 ID_c TID, associated data 0x16, then M5

export interface M6 {
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
}

export function sealM6(context: Omit<ProofContext, 'm1Octets'>, m: M6, psk: Secret, m5Octets: Uint8Array): Uint8Array {
  const nonce = impliedNonce(TYPE.M6, context.idC, context.tid);
  const w = new Writer(LENGTH.M6).u8(TYPE.M6).u32(m.lifetime);
  return sealMessage(w, M6_CIPHERTEXT_OFFSET, psk.ccmCipher(LABEL_M5_M6), nonce, [Uint8Array.of(TYPE.M6), m5Octets]);
}

/** C6, the E of M6: what M11 carries. */
export function c6Of(m6Octets: Uint8Array): Uint8Array {
  return m6Octets.slice(M6_CIPHERTEXT_OFFSET);
}

/** M6 as the node gets it, from what M11 carries. */
export function encodeM6(c6: Uint8Array): Uint8Array {
  return new Writer(LENGTH.M6).u8(TYPE.M6).bytes(c6, C6_LENGTH).done();
}

export function openM6(
  context: Omit<ProofContext, 'm1Octets'>,
  octets: Uint8Array,
  psk: Secret,
  m5Octets: Uint8Array,
): M6 | undefined {
  if (octets.length !== LENGTH.M6 || octets[0] !== TYPE.M6) return undefined;
  const nonce = impliedNonce(TYPE.M6, context.idC, context.tid);
  const body = openMessage(octets, M6_CIPHERTEXT_OFFSET, psk.ccmCipher(LABEL_M5_M6), nonce, [Uint8Array.of(TYPE.M6), m5Octets]);
  return body === undefined ? undefined : { lifetime: new Reader(body).u32() };
}
