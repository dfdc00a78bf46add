/**
 * The key feed (M12, M13) of the second implementation, for its auth-server: it keeps no log, and
 * tells a controller of all its nodes, whatever its cursor. Written from the text of the profile
 * alone, over node:crypto; it shares no code with the packages it tests.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** What the auth-server has of a node. */
export interface FeedNode {
  readonly idI: number;
  readonly key: Buffer;
  readonly disabled: boolean;
  /** Of the last commit through this controller; without it the key is the initial one. */
  readonly commit: { readonly tid: bigint; readonly expiry: number } | undefined;
}

const ENTRIES = 12;

const aes = (key: Buffer, block: Buffer): Buffer => createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(block);

function double(block: Buffer): Buffer {
  const doubled = (BigInt(`0x${block.toString('hex')}`) << 1n) & ((1n << 128n) - 1n);
  const reduced = block[0]! & 0x80 ? doubled ^ 0x87n : doubled;
  return Buffer.from(reduced.toString(16).padStart(32, '0'), 'hex');
}

/** AES-CMAC (RFC 4493). */
function cmac(key: Buffer, message: Buffer): Buffer {
  const k1 = double(aes(key, Buffer.alloc(16)));
  const isWhole = message.length > 0 && message.length % 16 === 0;
  const padded = isWhole ? message : Buffer.concat([message, Buffer.of(0x80), Buffer.alloc(15 - (message.length % 16))]);
  const subkey = isWhole ? k1 : double(k1);
  let state: Buffer = Buffer.alloc(16);
  for (let at = 0; at < padded.length; at += 16) {
    const isLast = at + 16 === padded.length;
    state = aes(key, Buffer.from(state.map((octet, i) => octet ^ padded[at + i]! ^ (isLast ? subkey[i]! : 0))));
  }
  return state;
}

/** AR_i = KDF(PSK_i, "latchkey application root", ID_i, 16). */
function applicationRoot(psk: Buffer, idI: Buffer): Buffer {
  const label = Buffer.from('latchkey application root');
  return cmac(psk, Buffer.concat([Buffer.of(0, 0, 0, 1), label, Buffer.of(0), idI, Buffer.of(0, 0, 0, 128)]));
}

function u64(value: bigint): Buffer {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64BE(value);
  return octets;
}

/** TS and cursor of an M12. `undefined`: does not open. */
export function openM12(skCs: Buffer, m12: Buffer): { readonly ts: bigint; readonly cursor: bigint } | undefined {
  if (m12.length !== 50 || m12[0] !== 0x1c) return undefined;
  const decipher = createDecipheriv('aes-128-ccm', skCs, m12.subarray(13, 26), { authTagLength: 8 });
  decipher.setAuthTag(m12.subarray(42));
  decipher.setAAD(m12.subarray(0, 13), { plaintextLength: 16 });
  try {
    const body = Buffer.concat([decipher.update(m12.subarray(26, 42)), decipher.final()]);
    return { ts: body.readBigUInt64BE(0), cursor: body.readBigUInt64BE(8) };
  } catch {
    return undefined;
  }
}

/** An M13 that tells of these nodes, 12 at most, and of nothing more. */
export function m13(skCs: Buffer, m12: Buffer, nodes: readonly FeedNode[]): Buffer {
  if (nodes.length > ENTRIES) throw new RangeError(`this auth-server tells of ${ENTRIES} nodes at most`);
  const entries = nodes.map(({ idI, key, disabled, commit }) => {
    const id = Buffer.alloc(4);
    id.writeUInt32BE(idI);
    const state = disabled ? 2 : commit === undefined ? 1 : 0;
    const root = state === 0 ? applicationRoot(key, id) : Buffer.alloc(16);
    return Buffer.concat([
      id,
      Buffer.of(state),
      u64(state === 0 ? BigInt(commit?.expiry ?? 0) : 0n),
      u64(commit?.tid ?? 0n),
      root,
    ]);
  });
  const content = Buffer.concat([u64(1n), Buffer.of(0), ...entries]);
  const nonce = randomBytes(13);
  const cipher = createCipheriv('aes-128-ccm', skCs, nonce, { authTagLength: 8 });
  cipher.setAAD(Buffer.concat([Buffer.of(0x1d), m12]), { plaintextLength: content.length });
  return Buffer.concat([Buffer.of(0x1d), nonce, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
}
