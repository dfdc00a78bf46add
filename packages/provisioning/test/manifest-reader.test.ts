// Proves how a manifest is read: in every notation that it comes in, every row or a reason, and
// never a piece of a key in words.

import { randomBytes, randomInt } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatEndpoint } from '@latchkey/runtime/net';
import type { Failure } from '@latchkey/runtime/failure';
import { ManifestReader } from '../src/manifest-reader.js';

const HEADER = 'id,controller_id,controller,ik';
const IK = '00112233445566778899aabbccddeeff';
const AT = '192.0.2.1:5683';

interface Read {
  /** `LINE ID_i ID_c IK`, and the controller where it is not at `AT` */
  readonly rows: string[];
  /** `LINE reason` */
  readonly problems: string[];
  /** What ended it. */
  readonly failure: Failure | undefined;
}

function read(content: string | Uint8Array, size = Infinity): Read {
  const [rows, problems]: [string[], string[]] = [[], []];
  const reader = new ManifestReader(
    { name: 'm.csv', decrypt: { advice: 'Decrypt it.' } },
    {
      row: ({ line, idI, idC, controller, ik }) => {
        const at = formatEndpoint(controller);
        const cells = [line, idI.toString(16), idC.toString(16), Buffer.from(ik).toString('hex'), ...(at === AT ? [] : [at])];
        rows.push(cells.join(' '));
      },
      problem: ({ line, idI, reason }) =>
        void problems.push(`${line} ${idI === undefined ? '' : `${idI.toString(16)} `}${reason}`),
    },
  );
  const octets = Buffer.from(content as string);
  try {
    for (let from = 0; from < octets.length; from += size) reader.push(octets.subarray(from, from + size));
    reader.end();
    return { rows, problems, failure: undefined };
  } catch (error) {
    return { rows, problems, failure: error as Failure };
  }
}

const csv = (...rows: readonly string[]): string => [HEADER, ...rows, ''].join('\n');
const hex = (i: number): string => i.toString(16).padStart(8, '0');
const fields = (i: number, more: { readonly ik?: string; readonly at?: string } = {}): string[] => [
  hex(i),
  '00000001',
  more.at ?? AT,
  more.ik ?? IK,
];
const row = (...args: Parameters<typeof fields>): string => fields(...args).join(',');
const good = (i: number, line: number): string => `${line} ${i.toString(16)} 1 ${IK}`;
const object = (i: number, more: object = {}): string =>
  JSON.stringify({ id: hex(i), controller_id: '00000001', controller: AT, ik: IK, ...more });
const ok = { problems: [], failure: undefined };
const utf16 = (text: string): Buffer => Buffer.from(text, 'utf16le');

