/**
 * CoAP as it should not be: every malformation known, and what is well-formed but out of place.
 * Data only; what a daemon does with it is in hostile.ts and the tests.
 *
 * Written as hex with spaces: `40 02 1234` is CON, POST, message ID 0x1234, no token. `b1 6b` is
 * Uri-Path "k", `ff` the payload marker.
 */

export interface Malformation {
  readonly name: string;
  readonly octets: Buffer;
}

function hex(text: string): Buffer {
  const digits = text.replaceAll(' ', '');
  const octets = Buffer.from(digits, 'hex');
  if (octets.length * 2 !== digits.length) throw new Error(`not hex: ${text}`);
  return octets;
}

const zeros = (n: number): string => '00'.repeat(n);
const times = (text: string, n: number): string => `${text} `.repeat(n);
const M1 = `11 ${zeros(20)}`;
const M5 = `15 ${zeros(32)}`;

/** POST /k with M1, and these options (hex) before Uri-Path or after it. */
const post = (before: string, after = ''): string => `42 02 1234 aabb ${before} ${after} ff ${M1}`;

const MALFORMED: Readonly<Record<string, string>> = {
  'an empty datagram': '',
  'one octet': '40',
  'three octets': '40 02 12',
  'version 0': `00 02 1234 b1 6b ff ${M1}`,
  'version 2': `80 02 1234 b1 6b ff ${M1}`,
  'version 3': `c0 02 1234 b1 6b ff ${M1}`,
  ...Object.fromEntries(
    Array.from({ length: 7 }, (_, i) => [
      `a token of ${i + 9} octets`,
      `${(0x49 + i).toString(16)} 02 1234 ${zeros(i + 9)} b1 6b ff ${M1}`,
    ]),
  ),
  'a token cut short': '48 02 1234 aabb',
  'a token of 13 octets with a bad Block1': `4d 02 0001 ${zeros(13)} d1 0e ff`,
  'a ping': '40 00 1234',
  'an empty NON': '50 00 1234',
  'an empty ACK': '60 00 1234',
  'a Reset': '70 00 1234',
  'a ping with a token': '42 00 1234 aabb',
  'a ping with an option': '40 00 1234 b1 6b',
  'a ping with a payload': '40 00 1234 ff 00',
  'a request in an ACK': `62 02 1234 aabb b1 6b ff ${M1}`,
  'a request in a Reset': `72 02 1234 aabb b1 6b ff ${M1}`,
  'a NON request': `52 02 1234 aabb b1 6b ff ${M1}`,
  'a payload marker with nothing after it': '42 02 1234 aabb b1 6b ff',
  'a payload marker alone': '40 02 1234 ff',
  'two payload markers': '42 02 1234 aabb b1 6b ff ff',
  'delta 15': `42 02 1234 aabb f1 6b ff ${M1}`,
  'length 15': `42 02 1234 aabb bf 6b ff ${M1}`,
  'delta 15 and no length': `42 02 1234 aabb f0 ff ${M1}`,
  'delta 13 without its octet': '42 02 1234 aabb d0',
  'delta 14 with one octet': '42 02 1234 aabb e0 00',
  'length 13 without its octet': '42 02 1234 aabb bd',
  'length 14 with one octet': '42 02 1234 aabb be 00',
  'an option longer than the datagram': '42 02 1234 aabb b8 6b',
  'an option that says 65,804 octets': '42 02 1234 aabb be ff ff',
  'an option number beyond 65,535': `42 02 1234 aabb e0 ffff e0 ffff ff ${M1}`,
  'a hundred empty options': `42 02 1234 aabb ${times('00', 100)} ff ${M1}`,
  'If-Match, critical': post('10', 'a1 6b'),
  'Uri-Host': post('39 6c6f63616c686f7374', '81 6b'),
  'Uri-Host, empty': post('30', '81 6b'),
  'Uri-Host of 255 octets': post(`3d f2 ${zeros(255)}`, '81 6b'),
  'ETag, elective': post('41 00', '71 6b'),
  'If-None-Match': post('50', '61 6b'),
  'If-None-Match, repeated': post('50 00', '61 6b'),
  'If-None-Match with a value': post('51 00', '61 6b'),
  Observe: post('60', '51 6b'),
  'Observe in a GET': '42 01 1234 aabb 60 51 6b',
  'Observe of 4 octets': post('64 00000000', '51 6b'),
  'Uri-Port of 3 octets': post('73 000000', '41 6b'),
  'Location-Path': post('81 00', '31 6b'),
  OSCORE: post('90', '21 6b'),
  'no Uri-Path': post(''),
  'Uri-Path, empty': post('b0'),
  'Uri-Path of 255 octets': post(`bd f2 ${'6b'.repeat(255)}`),
  'Uri-Path of 256 octets': post(`bd f3 ${'6b'.repeat(256)}`),
  'Uri-Path that is not UTF-8': post('b2 c328'),
  'Uri-Path with a NUL': post('b2 6b00'),
  'Uri-Path with dots and a slash': post('b3 2e2e2f'),
  'Uri-Path with percent signs': post('b3 256b25'),
  'Uri-Path with a question mark': post('b2 6b3f'),
  'Uri-Path forty times': post(`b1 6b ${times('01 6b', 39)}`),
  'Content-Format 42': post('b1 6b', '11 2a'),
  'Content-Format 0': post('b1 6b', '10'),
  'Content-Format of 3 octets': post('b1 6b', '13 00002a'),
  'Content-Format twice': post('b1 6b', '11 2a 01 2a'),
  'Max-Age in a request': post('b1 6b', '31 00'),
  'Uri-Query': post('b1 6b', '41 61'),
  'Uri-Query of 255 octets': post('b1 6b', `4d f2 ${'61'.repeat(255)}`),
  'Accept 42': post('b1 6b', '61 2a'),
  'Accept 65,535': post('b1 6b', '62 ffff'),
  'Q-Block1': post('b1 6b', '81 00'),
  Block2: post('b1 6b', 'c1 00'),
  'Block2 of 4 octets': post('b1 6b', 'c4 01020304'),
  'Block1, first of many': post('b1 6b', 'd1 03 08'),
  'Block1, last': post('b1 6b', 'd1 03 00'),
  'Block1 with SZX 7': post('b1 6b', 'd1 03 07'),
  'Block1 of 4 octets': post('b1 6b', 'd4 03 01020304'),
  'Block1 and no payload': '40 02 0003 d4 0e 01020304',
  Size2: post('b1 6b', 'd0 04'),
  'Proxy-Uri': post('b1 6b', `dd 0b 05 ${Buffer.from('coap://192.0.2.1/k').toString('hex')}`),
  'Proxy-Scheme': post('b1 6b', `d4 0f ${Buffer.from('coap').toString('hex')}`),
  Size1: post('b1 6b', 'd0 24'),
  'Echo, empty': post('b1 6b', 'd0 e4'),
  'Echo of 12 octets that nobody issued': post('b1 6b', `dc e4 ${zeros(12)}`),
  'Echo of 40 octets': post('b1 6b', `dd e4 1b ${zeros(40)}`),
  'Echo of 41 octets': post('b1 6b', `dd e4 1c ${zeros(41)}`),
  'No-Response': post('b1 6b', 'd1 ea 1a'),
  'Request-Tag': post('b1 6b', 'e1 000c 00'),
  'an unknown critical option': post('b1 6b', 'e0 fd01'),
  'an unknown elective option': post('b1 6b', 'e0 fd00'),
  GET: '42 01 1234 aabb b1 6b',
  PUT: `42 03 1234 aabb b1 6b ff ${M1}`,
  DELETE: '42 04 1234 aabb b1 6b',
  'FETCH without Content-Format': `42 05 1234 aabb b1 6b ff ${M1}`,
  PATCH: `42 06 1234 aabb b1 6b ff ${M1}`,
  iPATCH: `42 07 1234 aabb b1 6b ff ${M1}`,
  'code 0.08': `42 08 1234 aabb b1 6b ff ${M1}`,
  'code 0.31': `42 1f 1234 aabb b1 6b ff ${M1}`,
  'code 1.00': `42 20 1234 aabb b1 6b ff ${M1}`,
  'code 1.01': `42 21 1234 aabb b1 6b ff ${M1}`,
  'code 3.01': `42 61 1234 aabb ff ${M1}`,
  'code 6.00': `42 c0 1234 aabb ff ${M1}`,
  'code 7.01, a signal of CoAP over TCP': `42 e1 1234 aabb ff ${M1}`,
  'code 7.31': `42 ff 1234 aabb ff ${M1}`,
  'a response out of the blue, CON': `42 44 1234 aabb ff ${M1}`,
  'a response out of the blue, NON': `52 44 1234 aabb ff ${M1}`,
  'a response out of the blue, ACK': `62 44 1234 aabb ff ${M1}`,
  'a response in a Reset': `72 44 1234 aabb ff ${M1}`,
  'a response with a 4-octet Block1': '40 45 0002 d4 0e 01020304',
  'a response with a 4-octet Block2': '62 45 0002 aabb d4 0a 01020304',
  'a response with Observe': `62 45 0002 aabb 61 01 ff ${M1}`,
  'a response 2.31': '62 5f 0002 aabb d1 0e 08',
  'a response 4.01 with an Echo of 40 octets': `62 81 0002 aabb dd ef 1b ${zeros(40)}`,
  'a response 4.01 with an empty Echo': '62 81 0002 aabb d0 ef',
  'a response 5.03 with Max-Age of 4 octets': '62 a3 0002 aabb d4 01 ffffffff',
  'a response 5.03 with Max-Age of 5 octets': '62 a3 0002 aabb d5 01 ffffffffff',
  'a response with an unknown critical option': `62 44 0002 aabb e0 fd00 ff ${M1}`,
  'GET /.well-known/core': '42 01 1234 aabb bb 2e77656c6c2d6b6e6f776e 04 636f7265',
  'GET /.well-known/core?rt=*': '42 01 1234 aabb bb 2e77656c6c2d6b6e6f776e 04 636f7265 44 72743d2a',
  'GET /.well-known/core?': '42 01 1234 aabb bb 2e77656c6c2d6b6e6f776e 04 636f7265 40',
  'POST /.well-known/core': `42 02 1234 aabb bb 2e77656c6c2d6b6e6f776e 04 636f7265 ff ${M1}`,
  'an M1': `42 02 1234 aabb b1 6b ff ${M1}`,
  'an M1 of one octet less': `42 02 1234 aabb b1 6b ff 11 ${zeros(19)}`,
  'an M1 of one octet more': `42 02 1234 aabb b1 6b ff 11 ${zeros(21)}`,
  'an M1 of profile 2': `42 02 1234 aabb b1 6b ff 21 ${zeros(20)}`,
  'an M2 of noise': `42 02 1234 aabb b1 6b ff 12 00000001 ${'5a'.repeat(74)}`,
  'an M4': `42 02 1234 aabb b1 6b ff 14 00000001 ${zeros(48)}`,
  'an M5 of no transaction': `42 02 1234 aabb b1 6b ff ${M5}`,
  'an M7 of noise': `42 02 1234 aabb b1 6b ff 17 00000001 ${'5a'.repeat(116)}`,
  'no payload': '42 02 1234 aabb b1 6b',
};

/**
 * Too large to be written out: the most that UDP carries over IPv4, and what is just beyond what a
 * daemon looks at.
 */
const LARGE: readonly Malformation[] = [
  { name: '513 octets', octets: Buffer.concat([hex('42 02 1234 aabb b1 6b ff'), Buffer.alloc(504, 0x11)]) },
  { name: '1,500 octets', octets: Buffer.concat([hex('42 02 1234 aabb b1 6b ff'), Buffer.alloc(1_491, 0x11)]) },
  { name: '65,507 octets', octets: Buffer.concat([hex('42 02 1234 aabb b1 6b ff'), Buffer.alloc(65_498, 0x11)]) },
  { name: '65,507 octets of options', octets: Buffer.concat([hex('42 02 1234 aabb'), Buffer.alloc(65_501, 0x01)]) },
];

export const CORPUS: readonly Malformation[] = [
  ...Object.entries(MALFORMED).map(([name, text]) => ({ name, octets: hex(text) })),
  ...LARGE,
];
