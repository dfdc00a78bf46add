/** The node's side of a join at the least it can cost: OpenSSL's AES, octets laid out by hand. docs/PROTOCOL.md has the layouts. */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { LABEL_M4, LABEL_M5_M6, LENGTH, TAG_LENGTH, TYPE } from '@latchkey/protocol';

const CCM = { authTagLength: TAG_LENGTH } as const;
/** Type, ID_c, TID: the head of M4, and the nonces of M4, M5 and M6. */
const HEAD = 13;

function aes(key: Buffer, block: Buffer): Buffer {
  return createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block);
}

function labelled(label: number): Buffer {
  const block = Buffer.alloc(16);
  block[0] = label;
  return block;
}

const M4_LABEL = labelled(LABEL_M4);
const M5_LABEL = labelled(LABEL_M5_M6);

export function buildM1(idI: number, rnI: Buffer): Buffer {
  const m1 = Buffer.allocUnsafe(LENGTH.M1);
  m1[0] = TYPE.M1;
  m1.writeUInt32BE(idI, 1);
  rnI.copy(m1, 5);
  return m1;
}

/** What a node has once M4 has opened. */
export interface Proof {
  readonly m5: Buffer;
  readonly psk: Buffer;
  readonly ek: Buffer;
  readonly idCAndTid: Buffer;
}

/** EK(K_i, 0x14), which can be made long before M4 comes. */
export function m4Key(key: Buffer): Buffer {
  return aes(key, M4_LABEL);
}

/** `undefined`: M4 does not open under this key, or is not this attempt's. */
export function answerM4(m4: Buffer, m1: Buffer, key: Buffer, ekM4: Buffer): Proof | undefined {
  if (m4.length !== LENGTH.M4 || m4[0] !== TYPE.M4) return undefined;
  const body = open(ekM4, m4.subarray(0, HEAD), Buffer.concat([m4.subarray(0, HEAD), m1]), m4.subarray(HEAD));
  if (body === undefined || body.compare(m1, 5, 21, 0, 16) !== 0) return undefined;
  const mixed = Buffer.allocUnsafe(16);
  for (let i = 0; i < 16; i++) mixed[i] = (body[i] ?? 0) ^ (body[16 + i] ?? 0);
  const psk = aes(key, mixed);
  const ek = aes(psk, M5_LABEL);
  const idCAndTid = Buffer.from(m4.subarray(1, HEAD));
  const clear = Buffer.allocUnsafe(9);
  clear[0] = TYPE.M5;
  idCAndTid.copy(clear, 1, 4);
  const cipher = createCipheriv('aes-128-ccm', ek, nonce(TYPE.M5, idCAndTid), CCM);
  cipher.setAAD(Buffer.concat([clear, m1]), { plaintextLength: 16 });
  const sealed = cipher.update(body.subarray(16));
  cipher.final();
  return { m5: Buffer.concat([clear, sealed, cipher.getAuthTag()]), psk, ek, idCAndTid };
}

/** Whether M6 opens: the node has joined. */
export function opensM6(m6: Buffer, { m5, ek, idCAndTid }: Proof): boolean {
  if (m6.length !== LENGTH.M6 || m6[0] !== TYPE.M6) return false;
  return open(ek, nonce(TYPE.M6, idCAndTid), Buffer.concat([m6.subarray(0, 1), m5]), m6.subarray(1)) !== undefined;
}

function nonce(type: number, idCAndTid: Buffer): Buffer {
  const octets = Buffer.allocUnsafe(HEAD);
  octets[0] = type;
  idCAndTid.copy(octets, 1);
  return octets;
}

function open(key: Buffer, iv: Buffer, associated: Buffer, sealed: Buffer): Buffer | undefined {
  const end = sealed.length - TAG_LENGTH;
  const cipher = createDecipheriv('aes-128-ccm', key, iv, CCM);
  cipher.setAuthTag(sealed.subarray(end));
  cipher.setAAD(associated, { plaintextLength: end });
  try {
    const plain = cipher.update(sealed.subarray(0, end));
    cipher.final();
    return plain;
  } catch {
    return undefined;
  }
}
