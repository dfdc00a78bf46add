/**
 * The installer's manifest: what the draft's step 1 orders and step 3 configures, one line a node.
 */

import { timingSafeEqual } from 'node:crypto';
import { formatId, Secret } from '@latchkey/protocol';
import { decryptInto } from '@latchkey/runtime/cli';
import { type Endpoint, formatEndpoint, isSameEndpoint } from '@latchkey/runtime/net';
import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { ManifestReader, type ManifestReaderOptions } from './manifest-reader.js';
import { MANIFEST_COLUMNS, type ManifestHandler, type ManifestProblem, type ManifestRow } from './row-validator.js';

export interface ManifestLine {
  readonly idI: number;
  readonly idC: number;
  /** Where the node reaches its controller. */
  readonly controller: Endpoint;
  readonly ik: Secret;
}

/** A manifest of a million nodes has 75 MB; a file of manifest lines may have this many octets. */
export const MAX_MANIFEST: number = 128 * 1024 * 1024;

/** Problems that a message names. */
const MAX_PROBLEMS = 10;

/** A manifest as CSV with its header, to be written to a 0600 file. */
export function formatManifest(lines: Iterable<ManifestLine>): string {
  const rows = Array.from(lines, (line) =>
    [formatId(line.idI), formatId(line.idC), formatField(formatEndpoint(line.controller)), line.ik.toHex()].join(','),
  );
  return [MANIFEST_COLUMNS.join(','), ...rows, ''].join('\n');
}

/** The name of an interface, the zone of an address, may have what means something in CSV. */
function formatField(text: string): string {
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Reads every line of a manifest; one that stands twice alike is one line.
 *
 * @param name of the file, for messages
 * @throws UsageFailure that names every bad line, up to ten
 */
export function parseManifest(text: string, name: string): ManifestLine[] {
  const problems = new Problems(name);
  const lines = new Map<number, NumberedLine>();
  read(
    Buffer.from(text),
    { name, decrypt: { advice: decryptInto(name, 'manifest.csv') } },
    {
      row: (row) => {
        const before = lines.get(row.idI);
        if (before === undefined) lines.set(row.idI, numberedLine(row));
        else problems.addUnlessAlike(before, row);
      },
      problem: (problem) => problems.add(problem),
    },
  );
  if (problems.count === 0) return [...lines.values()].map(({ line }) => line);
  for (const { line } of lines.values()) line.ik.wipe();
  throw new UsageFailure(problems.words);
}

/**
 * Returns the line of one node. Lines of other nodes may be malformed.
 *
 * @throws NotFound if no line names the node; UsageFailure if two lines of it differ, or a
 *   malformed line may belong to it
 */
export function findManifestLine(octets: Uint8Array, idI: number, options: ManifestReaderOptions): ManifestLine {
  const { name } = options;
  const [own, unreadable] = [new Problems(name), new Problems(name)];
  let found: NumberedLine | undefined;
  read(octets, options, {
    wants: (id) => id === idI,
    row: (row) => {
      if (found === undefined) found = numberedLine(row);
      else own.addUnlessAlike(found, row);
    },
    problem: (problem) => (problem.idI === idI ? own : unreadable).add(problem),
  });
  if (own.count > 0) {
    found?.line.ik.wipe();
    throw new UsageFailure(own.words);
  }
  if (found !== undefined) return found.line;
  const missing = `${name} has no line for node ${formatId(idI)}`;
  const advice = 'Check the ID on the label.';
  if (unreadable.count === 0) throw new NotFound(missing, { advice });
  throw new UsageFailure(`${missing} among those that can be read\n${unreadable.words}`, { advice });
}

function read(octets: Uint8Array, options: ManifestReaderOptions, handler: ManifestHandler): void {
  const reader = new ManifestReader(options, handler);
  reader.push(octets);
  reader.end();
}

interface NumberedLine {
  readonly number: number;
  readonly line: ManifestLine;
}

function numberedLine({ line: number, idI, idC, controller, ik }: ManifestRow): NumberedLine {
  return { number, line: { idI, idC, controller, ik: Secret.from(ik) } };
}

/** Counts the problems of a file, and has the first of them in words. */
class Problems {
  readonly #name: string;
  readonly #words: string[] = [];
  count = 0;

  constructor(name: string) {
    this.#name = name;
  }

  add({ line, reason }: ManifestProblem): void {
    this.count += 1;
    if (this.count <= MAX_PROBLEMS) this.#words.push(`${this.#name}, line ${line}: ${reason}`);
  }

  addUnlessAlike({ number, line }: NumberedLine, row: ManifestRow): void {
    const differs = [
      ...(row.idC === line.idC ? [] : ['controller_id']),
      ...(isSameEndpoint(row.controller, line.controller) ? [] : ['controller']),
      ...(timingSafeEqual(row.ik, line.ik.expose()) ? [] : ['ik']),
    ];
    if (differs.length === 0) return;
    const reason = `id: ${formatId(row.idI)} stands in line ${number} already, with another ${differs.join(' and ')}`;
    this.add({ line: row.line, reason });
  }

  get words(): string {
    return [...this.#words, ...(this.count > MAX_PROBLEMS ? [`and ${this.count - MAX_PROBLEMS} more`] : [])].join('\n');
  }
}
