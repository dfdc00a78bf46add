// Proves that a manifest is read back as it was written, that each bad line is named by its number,
// and that no message has a key.

import { Secret } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { findManifestLine, formatManifest, type ManifestLine, parseManifest } from '../src/manifest.js';

const HEADER = 'id,controller_id,controller,ik';
const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';
const GOOD = `0000a1b2,00000001,192.0.2.1:5683,${KEY}`;

const line: fc.Arbitrary<ManifestLine> = fc.record({
  idI: fc.nat(0xffff_ffff),
  idC: fc.nat(0xffff_ffff),
  controller: fc.record({
    host: fc.oneof(
      fc.ipV4().filter((address) => address !== '0.0.0.0'),
      fc.constantFrom('2001:db8::1', 'controller.example', 'localhost', 'fe80::1%wg_home', 'fe80::1%a,"b"'),
    ),
    port: fc.integer({ min: 1, max: 65_535 }),
  }),
  ik: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .filter((octets) => new Set(octets).size > 1)
    .map((octets) => Secret.from(octets)),
});
const lines = fc.uniqueArray(line, { selector: ({ idI }) => idI, minLength: 1, maxLength: 20 });

/** With keys as digits, which can be compared. */
function plain(given: readonly ManifestLine[]): unknown[] {
  return given.map(({ ik, ...rest }) => ({ ...rest, ik: ik.toHex() }));
}

function refusal(text: string): Error {
  try {
    parseManifest(text, 'manifest.csv');
  } catch (error) {
    if (error instanceof UsageFailure) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a manifest', () => {
  it('is read back as it was written', () => {
    fc.assert(
      fc.property(lines, (given) => {
        expect(plain(parseManifest(formatManifest(given), 'm'))).toEqual(plain(given));
      }),
    );
  });

  it('is CSV with a header and a line a node', () => {
    const given = { idI: 0xa1b2, idC: 1, controller: { host: '2001:db8::1', port: 5683 }, ik: Secret.fromHex(KEY) };
    expect(formatManifest([given])).toBe(`${HEADER}\n0000a1b2,00000001,[2001:db8::1]:5683,${KEY}\n`);
  });

  it.each([
    ['with CRLF', `${HEADER}\r\n${GOOD}\r\n`],
    ['with a byte order mark, as a spreadsheet writes it', `\u{feff}${HEADER}\n${GOOD}\n`],
    ['with quotes', `${HEADER}\n"0000a1b2","00000001","192.0.2.1:5683","${KEY}"\n`],
    ['with blanks around the fields', `${HEADER}\n0000a1b2 , 00000001, 192.0.2.1:5683 ,${KEY} \n`],
    ['with empty lines', `${HEADER}\n\n${GOOD}\n\n`],
    ['without a line end', `${HEADER}\n${GOOD}`],
    ['in capitals', `${HEADER}\n${GOOD.toUpperCase()}\n`],
    [
      'as JSON Lines',
      `${JSON.stringify({ id: '0000a1b2', controller_id: '00000001', controller: '192.0.2.1:5683', ik: KEY })}\n`,
    ],
    [
      'as JSON Lines with CRLF, empty lines and the fields in another order',
      `\r\n${JSON.stringify({ ik: KEY, controller: '192.0.2.1:5683', controller_id: '00000001', id: '0000a1b2' })}\r\n\r\n`,
    ],
    [
      'as JSON Lines with a byte order mark',
      `\u{feff}${JSON.stringify({ id: '0000a1b2', controller_id: '00000001', controller: '192.0.2.1:5683', ik: KEY })}\n`,
    ],
  ])('%s means the same', (_, text) => {
    expect(plain(parseManifest(text, 'm'))).toEqual([
      { idI: 0xa1b2, idC: 1, controller: { host: '192.0.2.1', port: 5683 }, ik: KEY },
    ]);
  });
});