describe('CSV', () => {
  it('is read with each line’s number', () => {
    expect(read(csv(row(1), row(0xffff_ffff)))).toEqual({ ...ok, rows: [good(1, 2), good(0xffff_ffff, 3)] });
  });

  it.each<[string, string | Buffer, number[]]>([
    ['a byte order mark', `\uFEFF${csv(row(1), row(2))}`, [2, 3]],
    ['CRLF', csv(row(1), row(2)).replaceAll('\n', '\r\n'), [2, 3]],
    ['CR alone', csv(row(1), row(2)).replaceAll('\n', '\r'), [2, 3]],
    ['CRLF and LF, as a file that was edited does', `${HEADER}\r\n${row(1)}\n${row(2)}\r\n`, [2, 3]],
    ['LF and CRLF', `${HEADER}\n${row(1)}\r\n${row(2)}\n`, [2, 3]],
    ['no line break at the end', csv(row(1), row(2)).trimEnd(), [2, 3]],
    ['blank lines', csv('', row(1), '', '', row(2), '', ''), [3, 6]],
    ['blank lines before the header', `\n\n${csv(row(1), row(2))}`, [4, 5]],
    ['many blank lines before the header', `${'\n'.repeat(6_000)}${csv(row(1), row(2))}`, [6_002, 6_003]],
    ['lines of blanks', csv(row(1), '   ', row(2)), [2, 4]],
    ['empty rows of a spreadsheet', csv(row(1), ',,,', ' , ,, ', '"","","",""', row(2), ',,,', ','), [2, 6]],
    ['empty columns of a spreadsheet', csv(row(1), row(2)).replaceAll('\n', ',,\n'), [2, 3]],
    ['an empty column first', `,${csv(row(1), row(2)).replaceAll('\n', '\n,')}`, [2, 3]],
    ['quotes', csv(...[1, 2].map((i) => row(i).replaceAll(/[^,]+/g, '"$&"'))), [2, 3]],
    ['a quoted header', csv(row(1), row(2)).replace(HEADER, HEADER.replaceAll(/[^,]+/g, '"$&"')), [2, 3]],
    ['blanks around the fields', csv(row(1).replaceAll(',', ' , '), `  ${row(2)}  `), [2, 3]],
    ['blanks within quotes', csv(row(1), row(2).replaceAll(/[^,]+/g, '" $& "')), [2, 3]],
    ['capitals', csv(row(1, { ik: IK.toUpperCase() }), row(2)), [2, 3]],
    ['a header in capitals', csv(row(1), row(2)).replace(HEADER, HEADER.toUpperCase()), [2, 3]],
    ['semicolons', csv(row(1), row(2)).replaceAll(',', ';'), [2, 3]],
    ['semicolons and quotes', csv(row(1), row(2).replaceAll(/[^,]+/g, '"$&"')).replaceAll(',', ';'), [2, 3]],
    ['tabs', csv(row(1), row(2)).replaceAll(',', '\t'), [2, 3]],
    ['tabs, and rows of tabs', csv(row(1), ',,,', row(2)).replaceAll(',', '\t'), [2, 4]],
    ['tabs and blanks around the fields', csv(row(1).replaceAll(',', ' , '), row(2)).replaceAll(',', '\t'), [2, 3]],
    ['the line of Excel for semicolons', `sep=;\r\n${csv(row(1), row(2)).replaceAll(',', ';')}`, [3, 4]],
    ['that line for tabs', `sep=\t\n${csv(row(1), row(2)).replaceAll(',', '\t')}`, [3, 4]],
    ['that line for another mark', `"SEP=|"\n${csv(row(1), row(2)).replaceAll(',', '|')}`, [3, 4]],
    ['UTF-16, as Excel writes text', utf16(`\uFEFF${csv(row(1), row(2)).replaceAll(',', '\t')}`), [2, 3]],
    ['UTF-16, the other end first', utf16(`\uFEFF${csv(row(1), row(2))}`).swap16(), [2, 3]],
    ['UTF-16 without a byte order mark', utf16(csv(row(1), row(2))), [2, 3]],
    ['UTF-16 without one, the other end first', utf16(csv(row(1), row(2))).swap16(), [2, 3]],
  ])('may have %s', (_, text, numbers) => {
    expect(read(text)).toEqual({ ...ok, rows: numbers.map((line, i) => good(i + 1, line)) });
  });

  it('may have its columns in another order, which the header tells', () => {
    const turned = [HEADER.split(','), fields(1), fields(2)].map((cells) => [...cells].toReversed().join(';')).join('\n');
    expect(read(turned)).toEqual({ ...ok, rows: [good(1, 2), good(2, 3)] });
  });

  it.each([
    ['too few fields', '00000001,00000001', '1 expected 4 fields, not 2'],
    ['too many fields', `${row(1)},x`, '1 expected 4 fields, not 5'],
    [
      'another delimiter',
      row(1).replaceAll(',', ';'),
      'expected 4 fields, not 1: semicolons stand in it, and commas in the header',
    ],
    [
      'an ID that lost its zeros',
      `a1b2,00000001,${AT},${IK}`,
      'id: expected 8 hex digits, not "a1b2": if a spreadsheet took its leading zeros, write 0000a1b2',
    ],
    [
      'an ID in scientific notation',
      `1E+05,00000001,${AT},${IK}`,
      'id: expected 8 hex digits, not "1E+05": a spreadsheet made a number of it; import the original file with this column as text',
    ],
    [
      'one with a fraction',
      `"1,23E+07",00000001,${AT},${IK}`,
      'id: expected 8 hex digits, not "1,23E+07": a spreadsheet made a number of it; import the original file with this column as text',
    ],
    ['an ID too long', `000000001,00000001,${AT},${IK}`, 'id: expected 8 hex digits, not "000000001"'],
    ['no ID', `,00000001,${AT},${IK}`, 'id: expected 8 hex digits, and it is empty'],
    ['a controller that is none', `00000001,x,${AT},${IK}`, '1 controller_id: expected 8 hex digits, not "x"'],
    [
      'a controller that lost its zeros',
      `00000001,1,${AT},${IK}`,
      '1 controller_id: expected 8 hex digits, not "1": if a spreadsheet took its leading zeros, write 00000001',
    ],
    [
      'no port',
      row(1, { at: '192.0.2.1' }),
      '1 controller: expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683, not "192.0.2.1"',
    ],
    [
      'port 0',
      row(1, { at: '192.0.2.1:0' }),
      '1 controller: expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683, not "192.0.2.1:0"',
    ],
    [
      'no address',
      row(1, { at: '' }),
      '1 controller: expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683, and it is empty',
    ],
    [
      'a key too short',
      row(1, { ik: IK.slice(1) }),
      '1 ik: expected 32 hex digits, not 31: a spreadsheet may have taken leading zeros',
    ],
    ['a key too long', row(1, { ik: `${IK}0` }), '1 ik: expected 32 hex digits, not 33'],
    [
      'a key in scientific notation',
      row(1, { ik: '1.23457E+31' }),
      '1 ik: expected 32 hex digits: a spreadsheet made a number of it; import the original file with this column as text',
    ],
    [
      'a key with a blank in it',
      row(1, { ik: `${IK.slice(0, 16)} ${IK.slice(16)}` }),
      '1 ik: expected 32 hex digits, and other characters are in it',
    ],
    ['no key', row(1, { ik: '' }), '1 ik: expected 32 hex digits, and it is empty'],
    ['a key of zeros', row(1, { ik: '0'.repeat(32) }), '1 ik: its digits are all 0 or all f: no key was ever written there'],
    [
      'a key of erased memory',
      row(1, { ik: 'fF'.repeat(16) }),
      '1 ik: its digits are all 0 or all f: no key was ever written there',
    ],
    [
      'key and ID in the wrong places',
      `${IK},00000001,${AT},00000001`,
      'id: expected 8 hex digits, not a text of 32 characters, which is not shown: it may be a key',
    ],
    ['NUL octets', row(1).replace(',', '\0,'), 'id: expected 8 hex digits, not "00000001\\u0000"'],
    ['an escape sequence', row(1).replace(',', '\u001B[2J\u009B,'), 'id: expected 8 hex digits, not "00000001\\u001b[2J\\u009b"'],
    ['other digits', row(1, { ik: `${IK.slice(0, 31)}٣` }), '1 ik: expected 32 hex digits, and other characters are in it'],
    ['a quote that does not end', `"${row(1)}`, 'a quote stands in the wrong place, or does not end'],
    ['a quote in the middle of a field', row(1).replace('1,', '1"x",'), 'a quote stands in the wrong place, or does not end'],
    ['more after a quote', row(1, { ik: `"${IK}"0` }), 'a quote stands in the wrong place, or does not end'],
    ['a formula that keeps zeros', `="00000001",00000001,${AT},${IK}`, 'a quote stands in the wrong place, or does not end'],
    ['5,000 octets', row(1, { at: 'x'.repeat(5_000) }), 'longer than 4096 octets'],
    ['a million octets', IK.repeat(30_000), 'longer than 4096 octets'],
  ])('with %s in a line costs that line', (_, bad, problem) => {
    expect(read(csv(row(7), bad, row(8)))).toEqual({
      rows: [good(7, 2), good(8, 4)],
      problems: [`3 ${problem}`],
      failure: undefined,
    });
  });

  it('with a line break within quotes costs the lines that it is in', () => {
    const { rows, problems } = read(csv(row(1), row(2, { at: '"192.0.2.1\n:5683"' }), row(3), 'x', row(4)));
    expect(rows).toEqual([good(1, 2), good(3, 5), good(4, 7)]);
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual(['3', '4', '6']);
  });

  it('with a bad quote every so often costs those lines, of thousands', () => {
    const bad = (i: number): boolean => i % 700 === 300;
    const { rows, problems, failure } = read(csv(...Array.from({ length: 5_000 }, (_, i) => (bad(i) ? `"${row(i)}` : row(i)))));
    const numbers = Array.from({ length: 5_000 }, (_, i) => i);
    expect(rows).toEqual(numbers.filter((i) => !bad(i)).map((i) => good(i, i + 2)));
    expect(problems.map((problem) => Number.parseInt(problem, 10))).toEqual(numbers.filter(bad).map((i) => i + 2));
    expect(failure).toBeUndefined();
  });

  it('does not take an address for good because the line before had it, nor an empty one at first', () => {
    const { problems } = read(csv(row(1, { at: '' }), row(2), row(3, { at: 'x' }), row(4)));
    expect(problems.map((problem) => problem.slice(0, 25))).toEqual(
      ['2 1 controller: expected H', '4 3 controller: expected H'].map((text) => text.slice(0, 25)),
    );
  });

  it.each([
    ['no header', row(1), 1, ''],
    ['a column too many', `${HEADER},lifetime`, 1, '; it also has "lifetime"'],
    ['a column twice', `${HEADER},IK`, 1, '; it also has "IK"'],
    ['a column too few', 'id;controller_id;ik', 1, '; controller is missing'],
    ['names of its own', 'id,controller id,address,ik', 1, '; controller_id, controller are missing'],
    ['a key for a name', `${HEADER},${IK}`, 1, '; it also has a text of 32 characters, which is not shown: it may be a key'],
    ['bars', '\n\nid|controller_id|controller|ik', 3, ': its fields are separated by "|"; commas, semicolons and tabs are read'],
    [
      'bars and quotes',
      '"id" | "controller_id" | "controller" | "ik"',
      1,
      ': its fields are separated by "|"; commas, semicolons and tabs are read',
    ],
    ['colons', 'ID:CONTROLLER_ID:CONTROLLER:IK', 1, ': its fields are separated by ":"; commas, semicolons and tabs are read'],
    ['blanks', 'id controller_id controller ik', 1, ': its fields are separated by blanks; commas, semicolons and tabs are read'],
    [
      'several blanks',
      'id  controller_id  controller  ik',
      1,
      ': its fields are separated by blanks; commas, semicolons and tabs are read',
    ],
    [
      'another delimiter than it says',
      `sep=;\n${HEADER}`,
      2,
      ': its fields are separated by commas, and the line above it says semicolons',
    ],
    ['a quote that does not end', `"${HEADER}`, 1, ': a quote stands in the wrong place, or does not end'],
  ])('is refused with %s in place of the header, which is described', (_, header, line, description) => {
    const { rows, failure } = read(`${header}\n${row(1)}\n`);
    expect(rows).toEqual([]);
    expect(failure?.name).toBe('UsageFailure');
    expect(failure?.message).toBe(`m.csv, line ${line}: expected the header ${HEADER}${description}`);
  });
});

