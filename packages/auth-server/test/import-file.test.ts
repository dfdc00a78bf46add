// Proves how a file of nodes is read: every line with its number or a reason, and never a key in words, however the file is mangled.

import { randomBytes, randomInt } from 'node:crypto';
import { chmod, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Failure } from '@latchkey/runtime';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '../../runtime/test/fixtures.js';
import { readImport } from '../src/import-file.js';

const HEADER = 'id,controller_id,controller,ik';
const IK = '00112233445566778899aabbccddeeff';
const AT = '192.0.2.1:5683';

interface Read {
  /** `LINE ID_i ID_c IK` */
  readonly lines: string[];
  /** `LINE reason` */
  readonly problems: string[];
  /** What ended it. */
  readonly failure: Failure | undefined;
}

async function read(content: string | Uint8Array): Promise<Read> {
  const path = join(await tempFolder(), 'nodes');
  await writeFile(path, content, { mode: 0o600 });
  return readFrom(path);
}

async function readFrom(path: string): Promise<Read> {
  const [lines, problems]: [string[], string[]] = [[], []];
  const taker = {
    line: (at: { line: number; idI: number; idC: number; ik: Uint8Array }): void => {
      lines.push([at.line, at.idI.toString(16), at.idC.toString(16), Buffer.from(at.ik).toString('hex')].join(' '));
    },
    problem: (line: number, problem: string): void => void problems.push(`${line} ${problem}`),
  };
  const failure = await readImport(path, taker).then(
    () => undefined,
    (error: unknown) => error as Failure,
  );
  return { lines, problems, failure };
}

function csv(...rows: string[]): string {
  return [HEADER, ...rows, ''].join('\n');
}

function row(i: number, more: { readonly ik?: string; readonly at?: string } = {}): string {
  return [i.toString(16).padStart(8, '0'), '00000001', more.at ?? AT, more.ik ?? IK].join(',');
}

function good(i: number, line: number): string {
  return `${line} ${i.toString(16)} 1 ${IK}`;
}

const ok = { problems: [], failure: undefined };

