/**
 * A second implementation of wire profile 1: node (SBI), controller (SBR) and auth-server (SBS)
 * over raw UDP and node:crypto, with a CoAP codec of its own. Written from the text of
 * design/protocol.md alone, it shares no code with the packages it tests: where the two agree, it
 * is the profile they agree on.
 *
 * A peer is honest unless a hook makes it otherwise. It keeps everything in memory and leaves out
 * files, locks, back-off and the bounds on state. Hosts are numeric addresses.
 */
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { m13, openM12 } from './reference-feed.js';

// Octets and cryptography

const NOTHING: Buffer = Buffer.alloc(0);
const cat = (...parts: Buffer[]): Buffer => Buffer.concat(parts);
const u8 = (n: number): Buffer => Buffer.of(n);
const u32 = (n: number): Buffer => Buffer.of(n >>> 24, n >>> 16, n >>> 8, n);
const u64 = (n: bigint): Buffer => Buffer.from(n.toString(16).padStart(16, '0'), 'hex');
const same = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);

/** AES-128, forward, of one block. */
const aes = (key: Buffer, block: Buffer): Buffer => createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block);

/** E of the profile, AES-CCM-16-64-128: ciphertext || tag. */
function ccmSeal(key: Buffer, nonce: Buffer, aad: Buffer, plain: Buffer): Buffer {
  const cipher = createCipheriv('aes-128-ccm', key, nonce, { authTagLength: 8 });
  cipher.setAAD(aad, { plaintextLength: plain.length });
  return cat(cipher.update(plain), cipher.final(), cipher.getAuthTag());
}

/** D of the profile: the plaintext, or undefined for whatever does not open. */
function ccmOpen(key: Buffer, nonce: Buffer, aad: Buffer, sealed: Buffer) {
  if (sealed.length < 8) return undefined;
  const decipher = createDecipheriv('aes-128-ccm', key, nonce, { authTagLength: 8 });
  decipher.setAuthTag(sealed.subarray(-8));
  decipher.setAAD(aad, { plaintextLength: sealed.length - 8 });
  try {
    return cat(decipher.update(sealed.subarray(0, -8)), decipher.final());
  } catch {
    return undefined;
  }
}

/** PSK_i = AES-128(K_i, RN_i XOR RN_c). */
export const psk = (k: Buffer, rnI: Buffer, rnC: Buffer): Buffer =>
  aes(k, Buffer.from(rnI.map((octet, i) => octet ^ (rnC[i] ?? 0))));

/** EK(K, T): the CCM key that stands in for a node key. */
const ek = (k: Buffer, label: number): Buffer => aes(k, cat(u8(label), Buffer.alloc(15)));

// Messages. `mN` seals, `openN` opens, giving undefined for a wrong length, first octet or tag.
// What the fields must equal is for the caller to compare. A nonce that is sent is random unless
// given.

export type Transaction = { idC: number; tid: bigint; m1: Buffer; rnC: Buffer };
type FieldsM2 = Transaction & { ts: bigint };
/** `c5` is the E of M5. */
type FieldsM7 = FieldsM2 & { nid: Buffer; c5: Buffer };

/** Length of message T. */
const SIZE = [0, 21, 79, 42, 53, 33, 13, 121, 30, 27, 66, 58];
const is = (type: number, octets: Buffer): boolean => octets[0] === (0x10 | type) && octets.length === SIZE[type];
const id = (octets: Buffer, at: number): number => octets.readUInt32BE(at);
/** First octet, ID_c, TID: the head of M2, M4 and M7 and the nonce of M4 to M6. */
const mark = (first: number, { idC, tid }: { idC: number; tid: bigint }): Buffer => cat(u8(first), u32(idC), u64(tid));
const unmark = (head: Buffer) => ({ idC: id(head, 1), tid: head.readBigUInt64BE(5) });

/** M2 and M7, and their answers, which cover all of what was asked. */
function link(key: Buffer, head: Buffer, asked: Buffer, plain: Buffer, sent?: Buffer) {
  const nonce = sent ?? randomBytes(13);
  return cat(head, nonce, ccmSeal(key, nonce, cat(head, asked), plain));
}
function unlink(key: Buffer, type: number, octets: Buffer, asked = NOTHING) {
  if (!is(type, octets)) return undefined;
  const at = asked.length > 0 ? 1 : 13;
  const aad = cat(octets.subarray(0, at), asked);
  return ccmOpen(key, octets.subarray(at, at + 13), aad, octets.subarray(at + 13));
}

export const m1 = (idI: number, rnI: Buffer): Buffer => cat(u8(0x11), u32(idI), rnI);
export const openM1 = (octets: Buffer) => (is(1, octets) ? { idI: id(octets, 1), rnI: octets.subarray(5) } : undefined);

export const m2 = (skCs: Buffer, f: FieldsM2, nonce?: Buffer): Buffer =>
  link(skCs, mark(0x12, f), NOTHING, cat(f.rnC, u64(f.ts), f.m1), nonce);
export function openM2(skCs: Buffer, octets: Buffer): FieldsM2 | undefined {
  const p = unlink(skCs, 2, octets);
  if (!p) return undefined;
  const [rnC, ts, m1] = [p.subarray(0, 16), p.readBigUInt64BE(16), p.subarray(24)];
  return { ...unmark(octets), rnC, ts, m1 };
}

export const m3 = (skCs: Buffer, m2: Buffer, f: { k: Buffer; idI: number }, nonce?: Buffer) =>
  link(skCs, u8(0x13), m2, cat(f.k, u32(f.idI)), nonce);
