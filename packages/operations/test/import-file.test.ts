// Proves which files of nodes are opened, that one is read whole and in order, and that none takes
// memory for its length.

import { chmod, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Failure } from '@latchkey/runtime/failure';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { readImport, readImportFile } from '../src/import/import-file.js';

const HEADER = 'id,controller_id,controller,ik';
const IK = '00112233445566778899aabbccddeeff';

const row = (i: number): string => `${i.toString(16).padStart(8, '0')},00000001,192.0.2.1:5683,${IK}`;
const csv = (...rows: readonly string[]): string => [HEADER, ...rows, ''].join('\n');

interface Read {
  /** `LINE ID_i` */
  readonly rows: string[];
  readonly problems: string[];
  readonly failure: Failure | undefined;
}

async function readFrom(path: string): Promise<Read> {
  const [rows, problems]: [string[], string[]] = [[], []];
  const failure = await readImport(
    path,
    { advice: 'Decrypt it.' },
    {
      row: ({ line, idI }) => void rows.push(`${line} ${idI}`),
      problem: ({ line, reason }) => void problems.push(`${line} ${reason}`),
    },
  ).then(
    () => undefined,
    (error: unknown) => error as Failure,
  );
  return { rows, problems, failure };
}

async function fileOf(content: string, mode = 0o600): Promise<string> {
  const path = join(await tempFolder(), 'nodes');
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

/**
 * What comes of a file that starts like this and then goes on with 256 MiB of NUL octets, and the
 * MiB that it took.
 */
async function readEndless(start: string): Promise<Read & { readonly memory: number }> {
  const path = await fileOf(start);
  await truncate(path, 256 * 1024 * 1024);
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
  const read = await readFrom(path);
  clearInterval(watch);
  return { ...read, memory: (most - before) / (1024 * 1024) };
}

describe('a file', () => {
  it('of many pieces is read whole, in order', async () => {
    const path = await fileOf(csv(...Array.from({ length: 60_000 }, (_, i) => row(i))));
    const { rows, problems, failure } = await readFrom(path);
    expect([rows.length, problems, failure]).toEqual([60_000, [], undefined]);
    expect(rows.every((text, i) => text === `${i + 2} ${i}`)).toBe(true);
  });

  it('is refused where others can read it, where it is not there, and where it is a folder', async () => {
    const folder = await tempFolder();
    expect((await readFrom(join(folder, 'x'))).failure).toMatchObject({ name: 'UsageFailure' });
    expect((await readFrom(folder)).failure).toMatchObject({
      name: 'UsageFailure',
      message: expect.stringContaining(folder) as string,
    });
    const loose = await fileOf(csv(row(1)), 0o644);
    expect((await readFrom(loose)).failure).toMatchObject({ advice: `Run: chmod 600 ${loose}` });
  });

  it('that is encrypted is refused with what to do', async () => {
    const path = await fileOf(`age-encryption.org/v1\n-> X25519 ${'x'.repeat(43)}\n`);
    expect((await readFrom(path)).failure).toMatchObject({
      message: `${path} is encrypted, in the age format`,
      advice: 'Decrypt it.',
    });
  });

  it('of CSV that goes on without a line break costs no memory for it', async () => {
    const { rows, problems, failure, memory } = await readEndless(`${csv(row(1))}00000002`);
    expect([rows, problems, failure]).toEqual([['2 1'], ['3 longer than 4096 octets'], undefined]);
    expect(memory).toBeLessThan(100);
  });

  it('of CSV whose header never ends is refused', async () => {
    const { failure, memory } = await readEndless('id,');
    expect(failure).toMatchObject({
      name: 'UsageFailure',
      message: expect.stringMatching(/, line 1: expected the header/) as string,
    });
    expect(memory).toBeLessThan(100);
  });

  it('of JSON that goes on without an end costs no memory for it', async () => {
    const { problems, failure, memory } = await readEndless('{"id":');
    expect([problems, failure]).toEqual([['1 longer than 4096 octets'], undefined]);
    expect(memory).toBeLessThan(100);
  });
});

describe('a file that goes elsewhere', () => {
  const decrypt = { advice: 'Decrypt it.' };

  it('is read as it stands, if an import would take its form', async () => {
    const path = await fileOf(csv(row(1), 'x,y'));
    expect(Buffer.from(await readImportFile(path, decrypt, 1_000)).toString()).toBe(csv(row(1), 'x,y'));
  });

  it.each([
    [csv(), 1_000, 'has no nodes in it'],
    ['neither CSV nor JSON', 1_000, 'nodes'],
    [csv(row(1)), 80, 'has more than 80 octets'],
  ])('is refused before anything is sent', async (content, most, says) => {
    await expect(readImportFile(await fileOf(content), decrypt, most)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: expect.stringContaining(says),
    });
  });
});