describe('CSV', () => {
  it('is read with each line’s number', async () => {
    expect(await read(csv(row(1), row(0xffff_ffff)))).toEqual({ ...ok, lines: [good(1, 2), good(0xffff_ffff, 3)] });
  });

  it.each([
    ['a byte order mark', `\uFEFF${csv(row(1), row(2))}`, [2, 3]],
    ['CRLF', csv(row(1), row(2)).replaceAll('\n', '\r\n'), [2, 3]],
    ['CR alone', csv(row(1), row(2)).replaceAll('\n', '\r'), [2, 3]],
    ['no line break at the end', csv(row(1), row(2)).trimEnd(), [2, 3]],
    ['blank lines', csv('', row(1), '', '', row(2), '', ''), [3, 6]],
    ['blank lines before the header', `\n\n${csv(row(1), row(2))}`, [4, 5]],
    ['lines of blanks', csv(row(1), '   ', row(2)), [2, 4]],
    ['quotes', csv(...[1, 2].map((i) => row(i).replaceAll(/[^,]+/g, '"$&"'))), [2, 3]],
    ['a quoted header', csv(row(1), row(2)).replace(HEADER, HEADER.replaceAll(/[^,]+/g, '"$&"')), [2, 3]],
    ['blanks around the fields', csv(row(1).replaceAll(',', ' , '), `  ${row(2)}  `), [2, 3]],
    ['capitals', csv(row(1, { ik: IK.toUpperCase() }), row(2)), [2, 3]],
  ])('may have %s', async (_, text, numbers) => {
    expect(await read(text)).toEqual({ ...ok, lines: numbers.map((line, i) => good(i + 1, line)) });
  });

  it('of many pieces is read whole, in order', async () => {
    const rows = Array.from({ length: 60_000 }, (_, i) => row(i));
    const { lines, problems, failure } = await read(csv(...rows));
    expect([lines.length, problems, failure]).toEqual([60_000, [], undefined]);
    expect(lines.every((line, i) => line === good(i, i + 2))).toBe(true);
  });

  it.each([
    ['too few fields', '00000001,00000001', 'expected 4 fields, not 2'],
    ['too many fields', `${row(1)},x`, 'expected 4 fields, not 5'],
    ['a comma at the end', `${row(1)},`, 'expected 4 fields, not 5'],
    ['an ID too short', `1,00000001,${AT},${IK}`, 'id: expected 8 hex digits'],
    ['an ID too long', `000000001,00000001,${AT},${IK}`, 'id: expected 8 hex digits'],
    ['no ID', `,00000001,${AT},${IK}`, 'id: expected 8 hex digits'],
    ['a controller that is none', `00000001,x,${AT},${IK}`, 'controller_id: expected 8 hex digits'],
    ['no port', row(1, { at: '192.0.2.1' }), 'controller: expected HOST:PORT'],
    ['port 0', row(1, { at: '192.0.2.1:0' }), 'controller: expected HOST:PORT'],
    ['no address', row(1, { at: '' }), 'controller: expected HOST:PORT'],
    ['a key too short', row(1, { ik: IK.slice(1) }), 'ik: expected 32 hex digits'],
    ['a key too long', row(1, { ik: `${IK}0` }), 'ik: expected 32 hex digits'],
    ['a key with a blank in it', row(1, { ik: `${IK.slice(0, 16)} ${IK.slice(16)}` }), 'ik: expected 32 hex digits'],
    ['key and ID in the wrong places', `${IK},00000001,${AT},00000001`, 'id: expected 8 hex digits'],
    ['NUL octets', row(1).replace(',', '\0,'), 'id: expected 8 hex digits'],
    ['NUL octets in the key', row(1, { ik: `${IK.slice(0, 31)}\0` }), 'ik: expected 32 hex digits'],
    ['other digits', row(1, { ik: `${IK.slice(0, 31)}٣` }), 'ik: expected 32 hex digits'],
  ])('tells of %s in a line, and goes on', async (_, bad, problem) => {
    expect(await read(csv(row(7), bad, row(8)))).toEqual({
      lines: [good(7, 2), good(8, 4)],
      problems: [`3 ${problem}`],
      failure: undefined,
    });
  });

  it('does not take an address for good because the line before had it, nor an empty one at first', async () => {
    const { problems } = await read(csv(row(1, { at: '' }), row(2), row(3, { at: 'x' }), row(4)));
    expect(problems).toEqual(['2 controller: expected HOST:PORT', '4 controller: expected HOST:PORT']);
  });

  it.each([
    ['another order', 'controller_id,id,controller,ik', 1],
    ['one field too many', `${HEADER},lifetime`, 1],
    ['no header', row(1), 1],
    ['other words, further down', `\n\nid;controller_id;controller;ik`, 3],
  ])('is refused with a header that has %s', async (_, header, line) => {
    const { lines, failure } = await read(`${header}\n${row(1)}\n`);
    expect(lines).toEqual([]);
    expect(failure).toMatchObject({
      name: 'UsageFailure',
      message: expect.stringMatching(new RegExp(`, line ${line}: expected the header ${HEADER}$`)) as string,
    });
  });

  it.each([
    ['a quote that does not end', csv(row(1), `"${row(2)}`, row(3))],
    ['a quote in the middle of a field', csv(row(1), row(2).replace('2,', '2"x",'))],
    ['more after a quote', csv(row(1), row(2, { ik: `"${IK}"0` }))],
    ['a line of 5,000 octets', csv(row(1), row(2, { at: 'x'.repeat(5_000) }))],
    ['a line of a million octets', csv(row(1), IK.repeat(30_000))],
  ])('is refused with %s, naming a line and no more', async (_, text) => {
    const { failure } = await read(text);
    expect(failure).toMatchObject({
      name: 'UsageFailure',
      message: expect.stringMatching(/, line \d+: not CSV with the four fields/) as string,
    });
    expect(failure?.message).not.toMatch(/[0-9a-f]{16}/i);
  });

  it('numbers lines right after a quoted line break', async () => {
    const { lines, problems } = await read(csv(row(1), row(2, { at: '"192.0.2.1\n:5683"' }), row(3), 'x', row(4)));
    expect(lines).toEqual([good(1, 2), good(3, 5), good(4, 7)]);
    expect(problems.map((problem) => problem.replace(/^[34] /, 'N '))).toEqual([
      'N controller: expected HOST:PORT',
      '6 expected 4 fields, not 1',
    ]);
  });

  // csv-parse takes the first line's break for all. With LF there, it counts a CR as another line: numbers run ahead.
  it('may mix CRLF and LF, as a file that was edited does', async () => {
    expect(await read(`${HEADER}\n${row(1)}\r\n${row(2)}\n`)).toEqual({ ...ok, lines: [good(1, 2), good(2, 3)] });
  });

  // With CRLF there, what follows with LF alone is one line to it.
  it('may mix them the other way round', async () => {
    expect(await read(`${HEADER}\r\n${row(1)}\n${row(2)}\r\n`)).toEqual({ ...ok, lines: [good(1, 2), good(2, 3)] });
  });
});

