/**
 * Reads a manifest, or a file of device keys, in JSON Lines or in a JSON array, object by object.
 * No field has a brace in it, so that each object ends at the next brace. A broken object therefore
 * spoils no other.
 */

import { MAX_LINE } from './csv-reader.js';
import type { ManifestHandler, RowChecker } from './row-validator.js';
import { showValue } from './shown-value.js';

const [LINE_FEED, CARRIAGE_RETURN] = [0x0a, 0x0d];
const [OPEN, CLOSE, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];
/** White space, and the comma of an array. */
const BETWEEN: ReadonlySet<number> = new Set([0x20, 0x09, LINE_FEED, CARRIAGE_RETURN, 0x2c]);
const NOTHING = Buffer.alloc(0);

export class JsonReader {
  readonly #handler: Pick<ManifestHandler, 'problem'>;
  readonly #rows: RowChecker;
  readonly #expected: string;
  readonly #array: boolean;
  #inArray = false;
  #inObject = false;
  /** True after the object was reported as too long: the rest of it is dropped. */
  #dropping = false;
  /** The octets of an object that has not ended yet. */
  #begun: Buffer = NOTHING;
  #objectLine = 1;
  #line = 1;
  #afterCr = false;
  /** The last line with a problem: a broken line is reported once. */
  #problemLine = 0;

  /** @param array is true for objects in an array, false for one object a line */
  constructor(handler: Pick<ManifestHandler, 'problem'>, rows: RowChecker, array: boolean) {
    this.#handler = handler;
    this.#rows = rows;
    this.#expected = `expected a JSON object with ${rows.columns.join(', ')}`;
    this.#array = array;
  }

  push(chunk: Buffer): void {
    const octets = this.#begun.length === 0 ? chunk : Buffer.concat([this.#begun, chunk]);
    let from = 0;
    let afterCr = this.#afterCr;
    for (let at = this.#begun.length; at < octets.length; at++) {
      const octet = octets[at] ?? 0;
      // Most octets of an object are between line breaks and braces.
      if (octet > CARRIAGE_RETURN && octet < OPEN && this.#inObject) {
        afterCr = false;
        continue;
      }
      if (octet === OPEN) {
        this.#beginObject();
        from = at;
      } else if (!this.#inObject) this.#between(octet);
      else if (octet === CLOSE) this.#endObject(octets, from, at + 1);
      if (octet === CARRIAGE_RETURN || (octet === LINE_FEED && !afterCr)) this.#line += 1;
      afterCr = octet === CARRIAGE_RETURN;
    }
    this.#afterCr = afterCr;
    this.#begun = this.#inObject && !this.#dropping ? Buffer.from(octets.subarray(from)) : NOTHING;
    if (this.#begun.length > MAX_LINE) this.#drop();
  }

  end(): void {
    if (this.#inObject) this.#problem(this.#objectLine, this.#expected);
    if (this.#inArray) this.#problem(this.#line, 'the array has no end: the file seems to be cut short');
  }

  #between(octet: number): void {
    if (BETWEEN.has(octet)) return;
    if (this.#array && octet === OPEN_ARRAY && !this.#inArray) this.#inArray = true;
    else if (octet === CLOSE_ARRAY && this.#inArray) this.#inArray = false;
    else this.#problem(this.#line, this.#expected);
  }

  #beginObject(): void {
    if (this.#inObject) this.#problem(this.#objectLine, this.#expected);
    this.#inObject = true;
    this.#dropping = false;
    this.#objectLine = this.#line;
  }

  #endObject(octets: Buffer, from: number, to: number): void {
    if (to - from > MAX_LINE) this.#drop();
    if (!this.#dropping) this.#row(octets.toString('utf8', from, to));
    this.#inObject = false;
    this.#dropping = false;
  }

  #drop(): void {
    this.#dropping = true;
    this.#begun = NOTHING;
    this.#problem(this.#objectLine, `longer than ${MAX_LINE} octets`);
  }

  #row(text: string): void {
    const record = parseObject(text);
    if (record === undefined) return this.#problem(this.#objectLine, this.#expected);
    const { columns, furtherColumns = [] } = this.#rows;
    const known = [...columns, ...furtherColumns];
    const unknown = Object.keys(record).find((key) => !known.includes(key));
    if (unknown !== undefined) {
      const reason = `it has ${showValue(unknown)}, which is none of ${known.join(', ')}`;
      return this.#rows.reject(this.#objectLine, record['id'], reason);
    }
    const further = furtherColumns.map((column) => orEmpty(record[column] ?? null));
    this.#rows.take(this.#objectLine, [
      ...columns.map((column) => orEmpty(record[column])),
      ...(further.every((field) => field === '') ? [] : further),
    ]);
  }

  #problem(line: number, reason: string): void {
    if (line === this.#problemLine) return;
    this.#problemLine = line;
    this.#handler.problem({ line, reason });
  }
}

/** An empty row of a spreadsheet may have null in its fields. */
function orEmpty(value: unknown): unknown {
  return value === null ? '' : value;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
