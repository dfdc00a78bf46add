/**
 * Reads a manifest, or a file of device keys, in CSV. The header says which delimiter the file has,
 * and in which order its columns stand. No field has a line break in it, so that each line is a
 * row. A quote in the wrong place therefore spoils its own line only.
 */

import { CsvError, parse } from 'csv-parse/sync';
import { UsageFailure } from '@latchkey/runtime/failure';
import { CsvLines } from './csv-lines.js';
import type { ManifestHandler, RowChecker } from './row-validator.js';
import { showValue } from './shown-value.js';

/** In octets: a line that `formatManifest` writes has 80. */
export const MAX_LINE = 4_096;
/** Lines that the parser gets at once: one by one, each takes six times as long. */
const BATCH_LINES = 512;

const DELIMITERS = [',', ';', '\t'] as const;
const DELIMITER_NAMES: Readonly<Record<string, string>> = { ',': 'commas', ';': 'semicolons', '\t': 'tabs', ' ': 'blanks' };
/** Excel's line above the header, which names the delimiter. */
const SEPARATOR_LINE = /^\s*"?sep=(.)"?\s*$/iu;

const BAD_QUOTE = 'a quote stands in the wrong place, or does not end';

/** Printable ASCII without the blank and the quote. */
const PLAIN = /^[!#-~]*$/;
const PLAIN_WITH_TABS = /^[\t!#-~]*$/;
/** Matches no line. */
const NONE = /$^./;

interface Columns {
  readonly delimiter: string;
  /**
   * Index in a row of each column that the validator knows, then of each further one; -1 if absent.
   */
  readonly places: readonly number[];
  /** True if they are the first ones, in the checker's order. */
  readonly usual: boolean;
}

interface Line {
  readonly text: string;
  readonly number: number;
}

export class CsvReader {
  readonly #name: string;
  readonly #rows: RowChecker;
  readonly #header: string;
  readonly #handler: Pick<ManifestHandler, 'problem'>;
  readonly #lines: CsvLines;
  /** The delimiter that a line above the header names. */
  #declared: string | undefined;
  #columns: Columns | undefined;
  /** A line that needs the parser and those behind it, until they are a batch. */
  #batch: Line[] = [];

  /** @param name of the file, for messages */
  constructor(name: string, handler: Pick<ManifestHandler, 'problem'>, rows: RowChecker) {
    this.#name = name;
    this.#handler = handler;
    this.#rows = rows;
    this.#header = rows.columns.join(',');
    const lines = { line: this.#line.bind(this), tooLong: this.#tooLong.bind(this) };
    this.#lines = new CsvLines(lines, NONE, MAX_LINE);
  }

  /** @throws UsageFailure if the header cannot be read */
  push(octets: Buffer): void {
    this.#lines.push(octets);
  }

  end(): void {
    this.#lines.end();
    this.#parseBatch();
    if (this.#columns === undefined) throw new UsageFailure(`${this.#name}: expected the header ${this.#header}`);
  }

  #line(text: string, number: number, plain: boolean): void {
    const columns = this.#columns;
    if (columns === undefined) return this.#readHeader(text, number);
    if (plain && this.#batch.length === 0) {
      if (text !== '') this.#row(columns, text.split(columns.delimiter), number);
      return;
    }
    if (text.trim() === '') return;
    this.#batch.push({ text, number });
    if (this.#batch.length >= BATCH_LINES) this.#parseBatch();
  }

  #tooLong(number: number): void {
    if (this.#columns === undefined) throw new UsageFailure(`${this.#name}, line ${number}: expected the header ${this.#header}`);
    this.#parseBatch();
    this.#handler.problem({ line: number, reason: `longer than ${MAX_LINE} octets` });
  }

  #readHeader(text: string, number: number): void {
    if (text.trim() === '') return;
    const declared = this.#declared === undefined ? SEPARATOR_LINE.exec(text)?.[1] : undefined;
    if (declared !== undefined) {
      this.#declared = declared;
      return;
    }
    for (const delimiter of this.#declared === undefined ? DELIMITERS : [this.#declared]) {
      const columns = columnsOf(text, delimiter, this.#rows);
      if (columns === undefined) continue;
      this.#columns = columns;
      this.#lines.plain = delimiter === '\t' ? PLAIN_WITH_TABS : PLAIN;
      return;
    }
    const problem = describeHeader(text, this.#declared, this.#rows);
    throw new UsageFailure(`${this.#name}, line ${number}: expected the header ${this.#header}${problem}`);
  }

  #parseBatch(): void {
    const [batch, columns] = [this.#batch, this.#columns];
    this.#batch = [];
    if (columns === undefined || batch.length === 0) return;
    const records = recordsOf(
      batch.map(({ text }) => text),
      columns.delimiter,
    );
    for (const [i, { number }] of batch.entries()) {
      const record = records[i];
      if (record !== undefined) this.#row(columns, record, number);
      else this.#handler.problem({ line: number, reason: BAD_QUOTE });
    }
  }

  #row({ delimiter, places, usual }: Columns, record: readonly string[], line: number): void {
    const length = places.filter((place) => place !== -1).length;
    if (usual && record.length === length) return this.#rows.take(line, record);
    if (record.every((field) => field === '')) return;
    const fields = places.map((place) => (place === -1 ? '' : record[place]));
    const surplus = record.filter((field, place) => field !== '' && !places.includes(place)).length;
    if (surplus === 0 && !fields.includes(undefined)) return this.#rows.take(line, fields);
    const count = `expected ${length} fields, not ${record.length}`;
    const other = record.length === 1 && DELIMITERS.find((mark) => mark !== delimiter && record[0]?.includes(mark) === true);
    const mixed = other ? `: ${nameOf(other)} stand in it, and ${nameOf(delimiter)} in the header` : '';
    this.#rows.reject(line, fields[0], `${count}${mixed}`);
  }
}

/**
 * Parses lines into fields. `undefined` stands for a line with a bad quote, which is searched for
 * by halves.
 */
function recordsOf(lines: readonly string[], delimiter: string): (string[] | undefined)[] {
  try {
    const records = parse(lines.join('\n'), { delimiter, record_delimiter: '\n', trim: true, relax_column_count: true });
    // The field of a quote that does not end goes on to the next quote, in another line.
    if (records.length === lines.length) return records.map((record) => record.map((field) => field.trim()));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
  }
  if (lines.length <= 1) return [undefined];
  const half = lines.length >> 1;
  return [...recordsOf(lines.slice(0, half), delimiter), ...recordsOf(lines.slice(half), delimiter)];
}

type ExpectedColumns = Pick<RowChecker, 'columns' | 'furtherColumns'>;

/** Returns `undefined` if this delimiter does not separate the expected names in the header. */
function columnsOf(
  text: string,
  delimiter: string,
  { columns: expected, furtherColumns = [] }: ExpectedColumns,
): Columns | undefined {
  const names = recordsOf([text], delimiter)[0]?.map((name) => name.toLowerCase());
  if (names === undefined) return undefined;
  const [places, further] = [expected, furtherColumns].map((columns) => columns.map((column) => names.indexOf(column)));
  if (places === undefined || further === undefined || places.includes(-1)) return undefined;
  const known = places.length + further.filter((place) => place !== -1).length;
  if (names.filter((name) => name !== '').length !== known) return undefined;
  const hasFurther = known > places.length;
  return {
    delimiter,
    places: hasFurther ? [...places, ...further] : places,
    usual: !hasFurther && places.every((place, i) => place === i),
  };
}

/** Says what is wrong with a header, as far as that is certain. */
function describeHeader(text: string, declared: string | undefined, columns: ExpectedColumns): string {
  const { columns: expected, furtherColumns = [] } = columns;
  const bare = text
    .replaceAll(/"([^"]*)"/g, '$1')
    .trim()
    .toLowerCase();
  const further = `(?:\\k<delimiter>[a-z_]+){${expected.length - 2}}`;
  const between = new RegExp(`^[a-z_]+(?<delimiter>[^a-z_]+)[a-z_]+${further}$`).exec(bare)?.groups?.['delimiter'];
  const found = between?.trim() === '' ? ' ' : between?.trim();
  if (between !== undefined && found !== undefined && columnsOf(bare.replaceAll(between, ','), ',', columns) !== undefined) {
    if (declared !== undefined)
      return `: its fields are separated by ${nameOf(found)}, and the line above it says ${nameOf(declared)}`;
    return `: its fields are separated by ${nameOf(found)}; commas, semicolons and tabs are read`;
  }
  const records = [declared ?? ',', ...DELIMITERS].flatMap((delimiter) => recordsOf([text], delimiter));
  const names = records.reduce((most, record) => ((record?.length ?? 0) > (most?.length ?? 0) ? record : most), undefined);
  if (names === undefined) return `: ${BAD_QUOTE}`;
  const known = names.map((name) => name.toLowerCase());
  const missing = expected.filter((column) => !known.includes(column));
  if (missing.length === expected.length) return '';
  if (missing.length > 0) return `; ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing`;
  const unknown = names.filter(
    (name, i) =>
      name !== '' && (![...expected, ...furtherColumns].includes(known[i] ?? '') || known.indexOf(known[i] ?? '') !== i),
  );
  return `; it also has ${unknown.map(showValue).join(', ')}`;
}

function nameOf(delimiter: string): string {
  return DELIMITER_NAMES[delimiter] ?? showValue(delimiter);
}
