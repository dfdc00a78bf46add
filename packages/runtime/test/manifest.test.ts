// Proves that a manifest is read back as it was written, that each bad line is named by its number, and that no message has a key.

import { Secret } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageFailure } from '../src/failure.js';
import { formatManifest, type ManifestLine, parseManifest } from '../src/manifest.js';

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
  ik: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => Secret.from(octets)),
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
    ['an ID of 7 digits', `0000a1b,00000001,192.0.2.1:5683,${KEY}`, 'id: expected 8 hex digits'],
    ['an ID that is no number', `0000g1b2,00000001,192.0.2.1:5683,${KEY}`, 'id: expected 8 hex digits'],
    ['no ID', `,00000001,192.0.2.1:5683,${KEY}`, 'id: expected 8 hex digits'],
    ['a controller ID of 9 digits', `0000a1b2,000000001,192.0.2.1:5683,${KEY}`, 'controller_id: expected 8 hex digits'],
    ['a controller without port', `0000a1b2,00000001,192.0.2.1,${KEY}`, 'controller: expected HOST:PORT'],
    ['a controller on port 0', `0000a1b2,00000001,192.0.2.1:0,${KEY}`, 'controller: expected HOST:PORT'],
    ['a key of 31 digits', `0000a1b2,00000001,192.0.2.1:5683,${KEY.slice(1)}`, 'ik: expected 32 hex digits'],
    ['a key of 33 digits', `0000a1b2,00000001,192.0.2.1:5683,${KEY}0`, 'ik: expected 32 hex digits'],
    ['a key that is no number', `0000a1b2,00000001,192.0.2.1:5683,${KEY.slice(1)}x`, 'ik: expected 32 hex digits'],
  ])('is refused by line and field where a line has %s', (_, bad, message) => {
    const other = `0000a1b3,00000001,192.0.2.1:5683,${KEY}`;
    const { message: text } = refusal(`${HEADER}\n${other}\n${bad}\n`);
    expect(text).toContain(`manifest.csv, line 3: ${message}`);
    expect(text).not.toContain(KEY.slice(1, 12));
  });

  it.each([
    ['a field too few', `${HEADER}\n${GOOD}\n0000a1b3,00000001,${KEY}\n`],
    ['a field too many', `${HEADER}\n${GOOD}\n0000a1b3,00000001,192.0.2.1:5683,${KEY},x\n`],
    ['a quote in a field', `${HEADER}\n${GOOD}\n0000a1b3,00000001,192.0.2.1:5683,${KEY}"\n`],
    ['a quote left open', `${HEADER}\n${GOOD}\n0000a1b3,00000001,192.0.2.1:5683,"${KEY}\n`],
  ])('is refused by line where a line has %s, without its key', (_, text) => {
    const error = refusal(text);
    expect(error.message).toMatch(/^manifest\.csv, line [34]: not CSV with the four fields /);
    expect(String(error.stack) + String(error.cause)).not.toContain(KEY.slice(1, 12));
  });

  it.each([
    ['no header', `${GOOD}\n0000a1b3,00000001,192.0.2.1:5683,${KEY}\n`],
    ['another header', `id,controller,controller_id,ik\n${GOOD}\n`],
    ['a header alone', `${HEADER}\n`],
    ['nothing', ''],
    ['blanks', ' \n\n'],
  ])('is refused where it has %s', (_, text) => {
    const { message } = refusal(text);
    expect(message).toContain(`line 1: expected the header ${HEADER}`);
    expect(message).not.toContain(KEY.slice(1, 12));
  });

  it('is refused with every bad line, up to ten', () => {
    const bad = Array.from({ length: 13 }, (_, i) => `bad${i},00000001,192.0.2.1:5683,${KEY}`);
    const { message } = refusal([HEADER, GOOD, ...bad].join('\n'));
    const text = message.split('\n');
    expect(text).toHaveLength(11);
    expect(text.slice(0, 10)).toEqual(
      Array.from({ length: 10 }, (_, i) => expect.stringContaining(`manifest.csv, line ${i + 3}: id: `) as string),
    );
    expect(text[10]).toBe('and 3 more');
  });

  it('is refused where an ID stands twice, with both lines', () => {
    const again = GOOD.toUpperCase();
    expect(refusal(`${HEADER}\n${GOOD}\n0000a1b3,00000001,192.0.2.1:5683,${KEY}\n${again}\n`).message).toBe(
      'manifest.csv, line 4: id: 0000a1b2 stands in line 2 already',
    );
  });

  it.each([
    [
      'is no JSON',
      `{"id":"0000a1b2","ik":${KEY}}`,
      'line 2: expected one JSON object a line, with id, controller_id, controller, ik',
    ],
    [
      'has a field too many',
      JSON.stringify({ id: '0000a1b3', controller_id: '00000001', controller: 'c:1', ik: KEY, x: 1 }),
      'line 2: unknown key x',
    ],
    ['lacks its key', JSON.stringify({ id: '0000a1b3', controller_id: '00000001', controller: 'c:1' }), 'line 2: ik: '],
    ['is a list', `["${KEY}"]`, 'line 2: expected names with values'],
  ])('in JSON Lines is refused by line where a line %s', (_, bad, message) => {
    const first = JSON.stringify({ id: '0000a1b2', controller_id: '00000001', controller: 'c:1', ik: KEY });
    const error = refusal(`${first}\n${bad}\n`);
    expect(error.message).toContain(`manifest.csv, ${message}`);
    expect(String(error.stack)).not.toContain(KEY.slice(1, 12));
  });
});
