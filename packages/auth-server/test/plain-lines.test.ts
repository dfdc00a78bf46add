// Proves that lines taken without a CSV parser are what the parser would have made of them, wherever a file is cut into chunks.

import * as fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readImport } from '../src/import-file.js';
import { PlainLines } from '../src/plain-lines.js';

const MAX = 40;

/** What is taken of a file in these chunks, and what is left to a parser. */
function taken(chunks: readonly Buffer[]): { readonly lines: [number, string][]; readonly count: number; readonly rest: string } {
  const lines: [number, string][] = [];
  const plain = new PlainLines((record, line) => lines.push([line, record.join('|')]), MAX);
  for (const [i, chunk] of chunks.entries()) {
    const rest = plain.push(chunk);
    if (rest !== undefined)
      return { lines, count: plain.count, rest: Buffer.concat([rest, ...chunks.slice(i + 1)]).toString('latin1') };
  }
  const rest = plain.end()?.toString('latin1') ?? '';
  return { lines, count: plain.count, rest };
}

const all = (text: string): ReturnType<typeof taken> => taken([Buffer.from(text, 'latin1')]);

describe('plain lines', () => {
  it('are numbered from 1, empty ones left out but counted, whatever ends a line', () => {
    expect(all('a,b\r\n\nc,,d\ne')).toEqual({
      lines: [
        [1, 'a|b'],
        [3, 'c||d'],
        [4, 'e'],
      ],
      count: 4,
      rest: '',
    });
  });

  it('may follow a byte order mark', () => {
    expect(all('\xef\xbb\xbfa\nb\n').lines).toEqual([
      [1, 'a'],
      [2, 'b'],
    ]);
  });

  it.each([
    ['a quote', 'a\nb,"c\nd"\n', '1', 'b,"c\nd"\n'],
    ['a blank', 'a\n b\nc\n', '1', ' b\nc\n'],
    ['a carriage return within', 'a\nb\rc\n', '1', 'b\rc\n'],
    ['what is not ASCII', 'a\n\xc3\xa4\n', '1', '\xc3\xa4\n'],
    ['a line too long', `a\n${'x'.repeat(MAX + 1)}\nb\n`, '1', `${'x'.repeat(MAX + 1)}\nb\n`],
    ['a last line with a quote', 'a\n"b"', '1', '"b"\n'],
  ])('end at %s: all from there on is left', (_what, text, count, rest) => {
    expect(all(text)).toMatchObject({ count: Number(count), rest });
  });

  it('are not waited for without bound where no line ends', () => {
    const plain = new PlainLines(() => undefined, MAX);
    expect(plain.push(Buffer.from('x'.repeat(MAX)))).toBeUndefined();
    expect(plain.push(Buffer.from('x'))?.length).toBe(MAX + 1);
  });

  it('are the same wherever the file is cut', () => {
    const text = fc.array(fc.constantFrom('a', ',', '\n', '\r\n', '"', ' '), { maxLength: 40 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 5 }), (text, size) => {
        const octets = Buffer.from(text);
        const chunks = Array.from({ length: Math.ceil(octets.length / size) }, (_, i) =>
          octets.subarray(i * size, (i + 1) * size),
        );
        const [whole, cut] = [all(text), taken(chunks)];
        expect([cut.lines, cut.count]).toEqual([whole.lines, whole.count]);
        expect(cut.rest.replace(/\n$/, '')).toBe(whole.rest.replace(/\n$/, ''));
      }),
    );
  });
});

it('a file that turns to quotes half way keeps its line numbers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const ik = '00112233445566778899aabbccddeeff';
  const lines = ['id,controller_id,controller,ik', `00000001,00000001,192.0.2.1:5683,${ik}`, '', 'bad'];
  const odd = [`"00000002","00000001",192.0.2.1:5683,${ik}`, 'worse', `00000003, 00000001, 192.0.2.1:5683, ${ik}`];
  const path = join(folder, 'nodes.csv');
  await writeFile(path, [...lines, ...odd].join('\n'), { mode: 0o600 });
  const seen: string[] = [];
  await readImport(path, {
    line: ({ line, idI }) => seen.push(`${line} node ${idI}`),
    problem: (line) => seen.push(`${line} problem`),
  });
  expect(seen).toEqual(['2 node 1', '4 problem', '5 node 2', '6 problem', '7 node 3']);
});
