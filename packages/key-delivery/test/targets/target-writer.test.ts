// Files in a folder that another user owns, and changes while they are written.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeContextsAsOwner, writeFileAsOwner } from '../../src/targets/target-writer.js';

const NOBODY = 65_534;
const IS_ROOT = process.geteuid?.() === 0;
const RACES = 100_000;
const ACCESS = { owner: undefined, mode: 0o600 };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-writer-'));
  await chmod(folder, 0o755);
});
afterEach(() => rm(folder, { recursive: true }));

const path = (...names: readonly string[]): string => join(folder, ...names);

async function makeFolder(name: string, uid?: number): Promise<string> {
  await mkdir(path(name));
  await chmod(path(name), 0o755);
  if (uid !== undefined) await chown(path(name), uid, uid);
  return path(name);
}

describe('a file of a target', () => {
  it('is written with its mode, and only if it differs', async () => {
    expect(await writeFileAsOwner(path('x.psk'), 'one', ACCESS)).toMatchObject({ changed: true });
    const before = await lstat(path('x.psk'));
    expect(before.mode & 0o777).toBe(0o600);
    expect(await writeFileAsOwner(path('x.psk'), 'one', ACCESS)).toMatchObject({ changed: false });
    expect((await lstat(path('x.psk'))).ino).toBe(before.ino);
    expect(await writeFileAsOwner(path('x.psk'), 'one', { ...ACCESS, mode: 0o640 })).toMatchObject({ changed: true });
    expect((await lstat(path('x.psk'))).mode & 0o777).toBe(0o640);
    expect(await writeFileAsOwner(path('x.psk'), '', ACCESS)).toMatchObject({ changed: true });
    expect(await readFile(path('x.psk'), 'utf8')).toBe('');
    expect(await readdir(folder)).toEqual(['x.psk']);
  });

  it('replaces a symbolic link, and follows none that stands where it is written aside', async () => {
    await writeFile(path('victim'), 'untouched');
    await symlink(path('victim'), path('x.psk'));
    await symlink(path('victim'), path('.x.psk.new'));
    await writeFileAsOwner(path('x.psk'), 'keys', ACCESS);
    expect((await lstat(path('x.psk'))).isFile()).toBe(true);
    expect(await readFile(path('x.psk'), 'utf8')).toBe('keys');
    expect(await readFile(path('victim'), 'utf8')).toBe('untouched');
  });

  it('is reached through a symbolic link of this user or of root', async () => {
    await makeFolder('real');
    await symlink('real', path('link'));
    await writeFileAsOwner(path('link', 'x.psk'), 'keys', ACCESS);
    expect(await readFile(path('real', 'x.psk'), 'utf8')).toBe('keys');
  });

  it('is refused in a folder that others can write above', async () => {
    await makeFolder('open');
    await makeFolder('open/target');
    await chmod(path('open'), 0o777);
    await expect(writeFileAsOwner(path('open', 'target', 'x.psk'), 'keys', ACCESS)).rejects.toThrow('others can write to it');
    expect(await readdir(path('open', 'target'))).toEqual([]);
  });

  it('fails with the system’s reason where its folder is missing', async () => {
    await expect(writeFileAsOwner(path('none', 'x.psk'), 'keys', ACCESS)).rejects.toThrow('no such file or folder');
  });

  it.skipIf(!IS_ROOT)('belongs to the owner of its folder, or to `owner:` in a folder of root', async () => {
    await makeFolder('theirs', NOBODY);
    await writeFileAsOwner(path('theirs', 'x.psk'), 'keys', ACCESS);
    expect(await lstat(path('theirs', 'x.psk'))).toMatchObject({ uid: NOBODY });
    await writeFileAsOwner(path('x.psk'), 'keys', { owner: { uid: NOBODY, gid: NOBODY }, mode: 0o640 });
    expect(await lstat(path('x.psk'))).toMatchObject({ uid: NOBODY, gid: NOBODY });
    await expect(writeFileAsOwner(path('theirs', 'y.psk'), 'keys', { owner: { uid: 0, gid: 0 }, mode: 0o600 })).rejects.toThrow(
      'operation not permitted',
    );
    expect(await readdir(path('theirs'))).toEqual(['x.psk']);
  });

  it.skipIf(!IS_ROOT)('is not written as root through a folder of another user', async () => {
    await makeFolder('theirs', NOBODY);
    await makeFolder('victim');
    await symlink(path('victim'), path('theirs', 'target'));
    await expect(writeFileAsOwner(path('theirs', 'target', 'x.psk'), 'keys', ACCESS)).rejects.toThrow("somebody else's");
    expect(await readdir(path('victim'))).toEqual([]);
  });
});

/** Swaps folder and files for symbolic links, and says so once it has done it often enough. */
const RACER = `
  const fs = require('node:fs');
  const [base, races] = process.argv.slice(1);
  const target = base + '/theirs/target', real = base + '/theirs/real', victim = base + '/victim';
  const attempt = (action) => { try { action(); } catch {} };
  for (let i = 0; ; i++) {
    attempt(() => fs.renameSync(target, real));
    attempt(() => fs.symlinkSync(victim, target));
    attempt(() => fs.unlinkSync(target));
    attempt(() => fs.renameSync(real, target));
    attempt(() => fs.symlinkSync(victim + '/x.psk', target + '/.x.psk.new'));
    if (i % 8 === 0) attempt(() => fs.unlinkSync(target + '/x.psk'));
    if (i % 8 === 1) attempt(() => fs.symlinkSync(victim + '/x.psk', target + '/x.psk'));
    if (i === Number(races)) fs.writeSync(1, 'done\\n');
  }
`;

