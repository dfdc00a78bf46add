/**
 * M12 and M13: a controller's request for the keys of its nodes, and the auth-server's answer.
 *
 *   M12  c -> s   0x1c | ID_c 4 | TID 8 | nonce 13 | E(TS 8 | cursor 8)               50 octets
 *   M13  s -> c   0x1d | nonce 13 | E(cursor 8 | more 1 | n x entry 37), n <= 12      31 to 475
 *   entry         ID_i 4 | state 1 | expiry 8 | TID 8 | AR_i 16
 *
 * Key SK_cs. Associated data of M12: the 13 octets before the nonce. Of M13: its first octet, then
 * the whole M12. A refusal is an M9 whose ID_i is 0.
 */

import { ccmOpen, ccmSealInPlace } from './cipher.js';
import { ID_LENGTH, KEY_LENGTH, NONCE_LENGTH, TAG_LENGTH, TID_LENGTH, TS_LENGTH } from './constants.js';
import { MalformedMessage } from './errors.js';
import { linkNonce } from './nonce.js';
import { Reader, Writer } from './octets.js';
import { Secret } from './secret.js';

/** First octets. Not in `TYPE`, which every node-agent has: no node meets these messages. */
export const KEY_FEED_TYPE = { M12: 0x1c, M13: 0x1d } as const;

/** Entries of one M13. */
export const MAX_FEED_ENTRIES = 12;
/** In M12 this cursor asks for all nodes. In M13 it says: start over. */
export const FIRST_CURSOR = 0n;
/** The TID of an entry about a node that is removed or another controller's. */
export const NO_TID_COUNTS = 0xffff_ffff_ffff_ffffn;

const CURSOR_LENGTH = 8;
const HEADER_LENGTH: number = 1 + ID_LENGTH + TID_LENGTH;
const M12_OFFSET: number = HEADER_LENGTH + NONCE_LENGTH;
const M12_LENGTH: number = M12_OFFSET + TS_LENGTH + CURSOR_LENGTH + TAG_LENGTH;
const M13_OFFSET: number = 1 + NONCE_LENGTH;
const ENTRY_LENGTH: number = ID_LENGTH + 1 + 8 + TID_LENGTH + KEY_LENGTH;
const M13_EMPTY_LENGTH: number = M13_OFFSET + CURSOR_LENGTH + 1 + TAG_LENGTH;

/** In the order of their octets. */
const STATES = ['current', 'initial', 'disabled', 'removed', 'moved', 'expired'] as const;

/** How the registry judges a node's key. `moved`: the node is another controller's. */
export type KeyFeedState = (typeof STATES)[number];

/** Fields of an M12 in clear. */
export interface KeyFeedRequest {
  readonly type: 'M12';
  readonly idC: number;
  readonly tid: bigint;
  readonly nonce: Uint8Array;
  /** The whole message: associated data of its answer. */
  readonly octets: Uint8Array;
}

export interface M12 {
  readonly ts: bigint;
  readonly cursor: bigint;
}

export interface KeyFeedEntry {
  readonly idI: number;
  readonly state: KeyFeedState;
  /** ms since the epoch; 0 = none. */
  readonly expiry: number;
  /** Of the node's latest commit through this controller; 0 = none. */
  readonly tid: bigint;
  /** AR_i, in state `current` only. Whoever takes the entry wipes it. */
  readonly applicationRoot: Secret | undefined;
}

export interface M13 {
  readonly cursor: bigint;
  /** True if the controller must poll again with the new cursor. */
  readonly more: boolean;
  readonly entries: readonly KeyFeedEntry[];
}

export function sealM12(
  { idC, tid, nonce }: Pick<KeyFeedRequest, 'idC' | 'tid' | 'nonce'>,
  { ts, cursor }: M12,
  skCs: Secret,
): Uint8Array {
  const clear = headerOf(idC, tid);
  const w = new Writer(M12_LENGTH).bytes(clear, HEADER_LENGTH).bytes(nonce, NONCE_LENGTH).u64(ts).u64(cursor);
  const octets = w.zeros(TAG_LENGTH).done();
  ccmSealInPlace(skCs.cipher, nonce, clear, octets, M12_OFFSET);
  return octets;
}

/** The nonce of an M12. `random`: 13 octets, fresh. */
export function nonceOfM12(idC: number, tid: bigint, { ts, cursor }: M12, random: Uint8Array, skCs: Secret): Uint8Array {
  return linkNonce(skCs, random, headerOf(idC, tid), new Writer(TS_LENGTH + CURSOR_LENGTH).u64(ts).u64(cursor).done());
}

