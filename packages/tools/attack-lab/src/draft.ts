/**
 * draft-kang-core-secure-reconfiguration-00, section 4, as it is written. No line of it is
 * Latchkey's. Where the draft leaves something open the plainest reading is taken:
 *
 *   M1  i -> c   ID_i 4 | RN_i 16
 *   M2  c -> s   ID_c 4 | RN_c 16 | TID 8 | TS 8 | M1       nothing says that it is encrypted, so it is not
 *   M3  s -> c   E(IK_i | ID_i, SK_cs)
 *   M4  c -> i   ID_c 4 | E(RN_i | RN_c, IK_i)
 *   M5  i -> c   E(RN_c, PSK_i)
 *
 *   - E is AES-128 ("a single cryptographic primitive that is AES"), block by block: no mode is
 *     named, and no message carries an initialization vector. A text that does not fill its last
 *     block is padded with zeroes.
 *   - "The authentication server now can derive a new PSK and replace the IK_i": on M2, before
 *     anybody has proven anything.
 *   - Its checks: it has the node; TS is not stale ("verify the freshness"), which means not older
 *     than 30 s. Assignment of nodes to controllers is stored (section 3, step 2), a check of it is
 *     not mentioned.
 *   - "Finally, SBI can reconfigure his PSK thereafter sending" M5: the node replaces its key when
 *     M4 bears its RN_i.
 *   - There is no sixth message, no refusal, no repetition and no end to a transaction.
 *   - M3, M4 and M5 name no transaction: what comes back is taken for the answer, M5 by where it
 *     comes from.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const FRESH_MS = 30_000;
/** "Specific period of the expiration of key is not covered in this document." */
export const PERIOD_MS = 3_600_000;

/** E(M, SK). */
export function E(text: Buffer, key: Buffer): Buffer {
  const padded = Buffer.concat([text, Buffer.alloc((16 - (text.length % 16)) % 16)]);
  return createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(padded);
}

/** D(C, SK). */
export function D(octets: Buffer, key: Buffer): Buffer {
  return createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(octets);
}

export function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((octet, i) => octet ^ (b[i] ?? 0)));
}

/** PSK_i = E(RN_i xor RN_c, IK_i). */
export function derive(key: Buffer, rnI: Buffer, rnC: Buffer): Buffer {
  return E(xor(rnI, rnC), key);
}

/** The `n`th block of 16 octets, from 0. */
export function block(octets: Buffer, n: number): Buffer {
  return octets.subarray(16 * n, 16 * n + 16);
}

export function u32(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
}

function u64(value: bigint): Buffer {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64BE(value);
  return octets;
}

export function encodeM1(idI: number, rnI: Buffer): Buffer {
  return Buffer.concat([u32(idI), rnI]);
}

export interface M2 {
  readonly idC: number;
  readonly rnC: Buffer;
  readonly tid: bigint;
  readonly ts: number;
  readonly m1: Buffer;
}

export function encodeM2({ idC, rnC, tid, ts, m1 }: M2): Buffer {
  return Buffer.concat([u32(idC), rnC, u64(tid), u64(BigInt(ts)), m1]);
}

export function decodeM2(octets: Buffer): M2 {
  return {
    idC: octets.readUInt32BE(0),
    rnC: octets.subarray(4, 20),
    tid: octets.readBigUInt64BE(20),
    ts: Number(octets.readBigUInt64BE(28)),
    m1: octets.subarray(36),
  };
}

export class DraftNode {
  readonly idI: number;
  key: Buffer;
  /** The controller it believes it has joined. */
  joinedTo: number | undefined;
  #rnI: Buffer | undefined;

  constructor(idI: number, ik: Buffer) {
    this.idI = idI;
    this.key = ik;
  }