export function openM3(skCs: Buffer, m2: Buffer, octets: Buffer) {
  const p = unlink(skCs, 3, octets, m2);
  return p && { k: p.subarray(0, 16), idI: id(p, 16) };
}

/** `k` is K_i; the RN_i sealed is that of M1 unless given. */
export function m4(k: Buffer, f: Transaction, rnI = f.m1.subarray(5)): Buffer {
  const head = mark(0x14, f);
  return cat(head, ccmSeal(ek(k, 0x14), head, cat(head, f.m1), cat(rnI, f.rnC)));
}
export function openM4(k: Buffer, m1: Buffer, octets: Buffer) {
  if (!is(4, octets)) return undefined;
  const head = octets.subarray(0, 13);
  const p = ccmOpen(ek(k, 0x14), head, cat(head, m1), octets.subarray(13));
  return p && { ...unmark(head), rnI: p.subarray(0, 16), rnC: p.subarray(16) };
}

/** `key` is the PSK_i. */
export function m5(key: Buffer, f: Transaction): Buffer {
  const head = cat(u8(0x15), u64(f.tid));
  return cat(head, ccmSeal(ek(key, 0x15), mark(0x15, f), cat(head, f.m1), f.rnC));
}
/** The RN_c in M5. */
export function openM5(key: Buffer, { idC, m1 }: { idC: number; m1: Buffer }, octets: Buffer) {
  if (!is(5, octets)) return undefined;
  const nonce = mark(0x15, { idC, tid: octets.readBigUInt64BE(1) });
  return ccmOpen(ek(key, 0x15), nonce, cat(octets.subarray(0, 9), m1), octets.subarray(9));
}

const nonceM6 = (idC: number, m5: Buffer): Buffer => mark(0x16, { idC, tid: m5.readBigUInt64BE(1) });
export const m6 = (key: Buffer, f: { idC: number; m5: Buffer; lifetime: number }): Buffer =>
  cat(u8(0x16), ccmSeal(ek(key, 0x15), nonceM6(f.idC, f.m5), cat(u8(0x16), f.m5), u32(f.lifetime)));
/** The lifetime in M6. */
export function openM6(key: Buffer, { idC, m5 }: { idC: number; m5: Buffer }, octets: Buffer) {
  if (!is(6, octets)) return undefined;
  const aad = cat(u8(0x16), m5);
  return ccmOpen(ek(key, 0x15), nonceM6(idC, m5), aad, octets.subarray(1))?.readUInt32BE();
}

export const m7 = (skCs: Buffer, f: FieldsM7, nonce?: Buffer): Buffer =>
  link(skCs, mark(0x17, f), NOTHING, cat(f.rnC, u64(f.ts), f.nid, f.m1, f.c5), nonce);
export function openM7(skCs: Buffer, octets: Buffer): FieldsM7 | undefined {
  const p = unlink(skCs, 7, octets);
  if (!p) return undefined;
  const [rnC, ts, nid] = [p.subarray(0, 16), p.readBigUInt64BE(16), p.subarray(24, 42)];
  return { ...unmark(octets), rnC, ts, nid, m1: p.subarray(42, 63), c5: p.subarray(63) };
}

type Granted = { idI: number; lifetime: number };
export const m8 = (skCs: Buffer, m7: Buffer, f: Granted, nonce?: Buffer): Buffer =>
  link(skCs, u8(0x18), m7, cat(u32(f.idI), u32(f.lifetime)), nonce);
export function openM8(skCs: Buffer, m7: Buffer, octets: Buffer): Granted | undefined {
  const p = unlink(skCs, 8, octets, m7);
  return p && { idI: id(p, 0), lifetime: id(p, 4) };
}

type Refusal = { reason: number; idI: number };
export const m9 = (skCs: Buffer, asked: Buffer, f: Refusal, nonce?: Buffer): Buffer =>
  link(skCs, u8(0x19), asked, cat(u8(f.reason), u32(f.idI)), nonce);
export function openM9(skCs: Buffer, asked: Buffer, octets: Buffer): Refusal | undefined {
  const p = unlink(skCs, 9, octets, asked);
  return p && { reason: p.readUInt8(), idI: id(p, 1) };
}

/** AES-CMAC (RFC 4493). */
function cmac(key: Buffer, message: Buffer): Buffer {
  const double = (block: Buffer): Buffer => {
    const n = BigInt(`0x${block.toString('hex')}`);
    const doubled = BigInt.asUintN(128, (n << 1n) ^ (n >> 127n ? 0x87n : 0n));
    return Buffer.from(doubled.toString(16).padStart(32, '0'), 'hex');
  };
  const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((octet, i) => octet ^ b[i]!));
  const k1 = double(aes(key, Buffer.alloc(16)));
  const last = Math.max(0, Math.ceil(message.length / 16) - 1) * 16;
  const whole = message.length > 0 && message.length % 16 === 0;
  const end = Buffer.alloc(16);
  cat(message.subarray(last), whole ? NOTHING : u8(0x80)).copy(end);
  let mac: Buffer = Buffer.alloc(16);
  for (let at = 0; at < last; at += 16) mac = aes(key, xor(mac, message.subarray(at, at + 16)));
  return aes(key, xor(mac, xor(end, whole ? k1 : double(k1))));
}

/** What the node sees in place of the RN_c of a pass-through controller. */
export const passThroughRnC = (tk: Buffer, { idC, tid, ts, rnC, m1 }: FieldsM2): Buffer =>
  cmac(tk, cat(u32(idC), u64(tid), u64(ts), rnC, m1));

