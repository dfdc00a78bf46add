/** The installer's manifest: what the draft's step 1 orders and step 3 configures, one line a node. */

import { formatId, parseId, Secret } from '@latchkey/protocol';
import { CsvError, parse } from 'csv-parse/sync';
import { z } from 'zod';
import { describeIssue } from './config.js';
import { type Endpoint, formatEndpoint, peerSchema } from './endpoint.js';
import { encryptedTo, OPENING } from './encrypted-manifest.js';
import { inWords } from './expectation.js';
import { UsageFailure } from './failure.js';

export interface ManifestLine {
  readonly idI: number;
  readonly idC: number;
  /** Where the node reaches its controller. */
  readonly controller: Endpoint;
  readonly ik: Secret;
}

/** A manifest of a million nodes has 75 MB; a file of manifest lines may have this many octets. */
export const MAX_MANIFEST: number = 128 * 1024 * 1024;

/** The fields of a line, in order. */
export const MANIFEST_COLUMNS = ['id', 'controller_id', 'controller', 'ik'] as const;
const HEADER: string = MANIFEST_COLUMNS.join(',');

const idField = z.string().refine((text) => parseId(text) !== undefined, 'expected 8 hex digits');
const lineSchema = z.strictObject({
  id: idField,
  controller_id: idField,
  controller: peerSchema,
  ik: z.string().regex(/^[0-9a-fA-F]{32}$/, 'expected 32 hex digits'),
});

/** A manifest as CSV with its header, to be written to a 0600 file. */
export function formatManifest(lines: Iterable<ManifestLine>): string {
  const rows = Array.from(lines, (line) =>
    [formatId(line.idI), formatId(line.idC), formatField(formatEndpoint(line.controller)), line.ik.toHex()].join(','),
  );
  return [HEADER, ...rows, ''].join('\n');
}

/** The name of an interface, the zone of an address, may have what means something in CSV. */
function formatField(text: string): string {
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Reads a manifest: CSV with the header `id,controller_id,controller,ik`, or JSON Lines with those names.
 *
 * @param name of the file, for messages
 * @throws UsageFailure that names every bad line, up to ten
 */
export function parseManifest(text: string, name: string): ManifestLine[] {
  if (encryptedTo(Buffer.from(text.slice(0, OPENING))) !== undefined) {
    throw new UsageFailure(`${name} is encrypted, in the age format`, {
      advice: `Decrypt it first, into a file of mode 0600: (umask 077; age -d ${name} > manifest.csv)`,
    });
  }
  const plain = text.replace(/^\uFEFF/, '');
  const records = plain.trimStart().startsWith('{') ? jsonLines(plain, name) : csvLines(plain, name);
  const problems: string[] = [];
  const seen = new Map<number, number>();
  const lines: ManifestLine[] = [];
  for (const { line, record } of records) {
    const result = lineSchema.safeParse(record, { error: inWords });
    if (!result.success) {
      problems.push(`${name}, line ${line}: ${result.error.issues.map(describeIssue).join('; ')}`);
      continue;
    }
    const { id, controller_id, controller, ik } = result.data;
    const idI = Number.parseInt(id, 16);
    const before = seen.get(idI);
    if (before !== undefined) problems.push(`${name}, line ${line}: id: ${formatId(idI)} stands in line ${before} already`);
    seen.set(idI, line);
    lines.push({ idI, idC: Number.parseInt(controller_id, 16), controller, ik: Secret.fromHex(ik) });
  }
  if (problems.length > 0) throw new UsageFailure(summarise(problems));
  return lines;
}

function summarise(problems: readonly string[]): string {
  const shown = problems.slice(0, 10);
  return [...shown, ...(problems.length > shown.length ? [`and ${problems.length - shown.length} more`] : [])].join('\n');
}

interface NumberedRecord {
  readonly line: number;
  readonly record: unknown;
}

function csvLines(text: string, name: string): NumberedRecord[] {
  try {
    const rows = parse(text, { columns: true, info: true, skip_empty_lines: true, trim: true });
    const records = rows as unknown as { readonly record: Record<string, string>; readonly info: { readonly lines: number } }[];
    const [first] = records;
    if (first === undefined || Object.keys(first.record).join(',') !== HEADER) {
      throw new UsageFailure(`${name}, line 1: expected the header ${HEADER} and a line below it`);
    }
    return records.map(({ record, info }) => ({ line: info.lines, record }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    // The parser's own message may quote the line, which holds a key.
    const line = typeof error['lines'] === 'number' ? `, line ${error['lines']}` : '';
    throw new UsageFailure(`${name}${line}: not CSV with the four fields ${HEADER}`, { cause: error.code });
  }
}

function jsonLines(text: string, name: string): NumberedRecord[] {
  return text.split('\n').flatMap((row, i) => {
    if (row.trim() === '') return [];
    try {
      return [{ line: i + 1, record: JSON.parse(row) as unknown }];
    } catch {
      throw new UsageFailure(`${name}, line ${i + 1}: expected one JSON object a line, with ${MANIFEST_COLUMNS.join(', ')}`);
    }
  });
}