  m1(): Buffer {
    this.#rnI = randomBytes(16);
    return encodeM1(this.idI, this.#rnI);
  }

  /** Gives M5; `undefined`: this M4 does not bear the node's RN_i. */
  receiveM4(m4: Buffer): Buffer | undefined {
    const text = D(m4.subarray(4), this.key);
    if (this.#rnI === undefined || !block(text, 0).equals(this.#rnI)) return undefined;
    const rnC = block(text, 1);
    this.key = derive(this.key, this.#rnI, rnC);
    this.joinedTo = m4.readUInt32BE(0);
    return E(rnC, this.key);
  }
}

interface DraftTransaction {
  readonly m1: Buffer;
  readonly rnC: Buffer;
  psk?: Buffer;
}

export class DraftController {
  readonly idC: number;
  readonly skCs: Buffer;
  /** ms since the epoch. */
  now = 1_795_000_000_000;
  readonly #draw: () => Buffer;
  /** By where M1 came from. */
  readonly transactions: Map<string, DraftTransaction> = new Map();
  /** Nodes that have verified themselves, by ID_i, with their keys. */
  readonly verified: Map<number, Buffer> = new Map();
  #tid = 0n;

  constructor(idC: number, skCs: Buffer, draw: () => Buffer = () => randomBytes(16)) {
    this.idC = idC;
    this.skCs = skCs;
    this.#draw = draw;
  }

  receiveM1(m1: Buffer, from: string): Buffer {
    const rnC = this.#draw();
    this.transactions.set(from, { m1, rnC });
    this.#tid += 1n;
    return encodeM2({ idC: this.idC, rnC, tid: this.#tid, ts: this.now, m1 });
  }

  /** Gives M4; `undefined`: M3 is about another node. */
  receiveM3(m3: Buffer, from: string): Buffer | undefined {
    const transaction = this.transactions.get(from);
    if (transaction === undefined) return undefined;
    const { m1, rnC } = transaction;
    const text = D(m3, this.skCs);
    const [key, idI] = [block(text, 0), text.readUInt32BE(16)];
    if (idI !== m1.readUInt32BE(0)) return undefined;
    const rnI = m1.subarray(4);
    transaction.psk = derive(key, rnI, rnC);
    return Buffer.concat([u32(this.idC), E(Buffer.concat([rnI, rnC]), key)]);
  }

  /** Whether the node has verified itself. */
  receiveM5(m5: Buffer, from: string): boolean {
    const { m1, psk, rnC } = this.transactions.get(from) ?? {};
    if (m1 === undefined || psk === undefined || rnC === undefined || !E(rnC, psk).equals(m5)) return false;
    this.verified.set(m1.readUInt32BE(0), psk);
    return true;
  }
}

export class DraftServer {
  readonly keys: Map<number, Buffer> = new Map();
  /** When each key expires, ms since the epoch. */
  readonly expiry: Map<number, number> = new Map();
  readonly #skCs: ReadonlyMap<number, Buffer>;
  now = 1_795_000_000_000;

  constructor(skCs: ReadonlyMap<number, Buffer>) {
    this.#skCs = skCs;
  }

  /** Gives M3; the key is replaced by then. */
  receiveM2(octets: Buffer): Buffer | undefined {
    const { idC, rnC, ts, m1 } = decodeM2(octets);
    const [idI, rnI] = [m1.readUInt32BE(0), m1.subarray(4)];
    const [key, skCs] = [this.keys.get(idI), this.#skCs.get(idC)];
    if (key === undefined || skCs === undefined || ts < this.now - FRESH_MS) return undefined;
    this.keys.set(idI, derive(key, rnI, rnC));
    this.expiry.set(idI, ts + PERIOD_MS);
    return E(Buffer.concat([key, u32(idI)]), skCs);
  }
}

/** Two controllers, one server, and what an attacker on the path sees and does. */
export class DraftNetwork {
  readonly controller: DraftController;
  readonly other: DraftController;
  readonly server: DraftServer;

  constructor(draw?: () => Buffer) {
    this.controller = new DraftController(1, randomBytes(16), draw);
    this.other = new DraftController(2, randomBytes(16));
    this.server = new DraftServer(new Map([this.controller, this.other].map(({ idC, skCs }) => [idC, skCs])));
  }

  /** A node whose key the server has. */
  install(idI: number, ik: Buffer): DraftNode {
    this.server.keys.set(idI, ik);
    return new DraftNode(idI, ik);
  }

  /** M1 in, M4 out: controller and server as they answer when nobody interferes. */
  ask(m1: Buffer, from: string): Buffer | undefined {
    const m3 = this.server.receiveM2(this.controller.receiveM1(m1, from));
    return m3 && this.controller.receiveM3(m3, from);
  }

  /**
   * Runs all five messages without interference. Returns the messages, or `undefined` if the node
   * did not join.
   */
  join(node: DraftNode, from: string): { readonly m1: Buffer; readonly m4: Buffer; readonly m5: Buffer } | undefined {
    const m1 = node.m1();
    const m4 = this.ask(m1, from);
    const m5 = m4 && node.receiveM4(m4);
    return m4 && m5 && this.controller.receiveM5(m5, from) ? { m1, m4, m5 } : undefined;
  }

  /** The node's only key is not the server's: no exchange can ever succeed again. */
  lockedOut(node: DraftNode): boolean {
    return this.server.keys.get(node.idI)?.equals(node.key) !== true;
  }
}
