// The console as browsers get it: bundled once for all test files, which serve the same folder.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bundleConsole } from '@latchkey/release/console';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the bundle. */
    consoleFolder: string;
  }
}

export default async function bundle(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-console-'));
  for (const [path, text] of (await bundleConsole()).files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  project.provide('consoleFolder', folder);
  return () => rm(folder, { recursive: true, force: true });
}
