// Proves that one process at a time has a folder, that the second is told who has it, and that no
// way to die keeps it.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { lockFolder, readFolderLock, assertSamePidNamespace } from '../src/files/lock.js';
import { Child, IS_ROOT, tempFolder, unprivileged } from '@latchkey/test-support/fixtures';

const HOLDER = `
  import { lockFolder } from ${JSON.stringify(new URL('../dist/files/lock.js', import.meta.url).href)};
  globalThis.lock = await lockFolder(process.argv[1], 'the holder');
  console.log('locked');
  setInterval(() => undefined, 1000);`;

describe('a folder lock', () => {
  it('is had by one process, and the second is told by whom, by which process and since when', async () => {
    const folder = await tempFolder();
    const holder = new Child(HOLDER, [folder]);
    expect(await holder.line()).toBe('locked');
    const refused = await lockFolder(folder, 'the second').catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'Failure', exitCode: 1, advice: expect.stringContaining('Stop that process first') });
    expect((refused as Error).message).toMatch(
      new RegExp(
        String.raw`^the folder ${folder} is in use by the holder \(process ${holder.pid}, since \d{4}-\d\d-\d\dT[\d:.]+Z\)$`,
      ),
    );
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)('is free once its holder has died of %s, and names the new holder', async (signal) => {
    const folder = await tempFolder();
    const holder = new Child(HOLDER, [folder]);
    expect(await holder.line()).toBe('locked');
    await holder.kill(signal);
    const lock = await lockFolder(folder, 'the next');
    await expect(lockFolder(folder, 'the one after')).rejects.toMatchObject({
      message: expect.stringContaining(`in use by the next (process ${process.pid},`) as string,
    });
    await lock.release();
  });

  it('is had once in one process too, until it is released', async () => {
    const folder = await tempFolder();
    const lock = await lockFolder(folder, 'first');
    await expect(lockFolder(folder, 'second')).rejects.toMatchObject({ name: 'Failure' });
    await lock.release();
    await (await lockFolder(folder, 'second')).release();
  });

  it('is refused to each of many who come at once but one', async () => {
    const folder = await tempFolder();
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => lockFolder(folder, `number ${i}`)));
    const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(locks).toHaveLength(1);
    await locks[0]?.release();
  });

  // Root has locks in the folders of daemons.
  it('is no link to a file of somebody else, which stays as it is', async () => {
    const folder = await tempFolder();
    const other = join(await tempFolder(), 'other');
    await writeFile(other, 'theirs\n');
    await symlink(other, join(folder, 'lock'));
    await expect(lockFolder(folder, 'root')).rejects.toThrow(`cannot lock the folder ${folder}: it is a symbolic link`);
    await expect(readFolderLock(folder)).rejects.toThrow('it is a symbolic link');
    expect(await readFile(other, 'utf8')).toBe('theirs\n');
  });

  it('can be looked at: who holds it, or held it last', async () => {
    const folder = await tempFolder();
    expect(await readFolderLock(folder)).toEqual({ locked: false, holder: undefined });
    const holder = new Child(HOLDER, [folder]);
    expect(await holder.line()).toBe('locked');
    const words = expect.stringMatching(new RegExp(String.raw`^the holder \(process ${holder.pid}, since 2`)) as string;
    expect(await readFolderLock(folder)).toEqual({ locked: true, holder: words });
    await holder.kill('SIGKILL');
    expect(await readFolderLock(folder)).toEqual({ locked: false, holder: words });
  });

  // A command that looks at the lock has it for a moment.
  it('is waited for where another lets go of it at once: a look keeps no daemon from starting', async () => {
    const folder = await tempFolder();
    const look = await lockFolder(folder, 'a look');
    setTimeout(() => void look.release(), 1);
    const daemon = await lockFolder(folder, 'a daemon');
    expect(await readFolderLock(folder)).toMatchObject({ locked: true });
    await daemon.release();
  });

  it('is a private file', async () => {
    const folder = await tempFolder();
    const lock = await lockFolder(folder, 'first');
    expect((await stat(join(folder, 'lock'))).mode & 0o777).toBe(0o600);
    await lock.release();
  });

  it.skipIf(!IS_ROOT)('fails in words where the folder is not ours (needs root, to be another user)', async () => {
    const folder = await tempFolder();
    await unprivileged(() =>
      expect(lockFolder(folder, 'x')).rejects.toMatchObject({ message: `cannot lock the folder ${folder}: permission denied` }),
    );
  });

  it('fails in words where there is no folder', async () => {
    const folder = await tempFolder();
    await rm(folder, { recursive: true });
    await expect(lockFolder(folder, 'x')).rejects.toMatchObject({
      name: 'Failure',
      message: `cannot lock the folder ${folder}: no such file or folder`,
    });
  });
});

describe('a folder that a process of another container holds', () => {
  const canUnshare = spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;

  it.skipIf(!canUnshare)('is refused while that one lives, and not after it (needs root and unshare)', async () => {
    const folder = await tempFolder();
    const holder = spawn(
      'unshare',
      ['--pid', '--fork', '--kill-child', process.execPath, '--input-type=module', '-e', HOLDER, folder],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    onTestFinished(() => void holder.kill('SIGKILL'));
    expect(String((await once(holder.stdout, 'data'))[0])).toBe('locked\n');
    const ended = once(holder.stdout, 'close');
    await expect(assertSamePidNamespace(folder)).rejects.toMatchObject({
      message: expect.stringMatching(/is in use by the holder \(process 1, since .*\), in another container$/) as string,
      advice: expect.stringContaining('PID namespace') as string,
    });
    holder.kill('SIGKILL');
    await ended;
    await expect(assertSamePidNamespace(folder)).resolves.toBeUndefined();
  });

  it('is not refused where that is this one’s own, nor where nobody holds it', async () => {
    const folder = await tempFolder();
    const looks = [await assertSamePidNamespace(folder)];
    const lock = await lockFolder(folder, 'first');
    looks.push(await assertSamePidNamespace(folder));
    await lock.release();
    await expect(assertSamePidNamespace(folder)).resolves.toBeUndefined();
    expect(looks).toEqual([undefined, undefined]);
  });
});