describe('JSON Lines', () => {
  const object = (i: number, more: object = {}): string =>
    JSON.stringify({ id: i.toString(16).padStart(8, '0'), controller_id: '00000001', controller: AT, ik: IK, ...more });

  it.each([
    ['as they are', `${object(1)}\n${object(2)}\n`, [1, 2]],
    ['with a byte order mark', `\uFEFF${object(1)}\n${object(2)}`, [1, 2]],
    ['with CRLF', `${object(1)}\r\n${object(2)}\r\n`, [1, 2]],
    ['with blank lines', `\n\n${object(1)}\n\n  \n${object(2)}\n`, [3, 6]],
    [
      'with fields in another order',
      `{"ik":"${IK}","controller":"${AT}","id":"00000001","controller_id":"00000001"}\n${object(2)}`,
      [1, 2],
    ],
  ])('are read %s', async (_, text, numbers) => {
    expect(await read(text)).toEqual({ ...ok, lines: numbers.map((line, i) => good(i + 1, line)) });
  });

  const none = 'expected a JSON object with id, controller_id, controller, ik';
  it.each([
    ['an array', `["00000001","00000001","${AT}","${IK}"]`, none],
    ['a string', `"${IK}"`, none],
    ['null', 'null', none],
    ['half an object', object(1).slice(0, -3), none],
    ['two objects', `${object(1)} ${object(2)}`, none],
    ['CSV', row(1), none],
    ['a key of an extra name', object(1, { lifetime: 60 }), 'a field that is none of id, controller_id, controller, ik'],
    ['a name that is a key', object(1, { [IK]: 1 }), 'a field that is none of id, controller_id, controller, ik'],
    ['__proto__', object(1).replace('{', '{"__proto__":{"x":1},'), 'a field that is none of id, controller_id, controller, ik'],
    ['a number for an ID', object(1, { id: 1 }), 'id: expected 8 hex digits'],
    ['an array for an ID', object(1, { id: ['00000001'] }), 'id: expected 8 hex digits'],
    ['a nested object', object(1, { controller: { host: '192.0.2.1', port: 5683 } }), 'controller: expected HOST:PORT'],
    ['null for a key', object(1, { ik: null }), 'ik: expected 32 hex digits'],
    ['an array for a key', object(1, { ik: [IK] }), 'ik: expected 32 hex digits'],
    ['no key', object(1, { ik: undefined }), 'ik: expected 32 hex digits'],
    ['a line break in a key', object(1, { ik: `${IK}\n` }), 'ik: expected 32 hex digits'],
  ])('tell of %s in a line, and go on', async (_, bad, problem) => {
    expect(await read(`${object(7)}\n${bad}\n${object(8)}\n`)).toEqual({
      lines: [good(7, 1), good(8, 3)],
      problems: [`2 ${problem}`],
      failure: undefined,
    });
  });

  it('are refused with a line too long, by its number', async () => {
    const { failure } = await read(`${object(1)}\n${object(2, { x: IK.repeat(200) })}\n`);
    expect(failure).toMatchObject({
      name: 'UsageFailure',
      message: expect.stringMatching(/, line 2: longer than 4096 octets$/) as string,
    });
  });
});

