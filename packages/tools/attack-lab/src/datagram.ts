/** Builds and parses CoAP datagrams without a library (RFC 7252 section 3), as a forger does. */

import { randomBytes } from 'node:crypto';

export const MESSAGE_TYPE = { CON: 0, NON: 1, ACK: 2, RST: 3 } as const;

export interface Header {
  readonly type: number;
  /** Class in the upper 3 bits, detail in the lower 5. */
  readonly code: number;
  readonly messageId: number;
  readonly token: Buffer;
}

export function headerOf(octets: Buffer): Header {
  const first = octets.readUInt8(0);
  return {
    type: (first >> 4) & 3,
    code: octets.readUInt8(1),
    messageId: octets.readUInt16BE(2),
    token: octets.subarray(4, 4 + (first & 15)),
  };
}

function header({ type, code, messageId, token }: Header): Buffer {
  const octets = Buffer.of((1 << 6) | (type << 4) | token.length, code, 0, 0);
  octets.writeUInt16BE(messageId, 2);
  return Buffer.concat([octets, token]);
}

const NO_TOKEN = Buffer.alloc(0);

/** An empty ACK or a Reset. */
export function empty(type: 'ACK' | 'RST', messageId: number): Buffer {
  return header({ type: MESSAGE_TYPE[type], code: 0, messageId, token: NO_TOKEN });
}

/** A response; `code` as in `0x44` for 2.04. */
export function response(
  type: 'CON' | 'NON' | 'ACK',
  code: number,
  to: Pick<Header, 'messageId' | 'token'>,
  payload: Uint8Array,
): Buffer {
  const { messageId, token } = to;
  const body = payload.length > 0 ? [Buffer.of(0xff), payload] : [];
  return Buffer.concat([header({ type: MESSAGE_TYPE[type], code, messageId, token }), ...body]);
}

/** Confirmable POST /k, as short as it can be. */
export function post(payload: Uint8Array, token: Buffer = NO_TOKEN): Buffer {
  const messageId = randomBytes(2).readUInt16BE();
  return Buffer.concat([header({ type: MESSAGE_TYPE.CON, code: 0x02, messageId, token }), Buffer.of(0xb1, 0x6b, 0xff), payload]);
}

/** Confirmable GET of a path. */
export function get(...path: readonly string[]): Buffer {
  const messageId = randomBytes(2).readUInt16BE();
  const options = path.map((segment, i) =>
    Buffer.concat([Buffer.of(((i === 0 ? 11 : 0) << 4) | segment.length), Buffer.from(segment)]),
  );
  return Buffer.concat([header({ type: MESSAGE_TYPE.CON, code: 0x01, messageId, token: NO_TOKEN }), ...options]);
}

/** An empty CON: a ping. */
export function ping(): Buffer {
  return header({ type: MESSAGE_TYPE.CON, code: 0, messageId: randomBytes(2).readUInt16BE(), token: NO_TOKEN });
}