describe('JSON', () => {
  it.each<[string, string | Buffer, number[]]>([
    ['lines', `${object(1)}\n${object(2)}\n`, [1, 2]],
    ['lines with a byte order mark', `\uFEFF${object(1)}\n${object(2)}`, [1, 2]],
    ['lines with CRLF', `${object(1)}\r\n${object(2)}\r\n`, [1, 2]],
    ['lines with CR', `${object(1)}\r${object(2)}\r`, [1, 2]],
    ['lines with blank ones', `\n\n${object(1)}\n\n  \n${object(2)}\n`, [3, 6]],
    ['lines that are blank at first, many', `${' \n'.repeat(3_000)}${object(1)}\n${object(2)}\n`, [3_001, 3_002]],
    [
      'lines with fields in another order',
      `{"ik":"${IK}","controller":"${AT}","id":"00000001","controller_id":"00000001"}\n${object(2)}`,
      [1, 2],
    ],
    ['lines that were an array', `${object(1)},\n${object(2)},\n`, [1, 2]],
    ['objects on one line', `${object(1)}${object(2)}`, [1, 1]],
    ['an array', `[${object(1)},${object(2)}]`, [1, 1]],
    ['an array with a line each', `\uFEFF[\n${object(1)},\n${object(2)}\n]\n`, [2, 3]],
    [
      'an array with a line for each field',
      JSON.stringify(
        [1, 2].map((i) => JSON.parse(object(i)) as object),
        null,
        2,
      ),
      [2, 8],
    ],
    ['an array in UTF-16', utf16(`\uFEFF[${object(1)},\r\n${object(2)}]`), [1, 2]],
    [
      'an array with empty rows of a spreadsheet',
      `[${object(1)},\n${object(0, { id: '', controller_id: '', controller: '', ik: '' })},\n${object(2)},\n{"id":null,"controller_id":null,"controller":null,"ik":null}]`,
      [1, 3],
    ],
    ['two arrays', `[${object(1)}]\n[${object(2)}]`, [1, 2]],
  ])('may be %s', (_, text, numbers) => {
    expect(read(text)).toEqual({ ...ok, rows: numbers.map((line, i) => good(i + 1, line)) });
  });

  it('may be an array of none', () => {
    for (const text of ['[]', '[\n\n]\n', '[{"id":"","controller_id":"","controller":"","ik":""}]'])
      expect(read(text)).toEqual({ ...ok, rows: [] });
  });

  const none = 'expected a JSON object with id, controller_id, controller, ik';
  const unknown = (name: string): string =>
    `1 it has ${name}, which is none of id, controller_id, controller, ik, name, site, location, tags, note`;
  const cases: [string, string, string][] = [
    ['a list', `["00000001","00000001","${AT}","${IK}"]`, none],
    ['a string', `"${IK}"`, none],
    ['null', 'null', none],
    ['half an object', object(1).slice(0, -3), none],
    ['the other half of one', object(1).slice(9), none],
    ['a quote too few', object(1).replace('"', ''), none],
    ['CSV', row(1), none],
    ['a field of an extra name', object(1, { lifetime: 60 }), unknown('"lifetime"')],
    ['a name that is a key', object(1, { [IK]: 1 }), unknown('a text of 32 characters, which is not shown: it may be a key')],
    ['__proto__', object(1).replace('{', '{"__proto__":1,'), unknown('"__proto__"')],
    ['a number for an ID', object(1, { id: 1 }), 'id: expected 8 hex digits in quotes, not the number 1'],
    ['a large number for an ID', object(1, { id: 1.5e31 }), 'id: expected 8 hex digits in quotes, not the number 1.5e+31'],
    ['a list for an ID', object(1, { id: ['00000001'] }), 'id: expected 8 hex digits as text'],
    ['no ID', object(1, { id: undefined }), 'id: expected 8 hex digits, and it is missing'],
    ['null for a key', object(1, { ik: null }), '1 ik: expected 32 hex digits, and it is empty'],
    ['a list for a key', object(1, { ik: [IK] }), '1 ik: expected 32 hex digits as text'],
    ['a number for a key', object(1, { ik: 1.234e31 }), '1 ik: expected 32 hex digits in quotes, not a number'],
    ['no key', object(1, { ik: undefined }), '1 ik: expected 32 hex digits, and it is missing'],
    ['a line break in a key', object(1, { ik: `${IK}\n` }), '1 ik: expected 32 hex digits, and other characters are in it'],
    ['a key of zeros', object(1, { ik: '0'.repeat(32) }), '1 ik: its digits are all 0 or all f: no key was ever written there'],
    ['5,000 octets', object(1, { ik: IK.repeat(200) }), 'longer than 4096 octets'],
  ];
  it.each(cases)('lines with %s cost that line', (_, bad, problem) => {
    expect(read(`${object(7)}\n${bad}\n${object(8)}\n`)).toEqual({
      rows: [good(7, 1), good(8, 3)],
      problems: [`2 ${problem}`],
      failure: undefined,
    });
  });

  it.each(cases)('in an array with %s costs that element', (what, bad, problem) => {
    const { rows, problems, failure } = read(`[${object(7)},\n${bad},\n${object(8)}]`);
    expect([rows, failure]).toEqual([[good(7, 1), good(8, 3)], undefined]);
    // A list within the array closes it before its time.
    const end = what === 'a list' ? [`3 ${none}`] : [];
    expect(problems).toEqual([`2 ${problem}`, ...end]);
  });

  it('with an object in an object costs that line', () => {
    const nested = object(1, { controller: { host: '192.0.2.1', port: 5683 } });
    const { rows, problems } = read(`${object(7)}\n${nested}\n${object(8)}`);
    expect(rows).toEqual([good(7, 1), good(8, 3)]);
    expect(problems).toEqual([
      `2 ${none}`,
      '2 it has "host", which is none of id, controller_id, controller, ik, name, site, location, tags, note',
    ]);
  });

  it('that is cut short says so', () => {
    const whole = `[${object(1)},\n${object(2)}\n]`;
    expect(read(whole.slice(0, -1))).toEqual({
      rows: [good(1, 1), good(2, 2)],
      problems: ['3 the array has no end: the file seems to be cut short'],
      failure: undefined,
    });
    expect(read(whole.slice(0, -10)).problems).toEqual([`2 ${none}`]);
  });
});