/** AR_i: SP 800-108r1 in counter mode. */
export const applicationRoot = (psk: Buffer, idI: number): Buffer =>
  cmac(psk, cat(u32(1), Buffer.from('latchkey application root'), u8(0), u32(idI), u32(128)));

type Relayed = { c4: Buffer; idI: number };
export const m10 = (skCs: Buffer, m2: Buffer, f: Relayed, nonce?: Buffer): Buffer =>
  link(skCs, u8(0x1a), m2, cat(f.c4, u32(f.idI)), nonce);
export function openM10(skCs: Buffer, m2: Buffer, octets: Buffer): Relayed | undefined {
  const p = unlink(skCs, 10, octets, m2);
  return p && { c4: p.subarray(0, 40), idI: id(p, 40) };
}

type Through = Granted & { c6: Buffer; root: Buffer };
export const m11 = (skCs: Buffer, m7: Buffer, f: Through, nonce?: Buffer): Buffer =>
  link(skCs, u8(0x1b), m7, cat(f.c6, u32(f.idI), u32(f.lifetime), f.root), nonce);
export function openM11(skCs: Buffer, m7: Buffer, octets: Buffer): Through | undefined {
  const p = unlink(skCs, 11, octets, m7);
  return p && { c6: p.subarray(0, 12), idI: id(p, 12), lifetime: id(p, 16), root: p.subarray(20) };
}

/** CoAP code by reason in M9; 5.04 for no answer at all. */
const CODES = ['5.04', '4.03', '4.03', '4.03', '4.03', '4.03', '5.03', '4.01', '5.03', '5.03'];

// CoAP (RFC 7252)

type CoapType = 'CON' | 'NON' | 'ACK' | 'RST';
export type Option = [number, Buffer];
export interface Message {
  type: CoapType;
  /** As the RFC writes it: "0.02" is POST, "2.04" is Changed. */
  code: string;
  messageId: number;
  token: Buffer;
  options: Option[];
  payload: Buffer;
}
const TYPES: readonly CoapType[] = ['CON', 'NON', 'ACK', 'RST'];
const [URI_PATH, CONTENT_FORMAT, MAX_AGE, ECHO] = [11, 12, 14, 252] as const;

function encode({ type, code, messageId, token, options, payload }: Message): Buffer {
  const [kind = 0, detail = 0] = code.split('.').map(Number);
  const first = 0x40 | (TYPES.indexOf(type) << 4) | token.length;
  const parts = [Buffer.of(first, (kind << 5) | detail, messageId >> 8, messageId), token];
  const nibble = (n: number): [number, Buffer] =>
    n < 13 ? [n, NOTHING] : n < 269 ? [13, u8(n - 13)] : [14, u32(n - 269).subarray(2)];
  let last = 0;
  for (const [number, value] of options.toSorted(([a], [b]) => a - b)) {
    const [delta, deltaMore] = nibble(number - last);
    const [length, lengthMore] = nibble(value.length);
    parts.push(u8((delta << 4) | length), deltaMore, lengthMore, value);
    last = number;
  }
  return cat(...parts, ...(payload.length > 0 ? [u8(0xff), payload] : []));
}

/** The message, or undefined for a datagram that is not well-formed CoAP. */
function decode(datagram: Buffer): Message | undefined {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > datagram.length) throw new RangeError('past the end');
    return datagram.subarray(at, (at += length));
  };
  const extended = (n: number): number => {
    if (n === 15) throw new RangeError('reserved');
    return n < 13 ? n : n === 13 ? take(1).readUInt8() + 13 : take(2).readUInt16BE() + 269;
  };
  try {
    const [first, code] = [take(1).readUInt8(), take(1).readUInt8()];
    const messageId = take(2).readUInt16BE();
    const tokenLength = first & 15;
    if (first >> 6 !== 1 || tokenLength > 8) return undefined;
    if (code === 0 && datagram.length > 4) return undefined;
    const token = take(tokenLength);
    const options: Option[] = [];
    let number = 0;
    while (at < datagram.length && datagram[at] !== 0xff) {
      const octet = take(1).readUInt8();
      number += extended(octet >> 4);
      options.push([number, take(extended(octet & 15))]);
    }
    if (at === datagram.length - 1) return undefined; // a marker, and no payload
    const payload = datagram.subarray(at + 1);
    const dotted = `${code >> 5}.${String(code & 31).padStart(2, '0')}`;
    const type = TYPES[(first >> 4) & 3] ?? 'CON';
    return { type, code: dotted, messageId, token, options, payload };
  } catch {
    return undefined;
  }
}

const empty = (type: CoapType, messageId: number): Buffer =>
  encode({ type, code: '0.00', messageId, token: NOTHING, options: [], payload: NOTHING });

/** The value of the first option of that number. */
export const option = ({ options }: { options: Option[] }, number: number): Buffer | undefined =>
  options.find(([n]) => n === number)?.[1];

// UDP

export type Endpoint = { host: string; port: number };
export type Datagram = { octets: Buffer; from: Endpoint };
export type Response = Message & Datagram;
export interface Request extends Partial<Message> {
  path?: string[];
  timeoutMs?: number;
  /** A response it refuses counts as never received. */
  accept?: (response: Message) => boolean;
}
type Predicate = (datagram: Datagram) => boolean;
type Waiter = { predicate: Predicate; settle: (datagram?: Datagram) => void };

/** Milliseconds of a clock that is never set. */
const powered = (): number => process.uptime() * 1000;

/** A bound UDP socket. It keeps the last 1000 datagrams nobody waited for, for the next `next`. */
export class RawSocket {
  /** Takes the CoAP requests that arrive; without it they come out of `next` like all else. */
  onRequest?: (request: Message, from: Endpoint) => void;
  readonly host: string;
  readonly port: number;
  readonly #socket: Socket;
  readonly #inbox: Datagram[] = [];
  readonly #waiters = new Set<Waiter>();
  #messageId = randomBytes(2).readUInt16BE();
  #closed = false;

