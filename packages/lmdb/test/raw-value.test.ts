import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rawValueEquals, readRawValue } from '../src/raw-value.js';
import { openStore } from '../src/open.js';

let folder: string;
let table: RootDatabase<Buffer, string>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-octets-'));
  table = await openStore<Buffer, string>(join(folder, 'store'), { encoding: 'binary' });
});

afterEach(async () => {
  await table.close();
  await rm(folder, { recursive: true });
});

/** From one octet to more than LMDB's own buffer, and than a page, takes. */
const LENGTHS = [1, 32, 200, 3_000, 5_000, 70_000, 1_000_000];

function octetsOf(length: number, fill: number): Buffer {
  return Buffer.alloc(length, fill);
}

describe.each(LENGTHS)('%d octets', (length) => {
  it('are there as they were put, whatever was looked at before', async () => {
    const octets = octetsOf(length, 1);
    await table.put('one', octets);
    await table.put('shorter', octetsOf(Math.max(length - 1, 0), 1));
    await table.put('longer', octetsOf(length + 1, 1));
    await table.put('other', Buffer.concat([octets.subarray(1), Buffer.of(2)]));
    for (const before of ['longer', 'shorter', 'other', 'one', 'none']) {
      readRawValue(table, before);
      expect([rawValueEquals(table, 'one', octets), readRawValue(table, 'one')?.equals(octets)]).toEqual([true, true]);
    }
    expect(['shorter', 'longer', 'other', 'none'].map((key) => rawValueEquals(table, key, octets))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(readRawValue(table, 'none')).toBeUndefined();
  });

  it('stay what they were when others are looked at', async () => {
    await table.put('one', octetsOf(length, 1));
    await table.put('two', octetsOf(length, 2));
    const one = readRawValue(table, 'one');
    readRawValue(table, 'two');
    expect(one?.equals(octetsOf(length, 1))).toBe(true);
  });

  it('are seen inside the transaction that puts them', async () => {
    await table.put('one', octetsOf(length, 1));
    await table.transaction(() => {
      table.putSync('one', octetsOf(length, 2));
      expect([rawValueEquals(table, 'one', octetsOf(length, 1)), rawValueEquals(table, 'one', octetsOf(length, 2))]).toEqual([
        false,
        true,
      ]);
    });
  });
});
