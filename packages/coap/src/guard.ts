/**
 * Filters datagrams before `coap` sees them. Only small, well-formed messages pass, without block
 * options, Observe, or anything else that has crashed `coap` (docs/decisions/0003). A verdict is a
 * pure function of the datagram.
 */

import {
  codeOctet,
  type Datagram,
  emptyMessage,
  formatDatagram,
  MESSAGE_TYPE,
  OPTION,
  type Option,
  parseDatagram,
} from './datagram.js';

/**
 * The largest datagram that is parsed, in octets. M7 with its options takes 140, and a query of
 * /.well-known/core a little more.
 */
export const MAX_DATAGRAM = 512;

/** Why a datagram was dropped, as metrics and logs name it. */
export const DROP_CAUSES = [
  'unknown method',
  'rate limited',
  'source port 0',
  'too large',
  'not CoAP',
  'not a request',
  'not a response',
  'unknown critical option',
] as const;
export type DropCause = (typeof DROP_CAUSES)[number];

export type Verdict =
  /** `datagram` is without unknown elective options. */
  | { readonly kind: 'pass'; readonly datagram: Datagram }
  | { readonly kind: 'reply'; readonly octets: Buffer }
  | { readonly kind: 'drop'; readonly cause: DropCause };

interface OptionRule {
  readonly min: number;
  readonly max: number;
  readonly repeatable?: true;
}

/** Lengths from RFC 7252 section 5.10 and RFC 9175 section 2.2.1. */
const REQUEST_OPTIONS: Readonly<Record<number, OptionRule>> = {
  [OPTION.uriHost]: { min: 1, max: 255 },
  [OPTION.uriPort]: { min: 0, max: 2 },
  [OPTION.uriPath]: { min: 0, max: 255, repeatable: true },
  [OPTION.contentFormat]: { min: 0, max: 2 },
  [OPTION.uriQuery]: { min: 0, max: 255, repeatable: true },
  [OPTION.accept]: { min: 0, max: 2 },
  [OPTION.echo]: { min: 1, max: 40 },
};

const RESPONSE_OPTIONS: Readonly<Record<number, OptionRule>> = {
  [OPTION.contentFormat]: { min: 0, max: 2 },
  [OPTION.maxAge]: { min: 0, max: 4 },
  [OPTION.echo]: { min: 1, max: 40 },
};

/** Understood, and of no use: a server answers under any of its names and ports. */
const STRIPPED_OPTIONS: ReadonlySet<number> = new Set([OPTION.uriHost, OPTION.uriPort]);

const MAX_METHOD_CODE = 4;
const EMPTY = Buffer.alloc(0);

/** Filters a datagram for a server. A server sends no CON, so an ACK or RST matches nothing. */
export function filterRequest(octets: Buffer, sourcePort: number): Verdict {
  const datagram = parseStrictly(octets, sourcePort);
  if ('kind' in datagram) return datagram;
  const { type, code } = datagram;
  if (code === 0 && type === MESSAGE_TYPE.CON)
    return { kind: 'reply', octets: emptyMessage(MESSAGE_TYPE.RST, datagram.messageId) };
  if (code === 0 || code >> 5 !== 0 || type > MESSAGE_TYPE.NON) return drop('not a request');
  if (code > MAX_METHOD_CODE) return reject(datagram, '4.05', 'unknown method');
  const options = stripOptions(datagram, REQUEST_OPTIONS);
  if (options === undefined) return reject(datagram, '4.02', 'unknown critical option');
  return pass(datagram, options);
}

/** Filters a datagram for a client, which is from the peer that it is connected to. */
export function filterResponse(octets: Buffer, sourcePort: number): Verdict {
  const datagram = parseStrictly(octets, sourcePort);
  if ('kind' in datagram) return datagram;
  const { type, code } = datagram;
  const codeClass = code >> 5;
  const empty = code === 0 && (type === MESSAGE_TYPE.ACK || type === MESSAGE_TYPE.RST);
  const response = (codeClass === 2 || codeClass === 4 || codeClass === 5) && type !== MESSAGE_TYPE.RST;
  if (!empty && !response) return drop('not a response');
  const options = stripOptions(datagram, RESPONSE_OPTIONS);
  return options === undefined ? drop('unknown critical option') : pass(datagram, options);
}

function parseStrictly(octets: Buffer, sourcePort: number): Datagram | Extract<Verdict, { kind: 'drop' }> {
  if (sourcePort === 0) return drop('source port 0');
  if (octets.length > MAX_DATAGRAM) return drop('too large');
  return parseDatagram(octets) ?? drop('not CoAP');
}

/**
 * Returns the options to pass on, or `undefined` if a critical option is unknown or malformed (RFC
 * 7252 section 5.4.1).
 */
function stripOptions(datagram: Datagram, rules: Readonly<Record<number, OptionRule>>): readonly Option[] | undefined {
  const passed: Option[] = [];
  let previousNumber: number | undefined;
  for (const option of datagram.options) {
    const { number, value } = option;
    const rule = rules[number];
    const understood =
      rule !== undefined &&
      value.length >= rule.min &&
      value.length <= rule.max &&
      (number !== previousNumber || rule.repeatable === true);
    const critical = (number & 1) === 1;
    if (!understood && critical) return undefined;
    if (understood && !STRIPPED_OPTIONS.has(number)) passed.push(option);
    previousNumber = number;
  }
  return passed;
}

function pass(datagram: Datagram, options: readonly Option[]): Verdict {
  return { kind: 'pass', datagram: options.length === datagram.options.length ? datagram : { ...datagram, options } };
}

/**
 * Rejects a request: a CON with a piggybacked error without payload, a NON silently (RFC 7252
 * section 4.3).
 */
function reject(datagram: Datagram, code: string, cause: DropCause): Verdict {
  if (datagram.type !== MESSAGE_TYPE.CON) return drop(cause);
  const { messageId, token } = datagram;
  return {
    kind: 'reply',
    octets: formatDatagram({ type: MESSAGE_TYPE.ACK, code: codeOctet(code), messageId, token, options: [], payload: EMPTY }),
  };
}

function drop(cause: DropCause): Extract<Verdict, { kind: 'drop' }> {
  return { kind: 'drop', cause };
}