/** MiB that reading a file takes which starts like this and then goes on with 256 MiB of NUL octets. */
async function memoryFor(start: string): Promise<number> {
  const path = join(await tempFolder(), 'endless');
  await writeFile(path, start, { mode: 0o600 });
  await truncate(path, 256 * 1024 * 1024);
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
  const { failure } = await readFrom(path);
  clearInterval(watch);
  expect(failure).toMatchObject({ name: 'UsageFailure' });
  return (most - before) / (1024 * 1024);
}

describe('a file', () => {
  it('that is empty is refused, and one with a header alone has no lines', async () => {
    expect(await read('')).toMatchObject({
      lines: [],
      failure: { name: 'UsageFailure', message: expect.stringContaining('is empty') as string },
    });
    for (const text of [HEADER, csv(), `\uFEFF${csv('', '')}`]) expect(await read(text)).toEqual({ ...ok, lines: [] });
  });

  // The header is asked for with the first line alone, which never comes.
  it.each(['\uFEFF', '\n\n', ' \r\n'])('that is %j has no header, and is refused', async (text) => {
    expect((await read(text)).failure).toMatchObject({ name: 'UsageFailure' });
  });

  it('is refused where others can read it, where it is not there, and where it is a folder', async () => {
    const folder = await tempFolder();
    expect((await readFrom(join(folder, 'x'))).failure).toMatchObject({ name: 'UsageFailure' });
    expect((await readFrom(folder)).failure).toMatchObject({
      name: 'UsageFailure',
      message: expect.stringContaining(folder) as string,
    });
    await writeFile(join(folder, 'x'), csv(row(1)));
    await chmod(join(folder, 'x'), 0o644);
    expect((await readFrom(join(folder, 'x'))).failure).toMatchObject({ advice: `Run: chmod 600 ${join(folder, 'x')}` });
  });

  it('of CSV that goes on for 256 MiB without a line break costs no such memory', async () => {
    expect(await memoryFor('id')).toBeLessThan(100);
  });

  // Until the line ends readline keeps it whole; beyond 512 MiB that ends the process (RangeError: Invalid string length).
  it('of JSON Lines that does so costs no more', async () => {
    expect(await memoryFor('{')).toBeLessThan(100);
  });

  it('however mangled, gives lines, reasons or an end, and no words with a key in them', async () => {
    const keys = Array.from({ length: 6 }, () => randomBytes(16).toString('hex'));
    const files = [
      csv(...keys.map((ik, i) => row(i, { ik }))),
      csv(...keys.map((ik, i) => row(i, { ik }).replaceAll(/[^,]+/g, '"$&"'))),
      keys.map((ik, i) => JSON.stringify({ id: `0000000${i}`, controller_id: '00000001', controller: AT, ik })).join('\n'),
    ];
    const pieces = ['"', ',', '\n', '\r', '\0', '{', '}', '\\', ' ', ':', '\uFEFF', '\u2028', '['];
    const seen = { lines: 0, problems: 0, failures: 0 };
    for (let round = 0; round < 600; round++) {
      let text = files[round % files.length] ?? '';
      for (let i = randomInt(1, 6); i > 0; i--) {
        const [at, to] = [randomInt(text.length), randomInt(4)];
        const piece = randomInt(2) === 0 ? '' : (pieces[randomInt(pieces.length)] ?? '');
        text = text.slice(0, at) + piece + text.slice(at + to);
      }
      const { lines, problems, failure } = await read(text);
      seen.lines += lines.length;
      seen.problems += problems.length;
      seen.failures += failure === undefined ? 0 : 1;
      const words = [...problems, failure?.message, failure?.advice, failure?.stack, String(failure?.cause)].join('\n');
      expect(words, text).not.toMatch(/[0-9a-f]{32}/i);
      for (const key of keys)
        for (const part of [key.slice(0, 12), key.slice(10, 22), key.slice(-12)]) expect(words, text).not.toContain(part);
      expect(failure?.name ?? 'UsageFailure', text).toBe('UsageFailure');
      const numbers = [...lines, ...problems].map((line) => Number.parseInt(line, 10));
      expect(Math.max(0, ...numbers), text).toBeLessThanOrEqual(text.split(/\r\n|[\n\r\u2028\u2029]/).length);
    }
    expect(
      Object.values(seen).every((count) => count > 50),
      JSON.stringify(seen),
    ).toBe(true);
  });
});