  static async open(host = '127.0.0.1', port = 0): Promise<RawSocket> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.bind(port, host);
    await once(socket, 'listening');
    return new RawSocket(socket);
  }

  private constructor(socket: Socket) {
    ({ address: this.host, port: this.port } = socket.address());
    this.#socket = socket.on('message', (octets, { address: host, port }) => {
      this.#receive({ octets, from: { host, port } });
    });
  }

  #receive(datagram: Datagram): void {
    const message = this.onRequest && decode(datagram.octets);
    if (message && message.code < '1' && message.code !== '0.00') {
      return this.onRequest?.(message, datagram.from);
    }
    for (const { predicate, settle } of this.#waiters) {
      if (predicate(datagram)) return settle(datagram);
    }
    if (this.#inbox.push(datagram) > 1000) this.#inbox.shift();
  }

  async send(datagram: Buffer, port: number, host = '127.0.0.1'): Promise<void> {
    if (this.#closed) return;
    await new Promise<void>((done) => this.#socket.send(datagram, port, host, () => done()));
  }

  /** The first datagram, kept or to come, that the predicate takes; undefined when time is up. */
  next(timeoutMs: number, predicate: Predicate = () => true): Promise<Datagram | undefined> {
    const kept = this.#inbox.findIndex(predicate);
    if (kept >= 0) return Promise.resolve(this.#inbox.splice(kept, 1)[0]);
    if (this.#closed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const settle = (datagram?: Datagram): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve(datagram);
      };
      const waiter = { predicate, settle };
      const timer = setTimeout(settle, timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  /** Sends, repeats a CON every second until acknowledged; gives the response or RST, if any. */
  async request({ host, port }: Endpoint, request: Request = {}): Promise<Response | undefined> {
    const { path = ['k'], timeoutMs = 15_000, accept = () => true, ...given } = request;
    const options: Option[] = path.map((part) => [URI_PATH, Buffer.from(part)]);
    const message: Message = {
      type: 'CON',
      code: '0.02',
      ...this.fresh(),
      payload: NOTHING,
      ...given,
      options: [...options, ...(given.options ?? [])],
    };
    const ours: Predicate = ({ octets, from }) => {
      const got = decode(octets);
      if (!got || from.port !== port || from.host !== host) return false;
      const reacts = got.type === 'ACK' || got.type === 'RST';
      if (reacts && got.messageId !== message.messageId) return false;
      return got.code === '0.00' ? reacts : got.code >= '2' && got.token.equals(message.token);
    };
    while (this.#inbox.some(ours)) await this.next(0, ours); // left over from a like request
    const deadline = powered() + timeoutMs;
    let repeatAt = 0;
    for (let now = powered(); now < deadline && !this.#closed; now = powered()) {
      if (now >= repeatAt) {
        await this.send(encode(message), port, host);
        repeatAt = message.type === 'CON' ? now + 1000 : Infinity;
      }
      const received = await this.next(Math.min(repeatAt, deadline) - now, ours);
      const response = received && decode(received.octets);
      if (!received || !response) continue;
      const { type, code, messageId } = response;
      if (type === 'CON') await this.send(empty('ACK', messageId), port, host);
      if (type === 'ACK' && code === '0.00') repeatAt = Infinity;
      else if (type === 'RST' || accept(response)) return { ...response, ...received };
    }
    return undefined;
  }

  /** A message ID not used lately, and a random token. */
  fresh(): { messageId: number; token: Buffer } {
    this.#messageId = (this.#messageId + 1) & 0xffff;
    return { messageId: this.#messageId, token: randomBytes(8) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { settle } of this.#waiters) settle();
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }
}

/** An answer to send: 2.04 and piggybacked (NON to a NON) unless it says otherwise. */
export type Reply = Partial<Pick<Message, 'type' | 'code' | 'options' | 'payload'>>;
/**
 * What a hook puts for the right payload: nothing else, one answer, or several in order, or none.
 */
export type Replies = void | Buffer | Reply | (Buffer | Reply)[];
const replies = (right: Buffer, hooked: Replies): Reply[] =>
  [hooked ?? right].flat().map((reply) => (Buffer.isBuffer(reply) ? { payload: reply } : reply));

type Handler = (request: Message, from: Endpoint) => Reply[] | Promise<Reply[]>;

/** A CoAP server of POST /k. A repeat is handled anew, since the profile's own answers repeat. */
async function listen(host: string, port: number, handle: Handler): Promise<RawSocket> {
  const socket = await RawSocket.open(host, port);
  const busy = new Set<string>();
  const route: Handler = (request, from) => {
    const path = request.options.filter(([number]) => number === URI_PATH);
    if (path.map(([, value]) => value).join('/') !== 'k') return [{ code: '4.04' }];
    if (request.code !== '0.02') return [{ code: '4.05' }];
    if (option(request, CONTENT_FORMAT)?.equals(u8(42)) === false) return [{ code: '4.15' }];
    return handle(request, from);
  };
  const answer = async (request: Message, from: Endpoint): Promise<void> => {
    const { token, type: asked } = request;
    let unacknowledged = asked === 'CON';
    for (const reply of await route(request, from)) {
      const { code = '2.04', payload = NOTHING, options = [] } = reply;
      const { type = asked === 'CON' ? 'ACK' : 'NON' } = reply;
      const { messageId } = type === 'ACK' ? request : socket.fresh();
      if (unacknowledged && type !== 'ACK') {
        await socket.send(empty('ACK', request.messageId), from.port, from.host);
      }
      unacknowledged = false;
      const octets = encode({ type, code, messageId, token, options, payload });
      await socket.send(octets, from.port, from.host);
    }
  };
  socket.onRequest = (request, from) => {
    const exchange = `${from.host} ${from.port} ${request.messageId}`;
    if (busy.has(exchange)) return; // its answer is under way
    busy.add(exchange);
    void answer(request, from).finally(() => busy.delete(exchange));
  };
  return socket;
}

// Node (SBI)

/**
 * One attempt. The M4 that opens fills in all up to `m5` (absent if rule 4 ended it), M6 the rest.
 */
export type Attempt = { m1: Buffer; rnI: Buffer; drawnAt: number } & Partial<Joined>;
type Proof = { m4: Buffer; m5: Buffer; m6: Buffer; psk: Buffer; lifetime: number };
export type Joined = Transaction & Proof & { rnI: Buffer };
/** Candidates are oldest first. */
export type NodeKeys = { confirmed: Buffer; candidates: { key: Buffer; storedAt: number }[] };

export class PeerNode {
  readonly id: number;
  readonly controllers: number[];
  /** Replaced as a whole, as the node's file is: put an old one back to play a crash. */
  keys: NodeKeys;
  /** The attempt in progress. */
  attempt: Attempt;
  /** Powered time in ms. */
  clock: () => number = powered;
  readonly #socket: RawSocket;

  constructor(socket: RawSocket, order: { id: number; key: Buffer; controllers: number[] }) {
    this.#socket = socket;
    this.id = order.id;
    this.controllers = order.controllers;
    this.keys = { confirmed: order.key, candidates: [] };
    this.attempt = this.start();
  }

  /** Rule 1: a new attempt takes the place of the one in progress. */
  start(): Attempt {
    const rnI = randomBytes(16);
    return (this.attempt = { m1: m1(this.id, rnI), rnI, drawnAt: this.clock() });
  }

  /** One whole attempt; rejects unless it ends in "joined". */
  async join(controller: Endpoint, request: Request = {}): Promise<Joined> {
    const attempt = this.start();
    const first = await this.sendM1(controller, request);
    if (!attempt.m4) throw new Error(`no M4 that opens: ${first?.code ?? 'no answer'}`);
    if (!attempt.m5) throw new Error('four candidates open, the oldest too young');
    const second = await this.sendM5(controller, request);
    if (!attempt.m6) throw new Error(`no M6 that opens: ${second?.code ?? 'no answer'}`);
    return attempt as Joined;
  }

  /** Sends M1, or the payload given, and takes the first M4 that opens; after that, any answer. */
  sendM1(controller: Endpoint, request: Request = {}): Promise<Response | undefined> {
    const { attempt } = this;
    const opens = (m4: Buffer): boolean => attempt.m4 !== undefined || this.#takeM4(attempt, m4);
    return this.#exchange(controller, { payload: attempt.m1, ...request }, opens);
  }

  /** Sends M5, or the payload given, and takes an M6 that opens. */
  async sendM5(controller: Endpoint, request: Request = {}): Promise<Response | undefined> {
    const { attempt } = this;
    if (!attempt.m5) throw new Error('no M5 in this attempt');
    const opens = (m6: Buffer): boolean => this.#takeM6(attempt, m6);
    return this.#exchange(controller, { payload: attempt.m5, ...request }, opens);
  }

  /** Ends with what opens, an error, or the 17th that does not; repeats once for an Echo. */
  async #exchange(to: Endpoint, request: Request, opens: (payload: Buffer) => boolean) {
    let ignored = 0;
    const accept = ({ code, payload }: Message): boolean => code >= '4' || (code === '2.04' && opens(payload)) || ++ignored > 16;
    const response = await this.#socket.request(to, { accept, ...request });
    const echo = response?.code === '4.01' ? option(response, ECHO) : undefined;
    if (!echo) return response;
    const options: Option[] = [...(request.options ?? []), [ECHO, echo]];
    return this.#socket.request(to, { accept, ...request, ...this.#socket.fresh(), options });
  }

  /** Rules 2 to 4. */
  #takeM4(attempt: Attempt, m4: Buffer): boolean {
    if (attempt !== this.attempt) return false;
    const { confirmed, candidates } = this.keys;
    for (const k of [confirmed, ...candidates.map(({ key }) => key).toReversed()]) {
      const opened = openM4(k, attempt.m1, m4);
      if (!opened || !same(opened.rnI, attempt.rnI)) continue;
      const { idC, tid, rnC } = opened;
      if (!this.controllers.includes(idC)) return false;
      const key = psk(k, attempt.rnI, rnC);
      Object.assign(attempt, { m4, idC, tid, rnC, psk: key });
      const [oldest, ...younger] = candidates;
      const full = oldest !== undefined && candidates.length >= 4;
      if (k === confirmed && full && attempt.drawnAt - oldest.storedAt < 300_000) return true;
      const kept = k !== confirmed ? [] : full ? younger : candidates;
      this.keys = { confirmed: k, candidates: [...kept, { key, storedAt: this.clock() }] };
      attempt.m5 = m5(key, { idC, tid, m1: attempt.m1, rnC });
      return true;
    }
    return false;
  }

  /** Rule 5. */
  #takeM6(attempt: Attempt, m6: Buffer): boolean {
    const { psk: key, idC, m5 } = attempt;
    if (attempt !== this.attempt || !key || idC === undefined || !m5) return false;
    const lifetime = openM6(key, { idC, m5 }, m6);
    if (lifetime === undefined) return false;
    this.keys = { confirmed: key, candidates: [] };
    Object.assign(attempt, { m6, lifetime });
    return true;
  }
}

// Controller (SBR)

/** A transaction as it grows: M2 sealed, M3 opened, M5 opened and M7 sealed, M8 opened. */
export type Asked = FieldsM2 & { idI: number; rnI: Buffer; m2: Buffer };
/** Of a pass-through controller, `m3` is M10, and there is neither K_i nor PSK. */
export type Answered = Asked & { m3: Buffer; k?: Buffer; psk?: Buffer; m4: Buffer };
export type Proved = Answered & { m5: Buffer; nid: Buffer; m7: Buffer };
export type Committed = Proved & { m8: Buffer; lifetime: number; m6: Buffer; root?: Buffer };
export type Choices = { ts?: bigint; rnC?: Buffer; tid?: bigint; nonce?: Buffer };

/** The auth-server refused, or gave no answer that opens (no reason). */
class Refused extends Error {
  readonly reason: number | undefined;
  readonly reply: Reply;

  constructor(reason?: number, maxAge?: Buffer) {
    super(reason === undefined ? 'no answer that opens' : `refused for reason ${reason}`);
    this.reason = reason;
    const options: Option[] = maxAge ? [[MAX_AGE, maxAge]] : [];
    this.reply = { code: CODES[reason ?? 0] ?? '5.03', options };
  }
}

export interface ControllerHooks {
  /** True loses this message, just arrived. (To lose an answer, let its hook give [].) */
  drop?: (octets: Buffer) => boolean;
  mutateM4?: (m4: Buffer, transaction: Answered) => Replies;
  /** After the commit, before M6 is sent. */
  beforeM6?: (transaction: Committed) => void | Promise<void>;
  mutateM6?: (m6: Buffer, transaction: Committed) => Replies;
  /** The Echo value asked for before an M1 that is not known takes state. */
  echo?: Buffer;
}

interface Open {
  asked: Asked;
  bornAt: number;
  querying?: Promise<Answered> | undefined;
  answered?: Answered;
  proved?: Proved;
  committing?: Promise<Committed> | undefined;
}
type Opener<T> = (skCs: Buffer, asked: Buffer, octets: Buffer) => T | undefined;

let lastTid = 0n;

export class PeerController {
  readonly id: number;
  readonly skCs: Buffer;
  /** The auth-server asked; a test may turn to another. */
  server: Endpoint;
  /** How long an M2 or M7 waits for an answer that opens. */
  linkTimeoutMs = 30_000;
  /** PSKs committed, by node. */
  readonly psks = new Map<number, Buffer>();
  /** Application roots that came with an M11, by node. */
  readonly roots = new Map<number, Buffer>();
  /** Transactions by M1, whose ID_i and RN_i are what makes a copy. */
  readonly #open = new Map<string, Open>();
  readonly #socket: RawSocket;

  constructor(socket: RawSocket, of: { id: number; skCs: Buffer; server: Endpoint }) {
    this.#socket = socket;
    this.id = of.id;
    this.skCs = of.skCs;
    this.server = of.server;
  }

  /** Sends any payload to the auth-server. */
  ask(payload: Buffer, request: Request = {}): Promise<Response | undefined> {
    const timeoutMs = this.linkTimeoutMs;
    return this.#socket.request(this.server, { timeoutMs, ...request, payload });
  }

  /** Accepts an M1: takes TS and TID, draws RN_c, seals M2. */
  m2For(m1: Buffer, { nonce, ...choices }: Choices = {}): Asked {
    const now = BigInt(Date.now());
    const tid = choices.tid ?? (lastTid = now * 1000n > lastTid ? now * 1000n : lastTid + 1n);
    const f = { ts: now, rnC: randomBytes(16), ...choices, tid, idC: this.id, m1 };
    return { ...f, idI: id(m1, 1), rnI: m1.subarray(5), m2: m2(this.skCs, f, nonce) };
  }

  /** Seals the M7 for an M5, right or wrong, from the source `nid`. */
  m7For(answered: Answered, m5: Buffer, nid: Buffer, choices: Choices = {}): Proved {
    const f = { ...answered, ...choices, nid, c5: m5.subarray(9) };
    return { ...answered, m5, nid, m7: m7(this.skCs, f, choices.nonce) };
  }

  /** Plays M2 and M3 for an M1. Rejects with Refused. */
  transact(m1: Buffer, choices: Choices = {}): Promise<Answered> {
    return this.query(this.m2For(m1, choices));
  }

  /** Sends the M2, opens the M3, seals the M4. Rejects with Refused. */
  async query(asked: Asked): Promise<Answered> {
    const opener = (skCs: Buffer, m2: Buffer, octets: Buffer): { k?: Buffer; c4?: Buffer; idI: number } | undefined =>
      openM3(skCs, m2, octets) ?? openM10(skCs, m2, octets);
    const [m3, { k, c4 }] = await this.#settle(asked.idI, asked.m2, opener);
    if (!k) return { ...asked, m3, m4: cat(mark(0x14, asked), c4 ?? NOTHING) };
    return { ...asked, m3, k, psk: psk(k, asked.rnI, asked.rnC), m4: m4(k, asked) };
  }

  /** Sends the M7, opens the M8, seals the M6. Rejects with Refused. */
  async commit(proved: Proved): Promise<Committed> {
    if (!proved.psk) {
      const [m11, { lifetime, c6, root }] = await this.#settle(proved.idI, proved.m7, openM11);
      return { ...proved, m8: m11, lifetime, m6: cat(u8(0x16), c6), root };
    }
    const [m8, { lifetime }] = await this.#settle(proved.idI, proved.m7, openM8);
    return { ...proved, m8, lifetime, m6: m6(proved.psk, { ...proved, lifetime }) };
  }

  /** Goes by the payload: what does not open, to this ID_i, is no answer. */
  async #settle<T extends { idI: number }>(idI: number, asked: Buffer, opener: Opener<T>) {
    const open = <U extends { idI: number }>(opener: Opener<U>, octets: Buffer): U | undefined => {
      const opened = opener(this.skCs, asked, octets);
      return opened?.idI === idI ? opened : undefined;
    };
    const accept = ({ payload }: Message): boolean => (open(opener, payload) ?? open(openM9, payload)) !== undefined;
    const response = await this.ask(asked, { accept });
    if (!response) throw new Refused();
    const opened = open(opener, response.payload);
    if (opened) return [response.payload, opened] as const;
    throw new Refused(open(openM9, response.payload)?.reason, option(response, MAX_AGE));
  }

  /** Serves nodes and relays to the auth-server, until the socket it gives is closed. */
  serve(port = 0, hooks: ControllerHooks = {}, host = '127.0.0.1'): Promise<RawSocket> {
    return listen(host, port, async (request, from) => {
      if (hooks.drop?.(request.payload)) return [];
      this.#forget();
      try {
        if (is(1, request.payload)) return await this.#onM1(request, hooks);
        if (is(5, request.payload)) return await this.#onM5(request.payload, from, hooks);
        return [{ code: '4.00' }];
      } catch (error) {
        if (error instanceof Refused) return [error.reply];
        throw error;
      }
    });
  }

  async #onM1(request: Message, hooks: ControllerHooks): Promise<Reply[]> {
    const key = request.payload.toString('hex');
    let open = this.#open.get(key);
    if (!open) {
      const { echo } = hooks;
      if (echo && !option(request, ECHO)?.equals(echo)) {
        return [{ code: '4.01', options: [[ECHO, echo]] }];
      }
      open = { asked: this.m2For(request.payload), bornAt: powered() };
      this.#open.set(key, open);
    }
    const { asked } = open;
    const refused = (error: unknown): never => this.#refused(key, 'querying', error);
    open.answered = await (open.querying ??= this.query(asked).catch(refused));
    return replies(open.answered.m4, hooks.mutateM4?.(open.answered.m4, open.answered));
  }

  async #onM5(m5: Buffer, from: Endpoint, hooks: ControllerHooks): Promise<Reply[]> {
    const tid = m5.readBigUInt64BE(1);
    const [key, open] = [...this.#open].find(([, { asked }]) => asked.tid === tid) ?? [];
    if (!key || !open?.answered) return [{ code: '4.04' }];
    const { psk, rnC } = open.answered;
    if (psk && !same(openM5(psk, open.answered, m5) ?? NOTHING, rnC)) return [{ code: '4.01' }];
    const proved = (open.proved ??= this.m7For(open.answered, m5, nid(from)));
    const refused = (error: unknown): never => this.#refused(key, 'committing', error);
    const committed = await (open.committing ??= this.commit(proved).catch(refused));
    this.#forget();
    if (this.#open.get(key) !== open) return [];
    if (committed.psk) this.psks.set(committed.idI, committed.psk);
    if (committed.root) this.roots.set(committed.idI, committed.root);
    await hooks.beforeM6?.(committed);
    return replies(committed.m6, hooks.mutateM6?.(committed.m6, committed));
  }

  /** A transaction lives 60 s from its first M1. */
  #forget(): void {
    for (const [key, { bornAt }] of this.#open) {
      if (powered() - bornAt > 60_000) this.#open.delete(key);
    }
  }

  /** A refusal is not kept; silence and reasons 8 and 9 leave the transaction open. */
  #refused(key: string, step: 'querying' | 'committing', error: unknown): never {
    const open = this.#open.get(key);
    const passing = error instanceof Refused && [undefined, 8, 9].includes(error.reason);
    if (open && passing) open[step] = undefined;
    else this.#open.delete(key);
    throw error;
  }
}

