/**
 * A file of nodes in parts, by ID: so much of it is in memory at once, however long it is. It is read once to be looked at and once for
 * each part. What can be read but once, a pipe, is one part.
 */

import { stat } from 'node:fs/promises';
import { MAX_ID } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime';
import { MAX_BATCH, NodeBatch } from './batch.js';
import { readImport } from './import-file.js';
import type { Problem } from './import-plan.js';

/** Lines in one part, 37 octets each. */
const PART = 2 ** 18;
/** IDs are counted by this many of their upper bits. */
const COUNTED_BITS = 16;

export interface ImportFile {
  /** Lines that are well-formed. */
  readonly length: number;
  /** Each has the nodes of a range of IDs; ranges ascend. Wipe each. */
  parts(): AsyncGenerator<NodeBatch>;
}

/** Looks at a file; `problem` is told of each line that is not well-formed. `part`: lines in memory at once. */
export async function openImport(path: string, problem: (problem: Problem) => void, part: number = PART): Promise<ImportFile> {
  const again = path !== '-' && (await stat(path).catch(() => undefined))?.isFile() === true;
  return again ? inParts(path, problem, part) : atOnce(path, problem);
}

async function atOnce(path: string, problem: (problem: Problem) => void): Promise<ImportFile> {
  const batch = new NodeBatch();
  await fill(batch, path, 0, MAX_ID, problem);
  return {
    length: batch.length,
    async *parts() {
      yield batch;
    },
  };
}

async function inParts(path: string, problem: (problem: Problem) => void, part: number): Promise<ImportFile> {
  const counts = new Uint32Array(2 ** COUNTED_BITS);
  let length = 0;
  await readImport(path, {
    line({ idI }) {
      const place = idI >>> (32 - COUNTED_BITS);
      counts[place] = (counts[place] ?? 0) + 1;
      length += 1;
    },
    problem: (line, reason) => problem({ line, reason }),
  });
  return {
    length,
    async *parts() {
      let read = 0;
      for (const { from, to } of ranges(counts, part)) {
        const batch = new NodeBatch();
        await fill(batch, path, from, to);
        read += batch.length;
        yield batch;
      }
      if (read !== length)
        throw new Failure(`${path} changed while it was read`, { advice: 'Nothing was changed. Import it again.' });
    },
  };
}

interface Range {
  readonly from: number;
  readonly to: number;
}

/** Ranges of IDs with so many lines each, or as few more as their upper bits allow. */
function* ranges(counts: Uint32Array, part: number): Generator<Range> {
  const width = 2 ** (32 - COUNTED_BITS);
  let [from, lines] = [0, 0];
  for (const [place, count] of counts.entries()) {
    if (lines > 0 && lines + count > part) {
      yield { from, to: place * width - 1 };
      [from, lines] = [place * width, 0];
    }
    lines += count;
  }
  yield { from, to: MAX_ID };
}

async function fill(
  batch: NodeBatch,
  path: string,
  from: number,
  to: number,
  problem: (problem: Problem) => void = () => undefined,
): Promise<void> {
  await readImport(path, {
    wants: (idI) => idI >= from && idI <= to,
    line({ idI, idC, ik, line }) {
      if (batch.add(idI, idC, ik, line)) return;
      throw new UsageFailure(`${path} has more than ${MAX_BATCH} nodes`, { advice: 'Split it.' });
    },
    problem: (line, reason) => problem({ line, reason }),
  });
}