describe('a bad manifest', () => {
  it.each([
    ['no header', `${GOOD}\n0000a1b3,00000001,192.0.2.1:5683,${KEY}\n`],
    ['another header', `id,address,controller_id,ik\n${GOOD}\n`],
    ['blanks', ' \n\n'],
  ])('is refused where it has %s', (_, text) => {
    const { message } = refusal(text);
    expect(message).toContain(`expected the header ${HEADER}`);
    expect(message).not.toContain(KEY.slice(1, 12));
  });

  it('is refused where it is empty, and has no lines where it is a header alone', () => {
    expect(refusal('').message).toBe('manifest.csv is empty');
    expect(parseManifest(`${HEADER}\n`, 'm')).toEqual([]);
  });

  it('is refused with every bad line, up to ten, and without their keys', () => {
    const bad = Array.from({ length: 13 }, (_, i) => `bad${i},00000001,192.0.2.1:5683,${KEY}`);
    const { message } = refusal([HEADER, GOOD, ...bad].join('\n'));
    const text = message.split('\n');
    expect(text).toHaveLength(11);
    expect(text.slice(0, 10)).toEqual(
      Array.from({ length: 10 }, (_, i) => expect.stringContaining(`manifest.csv, line ${i + 3}: id: `) as string),
    );
    expect(text[10]).toBe('and 3 more');
    expect(message).not.toContain(KEY.slice(1, 12));
  });

  it('is refused where an ID stands twice with other fields, with both lines and what differs', () => {
    const other = `0000a1b3,00000001,192.0.2.1:5683,${KEY}`;
    const again = (id: string, at: string, key: string): string =>
      refusal([HEADER, GOOD, other, `0000A1B2,${id},${at},${key}`].join('\n')).message;
    const stands = 'manifest.csv, line 4: id: 0000a1b2 stands in line 2 already, with another';
    expect(again('00000001', '192.0.2.1:5683', KEY.replace('5', '6'))).toBe(`${stands} ik`);
    expect(again('00000002', '192.0.2.2:5683', KEY)).toBe(`${stands} controller_id and controller`);
  });
});

it('a line that stands twice alike is one line', () => {
  const text = [HEADER, GOOD, `0000a1b3,00000001,192.0.2.1:5683,${KEY}`, GOOD.toUpperCase(), GOOD].join('\n');
  expect(parseManifest(text, 'm').map(({ idI }) => idI)).toEqual([0xa1b2, 0xa1b3]);
});

describe('the line of one node', () => {
  const find = (lines: readonly string[], idI = 0xa1b2): ManifestLine =>
    findManifestLine(Buffer.from([HEADER, ...lines].join('\n')), idI, { name: 'manifest.csv', decrypt: {} });
  const refused = (lines: readonly string[], idI = 0xa1b2): Error => {
    try {
      find(lines, idI);
    } catch (error) {
      if (error instanceof Failure) return error;
      throw error;
    }
    throw new Error('it was not refused');
  };
  const spoiled = [
    `0000a1b3,1,192.0.2.1:5683,${KEY}`,
    'x',
    '',
    `0000a1b4,00000001,nowhere,${KEY}`,
    `"0000a1b5`,
    `a1b2,00000001,192.0.2.1:5683,${KEY}`,
  ];

  it('is found among those of others, however they are spoiled, and twice alike', () => {
    for (const lines of [[GOOD], [...spoiled, GOOD], [GOOD, ...spoiled, GOOD.toUpperCase()]]) {
      expect(plain([find(lines)])).toEqual([{ idI: 0xa1b2, idC: 1, controller: { host: '192.0.2.1', port: 5683 }, ik: KEY }]);
    }
  });

  it('may stand twice with its controller in another spelling', () => {
    const at = (host: string): string => GOOD.replace('192.0.2.1', host);
    expect(find([at('Gateway.example'), at('gateway.example.')]).controller.host).toBe('Gateway.example');
  });

  it('is refused where it is spoiled itself, and where there are two that differ', () => {
    expect(refused([...spoiled, GOOD.replace(KEY, '1.2E+31')]).message).toBe(
      'manifest.csv, line 8: ik: expected 32 hex digits: a spreadsheet made a number of it; import the original file with this column as text',
    );
    expect(refused([GOOD, GOOD.replace('192.0.2.1', '192.0.2.2')]).message).toBe(
      'manifest.csv, line 3: id: 0000a1b2 stands in line 2 already, with another controller',
    );
    expect(refused([GOOD, GOOD.replace(KEY, 'x')]).message).toMatch(/^manifest\.csv, line 3: ik: /);
  });

  it('that is not there is refused with the lines that cannot be read: it may be one of them', () => {
    expect(refused([`0000a1b3,00000001,192.0.2.1:5683,${KEY}`])).toMatchObject({
      name: 'NotFound',
      message: 'manifest.csv has no line for node 0000a1b2',
      advice: 'Check the ID on the label.',
    });
    const { name, message } = refused(spoiled);
    expect(name).toBe('UsageFailure');
    expect(message.split('\n')).toEqual([
      'manifest.csv has no line for node 0000a1b2 among those that can be read',
      'manifest.csv, line 3: expected 4 fields, not 1',
      'manifest.csv, line 6: a quote stands in the wrong place, or does not end',
      'manifest.csv, line 7: id: expected 8 hex digits, not "a1b2": if a spreadsheet took its leading zeros, write 0000a1b2',
    ]);
    expect(message).not.toContain(KEY.slice(0, 12));
  });
});