/** NID_i: the IPv6 or IPv4-mapped address, and the port. */
export function nid({ host, port }: Endpoint): Buffer {
  const octets = Buffer.alloc(18);
  octets.writeUInt16BE(port, 16);
  const v4 = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(host);
  if (v4) {
    Buffer.of(0xff, 0xff, ...v4.slice(1).map(Number)).copy(octets, 10);
    return octets;
  }
  const groups = (part = ''): number[] => part.split(':').flatMap((group) => (group === '' ? [] : parseInt(group, 16)));
  const [left, right] = host.replace(/%.*/, '').split('::').map(groups);
  left?.forEach((group, i) => octets.writeUInt16BE(group, 2 * i));
  right?.forEach((group, i, { length }) => octets.writeUInt16BE(group, 16 - 2 * (length - i)));
  return octets;
}

// Auth-server (SBS)

/** A node in the registry. `last` is what the last commit stored; without it `key` is the IK_i. */
export interface Registration {
  key: Buffer;
  controllerId: number;
  /** In seconds, for the next commit to grant. */
  lifetime: number;
  disabled?: boolean;
  /** Seconds a key serves past its expiry; without it, expiry is not asked. */
  grace?: number;
  /** End of the join window, in ms since the epoch. */
  joinUntil?: number;
  last?: { idC: number; tid: bigint; lifetime: number; expiry: number; nid: Buffer; at: number };
}

