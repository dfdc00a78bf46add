// Proves which lines the key socket takes, and that it takes no others.

import { describe, expect, it } from 'vitest';
import { parseRequest, RequestError } from '../src/requests.js';

const parse = (line: string): unknown => parseRequest(Buffer.from(line));

describe('a request', () => {
  it.each([
    ['{"subscribe":["mqtt-psk","mqtt-psk"]}', { kind: 'subscribe', labels: ['mqtt-psk'], from: undefined }],
    ['{"subscribe":["a","b"],"from":7}', { kind: 'subscribe', labels: ['a', 'b'], from: 7 }],
    ['{"ack":9007199254740991}', { kind: 'ack', seq: 2 ** 53 - 1 }],
    ['{"get":"0000a1b2","label":"a"}', { kind: 'get', get: '0000a1b2', idI: 0xa1b2, keyId: undefined, label: 'a', octets: 16 }],
    [
      '{"get":"ffffffff@00c0ffee","label":"a","octets":255}',
      { kind: 'get', get: 'ffffffff@00c0ffee', idI: 2 ** 32 - 1, keyId: '00c0ffee', label: 'a', octets: 255 },
    ],
    [
      '{"get":"0000a1b2","labels":["a"],"allow_expired":true}',
      { kind: 'get-generations', get: '0000a1b2', idI: 0xa1b2, labels: ['a'], octets: 16, allowExpired: true },
    ],
  ])('is taken: %s', (line, expected) => {
    expect(parse(line)).toEqual(expected);
  });

  it.each([
    '',
    'null',
    '[]',
    '{}',
    '{"subscribe":[]}',
    '{"subscribe":"mqtt-psk"}',
    '{"subscribe":[7]}',
    '{"subscribe":[""]}',
    '{"subscribe":["a\\u0000b"]}',
    '{"subscribe":["latchkey key id"]}',
    `{"subscribe":${JSON.stringify(Array.from({ length: 17 }, (_, index) => `l${index}`))}}`,
    `{"subscribe":["${'x'.repeat(65)}"]}`,
    '{"subscribe":["a"],"from":-1}',
    '{"subscribe":["a"],"from":1.5}',
    '{"subscribe":["a"],"from":"7"}',
    '{"subscribe":["a"],"to":7}',
    '{"ack":9007199254740992}',
    '{"ack":1,"get":"0000a1b2"}',
    '{"get":"a1b2","label":"a"}',
    '{"get":"0000A1B2","label":"a"}',
    '{"get":" 0000a1b2","label":"a"}',
    '{"get":"0000a1b2\\n","label":"a"}',
    '{"get":"0000a1b2@","label":"a"}',
    '{"get":"0000a1b2@00c0ffee0","label":"a"}',
    '{"get":"0000a1b2@00C0FFEE","label":"a"}',
    '{"get":"0000a1b2@00c0ffee@00c0ffee","label":"a"}',
    '{"get":42,"label":"a"}',
    '{"get":"0000a1b2"}',
    '{"get":"0000a1b2","label":"latchkey application root"}',
    '{"get":"0000a1b2","label":"a","octets":0}',
    '{"get":"0000a1b2","label":"a","octets":256}',
    '{"get":"0000a1b2","label":"a","octets":"16"}',
    '{"get":"0000a1b2","label":"a","allow_expired":true}',
    '{"get":"0000a1b2","label":"a","labels":["a"]}',
    '{"get":"0000a1b2@00c0ffee","labels":["a"]}',
    '{"get":"0000a1b2","labels":["a"],"allow_expired":1}',
  ])('is refused: %s', (line) => {
    expect(() => parse(line)).toThrow(RequestError);
  });
});
