// Proves that a file is split into the lines that an editor shows, wherever it is cut into chunks,
// in memory for one line.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CsvLines } from '../src/csv-lines.js';

const MAX = 8;
const PLAIN = /^[a-z,]*$/;

/** `NUMBER TEXT` of each line, `+` before those that are plain, `NUMBER too long`. */
function linesOf(chunks: readonly Buffer[]): string[] {
  const seen: string[] = [];
  const lines = new CsvLines(
    {
      line: (text, number, plain) => void seen.push(`${plain ? '+' : ''}${number} ${text}`),
      tooLong: (number) => void seen.push(`${number} too long`),
    },
    PLAIN,
    MAX,
  );
  for (const chunk of chunks) lines.push(chunk);
  lines.end();
  return seen;
}

const cut = (text: string, size: number): Buffer[] => {
  const octets = Buffer.from(text);
  return Array.from({ length: Math.ceil(octets.length / size) }, (_, i) => octets.subarray(i * size, (i + 1) * size));
};
const all = (text: string): string[] => linesOf([Buffer.from(text)]);

describe('lines', () => {
  it('are numbered from 1, empty ones too, whatever ends them', () => {
    expect(all('a,b\r\n\nC,D\re f\ng')).toEqual(['+1 a,b', '+2 ', '3 C,D', '4 e f', '+5 g']);
  });

  it('may be all that CR ends, however many', () => {
    const text = Array.from({ length: 50 }, (_, i) => `A${i}`).join('\r');
    expect(all(text)).toEqual(Array.from({ length: 50 }, (_, i) => `${i + 1} A${i}`));
  });

  it('are UTF-8', () => {
    expect(all('ä\n€\n')).toEqual(['1 ä', '2 €']);
  });

  it('that are too long are dropped, and others are not', () => {
    const [long, longer] = ['x'.repeat(MAX + 1), 'x'.repeat(100)];
    expect(all(`a\n${long}\nb\n${longer}\rc\n${'x'.repeat(MAX)}\n${longer}`)).toEqual([
      '+1 a',
      '2 too long',
      '+3 b',
      '4 too long',
      '5 c',
      `+6 ${'x'.repeat(MAX)}`,
      '7 too long',
    ]);
  });

  it('are the same wherever the file is cut, and those that an editor shows', () => {
    const part = fc.constantFrom('a', 'B', ',', '\n', '\r\n', '\r', 'ä', 'x'.repeat(MAX));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), fc.integer({ min: 1, max: 12 }), (parts, size) => {
        const text = parts.join('');
        const shown = text.split(/\r\n|\n|\r/);
        if (shown.at(-1) === '') shown.pop();
        const expected = shown.map((line, i) => {
          if (Buffer.byteLength(line) > MAX) return `${i + 1} too long`;
          return `${i + 1} ${line}`;
        });
        const seen = linesOf(cut(text, size));
        expect(seen.map((line) => line.replace(/^\+/, ''))).toEqual(expected);
        expect(seen.filter((line) => line.startsWith('+') && !/^\+\d+ [a-z,]*$/.test(line))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });
});
