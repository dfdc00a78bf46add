// Proves that tables and fields are aligned, with nothing after the last column.

import { describe, expect, it } from 'vitest';
import { formatFields, formatTable } from '../src/cli/table.js';

describe('a table', () => {
  it('has its columns under their headings, whichever is longer', () => {
    expect(
      formatTable(
        ['ID', 'STATE', 'AT'],
        [
          ['0000a1b2', 'on', '1'],
          ['1', 'disabled', ''],
        ],
      ),
    ).toBe('ID        STATE     AT\n0000a1b2  on        1\n1         disabled\n');
  });

  it('counts the places a text takes on a terminal, not its characters', () => {
    const rows = [
      ['김', '1'],
      ['Jose\u0301', '2'],
      ['Kim & Sons', '3'],
    ];
    expect(formatTable(['WHO', 'N'], rows)).toBe('WHO         N\n김          1\nJose\u0301        2\nKim & Sons  3\n');
  });

  it.each([
    ['한글', 4],
    ['ﾊﾝｶｸ', 4],
    ['ก็', 1],
    ['→ é', 3],
    ['🇩🇪', 2],
    ['❤️', 2],
  ])('gives %s %i places', (text, places) => {
    expect(formatTable(['A', 'B'], [[text, '1']])).toBe(`A${' '.repeat(places + 1)}B\n${text}  1\n`);
  });

  it('without rows is its headings', () => expect(formatTable(['ID', 'AT'], [])).toBe('ID  AT\n'));
});

describe('fields', () => {
  it('have their values aligned, and none for what is undefined', () => {
    expect(formatFields({ id: '0000a1b2', lifetime: '30d', address: undefined })).toBe('id        0000a1b2\nlifetime  30d\n');
  });
});