describe('a file', () => {
  it.each<[string, Buffer, string]>([
    [
      'a workbook',
      Buffer.from('PK\x03\x04\x14\x00\x06\x00', 'latin1'),
      'a workbook of Excel or OpenDocument, or another ZIP archive',
    ],
    ['an old workbook', Buffer.from('d0cf11e0a1b11ae1', 'hex'), 'a workbook of an old Excel'],
    ['compressed', Buffer.from('1f8b0800', 'hex'), 'compressed with gzip'],
    ['a PDF', Buffer.from('%PDF-1.7\n'), 'a PDF'],
    ['UTF-32', Buffer.from('fffe000069000000', 'hex'), 'UTF-32'],
  ])('that is %s is called that', (_, octets, what) => {
    for (const size of [1, Infinity]) {
      expect(read(octets, size).failure).toMatchObject({
        name: 'UsageFailure',
        message: `m.csv is ${what}, not CSV or JSON`,
        advice: expect.stringMatching(/^(?:Save it as CSV|Decompress)/) as string,
      });
    }
  });

  it('whose first row has a NUL octet is no UTF-16 for that', () => {
    expect(read(`{\0\n${object(1)}\n`)).toEqual({
      rows: [good(1, 2)],
      problems: [expect.stringMatching(/^1 expected/)],
      failure: undefined,
    });
  });

  it('that is empty is refused, and one with a header alone has no rows', () => {
    expect(read('').failure).toMatchObject({ name: 'UsageFailure', message: 'm.csv is empty' });
    for (const text of [HEADER, csv(), `\uFEFF${csv('', '')}`, csv(',,,')]) expect(read(text)).toEqual({ ...ok, rows: [] });
  });

  it('that is encrypted is called that, with what to do', () => {
    const text = `age-encryption.org/v1\n-> X25519 ${'x'.repeat(43)}\n`;
    expect(read(text, 5).failure).toMatchObject({
      message: 'm.csv is encrypted, in the age format',
      advice: 'Decrypt it.',
    });
  });

  // The header is asked for with the first line alone, which never comes.
  it.each(['\uFEFF', '\n\n', ' \r\n', 'sep=;\n'])('that is %j has no header, and is refused', (text) => {
    expect(read(text).failure).toMatchObject({ name: 'UsageFailure', message: `m.csv: expected the header ${HEADER}` });
  });
});

