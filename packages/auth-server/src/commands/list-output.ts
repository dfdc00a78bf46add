/** How every list is printed: as a table, as CSV or as JSON, sorted, with the columns asked for. */

import { formatLocalTime, formatTable } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Command, Option } from 'commander';
import { printJsonList, printLines } from './registry-command.js';

type Cell = string | number | boolean | null | undefined | readonly string[];

export interface Column<R> {
  /** For `--columns` and `--sort`, and in the header of CSV. */
  readonly name: string;
  /** In a table. */
  readonly heading: string;
  readonly value: (row: R) => Cell;
  /** In a table, if the value says it badly. */
  readonly text?: (row: R) => string;
  /** In a table, if there is no value. */
  readonly none?: string;
  /** The value is a time in ISO 8601. */
  readonly isTime?: true;
  /** In a table only if `--columns` names it. */
  readonly onDemand?: true;
  /** In a table only if a row has a value, or `--columns` names it. */
  readonly unlessEmpty?: true;
}

export interface ListOptions {
  readonly json?: true;
  readonly csv?: true;
  readonly columns?: readonly string[];
  readonly sort?: string;
  readonly utc?: true;
  readonly local?: true;
}

/** @param json what `--json` prints */
export function listOptions<R>(command: Command, columns: readonly Column<R>[], json: string): Command {
  const names = columns.map(({ name }) => name);
  return command
    .option('--json', json)
    .addOption(new Option('--csv', 'as CSV with a header, for spreadsheets').conflicts('json'))
    .addOption(
      new Option('--columns <names>', `of the table or the CSV, separated by commas: ${names.join(', ')}`)
        .argParser((text) => text.split(',').map((name) => name.trim()))
        .conflicts('json'),
    )
    .option('--sort <column>', 'by this column; -column for the reverse')
    .addOption(new Option('--utc', 'times in UTC (default: local on a terminal, else UTC)').conflicts(['local', 'json']))
    .addOption(new Option('--local', 'times in the zone of this machine').conflicts('json'));
}

/**
 * Output options of a list, validated before the list is read.
 *
 * @throws UsageFailure if a column has an unknown name
 */
export class ListOutput<R> {
  readonly #shown: readonly Column<R>[];
  readonly #options: ListOptions;
  readonly #order: ((a: R, b: R) => number) | undefined;

  constructor(columns: readonly Column<R>[], options: ListOptions) {
    this.#options = options;
    const { columns: names, sort, csv } = options;
    this.#shown =
      names === undefined
        ? columns.filter(({ onDemand }) => csv === true || onDemand !== true)
        : names.map((name) => columnNamed(columns, name, '--columns'));
    if (sort === undefined) return;
    const isReversed = sort.startsWith('-');
    const { value } = columnNamed(columns, isReversed ? sort.slice(1) : sort, '--sort');
    this.#order = (a, b) => compareCells(value(a), value(b), isReversed ? -1 : 1);
  }

  get isSorted(): boolean {
    return this.#order !== undefined;
  }

  /** The first `limit` rows in the order asked for, in memory that does not grow with the rest. */
  async first(rows: AsyncIterable<R> | Iterable<R>, limit: number): Promise<R[]> {
    let kept: R[] = [];
    for await (const row of rows) {
      kept.push(row);
      if (this.#order === undefined && kept.length >= limit) break;
      if (kept.length >= 2 * limit) kept = kept.toSorted(this.#order).slice(0, limit);
    }
    return this.#order === undefined ? kept : kept.toSorted(this.#order).slice(0, limit);
  }

  /** Prints rows. CSV and JSON are written as the rows arrive. */
  async print(rows: AsyncIterable<R> | Iterable<R>): Promise<void> {
    const { json, csv } = this.#options;
    const sorted = this.#order === undefined ? rows : await this.first(rows, Infinity);
    if (json === true) return printJsonList(sorted);
    if (csv === true) return printLines(this.#csvLines(sorted));
    process.stdout.write(await this.#table(sorted));
    return undefined;
  }

  async #table(rows: AsyncIterable<R> | Iterable<R>): Promise<string> {
    const found: R[] = [];
    for await (const row of rows) found.push(row);
    const isNamed = this.#options.columns !== undefined;
    const shown = this.#shown.filter(
      ({ value, unlessEmpty }) => isNamed || unlessEmpty !== true || found.some((row) => sortKey(value(row)) !== undefined),
    );
    return formatTable(
      shown.map(({ heading }) => heading),
      found.map((row) => shown.map((column) => this.#tableCell(column, row))),
    );
  }

  async *#csvLines(rows: AsyncIterable<R> | Iterable<R>): AsyncGenerator<string> {
    yield `${this.#shown.map(({ name }) => name).join(',')}\r\n`;
    for await (const row of rows) {
      const cells = this.#shown.map(({ value, isTime }) => {
        const cell = value(row);
        return csvCell(isTime === true && typeof cell === 'string' && this.#isLocal(false) ? formatLocalTime(cell) : cell);
      });
      yield `${cells.join(',')}\r\n`;
    }
  }

  #tableCell({ value, text, none = '-', isTime }: Column<R>, row: R): string {
    if (text !== undefined) return text(row);
    const cell = value(row);
    if (isTime === true && typeof cell === 'string') return this.#isLocal(process.stdout.isTTY) ? formatLocalTime(cell) : cell;
    if (typeof cell === 'boolean') return cell ? 'yes' : 'no';
    return (typeof cell === 'object' && cell !== null ? cell.join(', ') : String(cell ?? '')) || none;
  }

  #isLocal(byDefault: boolean): boolean {
    const { utc, local } = this.#options;
    return local === true || (byDefault && utc !== true);
  }
}

function columnNamed<R>(columns: readonly Column<R>[], name: string, option: string): Column<R> {
  const found = columns.find((column) => column.name === name);
  if (found !== undefined) return found;
  throw new UsageFailure(`${option}: there is no column ${JSON.stringify(name)}`, {
    advice: `Name one of ${columns.map((column) => column.name).join(', ')}.`,
  });
}

/** Rows without a value come last, in either direction. */
function compareCells(a: Cell, b: Cell, direction: 1 | -1): number {
  const [first, second] = [sortKey(a), sortKey(b)];
  if (first === second) return 0;
  if (first === undefined) return 1;
  if (second === undefined) return -1;
  return first < second ? -direction : direction;
}

function sortKey(cell: Cell): string | number | undefined {
  if (typeof cell === 'number') return cell;
  if (typeof cell === 'boolean') return Number(cell);
  const text = typeof cell === 'object' && cell !== null ? cell.join(', ') : cell;
  return text === undefined || text === null || text === '' ? undefined : text;
}

/**
 * A cell of RFC 4180. Text that a spreadsheet would take for a formula begins with an apostrophe.
 */
export function csvCell(cell: Cell): string {
  if (typeof cell === 'number' || typeof cell === 'boolean') return String(cell);
  const text = typeof cell === 'object' && cell !== null ? cell.join('; ') : (cell ?? '');
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
