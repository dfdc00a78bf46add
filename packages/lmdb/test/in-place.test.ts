// Proves that nothing is written into the file of a store that the next start would not find.

import { copyFile, cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { openStore, writeFailure } from '../src/open.js';
import { STORE_FILE } from '../src/files.js';

const LONG = { timeout: 60_000, interval: 100 };

async function newStore() {
  const folder = join(await tempFolder(), 'store');
  const store = await openStore<number, string>(folder);
  onTestFinished(() => store.close());
  const write = (): Promise<void> => store.transaction(() => store.putSync('a', 1)).then(() => undefined);
  await write();
  return { folder, write };
}

const GONE = { name: 'Failure', message: expect.stringContaining('was removed, replaced or moved away') as string };

describe('a store', () => {
  it('that is moved away takes no write until it is back', async () => {
    const { folder, write } = await newStore();
    await rename(folder, `${folder}.away`);
    await vi.waitFor(() => expect(write()).rejects.toMatchObject(GONE), LONG);
    await rename(`${folder}.away`, folder);
    await vi.waitFor(write, LONG);
  });

  it('that another takes the place of takes no write', async () => {
    const { folder, write } = await newStore();
    const file = join(folder, STORE_FILE);
    await copyFile(file, `${file}.copy`);
    await rename(`${file}.copy`, file);
    await vi.waitFor(() => expect(write()).rejects.toMatchObject(GONE), LONG);
  });

  it('whose folder is removed and made anew takes no write', async () => {
    const { folder, write } = await newStore();
    await cp(folder, `${folder}.copy`, { recursive: true });
    await rm(folder, { recursive: true });
    await rename(`${folder}.copy`, folder);
    await vi.waitFor(() => expect(write()).rejects.toMatchObject(GONE), LONG);
  });
});

describe('a write that failed', () => {
  it('is told of also where nobody can tell how full the disk is: the folder is gone', async () => {
    const failure = await writeFailure('/no/such/folder', Object.assign(new Error('write'), { code: 5 }));
    expect(failure.message).toBe('cannot write to the store /no/such/folder: the device reports an input/output error');
  });
});