describe('a row', () => {
  it('of a node that nobody asks for is not looked at, even where it is bad', () => {
    const seen: string[] = [];
    const reader = new ManifestReader(
      { name: 'm.csv', decrypt: {} },
      {
        wants: (idI) => idI === 2,
        row: ({ line }) => void seen.push(`row ${line}`),
        problem: ({ line, idI }) => void seen.push(`problem ${line} ${idI ?? '-'}`),
      },
    );
    const bad = (i: number): string[] => [row(i, { ik: 'x' }), row(i, { at: '' }), `${row(i)},x`, `${hex(i)},1`];
    reader.push(Buffer.from(csv(...bad(1), 'x', row(2), ...bad(2), row(3))));
    reader.end();
    expect(seen).toEqual(['problem 6 -', 'row 7', ...[8, 9, 10, 11].map((line) => `problem ${line} 2`)]);
  });
});

interface Notation {
  readonly delimiter: string;
  readonly quoted: boolean;
  readonly lineEnd: string;
  readonly order: readonly number[];
  readonly sep: boolean;
  readonly encoding: (text: string) => Buffer;
  readonly json: 'none' | 'lines' | 'array' | 'pretty';
  readonly empty: boolean;
  readonly size: number;
}

const notation: fc.Arbitrary<Notation> = fc.record({
  delimiter: fc.constantFrom(',', ';', '\t'),
  quoted: fc.boolean(),
  lineEnd: fc.constantFrom('\n', '\r\n', '\r'),
  order: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
  sep: fc.boolean(),
  encoding: fc.constantFrom<((text: string) => Buffer)[]>(
    (text) => Buffer.from(text),
    (text) => Buffer.from(`\uFEFF${text}`),
    (text) => utf16(`\uFEFF${text}`),
    (text) => utf16(`\uFEFF${text}`).swap16(),
    utf16,
  ),
  json: fc.constantFrom('none', 'none', 'none', 'lines', 'array', 'pretty'),
  empty: fc.boolean(),
  size: fc.integer({ min: 1, max: 300 }),
});