// Skipped where no other user can be played.
describe.skipIf(!IS_ROOT)('the owner of a folder who races symbolic links (skipped unless root)', () => {
  it(`gets no file of root's changed, ${RACES} times`, async () => {
    await makeFolder('theirs', NOBODY);
    await makeFolder('theirs/target', NOBODY);
    await makeFolder('victim');
    await writeFile(path('victim', 'x.psk'), 'untouched', { mode: 0o644 });
    const racer = spawn(process.execPath, ['-e', RACER, folder, String(RACES)], {
      uid: NOBODY,
      gid: NOBODY,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const outcomes = { written: 0, refused: 0, raced: false };
    racer.stdout.once('data', () => (outcomes.raced = true));
    try {
      for (let i = 0; !outcomes.raced || i < 20; i++) {
        await writeFileAsOwner(path('theirs', 'target', 'x.psk'), `keys ${i}`, ACCESS).then(
          () => (outcomes.written += 1),
          () => (outcomes.refused += 1),
        );
      }
    } finally {
      racer.kill('SIGKILL');
      await once(racer, 'close');
    }
    expect(outcomes.written + outcomes.refused).toBeGreaterThanOrEqual(20);
    expect(await readdir(path('victim'))).toEqual(['x.psk']);
    expect(await readFile(path('victim', 'x.psk'), 'utf8')).toBe('untouched');
    expect(await lstat(path('victim', 'x.psk'))).toMatchObject({ uid: 0 });
    // With types it does not list what is behind a link.
    const left = await readdir(path('theirs'), { recursive: true, withFileTypes: true });
    for (const { parentPath, name } of left) expect(await lstat(join(parentPath, name))).toMatchObject({ uid: NOBODY });
  });
});

describe('an OSCORE context', () => {
  const context = (kid: string): { name: string; files: Record<string, string> } => ({
    name: `0000a1b2-${kid}`,
    files: { 'settings.json': '{}\n', 'secret.json': '{"secret_hex":"00"}\n', 'oscore.conf': 'x\n' },
  });
  const write = (...kids: readonly string[]): ReturnType<typeof writeContextsAsOwner> =>
    writeContextsAsOwner(folder, kids.map(context), ACCESS);

  it('is made once, and keeps the sequence number that the application put there', async () => {
    expect(await write('00000001')).toEqual({ changed: true, reused: 0 });
    await writeFile(path('0000a1b2-00000001', 'sequence.json'), '{"next-to-send":7}');
    expect(await write('00000001')).toEqual({ changed: false, reused: 0 });
    expect(await write('00000001', '00000002')).toEqual({ changed: true, reused: 0 });
    expect(await readFile(path('0000a1b2-00000001', 'sequence.json'), 'utf8')).toBe('{"next-to-send":7}');
  });

  it('loses its keys as it ends, and is never made again', async () => {
    await write('00000001', '00000002');
    expect(await write('00000002')).toEqual({ changed: true, reused: 0 });
    expect(await readdir(path('0000a1b2-00000001'))).toEqual(['settings.json']);
    expect(await write('00000001', '00000002')).toEqual({ changed: false, reused: 1 });
    expect(await readdir(path('0000a1b2-00000001'))).toEqual(['settings.json']);
  });

  it.skipIf(!IS_ROOT)('is removed with nothing in it that its owner could not remove', async () => {
    const access = { owner: { uid: NOBODY, gid: NOBODY }, mode: 0o600 };
    const kids = Array.from({ length: 20 }, (_, index) => (index + 1).toString(16).padStart(8, '0'));
    const writeTheirs = (from: number, to: number): Promise<unknown> =>
      writeContextsAsOwner(folder, kids.slice(from - 1, to).map(context), access);
    await writeTheirs(1, 2);
    // Where a link that is put in the place of a folder would lead.
    await mkdir(path('0000a1b2-00000001', 'roots'));
    await writeFile(path('0000a1b2-00000001', 'roots', 'file'), 'kept');
    await mkdir(path('0000a1b2-00000002', 'theirs'));
    await writeFile(path('0000a1b2-00000002', 'theirs', 'file'), '');
    await chown(path('0000a1b2-00000002', 'theirs'), NOBODY, NOBODY);
    await writeTheirs(3, 3);
    await writeTheirs(3, 19);
    await writeTheirs(20, 20);
    expect(await readFile(path('0000a1b2-00000001', 'roots', 'file'), 'utf8')).toBe('kept');
    await expect(lstat(path('0000a1b2-00000002'))).rejects.toThrow('ENOENT');
    expect(await lstat(path('0000a1b2-00000014'))).toMatchObject({ uid: NOBODY, gid: NOBODY });
  });

  it('is not made in a folder in which others could replace it', async () => {
    await chmod(folder, 0o777);
    await expect(write('00000001')).rejects.toThrow('others can write to the folder');
    expect(await readdir(folder)).toEqual([]);
    await chmod(folder, 0o1777);
    expect(await write('00000001')).toMatchObject({ changed: true });
  });

  it('of a revoked node has lost its keys before those of others are made', async () => {
    await write('00000001');
    // The first that is to be made cannot be.
    await writeFile(path('.0000a1b3-00000002.new'), '');
    const other = { ...context('00000002'), name: '0000a1b3-00000002' };
    await expect(writeContextsAsOwner(folder, [other], ACCESS)).rejects.toThrow('it exists already');
    expect(await readdir(path('0000a1b2-00000001'))).toEqual(['settings.json']);
  });

  it('is remembered as used for the last 16 of a node', async () => {
    for (let i = 1; i <= 20; i++) await write(i.toString(16).padStart(8, '0'));
    expect(await readdir(folder)).toHaveLength(17);
    await expect(lstat(path('0000a1b2-00000001'))).rejects.toThrow('ENOENT');
    await expect(lstat(path('0000a1b2-00000004'))).resolves.toBeDefined();
  });
});
