/** Writes the browser console to packages/console/dist, where the API serves it from. */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleConsole } from './console-bundle.js';

const DIST = fileURLToPath(new URL('../../../console/dist', import.meta.url));

const { files } = await bundleConsole();
await rm(DIST, { recursive: true, force: true });
for (const [path, text] of files) {
  await mkdir(dirname(join(DIST, path)), { recursive: true });
  await writeFile(join(DIST, path), text);
}