export interface ServerHooks {
  /** True loses this message, just arrived. (To lose an answer, let its hook give [].) */
  drop?: (octets: Buffer) => boolean;
  /** A reason to refuse an M2 or M7 that has passed all checks, before it takes effect. */
  refuse?: (asked: Buffer) => number | undefined;
  mutateM3?: (m3: Buffer, m2: Buffer) => Replies;
  mutateM8?: (m8: Buffer, m7: Buffer) => Replies;
}

export class PeerServer {
  readonly registry: Map<number, Registration>;
  /** SK_cs by ID_c. */
  readonly controllers: Map<number, Buffer>;
  /**
   * All that was posted, dropped or not, but for M12, which come at any time; `type` is the T of
   * the first octet, -1 if there is none.
   */
  readonly seen: { type: number; octets: Buffer }[] = [];
  /** Milliseconds since the epoch. */
  clock: () => number = Date.now;
  /** TK; with it every controller is pass-through. */
  transactionKey: Buffer | undefined;

  constructor(registry = new Map<number, Registration>(), controllers = new Map<number, Buffer>()) {
    this.registry = registry;
    this.controllers = controllers;
  }

  /** Serves controllers until the socket it gives is closed. */
  serve(port = 0, hooks: ServerHooks = {}, host = '127.0.0.1'): Promise<RawSocket> {
    return listen(host, port, ({ payload: octets }) => {
      const feed = this.#answerFeed(octets);
      if (feed !== undefined) return feed;
      this.seen.push({ type: octets.length > 0 ? octets.readUInt8() & 15 : -1, octets });
      return hooks.drop?.(octets) ? [] : this.answer(octets, hooks);
    });
  }

