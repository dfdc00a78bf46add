import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { updateFolder } from '../src/update-folder.js';

it('writes what differs, leaves what is the same untouched, and removes the rest', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-update-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const inodeOf = async (name: string): Promise<number> => (await stat(join(folder, name))).ino;
  await updateFolder(folder, new Map(Object.entries({ 'page.html': 'one', 'assets/a.js': 'a', 'assets/b.js': 'b' })));
  const [page, script] = [await inodeOf('page.html'), await inodeOf('assets/a.js')];
  await writeFile(join(folder, 'stray'), '');

  await updateFolder(folder, new Map(Object.entries({ 'page.html': 'two', 'assets/a.js': 'a' })));
  expect((await readdir(folder, { recursive: true })).toSorted()).toEqual(['assets', 'assets/a.js', 'page.html']);
  expect(await readFile(join(folder, 'page.html'), 'utf8')).toBe('two');
  expect(await inodeOf('page.html')).not.toBe(page);
  expect(await inodeOf('assets/a.js')).toBe(script);
});
