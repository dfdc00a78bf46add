/** The requests that the key socket takes, one line of JSON each, and nothing beyond them. */

import { KEY_LENGTH, parseId } from '@latchkey/protocol';
import { MAX_LABELS, wrongLabel } from './labels.js';

export type KeyRequest =
  /** `from`: the last sequence number that the subscriber has dealt with. */
  | { readonly kind: 'subscribe'; readonly labels: readonly string[]; readonly from: number | undefined }
  | { readonly kind: 'ack'; readonly seq: number }
  | {
      readonly kind: 'get';
      /** As it was asked: `ID` or `ID@KID`. */
      readonly get: string;
      readonly idI: number;
      readonly keyId: string | undefined;
      readonly label: string;
      readonly octets: number;
    }
  | {
      readonly kind: 'get-generations';
      readonly get: string;
      readonly idI: number;
      readonly labels: readonly string[];
      readonly octets: number;
      readonly allowExpired: boolean;
    };

/** What is wrong with a request, for the answer. */
export class RequestError extends Error {}

type Fields = Readonly<Record<string, unknown>>;

const IDENTITY = /^([0-9a-f]{8})(?:@([0-9a-f]{8}))?$/;
const MAX_OCTETS = 255;

/** @throws RequestError */
export function parseRequest(line: Buffer): KeyRequest {
  let fields: unknown;
  try {
    fields = JSON.parse(line.toString('utf8'));
  } catch {
    throw new RequestError('expected one JSON object a line');
  }
  if (!isObject(fields)) throw new RequestError('expected one JSON object a line');
  if ('subscribe' in fields) return subscribeRequest(fields);
  if ('ack' in fields) return { kind: 'ack', seq: seqIn(only(fields, ['ack']), 'ack') };
  if ('get' in fields) return getRequest(fields);
  throw new RequestError('expected "subscribe", "ack" or "get"');
}

function subscribeRequest(fields: Fields): KeyRequest {
  only(fields, ['subscribe', 'from']);
  const from = fields['from'] === undefined ? undefined : seqIn(fields, 'from');
  return { kind: 'subscribe', labels: labelsIn(fields, 'subscribe'), from };
}

function getRequest(fields: Fields): KeyRequest {
  const isOne = 'label' in fields;
  only(fields, isOne ? ['get', 'label', 'octets'] : ['get', 'labels', 'octets', 'allow_expired']);
  const [get, id = '', keyId] = (typeof fields['get'] === 'string' ? IDENTITY.exec(fields['get']) : undefined) ?? [];
  const idI = parseId(id);
  if (get === undefined || idI === undefined) throw new RequestError('get: expected ID or ID@KID, 8 lower-case hex digits each');
  const { octets = KEY_LENGTH, allow_expired: allowExpired = false } = fields;
  if (typeof octets !== 'number' || !Number.isInteger(octets) || octets < 1 || octets > MAX_OCTETS)
    throw new RequestError(`octets: expected a whole number from 1 to ${MAX_OCTETS}`);
  if (isOne) return { kind: 'get', get, idI, keyId, label: labelIn(fields['label'], 'label'), octets };
  if (keyId !== undefined) throw new RequestError('get: expected ID without @KID, as "labels" asks for all generations');
  if (typeof allowExpired !== 'boolean') throw new RequestError('allow_expired: expected true or false');
  return { kind: 'get-generations', get, idI, labels: labelsIn(fields, 'labels'), octets, allowExpired };
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function only(fields: Fields, allowed: readonly string[]): Fields {
  if (Object.keys(fields).some((name) => !allowed.includes(name)))
    throw new RequestError(`unknown field: expected ${allowed.map((name) => `"${name}"`).join(', ')}`);
  return fields;
}

function seqIn(fields: Fields, name: string): number {
  const seq = fields[name];
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0)
    throw new RequestError(`${name}: expected a sequence number`);
  return seq;
}

function labelsIn(fields: Fields, name: string): readonly string[] {
  const labels = fields[name];
  if (!Array.isArray(labels) || labels.length === 0 || labels.length > MAX_LABELS)
    throw new RequestError(`${name}: expected a list of 1 to ${MAX_LABELS} labels`);
  return [...new Set(labels.map((label: unknown) => labelIn(label, name)))];
}

function labelIn(label: unknown, name: string): string {
  const wrong = typeof label === 'string' ? wrongLabel(label) : 'expected a text';
  if (typeof label !== 'string' || wrong !== undefined) throw new RequestError(`${name}: ${wrong}`);
  return label;
}
