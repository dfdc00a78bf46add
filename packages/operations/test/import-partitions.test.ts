// Proves that a file read in parts is the file: each line in one part, in memory for no more than
// that, and no other file on the way.

import { execFileSync } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import type { NodeBatch } from '../src/node-batch.js';
import { openImport } from '../src/import/import-partitions.js';

const HEADER = 'id,controller_id,controller,ik\n';
const QUIET = { decrypt: {}, problem: (): void => undefined };
const row = (id: number, ik: number): string =>
  `${id.toString(16).padStart(8, '0')},00000001,192.0.2.1:5683,${ik.toString(16).padStart(32, '0')}\n`;

async function fileOf(text: string): Promise<string> {
  const path = join(await tempFolder(), 'nodes.csv');
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

/** Line, ID and key of each node of a batch, in the order of the file. */
function nodesOf(batch: NodeBatch): [number, number, number][] {
  return Array.from({ length: batch.length }, (_, i) => [batch.line(i), batch.idI(i), Number.parseInt(batch.ik(i).toHex(), 16)]);
}

async function partitionsOf(path: string, part?: number): Promise<[number, number, number][][]> {
  const parts: [number, number, number][][] = [];
  const file = await openImport(path, { ...QUIET, ...(part === undefined ? {} : { part }) });
  for await (const batch of file.partitions()) parts.push(nodesOf(batch));
  expect(parts.flat()).toHaveLength(file.length);
  return parts;
}

describe('a file in parts', () => {
  it('has each line in one of them, by ascending ranges of IDs, with the key of that line', async () => {
    const id = fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 0, max: 300_000 }));
    await fc.assert(
      fc.asyncProperty(fc.array(id, { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), async (ids, part) => {
        const path = await fileOf(HEADER + ids.map((id, i) => row(id, i + 1)).join(''));
        const parts = await partitionsOf(path, part);
        const all = parts.flat().toSorted(([a], [b]) => a - b);
        expect(all).toEqual(ids.map((id, i) => [i + 2, id, i + 1]));
        const ranges = parts.filter((nodes) => nodes.length > 0).map((nodes) => nodes.map(([, id]) => id));
        for (const [i, ids] of ranges.entries())
          expect(Math.max(...ids)).toBeLessThan(Math.min(...(ranges[i + 1] ?? [Infinity])));
      }),
      { numRuns: 60 },
    );
  });

  it('has no more lines in one than it may, where IDs differ in their upper bits', async () => {
    const path = await fileOf(HEADER + Array.from({ length: 1_000 }, (_, i) => row(i * 4_000_000, i + 1)).join(''));
    const sizes = (await partitionsOf(path, 64)).map(({ length }) => length);
    expect(sizes).toHaveLength(16);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64);
  });

  it('has two lines of one node in one part', async () => {
    const path = await fileOf(HEADER + row(7, 1) + row(0xffff_0000, 2) + row(7, 3));
    expect((await partitionsOf(path, 1)).filter((nodes) => nodes.length > 0)).toEqual([
      [
        [2, 7, 1],
        [4, 7, 3],
      ],
      [[3, 0xffff_0000, 2]],
    ]);
  });

  it('tells of a bad line once', async () => {
    const told: number[] = [];
    const path = await fileOf(`${HEADER}${row(1, 1)}nonsense\n${row(0xffff_ffff, 2)}`);
    const file = await openImport(path, { ...QUIET, problem: ({ line }) => told.push(line), part: 1 });
    for await (const batch of file.partitions()) batch.wipe();
    expect(told).toEqual([3]);
  });

  it('shows each row once, whether it can be read again or not', async () => {
    const path = await fileOf(HEADER + row(7, 1) + row(0xffff_0000, 2) + row(7, 3));
    const pipe = join(await tempFolder(), 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    createReadStream(path).pipe(createWriteStream(pipe));
    for (const from of [path, pipe]) {
      const seen: number[] = [];
      const file = await openImport(from, { ...QUIET, row: ({ line }) => seen.push(line), part: 1 });
      for await (const batch of file.partitions()) batch.wipe();
      expect(seen).toEqual([2, 3, 4]);
    }
  });

  it('is refused where it changes while it is read', async () => {
    const path = await fileOf(HEADER + row(1, 1) + row(0xffff_ffff, 2));
    const file = await openImport(path, { ...QUIET, part: 1 });
    await appendFile(path, row(2, 3));
    await expect(async () => {
      for await (const batch of file.partitions()) batch.wipe();
    }).rejects.toMatchObject({ name: 'Failure', message: `${path} changed while it was read` });
  });

  it('of no lines has one part with none', async () => {
    expect(await partitionsOf(await fileOf(HEADER))).toEqual([[]]);
  });
});

it('what can be read but once is one part', async () => {
  const path = join(await tempFolder(), 'pipe');
  execFileSync('mkfifo', ['-m', '600', path]);
  const writing = createWriteStream(path);
  writing.end(HEADER + row(1, 1) + row(0xffff_ffff, 2));
  expect(await partitionsOf(path, 1)).toEqual([
    [
      [2, 1, 1],
      [3, 0xffff_ffff, 2],
    ],
  ]);
});