const node = fc.record({
  idI: fc.nat(0xffff_ffff),
  idC: fc.nat(0xffff_ffff),
  ik: fc.uint8Array({ minLength: 16, maxLength: 16 }),
});
const nodes = fc.array(
  node.filter(({ ik }) => new Set(ik).size > 1),
  { minLength: 1, maxLength: 12 },
);

/** Lines of a file in a notation; the rows stand in those from `first` on, in their order. */
function write(rows: readonly (readonly string[])[], how: Notation): { readonly lines: string[]; readonly first: number } {
  const names = HEADER.split(',');
  if (how.json !== 'none') {
    const objects = rows.map((cells) => Object.fromEntries(how.order.map((i) => [names[i], cells[i]])));
    if (how.json === 'pretty') return { lines: JSON.stringify(objects, null, 2).split('\n'), first: 1 };
    const texts = objects.map((value) => JSON.stringify(value));
    return how.json === 'lines'
      ? { lines: texts, first: 0 }
      : { lines: ['[', ...texts.map((text) => `${text},`), ']'], first: 1 };
  }
  const quote = (cell: string): string => (how.quoted ? `"${cell}"` : cell);
  const lineOf = (cells: readonly string[]): string => how.order.map((i) => quote(cells[i] ?? '')).join(how.delimiter);
  const before = [
    ...(how.sep ? [`sep=${how.delimiter}`] : []),
    lineOf(names),
    ...(how.empty ? [how.delimiter.repeat(3), ''] : []),
  ];
  return { lines: [...before, ...rows.map(lineOf)], first: before.length };
}

