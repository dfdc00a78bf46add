import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Makes a folder have these text files, by path, and no others. Files that are the same stay
 * untouched, so that a process that reads them is not disturbed.
 *
 * @param files in the order in which they are written
 */
export async function updateFolder(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of files) {
    const path = join(folder, name);
    if ((await readFile(path, 'utf8').catch(() => undefined)) === text) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }
  const wanted = new Set([...files.keys()].flatMap((name) => [name, dirname(name)]));
  for (const name of await readdir(folder, { recursive: true }))
    if (!wanted.has(name)) await rm(join(folder, name), { recursive: true, force: true });
}
