// Proves that a table is read whole and in order a slice at a time, and that a reader that waits
// holds no page of the store.

import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { openStore } from '../src/open.js';
import { scanTable } from '../src/scan.js';
import { openReaders } from '@latchkey/test-support/sealed-store';

let table: RootDatabase<string, number>;

beforeEach(async () => {
  table = await openStore<string, number>(join(await tempFolder(), 'store'), { keyEncoding: 'uint32' });
  onTestFinished(() => table.close());
});

async function fill(keys: readonly number[]): Promise<void> {
  await table.transaction(() => {
    for (const key of keys) table.putSync(key, `row ${key}`);
  });
}

function keysFrom(from: number): number[] {
  return [...scanTable(table, from)].map(({ key, value }) => (value === `row ${key}` ? key : Number.NaN));
}

it.each([0, 1, 254, 255, 256, 511, 1_000])(
  '%d rows and one of the last key there can be are read whole, in order',
  async (count) => {
    expect(keysFrom(0)).toEqual([]);
    const keys = [...Array.from({ length: count }, (_, i) => 3 * i), 0xffff_ffff];
    await fill(keys);
    expect(keysFrom(0)).toEqual(keys);
    expect(keysFrom(3)).toEqual(keys.filter((key) => key >= 3));
  },
);

it('a reader that waits has no read open, and meets what has changed meanwhile', async () => {
  await fill(Array.from({ length: 600 }, (_, i) => i));
  const rows = scanTable(table, 0);
  expect(rows.next().value).toEqual({ key: 0, value: 'row 0' });
  table.resetReadTxn();
  expect(openReaders(table)).toEqual([]);
  await table.transaction(() => {
    table.removeSync(500);
    table.putSync(1_000, 'row 1000');
  });
  const rest = [...rows].map(({ key }) => key);
  expect(rest).toEqual(
    Array.from({ length: 599 }, (_, i) => i + 1)
      .filter((i) => i !== 500)
      .concat(1_000),
  );
});

it('one that reads in one go has', async () => {
  await fill([1, 2]);
  const rows = table.getRange()[Symbol.iterator]();
  rows.next();
  table.resetReadTxn();
  expect(openReaders(table)).toHaveLength(1);
  rows.return?.();
  expect(openReaders(table)).toEqual([]);
});
