/**
 * Splits a file of nodes into parts by ID. One part is in memory at a time, however long the file
 * is. The file is read once for validation, and once for each part. A pipe can be read only once,
 * so it is one part.
 */

import { stat } from 'node:fs/promises';
import { formatId, MAX_ID, Secret } from '@latchkey/protocol';
import { type Advice, Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { ManifestHandler, ManifestProblem, ManifestRow } from '@latchkey/provisioning';
import { type DescriptionTexts, descriptionFromTexts } from '../descriptions.js';
import { MAX_BATCH_NODES, NodeBatch } from '../node-batch.js';
import type { DeviceKeys } from './device-keys.js';
import { type ImportSource, inputName, readImport } from './import-file.js';
import type { KeyRows } from './import-keys.js';
import type { Problem } from './import-plan.js';

/** Lines in one part, 37 octets each. */
const PARTITION_LINES = 2 ** 18;
/** IDs are counted by this many of their upper bits. */
const PREFIX_BITS = 16;

/**
 * A row with its whole initial key and, if that is split, the installer's half; and what people
 * know of the node.
 */
interface ImportRow extends ManifestRow {
  readonly half?: Uint8Array;
  readonly description?: DescriptionTexts;
}

interface ImportRowHandler extends Omit<ManifestHandler, 'row'> {
  row(row: ImportRow): void;
}

export interface ImportFile extends KeyRows {
  /** Lines that are well-formed. */
  readonly length: number;
  /** Each has the nodes of a range of IDs; ranges ascend. Wipe each. */
  partitions(): AsyncGenerator<NodeBatch>;
}

export interface ImportFileOptions {
  /** What to do with a file that is encrypted. */
  readonly decrypt: Advice;
  /**
   * What makes initial keys of the halves in the file. Without them the keys in the file are whole.
   */
  readonly deviceKeys?: DeviceKeys | undefined;
  /** Called once for each row that cannot be used. */
  readonly problem: (problem: Problem) => void;
  /** Is shown each other row, once. */
  readonly row?: (row: ManifestRow) => void;
  /** Rows in memory at a time. */
  readonly part?: number;
}

/** Reads a file once, to determine its content. */
export async function openImport(source: ImportSource, options: ImportFileOptions): Promise<ImportFile> {
  return (await isRepeatable(source)) ? readPartitions(source, options) : readWhole(source, options);
}

/** Whether it can be read more than once. */
async function isRepeatable(source: ImportSource): Promise<boolean> {
  if (typeof source !== 'string') return true;
  return source !== '-' && (await stat(source).catch(() => undefined))?.isFile() === true;
}

type ReadOptions = Pick<ImportFileOptions, 'decrypt' | 'deviceKeys'>;

/** Reads the rows of a file, with keys made of both halves if there are device keys. */
async function readRows(source: ImportSource, { decrypt, deviceKeys }: ReadOptions, handler: ImportRowHandler): Promise<void> {
  return readImport(source, decrypt, {
    ...(handler.wants === undefined ? {} : { wants: (idI: number) => handler.wants?.(idI) ?? true }),
    row(found) {
      const description = found.texts === undefined ? undefined : descriptionFromTexts(found.texts);
      if (typeof description === 'string') {
        handler.problem({ line: found.line, idI: found.idI, reason: description });
        return;
      }
      const row: ImportRow = description === undefined ? found : { ...found, description };
      if (deviceKeys === undefined) {
        handler.row(row);
        return;
      }
      const half = Secret.from(row.ik);
      const ik = deviceKeys.includesKey(half) ? undefined : deviceKeys.combine(row.idI, half);
      if (ik !== undefined) handler.row({ ...row, ik: ik.expose(), half: half.expose() });
      else {
        const reason = deviceKeys.has(row.idI)
          ? `ik: it is a device key of ${deviceKeys.name}, which no installer must have`
          : `id: ${deviceKeys.name} has no device key for it`;
        handler.problem({ line: row.line, idI: row.idI, reason });
      }
      ik?.wipe();
      half.wipe();
    },
    problem: (problem) => handler.problem(problem),
  });
}

async function readWhole(source: ImportSource, { decrypt, deviceKeys, row, problem }: ImportFileOptions): Promise<ImportFile> {
  const batch = new NodeBatch(deviceKeys !== undefined);
  await readRows(
    source,
    { decrypt, deviceKeys },
    {
      row(found) {
        row?.(found);
        addTo(batch, source, found);
      },
      problem: (found) => problem(toProblem(found)),
    },
  );
  return batchAsFile(batch);
}

function batchAsFile(batch: NodeBatch): ImportFile {
  return {
    length: batch.length,
    async *partitions() {
      yield batch;
    },
    async forEachRow(row) {
      for (let i = 0; i < batch.length; i++) row({ line: batch.line(i), idI: batch.idI(i), ik: batch.ikOctets(i) });
    },
  };
}

async function readPartitions(source: ImportSource, options: ImportFileOptions): Promise<ImportFile> {
  const { decrypt, deviceKeys, part: partitionLines = PARTITION_LINES } = options;
  return new FileInParts(source, { decrypt, deviceKeys, part: partitionLines, ...(await countRows(source, options)) });
}

interface Counts {
  /** By the upper bits of the ID. */
  readonly counts: Uint32Array;
  readonly length: number;
}

async function countRows(source: ImportSource, { decrypt, deviceKeys, row, problem }: ImportFileOptions): Promise<Counts> {
  const counts = new Uint32Array(2 ** PREFIX_BITS);
  let length = 0;
  await readRows(
    source,
    { decrypt, deviceKeys },
    {
      row(found) {
        row?.(found);
        const place = found.idI >>> (32 - PREFIX_BITS);
        counts[place] = (counts[place] ?? 0) + 1;
        length += 1;
      },
      problem: (found) => problem(toProblem(found)),
    },
  );
  return { counts, length };
}

class FileInParts implements ImportFile {
  readonly length: number;
  readonly #source: ImportSource;
  readonly #options: ReadOptions;
  readonly #part: number;
  readonly #counts: Uint32Array;

  constructor(source: ImportSource, { part, counts, length, ...options }: Counts & ReadOptions & { readonly part: number }) {
    [this.#source, this.#options, this.#part, this.#counts, this.length] = [source, options, part, counts, length];
  }

  async *partitions(): AsyncGenerator<NodeBatch> {
    let read = 0;
    for (const { from, to } of idRanges(this.#counts, this.#part)) {
      const batch = new NodeBatch(this.#options.deviceKeys !== undefined);
      await readRows(this.#source, this.#options, {
        wants: (idI) => idI >= from && idI <= to,
        row: (row) => addTo(batch, this.#source, row),
        problem: () => undefined,
      });
      read += batch.length;
      yield batch;
    }
    if (read !== this.length)
      throw new Failure(`${inputName(this.#source)} changed while it was read`, {
        advice: 'Nothing was changed. Import it again.',
      });
  }

  forEachRow(row: (row: ManifestRow) => void): Promise<void> {
    return readRows(this.#source, this.#options, { row, problem: () => undefined });
  }
}

interface IdRange {
  readonly from: number;
  readonly to: number;
}

/** Ranges of IDs with so many lines each, or as few more as their upper bits allow. */
function* idRanges(counts: Uint32Array, partitionLines: number): Generator<IdRange> {
  const width = 2 ** (32 - PREFIX_BITS);
  let [from, lines] = [0, 0];
  for (const [prefix, count] of counts.entries()) {
    if (lines > 0 && lines + count > partitionLines) {
      yield { from, to: prefix * width - 1 };
      [from, lines] = [prefix * width, 0];
    }
    lines += count;
  }
  yield { from, to: MAX_ID };
}

function addTo(batch: NodeBatch, source: ImportSource, { idI, idC, ik, line, half, description }: ImportRow): void {
  if (batch.add(idI, idC, ik, line, half)) {
    if (description !== undefined) batch.describeLast(description);
    return;
  }
  throw new UsageFailure(`${inputName(source)} has more than ${MAX_BATCH_NODES} nodes`, {
    advice: 'Nothing was changed. Split it.',
  });
}

function toProblem({ line, idI, reason }: ManifestProblem): Problem {
  return { line, reason, ...(idI === undefined ? {} : { id: formatId(idI) }) };
}
