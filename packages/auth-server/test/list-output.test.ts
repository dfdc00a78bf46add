// Proves that lists are sorted, cut and printed as the options say, that a spreadsheet takes no
// text of theirs for a formula, and that no text of theirs commands a terminal.

import { describe, expect, it, vi, onTestFinished } from 'vitest';
import { type Column, csvCell, type ListOptions, ListOutput } from '../src/commands/list-output.js';

interface Row {
  readonly id: string;
  readonly name: string | null;
  readonly count: number;
  readonly tags: readonly string[];
  readonly at: string | null;
  readonly secret?: boolean;
}

const COLUMNS: readonly Column<Row>[] = [
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'name', heading: 'NAME', value: ({ name }) => name, unlessEmpty: true },
  { name: 'count', heading: 'COUNT', value: ({ count }) => count, text: ({ count }) => `${count} pieces` },
  { name: 'tags', heading: 'TAGS', value: ({ tags }) => tags, onDemand: true },
  { name: 'at', heading: 'AT', value: ({ at }) => at, isTime: true, none: 'never' },
  { name: 'secret', heading: 'SECRET', value: ({ secret = false }) => secret, onDemand: true },
];

const row = (id: string, more: Partial<Row> = {}): Row => ({ id, name: null, count: 0, tags: [], at: null, ...more });
const ROWS = [row('a', { count: 10 }), row('b', { count: 9, at: '2026-07-01T12:00:00.500Z' }), row('c', { count: 100 })];

async function printed(rows: readonly Row[], options: ListOptions = {}): Promise<string> {
  let text = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((piece) => {
    text += String(piece);
    return true;
  });
  try {
    await new ListOutput(COLUMNS, options).print(rows);
  } finally {
    write.mockRestore();
  }
  return text;
}

function onTerminal(zone: string): void {
  const [tty, before] = [process.stdout.isTTY, process.env['TZ']];
  process.stdout.isTTY = true;
  process.env['TZ'] = zone;
  onTestFinished(() => {
    process.stdout.isTTY = tty;
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  });
}

describe('a table', () => {
  it('has the usual columns, without one that is empty', async () => {
    expect(await printed(ROWS.slice(0, 2))).toBe(
      'ID  COUNT      AT\na   10 pieces  never\nb   9 pieces   2026-07-01T12:00:00.500Z\n',
    );
    expect(await printed([row('a', { name: 'Pump' })])).toBe('ID  NAME  COUNT     AT\na   Pump  0 pieces  never\n');
  });

  it('has the columns that are named, in that order', async () => {
    const rows = [row('a', { tags: ['x', 'y'] })];
    expect(await printed(rows, { columns: ['tags', 'id', 'name', 'secret'] })).toBe(
      'TAGS  ID  NAME  SECRET\nx, y  a   -     no\n',
    );
  });

  it('shows local times with their zone on a terminal, unless UTC is asked for', async () => {
    onTerminal('Asia/Kolkata');
    expect(await printed([ROWS[1]!], { columns: ['at'] })).toBe('AT\n2026-07-01 17:30:00 +05:30\n');
    expect(await printed([ROWS[1]!], { columns: ['at'], utc: true })).toBe('AT\n2026-07-01T12:00:00.500Z\n');
  });

  it('lets no text of its cells act', async () => {
    expect(await printed([row('a', { name: '\u001b[2J\u202etxt\n' })], { columns: ['name'] })).toBe(
      'NAME\n\ufffd[2J\ufffdtxt\ufffd\n',
    );
  });
});

describe('CSV', () => {
  it('has all columns and values as they are, in lines of RFC 4180', async () => {
    const rows = [row('a', { name: 'Pump "3", north', tags: ['x', 'y'], count: -1 })];
    expect(await printed(rows, { csv: true })).toBe('id,name,count,tags,at,secret\r\na,"Pump ""3"", north",-1,x; y,,false\r\n');
  });

  it('has UTC also on a terminal, and local times if they are asked for', async () => {
    onTerminal('Asia/Kolkata');
    expect(await printed([ROWS[1]!], { csv: true, columns: ['at'] })).toBe('at\r\n2026-07-01T12:00:00.500Z\r\n');
    expect(await printed([ROWS[1]!], { csv: true, columns: ['at'], local: true })).toBe('at\r\n2026-07-01 17:30:00 +05:30\r\n');
  });

  it.each(['=1+1', '+49 30', '-x', '@sum', '\tx'])('has %j as text', (text) => {
    expect(csvCell(text).replaceAll('"', '')).toBe(`'${text}`);
  });
});

describe('a sorted list', () => {
  const sorted = async (sort: string): Promise<string[]> => {
    const rows = JSON.parse(await printed(ROWS, { sort, json: true })) as Row[];
    return rows.map(({ id }) => id);
  };

  it('goes by numbers as numbers, up or down, with nothing last', async () => {
    expect(await sorted('count')).toEqual(['b', 'a', 'c']);
    expect(await sorted('-count')).toEqual(['c', 'a', 'b']);
    expect(await sorted('at')).toEqual(['b', 'a', 'c']);
    expect(await sorted('-at')).toEqual(['b', 'a', 'c']);
  });

  it('keeps the first ones of many', async () => {
    const output = new ListOutput(COLUMNS, { sort: '-count' });
    const many = Array.from({ length: 1_000 }, (_, i) => row(String(i), { count: (i * 7_919) % 1_000 }));
    expect((await output.first(many, 3)).map(({ count }) => count)).toEqual([999, 998, 997]);
  });

  it('is refused by a column that is not there', () => {
    const wrong =
      (options: ListOptions): (() => unknown) =>
      () =>
        new ListOutput(COLUMNS, options);
    expect(wrong({ sort: '-size' })).toThrow('--sort: there is no column "size"');
    expect(wrong({ columns: ['id', ''] })).toThrow('--columns: there is no column ""');
  });
});
