/**
 * Reads a manifest, or a file of device keys, in the notation that its first octets tell, in memory
 * that does not grow with the file.
 */

import { detectEncryption, HEADER_PREFIX_LENGTH } from './encrypted-manifest.js';
import { type Advice, UsageFailure } from '@latchkey/runtime/failure';
import { CsvReader } from './csv-reader.js';
import { JsonReader } from './json-reader.js';
import { type ManifestHandler, type RowChecker, RowValidator } from './row-validator.js';

const AS_CSV = 'Save it as CSV in UTF-8.';
/** Files that are taken for a manifest, by the octets that they begin with. */
const OTHER_FORMATS: readonly (readonly [start: string, what: string, advice: string])[] = [
  ['PK\x03\x04', 'a workbook of Excel or OpenDocument, or another ZIP archive', AS_CSV],
  ['\xd0\xcf\x11\xe0', 'a workbook of an old Excel', AS_CSV],
  ['%PDF-', 'a PDF', AS_CSV],
  ['\x1f\x8b', 'compressed with gzip', 'Decompress it first.'],
  ['\xff\xfe\0\0', 'UTF-32', AS_CSV],
  ['\0\0\xfe\xff', 'UTF-32', AS_CSV],
];

/** Blank octets after which JSON is not expected any more. */
const MAX_BLANK = 65_536;

export interface ManifestReaderOptions {
  /** Of the file, for messages. */
  readonly name: string;
  /** What to do with a file that is encrypted. */
  readonly decrypt: Advice;
}

/** Takes a file piece by piece: `push` each, then `end`. */
export class RowReader {
  readonly #options: ManifestReaderOptions;
  readonly #handler: Pick<ManifestHandler, 'problem'>;
  readonly #rows: RowChecker;
  /** The first octets, until they tell the notation. */
  #opening: Buffer = Buffer.alloc(0);
  #decode: (octets?: Buffer) => Buffer = (octets = Buffer.alloc(0)) => octets;
  #reader: CsvReader | JsonReader | undefined;

  constructor(options: ManifestReaderOptions, handler: Pick<ManifestHandler, 'problem'>, rows: RowChecker) {
    this.#options = options;
    this.#handler = handler;
    this.#rows = rows;
  }

  /**
   * @throws UsageFailure if the file is no manifest. A row that cannot be used goes to the handler
   *   instead.
   */
  push(octets: Uint8Array): void {
    const chunk = Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
    if (this.#reader !== undefined) return this.#reader.push(this.#decode(chunk));
    const opening = Buffer.concat([this.#opening, chunk]);
    this.#opening = opening;
    if (opening.length >= HEADER_PREFIX_LENGTH && (opening.length > MAX_BLANK || /\S/.test(opening.toString('latin1'))))
      this.#begin();
  }

  /** @throws UsageFailure as `push` does */
  end(): void {
    const reader = this.#reader ?? this.#begin();
    reader.push(this.#decode());
    reader.end();
  }

  #begin(): CsvReader | JsonReader {
    const [opening, { name, decrypt }] = [this.#opening, this.#options];
    this.#opening = Buffer.alloc(0);
    if (opening.length === 0) {
      throw new UsageFailure(`${name} is empty`, {
        advice: `Expected the header ${this.#rows.columns.join(',')} and a line below it, or JSON with those names.`,
      });
    }
    if (detectEncryption(opening) !== undefined) throw new UsageFailure(`${name} is encrypted, in the age format`, decrypt);
    const start = opening.toString('latin1', 0, HEADER_PREFIX_LENGTH);
    const other = OTHER_FORMATS.find(([magic]) => start.startsWith(magic));
    if (other !== undefined) throw new UsageFailure(`${name} is ${other[1]}, not CSV or JSON`, { advice: other[2] });
    this.#decode = decoderOf(opening);
    const octets = this.#decode(opening);
    const first = octets.toString('latin1').trimStart()[0];
    const json = first === '{' || first === '[';
    this.#reader = json
      ? new JsonReader(this.#handler, this.#rows, first === '[')
      : new CsvReader(name, this.#handler, this.#rows);
    this.#reader.push(octets);
    return this.#reader;
  }
}

/** Reads the rows of a manifest. */
export class ManifestReader extends RowReader {
  constructor(options: ManifestReaderOptions, handler: ManifestHandler) {
    super(options, handler, new RowValidator(handler));
  }
}

/**
 * Returns a function that converts to UTF-8 without a byte order mark. Without octets it returns
 * the rest, at the end of the file.
 */
function decoderOf(opening: Buffer): (octets?: Buffer) => Buffer {
  const [first, second, third] = opening;
  if (first === 0xef && second === 0xbb && third === 0xbf) {
    let mark = 3;
    return (octets = Buffer.alloc(0)) => {
      const rest = octets.subarray(mark);
      mark = 0;
      return rest;
    };
  }
  const bigEndian = (first === 0xfe && second === 0xff) || isUtf16(opening, 0);
  const littleEndian = (first === 0xff && second === 0xfe) || isUtf16(opening, 1);
  if (!bigEndian && !littleEndian) return (octets = Buffer.alloc(0)) => octets;
  const decoder = new TextDecoder(bigEndian ? 'utf-16be' : 'utf-16le');
  return (octets) => Buffer.from(octets === undefined ? decoder.decode() : decoder.decode(octets, { stream: true }));
}

/**
 * Detects UTF-16 without a byte order mark. A manifest is ASCII, so that every second octet is 0,
 * from place `zero` on.
 */
function isUtf16(opening: Buffer, zero: 0 | 1): boolean {
  const start = opening.subarray(0, HEADER_PREFIX_LENGTH);
  return start.length > 1 && start.every((octet, i) => (octet === 0) === (i % 2 === zero));
}