const cellsOf = ({ idI, idC, ik }: { idI: number; idC: number; ik: Uint8Array }): string[] => [
  hex(idI),
  hex(idC),
  AT,
  Buffer.from(ik).toString('hex'),
];
const without = (line: string): string => line.replace(/^\d+ /, '');
const seen = ({ idI, idC, ik }: { idI: number; idC: number; ik: Uint8Array }): string =>
  [idI.toString(16), idC.toString(16), Buffer.from(ik).toString('hex')].join(' ');

describe('whatever the notation', () => {
  it('is, the same rows are read, in their order, wherever the file is cut', () => {
    fc.assert(
      fc.property(nodes, notation, (nodes, how) => {
        const { lines } = write(nodes.map(cellsOf), how);
        const { rows, problems, failure } = read(how.encoding(`${lines.join(how.lineEnd)}${how.lineEnd}`), how.size);
        expect([problems, failure]).toEqual([[], undefined]);
        expect(rows.map(without)).toEqual(nodes.map(seen));
      }),
      { numRuns: 1_000 },
    );
  });

  it('is, no octets end it but in words', () => {
    const start = fc.constantFrom('', `${HEADER}\n`, 'sep=', '{', '[{"id":', '"', '\uFEFF', 'id;', 'age-encryption.org/v1\n');
    fc.assert(
      fc.property(
        start,
        fc.uint8Array({ maxLength: 400 }),
        fc.boolean(),
        fc.integer({ min: 1, max: 50 }),
        (start, octets, wide, size) => {
          const { failure } = read(Buffer.concat([wide ? utf16(start) : Buffer.from(start), octets]), size);
          expect(failure?.name ?? 'UsageFailure').toBe('UsageFailure');
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('is, a line that is spoiled costs no other', () => {
    const spoiled = fc.string({
      unit: fc.constantFrom('"', ',', ';', '\t', ' ', '{', '}', '[', ':', '\\', 'a', '0', '\0', 'ä'),
      maxLength: 60,
    });
    fc.assert(
      fc.property(nodes, notation, fc.nat(), spoiled, fc.boolean(), (nodes, { json, ...how }, which, garbage, whole) => {
        const { lines, first } = write(nodes.map(cellsOf), { ...how, json: json === 'pretty' ? 'array' : json });
        const bad = which % nodes.length;
        const line = lines[first + bad] ?? '';
        lines[first + bad] = whole
          ? garbage
          : line.slice(0, which % line.length) + garbage + line.slice((which % line.length) + 3);
        // What begins a file tells its encoding, and that it is JSON.
        const mark = how.encoding === utf16 ? '\uFEFF' : '';
        if (json === 'lines' && bad === 0 && !lines[0]?.startsWith('{')) lines[0] = `{${lines[0]}`;
        const { rows, problems, failure } = read(how.encoding(`${mark}${lines.join(how.lineEnd)}${how.lineEnd}`), how.size);
        expect(failure).toBeUndefined();
        expect(rows.map(without)).toEqual(expect.arrayContaining(nodes.filter((_, i) => i !== bad).map(seen)));
        const elsewhere = problems.filter((problem) => Number.parseInt(problem, 10) !== first + bad + 1);
        // Where it spoils an array, what is wrong may be seen later.
        expect(json === 'none' ? elsewhere : []).toEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });
});

it('a file however mangled gives rows, reasons or an end, and no words with a piece of a key in them', () => {
  const keys = Array.from({ length: 6 }, () => randomBytes(16).toString('hex'));
  const files = [
    csv(...keys.map((ik, i) => row(i, { ik }))),
    csv(...keys.map((ik, i) => row(i, { ik }).replaceAll(/[^,]+/g, '"$&"'))),
    keys.map((ik, i) => object(i, { ik })).join('\n'),
    JSON.stringify(
      keys.map((ik, i) => JSON.parse(object(i, { ik })) as object),
      null,
      1,
    ),
    csv(...keys.map((ik, i) => fields(i, { ik }).toReversed().join(','))).replace(
      HEADER,
      HEADER.split(',').toReversed().join(','),
    ),
  ];
  const pieces = ['"', ',', '\n', '\r', '\0', '{', '}', '\\', ' ', ':', '\uFEFF', '\u2028', '[', ';', '\t'];
  /** Every 12 digits of a key that stand next to each other. */
  const ofKeys = new Set(keys.flatMap((key) => Array.from({ length: 21 }, (_, from) => key.slice(from, from + 12))));
  const counts = { rows: 0, problems: 0, failures: 0 };
  for (let round = 0; round < 2_000; round++) {
    let text = files[round % files.length] ?? '';
    for (let i = randomInt(1, 6); i > 0; i--) {
      const [at, to] = [randomInt(text.length), randomInt(4)];
      const piece = randomInt(2) === 0 ? '' : (pieces[randomInt(pieces.length)] ?? '');
      text = text.slice(0, at) + piece + text.slice(at + to);
    }
    const { rows, problems, failure } = read(text, randomInt(1, 500));
    counts.rows += rows.length;
    counts.problems += problems.length;
    counts.failures += failure === undefined ? 0 : 1;
    const words = [...problems, failure?.message, failure?.advice, failure?.stack, String(failure?.cause)].join('\n');
    const found = [...words.matchAll(/(?=([0-9a-f]{12}))/gi)].map(([, piece = '']) => piece);
    expect(
      found.filter((piece) => ofKeys.has(piece)),
      text,
    ).toEqual([]);
    expect(failure?.name ?? 'UsageFailure', text).toBe('UsageFailure');
    const numbers = [...rows, ...problems].map((line) => Number.parseInt(line, 10));
    expect(Math.max(0, ...numbers), text).toBeLessThanOrEqual(text.split(/\r\n|[\n\r]/).length);
  }
  expect(
    Object.values(counts).every((count) => count > 50),
    JSON.stringify(counts),
  ).toBe(true);
});
