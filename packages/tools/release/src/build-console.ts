/**
 * Writes the browser console to packages/console/dist, where the API serves it from. What is there
 * already stays untouched, so that a build that changes nothing disturbs no process that reads it.
 */

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleConsole } from './console-bundle.js';

const DIST = fileURLToPath(new URL('../../../console/dist', import.meta.url));

const { files } = await bundleConsole();
await mkdir(DIST, { recursive: true });
// The page comes first, and is written last: it names the others.
for (const [name, text] of [...files].toReversed()) {
  const path = join(DIST, name);
  if ((await readFile(path, 'utf8').catch(() => undefined)) === text) continue;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
const kept = new Set([...files.keys()].flatMap((name) => [name, dirname(name)]));
for (const name of await readdir(DIST, { recursive: true }))
  if (!kept.has(name)) await rm(join(DIST, name), { recursive: true, force: true });