export function decodeM12(octets: Uint8Array): KeyFeedRequest {
  if (octets.length !== M12_LENGTH || octets[0] !== KEY_FEED_TYPE.M12) throw new MalformedMessage('M12', octets, M12_LENGTH);
  const r = new Reader(octets);
  r.u8();
  return { type: 'M12', idC: r.u32(), tid: r.u64(), nonce: r.bytes(NONCE_LENGTH), octets };
}

/** `undefined`: does not open. */
export function openM12({ octets, nonce }: KeyFeedRequest, skCs: Secret): M12 | undefined {
  const body = ccmOpen(skCs.cipher, nonce, octets.slice(0, HEADER_LENGTH), octets, TAG_LENGTH, M12_OFFSET);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  return { ts: r.u64(), cursor: r.u64() };
}

/** `random`: 13 octets, fresh, of which the nonce is made together with all that is sealed. */
export function sealM13(m: M13, random: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  const content = encodeContent(m);
  const nonce = linkNonce(skCs, random, Uint8Array.of(KEY_FEED_TYPE.M13), request, content);
  content.fill(0);
  return sealM13WithNonce(m, nonce, request, skCs);
}

/** For tests of the wire format; daemons generate nonces with `sealM13`. */
export function sealM13WithNonce(m: M13, nonce: Uint8Array, request: Uint8Array, skCs: Secret): Uint8Array {
  const content = encodeContent(m);
  const w = new Writer(M13_EMPTY_LENGTH + m.entries.length * ENTRY_LENGTH).u8(KEY_FEED_TYPE.M13).bytes(nonce, NONCE_LENGTH);
  const octets = w.bytes(content, content.length).zeros(TAG_LENGTH).done();
  content.fill(0);
  ccmSealInPlace(skCs.cipher, nonce, [Uint8Array.of(KEY_FEED_TYPE.M13), request], octets, M13_OFFSET);
  return octets;
}

/** Returns `undefined` if it does not decrypt, or has content that the profile does not define. */
export function openM13(octets: Uint8Array, request: Uint8Array, skCs: Secret): M13 | undefined {
  const entriesLength = octets.length - M13_EMPTY_LENGTH;
  const count = entriesLength / ENTRY_LENGTH;
  if (octets[0] !== KEY_FEED_TYPE.M13 || !Number.isInteger(count) || count < 0 || count > MAX_FEED_ENTRIES) return undefined;
  const nonce = octets.slice(1, M13_OFFSET);
  const associated = [Uint8Array.of(KEY_FEED_TYPE.M13), request];
  const body = ccmOpen(skCs.cipher, nonce, associated, octets, TAG_LENGTH, M13_OFFSET);
  if (body === undefined) return undefined;
  const r = new Reader(body);
  const cursor = r.u64();
  const more = r.u8();
  const entries: (KeyFeedEntry | undefined)[] = [];
  for (let i = 0; i < count; i++) entries.push(readEntry(r));
  body.fill(0);
  if (more <= 1 && entries.every((entry) => entry !== undefined)) return { cursor, more: more === 1, entries };
  for (const entry of entries) entry?.applicationRoot?.wipe();
  return undefined;
}

function headerOf(idC: number, tid: bigint): Uint8Array {
  return new Writer(HEADER_LENGTH).u8(KEY_FEED_TYPE.M12).u32(idC).u64(tid).done();
}

/** What M13 seals. */
function encodeContent({ cursor, more, entries }: M13): Uint8Array {
  if (entries.length > MAX_FEED_ENTRIES) throw new RangeError(`an M13 has at most ${MAX_FEED_ENTRIES} entries`);
  const w = new Writer(CURSOR_LENGTH + 1 + entries.length * ENTRY_LENGTH).u64(cursor).u8(more ? 1 : 0);
  for (const { idI, state, expiry, tid, applicationRoot } of entries) {
    w.u32(idI).u8(STATES.indexOf(state)).u64(BigInt(expiry)).u64(tid);
    if (applicationRoot === undefined) w.zeros(KEY_LENGTH);
    else w.bytes(applicationRoot.expose(), KEY_LENGTH);
  }
  return w.done();
}

function readEntry(r: Reader): KeyFeedEntry | undefined {
  const idI = r.u32();
  const state = STATES[r.u8()];
  const expiry = Number(r.u64());
  const tid = r.u64();
  const octets = r.bytes(KEY_LENGTH);
  const applicationRoot = state === 'current' ? Secret.from(octets) : undefined;
  octets.fill(0);
  return state === undefined ? undefined : { idI, state, expiry, tid, applicationRoot };
}
