/** Reads a file of nodes line by line, in memory that does not grow with it: CSV with the manifest's header, or JSON Lines. */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { parseId } from '@latchkey/protocol';
import {
  checkPrivateFile,
  encryptedTo,
  exists,
  MANIFEST_COLUMNS,
  parsePeer,
  systemFailure,
  UsageFailure,
} from '@latchkey/runtime';
import { CsvError, parse } from 'csv-parse';
import { PlainLines } from './plain-lines.js';

const KEY = /^[0-9a-fA-F]{32}$/;
const HEADER: string = MANIFEST_COLUMNS.join(',');
/** Of one line, in octets: a manifest's has 80. */
const MAX_LINE = 4_096;

/** One line that is well-formed. The key is valid until the next one. */
interface ImportLine {
  readonly line: number;
  readonly idI: number;
  readonly idC: number;
  readonly ik: Uint8Array;
}

/** Takes the lines of a file as they come: good ones, and what is wrong with the others. Neither ever holds a key in words. */
export interface LineTaker {
  /** Whether a line with this ID is of interest; the rest of one that is not is not looked at. */
  wants?(idI: number): boolean;
  line(line: ImportLine): void;
  problem(line: number, problem: string): void;
}

/** Reads `path`, mode 0600, or standard input for `-`. */
export async function readImport(path: string, taker: LineTaker): Promise<void> {
  const name = path === '-' ? 'standard input' : path;
  const input = path === '-' ? process.stdin : await openPrivate(path);
  try {
    const first = await firstOctets(input);
    if (first === undefined)
      throw new UsageFailure(`${name} is empty`, { advice: `Expected the header ${HEADER} and a line below it, or JSON Lines.` });
    if (encryptedTo(first) !== undefined) {
      const file = path === '-' ? 'FILE' : path;
      throw new UsageFailure(`${name} is encrypted, in the age format`, {
        advice: `Nothing was changed. Run: age -d ${file} | latchkey-auth-server import -`,
      });
    }
    if (/^\uFEFF?\s*\{/.test(first.toString('utf8', 0, 64))) await readJsonLines(input, name, taker);
    else await readCsv(input, name, taker);
  } catch (error) {
    throw error instanceof UsageFailure ? error : systemFailure(`cannot read ${name}`, error);
  } finally {
    input.destroy();
  }
}

async function openPrivate(path: string): Promise<Readable> {
  if (!(await exists(path))) throw new UsageFailure(`cannot read ${path}: no such file or folder`, { advice: 'Check the path.' });
  const info = await stat(path);
  // Before its mode is looked at: to change that of a folder or a device is no advice.
  if (!info.isFile() && !info.isFIFO()) throw new UsageFailure(`cannot read ${path}: it is not a file`);
  await checkPrivateFile(path);
  return createReadStream(path, { highWaterMark: 1024 * 1024 });
}

/** What the stream starts with, put back again; `undefined` at its end. */
async function firstOctets(input: Readable): Promise<Buffer | undefined> {
  for (;;) {
    const chunk = input.read() as Buffer | null;
    if (chunk !== null) {
      input.unshift(chunk);
      return chunk;
    }
    if (input.readableEnded) return undefined;
    await new Promise<void>((resolve, reject) => {
      input.once('readable', resolve);
      input.once('end', resolve);
      input.once('error', reject);
    });
  }
}

async function readCsv(input: Readable, name: string, taker: LineTaker): Promise<void> {
  const fields = new Fields(taker);
  let records = 0;
  const take = (record: readonly string[], line: number): void => {
    records += 1;
    if (records > 1) fields.take(line, record);
    else if (record.join(',') !== HEADER) throw new UsageFailure(`${name}, line ${line}: expected the header ${HEADER}`);
  };
  await takeRecords(input, name, take);
  if (records === 0) throw new UsageFailure(`${name}: expected the header ${HEADER}`);
}

type Take = (record: readonly string[], line: number) => void;

/** Plain lines without a parser, which costs more than all else; from the first one that is not plain on with it. */
async function takeRecords(input: Readable, name: string, take: Take): Promise<void> {
  const plain = new PlainLines(take, MAX_LINE);
  const chunks = input[Symbol.asyncIterator]() as AsyncIterableIterator<Buffer>;
  for (;;) {
    const next = await chunks.next();
    const rest = next.done === true ? plain.end() : plain.push(next.value);
    if (rest !== undefined) return parseCsv(restOf(rest, chunks), name, plain.count, take);
    if (next.done === true) return;
  }
}

async function* restOf(rest: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield rest;
  yield* chunks;
}

/** What begins behind line `before` of the file. */
function parseCsv(octets: AsyncIterable<Buffer>, name: string, before: number, take: Take): Promise<void> {
  const input = Readable.from(octets);
  const parser = parse({
    bom: true,
    info: true,
    trim: true,
    skip_empty_lines: true,
    relax_column_count: true,
    record_delimiter: ['\r\n', '\n', '\r'],
    max_record_size: MAX_LINE,
  });
  return new Promise((resolve, reject) => {
    parser.on('readable', () => {
      try {
        for (;;) {
          const row = parser.read() as { record: string[]; info: { lines: number } } | null;
          if (row === null) return;
          take(row.record, before + row.info.lines);
        }
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
        input.unpipe(parser);
      }
    });
    parser.on('error', (error) => {
      // The parser's own message may quote the line, which holds a key.
      const line = error instanceof CsvError && typeof error['lines'] === 'number' ? `, line ${before + error['lines']}` : '';
      reject(new UsageFailure(`${name}${line}: not CSV with the four fields ${HEADER}`, { advice: 'Nothing was changed.' }));
    });
    parser.on('end', resolve);
    input.on('error', reject);
    input.pipe(parser);
  });
}

async function readJsonLines(input: Readable, name: string, taker: LineTaker): Promise<void> {
  const fields = new Fields(taker);
  let line = 0;
  for await (const text of linesOf(input)) {
    line += 1;
    if (text === undefined) throw new UsageFailure(`${name}, line ${line}: longer than ${MAX_LINE} octets`);
    if (text.trim() === '') continue;
    const record = parseObject(text.replace(/^\uFEFF/, ''));
    if (record === undefined) {
      taker.problem(line, `expected a JSON object with ${MANIFEST_COLUMNS.join(', ')}`);
      continue;
    }
    const unknown = Object.keys(record).find((key) => !(MANIFEST_COLUMNS as readonly string[]).includes(key));
    if (unknown !== undefined) taker.problem(line, 'a field that is none of ' + MANIFEST_COLUMNS.join(', '));
    else
      fields.take(
        line,
        MANIFEST_COLUMNS.map((column) => record[column]),
      );
  }
}

/** Lines without their ends; `undefined` for one that is too long, before it is read in full. */
async function* linesOf(input: Readable): AsyncGenerator<string | undefined> {
  let rest = Buffer.alloc(0);
  for await (const chunk of input) {
    let octets = Buffer.concat([rest, chunk as Buffer]);
    for (let end = octets.indexOf(0x0a); end >= 0; end = octets.indexOf(0x0a)) {
      yield end > MAX_LINE ? undefined : octets.toString('utf8', 0, end);
      octets = octets.subarray(end + 1);
    }
    if (octets.length > MAX_LINE) yield undefined;
    rest = octets;
  }
  if (rest.length > 0) yield rest.toString('utf8');
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Checks the fields of a line, in the order of the header. */
class Fields {
  readonly #taker: LineTaker;
  readonly #ik = Buffer.alloc(16);
  /** A file names few controllers, one after the other. */
  #lastEndpoint = '';

  constructor(taker: LineTaker) {
    this.#taker = taker;
  }

  take(line: number, record: readonly unknown[]): void {
    const [id, controllerId, controller, ik] = record;
    const idI = typeof id === 'string' ? parseId(id) : undefined;
    if (idI !== undefined && this.#taker.wants?.(idI) === false) return;
    const idC = typeof controllerId === 'string' ? parseId(controllerId) : undefined;
    if (record.length !== MANIFEST_COLUMNS.length)
      return this.#taker.problem(line, `expected ${MANIFEST_COLUMNS.length} fields, not ${record.length}`);
    if (idI === undefined) return this.#taker.problem(line, 'id: expected 8 hex digits');
    if (idC === undefined) return this.#taker.problem(line, 'controller_id: expected 8 hex digits');
    if (!this.#isEndpoint(controller)) return this.#taker.problem(line, 'controller: expected HOST:PORT');
    if (typeof ik !== 'string' || !KEY.test(ik)) return this.#taker.problem(line, 'ik: expected 32 hex digits');
    this.#ik.write(ik, 'hex');
    this.#taker.line({ line, idI, idC, ik: this.#ik });
  }

  #isEndpoint(text: unknown): boolean {
    if (text === this.#lastEndpoint && text !== '') return true;
    if (typeof text !== 'string') return false;
    if (parsePeer(text) === undefined) return false;
    this.#lastEndpoint = text;
    return true;
  }
}
