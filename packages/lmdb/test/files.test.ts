// Proves that files which LMDB could not use are refused in words, in a process of its own: lmdb
// would end it without one.

import { chmod, chown, mkdir, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { nativeLocks } from '@latchkey/runtime/files';
import { describe, expect, it } from 'vitest';
import { Child, IS_ROOT, NOBODY, tempFolder } from '@latchkey/test-support/fixtures';
import { LOCK_FILE, STORE_FILE } from '../src/files.js';
import { openStore } from '../src/open.js';

process.umask(0o077);

const OPEN = JSON.stringify(new URL('../dist/open.js', import.meta.url).href);

/** A process that opens the store in its first argument, says what came of it, and keeps it. */
function opener(path: string, options = {}): Child {
  return new Child(
    `import { openStore } from ${OPEN};
     const said = await openStore(process.argv[1]).then(() => 'open', ({ message }) => message);
     console.log(said);
     if (said === 'open') setInterval(() => undefined, 1_000);`,
    [path],
    options,
  );
}

/** A store, closed. */
async function newStore(): Promise<{ readonly path: string; readonly lock: string }> {
  const path = join(await tempFolder(), 'store');
  await (await openStore(path)).close();
  return { path, lock: join(path, LOCK_FILE) };
}

// Root opens the stores of daemons.
describe.each([STORE_FILE, LOCK_FILE, 'open.lock'])('%s of a store', (name) => {
  it('is no link to a file of somebody else, which stays as it is', async () => {
    const { path } = await newStore();
    const other = join(await tempFolder(), 'other');
    await writeFile(other, 'theirs', { mode: 0o644 });
    // Its owner only may read what openStore() checks first.
    if (name === STORE_FILE) await chmod(other, 0o600);
    const { mode } = await stat(other);
    await rm(join(path, name));
    await symlink(other, join(path, name));
    await expect(openStore(path)).rejects.toThrow(`cannot open the store ${path}: it is a symbolic link`);
    expect([await readFile(other, 'utf8'), (await stat(other)).mode]).toEqual(['theirs', mode]);
  });

  it('that is to be made is no link either', async () => {
    const path = join(await tempFolder(), 'store');
    const other = join(await tempFolder(), 'other');
    await mkdir(path, { mode: 0o700 });
    await writeFile(other, 'theirs');
    await symlink(other, join(path, `.${STORE_FILE}.new`));
    await (await openStore(path)).close();
    expect(await readFile(other, 'utf8')).toBe('theirs');
  });
});

describe('the lock file of a store', () => {
  it('that is a folder is named', async () => {
    const { path, lock } = await newStore();
    await rm(lock);
    await mkdir(lock);
    expect(await opener(path).line()).toBe(`cannot open the store ${path}: it is a folder, not a file`);
  });

  it.skipIf(!IS_ROOT)('that belongs to another user is named (needs root)', async () => {
    const { path } = await newStore();
    const { uid = 0, gid = 0 } = NOBODY;
    for (const one of [join(path, '..'), path, ...(await readdir(path)).map((name) => join(path, name))])
      if (!one.endsWith(LOCK_FILE)) await chown(one, uid, gid);
    await chmod(path, 0o700);
    expect(await opener(path, NOBODY).line()).toBe(`cannot open the store ${path}: permission denied`);
  });

  it.each([
    ['empty', (lock: string) => truncate(lock, 0)],
    ['cut short', (lock: string) => truncate(lock, 100)],
    ['longer', (lock: string) => truncate(lock, 100_000)],
    ['random', (lock: string) => writeFile(lock, randomBytes(8_272))],
    ['gone', (lock: string) => rm(lock)],
  ])('that is %s is made anew for the first process', async (_, spoil) => {
    const { path, lock } = await newStore();
    await spoil(lock);
    expect(await opener(path).line()).toBe('open');
  });

  it.skipIf(nativeLocks() === undefined)('that was overwritten in use is named, until that process ends', async () => {
    const { path, lock } = await newStore();
    const user = opener(path);
    expect(await user.line()).toBe('open');
    // In place: a file that is cut short first ends that process by SIGBUS, if it touches it just
    // then.
    await writeFile(lock, randomBytes(8_272), { flag: 'r+' });
    expect(await opener(path).line()).toBe(`${lock} was overwritten while a process uses the store`);
    await user.kill('SIGKILL');
    expect(await opener(path).line()).toBe('open');
  });
});

describe('a new store', () => {
  it('has files of its user alone, which have room on the disk', async () => {
    const { path, lock } = await newStore();
    expect((await readdir(path)).toSorted()).toEqual([STORE_FILE, LOCK_FILE, 'open.lock']);
    const { mode, size, blocks } = await stat(lock);
    expect([mode & 0o777, 512 * blocks >= size]).toEqual([0o600, true]);
  });

  it('is made where a process was killed while it made one', async () => {
    const path = join(await tempFolder(), 'store');
    await mkdir(path);
    await writeFile(join(path, `.${STORE_FILE}.new`), 'half');
    await (await openStore(path)).close();
    expect((await readdir(path)).toSorted()).toEqual([STORE_FILE, LOCK_FILE, 'open.lock']);
  });
});
