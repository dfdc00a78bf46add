/**
 * A CoAP datagram, read strictly (RFC 7252 section 3):
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   |Ver| T |  TKL  |     Code      |          Message ID           |
 *   |  Token (TKL octets, 0 to 8) ...
 *   |  Options (delta 4 bits, length 4 bits, extensions, value) ...
 *   |1 1 1 1 1 1 1 1|  Payload (1 octet or more) ...
 *
 * What does not follow this to the letter is no datagram here, so that it never reaches the library
 * behind the guard.
 */

export const MESSAGE_TYPE = { CON: 0, NON: 1, ACK: 2, RST: 3 } as const;

/** Option numbers of RFC 7252 section 12.2 and RFC 9175 (Echo) that this project has a use for. */
export const OPTION = {
  uriHost: 3,
  uriPort: 7,
  uriPath: 11,
  contentFormat: 12,
  maxAge: 14,
  uriQuery: 15,
  accept: 17,
  echo: 252,
} as const;

export interface Option {
  readonly number: number;
  readonly value: Buffer;
}

export interface Datagram {
  readonly type: number;
  /** The code octet: class in the upper 3 bits, detail in the lower 5. */
  readonly code: number;
  readonly messageId: number;
  readonly token: Buffer;
  readonly options: readonly Option[];
  readonly payload: Buffer;
}

const VERSION = 1;
const PAYLOAD_MARKER = 0xff;
const EMPTY = Buffer.alloc(0);

/** `undefined`: not a CoAP datagram, or one cut short. */
export function parseDatagram(octets: Buffer): Datagram | undefined {
  const first = octets[0];
  const code = octets[1];
  if (octets.length < 4 || first === undefined || code === undefined || first >> 6 !== VERSION) return undefined;
  const tokenEnd = 4 + (first & 0x0f);
  if (tokenEnd > 12 || tokenEnd > octets.length) return undefined;
  if (code === 0 && octets.length !== 4) return undefined;
  const rest = parseOptions(octets, tokenEnd);
  if (rest === undefined) return undefined;
  const { options, payload } = rest;
  return {
    type: (first >> 4) & 3,
    code,
    messageId: octets.readUInt16BE(2),
    token: octets.subarray(4, tokenEnd),
    options,
    payload,
  };
}

function parseOptions(octets: Buffer, from: number): Pick<Datagram, 'options' | 'payload'> | undefined {
  const options: Option[] = [];
  let at = from;
  let number = 0;
  while (at < octets.length) {
    const head = octets[at] ?? 0;
    at += 1;
    if (head === PAYLOAD_MARKER) return at < octets.length ? { options, payload: octets.subarray(at) } : undefined;
    const delta = extended(octets, head >> 4, at);
    at += extensionLength(head >> 4);
    const length = extended(octets, head & 0x0f, at);
    at += extensionLength(head & 0x0f);
    if (delta === undefined || length === undefined || at + length > octets.length) return undefined;
    number += delta;
    if (number > 0xffff) return undefined;
    options.push({ number, value: octets.subarray(at, at + length) });
    at += length;
  }
  return { options, payload: EMPTY };
}

/** RFC 7252 section 3.1: 13 and 14 are extended by one and two octets, 15 is reserved. */
function extended(octets: Buffer, nibble: number, at: number): number | undefined {
  if (nibble < 13) return nibble;
  if (nibble === 15 || at + extensionLength(nibble) > octets.length) return undefined;
  return nibble === 13 ? octets.readUInt8(at) + 13 : octets.readUInt16BE(at) + 269;
}

function extensionLength(nibble: number): number {
  return nibble < 13 ? 0 : nibble - 12;
}

/** The octets of a datagram whose options stand in ascending order. */
export function formatDatagram(datagram: Datagram): Buffer {
  const { type, code, messageId, token, options, payload } = datagram;
  const parts: Uint8Array[] = [
    Uint8Array.of((VERSION << 6) | (type << 4) | token.length, code, messageId >> 8, messageId & 0xff),
    token,
  ];
  let previousNumber = 0;
  for (const { number, value } of options) {
    const [delta, deltaMore] = extension(number - previousNumber);
    const [length, lengthMore] = extension(value.length);
    parts.push(Uint8Array.of((delta << 4) | length, ...deltaMore, ...lengthMore), value);
    previousNumber = number;
  }
  if (payload.length > 0) parts.push(Uint8Array.of(PAYLOAD_MARKER), payload);
  return Buffer.concat(parts);
}

function extension(value: number): readonly [nibble: number, more: readonly number[]] {
  if (value < 13) return [value, []];
  if (value < 269) return [13, [value - 13]];
  return [14, [(value - 269) >> 8, (value - 269) & 0xff]];
}

/**
 * A message without token, options and payload: an empty ACK, a Reset (RFC 7252 section 4.2), or as
 * CON a ping (4.3).
 */
export function emptyMessage(type: Exclude<(typeof MESSAGE_TYPE)[keyof typeof MESSAGE_TYPE], 1>, messageId: number): Buffer {
  return formatDatagram({ type, code: 0, messageId, token: EMPTY, options: [], payload: EMPTY });
}

/** `4.04` as the octet 0x84. */
export function codeOctet(code: string): number {
  return (Number(code[0]) << 5) | Number(code.slice(2));
}

const CODE_TEXTS: readonly string[] = Array.from(
  { length: 256 },
  (_, code) => `${code >> 5}.${String(code & 0x1f).padStart(2, '0')}`,
);

/** 0x84 as `4.04`. */
export function codeText(code: number): string {
  return CODE_TEXTS[code & 0xff] ?? '';
}

/** An option's value as an unsigned integer of up to 4 octets (RFC 7252 section 3.2). */
export function uintOption(datagram: Datagram, number: number): number | undefined {
  const value = opaqueOption(datagram, number);
  if (value === undefined || value.length > 4) return undefined;
  return value.length === 0 ? 0 : value.readUIntBE(0, value.length);
}

/** The value of the first option with that number. */
export function opaqueOption({ options }: Datagram, number: number): Buffer | undefined {
  for (const option of options) if (option.number === number) return option.value;
  return undefined;
}