  /** `undefined`: not an M12. */
  #answerFeed(asked: Buffer): Reply[] | undefined {
    if (asked[0] !== 0x1c) return undefined;
    const idC = asked.length >= 5 ? id(asked, 1) : 0;
    const skCs = this.controllers.get(idC);
    const body = skCs && openM12(skCs, asked);
    if (!skCs || !body) return [{ code: '4.01' }];
    if (Math.abs(this.clock() - Number(body.ts)) > 30_000)
      return [{ code: '5.03', payload: m9(skCs, asked, { reason: 6, idI: 0 }) }];
    const nodes = [...this.registry]
      .filter(([, { controllerId }]) => controllerId === idC)
      .map(([idI, { key, disabled = false, last }]) => {
        const commit = last && { tid: last.idC === idC ? last.tid : 0n, expiry: last.lifetime === 0 ? 0 : last.expiry };
        return { idI, key, disabled, commit };
      });
    return [{ payload: m13(skCs, asked, nodes) }];
  }

  /** The profile's checks, in its order. */
  answer(asked: Buffer, hooks: ServerHooks = {}): Reply[] {
    if (!is(2, asked) && !is(7, asked)) return [{ code: '4.00' }];
    const skCs = this.controllers.get(id(asked, 1));
    const f7 = skCs && openM7(skCs, asked);
    const f = f7 ?? (skCs && openM2(skCs, asked));
    const first = f && openM1(f.m1);
    if (!skCs || !f || !first) return [{ code: '4.01' }];
    const { idI, rnI } = first;
    const refuse = (reason: number): Reply[] => {
      const options: Option[] = reason >= 8 ? [[MAX_AGE, u8(1)]] : [];
      const payload = m9(skCs, asked, { reason, idI });
      return [{ code: CODES[reason] ?? '5.03', payload, options }];
    };

    const now = this.clock();
    const age = now - Number(f.ts);
    if (age > (f7 ? 90_000 : 30_000) || age < -30_000) return refuse(6);
    const node = this.registry.get(idI);
    if (!node) return refuse(1);
    const { key: k, controllerId, disabled, grace, joinUntil, lifetime, last } = node;
    if (controllerId !== f.idC) return refuse(2);
    if (disabled) return refuse(3);
    if (last?.lifetime && grace !== undefined && now > last.expiry + 1000 * grace) return refuse(5);
    if (!last && joinUntil !== undefined && now > joinUntil) return refuse(4);

    if (!f7) {
      const reason = hooks.refuse?.(asked);
      if (reason !== undefined) return refuse(reason);
      const right = this.transactionKey
        ? m10(skCs, asked, { c4: m4(k, { ...f, rnC: passThroughRnC(this.transactionKey, f) }).subarray(13), idI })
        : m3(skCs, asked, { k, idI });
      return replies(right, hooks.mutateM3?.(right, asked));
    }
    const { idC, tid, nid, c5 } = f7;
    const rnC = this.transactionKey ? passThroughRnC(this.transactionKey, f) : f.rnC;
    const m5 = cat(u8(0x15), u64(tid), c5);
    const proves = (key: Buffer): boolean => same(openM5(key, f, m5) ?? NOTHING, rnC);
    const repeated = last?.idC === idC && last.tid === tid && proves(k) ? last : undefined;
    const key = psk(k, rnI, rnC);
    if (!repeated && !proves(key)) return refuse(7);
    const reason = hooks.refuse?.(asked);
    if (reason !== undefined) return refuse(reason);
    if (!repeated) {
      const expiry = Number(f.ts) + 1000 * lifetime;
      Object.assign(node, { key, last: { idC, tid, lifetime, expiry, nid, at: now } });
    }
    const granted = { idI, lifetime: repeated?.lifetime ?? lifetime };
    const c6 = m6(node.key, { idC, m5, lifetime: granted.lifetime }).subarray(1);
    const right = this.transactionKey
      ? m11(skCs, asked, { ...granted, c6, root: applicationRoot(node.key, idI) })
      : m8(skCs, asked, granted);
    return replies(right, hooks.mutateM8?.(right, asked));
  }
}
