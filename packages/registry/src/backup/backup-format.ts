/**
 * A registry as text, whichever engine it is of: JSON, a row in a line.
 *
 *   {"latchkey backup":1,"start":ChainHead,"head":ChainHead}      1: number of the format
 *   ["TABLE",KEY,ROW]                                             in the order of the tables
 *   ["entries",SEQ,"HASHES","BODY"]                               an entry of the audit log
 *   {"sha256":"HEX"}                                              over all lines before it
 *
 * Octets are {"octets":"HEX"}. Keys are sealed as they are in the registry.
 */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { Failure } from '@latchkey/runtime/failure';
import type { ChainHead } from '../audit-chain.js';
import { type ContentPage, type RegistryContents, ROWS_PER_PAGE, TABLE_NAMES, type TableName } from '../contents.js';
import { fromJson, toJson } from '../octets-json.js';

const FORMAT = 1;
const FORMAT_NAME = 'latchkey backup';
const FIRST_OCTETS: Buffer = Buffer.from(`{"${FORMAT_NAME}":`);
/** Of the line with the checksum. */
const CHECKSUM_LENGTH = checksumLine('0'.repeat(64)).length;
/** Both hashes of an entry of the audit log, in octets. */
const ENTRY_HASHES = 64;
/** Characters per piece. */
const PIECE_LENGTH = 65_536;
/** A longer line was not written by a registry. */
const MAX_LINE = 1024 * 1024;
const LINE_FEED = 10;

const NOTHING_CHANGED = 'Nothing was changed. Use another backup.';

type TableRow = ContentPage['rows'][number];

/** Text in pieces, for a file. */
export async function* formatBackup({ start, head, pages }: RegistryContents): AsyncGenerator<string> {
  const hash = createHash('sha256');
  let piece = `${JSON.stringify(toJson({ [FORMAT_NAME]: FORMAT, start, head }))}\n`;
  for await (const { table, rows } of pages) {
    for (const row of rows as readonly TableRow[]) {
      piece += `${JSON.stringify(formatRow(table, row))}\n`;
      if (piece.length < PIECE_LENGTH) continue;
      hash.update(piece);
      yield piece;
      piece = '';
    }
  }
  hash.update(piece);
  yield `${piece}${checksumLine(hash.digest('hex'))}`;
}

function formatRow(table: TableName, [key, row]: TableRow): unknown {
  if (table !== 'entries') return [table, key, toJson(row)];
  const octets = row as Buffer;
  return [table, key, octets.toString('hex', 0, ENTRY_HASHES), octets.toString('utf8', ENTRY_HASHES)];
}

function checksumLine(hex: string): string {
  return `{"sha256":"${hex}"}\n`;
}

/**
 * Opens a backup for reading. Rejects a file that is no backup or was changed, before any of it is
 * used.
 */
export async function openBackup(path: string): Promise<RegistryContents> {
  const length = await verifyChecksum(path);
  const lines = readLines(path, length);
  const { value: first } = await lines.next();
  const { [FORMAT_NAME]: format, start, head } = (fromJson(parseLine(path, first ?? '')) ?? {}) as Record<string, unknown>;
  if (format !== FORMAT) {
    await lines.return();
    throw new Failure(`${path} is a backup of format ${String(format)}; this version of Latchkey reads format ${FORMAT}`, {
      advice: 'Nothing was changed. Restore it with the version of Latchkey that wrote it.',
    });
  }
  if (!isChainHead(start) || !isChainHead(head)) throw damaged(path, 'it does not say which entries it has');
  return {
    start,
    head,
    pages: readPages(path, lines),
    close: async () => {
      await lines.return();
    },
  };
}

function isChainHead(value: unknown): value is ChainHead {
  const { seq, hash, at } = (value ?? {}) as Partial<Record<keyof ChainHead, unknown>>;
  return Number.isSafeInteger(seq) && hash instanceof Uint8Array && Number.isSafeInteger(at);
}

/** How many octets come before the checksum. */
async function verifyChecksum(path: string): Promise<number> {
  const file = await open(path, 'r');
  try {
    const length = (await file.stat()).size - CHECKSUM_LENGTH;
    const first = await file.read(Buffer.alloc(FIRST_OCTETS.length), 0, FIRST_OCTETS.length, 0);
    const last = await file.read(Buffer.alloc(CHECKSUM_LENGTH), 0, CHECKSUM_LENGTH, Math.max(length, 0));
    const written = /^\{"sha256":"([0-9a-f]{64})"\}\n$/.exec(last.buffer.toString('latin1'))?.[1];
    if (length <= 0 || !first.buffer.equals(FIRST_OCTETS) || written === undefined)
      throw new Failure(`${path} is not a backup of a registry, or was cut short`, { advice: NOTHING_CHANGED });
    const hash = createHash('sha256');
    await pipeline(createReadStream(path, { end: length - 1 }), hash);
    if (hash.digest('hex') !== written) throw damaged(path, 'it is not what was written');
    return length;
  } finally {
    await file.close();
  }
}

async function* readPages(path: string, lines: AsyncIterable<string>): AsyncGenerator<ContentPage> {
  let table: TableName | undefined;
  let rows: unknown[] = [];
  for await (const line of lines) {
    const [name, row] = parseRow(path, line);
    if (table !== undefined && (name !== table || rows.length >= ROWS_PER_PAGE)) {
      yield { table, rows } as ContentPage;
      rows = [];
    }
    table = name;
    rows.push(row);
  }
  if (table !== undefined) yield { table, rows } as ContentPage;
}

function parseRow(path: string, line: string): readonly [TableName, unknown] {
  const parsed = parseLine(path, line);
  if (!Array.isArray(parsed)) throw damaged(path, 'a line of it is no row');
  const [name, key, row, body] = parsed as readonly unknown[] as readonly [TableName, unknown, unknown, unknown];
  if (!TABLE_NAMES.includes(name)) throw damaged(path, `it has rows of ${JSON.stringify(name)}, which no registry has`);
  if (name !== 'entries') return [name, [key, fromJson(row)]];
  if (typeof row !== 'string' || typeof body !== 'string') throw damaged(path, 'an entry of its audit log is none');
  return [name, [key, Buffer.concat([Buffer.from(row, 'hex'), Buffer.from(body)])]];
}

function parseLine(path: string, line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw damaged(path, 'a line of it is not JSON');
  }
}

/** Without their line feeds. */
async function* readLines(path: string, length: number): AsyncGenerator<string, void> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { end: length - 1 }) as AsyncIterable<Buffer>) {
    const octets = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = octets.indexOf(LINE_FEED); end >= 0; end = octets.indexOf(LINE_FEED, from)) {
      yield octets.toString('utf8', from, end);
      from = end + 1;
    }
    rest = octets.subarray(from);
    if (rest.length > MAX_LINE) throw damaged(path, `a line of it has more than ${MAX_LINE} octets`);
  }
  if (rest.length > 0) throw damaged(path, 'its last line is not whole');
}

function damaged(path: string, what: string): Failure {
  return new Failure(`${path} is damaged: ${what}`, { advice: NOTHING_CHANGED });
}
