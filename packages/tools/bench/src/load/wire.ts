/**
 * The little CoAP a load generator needs, packed by hand (RFC 7252 section 3): confirmable POSTs to
 * /k, and what comes back.
 *
 *   0x44 | 0x02 | message ID 2 | token 4 | Uri-Path 'k' 2 | Echo 3 + n | 0xff | payload
 */

const CON_TOKEN_4 = 0x44;
const POST = 0x02;
const URI_PATH_K: readonly number[] = [0xb1, 0x6b];
/**
 * Echo is option 252, 241 after Uri-Path: nibble 13, extended by 228. Its length goes into the
 * lower nibble.
 */
const ECHO_DELTA: readonly number[] = [0xd0, 0xe4];
const ECHO_NUMBER = 252;
const PAYLOAD_MARKER = 0xff;
/** An Echo is 12 octets here; a longer one would need another octet for its length. */
const MAX_ECHO = 12;
const HEAD = 10;

/** A datagram's octets. `echo`: what the server asked to have brought back. */
export function packRequest(messageId: number, token: number, echo: Buffer | undefined, payload: Uint8Array): Buffer {
  const echoLength = echo === undefined ? 0 : 2 + echo.length;
  const octets = Buffer.allocUnsafe(HEAD + echoLength + 1 + payload.length);
  octets[0] = CON_TOKEN_4;
  octets[1] = POST;
  octets.writeUInt16BE(messageId, 2);
  octets.writeUInt32BE(token, 4);
  octets[8] = URI_PATH_K[0] ?? 0;
  octets[9] = URI_PATH_K[1] ?? 0;
  let at = HEAD;
  if (echo !== undefined) {
    if (echo.length > MAX_ECHO) throw new RangeError(`an Echo of ${echo.length} octets`);
    octets[at] = (ECHO_DELTA[0] ?? 0) | echo.length;
    octets[at + 1] = ECHO_DELTA[1] ?? 0;
    echo.copy(octets, at + 2);
    at += echoLength;
  }
  octets[at] = PAYLOAD_MARKER;
  octets.set(payload, at + 1);
  return octets;
}

export const CODE = { changed: 0x44, unauthorized: 0x81 } as const;

/** What a response says, without a copy of anything. */
export interface Answer {
  readonly code: number;
  readonly token: number;
  readonly echo: Buffer | undefined;
  /** Seconds. */
  readonly maxAge: number;
  readonly payload: Buffer;
}

const MAX_AGE_NUMBER = 14;

/** `undefined`: no response with a token of 4 octets. */
export function readAnswer(octets: Buffer): Answer | undefined {
  if (octets.length < 8 || ((octets[0] ?? 0) & 0x4f) !== CON_TOKEN_4) return undefined;
  let [at, number, maxAge] = [8, 0, 0];
  let echo: Buffer | undefined;
  while (at < octets.length) {
    const head = octets[at] ?? 0;
    at += 1;
    if (head === PAYLOAD_MARKER) break;
    let [delta, length] = [head >> 4, head & 0x0f];
    if (delta === 13) delta = 13 + (octets[at++] ?? 0);
    if (length === 13) length = 13 + (octets[at++] ?? 0);
    number += delta;
    if (number === ECHO_NUMBER) echo = octets.subarray(at, at + length);
    if (number === MAX_AGE_NUMBER && length > 0) maxAge = octets.readUIntBE(at, length);
    at += length;
  }
  return { code: octets[1] ?? 0, token: octets.readUInt32BE(4), echo, maxAge, payload: octets.subarray(at) };
}
